package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
)

// mover gives every account of a survey its outcome: what is to be said of it without
// the target at once, and all others in batches. It brings together those who decide
// and those who act, which know nothing of each other.
type mover struct {
	dst     Target
	caps    *pluginapi.Capabilities
	journal Journal
	survey  *survey
	rules   rules
	limits  *limiter
	loader  *loader
	counter *counter
	written *written
	plan    *Plan
	digest  func(sourceID string, digest []byte)
	dry     bool

	// calls bound how many questions and loads are under way; stopped says why no more
	// are to begin.
	calls   slots
	stopped func() error

	waiting  waiting
	departed *departed
	leavers  *leavers

	// excluded are kept out and wait for their outcome; linked ones do so until the
	// account that they are made one with has been dealt with.
	excluded, linked []exclusion
}

// exclusion is an account that is not sent to the target: for a reason of the mapping's,
// or for an identifier that another one keeps.
type exclusion struct {
	sourceID, id string
	class        pluginapi.Class
	why          *mapping.Exclusion
	lost         *loser
}

// move deals with the whole work set, and counts those who need nothing.
func (m *mover) move(ctx context.Context) error {
	group, reading := errgroup.WithContext(ctx)
	working, stop := withGrace(ctx, grace)
	defer stop()
	limits := batchLimits(m.caps)
	m.calls = make(slots, limits.InFlight)
	m.stopped = func() error { return context.Cause(reading) }
	m.departed = &departed{journal: m.journal, removed: m.survey.removed}
	d := newDispatcher(group, limits, func(b *batch) error {
		return process(working, m, b)
	})
	err := m.survey.work.each(nil, func(it *item) error {
		if err := m.handle(reading, d, it); err != nil {
			return err
		}
		if len(m.excluded) == limits.Users {
			all := m.excluded
			m.excluded = nil
			if err := m.exclude(reading, all); err != nil {
				return err
			}
		}
		if reading.Err() != nil {
			return context.Cause(reading)
		}
		return nil
	})
	if err = m.exchange(ctx, working, limits.Users, d.wait(err)); err != nil {
		return err
	}
	m.excluded = append(m.excluded, m.linked...)
	for part := range slices.Chunk(m.excluded, limits.Users) {
		if err := m.exclude(ctx, part); err != nil {
			return err
		}
	}
	m.counter.without(m.survey.unchanged(), m.survey.total-m.survey.amount)
	return nil
}

// process gives the accounts of a batch their outcome, but for those that wait.
func process(ctx context.Context, m *mover, b *batch) error {
	changes, err := act(ctx, m, b)
	if err == nil {
		changes = m.waiting.hold(b, changes)
	}
	return errors.Join(err, settle(m, b, changes, err == nil))
}

// act plans or loads a batch, and names who has gone where somebody meets their account.
func act(ctx context.Context, m *mover, b *batch) ([]pluginapi.Change, error) {
	changes, err := m.apply(ctx, b)
	m.leavers.back(b.before, changes)
	if err == nil {
		err = takeFreed(ctx, m, b, changes)
	}
	if err == nil {
		err = m.departed.name(ctx, changes)
	}
	return changes, err
}

// takeFreed gives users what accounts of people who have gone had, where that is all that kept
// them out.
func takeFreed(ctx context.Context, m *mover, b *batch, changes []pluginapi.Change) error {
	at, err := m.leavers.stepAside(ctx, b, changes)
	if err != nil || len(at) == 0 {
		return err
	}
	if m.dry {
		for _, i := range at {
			would := pluginapi.Outcome{SourceID: changes[i].SourceID, Action: pluginapi.Created}
			if b.before[i].Ours() {
				would.Action, would.TargetID = pluginapi.Updated, b.before[i].TargetID
			}
			changes[i].Outcome = would
		}
		return nil
	}
	again := b.part(at)
	more, err := m.apply(ctx, again)
	for n := range min(len(at), len(more)) {
		changes[at[n]] = more[n]
	}
	return err
}

// settle counts outcomes of a batch, and stops a run that goes on where they are too bad.
func settle(m *mover, b *batch, changes []pluginapi.Change, goesOn bool) error {
	m.survey.signIns.outcomes(b, changes)
	m.counter.add(changes...)
	if goesOn && !m.dry {
		return m.limits.after(changes)
	}
	return nil
}

