package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// leaversJournal is a journal that leavers can be noted in.
type leaversJournal interface {
	Journal
	preImages
	Forget(sourceIDs []string) error
}

// leaver is an account whose person has gone.
type leaver struct {
	entry  journal.Entry
	delete bool // or else it is switched off
}

// account is what the target is asked about; of an account on its way nobody knows whether
// it is switched off already.
func (l *leaver) account() pluginapi.Account {
	e := &l.entry
	return pluginapi.Account{SourceID: e.SourceID, TargetID: e.TargetID, State: e.State, ID: e.VisibleID, InDoubt: e.InDoubt, Disable: !l.delete}
}

// leavers follow people who have gone from the source.
type leavers struct {
	dst     takingBack
	journal leaversJournal
	run     int64
	atOnce  int
	dry     bool
	now     time.Time
	result  *Gone

	all []leaver // about whom something is to be done

	mu sync.Mutex
	// aside are accounts that are switched off, or would be, by their ids in the target:
	// they give free what somebody else wants.
	aside map[string]*journal.Entry
}

// goneRules decide about one account, with what is known without the target.
type goneRules struct {
	policy policy.Gone
	after  time.Duration
	linked map[string]string
	same   func(run int64) bool
	plan   *Plan
}

func newLeavers(j leaversJournal, dst takingBack, caps *pluginapi.Capabilities, o *Options) *leavers {
	now := time.Now
	if o.Departures.Now != nil {
		now = o.Departures.Now
	}
	return &leavers{
		dst: dst, journal: j, run: o.Run, atOnce: batchLimits(caps).Users, dry: o.DryRun, now: now(),
		result: &Gone{Policy: o.Policies.Gone, Kept: map[diag.Code]int{}}, aside: map[string]*journal.Entry{},
	}
}

// count is how many accounts are to be switched off or deleted.
func (g *leavers) count() int {
	if g == nil {
		return 0
	}
	return len(g.all)
}

// withhold has nothing be done about anybody.
func (g *leavers) withhold(code diag.Code, why string) { g.result.Withheld, g.result.Why = code, why }

// find takes in who has gone.
func (g *leavers) find(ctx context.Context, removed []string, rules *goneRules) error {
	for _, id := range removed {
		e, err := entryOf(ctx, g.journal, id)
		if err != nil {
			return err
		}
		l := leaver{entry: e}
		action, code, why := rules.about(&l, g.now)
		switch {
		case code != "":
			g.keep(pluginapi.Outcome{SourceID: id, TargetID: e.TargetID, Code: code, Detail: why})
		case action == "":
			g.result.Waiting++
		default:
			l.delete = action == pluginapi.Deleted
			g.all = append(g.all, l)
		}
		if !e.DisabledAt.IsZero() && code == "" && action == "" {
			g.aside[e.TargetID] = &e
		}
	}
	return nil
}

// about says what is to be done: nothing yet, switching off (Updated) or Deleted; a code
// says why it stays.
func (r *goneRules) about(l *leaver, now time.Time) (pluginapi.Action, diag.Code, string) {
	e := &l.entry
	off := !e.DisabledAt.IsZero()
	switch owner := r.linked[e.SourceID]; {
	case e.Origin != journal.Made:
		return "", diag.GoneNotMade, "no run has made this account"
	case owner != "":
		return "", diag.GoneLinked, "it lives on as a way to sign in to account " + owner + ", which has an account of its own in the target"
	case e.Code == diag.GoneRegisteredAgain && off:
		return "", diag.GoneRegisteredAgain, "another account of the source has its address, which it has given free; it is switched off"
	case e.TargetID == "", e.InDoubt && off:
		return "", diag.UndoInDoubt, "nobody knows what a run left there; look in the target for the id " + e.VisibleID
	case !r.same(e.Run):
		return "", diag.GoneOtherReading, fmt.Sprintf("run %d, which was the last to deal with it, has chosen accounts of the source by other settings", e.Run)
	}
	action := pluginapi.Updated
	switch {
	case off && (r.policy != policy.GoneDelete || now.Sub(e.DisabledAt) < r.after):
		return "", "", ""
	case off:
		action = pluginapi.Deleted
	}
	if r.plan != nil && r.plan.Gone[e.SourceID] != action {
		return "", diag.PlanNotPlanned, "the plan does not say so"
	}
	return action, "", ""
}

// keep counts an account that stays as it is, and why.
func (g *leavers) keep(o pluginapi.Outcome) {
	if o.Action == "" {
		o.Action = pluginapi.Skipped
	}
	g.result.Kept[o.Code]++
	g.result.Accounts = append(g.result.Accounts, o)
}

