package engine

import (
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// The decision about an account that may be in the target, case by case.
func TestReconcile(t *testing.T) {
	t.Parallel()
	ours := journal.Entry{Origin: journal.Made}
	sent := journal.Entry{Origin: journal.Made, InDoubt: true}
	found := journal.Entry{Origin: journal.Found}
	none := journal.Entry{}
	says := func(a pluginapi.Action, code diag.Code, state string, drift bool) pluginapi.Change {
		c := pluginapi.Change{Outcome: pluginapi.Outcome{Action: a, Code: code}}
		if state != "" {
			c.State, c.Fields = []byte(state), []pluginapi.FieldChange{{Field: "email", Drift: drift}}
		}
		return c
	}
	update := says(pluginapi.Updated, "", "s", false)
	drift := says(pluginapi.Updated, "", "s", true)
	gone := says(pluginapi.Created, "", "", false)
	theirs := says(pluginapi.Skipped, diag.LoadExistsDiffers, "s", false)
	type answer struct {
		decision decision
		action   pluginapi.Action
		code     diag.Code
		drifted  bool
	}
	for name, tt := range map[string]struct {
		rules     rules
		found     pluginapi.Change
		before    journal.Entry
		unchanged bool
		expect    string // what a saved plan has seen
		want      answer
	}{
		"new":                          {found: gone, before: none, want: answer{write, pluginapi.Created, "", false}},
		"equal":                        {found: says(pluginapi.Unchanged, "", "s", false), before: none, want: answer{leave, pluginapi.Unchanged, "", false}},
		"refused":                      {found: says(pluginapi.Rejected, diag.LoadTargetRefused, "", false), before: none, want: answer{leave, pluginapi.Rejected, diag.LoadTargetRefused, false}},
		"changed":                      {found: update, before: ours, want: answer{write, pluginapi.Updated, "", false}},
		"drifted":                      {found: drift, before: ours, want: answer{leave, pluginapi.Skipped, diag.LoadDrift, true}},
		"drifted, to be overwritten":   {rules: rules{overwrite: true}, found: drift, before: ours, want: answer{write, pluginapi.Updated, "", true}},
		"deleted":                      {found: gone, before: ours, want: answer{leave, pluginapi.Skipped, diag.LoadDrift, true}},
		"deleted, to be overwritten":   {rules: rules{overwrite: true}, found: gone, before: ours, want: answer{write, pluginapi.Created, "", true}},
		"lost update":                  {found: drift, before: sent, want: answer{write, pluginapi.Updated, "", false}},
		"sent and not there":           {found: gone, before: sent, want: answer{write, pluginapi.InDoubt, diag.LoadUnknownAnswer, false}},
		"somebody else's":              {found: theirs, before: none, want: answer{leave, pluginapi.Skipped, diag.LoadExistsDiffers, false}},
		"somebody else's, adopted":     {rules: rules{adopt: true}, found: theirs, before: none, want: answer{adopt, pluginapi.Skipped, diag.LoadExistsDiffers, false}},
		"found before, adopted":        {rules: rules{adopt: true}, found: theirs, before: found, want: answer{adopt, pluginapi.Skipped, diag.LoadExistsDiffers, false}},
		"refused, nothing to adopt":    {rules: rules{adopt: true}, found: says(pluginapi.Rejected, diag.LoadTargetRefused, "s", false), before: none, want: answer{leave, pluginapi.Rejected, diag.LoadTargetRefused, false}},
		"unchanged":                    {found: update, before: ours, unchanged: true, want: answer{leave, pluginapi.Unchanged, "", false}},
		"unchanged and drifted":        {found: drift, before: ours, unchanged: true, want: answer{leave, pluginapi.Unchanged, "", true}},
		"unchanged and deleted":        {found: gone, before: ours, unchanged: true, want: answer{leave, pluginapi.Unchanged, "", true}},
		"unchanged, found before":      {rules: rules{adopt: true}, found: theirs, before: found, unchanged: true, want: answer{leave, pluginapi.Unchanged, "", false}},
		"unchanged, nobody can say":    {found: says(pluginapi.InDoubt, diag.PluginNotSent, "", false), before: ours, unchanged: true, want: answer{leave, pluginapi.InDoubt, diag.PluginNotSent, false}},
		"as planned":                   {rules: rules{planned: true}, found: update, before: ours, expect: "s", want: answer{write, pluginapi.Updated, "", false}},
		"moved since the plan":         {rules: rules{planned: true, overwrite: true}, found: drift, before: ours, expect: "other", want: answer{leave, pluginapi.Rejected, diag.LoadMoved, true}},
		"come since the plan":          {rules: rules{planned: true}, found: update, before: ours, want: answer{leave, pluginapi.Rejected, diag.LoadMoved, false}},
		"gone since the plan":          {rules: rules{planned: true}, found: gone, before: none, expect: "s", want: answer{leave, pluginapi.Rejected, diag.LoadMoved, false}},
		"arrived as planned":           {rules: rules{planned: true}, found: says(pluginapi.Unchanged, "", "s", false), before: none, want: answer{leave, pluginapi.Unchanged, "", false}},
		"made equal by somebody since": {rules: rules{planned: true}, found: says(pluginapi.Unchanged, "", "new", false), before: ours, expect: "s", want: answer{leave, pluginapi.Rejected, diag.LoadMoved, false}},
	} {
		u := pluginapi.User{SourceID: "a"}
		if tt.before.Ours() {
			u.Existing = pluginapi.Update
		}
		if tt.expect != "" {
			u.Expect = []byte(tt.expect)
		}
		d, c, drifted := tt.rules.reconcile(tt.found, &u, &tt.before, tt.unchanged)
		if got := (answer{d, c.Action, c.Code, drifted}); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// A plan shows what a run does also where accounts are adopted, and a saved plan does it.
func TestPlanKnowsAdoption(t *testing.T) {
	t.Parallel()
	src := people(9)
	start := func() *idp {
		dst := newIDP()
		dst.accounts[id(2)], dst.accounts[id(3)] = "theirs", "theirs too"
		dst.accounts[id(4)] = "user4@example.org user4@example.org "
		return dst
	}
	adopting := func(o *Options) { o.Policies.Adopt = true }
	want := pluginapi.Summary{Read: 9, Created: 6, Updated: 2, Unchanged: 1}

	p, dst := newProject(t), start()
	plan := NewPlan("public", "idp", nil, nil)
	var digests sync.Map
	planned, shown, err := p.do(src, dst, func(o *Options) {
		adopting(o)
		o.DryRun, o.Digest = true, func(id string, digest []byte) { digests.Store(id, digest) }
		record := o.Outcome
		o.Outcome = func(c pluginapi.Change) {
			record(c)
			digest, _ := digests.Load(c.SourceID)
			plan.Add(c, digest.([]byte))
		}
	})
	if err != nil || planned.Summary != want || dst.writes > 0 {
		t.Fatalf("planned: %+v, %v, %d writes", planned.Summary, err, dst.writes)
	}
	if c := shown[id(2)]; c.Action != pluginapi.Updated || len(c.Fields) == 0 || c.Fields[0].Old != "theirs" {
		t.Errorf("the plan shows %+v", c)
	}
	dst.accounts[id(3)] = "moved" // meanwhile
	res, _, err := p.do(src, dst, func(o *Options) { adopting(o); o.Plan = plan })
	moved := pluginapi.Summary{Read: 9, Created: 6, Updated: 1, Unchanged: 1, Rejected: 1}
	if err != nil || res.Summary != moved || res.Reasons[diag.LoadMoved] != 1 || dst.accounts[id(3)] != "moved" {
		t.Errorf("the plan, executed: %+v, %v, %v", res.Summary, res.Reasons, err)
	}

	run, _, err := newProject(t).do(src, start(), adopting)
	if err != nil || run.Summary != want {
		t.Errorf("a run without a plan: %+v, %v", run.Summary, err)
	}
}

// Whatever has happened in the target meanwhile, and whatever the policies: a plan of a
// later run says what that run does, account by account.
func TestLaterPlansSayWhatRunsDo(t *testing.T) {
	t.Parallel()
	first := people(12)
	for _, policies := range []policy.Policies{{}, {Adopt: true}, {OverwriteDrift: true}, {Adopt: true, OverwriteDrift: true}} {
		for _, full := range []bool{false, true} {
			p, dst := newProject(t), newIDP()
			dst.accounts[id(2)], dst.accounts[id(3)] = "theirs", "theirs too"
			same := "user4@example.org user4@example.org "
			dst.accounts[id(4)], dst.accounts[id(5)], dst.accounts[id(6)] = same, "user5@example.org user5@example.org ", "user6@example.org user6@example.org "
			if _, _, err := p.do(first, dst, nil); err != nil {
				t.Fatal(err)
			}
			// In the source: changes of ours, of others', of found ones.
			src := first
			for _, n := range []int{0, 1, 3, 5, 7, 8} {
				src = rename(src, n, "new"+id(n)+"@example.org")
			}
			// In the target: drift of what has changed in the source and of what has not.
			dst.accounts[id(1)], dst.accounts[id(9)], dst.accounts[id(6)] = "drifted", "drifted", "drifted"
			delete(dst.accounts, id(7))
			delete(dst.accounts, id(10))
			set := func(o *Options) { o.Policies, o.Full = policies, full }
			planned, shown, err := p.do(src, dst, func(o *Options) { set(o); o.DryRun = true })
			if err != nil {
				t.Fatal(err)
			}
			res, done, err := p.do(src, dst, set)
			if err != nil || planned.Summary != res.Summary {
				t.Errorf("%+v, full %v: planned %+v, done %+v, %v", policies, full, planned.Summary, res.Summary, err)
			}
			for _, id := range slices.Sorted(maps.Keys(done)) {
				got, want := done[id].Outcome, shown[id].Outcome
				if diff := cmp.Diff([]string{string(want.Action), string(want.Code)}, []string{string(got.Action), string(got.Code)}); diff != "" {
					t.Errorf("%+v, full %v, %s (-planned +done):\n%s", policies, full, id, diff)
				}
			}
		}
	}
}
