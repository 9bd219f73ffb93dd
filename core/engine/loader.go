package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/signin"
)

// loader sends users to the target: they are marked in the journal before, and their
// outcomes are recorded after, so that at every moment it is known who may be there.
type loader struct {
	dst     Target
	journal Journal // nil remembers nothing
	run     int64
	key     []byte
}

// load sends users; before holds what the journal has of each. Nothing is counted
// whose outcome is not durable. begin waits until the target takes them and returns what
// to call when it is done; when it fails, they are not sent and have no outcome.
func (l *loader) load(ctx context.Context, users []pluginapi.User, before []journal.Entry, begin func() (done func(), err error)) ([]pluginapi.Change, error) {
	var batch int64
	if l.journal != nil {
		marks := make([]journal.Entry, len(users))
		for i := range users {
			marks[i] = journal.Entry{SourceID: users[i].SourceID, VisibleID: users[i].ID, Class: users[i].Class}
		}
		var err error
		if batch, err = l.journal.Mark(l.run, marks); err != nil {
			return notSent(users, err), err
		}
	}
	done, err := begin()
	if err != nil {
		return nil, errors.Join(err, l.forget(batch))
	}
	if err := l.held(); err != nil {
		done()
		return notSent(users, err), err // whoever has the journal now looks them up
	}
	outcomes, err := l.send(ctx, users, before)
	done()
	changes := make([]pluginapi.Change, len(outcomes))
	for i, o := range outcomes {
		changes[i].Outcome = o
	}
	if len(outcomes) != len(users) {
		return changes, errors.Join(err, fmt.Errorf("%w: %d outcomes for %d users", ErrUnbalanced, len(outcomes), len(users)))
	}
	if recordErr := l.record(batch, users, before, changes); recordErr != nil {
		// It happened and is not durable: the next run will look it up.
		for i := range changes {
			changes[i].Action, changes[i].Code, changes[i].Detail = pluginapi.InDoubt, diag.JournalUnwritable, recordErr.Error()
		}
		return changes, errors.Join(err, recordErr)
	}
	return changes, err
}

// held says whether the journal is still this run's. A pause between mark and sending could
// have lasted so long that another run deals with the same accounts.
func (l *loader) held() error {
	if j, ok := l.journal.(journal.Lease); ok {
		return j.Held()
	}
	return nil
}

// resender is a target that sends users again by itself, and has to know by their source
// ids whose account was there before anything was sent: a lost answer makes no account of a
// run's of it. It notes who was sent again after the answer was lost: an account that is
// found then is a run's, as in the next run.
type resender interface {
	LoadKnowing(ctx context.Context, users []pluginapi.User, theirs, again map[string]bool) ([]pluginapi.Outcome, error)
}

// send tells a target that sends users again by itself who was there before, and notes in
// before whose answer was lost on the way.
func (l *loader) send(ctx context.Context, users []pluginapi.User, before []journal.Entry) ([]pluginapi.Outcome, error) {
	r, ok := l.dst.(resender)
	if !ok {
		return l.dst.Load(ctx, users)
	}
	theirs := map[string]bool{}
	for i := range before {
		if before[i].Theirs() {
			theirs[users[i].SourceID] = true
		}
	}
	again := map[string]bool{}
	outcomes, err := r.LoadKnowing(ctx, users, theirs, again)
	for i := range before {
		before[i].InDoubt = before[i].InDoubt || again[users[i].SourceID]
	}
	return outcomes, err
}

// forget takes back the marks of users that were not sent.
func (l *loader) forget(batch int64) error {
	if l.journal == nil {
		return nil
	}
	return l.journal.Record(batch, nil)
}

// record makes outcomes durable; batch is 0 for users that were not sent.
func (l *loader) record(batch int64, users []pluginapi.User, before []journal.Entry, changes []pluginapi.Change) error {
	if l.journal == nil || len(users) == 0 && batch == 0 {
		return nil
	}
	entries := make([]journal.Entry, len(users))
	for i := range users {
		entries[i] = l.entry(&users[i], &changes[i].Outcome, &before[i])
	}
	if err := l.journal.Record(batch, entries); err != nil {
		return fmt.Errorf("the run stops, because its results cannot be stored in the journal: %w", err)
	}
	return nil
}

// entry is what the journal is told about an outcome. before is what it held.
func (l *loader) entry(u *pluginapi.User, o *pluginapi.Outcome, before *journal.Entry) journal.Entry {
	e := journal.Entry{
		SourceID: u.SourceID, VisibleID: u.ID, TargetID: o.TargetID, Action: o.Action, Code: o.Code, Class: u.Class,
		State: o.State, SignIn: signin.Of(u).String(), Origin: before.Origin, InDoubt: doubtful(o, before), Run: l.run,
	}
	if e.TargetID == "" {
		e.TargetID = before.TargetID
	}
	switch o.Action {
	case pluginapi.Created:
		e.Origin = journal.Made
	case pluginapi.Updated:
		if !before.Ours() {
			e.Origin, e.Before = journal.Adopted, o.Before
		}
	case pluginapi.Unchanged:
		if !before.InTarget() {
			e.Origin = foundEqual(before, o.Code)
		}
	default:
		// What is known from before stays true of the account in the target.
		e.Digest, e.State, e.SignIn = before.Digest, before.State, before.SignIn
		if before.InTarget() && before.TargetID != "" {
			e.TargetID = before.TargetID // nothing was written, so nobody has moved
		}
		e.DisabledAt = before.DisabledAt
		if o.Action == pluginapi.InDoubt && before.Theirs() {
			e.Action, e.Code = before.Action, before.Code // it is still known to have been there before
		}
		return e
	}
	if !before.DisabledAt.IsZero() || before.InDoubt && before.Origin == journal.Made {
		e.Before = []byte{} // it is on again, or has stayed so: nothing is to be brought back
	}
	if e.Digest = u.Digest(l.key); o.State == nil && bytes.Equal(e.Digest, before.Digest) {
		e.State = before.State
	}
	if !o.Settled() {
		e.Digest = nil // so that the next run looks at it again
	}
	return e
}

// doubtful says whether nobody knows what came of a user.
func doubtful(o *pluginapi.Outcome, before *journal.Entry) bool {
	switch {
	case o.Action == pluginapi.InDoubt && o.Code == diag.PluginNotSent:
		return before.InDoubt // it never left
	case o.Action == pluginapi.Rejected && o.Code == diag.PluginCrash:
		return !before.Theirs() // the process may have died after it had made the account
	}
	return o.Action == pluginapi.InDoubt
}

// foundEqual says whose an account is that is in the target as it should be, and that no
// run is known to have loaded.
func foundEqual(before *journal.Entry, code diag.Code) journal.Origin {
	if before.InDoubt && !before.Theirs() && code != diag.LoadThereBefore {
		return journal.Made // it was absent when a run sent it
	}
	return journal.Found
}

// notSent are the outcomes of users who were kept back.
func notSent(users []pluginapi.User, err error) []pluginapi.Change {
	out := make([]pluginapi.Change, len(users))
	for i := range users {
		out[i] = change(&users[i], pluginapi.InDoubt, diag.PluginNotSent, "not sent: "+err.Error())
	}
	return out
}

func change(u *pluginapi.User, action pluginapi.Action, code diag.Code, detail string) pluginapi.Change {
	return pluginapi.Change{Outcome: pluginapi.Outcome{SourceID: u.SourceID, Action: action, Code: code, Detail: detail}}
}
