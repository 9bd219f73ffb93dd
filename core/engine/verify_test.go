package engine

import (
	"context"
	"testing"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

// stubborn is a target that does not let the names of some accounts be changed, and says so.
type stubborn struct {
	*idp
	keeps map[string]bool
}

func (s *stubborn) Plan(ctx context.Context, users []pluginapi.User) ([]pluginapi.Change, error) {
	out, err := s.idp.Plan(ctx, users)
	for i := range out {
		if s.keeps[users[i].SourceID] && out[i].Action == pluginapi.Unchanged {
			out[i].Fields = []pluginapi.FieldChange{{Field: "username", Old: "former", New: "wanted"}}
			out[i].Losses = []pluginapi.PartLoss{{Feature: pluginapi.PartUsername, Code: diag.LoadPartFailed}}
		}
	}
	return out, err
}

// What a target does not let be written is a difference for whoever compares both sides. A
// run has named it already, and does not take it for a broken promise of the target.
func TestVerifyNamesWhatCannotBeWritten(t *testing.T) {
	t.Parallel()
	dst, src := &stubborn{newIDP(), map[string]bool{id(2): true}}, people(4)
	p := newProject(t)
	if _, _, err := p.do(src, dst, func(o *Options) { o.ReadBack = 1 }); err != nil {
		t.Fatal(err)
	}
	p.with(func(_ *journal.Scope, o Options) {
		var named []pluginapi.Change
		o.Outcome = func(c pluginapi.Change) { named = append(named, c) }
		v, err := Verify(context.Background(), src, dst, o, 0)
		if err != nil || v.Match != 3 || v.Different() != 1 || v.Differences[diag.VerifyDiffers] != 1 {
			t.Errorf("%+v, %v", v, err)
		}
		if len(named) != 1 || named[0].SourceID != id(2) || named[0].Detail != "not as it should be: username" {
			t.Errorf("%+v", named)
		}
	})
}