// waiting are accounts of runs that cannot get an identifier, and any who cannot get an
// identity, because another account has it: that one may give it away later in the same run.
type waiting struct {
	// dry says that nothing is written, so that of what others give away only that is free
	// which plugins know of: identities.
	dry bool
	// planned says that accounts are to be as a saved plan has seen them.
	planned bool

	mu    sync.Mutex
	batch batch
	last  []pluginapi.Change // the outcome of each, as it is until then
}

// mostWaiting bounds them: they are held in memory.
const mostWaiting = 20_000

// hold keeps those of a batch who have to wait, and returns what became of the others.
func (w *waiting) hold(b *batch, changes []pluginapi.Change) (others []pluginapi.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, c := range changes {
		taken := false
		switch {
		case c.Action != pluginapi.Rejected || i >= len(b.users):
		case c.Code == diag.LoadIdentityConflict:
			taken = c.Holder != ""
		case c.Code == diag.LoadEmailConflict, c.Code == diag.LoadUsernameConflict:
			taken = !w.dry && b.before[i].Ours()
		}
		if !taken || len(w.last) >= mostWaiting {
			others = append(others, c)
			continue
		}
		u := b.users[i]
		if !w.planned {
			u.Expect = nil
		}
		w.batch.ours = true
		w.batch.add(&u, &b.before[i], b.unchanged[i], b.places[i])
		w.last = append(w.last, c)
	}
	return others
}

// rounds sends those who wait again, together, as long as that helps anybody: of those who
// pass an identifier on, one gets it each time, and two who exchange theirs are in one batch.
func (w *waiting) rounds(atOnce int, send func(*batch) ([]pluginapi.Change, error), settled func(*batch, []pluginapi.Change) error) error {
	for {
		all, last := w.batch, w.last
		w.batch, w.last = batch{}, nil
		for from := 0; from < len(last); from += atOnce {
			var at []int
			for i := from; i < min(from+atOnce, len(last)); i++ {
				at = append(at, i)
			}
			part := all.part(at)
			changes, err := send(part)
			answered := from + len(changes)
			if err == nil {
				changes = w.hold(part, changes)
			}
			if err = errors.Join(err, settled(part, changes)); err != nil {
				w.last = append(w.last, last[answered:]...)
				return err
			}
		}
		if len(w.last) == len(last) {
			return nil
		}
	}
}

// exchange deals with those who wait, unless moving has failed with err.
func (m *mover) exchange(ctx, working context.Context, atOnce int, err error) error {
	settled := func(b *batch, changes []pluginapi.Change) error { return settle(m, b, changes, true) }
	if err == nil {
		m.stopped = func() error { return context.Cause(ctx) }
		err = m.waiting.rounds(atOnce, func(b *batch) ([]pluginapi.Change, error) { return act(working, m, b) }, settled)
	}
	return errors.Join(err, settled(&m.waiting.batch, m.waiting.last))
}

// handle says what is to be done about one account, as far as that is known without the
// target.
func (m *mover) handle(ctx context.Context, d *dispatcher, it *item) error {
	u := &it.user
	lost := m.survey.conflicts.resolve(it.place, u)
	if it.out != nil || lost != nil {
		e := exclusion{u.SourceID, u.ID, u.Class, it.out, lost}
		if lost != nil && lost.link {
			m.linked = append(m.linked, e)
		} else {
			m.excluded = append(m.excluded, e)
		}
		return nil
	}
	if m.digest != nil {
		m.digest(u.SourceID, u.Digest(m.loader.key))
	}
	if m.plan != nil {
		if c := m.plan.refuses(u, m.loader.key); c != nil {
			before, err := remember(ctx, m.journal, u, m.survey.status(it.place))
			if err != nil {
				return err
			}
			var one batch
			one.add(u, &before, false, it.place)
			return settle(m, &one, []pluginapi.Change{*c}, false)
		}
	}
	status := m.survey.status(it.place)
	if status == statusUnchanged && !m.dry {
		m.counter.add(change(u, pluginapi.Unchanged, "", ""))
		return nil
	}
	before, err := remember(ctx, m.journal, u, status)
	if err != nil {
		return err
	}
	u.Prior.Linked = m.survey.former[u.SourceID]
	d.add(u, &before, status == statusUnchanged, it.place)
	return nil
}