// look asks the target, without writing, of whom it would be true that nobody has touched
// the account, and leaves the others alone.
func (g *leavers) look(ctx context.Context) error {
	var stay []leaver
	err := g.each(ctx, true, func(l *leaver, o *pluginapi.Outcome) ([]journal.Entry, error) {
		switch o.Action {
		case pluginapi.Updated, pluginapi.Deleted, pluginapi.Unchanged: // the last one is forgotten by the run
			stay = append(stay, *l)
			if !g.dry {
				return nil, nil
			}
			if o.Action == pluginapi.Updated {
				g.aside[l.entry.TargetID] = &l.entry
			}
			g.did(o)
		default:
			g.keep(*o)
		}
		return nil, nil
	})
	g.all = stay
	return err
}

// did counts what was done, or would be.
func (g *leavers) did(o *pluginapi.Outcome) {
	switch o.Action {
	case pluginapi.Updated:
		g.result.Disabled++
	case pluginapi.Deleted:
		g.result.Deleted++
	default:
		g.result.Absent++
	}
	g.result.Accounts = append(g.result.Accounts, pluginapi.Outcome{SourceID: o.SourceID, TargetID: o.TargetID, Action: o.Action, Detail: o.Detail})
}

// act switches off and deletes.
func (g *leavers) act(ctx context.Context) error {
	if g == nil {
		return nil
	}
	return g.each(ctx, false, func(l *leaver, o *pluginapi.Outcome) (noted []journal.Entry, err error) {
		switch o.Action {
		case pluginapi.Updated:
			off, err := l.off(g.run, g.now, o, diag.GoneDisabled)
			if err != nil {
				return nil, err
			}
			noted = append(noted, off)
			g.aside[l.entry.TargetID] = &l.entry
		case pluginapi.Deleted, pluginapi.Unchanged:
			if err := g.journal.Forget([]string{o.SourceID}); err != nil {
				return nil, err
			}
		default:
			if o.Action == pluginapi.InDoubt && o.Code != diag.PluginNotSent && !l.delete {
				l.entry.InDoubt = true
				noted = append(noted, l.entry)
			}
			g.keep(*o)
			return noted, nil
		}
		g.did(o)
		return noted, nil
	})
}

