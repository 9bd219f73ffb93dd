package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/target"
)

// Defaults for what a plugin leaves open in [target.BatchLimits].
const (
	defaultBatchUsers = 200
	defaultInFlight   = 1
)

// lastMoment is how long batches that are on their way may take once a run is to
// stop.
const lastMoment = 30 * time.Second

// batch is what goes to the target together.
type batch struct {
	users  []target.User
	before []journal.Entry // what the journal holds of each
	// update says that the accounts are to be brought up to date, which takes a
	// look at them first.
	update bool
}

// aside is an account that is not sent to the target.
type aside struct {
	user target.User // ids and class only
	why  mapping.Aside
	lost *loser // set where it is for an identifier that another account keeps
}

// move reads every account again and plans or loads it. Back-pressure is the
// group's limit: reading waits while all batches are in flight.
func (r *runner) move(ctx context.Context) error {
	size, inFlight := r.caps.Batch.Users, r.caps.Batch.InFlight
	if size <= 0 {
		size = defaultBatchUsers
	}
	if inFlight <= 0 {
		inFlight = defaultInFlight
	}
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	working, stop := linger(ctx, lastMoment)
	defer stop()
	answers := make(chan []target.Change, inFlight)
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		for changes := range answers {
			r.record(changes)
		}
	}()
	send := func(b *batch) {
		full := *b
		*b = batch{update: b.update}
		group.Go(func() error {
			changes, err := r.apply(working, full)
			answers <- changes
			if err == nil {
				err = r.failing(changes)
			}
			return err
		})
	}
	var losers, others []aside
	creates, updates, passed := &batch{}, &batch{update: true}, 0
	settled, err := r.again(reading, func(n int, account *canonical.User) error {
		if !r.picks(n) {
			r.owners.see(n, account) // somebody who is chosen may lose to it
			passed++
			return nil
		}
		u, out := r.mapped(n, account)
		if out != nil {
			if out.lost != nil {
				losers = append(losers, *out)
			} else if others = append(others, *out); len(others) == size {
				changes, err := r.turnAway(reading, others)
				answers <- changes
				if others = nil; err != nil {
					return err
				}
			}
			return nil
		}
		if r.options.Digest != nil {
			r.options.Digest(u.SourceID, u.Digest(r.options.Key))
		}
		b, o, err := r.decide(reading, n, &u)
		switch {
		case err != nil:
			return err
		case o != nil:
			answers <- []target.Change{*o}
		case b.update:
			updates.take(b)
		default:
			creates.take(b)
		}
		for _, b := range []*batch{creates, updates} {
			if len(b.users) == size {
				send(b)
			}
		}
		if reading.Err() != nil {
			return context.Cause(reading)
		}
		return nil
	})
	for _, b := range []*batch{creates, updates} {
		if len(b.users) > 0 && err == nil {
			send(b)
		}
	}
	// The group's error comes first: it is why the reading stopped.
	if groupErr := group.Wait(); groupErr != nil {
		err = groupErr
	}
	if err == nil { // only now every winner has been seen
		for part := range slices.Chunk(append(others, losers...), size) {
			changes, keepErr := r.turnAway(ctx, part)
			answers <- changes
			if err = keepErr; err != nil {
				break
			}
		}
	}
	close(answers)
	<-counted
	if err != nil {
		return err
	}
	r.result.Summary.Read += settled
	r.result.Summary.Unchanged += settled
	r.passOver(passed)
	if r.part == nil {
		slices.Sort(r.known.gone)
		r.result.Removed = r.known.gone
	}
	return nil
}

