package journal

import (
	"testing"

	"github.com/stetl/stetl/core/target"
)

// The entries that runs leave behind, and what each of them answers.
func TestQuestions(t *testing.T) {
	t.Parallel()
	type answers struct{ inTarget, ours, open, located bool }
	for name, tt := range map[string]struct {
		entry Entry
		want  answers
		last  target.Action
	}{
		"made":                     {Entry{Action: target.Created, Origin: Made, TargetID: "t"}, answers{inTarget: true, ours: true, located: true}, target.Created},
		"changed":                  {Entry{Action: target.Updated, Origin: Adopted, TargetID: "t"}, answers{inTarget: true, ours: true, located: true}, target.Updated},
		"found equal":              {Entry{Action: target.Unchanged, Origin: Found, TargetID: "t"}, answers{inTarget: true, located: true}, target.Unchanged},
		"found different":          {Entry{Action: target.Skipped, TargetID: "t"}, answers{located: true}, target.Skipped},
		"refused":                  {Entry{Action: target.Rejected}, answers{open: true}, target.Rejected},
		"refused, like another":    {Entry{Action: target.Rejected, TargetID: "theirs"}, answers{open: true}, target.Rejected},
		"made, refused later":      {Entry{Action: target.Rejected, Origin: Made, TargetID: "t"}, answers{inTarget: true, ours: true, open: true, located: true}, target.Rejected},
		"sent":                     {Entry{Action: target.InDoubt, InDoubt: true}, answers{open: true}, target.InDoubt},
		"made, sent again":         {Entry{Action: target.Created, Origin: Made, TargetID: "t", InDoubt: true}, answers{inTarget: true, ours: true, open: true}, target.InDoubt},
		"made, read back as other": {Entry{Action: target.InDoubt, Origin: Made, TargetID: "t"}, answers{inTarget: true, ours: true, open: true, located: true}, target.InDoubt},
		"left out":                 {Entry{Action: target.Skipped}, answers{}, target.Skipped},
	} {
		e := &tt.entry
		if got := (answers{e.InTarget(), e.Ours(), e.Open(), e.Located()}); got != tt.want || e.Outcome() != tt.last {
			t.Errorf("%s: %+v and %s, want %+v and %s", name, got, e.Outcome(), tt.want, tt.last)
		}
	}
}
