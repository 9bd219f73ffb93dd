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
		return nil, UsageError{errors.New("the journal was opened read-only, and undo has to write to it")}
	case caps.Whole:
		return nil, RefusedError{errors.New("this target is written as a whole (such as import files): remove what the run has written")}
	case !caps.Can(pluginapi.CanUndo):
		return nil, RefusedError{fmt.Errorf("plugin %s cannot take accounts back", m.cfg.Target.Plugin)}
	}
	count, err := engine.CountUndo(ctx, m.journal.scope)
	return count, classify(ctx, err)
}

// UndoOptions say what [Migration.Undo] takes back.
type UndoOptions struct {
	// SignedIn has accounts deleted although their people have signed in since.
	SignedIn bool
	// Gone switches accounts on again that runs have switched off because their people had
	// gone from the source, as they were before, in the place of those that runs have made
	// for the same people since, and leaves all others alone. DryRun only says of whom it can.
	Gone, DryRun bool
}

// Undo deletes the accounts that runs have created and gives those that they changed
// their former state back, each only while it is as the run left it.
func (m *Migration) Undo(ctx context.Context, o UndoOptions) (*report.Undoing, error) {
	ctx, release := m.journal.hold(ctx)
	defer release()
	count, err := m.CountUndo(ctx)
	if err != nil {
		return nil, err
	}
	r := &report.Undoing{Target: m.cfg.TargetText(), OfGone: o.Gone}
	total, done := count.Made+count.Adopted+count.Doubtful, 0
	if o.Gone {
		total = count.Disabled
	}
	options := engine.UndoOptions{
		SignedIn: o.SignedIn,
		Report: func(out pluginapi.Outcome) {
			done++
			m.o.Progress(engine.Progress{Phase: Undoing, Done: done, Total: total})
			switch {
			case out.Code != "":
				r.Kept = append(r.Kept, out)
			case len(out.Losses) > 0:
				r.Partly = append(r.Partly, out)
			}
		},
		Tidying: func(removed, left int) {
			m.o.Progress(engine.Progress{Phase: Tidying, Done: removed, Total: removed + left})
		},
	}
	switch {
	case !o.Gone:
		r.Result, err = engine.Undo(ctx, m.journal.scope, m.plugin.current(), options)
	case !m.target.Capabilities().Can(pluginapi.CanDisable):
		return nil, RefusedError{fmt.Errorf("plugin %s cannot switch accounts on again", m.cfg.Target.Plugin)}
	default:
		r.Result, err = engine.Return(ctx, m.journal.scope, m.plugin.current(), o.DryRun, options)
	}
	return r, classify(ctx, err)
}
