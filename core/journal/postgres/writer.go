package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/groupcommit"
)

// writer writes one scope.
type writer struct {
	*lease
	confirmed int64 // transactions that the server has confirmed
	recent    recent

	jobs *groupcommit.Queue[job]
	last atomic.Int64 // batch
}

// job is a part of a transaction. It may run again in another one: when the shared one
// fails, and when nobody knows whether it was committed. It only adds statements.
type job struct {
	do func(*batch)
	// sent are accounts that the target may get next, or that it has got.
	sent   marks
	result chan error
}

func newWriter(l *lease, confirmed int64) *writer {
	w := &writer{lease: l, confirmed: confirmed}
	w.jobs = groupcommit.New(w.commit)
	return w
}

// write returns when the effects of the statements are durable, and the scope was still held
// then.
func (w *writer) write(sent marks, do func(*batch)) error {
	j := job{do: do, sent: sent, result: make(chan error, 1)}
	if err := w.jobs.Add(j); err != nil {
		return err
	}
	if err := <-j.result; err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return w.Held()
}

// commit runs jobs in one transaction, and one by one when the server refuses that: the fault
// may be that of one of them.
func (w *writer) commit(jobs []job) {
	err := w.transaction(jobs)
	if len(jobs) > 1 && refused(err) {
		for _, j := range jobs {
			j.result <- w.db.explain(w.transaction([]job{j}))
		}
		return
	}
	for _, j := range jobs {
		j.result <- w.db.explain(err)
	}
}

// refused says that the server has said no to a statement, or cannot be asked.
func refused(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && !passing(pg) || errors.Is(err, errArgument)
}

// transaction sends everything at once, which is one transaction with the check of the lease
// at its beginning. While the server cannot be reached it tries again, for as long as the
// lease lasts; whether a transaction without an answer was committed shows in the number of
// transactions.
func (w *writer) transaction(jobs []job) error {
	for tries := 0; ; tries++ {
		if err := w.Held(); err != nil {
			return err
		}
		asked := time.Now()
		err := w.send(jobs)
		pg, answered := errors.AsType[*pgconn.PgError](err)
		switch {
		case err == nil, answered && pg.Code == stateAhead && tries > 0:
			w.confirmed++
			w.renewed(asked)
			for _, j := range jobs {
				w.recent.add(w.confirmed, j.sent)
			}
			return nil
		case answered && pg.Code == stateLost:
			w.lose(w.lostWrites())
			return w.Held()
		case answered && (pg.Code == stateOther || pg.Code == stateAhead):
			ctx, cancel := context.WithTimeout(context.Background(), w.term)
			why := w.taken(ctx)
			cancel()
			w.lose(why)
			return w.Held()
		case answered && !passing(pg), errors.Is(err, errArgument):
			return err
		}
		time.Sleep(min(w.term/100*time.Duration(tries+1), w.term/10))
	}
}

// send is one attempt. Everything until the answer is one round trip.
func (w *writer) send(jobs []job) error {
	ctx, cancel := context.WithTimeout(context.Background(), w.term)
	defer cancel()
	b := newBatch()
	b.Queue(`SELECT stetl.hold($1, $2, $3, $4)`, w.scope, w.token, w.confirmed, w.term)
	for _, j := range jobs {
		j.do(b)
	}
	return b.send(ctx, w.db.pool)
}

// lostWrites is called when the server has fewer transactions than it has confirmed, as after
// a failover to a standby that was behind. What this process remembers having sent goes back
// to those in doubt, so that the next run looks it up.
func (w *writer) lostWrites() error {
	ctx, cancel := context.WithTimeout(context.Background(), w.term)
	defer cancel()
	what := "has lost what it had confirmed: its server was restored, or replaced by one that was behind"
	var stored int64
	if err := w.db.row(ctx, []any{&stored}, `SELECT written FROM stetl.lease WHERE scope = $1 AND token = $2`, w.scope, w.token); err != nil {
		return w.db.trouble(diag.JournalLost, what, err)
	}
	again, complete := w.recent.since(stored)
	b := newBatch()
	b.Queue(`SELECT stetl.hold($1, $2, $3, $4)`, w.scope, w.token, stored, w.term)
	markAgain(b, w.scope, -w.fence, again)
	if err := b.send(ctx, w.db.pool); err != nil {
		return w.db.trouble(diag.JournalLost, what, w.db.explain(err))
	}
	what += fmt.Sprintf("; %d accounts of its last %d transactions are in doubt again, and the next run looks them up", len(again.sources), w.confirmed-stored)
	if !complete {
		what += "; there were more of them, of which nothing is known any more"
	}
	return w.db.trouble(diag.JournalLost, what, nil)
}

// next numbers a batch, as no other hold of the scope does.
func (w *writer) next() int64 { return w.fence<<32 | w.last.Add(1) }

// marks are accounts, as columns.
type marks struct {
	run                       int64
	sources, visible, classes []string
}

// differing are the visible ids; nil where all are the source ids, as they mostly are.
func (m *marks) differing() []string {
	if slices.Equal(m.sources, m.visible) {
		return nil
	}
	return m.visible
}

// remembered bounds the accounts that are remembered, which takes some megabytes.
const remembered = 50_000

// recent are the accounts of the last transactions: those that a server which has lost some
// of them has to be told about again.
type recent struct {
	all   []numbered
	count int
	// from is the first transaction of which everything is remembered.
	from int64
}

type numbered struct {
	transaction int64
	marks
}

func (r *recent) add(transaction int64, m marks) {
	if len(m.sources) == 0 {
		return
	}
	r.all = append(r.all, numbered{transaction, m})
	r.count += len(m.sources)
	for r.count > remembered && len(r.all) > 1 {
		r.from = r.all[0].transaction + 1
		r.count -= len(r.all[0].sources)
		r.all = r.all[1:]
	}
}

// since are those after a transaction, each once, and whether they are all.
func (r *recent) since(transaction int64) (out marks, complete bool) {
	at := map[string]int{}
	for _, n := range r.all {
		if n.transaction <= transaction {
			continue
		}
		out.run = n.run
		for i, id := range n.sources {
			if _, twice := at[id]; twice {
				continue
			}
			at[id] = len(out.sources)
			out.sources, out.visible, out.classes = append(out.sources, id), append(out.visible, n.visible[i]), append(out.classes, n.classes[i])
		}
	}
	return out, r.from <= transaction+1
}
