package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// writer owns the one connection that writes. What several goroutines want to
// write at the same time goes into one transaction, because making it durable is
// what takes long.
type writer struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt // of conn, by their text
	work       chan job
	done       chan struct{}

	mu     sync.RWMutex
	closed bool
}

// job is a part of a transaction. It may run again in a transaction of its own
// when the shared one fails.
type job struct {
	do     func(ctx context.Context, w *writer) error
	result chan error
}

// most bounds how many jobs share a transaction.
const most = 64

var errClosed = errors.New("the journal is closed")

func newWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn, statements: map[string]*sql.Stmt{}, work: make(chan job, most), done: make(chan struct{})}
	go w.run(context.WithoutCancel(ctx))
	return w, nil
}

// write returns when do's effects are on disk.
func (w *writer) write(do func(context.Context, *writer) error) error {
	j := job{do: do, result: make(chan error, 1)}
	if err := w.enqueue(j); err != nil {
		return err
	}
	if err := <-j.result; err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

func (w *writer) enqueue(j job) error {
	if w == nil {
		return errors.New("the journal was opened for reading only")
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return errClosed
	}
	w.work <- j
	return nil
}

func (w *writer) run(ctx context.Context) {
	defer close(w.done)
	for first := range w.work {
		jobs := []job{first}
	collect:
		for len(jobs) < most {
			select {
			case j, ok := <-w.work:
				if !ok {
					break collect
				}
				jobs = append(jobs, j)
			default:
				break collect
			}
		}
		w.commit(ctx, jobs)
	}
}

// commit runs jobs in one transaction, and one by one when that fails: the fault
// may be that of one of them.
func (w *writer) commit(ctx context.Context, jobs []job) {
	if err := w.transaction(ctx, jobs); err == nil || len(jobs) == 1 {
		for _, j := range jobs {
			j.result <- err
		}
		return
	}
	for _, j := range jobs {
		j.result <- w.transaction(ctx, []job{j})
	}
}

func (w *writer) transaction(ctx context.Context, jobs []job) error {
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, j := range jobs {
		if err := j.do(ctx, w); err != nil {
			_, _ = w.conn.ExecContext(ctx, "ROLLBACK") // the first error says why
			return err
		}
	}
	if _, err := w.conn.ExecContext(ctx, "COMMIT"); err != nil {
		_, _ = w.conn.ExecContext(ctx, "ROLLBACK")
		return err
	}
	return nil
}

// exec runs a statement of the current job, preparing it once.
func (w *writer) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt := w.statements[query]
	if stmt == nil {
		var err error
		if stmt, err = w.conn.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
		w.statements[query] = stmt
	}
	return stmt.ExecContext(ctx, args...)
}

func (w *writer) close() error {
	w.mu.Lock()
	already := w.closed
	w.closed = true
	w.mu.Unlock()
	if already {
		return nil
	}
	close(w.work)
	<-w.done
	var errs []error
	for _, stmt := range w.statements {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
}