// turnAway gives accounts that are not sent their outcome.
func (r *runner) turnAway(ctx context.Context, all []aside) ([]target.Change, error) {
	b, changes, keep := batch{}, make([]target.Change, len(all)), []int{}
	for i, l := range all {
		before := journal.Entry{SourceID: l.user.SourceID}
		if r.options.Journal != nil {
			known, ok, err := r.options.Journal.Get(ctx, l.user.SourceID)
			if err != nil {
				return changes[:i], err
			}
			if ok {
				before = known
			}
		}
		b.users, b.before = append(b.users, l.user), append(b.before, before)
		if changes[i] = *leave(&l.user, l.why.Action, l.why.Code, l.why.Detail); l.lost != nil {
			changes[i].Outcome = r.owners.reject(l.user.SourceID, l.lost)
			if l.lost.link && !before.InTarget() { // what a run has made stays known
				changes[i].TargetID = r.home(ctx, l.lost)
			}
			if l.lost.link && !r.picks(l.lost.keeper()) {
				changes[i].Detail += "; this run is not about that one"
			}
		}
		// Who was never sent and is not wanted needs no memory.
		if l.lost != nil || l.why.Action == target.Rejected || before.InTarget() || before.Action != "" {
			keep = append(keep, i)
		}
	}
	if r.options.DryRun {
		return changes, nil
	}
	return changes, r.keep(0, b, changes, keep)
}

// linger returns a context that ends some time after ctx does.
func linger(ctx context.Context, d time.Duration) (context.Context, func()) {
	long, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stopped := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(d, func() { cancel(context.Cause(ctx)) })
		context.AfterFunc(long, func() { timer.Stop() })
	})
	return long, func() {
		stopped()
		cancel(nil)
	}
}

func (b *batch) take(one *batch) {
	b.users = append(b.users, one.users...)
	b.before = append(b.before, one.before...)
}

// decide says what to do about the n-th account: a batch of one to be sent, or an
// outcome right away.
func (r *runner) decide(ctx context.Context, n int, u *target.User) (*batch, *target.Change, error) {
	standing, err := r.standing(ctx, n, u)
	if err != nil {
		return nil, nil, err
	}
	if p := r.options.Plan; p != nil {
		if o := p.refuses(u, r.options.Key); o != nil {
			return nil, o, nil
		}
	}
	if !standing.sent() {
		return &batch{users: []target.User{*u}, before: []journal.Entry{{SourceID: u.SourceID}}}, nil, nil
	}
	if standing == settled && !r.options.DryRun {
		return nil, &target.Change{Outcome: target.Outcome{SourceID: u.SourceID, Action: target.Unchanged}}, nil
	}
	before, err := r.prior(ctx, u.SourceID)
	if err != nil {
		return nil, nil, err
	}
	u.Prior = target.Prior{TargetID: before.TargetID, State: before.State, InDoubt: before.InDoubt}
	// An account that was there before a run came, and that no run has changed, is
	// treated like one that nobody knows.
	ours := before.Ours()
	if ours {
		u.Existing = target.Update
	}
	return &batch{users: []target.User{*u}, before: []journal.Entry{before}, update: ours}, nil, nil
}

func leave(u *target.User, action target.Action, code diag.Code, detail string) *target.Change {
	return &target.Change{Outcome: target.Outcome{SourceID: u.SourceID, Action: action, Code: code, Detail: detail}}
}

// apply plans or loads one batch and makes its outcomes durable.
func (r *runner) apply(ctx context.Context, b batch) ([]target.Change, error) {
	switch {
	case r.options.DryRun:
		return r.predict(ctx, b)
	case b.update && r.caps.Can(target.CanPlan):
		return r.update(ctx, b)
	}
	changes, err := r.load(ctx, b)
	if err != nil || !r.options.Policies.Adopt || !r.caps.Can(target.CanPlan) {
		return changes, err
	}
	return r.adoptAll(ctx, b, changes)
}

