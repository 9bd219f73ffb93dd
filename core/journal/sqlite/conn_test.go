package sqlite

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/stetl/stetl/core/internal/groupcommit"
	"github.com/stetl/stetl/core/journal"
)

// filled is a journal with that many accounts.
func filled(t *testing.T, accounts int) (*Journal, *journal.Scope) {
	t.Helper()
	j := open(t, t.TempDir())
	s := part(t, j, "here")
	all := make([]journal.Entry, accounts)
	for i := range all {
		all[i] = journal.Entry{SourceID: fmt.Sprintf("u%05d", i), Digest: []byte{byte(i)}}
	}
	if err := s.Record(0, all); err != nil {
		t.Fatal(err)
	}
	return j, s
}

// Whoever is in the middle of all accounts keeps neither readers waiting nor the writer.
func TestNobodyWaitsForReaders(t *testing.T) {
	t.Parallel()
	j, s := filled(t, 10)
	var stops []func()
	for range 3 * maxIdle {
		next, stop := iter.Pull2(s.Known(t.Context()))
		stops = append(stops, stop)
		if k, err, ok := next(); err != nil || !ok || k.SourceID != "u00000" {
			t.Fatal(k, err, ok)
		}
	}
	if _, ok, err := s.Get(t.Context(), "u00003"); err != nil || !ok {
		t.Error(ok, err)
	}
	if err := s.Record(0, []journal.Entry{{SourceID: "v"}}); err != nil {
		t.Error(err)
	}
	if _, ok, err := s.Get(t.Context(), "v"); err != nil || !ok {
		t.Error(ok, err)
	}
	for _, stop := range stops {
		stop()
	}
	if n := len(j.readers.idle); n != maxIdle {
		t.Errorf("%d connections are kept", n)
	}
}

// A connection is there for others however its use has ended.
func TestConnectionsComeBack(t *testing.T) {
	t.Parallel()
	j, s := filled(t, 10)
	ended, end := context.WithCancel(t.Context())
	for name, use := range map[string]func(){
		"to the end": func() { entries(t, s) },
		"left": func() {
			for range s.Accounts(t.Context()) {
				return
			}
		},
		"panic": func() {
			defer func() { _ = recover() }()
			for range s.Known(t.Context()) {
				panic("no")
			}
		},
		"pulled": func() {
			next, stop := iter.Pull2(s.Known(t.Context()))
			_, _, _ = next()
			stop()
		},
		"failed": func() {
			if err := j.rows(t.Context(), everyRow, "SELECT * FROM nowhere"); err == nil {
				t.Error("a table that is not there is read")
			}
		},
		"failed later": func() {
			if err := j.rows(t.Context(), everyRow, "SELECT abs(-9223372036854775808)"); err == nil {
				t.Error("what cannot be computed is")
			}
		},
		"ended": func() {
			for range s.Known(ended) {
				end()
			}
		},
		"one": func() { _, _, _ = s.Get(t.Context(), "u00000") },
	} {
		use()
		if n := len(j.readers.idle); n != 1 {
			t.Fatalf("%s: %d connections are idle", name, n)
		}
		if n := len(entries(t, s)); n != 10 {
			t.Fatalf("%s: then there are %d accounts", name, n)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(t.Context(), "u00000"); !errors.Is(err, groupcommit.ErrClosed) {
		t.Errorf("a closed journal is read: %v", err)
	}
}

// A reader that outlives the journal ends as if it did not.
func TestReadingWhileClosing(t *testing.T) {
	t.Parallel()
	j, s := filled(t, 10)
	n := 0
	for _, err := range s.Known(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 1 {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n != 10 || len(j.readers.idle) != 0 {
		t.Errorf("%d accounts, %d connections", n, len(j.readers.idle))
	}
}

// Also a query that has no row yet ends with its context.
func TestQueryEndsWithItsContext(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	err := j.rows(ctx, everyRow, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if _, _, err := part(t, j, "here").Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the context: %v", err)
	}
}

// Readers see whole transactions and in order, while there is a writer and other
// readers come and go.
func TestReadersBesideTheWriter(t *testing.T) {
	t.Parallel()
	j, s := filled(t, 500)
	var work sync.WaitGroup
	var done atomic.Bool
	for range 4 {
		work.Go(func() {
			for !done.Load() {
				ctx, stop := context.WithTimeout(t.Context(), time.Millisecond)
				for k, err := range s.Known(ctx) {
					if err != nil {
						if !errors.Is(err, context.DeadlineExceeded) {
							t.Error(err)
						}
						break
					}
					if len(k.Digest) != 1 {
						t.Error(k)
					}
					if _, ok, err := s.Get(ctx, k.SourceID); !ok && err == nil {
						t.Errorf("%s has gone", k.SourceID)
					}
				}
				stop()
				n := 0
				for _, err := range s.Accounts(t.Context()) {
					n++
					if err != nil {
						t.Error(err)
					}
				}
				if n%50 != 0 {
					t.Errorf("%d accounts", n)
				}
			}
		})
	}
	for round := range 40 {
		batch := make([]journal.Entry, 50)
		for i := range batch {
			batch[i] = journal.Entry{SourceID: fmt.Sprintf("v%d-%d", round, i), Digest: []byte{1}}
		}
		if err := s.Record(0, batch); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	work.Wait()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhoLooksCannotWrite(t *testing.T) {
	t.Parallel()
	j, _ := filled(t, 1)
	r, err := Read(t.Context(), j.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := r.rows(t.Context(), everyRow, "DELETE FROM account"); sqlite.ErrCode(err) != sqlite.ResultReadOnly {
		t.Errorf("error %v", err)
	}
}

// Errors say what happened, and neither queries nor values.
func TestErrorsAreWithoutValues(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	again := func(w *writer) error {
		const query = `INSERT INTO scope (name) VALUES (?)`
		return errors.Join(w.exec(query, "ada@example.org"), w.exec(query, "ada@example.org"))
	}
	for says, err := range map[string]error{
		"UNIQUE constraint failed: scope.name (SQLITE_CONSTRAINT_UNIQUE)": j.writer.write(again),
		"no such table: nowhere": j.rows(t.Context(), everyRow, "SELECT * FROM nowhere WHERE id = 'ada@example.org'"),
		"is a float64":           j.rows(t.Context(), everyRow, "SELECT ?", 1.5),
		"0 arguments":            j.rows(t.Context(), everyRow, "SELECT ?"),
	} {
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "ada@") || strings.Contains(err.Error(), "SELECT") {
			t.Errorf("want %q, got %v", says, err)
		}
	}
}
