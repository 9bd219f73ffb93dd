package importjob

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// Desk knows what the users in parcels are about.
type Desk interface {
	// Here says whether the user is in the tenant, as a load has made it.
	Here(ctx context.Context, p *Parcel) (bool, error)
	// Settle ends parcels whose job is over, and returns those that it should have written
	// and has not.
	Settle(ctx context.Context, e *Ending) (missing []*Parcel, err error)
	// Explain adds to an error what the operator can do about it.
	Explain(err error) error
}

// Ending is a job that is over.
type Ending struct {
	Job    *Job
	Load   []*Parcel
	Upsert bool
	// Said is what the job has against some of them.
	Said map[*Parcel]*UserError
}

// Plain reports whether the sums of a job agree with the errors that it lists: silence
// counts as success only then. So many were refused, and of so many a part is missing,
// who may be among the failed ones or not.
func (e *Ending) Plain(refused, partial int) bool {
	s, sent := e.Job.Summary, len(e.Load)
	if e.Job.Status != Completed || s == nil || s.Total != sent || s.Inserted+s.Updated+s.Failed != s.Total {
		return false
	}
	return (s.Failed == refused || s.Failed == refused+partial) && (e.Upsert || s.Updated == 0)
}

// Options say how a freight works.
type Options struct {
	// Jobs run at the same time; Calls of Carry are so many at most.
	Jobs, Calls int
	// Poll is the shortest time between two looks at a job.
	Poll time.Duration
}

// Freight packs parcels of many calls into full jobs and keeps the job slots busy. A job
// is cut when there is enough for a full one, or when nothing more is coming: the host
// waits, or has been silent for a while. New users and changes go into jobs of their own.
type Freight struct {
	queue
	dock
	ctx     context.Context //nolint:containedctx // of the workers, which outlive every call
	cancel  context.CancelFunc
	group   sync.WaitGroup
	wake    chan struct{}
	started sync.Once
}

// New prepares a freight. It does nothing before something is to be carried.
func New(client *tenant.Client, env sdk.Env, desk Desk, o Options) *Freight {
	f := &Freight{wake: make(chan struct{}, 1)}
	f.desk, f.slots = desk, make(slots, o.Jobs)
	f.options, f.busy = o, func() bool { return len(f.slots) > 0 }
	f.runner = runner{client: client, env: env, notes: notes{env: env}, poll: o.Poll, here: desk.Here, pacer: Pacer{shortest: o.Poll, burst: client.Burst}}
	for i := range f.lanes {
		f.lanes[i].body = (*Parcel).encoded
	}
	f.lanes[1].upsert = true
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// Open names the connection that receives users, by its id.
func (f *Freight) Open(connection string) error {
	room, err := Room(connection)
	f.SetRoom(room)
	f.runner.connection = connection
	f.runner.remember()
	return err
}

// Recover waits for the jobs that an earlier process has started.
func (f *Freight) Recover(ctx context.Context) error { return f.runner.recover(ctx) }

// Sent says whether an earlier process has sent a user exactly like this and nobody has
// noted what became of it.
func (f *Freight) Sent(body []byte) bool { return f.runner.remembered[f.runner.notes.print(body)] }

// Pacer says when to look at what the tenant does for long.
func (f *Freight) Pacer() *Pacer { return &f.runner.pacer }

// Close ends the workers and waits for them.
func (f *Freight) Close() {
	f.cancel()
	f.group.Wait()
}

// Carry hands parcels over and waits for their end.
func (f *Freight) Carry(ctx context.Context, parcels []*Parcel) error {
	if len(parcels) == 0 {
		return nil
	}
	f.put(parcels)
	defer f.left()
	f.started.Do(func() { f.group.Go(f.dispatch) })
	select {
	case f.wake <- struct{}{}:
	default:
	}
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

// dispatch waits for a job's worth of parcels and for a slot, and sends them.
func (f *Freight) dispatch() {
	for {
		l, again := f.look()
		if l == nil {
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
		if !f.next(l) {
			return
		}
	}
}

// next sends what is ready. A full job is packed before there is a slot for it, so that
// the slot need not wait; what fills none takes along whatever comes until then.
func (f *Freight) next(l *lane) bool {
	var c *crate
	var err error
	if load := f.cut(l, 1); len(load) > 0 {
		if c, err = f.runner.pack(f.ctx, load, l.upsert); err != nil {
			failAll(load, err)
			return f.ctx.Err() == nil
		}
	}
	if f.slots.acquire(f.ctx) != nil {
		return false
	}
	if c != nil && slices.ContainsFunc(c.load, (*Parcel).abandoned) {
		f.restore(l, c.load)
		_ = f.runner.notes.forget(f.ctx, c.externalID) // nothing was sent: a note too many does no harm
		c = nil
	}
	if c == nil {
		load := f.cut(l, 0)
		if len(load) == 0 {
			f.slots.release()
			return true
		}
		if c, err = f.runner.pack(f.ctx, load, l.upsert); err != nil {
			f.slots.release()
			failAll(load, err)
			return f.ctx.Err() == nil
		}
	}
	f.group.Go(func() { f.ship(f.ctx, c) })
	return true
}
