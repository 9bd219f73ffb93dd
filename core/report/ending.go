package report

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
)

// Ending is what the exit code of a run or a dry run says.
type Ending uint8

const (
	// EndDone is when nothing is left to do.
	EndDone Ending = iota
	// EndRejects is when somebody was rejected, is in doubt, or lacks a part.
	EndRejects
	// EndWouldChange is when a dry run was asked whether anything would change, and it would.
	EndWouldChange
)

// EndingOf says how a run without an error has ended. One that was asked for details says
// first whether anything would change.
func EndingOf(r *Run) Ending {
	s := r.Result.Summary
	switch {
	case r.Result.DryRun && r.Detailed && s.Created+s.Updated+leaving(r.Result.Gone) > 0:
		return EndWouldChange
	case s.Rejected+s.InDoubt+r.Result.Incomplete > 0:
		return EndRejects
	}
	return EndDone
}

// leaving is how many accounts would change because their people have gone.
func leaving(g *engine.Gone) int {
	if g == nil {
		return 0
	}
	return g.Disabled + g.Deleted
}

// writeEnding writes the last lines: what came of it in one sentence, why the exit code
// is what it is, and the next command.
func writeEnding(b *sheet, r *Run) {
	if r.Err != "" {
		return // the error comes after the report, and says it all
	}
	s := r.Result.Summary
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{
		{s.Created, "created"}, {s.Updated, "updated"}, {s.Unchanged, "unchanged"}, {s.Skipped, "skipped"}, {s.Rejected, "rejected"}, {s.InDoubt, "in doubt"},
	} {
		if p.n > 0 {
			parts = append(parts, Number(p.n)+" "+p.what)
		}
	}
	begin := "Of " + Accounts(s.Read) + ": "
	if r.Result.DryRun {
		begin = "A run would have this result for " + Accounts(s.Read) + ": "
	}
	fmt.Fprintf(b, "\n%s%s.\n", begin, cmp.Or(strings.Join(parts, ", "), "nothing"))
	if r.Result.Incomplete > 0 {
		fmt.Fprintf(b, "%s of those that are in the target lack a part, see \"%s\".\n", Number(r.Result.Incomplete), partLossTitle)
	}
	for _, text := range []string{strandedText(r.Result), goneText(r.Result)} {
		if text != "" {
			fmt.Fprintf(b, "%s.\n", text)
		}
	}
	for _, p := range r.Result.Canaries {
		if p.Unasked {
			fmt.Fprintf(b, "NOT PROVEN that old passwords work (%s): %s.\n", cmp.Or(p.Shape, "every hash"), p.Problem)
			break // the table above has all
		}
	}
	switch EndingOf(r) {
	case EndWouldChange:
		b.WriteString("Exit code 6: something would change.\n")
	case EndRejects:
		fmt.Fprintf(b, "Exit code 4: %s.\n", whyRejects(r))
	case EndDone:
	}
	if next := nextCommand(r); next != "" {
		fmt.Fprintf(b, "Next: %s\n", next)
	}
}

// whyRejects names the commonest reason why accounts were not loaded, and its remedy.
func whyRejects(r *Run) string {
	failed := map[diag.Code]int{}
	for _, c := range r.Changes {
		if c.Action == pluginapi.Rejected || c.Action == pluginapi.InDoubt {
			failed[c.Code]++
		}
	}
	codes := byCount(failed)
	if len(codes) == 0 {
		return "accounts lack a part that the target did not take"
	}
	info, _ := r.Words.Lookup(codes[0])
	text := fmt.Sprintf("not everybody was loaded; most often %s (%s)", codes[0], Accounts(failed[codes[0]]))
	if r.Result.DryRun {
		text = fmt.Sprintf("not everybody would be loaded; most often %s (%s)", codes[0], Accounts(failed[codes[0]]))
	}
	if info.Remedy != "" {
		text += ": " + info.Remedy
	}
	return text
}

// nextCommand is the one that an operator wants now.
func nextCommand(r *Run) string {
	s := r.Result.Summary
	config := " --config " + shellWord(cmp.Or(r.Config, "FILE"))
	switch {
	case r.Result.DryRun && s.Created+s.Updated+s.InDoubt > 0:
		return "stetl run" + config
	case r.Result.DryRun && s.Rejected > 0:
		return "stetl plan --detail users" + config
	case r.Result.DryRun:
		return ""
	case s.InDoubt > 0:
		return "stetl run" + config + ", which looks them up first"
	case s.Rejected > 0:
		return "stetl rejects" + config
	case s.Created+s.Updated > 0:
		return "stetl report" + config
	}
	return ""
}

// shellWord quotes a word for a shell where it must be.
func shellWord(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./:@%+,=", c)
	}
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool { return !plain(c) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
