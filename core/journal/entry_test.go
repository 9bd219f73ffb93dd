package journal

import (
	"testing"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// The entries that runs leave behind, and what each of them answers.
func TestQuestions(t *testing.T) {
	t.Parallel()
	type answers struct{ inTarget, ours, theirs, open, located bool }
	for name, tt := range map[string]struct {
		entry Entry
		want  answers
		last  pluginapi.Action
	}{
		"made":                     {Entry{Action: pluginapi.Created, Origin: Made, TargetID: "t"}, answers{inTarget: true, ours: true, located: true}, pluginapi.Created},
		"changed":                  {Entry{Action: pluginapi.Updated, Origin: Adopted, TargetID: "t"}, answers{inTarget: true, ours: true, located: true}, pluginapi.Updated},
		"found equal":              {Entry{Action: pluginapi.Unchanged, Origin: Found, TargetID: "t"}, answers{inTarget: true, theirs: true, located: true}, pluginapi.Unchanged},
		"found different":          {Entry{Action: pluginapi.Skipped, Code: diag.LoadExistsDiffers, TargetID: "t"}, answers{theirs: true, located: true}, pluginapi.Skipped},
		"refused":                  {Entry{Action: pluginapi.Rejected}, answers{open: true}, pluginapi.Rejected},
		"refused, like another":    {Entry{Action: pluginapi.Rejected, TargetID: "theirs"}, answers{open: true}, pluginapi.Rejected},
		"made, refused later":      {Entry{Action: pluginapi.Rejected, Origin: Made, TargetID: "t"}, answers{inTarget: true, ours: true, open: true, located: true}, pluginapi.Rejected},
		"sent":                     {Entry{Action: pluginapi.InDoubt, InDoubt: true}, answers{open: true}, pluginapi.InDoubt},
		"made, sent again":         {Entry{Action: pluginapi.Created, Origin: Made, TargetID: "t", InDoubt: true}, answers{inTarget: true, ours: true, open: true}, pluginapi.InDoubt},
		"made, read back as other": {Entry{Action: pluginapi.InDoubt, Origin: Made, TargetID: "t"}, answers{inTarget: true, ours: true, open: true, located: true}, pluginapi.InDoubt},
		"found different, sent":    {Entry{Action: pluginapi.Skipped, Code: diag.LoadExistsDiffers, TargetID: "t", InDoubt: true}, answers{theirs: true, open: true}, pluginapi.InDoubt},
		"left out":                 {Entry{Action: pluginapi.Skipped}, answers{}, pluginapi.Skipped},
	} {
		e := &tt.entry
		if got := (answers{e.InTarget(), e.Ours(), e.Theirs(), e.Open(), e.Located()}); got != tt.want || e.Outcome() != tt.last {
			t.Errorf("%s: %+v and %s, want %+v and %s", name, got, e.Outcome(), tt.want, tt.last)
		}
	}
}
