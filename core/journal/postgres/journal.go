package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/internal/groupcommit"
	"github.com/stetl/stetl/core/journal"
)

// Options say where a journal is.
type Options struct {
	URL canonical.Secret
	// Secret is what its keys are derived from; see [ParseKey].
	Secret canonical.Secret
	// Key is what a journal that is yet to be made compares accounts with; nil derives it.
	Key []byte
	// Lease is for how long a run that is heard of no more keeps others out; 0 is 30 seconds.
	Lease time.Duration
	// Waiting, when set, is told who holds a scope, for whom a run waits until it is seen
	// whether that one is alive.
	Waiting func(holder string)
}

// Journal is one open journal.
type Journal struct {
	db       *database
	keys     *keys
	readOnly bool
	term     time.Duration
	waiting  func(holder string)

	ends context.Context // over when a scope is not held any more
	lose context.CancelCauseFunc

	mu     sync.Mutex
	scopes map[string]*scope // those that this process holds
	closed bool
}

// Open opens the journal for runs, and makes its tables first if need be. What a run writes
// is held with [Journal.Scope], whose error matches [journal.ErrLocked] when another run
// holds it. The error matches [journal.ErrOtherKey] when there is a journal with another key.
func Open(ctx context.Context, o Options) (*Journal, error) { return open(ctx, o, false) }

// Read opens the journal for looking only, beside runs that may be writing it. It asks for
// no right but to read. The error matches [fs.ErrNotExist] when there is none.
func Read(ctx context.Context, o Options) (*Journal, error) { return open(ctx, o, true) }

func open(ctx context.Context, o Options, readOnly bool) (_ *Journal, err error) {
	secret, err := ParseKey(o.Secret)
	if err != nil {
		return nil, err
	}
	db, err := connect(ctx, o.URL)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			db.pool.Close()
		}
	}()
	if !readOnly {
		if err := db.migrate(ctx); err != nil {
			return nil, err
		}
	}
	have, err := db.version(ctx)
	if err != nil {
		return nil, err
	}
	if err := db.readable(have); err != nil {
		return nil, err
	}
	k, err := db.known(ctx, secret, o.Key, !readOnly)
	if err != nil {
		return nil, err
	}
	j := &Journal{db: db, keys: k, readOnly: readOnly, term: o.Lease, waiting: o.Waiting, scopes: map[string]*scope{}}
	if j.waiting == nil {
		j.waiting = func(string) {}
	}
	if j.term == 0 {
		j.term = defaultLease
	}
	j.ends, j.lose = context.WithCancelCause(context.WithoutCancel(ctx))
	return j, nil
}

// FingerprintKey implements [journal.Journal].
func (j *Journal) FingerprintKey() []byte { return j.keys.fingerprint }

// Hold implements [journal.Holder].
func (j *Journal) Hold(ctx context.Context) (context.Context, context.CancelFunc) {
	held, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(j.ends, func() { cancel(context.Cause(j.ends)) })
	return held, func() {
		stop()
		cancel(nil)
	}
}

// Scope implements [journal.Journal]. For a run, it holds the scope until the journal is
// closed, after it has waited for a run that is heard of no more.
func (j *Journal) Scope(ctx context.Context, app, destination string) (*journal.Scope, error) {
	s, err := j.scope(ctx, app+"\n"+destination)
	if err != nil {
		return nil, err
	}
	r := runs{s}
	out := &journal.Scope{Outcomes: outcomes{s}, Listing: listing{s}, Finder: finder{s}, Runs: journal.Runs{RunWriter: r, RunReader: r, Pace: r}, Rejects: rejects{s}, Plugin: saved{s}}
	if s.writer != nil {
		out.Lease = s.writer.lease
	}
	return out, nil
}

func (j *Journal) scope(ctx context.Context, name string) (*scope, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, groupcommit.ErrClosed
	}
	if s := j.scopes[name]; s != nil {
		return s, nil
	}
	s := &scope{j: j, name: enc(name)}
	find := func() error {
		return j.db.row(ctx, []any{&s.id}, `SELECT id FROM stetl.scope WHERE name = $1`, s.name)
	}
	err := find()
	if errors.Is(err, pgx.ErrNoRows) && j.readOnly {
		s.id = -1 // nothing belongs to it so far
		return s, nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		if err = j.db.exec(ctx, `INSERT INTO stetl.scope (name) VALUES ($1) ON CONFLICT DO NOTHING`, s.name); err == nil {
			err = find()
		}
	}
	if err != nil {
		return nil, err
	}
	if j.readOnly {
		return s, s.look(ctx)
	}
	l, written, err := acquire(ctx, j, s.id)
	if err != nil {
		return nil, err
	}
	s.writer = newWriter(l, written)
	if err := s.recover(); err != nil {
		s.writer.jobs.Close()
		return nil, errors.Join(err, l.release()) //nolint:contextcheck // also when the context has ended
	}
	j.scopes[name] = s
	return s, nil
}

// Close implements [journal.Journal].
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	var errs []error
	for _, s := range j.scopes {
		s.writer.jobs.Close()
		errs = append(errs, s.writer.release())
	}
	j.lose(nil)
	j.db.pool.Close()
	return errors.Join(errs...)
}

// Owns says whether the role may write the journal, which whoever only reads should not.
func (j *Journal) Owns(ctx context.Context) (bool, error) {
	var may bool
	err := j.db.row(ctx, []any{&may}, `SELECT pg_catalog.has_table_privilege('stetl.account', 'INSERT') OR pg_catalog.has_table_privilege('stetl.account', 'UPDATE')`)
	return may, err
}

// BesideSuperTokens says whether tables of SuperTokens are in the same database.
func (j *Journal) BesideSuperTokens(ctx context.Context) (bool, error) {
	var are bool
	err := j.db.row(ctx, []any{&are}, `SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p') AND relname LIKE '%emailpassword\_users')`)
	return are, err
}
