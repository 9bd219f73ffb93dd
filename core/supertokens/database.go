package supertokens

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Statements changes what is in a live database, for the packages below this one: they
// end sessions, use links up, and keep what they have to remember. In a statement,
// parameters are $1, $2 and so on; [Table] has the parts of it that databases write in
// different ways.
type Statements interface {
	// Exec says how many rows a statement has changed.
	Exec(ctx context.Context, sql string, args ...any) (int, error)
	// Query calls row with every row, as texts, nil for NULL. Values are valid during
	// the call.
	Query(ctx context.Context, row func([][]byte) error, sql string, args ...any) error
	// Take deletes the rows of a table for which where is true, and calls row with
	// columns of each of them. Who wants the same rows waits, and finds them gone.
	Take(ctx context.Context, row func([][]byte) error, columns, from, where string, args ...any) error
	// Put inserts a row unless there is one with its key.
	Put(ctx context.Context, into string, columns []string, values ...any) error
}

// ErrLocked is for rows that another transaction has held for too long.
var ErrLocked = errors.New("another transaction holds the same rows")

// Abandoned is after how long the server gives up a transaction whose program does not
// say anything any more, so that a machine that vanishes does not keep rows locked.
const Abandoned = 60 * time.Second

// Database is a live database of any kind, with a pool of connections. Its methods may
// be called concurrently.
type Database struct {
	// Statements are each a transaction of its own.
	Statements
	// Rows asks for the rows of accounts.
	Rows RowSource
	// Connections is how many there are at most.
	Connections int

	server server
}

// server is what kinds of databases do in different ways.
type server interface {
	once(ctx context.Context, wait time.Duration, do func(Statements) error) error
	find(ctx context.Context, o Options) (*Tables, error)
	check(ctx context.Context, t *Tables) error
	may(ctx context.Context, right string, t Table) (bool, error)
	ping(ctx context.Context) error
}

// PoolOptions are settings of a [Database].
type PoolOptions struct {
	// Connections bounds the pool. A pool_max_conns in an address of PostgreSQL counts
	// instead.
	Connections int
	// Tracer is told of every query to PostgreSQL; nil for nobody.
	Tracer pgx.QueryTracer
}

// OpenDatabase makes a pool of connections to the live database of the options. The
// returned function closes it.
func OpenDatabase(ctx context.Context, o Options, p PoolOptions) (*Database, func(), error) {
	if IsMySQL(o.URL) {
		return openMySQLDatabase(o, max(p.Connections, 1))
	}
	config, err := PoolConfig(o.URL, p.Connections)
	if err != nil {
		return nil, nil, err
	}
	config.ConnConfig.Tracer = p.Tracer
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to database %s at %s: %w", config.ConnConfig.Database, config.ConnConfig.Host, err)
	}
	s := postgresServer{pool}
	return &Database{Statements: postgresStatements{pool}, Rows: PostgresRows(pool), Connections: int(pool.Config().MaxConns), server: s}, pool.Close, nil
}

// Once runs do in a transaction, all of it or nothing. Others who want the same rows
// wait, and give up with [ErrLocked] after a while; with 0 they wait on.
func (d *Database) Once(ctx context.Context, wait time.Duration, do func(Statements) error) error {
	return d.server.once(ctx, wait, do)
}

// FindTables is [OpenTables] over this database. The result cannot [Tables.Scan] and need
// not be closed.
func (d *Database) FindTables(ctx context.Context, o Options) (*Tables, error) {
	return d.server.find(ctx, o)
}

// May tells whether the role may INSERT or DELETE rows of a table.
func (d *Database) May(ctx context.Context, right string, t Table) (bool, error) {
	may, err := d.server.may(ctx, right, t)
	if err != nil {
		return false, fmt.Errorf("ask for the rights of the role: %w", err)
	}
	return may, nil
}

// Ping asks whether the database is there.
func (d *Database) Ping(ctx context.Context) error { return d.server.ping(ctx) }

// Check fails when accounts would be taken for others, as [CheckMode] does, and where what
// has to happen once could happen twice.
func (d *Database) Check(ctx context.Context, t *Tables) error { return d.server.check(ctx, t) }

// postgresServer is a database of PostgreSQL.
type postgresServer struct{ pool *pgxpool.Pool }

func (p postgresServer) ping(ctx context.Context) error { return p.pool.Ping(ctx) }

func (p postgresServer) find(ctx context.Context, o Options) (tables *Tables, err error) {
	err = p.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) (err error) {
		tables, err = FindTables(ctx, c.Conn(), o)
		return err
	})
	return tables, err
}

func (p postgresServer) check(ctx context.Context, t *Tables) error { return CheckMode(ctx, t, p.pool) }

func (p postgresServer) may(ctx context.Context, right string, t Table) (may bool, err error) {
	err = p.pool.QueryRow(ctx, "SELECT has_table_privilege($1, $2)", t.SQL(), right).Scan(&may)
	return may, err
}

const deadlockDetected = "40P01" // SQLSTATE

// once sets the level of isolation: with a higher one, which a database may have by
// default, the second of two attempts would get an error and not the answer that it is late.
func (p postgresServer) once(ctx context.Context, wait time.Duration, do func(Statements) error) error {
	begin := pgx.TxOptions{BeginQuery: fmt.Sprintf(
		"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %d", wait.Milliseconds(), Abandoned.Milliseconds())}
	err := pgx.BeginTxFunc(ctx, p.pool, begin, func(tx pgx.Tx) error { return do(postgresStatements{tx}) })
	if state := sqlState(err); state == lockNotAvailable || state == deadlockDetected {
		return errors.Join(ErrLocked, err)
	}
	return err
}

// postgresStatements runs in a pool or a transaction.
type postgresStatements struct {
	conn interface {
		pgxQuerier
		Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	}
}

// Exec implements [Statements].
func (p postgresStatements) Exec(ctx context.Context, sql string, args ...any) (int, error) {
	tag, err := p.conn.Exec(ctx, sql, args...)
	return int(tag.RowsAffected()), err
}

// Query implements [Statements].
func (p postgresStatements) Query(ctx context.Context, row func([][]byte) error, sql string, args ...any) error {
	return query(ctx, p.conn, row, sql, args...)
}

// Take implements [Statements]. The role needs no right to lock rows: DELETE does.
func (p postgresStatements) Take(ctx context.Context, row func([][]byte) error, columns, from, where string, args ...any) error {
	return query(ctx, p.conn, row, "DELETE FROM "+from+" WHERE "+where+" RETURNING "+columns, args...)
}

// Put implements [Statements].
func (p postgresStatements) Put(ctx context.Context, into string, columns []string, values ...any) error {
	_, err := p.conn.Exec(ctx, insertInto(into, columns)+" ON CONFLICT DO NOTHING", values...)
	return err
}

// insertInto inserts one row of parameters.
func insertInto(into string, columns []string) string {
	places := make([]string, len(columns))
	for i := range places {
		places[i] = fmt.Sprintf("$%d", i+1)
	}
	return "INSERT INTO " + into + " (" + strings.Join(columns, ", ") + ") VALUES (" + strings.Join(places, ", ") + ")"
}

// Counts runs a statement that gives one row of so many numbers.
func Counts(ctx context.Context, in Statements, n int, sql string, args ...any) (counts []int, err error) {
	counts = make([]int, n)
	err = in.Query(ctx, func(v [][]byte) error {
		for i := range counts {
			count, err := integer("count", v[i])
			if err != nil {
				return err
			}
			counts[i] = int(count)
		}
		return nil
	}, sql, args...)
	return counts, err
}
