package report

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens"
)

// Run is everything about one run that is shown.
type Run struct {
	Source   string
	Layout   *supertokens.Layout
	App      string
	Target   string
	Result   *engine.Result
	Findings []supertokens.Finding
	// Changes holds, for a dry run, what would happen to each user; for a run,
	// the users that were not simply created or found unchanged.
	Changes []pluginapi.Change
	// SignIns say for every account of a dry run, and for people without any way to sign in
	// of a run, how they could sign in at the target.
	SignIns []SignIn
	// Different are accounts that were read back and are not as they were written.
	Different []pluginapi.Change
	// Detail is how much of a dry run's changes the text shows.
	Detail string
	// Config is the file that the run was configured with, for the next command. Detailed
	// says that a dry run was asked whether anything would change.
	Config   string
	Detailed bool
	// Err is why the run stopped early, empty when it did not.
	Err string
	// PartLosses are parts of accounts that the target did not take.
	PartLosses PartLosses
	// Words explain the codes of the plugin.
	Words diag.Words
}

// maxListed bounds how many users the terminal report names; --json has all.
const maxListed = 20

// summaryJSON are the counts of a run. Scripts find the stranded there and beside it.
type summaryJSON struct {
	pluginapi.Summary
	Stranded *int `json:"stranded,omitempty"`
}

type runJSON struct {
	Summary  summaryJSON `json:"summary"`
	Stranded *int        `json:"stranded,omitempty"`
	*engine.Result
	SignIns   []SignIn              `json:"sign_ins,omitempty"`
	Source    string                `json:"source"`
	Layout    *supertokens.Layout   `json:"layout"`
	App       string                `json:"app"`
	Target    string                `json:"target"`
	Findings  []supertokens.Finding `json:"findings"`
	Changes   []pluginapi.Change    `json:"changes"`
	Different []pluginapi.Change    `json:"different,omitempty"`
	Parts     PartLosses            `json:"part_losses,omitempty"`
	ElapsedMs int64                 `json:"elapsed_ms"`
	Error     string                `json:"error,omitempty"`
}

// WriteJSON writes the run as one JSON object on one line.
func (r *Run) WriteJSON(w io.Writer) error { return WriteJSON(w, jsonOf(r)) }

func jsonOf(r *Run) *runJSON {
	return &runJSON{
		Result: r.Result, Summary: summaryJSON{r.Result.Summary, strandedOf(r.Result)}, Stranded: strandedOf(r.Result), SignIns: r.SignIns, Source: r.Source, Layout: r.Layout, App: r.App, Target: r.Target,
		Findings: orEmpty(r.Findings), Changes: orEmpty(r.Changes), Different: r.Different, Parts: r.PartLosses, ElapsedMs: r.Result.Elapsed.Milliseconds(), Error: r.Err,
	}
}

// whole says of the error of a run that the run itself came to its end: only what it has
// read back is not as it should be.
func whole(failure string) bool { return strings.Contains(failure, engine.ErrDiffers.Error()) }

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// WriteText writes the run for a person.
func (r *Run) WriteText(w io.Writer) error {
	b := newSheet(w)
	s := r.Result.Summary
	fmt.Fprintf(b, "\nSource   %s\n         SuperTokens %s, app %s\n", r.Source, generationText(r.Layout.Generation), r.App)
	fmt.Fprintf(b, "Target   %s\n", r.Target)
	title := "Done"
	switch {
	case whole(r.Err):
		title = "Done, but the target does not have all of it"
	case r.Err != "":
		title = "Stopped early"
	case r.Result.DryRun:
		title = "Dry run, nothing was written"
	}
	fmt.Fprintf(b, "\n%s: %s in %s\n", title, Accounts(s.Read), r.Result.Elapsed.Round(10*time.Millisecond))
	r.writeChosen(b)
	b.WriteString("\n")
	t := table{header: []string{"outcome", "users#", ""}}
	for _, row := range []struct {
		name string
		n    int
	}{
		{"created", s.Created},
		{"updated", s.Updated},
		{"unchanged", s.Unchanged},
		{"skipped", s.Skipped},
		{"rejected", s.Rejected},
		{"in doubt", s.InDoubt},
	} {
		note := ""
		if row.name == "skipped" {
			note = r.skippedNote()
		}
		if row.n > 0 || row.name == "created" || row.name == "rejected" {
			t.add(row.name, Number(row.n), note)
		}
	}
	_ = t.write(b) // a Builder does not fail

	fmt.Fprintf(b, "\nPasswords\n\n")
	t = table{header: []string{"class", "users#", ""}}
	t.add("hash carried", Number(r.Result.Classes[pluginapi.HashCarried]), "the old password works")
	t.add("needs reset", Number(r.Result.Classes[pluginapi.NeedsReset]), "the target cannot verify this hash")
	t.add("no password", Number(r.Result.Classes[pluginapi.NoPassword]), "social, passwordless or passkey only")
	if n := r.Result.Classes[pluginapi.Filtered]; n > 0 {
		t.add("filtered", Number(n), "left out by mapping.filter")
	}
	_ = t.write(b)

	writeStranded(b, r.Result)
	r.writeProofs(b)
	r.writeReadBack(b)
	r.writeChanges(b)
	r.writeReasons(b)
	writeRoles(b, r.Result)
	r.writeLosses(b)
	r.writePartLosses(b)
	r.writeMemory(b)
	writeGone(b, r)
	writeFindings(b, r.Findings)
	if len(r.Result.Diagnostics) > 0 {
		b.WriteString("\nTarget preflight\n\n")
		_ = diag.Write(b, r.Result.Diagnostics, diag.Options{})
	}
	writeEnding(b, r)
	return b.flush(w)
}

