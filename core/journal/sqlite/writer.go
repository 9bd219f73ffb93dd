package sqlite

import (
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/stetl/stetl/core/internal/groupcommit"
	"github.com/stetl/stetl/core/journal"
)

// writer owns the one connection that writes.
type writer struct {
	conn *sqlite.Conn
	jobs *groupcommit.Queue[job]
}

// job is a part of a transaction. It may run again in a transaction of its own
// when the shared one fails.
type job struct {
	do     func(*writer) error
	result chan error
}

func newWriter(conn *sqlite.Conn) *writer {
	w := &writer{conn: conn}
	w.jobs = groupcommit.New(w.commit)
	return w
}

// write returns when do's effects are on disk.
func (w *writer) write(do func(*writer) error) error {
	if w == nil {
		return journal.ErrReadOnly
	}
	j := job{do: do, result: make(chan error, 1)}
	if err := w.jobs.Add(j); err != nil {
		return err
	}
	if err := <-j.result; err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// commit runs jobs in one transaction, and one by one when that fails: the fault
// may be that of one of them.
func (w *writer) commit(jobs []job) {
	if err := w.transaction(jobs); err == nil || len(jobs) == 1 {
		for _, j := range jobs {
			j.result <- err
		}
		return
	}
	for _, j := range jobs {
		j.result <- w.transaction([]job{j})
	}
}

func (w *writer) transaction(jobs []job) error {
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, j := range jobs {
		if err := j.do(w); err != nil {
			_ = w.exec("ROLLBACK") // the first error says why
			return err
		}
	}
	if err := w.exec("COMMIT"); err != nil {
		_ = w.exec("ROLLBACK")
		return err
	}
	return nil
}

// exec runs a statement of the current job.
func (w *writer) exec(query string, args ...any) error {
	return rows(w.conn, everyRow, query, args...)
}

// script runs statements of the current job that each end a line and have no arguments.
func (w *writer) script(queries string) error {
	for query := range strings.SplitSeq(strings.TrimSpace(queries), ";\n") {
		if err := w.exec(query); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) close() error {
	if !w.jobs.Close() {
		return nil
	}
	return w.conn.Close()
}