// predict asks the target what would happen. Of an account that was loaded and has
// not changed since, a run would not even look at the target. One whose answer an
// earlier run has lost is looked up, and is in doubt while it is not found.
func (r *runner) predict(ctx context.Context, b batch) ([]target.Change, error) {
	changes, err := r.dst.Plan(ctx, b.users)
	for i := range changes {
		c := &changes[i]
		if b.before[i].InDoubt && c.Action == target.Created {
			// It may still come to light there, so it is not said to be created.
			c.Action, c.Code, c.Detail = target.InDoubt, diag.LoadUnknownAnswer, "an earlier run has sent it and does not know the answer, and it is not in the target now; the next run looks it up and creates it if it is still missing"
			continue
		}
		if !b.update {
			continue
		}
		same := bytes.Equal(b.before[i].Digest, b.users[i].Digest(r.options.Key)) && !b.before[i].InDoubt && !r.options.Full
		drifted := slices.ContainsFunc(c.Fields, func(f target.FieldChange) bool { return f.Drift }) || c.Action == target.Created
		if drifted {
			r.guard.mu.Lock()
			r.result.Drifted++
			r.guard.mu.Unlock()
		}
		switch {
		case same && (c.Action == target.Updated || c.Action == target.Created):
			c.Action = target.Unchanged // the fields stay, for whoever wants to know
			for n := range c.Fields {
				c.Fields[n].Drift = true
			}
		case drifted && !r.options.Policies.OverwriteDrift && !b.before[i].InDoubt:
			c.Action, c.Code, c.Detail = target.Skipped, diag.LoadDrift, driftText(c)
		}
	}
	return changes, err
}

func driftText(c *target.Change) string {
	if c.Action == target.Created {
		return "the account was deleted in the target"
	}
	var names []string
	for _, f := range c.Fields {
		if f.Drift {
			names = append(names, f.Field)
		}
	}
	return fmt.Sprintf("changed in the target since the last run: %v", names)
}

// update looks at accounts first, decides with what is there, and writes those
// that differ on the condition that they stay as they were seen.
func (r *runner) update(ctx context.Context, b batch) ([]target.Change, error) {
	planned, err := r.dst.Plan(ctx, b.users)
	if err != nil {
		// Nothing was written: whoever has no answer is as he was.
		for i := range planned {
			if planned[i].Action == target.InDoubt {
				planned[i].Code = diag.PluginNotSent
			}
		}
		return planned, err
	}
	send, at := batch{update: true}, []int{}
	var keep []int
	for i := range planned {
		c := &planned[i]
		drifted := slices.ContainsFunc(c.Fields, func(f target.FieldChange) bool { return f.Drift }) || c.Action == target.Created
		if drifted {
			r.guard.mu.Lock()
			r.result.Drifted++
			r.guard.mu.Unlock()
		}
		switch {
		case r.moved(&b.users[i], c):
			c.Action, c.Code, c.Detail = target.Rejected, diag.LoadMoved, "the account has changed in the target since the plan was made"
			keep = append(keep, i)
		case drifted && !r.options.Policies.OverwriteDrift && !b.users[i].Prior.InDoubt:
			c.Action, c.Code, c.Detail = target.Skipped, diag.LoadDrift, driftText(c)
			keep = append(keep, i)
		case c.Action == target.Updated || c.Action == target.Created:
			u := b.users[i]
			u.Expect = c.State
			send.users, send.before, at = append(send.users, u), append(send.before, b.before[i]), append(at, i)
		default:
			keep = append(keep, i)
		}
	}
	if err := r.keep(0, b, planned, keep); err != nil {
		return planned, err
	}
	if len(send.users) == 0 {
		return planned, nil
	}
	changes, err := r.change(ctx, send)
	for n, i := range at {
		changes[n].Fields = planned[i].Fields
		planned[i] = changes[n]
	}
	return planned, err
}

// moved says whether an account is not as a plan has seen it.
func (r *runner) moved(u *target.User, c *target.Change) bool {
	if r.options.Plan != nil && c.Action != target.Unchanged { // also where it saw none
		return !bytes.Equal(u.Expect, c.State)
	}
	return u.Expect != nil && !bytes.Equal(u.Expect, c.State)
}

// change loads accounts that were found to differ, within the limits.
func (r *runner) change(ctx context.Context, b batch) ([]target.Change, error) {
	ours := 0
	for i := range b.before {
		if b.before[i].Ours() {
			ours++
		}
	}
	if err := r.changing(ours); err != nil {
		return notSent(b.users, err), err
	}
	return r.load(ctx, b)
}