// skippedNote says how many were skipped because somebody has said so.
func (r *Run) skippedNote() string {
	var notes []string
	if n := r.Result.Reasons[diag.MapFiltered]; n > 0 {
		notes = append(notes, Number(n)+" of them by mapping.filter")
	}
	if n := r.Result.Reasons[diag.RunNotSelected]; n > 0 {
		notes = append(notes, Number(n)+" of them not chosen")
	}
	return strings.Join(notes, ", ")
}

// writeChosen says that it was a run about a part of the accounts.
func (r *Run) writeChosen(b *sheet) {
	c := r.Result.Chosen
	if c == nil {
		return
	}
	fmt.Fprintf(b, "%s\n", chosenText(c))
	ids := slices.Sorted(maps.Keys(c.Logins))
	for _, id := range ids[:min(len(ids), maxListed)] {
		fmt.Fprintf(b, "  %s is a login method of account %s, which was chosen\n", id, c.Logins[id])
	}
	if more := len(ids) - maxListed; more > 0 {
		fmt.Fprintf(b, "  … and %s more; --json lists all of them\n", Number(more))
	}
}

// chosenText names no account.
func chosenText(c *engine.Part) string {
	return strings.TrimSuffix(fmt.Sprintf("%s of %s accounts were chosen: %s", Number(c.Count), Number(c.Of), c.Flag), ": ")
}

func (r *Run) writeReasons(b *sheet) {
	if len(r.Result.Reasons) == 0 {
		return
	}
	fmt.Fprintf(b, "\nNot loaded, by reason\n\n")
	t := table{header: []string{"code", "users#", "meaning"}}
	for _, code := range slices.Sorted(maps.Keys(r.Result.Reasons)) {
		info, _ := r.Words.Lookup(code)
		t.add(string(code), Number(r.Result.Reasons[code]), info.Meaning)
	}
	_ = t.write(b)
	listed := slices.DeleteFunc(slices.Clone(r.Changes), func(c pluginapi.Change) bool { return c.Code == "" || c.Code == diag.MapFiltered })
	if len(listed) == 0 {
		return
	}
	slices.SortFunc(listed, func(x, y pluginapi.Change) int {
		return cmp.Or(cmp.Compare(x.Code, y.Code), cmp.Compare(x.SourceID, y.SourceID))
	})
	b.WriteString("\n")
	for _, c := range listed[:min(len(listed), maxListed)] {
		fmt.Fprintf(b, "  %s  %s: %s\n", c.SourceID, c.Code, c.Detail)
	}
	if more := len(listed) - maxListed; more > 0 {
		fmt.Fprintf(b, "  … and %s more; --json lists all of them\n", Number(more))
	}
}

// writeProofs shows which old passwords have been proven to work, and of which nobody
// knows. Nothing stands under "Proven" that is not.
func (r *Run) writeProofs(b *sheet) {
	proven, open := table{header: []string{"password hash", ""}}, table{header: []string{"password hash", "why"}}
	for _, p := range r.Result.Canaries {
		switch {
		case p.Proven:
			proven.add(p.Shape, "works")
		case p.Unasked:
			open.add(cmp.Or(p.Shape, "all"), p.Problem)
		default:
			open.add(p.Shape, "FAILED: "+p.Problem)
		}
	}
	if len(proven.rows) > 0 {
		fmt.Fprintf(b, "\nProven with an account of our own: right password accepted, wrong one refused\n\n")
		_ = proven.write(b)
	}
	if len(open.rows) > 0 {
		fmt.Fprintf(b, "\nNOT PROVEN that the old password works\n\n")
		_ = open.write(b)
	}
}

// writeReadBack shows what the target holds of what it has confirmed.
func (r *Run) writeReadBack(b *sheet) {
	v := r.Result.ReadBack
	if v == nil {
		return
	}
	fmt.Fprintf(b, "\nRead back: %s of %s written accounts are as they should be.\n", Number(v.Match), Number(v.Compared))
	for _, c := range r.Different[:min(len(r.Different), maxListed)] {
		fmt.Fprintf(b, "  %s  %s: %s\n", c.SourceID, c.Code, c.Detail)
	}
	if more := len(r.Different) - maxListed; more > 0 {
		fmt.Fprintf(b, "  … and %s more; --json lists all of them\n", Number(more))
	}
}

