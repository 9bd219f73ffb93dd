package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

// ReturnJournal is what accounts that are switched on again are noted in.
type ReturnJournal interface {
	UndoJournal
	Get(ctx context.Context, sourceID string) (journal.Entry, bool, error)
	Record(batch int64, entries []journal.Entry) error
}

// Return switches accounts on again that runs have switched off because their people had
// gone from the source, as they were before, each only while nobody has touched it since.
// Where one has given something free for a person who has registered again, the account that
// a run has made for that person goes first, by the rules of [Undo]. With dry, nothing is
// written, and the result says of whom all that is true. All other accounts are left alone.
func Return(ctx context.Context, j ReturnJournal, dst Undoer, dry bool, o UndoOptions) (*Undoing, error) {
	r := &returning{
		Undoing: &Undoing{Kept: map[diag.Code]int{}}, journal: j, dst: dst, dry: dry, signedIn: o.SignedIn, report: o.Report,
	}
	if r.report == nil {
		r.report = func(pluginapi.Outcome) {}
	}
	start := time.Now()
	defer func() { r.Elapsed = time.Since(start) }()
	all, err := r.gather(ctx)
	if err != nil {
		return r.Undoing, err
	}
	r.Disabled = len(all)
	caps := dst.Capabilities()
	for part := range slices.Chunk(all, batchLimits(&caps).Users) {
		if err := errors.Join(r.part(ctx, part), context.Cause(ctx)); err != nil {
			return r.Undoing, err
		}
	}
	return r.Undoing, nil
}

// absent is an account that is switched off, and what it was.
type absent struct {
	entry journal.Entry
	image offImage
}

// returning switches accounts on again.
type returning struct {
	*Undoing
	journal       ReturnJournal
	dst           Undoer
	dry, signedIn bool
	report        func(pluginapi.Outcome)
}

// gather lists who is switched off. One that a run was about to switch off when it was
// killed may be so.
func (r *returning) gather(ctx context.Context) (all []journal.Entry, err error) {
	for e, err := range r.journal.Accounts(ctx) {
		if err != nil {
			return nil, err
		}
		if !e.DisabledAt.IsZero() || e.InDoubt && e.Origin == journal.Made {
			all = append(all, e)
		}
	}
	return slices.DeleteFunc(all, func(e journal.Entry) bool {
		if !e.DisabledAt.IsZero() || err != nil {
			return false
		}
		var about bool
		_, about, err = imageOf(ctx, r.journal, e.SourceID)
		return !about
	}), err
}

// part deals with some of the accounts: it brings to an end what a killed run had begun,
// makes room for those that have given something free, and switches all on.
func (r *returning) part(ctx context.Context, entries []journal.Entry) error {
	var all []absent
	for i := range entries {
		a, ready, err := r.ready(ctx, &entries[i])
		if err != nil {
			return err
		}
		if ready {
			all = append(all, a)
		}
	}
	return r.bringBack(ctx, all)
}

// ready says whether an account can be switched on now. Of one that cannot, it says why.
func (r *returning) ready(ctx context.Context, e *journal.Entry) (a absent, ready bool, err error) {
	if e.DisabledAt.IsZero() {
		if sure, err := r.settle(ctx, e); err != nil || !sure {
			return a, false, err
		}
	}
	image, there, err := imageOf(ctx, r.journal, e.SourceID)
	if err == nil && !there {
		err = noImage(e)
	}
	if err != nil {
		return a, false, err
	}
	a = absent{*e, image}
	if len(image.Heirs) == 0 {
		return a, true, nil
	}
	ready, err = r.room(ctx, &a)
	return a, ready, err
}

// settle switches off what a killed run was about to, so that it is known what it was. In a
// dry run it can say at once what comes of the account.
func (r *returning) settle(ctx context.Context, e *journal.Entry) (sure bool, err error) {
	l := leaver{entry: *e}
	a := l.account()
	a.DryRun = r.dry
	o, err := r.one(ctx, a)
	switch {
	case err != nil:
		return false, err
	case o.Action != pluginapi.Updated || r.dry:
		return false, r.done(o)
	}
	off, err := l.off(e.Run, time.Now(), o)
	if err != nil {
		return false, err
	}
	*e = l.entry
	return true, r.journal.Record(0, []journal.Entry{off})
}

// room has the accounts go that have what one of somebody who has gone had given free, if
// all of them can, and if it can be switched on at all.
func (r *returning) room(ctx context.Context, a *absent) (free bool, err error) {
	look := a.account()
	look.DryRun = true
	o, err := r.one(ctx, look)
	if err != nil {
		return false, err
	}
	if o.Action != pluginapi.Updated {
		return false, r.done(a.inDoubt(o))
	}
	going, stays, err := r.heirs(ctx, a)
	if err != nil {
		return false, err
	}
	if stays != nil {
		return false, r.done(stays)
	}
	for _, dry := range []bool{true, false} {
		for i := range going {
			going[i].DryRun = dry
			o, err := r.one(ctx, going[i])
			switch {
			case err != nil:
				return false, err
			case o.Action != pluginapi.Deleted && o.Action != pluginapi.Unchanged:
				return false, r.done(a.stays(o.SourceID, fmt.Sprintf("%s (%s)", o.Detail, o.Code), o.Hint))
			case dry == r.dry:
				if err := r.gone(o); err != nil {
					return false, err
				}
			}
		}
		if r.dry {
			break
		}
	}
	return true, nil
}