// each has the target deal with accounts, a part at a time, and notes what became says.
func (g *leavers) each(ctx context.Context, dry bool, became func(*leaver, *pluginapi.Outcome) ([]journal.Entry, error)) error {
	for from := 0; from < len(g.all); from += g.atOnce {
		part := g.all[from:min(from+g.atOnce, len(g.all))]
		outcomes, batch, err := ask(ctx, g, part, dry)
		if len(outcomes) != len(part) {
			return errors.Join(err, fmt.Errorf("%w: %d outcomes for %d accounts", ErrUnbalanced, len(outcomes), len(part)))
		}
		var notes []journal.Entry
		for i := range part {
			note, noteErr := became(&part[i], &outcomes[i])
			if noteErr != nil {
				return errors.Join(err, noteErr)
			}
			notes = append(notes, note...)
		}
		if batch != 0 || len(notes) > 0 {
			err = errors.Join(err, g.journal.Record(batch, notes))
		}
		if err = errors.Join(err, context.Cause(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// ask sends a part to the target. What is about to be switched off is in doubt until the
// batch is recorded, so that a run that was killed is no stranger's doing.
func ask(ctx context.Context, g *leavers, part []leaver, dry bool) (outcomes []pluginapi.Outcome, batch int64, err error) {
	accounts, marks := make([]pluginapi.Account, len(part)), make([]journal.Entry, 0, len(part))
	for i := range part {
		accounts[i] = part[i].account()
		accounts[i].DryRun = dry
		if !part[i].delete {
			marks = append(marks, part[i].entry)
		}
	}
	if !dry && len(marks) > 0 {
		if batch, err = g.journal.Mark(g.run, marks); err != nil {
			return nil, 0, err
		}
	}
	outcomes, err = g.dst.Undo(ctx, accounts)
	return outcomes, batch, err
}

// offImage is what the journal keeps of an account that was switched off, so that it can be
// as it was.
type offImage struct {
	Before []byte           `json:"before"` // the target's
	State  []byte           `json:"state"`
	Action pluginapi.Action `json:"action"`
	Code   diag.Code        `json:"code,omitempty"`
}

// off is what is to be noted of an account that was switched off, or has given free what
// others want.
func (l *leaver) off(run int64, now time.Time, o *pluginapi.Outcome, code diag.Code) (_ journal.Entry, err error) {
	e := l.entry
	if e.DisabledAt.IsZero() {
		e.DisabledAt = now
		if e.Before, err = json.Marshal(offImage{o.Before, e.State, e.Action, e.Code}); err != nil {
			return e, err
		}
	}
	e.State, e.Digest, e.Action, e.Code, e.InDoubt, e.Run = o.State, nil, pluginapi.Updated, code, false, run
	l.entry = e
	l.entry.Before = nil
	return e, nil
}

// stepAside has accounts of people who have gone give free what users were rejected for the
// lack of, and says which of the users can have it now.
func (g *leavers) stepAside(ctx context.Context, changes []pluginapi.Change) (at []int, err error) {
	if g == nil {
		return nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range changes {
		c := &changes[i]
		if c.Action != pluginapi.Rejected || !conflictCodes[c.Code] {
			continue
		}
		e := g.aside[c.Holder]
		if e == nil {
			continue
		}
		if e.Code != diag.GoneRegisteredAgain {
			free, err := g.release(ctx, e)
			if err != nil {
				return at, err
			}
			if !free {
				continue
			}
		}
		at = append(at, i)
	}
	return at, nil
}

// release has one account give free what somebody else wants.
func (g *leavers) release(ctx context.Context, e *journal.Entry) (bool, error) {
	l := leaver{entry: *e}
	a := l.account()
	a.Release, a.DryRun = true, g.dry
	outcomes, err := g.dst.Undo(ctx, []pluginapi.Account{a})
	switch {
	case err != nil:
		return false, err
	case len(outcomes) != 1:
		return false, fmt.Errorf("%w: %d outcomes for one account", ErrUnbalanced, len(outcomes))
	}
	o := &outcomes[0]
	free := o.Action == pluginapi.Updated
	if free && !g.dry {
		noted, err := l.off(g.run, g.now, o, diag.GoneRegisteredAgain)
		if err == nil {
			err = g.journal.Record(0, []journal.Entry{noted})
		}
		if err != nil {
			return false, err
		}
		*e = l.entry
	}
	if !free {
		delete(g.aside, e.TargetID)
		return false, nil
	}
	e.Code = diag.GoneRegisteredAgain // nobody asks it again
	g.again(e)
	return true, nil
}

// again names an account whose person has registered anew, in the place of what was said of
// it before.
func (g *leavers) again(e *journal.Entry) {
	done := false
	for i := range g.result.Accounts {
		if o := &g.result.Accounts[i]; o.SourceID == e.SourceID && o.Action == pluginapi.Updated {
			g.result.Disabled--
			g.result.Accounts = append(g.result.Accounts[:i], g.result.Accounts[i+1:]...)
			done = true
			break
		}
	}
	if !done {
		g.result.Waiting--
	}
	g.keep(pluginapi.Outcome{
		SourceID: e.SourceID, TargetID: e.TargetID, Code: diag.GoneRegisteredAgain,
		Detail: "another account of the source has its address, which it gives free; it is switched off and stays",
	})
}

// back counts people who are in the source again, and whose accounts are brought up to date.
func (g *leavers) back(before []journal.Entry, changes []pluginapi.Change) {
	if g == nil || len(before) != len(changes) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range changes {
		if changes[i].Action == pluginapi.Updated && !before[i].DisabledAt.IsZero() {
			g.result.Back++
		}
	}
}

// preImages are what a journal keeps of accounts as they were.
type preImages interface {
	Before(ctx context.Context, sourceID string) ([]byte, error)
}

// bringBack has the target switch accounts on again, as they were, or say whether it can. It
// returns one outcome for each, and what the journal is to hold of those that are Updated; of
// all others what it does.
func bringBack(ctx context.Context, dst takingBack, j preImages, entries []journal.Entry, dry bool) ([]pluginapi.Outcome, []journal.Entry, error) {
	accounts, restored := make([]pluginapi.Account, len(entries)), make([]journal.Entry, len(entries))
	images := make([]offImage, len(entries))
	for i := range entries {
		e := &entries[i]
		raw, err := j.Before(ctx, e.SourceID)
		if err == nil && raw == nil {
			err = errors.New("there is none")
		}
		if err == nil {
			err = json.Unmarshal(raw, &images[i])
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read what account %s was before it was switched off: %w", e.SourceID, err)
		}
		restored[i] = *e
		accounts[i] = pluginapi.Account{SourceID: e.SourceID, TargetID: e.TargetID, State: e.State, ID: e.VisibleID, Before: images[i].Before, DryRun: dry}
	}
	outcomes, err := dst.Undo(ctx, accounts)
	if err == nil && len(outcomes) != len(accounts) {
		return nil, nil, fmt.Errorf("%w: %d outcomes for %d accounts", ErrUnbalanced, len(outcomes), len(accounts))
	}
	for i := range outcomes {
		if outcomes[i].Action == pluginapi.Updated {
			e := &restored[i]
			e.DisabledAt, e.Before, e.Digest = time.Time{}, []byte{}, nil
			e.State, e.Action, e.Code = images[i].State, images[i].Action, images[i].Code
		}
	}
	return outcomes, restored, err
}
