package report

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens"
)

// Targets is everything about a run into several targets that is shown.
type Targets struct {
	Source   string
	Layout   *supertokens.Layout
	App      string
	DryRun   bool
	Dealing  Dealing
	Findings []supertokens.Finding
	// Nowhere are accounts that no target gets.
	Nowhere []pluginapi.Change
	// Found are warnings that are about the targets together.
	Found   diag.List
	Targets []TargetRun
	Elapsed time.Duration
	// Config is the file that the run was configured with, for the next command.
	Config string
}

// Dealing counts the accounts of the source by where they went. One, Several, LeftOut and
// NoTenant add up to Accounts, but for those whose tenant has no target, which is an error.
type Dealing struct {
	Accounts int `json:"accounts"`
	// One are in a tenant of one target, Several in tenants of several.
	One     int `json:"in_one_target"`
	Several int `json:"in_several_targets"`
	// LeftOut are only in tenants that are left out, NoTenant in none.
	LeftOut  int `json:"left_out"`
	NoTenant int `json:"in_no_tenant"`
	// PartlyLeftOut are in a target, and in a tenant that is left out as well: what they have
	// there stays behind. RolesElsewhere have a role in a tenant that they are not in.
	PartlyLeftOut  int `json:"partly_left_out"`
	RolesElsewhere int `json:"roles_elsewhere"`
}

// The states of a target.
const (
	TargetDone     = "done"
	TargetRejects  = "done_with_rejects"
	TargetChanges  = "would_change"
	TargetFailed   = "failed"
	TargetNothing  = "nothing_to_do" // no account, now or before
	TargetNotBegun = "not_begun"
)

// TargetRun is one target of several.
type TargetRun struct {
	Name string
	// Accounts is how many it got.
	Accounts int
	// Run is what happened there; nil where it was not begun. Its Result is when it never began.
	Run *Run
	Err error
	// State and Exit are how it ended.
	State string
	Exit  int
}

type targetJSON struct {
	Name     string    `json:"name"`
	State    string    `json:"state"`
	Exit     int       `json:"exit_code"`
	Accounts int       `json:"accounts"`
	Error    string    `json:"error,omitempty"`
	Problems diag.List `json:"problems,omitempty"`
	Run      *runJSON  `json:"run,omitempty"`
}

type targetsJSON struct {
	Summary   summaryJSON           `json:"summary"`
	DryRun    bool                  `json:"dry_run"`
	Source    string                `json:"source"`
	Layout    *supertokens.Layout   `json:"layout"`
	App       string                `json:"app"`
	Dealt     Dealing               `json:"dealt"`
	Targets   []targetJSON          `json:"targets"`
	Nowhere   []pluginapi.Change    `json:"nowhere"`
	Findings  []supertokens.Finding `json:"findings"`
	Found     diag.List             `json:"diagnostics,omitempty"`
	ElapsedMs int64                 `json:"elapsed_ms"`
}

// Summary adds up the outcomes of all targets, and of the accounts that no target gets. An
// account that several targets get counts in each of them.
func (t *Targets) Summary() (s pluginapi.Summary) {
	for i := range t.Targets {
		if r := t.Targets[i].Run; r != nil && r.Result != nil {
			o := r.Result.Summary
			s.Read += o.Read
			s.Created += o.Created
			s.Updated += o.Updated
			s.Unchanged += o.Unchanged
			s.Skipped += o.Skipped
			s.Rejected += o.Rejected
			s.InDoubt += o.InDoubt
		}
	}
	for _, c := range t.Nowhere {
		s.Read++
		s.Count(c.Action)
	}
	return s
}

// WriteJSON writes the run as one JSON object on one line.
func (t *Targets) WriteJSON(w io.Writer) error {
	out := targetsJSON{
		Summary: summaryJSON{Summary: t.Summary()}, DryRun: t.DryRun, Source: t.Source, Layout: t.Layout, App: t.App, Dealt: t.Dealing,
		Targets: []targetJSON{}, Nowhere: orEmpty(t.Nowhere), Findings: orEmpty(t.Findings), Found: t.Found, ElapsedMs: t.Elapsed.Milliseconds(),
	}
	for i := range t.Targets {
		one := &t.Targets[i]
		j := targetJSON{Name: one.Name, State: one.State, Exit: one.Exit, Accounts: one.Accounts}
		if one.Err != nil {
			j.Error = one.Err.Error()
			if list := (*diag.ListError)(nil); errors.As(one.Err, &list) {
				j.Problems = list.List
			}
		}
		if one.Run != nil && one.Run.Result != nil {
			j.Run = jsonOf(one.Run)
			if n := j.Run.Stranded; n != nil {
				out.Summary.Stranded = new(*n + valueOf(out.Summary.Stranded))
			}
		}
		out.Targets = append(out.Targets, j)
	}
	return WriteJSON(w, out)
}

