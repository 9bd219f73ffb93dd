package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
)

// goneText says in one line what becomes of accounts of people who have gone from the
// source; empty where nobody has, or nobody follows them.
func goneText(r *engine.Result) string {
	g := r.Gone
	if g == nil {
		return ""
	}
	var parts []string
	for _, p := range []struct {
		n        int
		did, may string
	}{
		{g.Disabled, "were switched off", "would be switched off"},
		{g.Deleted, "were deleted", "would be deleted"},
		{g.Waiting, "are switched off since an earlier run", ""},
		{g.Absent, "were not in the target any more", "are not in the target any more"},
		{kept(g), "stay as they are", "would stay as they are"},
	} {
		if p.n == 0 {
			continue
		}
		verb := p.did
		if r.DryRun {
			verb = cmp.Or(p.may, p.did)
		}
		parts = append(parts, Number(p.n)+" "+verb)
	}
	text := ""
	switch {
	case g.Withheld != "":
		text = fmt.Sprintf("People who have gone from the source: their %s accounts are left alone, because %s (%s)", Number(g.People), g.Why, g.Withheld)
	case len(parts) > 0:
		text = "Accounts of people who have gone from the source: " + strings.Join(parts, ", ")
	}
	if g.Back > 0 {
		back := fmt.Sprintf("%s people are in the source again, and their accounts were switched on", Number(g.Back))
		text = strings.TrimPrefix(text+"; "+back, "; ")
	}
	return text
}

func kept(g *engine.Gone) (n int) {
	for _, c := range g.Kept {
		n += c
	}
	return n
}

// writeGone names who stays in the target although the source does not have them any more,
// and why.
func writeGone(b *sheet, r *Run) {
	g := r.Result.Gone
	if g == nil || g.Withheld != "" || len(g.Accounts) == 0 {
		return
	}
	fmt.Fprintf(b, "\nGone from the source\n\n")
	t := table{header: []string{"account", "users#", "meaning"}}
	t.add("switched off", Number(g.Disabled), "")
	t.add("deleted", Number(g.Deleted), "")
	for _, code := range slices.Sorted(maps.Keys(g.Kept)) {
		info, _ := r.Words.Lookup(code)
		t.add(string(code), Number(g.Kept[code]), info.Meaning)
	}
	_ = t.write(b) // a Builder does not fail
	named := slices.DeleteFunc(slices.Clone(g.Accounts), func(o pluginapi.Outcome) bool { return o.Code == "" })
	if len(named) == 0 {
		return
	}
	slices.SortFunc(named, func(x, y pluginapi.Outcome) int {
		return cmp.Or(cmp.Compare(x.Code, y.Code), cmp.Compare(x.SourceID, y.SourceID))
	})
	b.WriteString("\n")
	for _, o := range named[:min(len(named), maxListed)] {
		fmt.Fprintf(b, "  %s  %s, %s in the target: %s\n", o.SourceID, o.Code, cmp.Or(o.TargetID, "unknown"), diag.Printable(o.Detail))
	}
	if more := len(named) - maxListed; more > 0 {
		fmt.Fprintf(b, "  … and %s more; --json lists all of them\n", Number(more))
	}
}