// heirs are the accounts that have what one has given free, or why one of them stays.
func (r *returning) heirs(ctx context.Context, a *absent) (going []pluginapi.Account, stays *pluginapi.Outcome, err error) {
	for _, h := range a.image.Heirs {
		e, there, err := r.journal.Get(ctx, h.ID)
		switch {
		case err != nil:
			return nil, nil, err
		case !there, !e.InTarget() && !e.InDoubt:
			continue // it has not come there, or has gone again
		}
		if why := h.stays(&e); why != "" {
			return nil, a.stays(h.ID, why, ""), nil
		}
		going = append(going, pluginapi.Account{SourceID: e.SourceID, TargetID: e.TargetID, State: e.State, ID: e.VisibleID, SignedIn: r.signedIn})
	}
	return going, nil, nil
}

// stays says why an heir cannot go; empty where the target is to say.
func (h *heir) stays(e *journal.Entry) string {
	switch {
	case !e.DisabledAt.IsZero():
		return "its person has gone from the source as well"
	case !h.New:
		return "it was there before; give it another address, and run this again"
	case e.Origin != journal.Made:
		return "no run has made it"
	case e.InDoubt || e.TargetID == "" || len(e.State) == 0:
		return "nobody knows what a run left there"
	}
	return ""
}

// stays is the outcome of an account whose heir does.
func (a *absent) stays(heir, why, hint string) *pluginapi.Outcome {
	return &pluginapi.Outcome{
		SourceID: a.entry.SourceID, TargetID: a.entry.TargetID, Action: pluginapi.Skipped, Code: diag.GoneRegisteredAgain,
		Detail: "account " + heir + ", which has what this one has given free, stays: " + why, Hint: hint,
	}
}

// inDoubt is what comes of an account that cannot be switched on: of one that was about to
// give something free, nobody knows whether that is the reason.
func (a *absent) inDoubt(o *pluginapi.Outcome) *pluginapi.Outcome {
	if a.entry.InDoubt && o.Code == diag.LoadMoved {
		o.Code, o.Detail = diag.UndoInDoubt, "a run was about to have it give its address free, and nobody knows what came of that"
		o.Hint = "look at it and switch it on by hand if it should be"
	}
	return o
}

// account is what the target is to switch on.
func (a *absent) account() pluginapi.Account {
	e := &a.entry
	return pluginapi.Account{SourceID: e.SourceID, TargetID: e.TargetID, State: e.State, ID: e.VisibleID, Before: a.image.Before}
}

// bringBack switches accounts on.
func (r *returning) bringBack(ctx context.Context, all []absent) error {
	if len(all) == 0 {
		return nil
	}
	accounts := make([]pluginapi.Account, len(all))
	for i := range all {
		accounts[i] = all[i].account()
		accounts[i].DryRun = r.dry
	}
	outcomes, err := r.dst.Undo(ctx, accounts)
	if err == nil && len(outcomes) != len(all) {
		return fmt.Errorf("%w: %d outcomes for %d accounts", ErrUnbalanced, len(outcomes), len(all))
	}
	var notes []journal.Entry
	for i := range outcomes {
		o := all[i].inDoubt(&outcomes[i])
		err = errors.Join(err, r.done(o))
		if o.Action == pluginapi.Updated {
			e, image := &all[i].entry, &all[i].image
			e.DisabledAt, e.Before, e.Digest, e.InDoubt = time.Time{}, []byte{}, nil, false
			e.State, e.Action, e.Code = image.State, image.Action, image.Code
			notes = append(notes, *e)
		}
	}
	if !r.dry && len(notes) > 0 {
		err = errors.Join(err, r.journal.Record(0, notes))
	}
	return err
}

// done counts what came of an account.
func (r *returning) done(o *pluginapi.Outcome) error {
	switch o.Action {
	case pluginapi.Updated:
		r.Restored++
		r.report(*o)
	case pluginapi.Unchanged:
		return r.gone(o)
	default:
		r.skip(r.report, *o)
	}
	return nil
}

// gone counts an account that is no more, and forgets it.
func (r *returning) gone(o *pluginapi.Outcome) error {
	if o.Action == pluginapi.Deleted {
		r.Deleted++
	} else {
		r.Gone++
	}
	r.report(*o)
	if r.dry {
		return nil
	}
	return r.journal.Forget([]string{o.SourceID})
}

// one asks the target about one account.
func (r *returning) one(ctx context.Context, a pluginapi.Account) (*pluginapi.Outcome, error) {
	outcomes, err := r.dst.Undo(ctx, []pluginapi.Account{a})
	if err == nil && len(outcomes) != 1 {
		err = fmt.Errorf("%w: %d outcomes for one account", ErrUnbalanced, len(outcomes))
	}
	if err != nil {
		return nil, err
	}
	return &outcomes[0], nil
}