func valueOf(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// mostTargets is how many targets without anything to say the text lists; --json has all.
const mostTargets = 300

// WriteText writes the run for a person.
func (t *Targets) WriteText(w io.Writer) error {
	b := newSheet(w)
	fmt.Fprintf(b, "\nSource   %s\n", t.Source)
	if t.Layout != nil {
		fmt.Fprintf(b, "         SuperTokens %s, app %s\n", generationText(t.Layout.Generation), t.App)
	}
	title := "Done"
	if t.DryRun {
		title = "Dry run, nothing was written"
	}
	if failed := t.count(TargetFailed, TargetNotBegun); failed > 0 {
		title = fmt.Sprintf("%s, but %s of the targets failed", title, Number(failed))
	}
	fmt.Fprintf(b, "\n%s: %s targets, %s accounts in %s\n", title, Number(len(t.Targets)), Number(t.Dealing.Accounts), t.Elapsed.Round(10*time.Millisecond))
	t.writeDealing(b)
	b.WriteString("\n")
	t.writeTable(b)
	for i := range t.Targets {
		if one := &t.Targets[i]; one.Err != nil {
			fmt.Fprintf(b, "\n%s failed: %s\n", one.Name, strings.TrimSpace(one.Err.Error()))
		}
	}
	t.writeNowhere(b)
	writeFindings(b, t.Findings)
	if len(t.Found) > 0 {
		b.WriteString("\n")
		_ = diag.Write(b, t.Found, diag.Options{})
	}
	t.writeNext(b)
	return b.flush(w)
}

// writeTable writes a line for each target.
func (t *Targets) writeTable(b *sheet) {
	table := table{header: []string{"target", "accounts#", "created#", "updated#", "unchanged#", "skipped#", "rejected#", "in doubt#", "state"}}
	quiet := 0
	for i := range t.Targets {
		one := &t.Targets[i]
		if one.State == TargetDone || one.State == TargetNothing {
			if quiet++; quiet > mostTargets {
				continue
			}
		}
		row := []string{one.Name, Number(one.Accounts), "", "", "", "", "", "", strings.ReplaceAll(one.State, "_", " ")}
		if one.Run != nil && one.Run.Result != nil {
			for at, n := range []int{2: one.Run.Result.Summary.Created, 3: one.Run.Result.Summary.Updated, 4: one.Run.Result.Summary.Unchanged, 5: one.Run.Result.Summary.Skipped, 6: one.Run.Result.Summary.Rejected, 7: one.Run.Result.Summary.InDoubt} {
				if at > 1 {
					row[at] = Number(n)
				}
			}
		}
		table.add(row...)
	}
	_ = table.write(b) // a Builder does not fail
	if more := quiet - mostTargets; more > 0 {
		fmt.Fprintf(b, "  … and %s more that are done; --json lists all of them\n", Number(more))
	}
}

// writeNowhere names accounts that no target gets.
func (t *Targets) writeNowhere(b *sheet) {
	if len(t.Nowhere) == 0 {
		return
	}
	b.WriteString("\nIn no target\n\n")
	for _, c := range t.Nowhere[:min(len(t.Nowhere), maxListed)] {
		fmt.Fprintf(b, "  %s  %s: %s\n", c.SourceID, c.Code, c.Detail)
	}
	if more := len(t.Nowhere) - maxListed; more > 0 {
		fmt.Fprintf(b, "  … and %s more; --json lists all of them\n", Number(more))
	}
}

// count is how many targets are in one of these states.
func (t *Targets) count(states ...string) (n int) {
	for i := range t.Targets {
		for _, s := range states {
			if t.Targets[i].State == s {
				n++
			}
		}
	}
	return n
}

// writeDealing says where the accounts went.
func (t *Targets) writeDealing(b *sheet) {
	d := t.Dealing
	for _, p := range []struct {
		n    int
		what string
	}{
		{d.One, "are in tenants of one target"},
		{d.Several, "are in tenants of several targets"},
		{d.LeftOut, "are only in tenants that are left out"},
		{d.NoTenant, "are in no tenant"},
		{d.PartlyLeftOut, "are in a target and in a tenant that is left out: what they have there stays behind"},
		{d.RolesElsewhere, "have a role in a tenant that they are not in, which no target gets"},
	} {
		if p.n > 0 {
			fmt.Fprintf(b, "%s %s.\n", Number(p.n), p.what)
		}
	}
}

// writeNext names the next command.
func (t *Targets) writeNext(b *sheet) {
	config := ""
	if t.Config != "" {
		config = " --config " + shellWord(t.Config)
	}
	for i := range t.Targets {
		one := &t.Targets[i]
		switch one.State {
		case TargetFailed:
			fmt.Fprintf(b, "\nNext: stetl run%s --target %s\n", config, shellWord(one.Name))
			return
		case TargetRejects:
			fmt.Fprintf(b, "\nNext: stetl rejects%s --target %s\n", config, shellWord(one.Name))
			return
		}
	}
	if t.DryRun {
		fmt.Fprintf(b, "\nNext: stetl run%s\n", config)
	}
}
