package engine

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

// Undoer is a target that takes accounts back.
type Undoer interface {
	Capabilities() pluginapi.Capabilities
	Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error)
}

// UndoJournal is what an undo reads and forgets.
type UndoJournal interface {
	Accounts(ctx context.Context) iter.Seq2[journal.Entry, error]
	Before(ctx context.Context, sourceID string) ([]byte, error)
	Forget(sourceIDs []string) error
}

// Undoing is what an undo did, or would do.
type Undoing struct {
	// Made and Adopted count what is there to undo, Doubtful what a run has sent and of
	// which nobody knows what came, and Left what no undo may touch.
	Made     int `json:"made"`
	Adopted  int `json:"adopted"`
	Doubtful int `json:"doubtful,omitempty"`
	Left     int `json:"left"`
	// Disabled counts those of them that runs have switched off.
	Disabled int `json:"disabled,omitempty"`
	// Deleted and Restored count what was undone, Gone what was not there any more.
	Deleted  int `json:"deleted"`
	Restored int `json:"restored"`
	Gone     int `json:"gone"`
	// Kept counts accounts that stay because somebody has changed them since, or
	// because the target refused; by reason.
	Kept map[diag.Code]int `json:"kept"`
	// Tidied counts what was removed beside accounts, such as roles and groups that runs
	// had created and nobody has any more. Untidy is why that did not come to its end.
	Tidied  int           `json:"tidied,omitempty"`
	Untidy  string        `json:"untidy,omitempty"`
	Elapsed time.Duration `json:"-"`
}

// UndoOptions say what of an undo is up to the caller.
type UndoOptions struct {
	// SignedIn has accounts deleted although their people have signed in since.
	SignedIn bool
	// Report, when set, is called for every account with what became of it.
	Report func(pluginapi.Outcome)
	// Tidying, when set, is called while things beside accounts are removed: how many have
	// gone, and how many are still to be looked at.
	Tidying func(removed, left int)
}

// tidier is an [Undoer] that removes what runs have created beside accounts.
type tidier interface {
	Tidy(ctx context.Context) (removed, left int, err error)
}

// CountUndo says what an undo would do, without doing it.
func CountUndo(ctx context.Context, j UndoJournal) (*Undoing, error) {
	u := &Undoing{Kept: map[diag.Code]int{}}
	for e, err := range j.Accounts(ctx) {
		if err != nil {
			return u, err
		}
		u.count(&e)
	}
	return u, nil
}

func (u *Undoing) count(e *journal.Entry) {
	if !e.DisabledAt.IsZero() {
		u.Disabled++
	}
	switch {
	case e.InDoubt:
		u.Doubtful++
	case e.Origin == journal.Made:
		u.Made++
	case e.Origin == journal.Adopted:
		u.Adopted++
	case e.InTarget():
		u.Left++
	}
}

// Undo takes back what the runs in j did: accounts they made are deleted, those
// they changed get their pre-image back, each only while it is as the run left it.
// Everything else is left alone and reported. What was undone is forgotten at
// once, so that an undo that was stopped can go on. What runs have created beside accounts
// goes last, also where there is no account any more: the accounts are undone whatever
// becomes of that.
func Undo(ctx context.Context, j UndoJournal, dst Undoer, o UndoOptions) (*Undoing, error) {
	u := &Undoing{Kept: map[diag.Code]int{}}
	report := o.Report
	if report == nil {
		report = func(pluginapi.Outcome) {}
	}
	start := time.Now()
	defer func() { u.Elapsed = time.Since(start) }()
	caps := dst.Capabilities()
	all, err := u.gather(ctx, j, &caps, o.SignedIn, report)
	if err != nil {
		return u, err
	}
	most := caps.Batch.Users
	if most <= 0 {
		most = defaultBatchUsers
	}
	var part []pluginapi.Account
	size := 0 // of the pre-images in part, which are in memory
	for i := range all {
		before, ready, err := u.preImage(ctx, j, &all[i], report)
		if err != nil {
			return u, err
		}
		if ready {
			a := all[i]
			a.Before = before
			part, size = append(part, a), size+len(before)
		}
		if len(part) == 0 || len(part) < most && size < undoBytes && i < len(all)-1 {
			continue
		}
		if err := u.part(ctx, j, dst, part, report); err != nil {
			return u, err
		}
		if ctx.Err() != nil {
			return u, context.Cause(ctx)
		}
		part, size = nil, 0
	}
	if t, ok := dst.(tidier); ok && caps.Can(pluginapi.CanTidy) {
		u.tidy(ctx, t, o.Tidying)
	}
	return u, context.Cause(ctx)
}

