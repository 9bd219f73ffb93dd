package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stetl/stetl/core/supertokens"
)

// columnUser has whose session it is.
const columnUser = "user_id"

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
	pool   *pgxpool.Pool
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
	pool, err := openPool(ctx, o, c)
	if err != nil {
		return nil, err
	}
	s := &Store{pool: pool, rows: supertokens.PostgresRows(pool), now: c.Now}
	if c.WithoutHashes {
		s.rows = supertokens.WithoutHashes(s.rows)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if err := s.find(ctx, o); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

func openPool(ctx context.Context, o supertokens.Options, c Config) (*pgxpool.Pool, error) {
	if o.URL.IsZero() {
		return nil, errors.New("sessions need a live database: set source.url")
	}
	connections := c.Connections
	if connections <= 0 {
		connections = defaultConnections
	}
	config, err := supertokens.PoolConfig(o.URL, connections)
	if err != nil {
		return nil, err
	}
	config.ConnConfig.Tracer = c.Tracer
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to database %s at %s: %w", config.ConnConfig.Database, config.ConnConfig.Host, err)
	}
	return pool, nil
}

func (s *Store) find(ctx context.Context, o supertokens.Options) error {
	err := s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) (err error) {
		s.tables, err = supertokens.FindTables(ctx, c.Conn(), o)
		return err
	})
	if err != nil {
		return err
	}
	s.sessions, err = s.tables.Need(supertokens.SessionInfo)
	return err
}

// Close ends all connections.
func (s *Store) Close() { s.pool.Close() }

// Pool is the connection pool, for what must happen in one transaction with a
// revocation.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }

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
	for _, q := range keyQueries {
		from, ok := s.tables.Table(q.table)
		if !ok {
			continue
		}
		if _, err := s.tables.Need(q.table); err != nil {
			return nil, err
		}
		sql, args := s.selectApp(from, q.columns)
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return nil, fmt.Errorf("read signing keys: %w", err)
		}
		for rows.Next() {
			values := make([]*string, len(q.columns))
			into := make([]any, len(values))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				rows.Close()
				return nil, fmt.Errorf("read signing keys: %w", err)
			}
			flat := make([]string, len(values))
			for i := range values {
				flat[i] = text(values[i])
			}
			if err := b.add(q.table, flat); err != nil {
				rows.Close()
				return nil, err
			}
		}
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("read signing keys: %w", err)
		}
	}
	return b.keys(), nil
}

// selectApp selects columns as text, NULL for those the table lacks, of the
// rows of the app.
func (s *Store) selectApp(from supertokens.Table, columns []string) (string, []any) {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = "NULL"
		if from.Has(c) {
			out[i] = c + "::text"
		}
	}
	sql := "SELECT " + strings.Join(out, ", ") + " FROM " + from.SQL()
	if !from.Has("app_id") {
		return sql, nil
	}
	return sql + " WHERE app_id = $1", []any{s.tables.App()}
}
