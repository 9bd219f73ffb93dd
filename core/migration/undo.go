package migration

import (
	"context"
	"errors"
	"fmt"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/report"
)

// The phases of [Migration.Undo]: accounts, and what runs have created beside them.
const (
	Undoing engine.Phase = "undo"
	Tidying engine.Phase = "tidy"
)

// CountUndo says what [Migration.Undo] would do, and whether it can.
func (m *Migration) CountUndo(ctx context.Context) (*engine.Undoing, error) {
	switch caps := m.target.Capabilities(); {
	case m.o.ReadOnly:
		return nil, UsageError{errors.New("the journal was opened for looking only, and undo notes in it what it does")}
	case caps.Whole:
		return nil, RefusedError{errors.New("this target is written as a whole, as import files are: remove what the run has written")}
	case !caps.Can(pluginapi.CanUndo):
		return nil, RefusedError{fmt.Errorf("plugin %s cannot take accounts back", m.cfg.Target.Plugin)}
	}
	count, err := engine.CountUndo(ctx, m.journal.scope)
	return count, classify(ctx, err)
}

// Undo deletes the accounts that runs have created and gives those that they changed
// their former state back, each only while it is as the run left it. Accounts whose people
// have signed in since are deleted only where signedIn says so.
func (m *Migration) Undo(ctx context.Context, signedIn bool) (*report.Undoing, error) {
	count, err := m.CountUndo(ctx)
	if err != nil {
		return nil, err
	}
	r := &report.Undoing{Target: m.cfg.TargetText()}
	done := 0
	r.Result, err = engine.Undo(ctx, m.journal.scope, m.plugin.current(), engine.UndoOptions{
		SignedIn: signedIn,
		Report: func(o pluginapi.Outcome) {
			done++
			m.o.Progress(engine.Progress{Phase: Undoing, Done: done, Total: count.Made + count.Adopted + count.Doubtful})
			if o.Code != "" {
				r.Kept = append(r.Kept, o)
			}
		},
		Tidying: func(removed, left int) {
			m.o.Progress(engine.Progress{Phase: Tidying, Done: removed, Total: removed + left})
		},
	})
	return r, classify(ctx, err)
}
