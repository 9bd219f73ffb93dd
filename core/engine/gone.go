package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

	all    []leaver // about whom something is to be done
	absent int      // of them, those that the target has no more

	mu sync.Mutex
	// aside are accounts that are switched off, or would be, by their ids in the target:
	// they give free what somebody else wants. In a dry run, so do those that would go.
	aside map[string]*journal.Entry
	going map[string]bool
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
		result: &Gone{Policy: o.Policies.Gone, Kept: map[diag.Code]int{}}, aside: map[string]*journal.Entry{}, going: map[string]bool{},
	}
}

// count is how many accounts are to be switched off or deleted.
func (g *leavers) count() int {
	if g == nil {
		return 0
	}
	return len(g.all) - g.absent
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
		if !e.DisabledAt.IsZero() && action == "" && (code == "" || e.InDoubt) {
			g.aside[e.TargetID] = &e // of one in doubt, the target knows whether it has given anything free
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
		return "", diag.GoneLinked, "in the source it is now a login of account " + owner + ", which has an account of its own in the target"
	case e.Code == diag.GoneRegisteredAgain && off:
		return "", diag.GoneRegisteredAgain, "another account of the source has its address now; this one is switched off and has given up the address"
	case e.TargetID == "", e.InDoubt && off:
		return "", diag.UndoInDoubt, "it is not known what a run has left there; look in the target for the id " + e.VisibleID
	case len(e.State) == 0:
		return "", diag.UndoInDoubt, "the target did not say in which state a run has left it, so it is not known whether somebody has changed it since"
	case !r.same(e.Run):
		return "", diag.GoneOtherReading, fmt.Sprintf("run %d, the last one that loaded it, has read the source with other settings", e.Run)
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
			if o.Action == pluginapi.Unchanged {
				g.absent++
			}
			if !g.dry {
				return nil, nil
			}
			if o.Action == pluginapi.Updated {
				g.aside[l.entry.TargetID] = &l.entry
			} else {
				g.going[l.entry.TargetID] = true
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
			off, err := l.off(g.run, g.now, o)
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
			if !l.delete && (o.Action != pluginapi.InDoubt || o.Code == diag.PluginNotSent) {
				is := l.entry
				is.Before = []byte{} // nothing was done
				noted = append(noted, is)
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
		outcomes, err := ask(ctx, g, part, dry)
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
		if len(notes) > 0 {
			err = errors.Join(err, g.journal.Record(0, notes))
		}
		if err = errors.Join(err, context.Cause(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// ask sends a part to the target. What is about to be switched off is in doubt until its
// outcome is noted, with the beginning of a pre-image: what a run has done that was killed is
// no stranger's doing, and an undo knows of it.
func ask(ctx context.Context, g *leavers, part []leaver, dry bool) ([]pluginapi.Outcome, error) {
	accounts, doubts := make([]pluginapi.Account, len(part)), make([]journal.Entry, 0, len(part))
	for i := range part {
		accounts[i] = part[i].account()
		accounts[i].DryRun = dry
		if part[i].delete {
			continue
		}
		e := part[i].entry
		image := offImage{State: e.State, Action: e.Action, Code: e.Code}
		if err := image.into(&e); err != nil {
			return nil, err
		}
		e.InDoubt = true
		doubts = append(doubts, e)
	}
	if !dry && len(doubts) > 0 {
		if err := g.journal.Record(0, doubts); err != nil {
			return nil, err
		}
	}
	return g.dst.Undo(ctx, accounts)
}

// offImage is what the journal keeps of an account that was switched off, so that it can be
// as it was.
type offImage struct {
	Before []byte           `json:"before"` // the target's; nil where it is about to be switched off
	State  []byte           `json:"state"`
	Action pluginapi.Action `json:"action"`
	Code   diag.Code        `json:"code,omitempty"`
	// Heirs are the accounts that it has given something free for.
	Heirs []heir `json:"heirs,omitempty"`
}

// heir is an account that wants what one of somebody who has gone had.
type heir struct {
	ID string `json:"id"` // in the source
	// New says that no run had loaded it before.
	New bool `json:"new,omitempty"`
}

// into has the journal keep the image with an entry.
func (i *offImage) into(e *journal.Entry) (err error) {
	e.Anew = true
	if e.Before, err = json.Marshal(i); err != nil {
		return fmt.Errorf("encode what account %s was: %w", e.SourceID, err)
	}
	return nil
}

// imageOf is what the journal keeps of an account that was switched off, or is about to be.
func imageOf(ctx context.Context, j preImages, sourceID string) (image offImage, there bool, err error) {
	raw, err := j.Before(ctx, sourceID)
	if err != nil || raw == nil {
		return image, false, err
	}
	if err := json.Unmarshal(raw, &image); err != nil {
		return image, false, fmt.Errorf("read what account %s was before it was switched off: %w", sourceID, err)
	}
	return image, true, nil
}

// off is what is to be noted of an account that was switched off. The time is none before
// the journal last heard of it, whatever a clock says.
func (l *leaver) off(run int64, now time.Time, o *pluginapi.Outcome) (journal.Entry, error) {
	e := l.entry
	image := offImage{Before: o.Before, State: e.State, Action: e.Action, Code: e.Code}
	if err := image.into(&e); err != nil {
		return e, err
	}
	e.DisabledAt = now
	if e.DisabledAt.Before(e.At) {
		e.DisabledAt = e.At
	}
	e.State, e.Digest, e.Action, e.Code, e.InDoubt, e.Run = o.State, nil, pluginapi.Updated, diag.GoneDisabled, false, run
	l.entry = e
	l.entry.Before, l.entry.Anew = nil, false
	return e, nil
}

// stepAside has accounts of people who have gone give free what users were rejected for the
// lack of, and says which of the users can have it now.
func (g *leavers) stepAside(ctx context.Context, b *batch, changes []pluginapi.Change) (at []int, err error) {
	if g == nil || len(b.users) != len(changes) {
		return nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range changes {
		if !inTheWay(&changes[i]) {
			continue
		}
		free, err := free(ctx, g, b, changes, i)
		if err != nil {
			return at, err
		}
		if free {
			at = append(at, i)
		}
	}
	return at, nil
}

// inTheWay says whether a user was rejected for what another account has.
func inTheWay(c *pluginapi.Change) bool {
	return c.Action == pluginapi.Rejected && conflictCodes[c.Code]
}

// free says whether the i-th user can have now what another account had, which gives it free
// for all users of the batch that want something of it.
func free(ctx context.Context, g *leavers, b *batch, changes []pluginapi.Change, i int) (bool, error) {
	holder := changes[i].Holder
	e := g.aside[holder]
	switch {
	case g.going[holder]:
		return true, nil
	case e == nil:
		return false, nil
	case e.Code == diag.GoneRegisteredAgain:
		return true, nil
	}
	var heirs []heir
	for n := i; n < len(changes); n++ {
		if inTheWay(&changes[n]) && changes[n].Holder == holder {
			heirs = append(heirs, heir{ID: b.users[n].SourceID, New: !b.before[n].InTarget()})
		}
	}
	return g.release(ctx, e, heirs)
}

// release has one account give free what heirs want. Until the outcome is noted, it is in
// doubt.
func (g *leavers) release(ctx context.Context, e *journal.Entry, heirs []heir) (bool, error) {
	l := leaver{entry: *e}
	a := l.account()
	a.Release, a.DryRun = true, g.dry
	is, doubt := *e, *e
	if !g.dry {
		image, there, err := imageOf(ctx, g.journal, e.SourceID)
		if err == nil && !there {
			err = noImage(e)
		}
		if err == nil {
			image.Heirs = append(image.Heirs, heirs...)
			err = image.into(&doubt)
		}
		if err == nil {
			doubt.InDoubt = true
			err = g.journal.Record(0, []journal.Entry{doubt})
		}
		if err != nil {
			return false, err
		}
	}
	outcomes, err := g.dst.Undo(ctx, []pluginapi.Account{a})
	switch {
	case err != nil:
		return false, err
	case len(outcomes) != 1:
		return false, fmt.Errorf("%w: %d outcomes for one account", ErrUnbalanced, len(outcomes))
	}
	o := &outcomes[0]
	free := o.Action == pluginapi.Updated
	if free {
		is.State, is.Code, is.InDoubt, is.Run = o.State, diag.GoneRegisteredAgain, false, g.run
	}
	if !g.dry && (o.Action != pluginapi.InDoubt || o.Code == diag.PluginNotSent) {
		if err := g.journal.Record(0, []journal.Entry{is}); err != nil {
			return false, err
		}
	}
	if !free {
		delete(g.aside, e.TargetID)
		return false, nil
	}
	*e = is // nobody asks it again
	g.again(e)
	return true, nil
}

// noImage says that the journal does not know what an account was.
func noImage(e *journal.Entry) error {
	return fmt.Errorf("the journal does not know what account %s was before it was switched off", e.SourceID)
}

// again names an account whose person has registered anew, in the place of what was said of
// it before.
func (g *leavers) again(e *journal.Entry) {
	at := slices.IndexFunc(g.result.Accounts, func(o pluginapi.Outcome) bool { return o.SourceID == e.SourceID })
	if at < 0 {
		g.result.Waiting--
	} else {
		if code := g.result.Accounts[at].Code; code == "" {
			g.result.Disabled--
		} else if g.result.Kept[code]--; g.result.Kept[code] == 0 {
			delete(g.result.Kept, code)
		}
		g.result.Accounts = slices.Delete(g.result.Accounts, at, at+1)
	}
	g.keep(pluginapi.Outcome{
		SourceID: e.SourceID, TargetID: e.TargetID, Code: diag.GoneRegisteredAgain,
		Detail: "another account of the source has its address now; this one gives up the address, is switched off, and stays",
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
