package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/stetl/stetl/core/internal/groupcommit"
)

// busyTimeout is how long a statement waits for another process that writes.
const busyTimeout = 10 * time.Second

// connect opens one connection to an existing file.
func connect(path string, readOnly bool) (*sqlite.Conn, error) {
	// Reading a write-ahead log may need to write beside it.
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, plain(err)
	}
	c.SetBusyTimeout(busyTimeout)
	settings := []string{"journal_mode = WAL", "synchronous = FULL", "cache_size = -4000"}
	if readOnly {
		settings = []string{"query_only = 1"}
	}
	for _, setting := range settings {
		if err := rows(c, everyRow, "PRAGMA "+setting); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// rows runs a query, which is prepared once per connection, and calls row for each
// row until it returns false. The library's own sqlitex.Execute puts queries into its
// errors, makes empty blobs of NULLs, and can only be left with an error.
func rows(c *sqlite.Conn, row func(*sqlite.Stmt) bool, query string, args ...any) error {
	stmt, err := c.Prepare(query)
	if err != nil {
		return plain(err)
	}
	defer func() { _ = stmt.Reset() }() // repeats what Step has said
	if err := bind(stmt, args); err != nil {
		return err
	}
	for {
		more, err := stmt.Step()
		if err != nil {
			return plain(err)
		}
		if !more || !row(stmt) {
			return nil
		}
	}
}

// everyRow is for queries whose rows do not matter.
func everyRow(*sqlite.Stmt) bool { return true }

// bind gives a statement without any its arguments; a nil slice is NULL.
func bind(stmt *sqlite.Stmt, args []any) error {
	if len(args) != stmt.BindParamCount() {
		return fmt.Errorf("%d arguments for a query with %d", len(args), stmt.BindParamCount())
	}
	for i, arg := range args {
		switch v := arg.(type) {
		case int:
			stmt.BindInt64(i+1, int64(v))
		case int64:
			stmt.BindInt64(i+1, v)
		case bool:
			stmt.BindBool(i+1, v)
		case string:
			stmt.BindText(i+1, v)
		case []byte:
			if v != nil {
				stmt.BindBytes(i+1, v)
			}
		default:
			return fmt.Errorf("argument %d of a query is a %T", i+1, arg)
		}
	}
	return nil
}

// blob returns a copy of a column; nil when there is nothing in it.
func blob(stmt *sqlite.Stmt, column int) []byte { return blobInto(nil, stmt, column) }

// blobInto is [blob] with the memory of buf.
func blobInto(buf []byte, stmt *sqlite.Stmt, column int) []byte {
	buf = slices.Grow(buf[:0], stmt.ColumnLen(column))
	return buf[:stmt.ColumnBytes(column, buf[:cap(buf)])]
}

// plain is an error of the library in SQLite's own words and with its code, without
// the text of the query that the library puts before them.
func plain(err error) error {
	if why := errors.Unwrap(err); why != nil {
		return fmt.Errorf("%w (%v)", why, sqlite.ErrCode(why))
	}
	return err
}

// maxIdle bounds the connections that are kept for those who read next.
const maxIdle = 4

// readers has the connections that read. There are as many as are in use, so that
// nobody waits for somebody who is in the middle of all accounts.
type readers struct {
	path     string
	readOnly bool

	mu     sync.Mutex
	idle   []*sqlite.Conn
	closed bool
}

// rows is [rows] on a connection of the readers, until the context ends.
func (r *readers) rows(ctx context.Context, row func(*sqlite.Stmt) bool, query string, args ...any) error {
	c, err := r.take(ctx)
	if err != nil {
		return err
	}
	defer r.put(c)
	c.SetInterrupt(ctx.Done())
	err = rows(c, row, query, args...)
	if ended := ctx.Err(); ended != nil && sqlite.ErrCode(err) == sqlite.ResultInterrupt {
		return ended
	}
	return err
}

// first calls row for the first row of a query; false when there is none.
func (r *readers) first(ctx context.Context, row func(*sqlite.Stmt), query string, args ...any) (found bool, err error) {
	err = r.rows(ctx, func(stmt *sqlite.Stmt) bool {
		found = true
		row(stmt)
		return false
	}, query, args...)
	return found, err
}

func (r *readers) take(ctx context.Context) (*sqlite.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, groupcommit.ErrClosed
	}
	if n := len(r.idle); n > 0 {
		c := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.mu.Unlock()
		return c, nil
	}
	r.mu.Unlock()
	return connect(r.path, r.readOnly)
}

func (r *readers) put(c *sqlite.Conn) {
	c.SetInterrupt(nil)
	r.mu.Lock()
	keep := !r.closed && len(r.idle) < maxIdle
	if keep {
		r.idle = append(r.idle, c)
	}
	r.mu.Unlock()
	if !keep {
		_ = c.Close() // it has only read
	}
}

// close ends the connections that nobody uses; the others end with their use.
func (r *readers) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	var errs []error
	for _, c := range r.idle {
		errs = append(errs, c.Close())
	}
	r.idle = nil
	return errors.Join(errs...)
}

// rows calls row for each row of a query until it returns false.
func (j *Journal) rows(ctx context.Context, row func(*sqlite.Stmt) bool, query string, args ...any) error {
	if err := j.readers.rows(ctx, row, query, args...); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	return nil
}

// first calls row for the first row of a query; false when there is none.
func (j *Journal) first(ctx context.Context, row func(*sqlite.Stmt), query string, args ...any) (found bool, err error) {
	if found, err = j.readers.first(ctx, row, query, args...); err != nil {
		return false, fmt.Errorf("read the journal: %w", err)
	}
	return found, nil
}