// gather lists what is to be taken back; what no undo can touch is reported.
func (u *Undoing) gather(ctx context.Context, j UndoJournal, caps *pluginapi.Capabilities, signedIn bool, report func(pluginapi.Outcome)) ([]pluginapi.Account, error) {
	var all []pluginapi.Account
	for e, err := range j.Accounts(ctx) {
		if err != nil {
			return nil, err
		}
		u.count(&e)
		a := pluginapi.Account{SourceID: e.SourceID, TargetID: e.TargetID, State: e.State, ID: e.VisibleID, InDoubt: e.InDoubt, SignedIn: signedIn}
		switch {
		case e.InDoubt && e.Origin != journal.Adopted && !e.Theirs() && caps.Can(pluginapi.CanUndoInDoubt):
			a.State = nil // what is there now is not what was last known
		case e.InDoubt, e.Ours() && e.TargetID == "":
			// Also of accounts that no answer came of: one that a run has sent is never hidden.
			u.skip(report, pluginapi.Outcome{
				SourceID: e.SourceID, TargetID: e.TargetID, Action: pluginapi.Skipped, Code: diag.UndoInDoubt,
				Detail: "it is not known what a run has left there; look in the target for the id " + e.VisibleID,
			})
			continue
		case !e.Ours():
			continue
		case e.Origin == journal.Adopted:
			a.Before = []byte{}
		}
		all = append(all, a)
	}
	return all, nil
}

// tidy goes on as long as there is something to look at, and it gets less.
func (u *Undoing) tidy(ctx context.Context, t tidier, progress func(removed, left int)) {
	for before := -1; ; {
		removed, left, err := t.Tidy(ctx)
		u.Tidied += removed
		switch {
		case err != nil:
			u.Untidy = err.Error()
			return
		case left == 0:
			return
		case before >= 0 && left >= before:
			u.Untidy = fmt.Sprintf("%d things are left, and their number does not get smaller", left)
			return
		}
		before = left
		if progress != nil {
			progress(u.Tidied, left)
		}
	}
}

// preImage is what an account that was changed gets back; nil for one that was made. An
// account that lacks its pre-image is reported, and not ready.
func (u *Undoing) preImage(ctx context.Context, j UndoJournal, a *pluginapi.Account, report func(pluginapi.Outcome)) (before []byte, ready bool, err error) {
	if a.Before == nil {
		return nil, true, nil
	}
	if before, err = j.Before(ctx, a.SourceID); err != nil {
		return nil, false, err
	}
	if before == nil {
		u.skip(report, pluginapi.Outcome{SourceID: a.SourceID, Action: pluginapi.Skipped, Code: diag.UndoNoPreImage, Detail: "when it was changed, the target did not say what it was before"})
	}
	return before, before != nil, nil
}

// undoBytes is how much of pre-images is read before they are sent.
const undoBytes = 8 << 20

func (u *Undoing) part(ctx context.Context, j UndoJournal, dst Undoer, ready []pluginapi.Account, report func(pluginapi.Outcome)) error {
	outcomes, err := dst.Undo(ctx, ready)
	var forget []string
	for _, o := range outcomes {
		switch o.Action {
		case pluginapi.Deleted:
			u.Deleted++
		case pluginapi.Updated:
			u.Restored++
		case pluginapi.Unchanged:
			u.Gone++
		default:
			u.skip(report, o)
			continue
		}
		forget = append(forget, o.SourceID)
		report(o)
	}
	if len(forget) > 0 {
		if forgetErr := j.Forget(forget); forgetErr != nil {
			return forgetErr
		}
	}
	return err
}

func (u *Undoing) skip(report func(pluginapi.Outcome), o pluginapi.Outcome) {
	u.Kept[o.Code]++
	report(o)
}
