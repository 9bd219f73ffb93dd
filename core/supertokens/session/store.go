package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/supertokens"
)

const (
	columnUser   = "user_id" // whose session it is
	columnHandle = "session_handle"
)

// Config are settings of a [Store]; the zero value is for production.
type Config struct {
	// Now is the clock, [time.Now] when nil.
	Now func() time.Time
	// Connections bounds the pool; 0 takes the default of 8. A pool_max_conns in the
	// address of the database counts instead.
	Connections int
	// WithoutHashes does not read password hashes, which a role may be forbidden.
	WithoutHashes bool
	// Tracer is told of every query; nil for nobody.
	Tracer pgx.QueryTracer
}

const defaultConnections = 8

// Store is a live database of SuperTokens. Its methods may be called
// concurrently.
type Store struct {
	db     *supertokens.Database
	close  func()
	tables *supertokens.Tables
	rows   supertokens.RowSource
	now    func() time.Time

	sessions supertokens.Table

	mu     sync.Mutex
	keys   *Keys
	loaded time.Time
}

// Open connects to the live database of the options and finds the installation.
// It needs to read the tables of keys and sessions; what else each method needs
// is in docs/bridge.md.
func Open(ctx context.Context, o supertokens.Options, c Config) (*Store, error) {
	if o.URL.IsZero() {
		return nil, errors.New("sessions need a live database: set source.url")
	}
	if c.Connections <= 0 {
		c.Connections = defaultConnections
	}
	db, closeDB, err := supertokens.OpenDatabase(ctx, o, supertokens.PoolOptions{Connections: c.Connections, Tracer: c.Tracer})
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, close: closeDB, rows: db.Rows, now: c.Now}
	if c.WithoutHashes {
		s.rows = supertokens.WithoutHashes(s.rows)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.tables, err = db.FindTables(ctx, o); err == nil {
		s.sessions, err = s.tables.Need(supertokens.SessionInfo)
	}
	if err != nil {
		closeDB()
		return nil, err
	}
	return s, nil
}

// Close ends all connections.
func (s *Store) Close() { s.close() }

// Database is where the sessions are, for what must happen in one transaction with a
// revocation.
func (s *Store) Database() *supertokens.Database { return s.db }

// Tables says where the tables are.
func (s *Store) Tables() *supertokens.Tables { return s.tables }

// Now reads the clock of the store.
func (s *Store) Now() time.Time { return s.now() }

// Keys are loaded again when they are this old, and at most this often because
// of a key id nobody knows.
const (
	keysAge    = 5 * time.Minute
	keysMinAge = 2 * time.Second
)

// Keys returns the signing keys, at most a few minutes old.
func (s *Store) Keys(ctx context.Context) (*Keys, error) { return s.keysNewerThan(ctx, keysAge) }

func (s *Store) keysNewerThan(ctx context.Context, age time.Duration) (*Keys, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys != nil && time.Since(s.loaded) < age {
		return s.keys, nil
	}
	keys, err := s.loadKeys(ctx)
	if err != nil {
		return nil, err
	}
	s.keys, s.loaded = keys, time.Now()
	return keys, nil
}

func (s *Store) loadKeys(ctx context.Context) (*Keys, error) {
	var b keyBuilder
	for _, k := range keyQueries {
		from, ok := s.tables.Table(k.table)
		if !ok {
			continue
		}
		if _, err := s.tables.Need(k.table); err != nil {
			return nil, err
		}
		err := s.rows.Rows(ctx, s.query(from, k.columns), func(v [][]byte) error {
			texts := make([]string, len(v))
			for i := range v {
				texts[i] = string(v[i])
			}
			return b.add(k.table, texts)
		})
		if err != nil {
			return nil, err
		}
	}
	return b.keys(), nil
}

// query asks for rows of the app.
func (s *Store) query(from supertokens.Table, columns []string, where ...supertokens.RowMatch) supertokens.RowQuery {
	if from.Has("app_id") {
		where = append(where, supertokens.RowMatch{Column: "app_id", Values: []string{s.tables.App()}})
	}
	return supertokens.RowQuery{From: from, Columns: columns, Where: where}
}
