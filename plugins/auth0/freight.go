package auth0

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/stetl/stetl/core/sdk"
)

// parcel is a user on its way into an import job.
type parcel struct {
	*record
	user *sdk.User
	// ctx is of the Load call that brought it: when that is over, nobody waits for an
	// outcome any more.
	ctx  context.Context //nolint:containedctx // belongs to the caller, see above
	out  sdk.Outcomes
	done chan error
	once sync.Once
	// doubt: an earlier request with this user may have been carried out.
	doubt bool
}

func newParcel(ctx context.Context, u *sdk.User, r *record, out sdk.Outcomes) *parcel {
	return &parcel{record: r, user: u, ctx: ctx, out: out, done: make(chan error, 1), doubt: u.Prior.InDoubt}
}

// report is the end of a parcel: an outcome that its sender gets to see.
func (p *parcel) report(o sdk.Outcome) {
	p.once.Do(func() {
		if p.ctx.Err() == nil {
			p.out.Report(o)
		}
		p.done <- nil
	})
}

// abandoned says that nobody waits for the parcel any more.
func (p *parcel) abandoned() bool { return p.ctx.Err() != nil }

// fail ends a parcel without an outcome.
func (p *parcel) fail(err error) { p.once.Do(func() { p.done <- err }) }

// freight packs parcels of many Load calls into full jobs and keeps the job slots
// busy. A job is cut when there is enough for a full one, or when nothing more is
// coming: the host waits, or has been silent for a while.
type freight struct {
	t      *live
	ctx    context.Context //nolint:containedctx // of the workers, which outlive every call
	cancel context.CancelFunc
	slots  chan struct{}
	group  sync.WaitGroup

	mu      sync.Mutex
	hold    hold[*parcel]
	waiting int // Load calls that wait for their parcels
	arrived time.Time
	started bool
	wake    chan struct{}
}

func newFreight(t *live) *freight {
	f := &freight{t: t, slots: make(chan struct{}, t.config.Jobs), wake: make(chan struct{}, 1), hold: hold[*parcel]{body: func(p *parcel) []byte { return p.body }}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// close ends the workers and waits for them.
func (f *freight) close() {
	f.cancel()
	f.group.Wait()
}

// carry hands parcels over and waits for their end.
func (f *freight) carry(ctx context.Context, parcels []*parcel) error {
	if len(parcels) == 0 {
		return nil
	}
	f.mu.Lock()
	f.hold.limit = f.t.room
	for _, p := range parcels {
		f.hold.add(p)
	}
	f.arrived = time.Now()
	f.waiting++
	if !f.started {
		f.started = true
		f.group.Go(f.dispatch)
	}
	f.mu.Unlock()
	f.signal()
	defer func() {
		f.mu.Lock()
		f.waiting--
		f.mu.Unlock()
	}()
	var errs error
	for _, p := range parcels {
		select {
		case err := <-p.done:
			if err != nil && errs == nil {
				errs = err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return errs
}

func (f *freight) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// dispatch waits for a job's worth of parcels and for a slot, and sends them.
func (f *freight) dispatch() {
	for {
		ready, again := f.look()
		if !ready {
			var timer <-chan time.Time
			if again > 0 {
				timer = time.After(again)
			}
			select {
			case <-f.wake:
			case <-timer:
			case <-f.ctx.Done():
				return
			}
			continue
		}
		if !f.next() {
			return
		}
	}
}

// next sends what is ready. A full job is packed before there is a slot for it, so that
// the slot need not wait; what fills none takes along whatever comes until then.
func (f *freight) next() bool {
	var c *crate
	var err error
	if load := f.cut(1); len(load) > 0 {
		if c, err = f.t.pack(f.ctx, load, false); err != nil {
			failAll(load, err)
			return f.ctx.Err() == nil
		}
	}
	if f.acquire(f.ctx) != nil {
		return false
	}
	if c != nil && slices.ContainsFunc(c.load, (*parcel).abandoned) {
		f.restore(c)
		c = nil
	}
	if c == nil {
		load := f.cut(0)
		if len(load) == 0 {
			f.release()
			return true
		}
		if c, err = f.t.pack(f.ctx, load, false); err != nil {
			f.release()
			failAll(load, err)
			return f.ctx.Err() == nil
		}
	}
	f.group.Go(func() { f.t.ship(f.ctx, c) })
	return true
}

// acquire takes one of the tenant's job slots, release gives it back.
func (f *freight) acquire(ctx context.Context) error {
	select {
	case f.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *freight) release() { <-f.slots }

// look says whether a job can be cut, and if not, when to look again.
func (f *freight) look() (ready bool, again time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clean()
	if len(f.hold.items) == 0 {
		return false, 0
	}
	left := f.quiet() - time.Since(f.arrived)
	return f.hold.full(1) || f.waiting >= batchInFlight || left <= 0, max(left, time.Millisecond)
}

// cut takes out one job, if what is there fills more than n.
func (f *freight) cut(n int) []*parcel {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clean()
	if !f.hold.full(n) {
		return nil
	}
	return f.hold.cut()
}

// restore puts back what was packed for somebody who is gone by now.
func (f *freight) restore(c *crate) {
	f.mu.Lock()
	f.hold.items = slices.Concat(c.load, f.hold.items) // sorted out and measured by clean
	f.mu.Unlock()
	_ = f.t.forget(f.ctx, c.externalID) // nothing was sent: a note too many does no harm
}

// clean throws out parcels nobody waits for any more. Nothing of them was sent.
func (f *freight) clean() {
	kept := f.hold.items[:0]
	f.hold.size = 0
	for _, p := range f.hold.items {
		if !p.abandoned() {
			kept = append(kept, p)
			f.hold.size += len(p.body) + 1
		}
	}
	clear(f.hold.items[len(kept):])
	f.hold.items = kept
}

// quiet is how long nothing may come before a job is sent as it is. While another
// job runs, waiting costs little.
func (f *freight) quiet() time.Duration {
	if len(f.slots) > 0 {
		return usualPace * f.t.config.PollInterval.Duration
	}
	return f.t.config.PollInterval.Duration
}

// failAll ends parcels without outcomes.
func failAll(load []*parcel, err error) {
	if err == nil {
		err = errors.New("an import ended without an answer")
	}
	for _, p := range load {
		p.fail(err)
	}
}
