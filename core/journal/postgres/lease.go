package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
)

// defaultLease is how long a scope stays held by a run that is heard of no more.
const defaultLease = 30 * time.Second

// lease is the hold of this process on one scope.
type lease struct {
	db    *database
	scope int64
	token string // of this hold alone
	fence int64  // how many holds there were before
	term  time.Duration

	mu sync.Mutex
	// ends stops the run when the lease has not been renewed in time.
	ends *time.Timer
	// asked is when the lease was asked for that is the latest one to be good.
	asked time.Time
	// lost is why the scope is not held any more; nil while it is.
	lost   error
	onLost func(error)

	stop    context.CancelFunc
	stopped chan struct{}
}

// acquire waits until the scope is free, for as long as it takes to see whether somebody
// holds it who is alive.
func acquire(ctx context.Context, j *Journal, scope int64) (l *lease, written int64, err error) {
	db, term := j.db, j.term
	l = &lease{db: db, scope: scope, token: rand.Text(), term: term, onLost: func(why error) { j.lose(why) }, stopped: make(chan struct{})}
	var seen time.Time // until when the other's lease was when it was seen first
	patience := time.Now().Add(2 * term)
	for {
		asked := time.Now()
		if written, err = l.take(ctx); err == nil {
			l.renewed(asked)
			break
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return nil, 0, err
		}
		var until time.Time
		var holder string
		var left time.Duration
		err = db.row(ctx, []any{&until, &holder, &left}, `SELECT until, holder, greatest(until - clock_timestamp(), interval '0') FROM stetl.lease WHERE scope = $1`, scope)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, 0, err
		}
		if !seen.IsZero() && until.After(seen) || time.Now().After(patience) {
			return nil, 0, fmt.Errorf("%w: %s (%s)", journal.ErrLocked, db.where, holder)
		}
		if seen.IsZero() {
			seen = until
			j.waiting(holder)
		}
		select {
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		case <-time.After(max(min(left, term/10), time.Millisecond)):
		}
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go l.keep(background)
	return l, written, nil
}

// take holds the scope if nobody does, and returns how many transactions it has seen.
func (l *lease) take(ctx context.Context) (written int64, err error) {
	host, _ := os.Hostname() // for people only
	holder := fmt.Sprintf("process %d on %s", os.Getpid(), host)
	err = l.db.row(ctx, []any{&l.fence, &written}, `INSERT INTO stetl.lease AS l (scope, fence, token, holder, until, written)
		VALUES ($1, 1, $2, $3, clock_timestamp() + $4::interval, 0)
		ON CONFLICT (scope) DO UPDATE SET fence = l.fence + 1, token = $2, holder = $3, until = clock_timestamp() + $4::interval
		WHERE l.until <= clock_timestamp() RETURNING fence, written`, l.scope, l.token, holder, l.term)
	return written, err
}

// keep renews the lease until it is released or lost.
func (l *lease) keep(ctx context.Context) {
	defer close(l.stopped)
	tick := time.NewTicker(l.term / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asked := time.Now()
		var there int
		err := l.db.row(ctx, []any{&there}, `UPDATE stetl.lease SET until = clock_timestamp() + $3::interval WHERE scope = $1 AND token = $2 RETURNING 1`, l.scope, l.token, l.term)
		switch {
		case err == nil:
			l.renewed(asked)
		case errors.Is(err, pgx.ErrNoRows):
			l.lose(l.taken(ctx))
			return
		}
	}
}

// taken says why the row of the lease is another's.
func (l *lease) taken(ctx context.Context) error {
	var fence int64
	err := l.db.row(ctx, []any{&fence}, `SELECT fence FROM stetl.lease WHERE scope = $1`, l.scope)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && fence < l.fence {
		return l.db.trouble(diag.JournalLost, "has lost what it had confirmed, also that this run holds it: its server was restored, or replaced by one that was behind", nil)
	}
	return l.db.trouble(diag.JournalLease, "is held by another run, as this one was not heard of for longer than its lease", nil)
}

// renewed notes that the lease was good when it was asked for. By the clock of this process it
// ends no later than by that of the server.
func (l *lease) renewed(asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if asked.Before(l.asked) {
		return // what was asked for later has been answered earlier
	}
	l.asked = asked
	left := time.Until(asked.Add(l.term))
	switch {
	case l.lost != nil:
	case l.ends == nil:
		l.ends = time.AfterFunc(left, func() { l.lose(l.unheard()) })
	default:
		l.ends.Reset(left)
	}
}

// lose has everything stop that needs the scope.
func (l *lease) lose(why error) {
	l.mu.Lock()
	first := l.lost == nil
	if first {
		l.lost = why
	}
	l.mu.Unlock()
	if first {
		l.onLost(why)
	}
}

// Held implements [journal.Lease]. It looks at the clock: after a pause, a timer may be late.
func (l *lease) Held() error {
	l.mu.Lock()
	lost, late := l.lost, time.Since(l.asked) > l.term
	l.mu.Unlock()
	if lost == nil && late {
		l.lose(l.unheard())
		return l.Held()
	}
	return lost
}

// unheard says that the lease has ended by the clock of this process.
func (l *lease) unheard() error {
	return l.db.trouble(diag.JournalLease, fmt.Sprintf("could not be reached for %s, so that another run may hold it now", l.term), nil)
}

// release lets the next run in.
func (l *lease) release() error {
	l.end()
	if l.Held() != nil {
		return nil // it is not ours to release
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.term)
	defer cancel()
	return l.db.exec(ctx, `UPDATE stetl.lease SET until = clock_timestamp() WHERE scope = $1 AND token = $2`, l.scope, l.token)
}

// end stops renewing.
func (l *lease) end() {
	l.stop()
	<-l.stopped
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends.Stop()
}
