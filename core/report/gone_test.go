package report

import (
	"strings"
	"testing"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
	"github.com/stetl/stetl/core/supertokens"
)

// What becomes of people who have gone is in the table, in the last lines and in the
// headline, with the reason of each who stays.
func TestGoneIsSaid(t *testing.T) {
	t.Parallel()
	follow := func() *engine.Gone {
		return &engine.Gone{
			Policy: policy.GoneDelete, Disabled: 40, Deleted: 2, Waiting: 3, Kept: map[diag.Code]int{diag.LoadMoved: 1, diag.GoneLinked: 1},
			Accounts: []pluginapi.Outcome{
				{SourceID: "gone-1", TargetID: "t1", Action: pluginapi.Updated},
				{SourceID: "linked-1", TargetID: "t2", Action: pluginapi.Skipped, Code: diag.GoneLinked, Detail: "it lives on"},
				{SourceID: "touched-1", TargetID: "t3", Action: pluginapi.Skipped, Code: diag.LoadMoved, Detail: "somebody has changed it"},
			},
		}
	}
	for name, tt := range map[string]struct {
		result engine.Result
		want   []string
		not    string
		bad    bool
	}{
		"a run": {
			engine.Result{Gone: follow(), Removed: []string{"gone-1"}},
			[]string{
				"Accounts of people who have gone from the source: 40 were switched off, 2 were deleted, 3 are switched off since an earlier run, 2 stay as they are.",
				"linked-1  gone.linked, t2 in the target: it lives on", "touched-1  load.moved, t3 in the target: somebody has changed it",
			},
			"they stay in the target", false,
		},
		"a plan": {engine.Result{DryRun: true, Gone: follow()}, []string{"40 would be switched off, 2 would be deleted", "2 would stay as they are"}, "were switched off", false},
		"nothing is proven": {
			engine.Result{Gone: &engine.Gone{People: 2, Withheld: diag.GoneOlderDump, Why: "the dump is old"}},
			[]string{"their 2 accounts are left alone, because the dump is old (gone.older_dump)."},
			"switched off", true,
		},
		"back again":     {engine.Result{Gone: &engine.Gone{Back: 2}}, []string{"2 people are in the source again"}, "Accounts of", false},
		"nobody follows": {engine.Result{Removed: []string{"a"}}, []string{"1 accounts that were loaded earlier are no longer in the source"}, "switched off", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &Run{Result: &tt.result, Layout: &supertokens.Layout{}}
			var b strings.Builder
			if err := r.WriteText(&b); err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("%q is not in:\n%s", want, b.String())
				}
			}
			if strings.Contains(b.String(), tt.not) {
				t.Errorf("%q is in:\n%s", tt.not, b.String())
			}
			h := newHeadline(&tt.result, nil, "the realm", nil)
			found := false
			for _, p := range h.Points {
				found = found || strings.Contains(p.Text, tt.want[0]) && p.Bad == tt.bad
			}
			if tt.result.Gone != nil && !found {
				t.Errorf("%q is not among %+v", tt.want[0], h.Points)
			}
		})
	}
	changes := &Run{Result: &engine.Result{DryRun: true, Gone: follow()}, Detailed: true}
	if EndingOf(changes) != EndWouldChange {
		t.Error("that people go is a change")
	}
}

// An undo of what was switched off says how many accounts went for it, where some did.
func TestUndoOfGoneIsSaid(t *testing.T) {
	t.Parallel()
	for deleted, said := range map[int]bool{0: false, 2: true} {
		var b strings.Builder
		u := Undoing{Target: "keycloak", OfGone: true, Result: &engine.Undoing{Restored: 42, Deleted: deleted}}
		if err := u.WriteText(&b); err != nil || strings.Contains(b.String(), "registered again") != said || !strings.Contains(b.String(), "42") {
			t.Errorf("%d deleted: %v\n%s", deleted, err, b.String())
		}
	}
}