// remember tells u what is known of it from before, and returns what the journal holds.
func remember(ctx context.Context, j Journal, u *pluginapi.User, status status) (journal.Entry, error) {
	nothing := journal.Entry{SourceID: u.SourceID}
	if status == statusNew {
		return nothing, nil
	}
	before, err := entryOf(ctx, j, u.SourceID)
	switch {
	case err != nil:
		return nothing, err
	case !status.sent() && !before.Theirs():
		return nothing, nil // it says nothing about an account of this person
	case !status.sent():
		return before, nil
	}
	u.Prior = pluginapi.Prior{TargetID: before.TargetID, State: before.State, InDoubt: before.InDoubt}
	if before.InDoubt && before.Theirs() {
		// It was there before it was sent: what became of it is no reason to take it for one
		// that a run has made, and nothing is known of it any more.
		u.Prior.InDoubt, u.Prior.State = false, nil
	}
	// An account that was there before a run came, and that no run has changed, is treated
	// like one that nobody knows.
	if before.Ours() {
		u.Existing = pluginapi.Update
	}
	return before, nil
}

// exclude gives accounts that are not sent their outcome.
func (m *mover) exclude(ctx context.Context, all []exclusion) error {
	var recorded batch
	var changes, kept []pluginapi.Change
	for _, e := range all {
		u, before := pluginapi.User{SourceID: e.sourceID, ID: e.id, Class: e.class}, journal.Entry{SourceID: e.sourceID}
		if m.journal != nil {
			known, ok, err := m.journal.Get(ctx, e.sourceID)
			if err != nil {
				return err
			}
			if ok {
				before = known
			}
		}
		c := m.exclusionOutcome(ctx, &u, &e, &before)
		changes = append(changes, c)
		// Who was never sent and is not wanted needs no memory.
		if e.lost != nil || e.why.Action == pluginapi.Rejected || before.InTarget() || before.Action != "" {
			recorded.add(&u, &before, false, 0)
			kept = append(kept, c)
		}
	}
	var err error
	if !m.dry {
		err = m.loader.record(0, recorded.users, recorded.before, kept)
	}
	m.counter.add(changes...)
	return err
}

// exclusionOutcome is the outcome of one account that is not sent.
func (m *mover) exclusionOutcome(ctx context.Context, u *pluginapi.User, e *exclusion, before *journal.Entry) pluginapi.Change {
	if e.lost == nil {
		return change(u, e.why.Action, e.why.Code, e.why.Detail)
	}
	c := pluginapi.Change{Outcome: m.survey.conflicts.outcome(u.SourceID, e.lost)}
	if !e.lost.link {
		return c
	}
	if !before.InTarget() && m.journal != nil { // what a run has made stays known
		if host, ok, err := m.journal.Get(ctx, m.survey.conflicts.winners[e.lost.winner()].id); err == nil && ok {
			c.TargetID = host.TargetID
		}
	}
	if !m.survey.about(e.lost.winner()) {
		c.Detail += "; this run does not include that account"
	}
	return c
}

// apply plans or loads one batch and makes its outcomes durable.
func (m *mover) apply(ctx context.Context, b *batch) ([]pluginapi.Change, error) {
	switch {
	case m.dry:
		return m.predict(ctx, b)
	case b.ours && m.caps.Can(pluginapi.CanPlan):
		return m.update(ctx, b)
	default:
		return m.load(ctx, b)
	}
}

// ask asks the target about accounts and decides what to do about each.
func (m *mover) ask(ctx context.Context, b *batch) ([]decision, []pluginapi.Change, error) {
	done, err := m.begin(b)
	if err != nil {
		return nil, nil, err // nothing is said of them
	}
	found, err := m.dst.Plan(ctx, b.users)
	done()
	if err == nil && len(found) != len(b.users) {
		err = fmt.Errorf("%w: %d answers about %d users", ErrUnbalanced, len(found), len(b.users))
	}
	if err != nil {
		// Nothing was written: whoever has no answer is as it was.
		for i := range found {
			if found[i].Action == pluginapi.InDoubt {
				found[i].Code = diag.PluginNotSent
			}
		}
		return nil, found, err
	}
	decisions, drifted := make([]decision, len(found)), 0
	for i := range found {
		var drift bool
		if decisions[i], found[i], drift = m.rules.reconcile(found[i], &b.users[i], &b.before[i], b.unchanged[i]); drift {
			drifted++
		}
	}
	m.counter.drifted(drifted)
	return decisions, found, nil
}

