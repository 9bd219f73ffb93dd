package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
)

// Verification is what reading a target back has found.
type Verification struct {
	Source, Target string
	Result         *engine.Verification
	// Changes are the differences, with fields.
	Changes []pluginapi.Change
	// Words explain the codes of the plugin.
	Words diag.Words
}

// WriteJSON writes the verification as one JSON object on one line.
func (v *Verification) WriteJSON(w io.Writer) error {
	return WriteJSON(w, struct {
		*engine.Verification
		Source  string             `json:"source"`
		Target  string             `json:"target"`
		OK      bool               `json:"ok"`
		Changes []pluginapi.Change `json:"changes"`
		Elapsed int64              `json:"elapsed_ms"`
	}{v.Result, v.Source, v.Target, v.Result.Different() == 0 && !v.Result.Nobody(), orEmpty(v.Changes), v.Result.Elapsed.Milliseconds()})
}

// WriteText writes the verification for a person.
func (v *Verification) WriteText(w io.Writer) error {
	b := newSheet(w)
	fmt.Fprintf(b, "\nSource   %s\nTarget   %s\n\n", v.Source, v.Target)
	fmt.Fprintf(b, "%s compared in %s\n\n", Accounts(v.Result.Compared), v.Result.Elapsed.Round(10*time.Millisecond))
	if v.Result.Nobody() {
		b.WriteString("No run has loaded any of these accounts, so nothing was compared.\n\n")
	}
	t := table{header: []string{"", "accounts#"}}
	t.add("as they should be", Number(v.Result.Match))
	if v.Result.Unread > 0 {
		t.add("unknown: the target does not show all of it", Number(v.Result.Unread))
	}
	t.add("different", Number(v.Result.Different()))
	t.add("not loaded, as runs have reported", Number(v.Result.Expected))
	_ = t.write(b) // a Builder does not fail
	if len(v.Result.Differences) > 0 {
		b.WriteString("\n")
		t = table{header: []string{"code", "accounts#", "meaning"}}
		for _, code := range slices.Sorted(maps.Keys(v.Result.Differences)) {
			info, _ := v.Words.Lookup(code)
			t.add(string(code), Number(v.Result.Differences[code]), info.Meaning)
		}
		_ = t.write(b)
	}
	sorted := slices.Clone(v.Changes)
	slices.SortFunc(sorted, func(x, y pluginapi.Change) int { return cmp.Compare(x.SourceID, y.SourceID) })
	if len(sorted) > 0 {
		b.WriteString("\n")
	}
	for _, c := range sorted[:min(len(sorted), maxListed)] {
		detail := ""
		if len(c.Fields) == 0 && c.Detail != "" { // else the fields say it
			detail = ": " + diag.Printable(c.Detail)
		}
		fmt.Fprintf(b, "  %s  %s%s\n", c.SourceID, c.Code, detail)
		for _, f := range c.Fields {
			fmt.Fprintf(b, "      %s: %s in the target, should be %s\n", f.Field, quoted(f.Old), quoted(f.New))
		}
	}
	if more := len(sorted) - maxListed; more > 0 {
		fmt.Fprintf(b, "  … and %s more; --json lists all of them\n", Number(more))
	}
	return b.flush(w)
}

// Undoing is what an undo did.
type Undoing struct {
	Target string
	Result *engine.Undoing
	// OfGone says that it switches accounts on again whose people have gone, and nothing else.
	OfGone bool
	// Kept are the accounts that stay although a run has made or changed them, Partly those
	// that are as they were before but for parts that the target has never shown.
	Kept, Partly []pluginapi.Outcome
}

// WriteJSON writes the undo as one JSON object on one line.
func (u *Undoing) WriteJSON(w io.Writer) error {
	return WriteJSON(w, struct {
		*engine.Undoing
		Target   string              `json:"target"`
		Accounts []pluginapi.Outcome `json:"accounts"`
		Elapsed  int64               `json:"elapsed_ms"`
	}{u.Result, u.Target, orEmpty(slices.Concat(u.Kept, u.Partly)), u.Result.Elapsed.Milliseconds()})
}

// WriteText writes the undo for a person.
func (u *Undoing) WriteText(w io.Writer) error {
	b := newSheet(w)
	fmt.Fprintf(b, "\nTarget   %s\n\n", u.Target)
	t := table{header: []string{"", "accounts#"}}
	switch {
	case !u.OfGone:
		t.add("deleted", Number(u.Result.Deleted))
	case u.Result.Deleted > 0:
		t.add("deleted: of people who had registered again", Number(u.Result.Deleted))
	}
	t.add("restored", Number(u.Result.Restored))
	if len(u.Partly) > 0 {
		t.add("of them in part, see below", Number(len(u.Partly)))
	}
	if u.Result.Gone > 0 {
		t.add("gone already", Number(u.Result.Gone))
	}
	t.add("kept, see below", Number(len(u.Kept)))
	if !u.OfGone {
		t.add("not of any run", Number(u.Result.Left))
	}
	_ = t.write(b) // a Builder does not fail
	if u.Result.Tidied > 0 {
		fmt.Fprintf(b, "\n%s roles, groups and the like that runs had created, and nobody has any more, were deleted, too.\n", Number(u.Result.Tidied))
	}
	if u.Result.Untidy != "" {
		fmt.Fprintf(b, "\nSome roles, groups and the like that runs had created are still there; another undo goes on with them: %s\n", u.Result.Untidy)
	}
	var lines []string
	for _, o := range u.Kept {
		lines = append(lines, fmt.Sprintf("%s  %s: %s", o.SourceID, o.Code, o.Detail))
	}
	for _, o := range u.Partly {
		for _, l := range o.Losses {
			lines = append(lines, fmt.Sprintf("%s  %s: %s %s", o.SourceID, l.Code, cmp.Or(l.Attribute, string(l.Feature)), l.Detail))
		}
	}
	if len(lines) > 0 {
		b.WriteString("\n")
	}
	for _, line := range lines[:min(len(lines), maxListed)] {
		fmt.Fprintf(b, "  %s\n", line)
	}
	if more := len(lines) - maxListed; more > 0 {
		fmt.Fprintf(b, "  … and %s more; --json lists all of them\n", Number(more))
	}
	return b.flush(w)
}

// WriteFixes says what a plugin has changed, and what is left to do by hand.
func WriteFixes(w io.Writer, list diag.List) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "There was nothing for the plugin to change.")
		return err
	}
	return diag.Write(w, list, diag.Options{})
}