// writeMemory shows what the journal knows better than the source.
func (r *Run) writeMemory(b *sheet) {
	if r.Result.Drifted > 0 {
		fmt.Fprintf(b, "\n%s accounts were changed in the target by others since the last run.\n", Number(r.Result.Drifted))
	}
	if n := r.Result.Unread; n > 0 {
		fmt.Fprintf(b, "\n%s accounts were there before, and nobody can tell whether all of them is as in the source: the target does not show\n"+
			"passwords and the like, and the journal does not know what was sent. With policies.existing: adopt it is sent again.\n", Number(n))
	}
	if n := len(r.Result.Removed); n > 0 && r.Result.Gone == nil {
		fmt.Fprintf(b, "\n%s accounts that were loaded earlier are no longer in the source; they stay in the target. The first: %s\n",
			Number(n), strings.Join(r.Result.Removed[:min(n, 5)], ", "))
	}
}

// lossText says in an operator's words what will be missing, for reasons other than
// what the plugin declares.
var lossText = map[mapping.Loss]string{
	mapping.LossFirstPassword:  "password hash the target cannot verify",
	mapping.LossOtherPassword:  "second password of linked logins",
	mapping.LossTOTPUnfinished: "authenticator enrolments that were never finished",
	mapping.LossFakeEmail:      "made-up e-mail addresses",
	mapping.LossExternalID:     "external ids, where the internal one was taken (policies)",
	mapping.LossUsername:       "user names that another account has; these got a suffix (policies)",
	mapping.LossEmail:          "e-mail addresses that another account has (policies)",
	mapping.LossIdentity:       "social identities that another account has (policies)",
}

// lossWords says what will be missing, and why where a plugin is the reason.
func lossWords(l mapping.Loss, plugin string) (what, why string) {
	f, undeclared := l.Undeclared()
	if !undeclared {
		return cmp.Or(lossText[l], string(l)), ""
	}
	return f.Lost(), strings.TrimSpace("the plugin "+diag.Printable(plugin)) + fmt.Sprintf(" does not declare %q", f)
}

func (r *Run) writeLosses(b *sheet) {
	if len(r.Result.Losses) == 0 {
		return
	}
	fmt.Fprintf(b, "\nNot carried over\n\n")
	t := table{header: []string{"what", "users#", ""}}
	for _, l := range slices.Sorted(maps.Keys(r.Result.Losses)) {
		what, why := lossWords(l, pluginOf(r.Result))
		t.add(what, Number(r.Result.Losses[l]), why)
	}
	_ = t.write(b)
}

// pluginOf is the plugin that does not declare something; empty where there is none.
func pluginOf(r *engine.Result) string {
	if r.Withheld == nil {
		return ""
	}
	return r.Withheld.Plugin
}

func writeFindings(b *sheet, list []supertokens.Finding) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(b, "\nFound in the source\n\n")
	t := table{header: []string{"code", "count#", "first of them", "detail"}}
	narrow := b.columns > 0 && b.columns < findingColumns
	for _, f := range list {
		first := ""
		if len(f.Examples) > 0 {
			first = f.Examples[0]
		}
		if !narrow {
			t.add(f.Code, Number(f.Count), first, f.Detail)
			continue
		}
		fmt.Fprintf(b, "  %s  %s%s\n      %s\n", f.Code, Number(f.Count), strings.TrimSuffix("  "+first, "  "), f.Detail)
	}
	if !narrow {
		_ = t.write(b)
	}
}

// findingColumns is the width from which a table of findings has room for a code, an id
// and sentences side by side.
const findingColumns = 130

func generationText(g supertokens.Generation) string {
	return fmt.Sprintf("%s (%s)", g, g.Cores())
}

// WriteFailure writes the JSON object of a run that never began.
func (r *Run) WriteFailure(w io.Writer, err error) error {
	failed := struct {
		Summary     pluginapi.Summary `json:"summary"`
		Error       string            `json:"error"`
		Diagnostics diag.List         `json:"diagnostics"`
	}{Error: err.Error(), Diagnostics: diag.List{}}
	var list *diag.ListError
	if errors.As(err, &list) {
		failed.Diagnostics = list.List
	}
	return WriteJSON(w, failed)
}

// WriteDiagnostics prints a preflight for a person.
func WriteDiagnostics(w io.Writer, list diag.List) error {
	p := newSheet(w)
	_ = diag.Write(p, list, diag.Options{}) // a Builder does not fail
	verdict := "The target is ready."
	if list.HasErrors() {
		verdict = "The target is not ready; nothing was written."
	}
	p.WriteString(verdict + "\n")
	return p.flush(w)
}

// WriteDiagnosticsJSON prints a preflight as one JSON object.
func WriteDiagnosticsJSON(w io.Writer, list diag.List, r *engine.RolePermissions, c supertokens.Completeness) error {
	out := map[string]any{"ok": !list.HasErrors(), "diagnostics": orEmpty(list), "completeness": c}
	if r != nil {
		out["role_permissions"] = r
	}
	return WriteJSON(w, out)
}