// predict says what a run would do. Accounts that it would adopt are asked about twice,
// as the run does.
func (m *mover) predict(ctx context.Context, b *batch) ([]pluginapi.Change, error) {
	decisions, changes, err := m.ask(ctx, b)
	if err != nil {
		return changes, err
	}
	adopting, at := adopted(b, changes, func(i int) bool { return decisions[i] == adopt })
	if len(at) == 0 {
		return changes, nil
	}
	_, more, err := m.ask(ctx, adopting)
	for n := range min(len(at), len(more)) {
		changes[at[n]] = more[n]
	}
	return changes, err
}

// adopted is a batch of those who are to be taken over, and where they are in b.
func adopted(b *batch, changes []pluginapi.Change, is func(i int) bool) (adopting *batch, at []int) {
	for i := range changes {
		if is(i) {
			at = append(at, i)
		}
	}
	adopting = b.part(at)
	for n, i := range at {
		u := &adopting.users[n]
		u.Existing, u.Prior.TargetID = pluginapi.Update, changes[i].TargetID
	}
	return adopting, at
}

// update looks at accounts first, decides with what is there, and writes those
// that differ on the condition that they stay as they were seen.
func (m *mover) update(ctx context.Context, b *batch) ([]pluginapi.Change, error) {
	decisions, changes, err := m.ask(ctx, b)
	if err != nil {
		return changes, err
	}
	var send, left []int
	var as []pluginapi.Change
	ours := 0
	for i, d := range decisions {
		if d == leave {
			left, as = append(left, i), append(as, changes[i])
			continue
		}
		b.users[i].Expect = changes[i].State
		send = append(send, i)
		if b.before[i].Ours() {
			ours++
		}
	}
	rest := b.part(left)
	if err := m.loader.record(0, rest.users, rest.before, as); err != nil {
		return changes, err
	}
	if len(send) == 0 {
		return changes, nil
	}
	part, done := b.part(send), []pluginapi.Change(nil)
	if err = m.limits.update(ours); err != nil {
		done = notSent(part.users, err)
	} else {
		// The target was asked about them before, so they are sent also when the run stops.
		done, err = m.send(ctx, part, func() (func(), error) { return m.calls.take(nil), nil })
	}
	for n := range min(len(send), len(done)) {
		done[n].Fields = changes[send[n]].Fields
		changes[send[n]] = done[n]
	}
	return changes, err
}

// load sends accounts that are not known to be in the target, and takes over those that
// turn out to be there, where the policies say so.
func (m *mover) load(ctx context.Context, b *batch) ([]pluginapi.Change, error) {
	changes, err := m.send(ctx, b, func() (func(), error) { return m.begin(b) })
	if err != nil || !m.caps.Can(pluginapi.CanPlan) {
		return changes, err
	}
	adopting, at := adopted(b, changes, func(i int) bool { return m.rules.adopts(&changes[i], &b.users[i]) })
	if len(at) == 0 {
		return changes, nil
	}
	if err := m.limits.adopt(len(at)); err != nil {
		return changes, err
	}
	more, err := m.update(ctx, adopting)
	for n := range min(len(at), len(more)) {
		changes[at[n]] = more[n]
	}
	return changes, err
}

// begin waits until the target takes a call about a batch, unless the run stops. The
// caller says when it is done.
func (m *mover) begin(b *batch) (done func(), err error) {
	done = m.calls.take(b.turn)
	if err := m.stopped(); err != nil {
		done()
		return nil, err
	}
	return done, nil
}

// send loads users and notes what was written.
func (m *mover) send(ctx context.Context, b *batch, begin func() (func(), error)) ([]pluginapi.Change, error) {
	changes, err := m.loader.load(ctx, b.users, b.before, begin)
	if len(changes) == len(b.users) {
		m.written.note(b.places, changes)
	}
	return changes, err
}