// adoptAll takes over accounts that are in the target and differ.
func (r *runner) adoptAll(ctx context.Context, b batch, changes []target.Change) ([]target.Change, error) {
	var again batch
	var at []int
	for i := range changes {
		if changes[i].Action == target.Skipped && changes[i].Code == diag.LoadExistsDiffers {
			u := b.users[i]
			u.Existing, u.Prior.TargetID = target.Update, changes[i].TargetID
			again.users, again.before, at = append(again.users, u), append(again.before, b.before[i]), append(at, i)
		}
	}
	if len(at) == 0 {
		return changes, nil
	}
	if err := r.adopt(len(at)); err != nil {
		return changes, err
	}
	adopted, err := r.update(ctx, again)
	for n, i := range at {
		changes[i] = adopted[n]
	}
	return changes, err
}

// load sends one batch: marked before, recorded after.
func (r *runner) load(ctx context.Context, b batch) ([]target.Change, error) {
	var number int64
	if r.options.Journal != nil {
		marks := make([]journal.Entry, len(b.users))
		for i := range b.users {
			marks[i] = journal.Entry{SourceID: b.users[i].SourceID, VisibleID: b.users[i].ID, Class: b.users[i].Class}
		}
		var err error
		if number, err = r.options.Journal.Mark(r.options.Run, marks); err != nil {
			return notSent(b.users, err), err
		}
	}
	outcomes, err := r.dst.Load(ctx, b.users)
	changes := make([]target.Change, len(outcomes))
	all := make([]int, len(outcomes))
	for i, o := range outcomes {
		changes[i], all[i] = target.Change{Outcome: o}, i
	}
	if len(outcomes) != len(b.users) {
		return changes, errors.Join(err, fmt.Errorf("%w: %d outcomes for %d users", ErrUnbalanced, len(outcomes), len(b.users)))
	}
	if recordErr := r.keep(number, b, changes, all); recordErr != nil {
		// It happened and is not durable: the next run will look it up.
		for i := range changes {
			changes[i].Action, changes[i].Code, changes[i].Detail = target.InDoubt, diag.JournalUnwritable, recordErr.Error()
		}
		return changes, errors.Join(err, recordErr)
	}
	r.wrote(b.users, changes)
	return changes, err
}

// keep makes the outcomes at the given places durable.
func (r *runner) keep(number int64, b batch, changes []target.Change, at []int) error {
	if r.options.Journal == nil || (len(at) == 0 && number == 0) {
		return nil
	}
	entries := make([]journal.Entry, 0, len(at))
	for _, i := range at {
		e := r.entry(&b.users[i], &changes[i].Outcome, b.before[i])
		if changes[i].Action == target.InDoubt && changes[i].Code == diag.PluginNotSent {
			e.InDoubt = b.before[i].InDoubt // it never left
		}
		entries = append(entries, e)
	}
	if err := r.options.Journal.Record(number, entries); err != nil {
		return fmt.Errorf("the run stops, as what it does cannot be remembered: %w", err)
	}
	return nil
}

func notSent(users []target.User, err error) []target.Change {
	out := make([]target.Change, len(users))
	for i := range users {
		out[i] = *leave(&users[i], target.InDoubt, diag.PluginNotSent, "not sent: "+err.Error())
	}
	return out
}

func (r *runner) record(changes []target.Change) {
	for _, c := range changes {
		if c.Action == target.Rejected && slices.Contains(r.options.Policies.Skip, c.Code) {
			c.Action = target.Skipped
		}
		r.result.Summary.Read++
		r.result.Summary.Count(c.Action)
		if c.Code != "" {
			r.result.Reasons[c.Code]++
		}
		if r.options.Outcome != nil {
			r.options.Outcome(c)
		}
	}
	phase := Loading
	if r.options.DryRun {
		phase = Planning
	}
	r.progress(phase, r.result.Summary.Read, r.amount())
}
