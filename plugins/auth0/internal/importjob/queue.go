package importjob

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// Settler knows what the users in items are about.
type Settler interface {
	// Here says whether the user is in the tenant, as a load has made it.
	Here(ctx context.Context, p *Item) (bool, error)
	// Settle ends items whose job is over, and returns those that it should have written
	// and has not.
	Settle(ctx context.Context, e *Ending) (missing []*Item, err error)
	// Explain adds to an error what the operator can do about it.
	Explain(err error) error
}

// Ending is a job that is over.
type Ending struct {
	Job    *Job
	Load   []*Item
	Upsert bool
	// Said is what the job has against some of them.
	Said map[*Item]*UserError
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

// Options say how a queue works.
type Options struct {
	// Jobs run at the same time; Calls of Carry are so many at most.
	Jobs, Calls int
	// Poll is the shortest time between two looks at a job.
	Poll time.Duration
}

// Queue packs items of many calls into full jobs and keeps the job slots busy. A job
// is cut when there is enough for a full one, or when nothing more is coming: the host
// waits, or has been silent for a while. New users and changes go into jobs of their own.
type Queue struct {
	backlog
	sender
	ctx     context.Context //nolint:containedctx // of the workers, which outlive every call
	cancel  context.CancelFunc
	group   sync.WaitGroup
	wake    chan struct{}
	started sync.Once
}

// New prepares a queue. It does nothing before something is to be carried.
func New(client *tenant.Client, env sdk.Env, settler Settler, o Options) *Queue {
	q := &Queue{wake: make(chan struct{}, 1)}
	q.settler, q.slots = settler, make(slots, o.Jobs)
	q.options, q.busy = o, func() bool { return len(q.slots) > 0 }
	q.runner = runner{client: client, env: env, notes: notes{env: env}, poll: o.Poll, here: settler.Here, pacer: Pacer{shortest: o.Poll, burst: client.Burst}}
	for i := range q.lines {
		q.lines[i].body = (*Item).encoded
	}
	q.lines[1].upsert = true
	q.ctx, q.cancel = context.WithCancel(context.Background())
	return q
}

// Open names the connection that receives users, by its id.
func (q *Queue) Open(connection string) error {
	room, err := Room(connection)
	q.SetRoom(room)
	q.runner.connection = connection
	q.runner.remember()
	return err
}

// Recover waits for the jobs that an earlier process has started.
func (q *Queue) Recover(ctx context.Context) error { return q.runner.recover(ctx) }

// Sent says whether an earlier process has sent a user exactly like this and nobody has
// noted what became of it.
func (q *Queue) Sent(body []byte) bool { return q.runner.remembered[q.runner.notes.print(body)] }

// Pacer says when to look at what the tenant does for long.
func (q *Queue) Pacer() *Pacer { return &q.runner.pacer }

// Close ends the workers and waits for them.
func (q *Queue) Close() {
	q.cancel()
	q.group.Wait()
}

// Carry hands items over and waits for their end.
func (q *Queue) Carry(ctx context.Context, items []*Item) error {
	if len(items) == 0 {
		return nil
	}
	q.put(items)
	defer q.left()
	q.started.Do(func() { q.group.Go(q.dispatch) })
	select {
	case q.wake <- struct{}{}:
	default:
	}
	var errs error
	for _, p := range items {
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

// dispatch waits for a job's worth of items and for a slot, and sends them.
func (q *Queue) dispatch() {
	for {
		l, again := q.look()
		if l == nil {
			var timer <-chan time.Time
			if again > 0 {
				timer = time.After(again)
			}
			select {
			case <-q.wake:
			case <-timer:
			case <-q.ctx.Done():
				return
			}
			continue
		}
		if !q.next(l) {
			return
		}
	}
}

// next sends what is ready. A full job is packed before there is a slot for it, so that
// the slot need not wait; what fills none takes along whatever comes until then.
func (q *Queue) next(l *line) bool {
	var c *request
	var err error
	if load := q.cut(l, 1); len(load) > 0 {
		if c, err = q.runner.pack(q.ctx, load, l.upsert); err != nil {
			failAll(load, err)
			return q.ctx.Err() == nil
		}
	}
	if q.slots.acquire(q.ctx) != nil {
		return false
	}
	if c != nil && slices.ContainsFunc(c.load, (*Item).abandoned) {
		q.restore(l, c.load)
		_ = q.runner.notes.forget(q.ctx, c.externalID) // nothing was sent: a note too many does no harm
		c = nil
	}
	if c == nil {
		load := q.cut(l, 0)
		if len(load) == 0 {
			q.slots.release()
			return true
		}
		if c, err = q.runner.pack(q.ctx, load, l.upsert); err != nil {
			q.slots.release()
			failAll(load, err)
			return q.ctx.Err() == nil
		}
	}
	q.group.Go(func() { q.send(q.ctx, c) })
	return true
}
