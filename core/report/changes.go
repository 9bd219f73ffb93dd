package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/pluginapi"
)

// How much of a plan the terminal shows.
const (
	// DetailPatterns groups users to whom the same would happen, with a sample.
	DetailPatterns = "patterns"
	// DetailUsers gives every user a line.
	DetailUsers = "users"
	// DetailFull adds the fields of every user, old and new.
	DetailFull = "full"
)

// Details lists the levels of detail.
func Details() []string { return []string{DetailPatterns, DetailUsers, DetailFull} }

// pattern is what would happen to users in the same way.
type pattern struct {
	action pluginapi.Action
	code   string
	fields string
	count  int
	sample pluginapi.Change
}

// writeChanges shows what a dry run found.
func (r *Run) writeChanges(b *sheet) {
	if !r.Result.DryRun || len(r.Changes) == 0 {
		return
	}
	if r.Detail == DetailUsers || r.Detail == DetailFull {
		writeUsers(b, r.Changes, r.Detail == DetailFull)
		return
	}
	fmt.Fprintf(b, "\nWhat would happen\n\n")
	t := table{header: []string{"", "users#", "fields", "for example"}}
	for _, p := range patterns(r.Changes) {
		t.add(actionMark[p.action]+" "+actionText(p.sample), Number(p.count), p.fields, p.sample.SourceID)
	}
	_ = t.write(b) // a Builder does not fail
	shown := 0
	for _, p := range patterns(r.Changes) {
		if len(p.sample.Fields) > 0 && shown < maxListed {
			shown++
			writeFields(b, p.sample)
		}
	}
}

var actionMark = map[pluginapi.Action]string{
	pluginapi.Created: "+", pluginapi.Updated: "~", pluginapi.Unchanged: "=", pluginapi.Skipped: "-", pluginapi.Rejected: "!", pluginapi.InDoubt: "?",
}

func actionText(c pluginapi.Change) string {
	text := strings.ReplaceAll(string(c.Action), "_", " ")
	if c.Code != "" {
		text += " (" + string(c.Code) + ")"
	}
	return text
}

// patterns groups changes by what would happen, the most frequent first.
func patterns(changes []pluginapi.Change) []pattern {
	byKey := map[string]*pattern{}
	for _, c := range changes {
		fields := fieldNames(c)
		key := string(c.Action) + "\x00" + string(c.Code) + "\x00" + fields
		p := byKey[key]
		if p == nil {
			p = &pattern{action: c.Action, code: string(c.Code), fields: fields, sample: c}
			byKey[key] = p
		}
		p.count++
		if c.SourceID < p.sample.SourceID { // whatever came first, the same sample
			p.sample = c
		}
	}
	out := make([]pattern, 0, len(byKey))
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		out = append(out, *byKey[key])
	}
	slices.SortStableFunc(out, func(x, y pattern) int { return cmp.Compare(y.count, x.count) })
	return out
}

// fieldNames lists the fields of a change; those that others have changed are
// marked.
func fieldNames(c pluginapi.Change) string {
	var names []string
	for _, f := range c.Fields {
		name := f.Field
		if f.Drift {
			name += " (drift)"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

func writeUsers(b *sheet, changes []pluginapi.Change, full bool) {
	fmt.Fprintf(b, "\nWhat would happen\n\n")
	sorted := slices.Clone(changes)
	slices.SortFunc(sorted, func(x, y pluginapi.Change) int { return cmp.Compare(x.SourceID, y.SourceID) })
	for _, c := range sorted {
		fmt.Fprintf(b, "  %s %s  %s", actionMark[c.Action], c.SourceID, actionText(c))
		if names := fieldNames(c); names != "" && !full {
			fmt.Fprintf(b, "  %s", names)
		}
		b.WriteString("\n")
		if full {
			for _, f := range c.Fields {
				writeField(b, f)
			}
		}
	}
}

func writeFields(b *sheet, c pluginapi.Change) {
	fmt.Fprintf(b, "\n  %s %s  %s\n", actionMark[c.Action], c.SourceID, actionText(c))
	for _, f := range c.Fields {
		writeField(b, f)
	}
}

func writeField(b *sheet, f pluginapi.FieldChange) {
	note := ""
	if f.Drift {
		note = "   changed in the target since the last run"
	}
	fmt.Fprintf(b, "      %s: %s → %s%s\n", f.Field, quoted(f.Old), quoted(f.New), note)
}

func quoted(s string) string {
	if s == "" {
		return "(none)"
	}
	return fmt.Sprintf("%q", s)
}
