package engine

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

// Defaults for what a plugin leaves open in [pluginapi.BatchLimits].
const (
	defaultBatchUsers = 200
	defaultInFlight   = 1
)

// batchLimits are those of a target, with the defaults for what it leaves open.
func batchLimits(caps *pluginapi.Capabilities) pluginapi.BatchLimits {
	limits := caps.Batch
	if limits.Users <= 0 {
		limits.Users = defaultBatchUsers
	}
	if limits.InFlight <= 0 {
		limits.InFlight = defaultInFlight
	}
	return limits
}

// batch is what goes to the target together.
type batch struct {
	users []pluginapi.User
	// Of each user: what the journal holds, whether nothing has changed since then, and
	// its place.
	before    []journal.Entry
	unchanged []bool
	places    []int
	// ours says that runs have written the accounts. They are brought up to date, which
	// takes a look at them first.
	ours bool
	// turn is that of the first call about them; nil for those that take none.
	turn *turn
}

// grow makes room for so many users, which are large.
func (b *batch) grow(n int) {
	b.users, b.before, b.unchanged, b.places = make([]pluginapi.User, 0, n), make([]journal.Entry, 0, n), make([]bool, 0, n), make([]int, 0, n)
}

func (b *batch) add(u *pluginapi.User, before *journal.Entry, unchanged bool, place int) {
	b.users = append(b.users, *u)
	b.before = append(b.before, *before)
	b.unchanged = append(b.unchanged, unchanged)
	b.places = append(b.places, place)
}

// part is a batch of some of the users.
func (b *batch) part(at []int) *batch {
	part := &batch{ours: b.ours}
	part.grow(len(at))
	for _, i := range at {
		part.add(&b.users[i], &b.before[i], b.unchanged[i], b.places[i])
	}
	return part
}

// slots bound how many calls a target gets at a time.
type slots chan struct{}

// take waits for one, with a turn until all that came earlier have had theirs; the caller
// gives it back.
func (s slots) take(t *turn) (giveBack func()) {
	if t != nil {
		defer t.pass()
		<-t.earlier
	}
	s <- struct{}{}
	return func() { <-s }
}

// turn has batches come to the target in the order in which they were made.
type turn struct {
	earlier <-chan struct{} // closed when the one before has had its turn
	had     chan struct{}
	once    sync.Once
}

// pass ends the turn, if it has not ended, once all earlier ones have.
func (t *turn) pass() {
	<-t.earlier
	t.once.Do(func() { close(t.had) })
}

// ahead is how many batches more than the target takes at a time are under way: while it
// works on one, the journal is told of the next and of the last. What several batches want
// to have written becomes durable at once.
const ahead = 3

// dispatcher makes batches and has several on their way at a time. Whoever adds waits
// while all of them are.
type dispatcher struct {
	group *errgroup.Group
	size  int
	send  func(*batch) error
	last  <-chan struct{} // turn of the batch that was made last
	// Those that are being filled.
	ours, others *batch
}

func newDispatcher(group *errgroup.Group, limits pluginapi.BatchLimits, send func(*batch) error) *dispatcher {
	group.SetLimit(limits.InFlight + ahead)
	first := make(chan struct{})
	close(first)
	return &dispatcher{group: group, size: limits.Users, send: send, last: first, ours: &batch{ours: true}, others: &batch{}}
}

func (d *dispatcher) add(u *pluginapi.User, before *journal.Entry, unchanged bool, place int) {
	b := &d.others
	if before.Ours() {
		b = &d.ours
	}
	if len((*b).users) == 0 {
		(*b).grow(d.size)
	}
	(*b).add(u, before, unchanged, place)
	if len((*b).users) == d.size {
		d.flush(b)
	}
}

func (d *dispatcher) flush(b **batch) {
	full := *b
	*b = &batch{ours: full.ours}
	if len(full.users) == 0 {
		return
	}
	full.turn = &turn{earlier: d.last, had: make(chan struct{})}
	d.last = full.turn.had
	d.group.Go(func() error {
		defer full.turn.pass() // whoever never got to the target holds up nobody
		return d.send(full)
	})
}

// wait sends what is left, unless adding has failed, and returns when everything has its
// outcome. The error of a batch comes first: it is why adding stopped.
func (d *dispatcher) wait(err error) error {
	if err == nil {
		d.flush(&d.others)
		d.flush(&d.ours)
	}
	if sendErr := d.group.Wait(); sendErr != nil {
		return sendErr
	}
	return err
}

// grace is how long batches that are on their way may take once a run is to stop.
const grace = 30 * time.Second

// withGrace returns a context that ends some time after ctx does.
func withGrace(ctx context.Context, d time.Duration) (context.Context, func()) {
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
