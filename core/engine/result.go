package engine

import (
	"slices"
	"sync"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
	"github.com/stetl/stetl/core/signin"
)

// Result is what a run did, or a dry run would do.
type Result struct {
	DryRun  bool              `json:"dry_run"`
	Summary pluginapi.Summary `json:"summary"`
	// Chosen says how many accounts the run was about; nil when it was about all.
	Chosen *Part `json:"chosen,omitempty"`
	// Classes counts accounts by what becomes of their password. They add up to the
	// accounts that the run was about, those that a filter leaves out among them.
	Classes map[pluginapi.Class]int `json:"classes"`
	// Losses counts users by what the target will not hold of them.
	Losses map[mapping.Loss]int `json:"losses"`
	// Withheld says which of the losses are there because the plugin does not declare
	// a feature; nil when none is.
	Withheld *Withheld `json:"not_declared,omitempty"`
	// RolePermissions counts what roles allow that accounts have; nil when they allow nothing.
	RolePermissions *RolePermissions `json:"role_permissions,omitempty"`
	// Reasons counts rejected, skipped and in-doubt users by code.
	Reasons map[diag.Code]int `json:"reasons"`
	// Drifted counts accounts that somebody has changed in the target since the
	// last run. A run finds them where it looks; a dry run looks everywhere.
	Drifted int `json:"drifted"`
	// Unread counts accounts that were there before and of which nobody can tell whether
	// they are as in the source, because the target does not show all of it.
	Unread int `json:"unread,omitempty"`
	// Incomplete counts accounts that are in the target and lack a part that it did not
	// take.
	Incomplete int `json:"incomplete,omitempty"`
	// Mailed is how many people the target is going to mail on its own because of the
	// run, at most, as far as its plugin knows.
	Mailed int `json:"mailed"`
	// SignIn are the ways to sign in that the target has, as far as anybody knows, and
	// Stranded are the people who will have none of them; nil where the plugin does not
	// say which ways there are.
	SignIn   signin.Target    `json:"sign_in,omitzero"`
	Stranded *signin.Stranded `json:"no_sign_in,omitempty"`
	// Removed lists accounts that an earlier run has loaded and the source no
	// longer has. A run about a part says nothing of them.
	Removed []string `json:"removed,omitempty"`
	// Gone is what became of their accounts where runs follow them; nil where they do not.
	Gone *Gone `json:"gone,omitempty"`
	// Canaries is the proof that old passwords work, by hash shape.
	Canaries []Proof `json:"canaries,omitempty"`
	// ReadBack is what reading back has found; nil when nothing was read back.
	ReadBack *Verification `json:"read_back,omitempty"`
	// Diagnostics are the preflight's warnings, or its errors when it refused.
	Diagnostics diag.List     `json:"diagnostics,omitempty"`
	Elapsed     time.Duration `json:"-"`
}

// strandedCount is how many people are known to have no way to sign in.
func (r *Result) strandedCount() int {
	if r.Stranded == nil {
		return 0
	}
	return r.Stranded.Accounts
}

// Withheld is what a target is not given.
type Withheld struct {
	// Plugin is the name of the target's plugin.
	Plugin string `json:"plugin"`
	// Features counts users that have something of a feature that the plugin does not
	// declare.
	Features map[pluginapi.Feature]int `json:"features"`
}

// RolePermissions counts roles of the source that somebody has whom a run is about, and that
// allow something there.
type RolePermissions struct {
	Roles int `json:"roles"`
	// Permissions counts each as often as a role has it.
	Permissions int `json:"permissions"`
	// Carried says that the target is told what they allow; else that is left behind.
	Carried bool `json:"carried"`
}

func newResult(o *Options, part *Part) *Result {
	r := &Result{DryRun: o.DryRun, Classes: map[pluginapi.Class]int{}, Losses: map[mapping.Loss]int{}, Reasons: map[diag.Code]int{}}
	if part != nil {
		r.Chosen = &Part{Flag: part.Flag, Logins: part.Logins}
	}
	return r
}

// Gone is what became, or would become, of the accounts that runs have made for people
// who are not in the source any more.
type Gone struct {
	Policy policy.Gone `json:"policy"`
	// People is how many have gone, whoever has made their accounts.
	People int `json:"people"`
	// Disabled and Deleted count what this run did. Waiting were switched off by an earlier
	// run and are to be deleted by a later one, or stay so. Absent are not in the target.
	Disabled int `json:"disabled"`
	Deleted  int `json:"deleted"`
	Waiting  int `json:"waiting"`
	Absent   int `json:"absent"`
	// Back counts people who are in the source again, and whose accounts were switched on.
	Back int `json:"back"`
	// Kept counts accounts that stay as they are, by reason.
	Kept map[diag.Code]int `json:"kept,omitempty"`
	// Withheld is why nothing was done about anybody, and Why the same in words.
	Withheld diag.Code `json:"withheld,omitempty"`
	Why      string    `json:"why,omitempty"`
	// Accounts has the outcome of each that is not waiting: updated is switched off.
	Accounts []pluginapi.Outcome `json:"accounts,omitempty"`
}

// Into notes in a plan what a dry run has said of people who have gone. One that gives its
// address free is switched off first.
func (g *Gone) Into(p *Plan) {
	if g == nil {
		return
	}
	p.Gone = map[string]pluginapi.Action{}
	for i := range g.Accounts {
		switch o := &g.Accounts[i]; {
		case o.Action == pluginapi.Deleted, o.Action == pluginapi.Updated:
			p.Gone[o.SourceID] = o.Action
		case o.Code == diag.GoneRegisteredAgain:
			p.Gone[o.SourceID] = pluginapi.Updated
		}
	}
}

// counter counts outcomes as they become known, and tells them one at a time.
type counter struct {
	// accepted are reasons for which a rejected user counts as skipped.
	accepted []diag.Code
	outcome  func(pluginapi.Change)
	progress func(done int)

	mu     sync.Mutex
	result *Result
}

func (t *counter) add(changes ...pluginapi.Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range changes {
		if c.Action == pluginapi.Rejected && slices.Contains(t.accepted, c.Code) {
			c.Action = pluginapi.Skipped
		}
		t.result.Summary.Read++
		t.result.Summary.Count(c.Action)
		if c.Code != "" {
			t.result.Reasons[c.Code]++
		}
		if c.Unread() && c.Action == pluginapi.Unchanged {
			t.result.Unread++
		}
		if c.Incomplete() {
			t.result.Incomplete++
		}
		if t.outcome != nil {
			t.outcome(c)
		}
	}
	t.progress(t.result.Summary.Read)
}

// drifted counts accounts that somebody has changed in the target.
func (t *counter) drifted(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.Drifted += n
}

// without counts accounts that have no part in the run: unchanged ones are as the last
// run left them, and others are not chosen.
func (t *counter) without(unchanged, others int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.result.Summary
	s.Read += unchanged + others
	s.Unchanged += unchanged
	s.Skipped += others
	if others > 0 {
		t.result.Reasons[diag.RunNotSelected] += others
	}
}

// uncommitted takes back what counted as loaded. Of a target that is written as a whole
// nothing is there then; of any other one nobody knows what is.
func (t *counter) uncommitted(whole bool) {
	s := &t.result.Summary
	n := s.Created + s.Updated
	s.Created, s.Updated = 0, 0
	t.result.Reasons[diag.LoadNotCommitted] += n
	if whole {
		s.Rejected += n
	} else {
		s.InDoubt += n
	}
}
