package supertokens

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stetl/stetl/core/canonical"
)

// live reads a live database inside one REPEATABLE READ, READ ONLY
// snapshot that all its connections share. SERIALIZABLE is avoided on purpose:
// cores before 12.0 run serializable transactions themselves, and a reader of
// that kind could make theirs fail.
type live struct {
	where    string
	config   *pgx.ConnConfig
	snapshot string
	control  *pgx.Conn
	idle     chan *pgx.Conn
	// takeVisible says that rows which policies hide are done without.
	takeVisible bool
}

// closeTimeout bounds the goodbyes.
const closeTimeout = 15 * time.Second

// lockTimeout bounds the wait for a table that another session holds.
const lockTimeout = "30s"

func openLive(ctx context.Context, url canonical.Secret, connections int, takeVisible bool) (_ *live, err error) {
	config, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	p := &live{takeVisible: takeVisible, where: fmt.Sprintf("database %s at %s:%d", config.Database, config.Host, config.Port), config: config}
	if connections == 0 {
		connections = defaultConnections
	}
	p.idle = make(chan *pgx.Conn, connections)
	defer func() { //nolint:contextcheck // closing must outlive a cancelled context
		if err != nil {
			_ = p.close()
		}
	}()
	if p.control, err = p.begin(ctx); err != nil {
		return nil, err
	}
	if severalServers(config) {
		p.where = fmt.Sprintf("database %s at %s", config.Database, p.control.PgConn().Conn().RemoteAddr())
	}
	if err := p.control.QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&p.snapshot); err != nil {
		return nil, fmt.Errorf("export a snapshot of %s: %w", p.where, err)
	}
	for range connections {
		conn, err := p.begin(ctx)
		if lost, ok := errors.AsType[*snapshotError](err); ok {
			lost.elsewhere = p.control.Ping(ctx) == nil
		}
		if err != nil {
			return nil, err
		}
		p.idle <- conn
	}
	return p, nil
}

// severalServers says that an address names more than one, of which a connection
// reaches one.
func severalServers(c *pgx.ConnConfig) bool {
	return slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != c.Host || f.Port != c.Port })
}

// snapshotError is a connection that does not find the snapshot of the others.
type snapshotError struct {
	where string
	// elsewhere is set when the snapshot is held still: the connection has reached
	// another server.
	elsewhere bool
	cause     error
}

func (e *snapshotError) Unwrap() error { return e.cause }

func (e *snapshotError) Error() string {
	if e.elsewhere {
		return fmt.Sprintf("connections to %s reach different servers, such as a primary and its read replica, which cannot show one state; "+
			"take the address of one server, and go around a pooler that spreads connections: %v", e.where, e.cause)
	}
	return fmt.Sprintf("the snapshot of %s is gone with the connection that held it, and reading on would mix two states; start again: %v", e.where, e.cause)
}

// begin connects and opens the transaction, importing the snapshot once there
// is one.
func (p *live) begin(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, p.config)
	if err != nil {
		return nil, &connectError{where: p.where, cause: err}
	}
	statements := []string{
		"BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
		"SET LOCAL statement_timeout = 0",
		"SET LOCAL idle_in_transaction_session_timeout = 0",
		"SET LOCAL client_encoding = 'UTF8'", // also has the server check text of SQL_ASCII databases
		"SET LOCAL bytea_output = 'hex'",
		// A policy that hides rows from this role is an error, not a shorter
		// list of users.
		"SET LOCAL row_security = " + map[bool]string{false: "off", true: "on"}[p.takeVisible],
		// A table that is being rebuilt must not keep this program waiting without
		// a word. Where the role or the url set a limit, that one counts.
		"SELECT set_config(name, '" + lockTimeout + "', true) FROM pg_catalog.pg_settings WHERE name = 'lock_timeout' AND setting = '0'",
		// Only PostgreSQL 17 and later have it.
		"SELECT set_config(name, '0', true) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'",
	}
	if p.snapshot != "" { // must come before any query
		statements = slices.Insert(statements, 1, "SET TRANSACTION SNAPSHOT '"+p.snapshot+"'")
	}
	for i, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			_ = conn.Close(context.WithoutCancel(ctx))
			if p.snapshot != "" && i == 1 {
				return nil, &snapshotError{where: p.where, cause: err}
			}
			return nil, fmt.Errorf("prepare a read-only snapshot of %s: %w", p.where, err)
		}
	}
	return conn, nil
}

func (p *live) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	close(p.idle)
	for conn := range p.idle {
		_ = conn.Close(ctx) // nothing was written, so nothing can be lost
	}
	if p.control != nil {
		_ = p.control.Close(ctx)
	}
	return nil
}

// query runs sql on conn and gives every row as text values, valid until the
// next row.
func query(ctx context.Context, conn pgxQuerier, row func([][]byte) error, sql string, args ...any) error {
	rows, err := conn.Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.RawValues()); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (p *live) catalog(ctx context.Context) (*catalog, error) {
	return readCatalog(ctx, p.control, p.where)
}

func readCatalog(ctx context.Context, conn *pgx.Conn, where string) (*catalog, error) {
	c := &catalog{where: where}
	// pg_catalog rather than information_schema: the latter hides tables that
	// the role may not read, and a hidden table looks like a missing one.
	const sql = `
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
       has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT'),
       EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
ORDER BY 1, 2, a.attnum`
	err := query(ctx, conn, func(v [][]byte) error {
		schema, name := string(v[0]), string(v[1])
		last := len(c.tables) - 1
		if last < 0 || c.tables[last].schema != schema || c.tables[last].name != name {
			c.tables = append(c.tables, &relation{schema: schema, name: name, readable: isTrue(v[4]), part: isTrue(v[5])})
			last++
		}
		r := c.tables[last]
		r.columns, r.types = append(r.columns, string(v[2])), append(r.types, shortType(string(v[3])))
		return nil
	}, sql)
	// Indexes and constraints, the policies that hide rows from this role, and what is
	// no table.
	const more = `
SELECT n.nspname, c.relname, 'index', i.relname
FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indrelid JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
UNION ALL
SELECT n.nspname, c.relname, 'index', o.conname
FROM pg_catalog.pg_constraint o JOIN pg_catalog.pg_class c ON c.oid = o.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
UNION ALL
SELECT n.nspname, c.relname, 'policy', coalesce(p.polname, 'no policy, so nothing is shown')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid
WHERE c.relrowsecurity AND (NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') OR c.relforcerowsecurity)
  AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user)
UNION ALL
SELECT n.nspname, c.relname, 'view', CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'foreign table' END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm', 'f') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'`
	if err == nil {
		err = query(ctx, conn, func(v [][]byte) error {
			switch r := c.find(string(v[0]), string(v[1])); {
			case string(v[2]) == "view":
				c.views = append(c.views, view{string(v[0]), string(v[1]), string(v[3])})
			case r == nil:
			case string(v[2]) == "policy":
				r.policies = append(r.policies, string(v[3]))
			default:
				r.indexes = append(r.indexes, string(v[3]))
			}
			return nil
		}, more)
	}
	if err != nil {
		return nil, fmt.Errorf("list the tables of %s: %w", where, err)
	}
	return c, nil
}

// selectList renders columns, NULL for those the table does not have.
func selectList(r *relation, columns []string) string {
	out := make([]string, len(columns))
	for i, name := range columns {
		out[i] = "NULL"
		if r.has(name) {
			out[i] = quoteIdent(name)
		}
	}
	return strings.Join(out, ", ")
}

func from(r *relation) string { return " FROM " + quoteIdent(r.schema) + "." + quoteIdent(r.name) }

func (p *live) scan(ctx context.Context, r *relation, app string, columns []string, row func([][]byte) error) error {
	var conn *pgx.Conn
	select {
	case conn = <-p.idle:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { p.idle <- conn }()
	if conn.IsClosed() { // lost in an earlier scan; only a snapshot still held can be imported
		fresh, err := p.begin(ctx)
		if err != nil {
			return err
		}
		conn = fresh
	}
	sql, args := selectRows(r, app, columns)
	err := query(ctx, conn, row, sql, args...)
	switch {
	case err == nil:
		return nil
	case conn.IsClosed() && ctx.Err() == nil:
		return fmt.Errorf("read %s of %s: %w: %w", r.qualified(), p.where, errConnectionLost, err)
	case sqlState(err) == lockNotAvailable:
		return fmt.Errorf("table %s of %s stays locked by another session, as during a migration or VACUUM FULL; wait for it and start again: %w", r.qualified(), p.where, err)
	default:
		return fmt.Errorf("read %s of %s: %w", r.qualified(), p.where, err)
	}
}

func (p *live) countBy(ctx context.Context, r *relation, column string) (map[string]int, error) {
	out := map[string]int{}
	err := query(ctx, p.control, func(v [][]byte) error {
		n, err := integer("count", v[1])
		out[string(v[0])] = int(n)
		return err
	}, "SELECT "+quoteIdent(column)+", count(*)"+from(r)+" GROUP BY 1")
	if err != nil {
		return nil, fmt.Errorf("count %s of %s: %w", r.qualified(), p.where, err)
	}
	return out, nil
}

func (p *live) hasRows(ctx context.Context, r *relation) (bool, error) {
	return (&connection{conn: p.control, where: p.where}).hasRows(ctx, r)
}

// memberships has the server add up hashes of its own: only sums are compared.
func (p *live) memberships(ctx context.Context, r *relation, app string) (m memberships, err error) {
	sql, args := "SELECT count(*), coalesce(sum(hashtextextended(tenant_id::text || ' ' || user_id::text, 0)), 0) % "+strconv.FormatInt(sumsBelow, 10)+from(r), []any(nil)
	if app != "" {
		sql, args = sql+" WHERE "+quoteIdent(appColumn)+" = $1", []any{app}
	}
	err = query(ctx, p.control, func(v [][]byte) error {
		rows, err := integer("count", v[0])
		if err != nil {
			return err
		}
		sum, err := integer("sum", v[1])
		if sum < 0 {
			sum += sumsBelow
		}
		m = memberships{int(rows), uint64(sum)} //nolint:gosec // not negative any more
		return err
	}, sql, args...)
	if err != nil {
		return m, fmt.Errorf("compare %s of %s: %w", r.qualified(), p.where, err)
	}
	return m, nil
}

func (p *live) countRows(ctx context.Context, r *relation, app string) (int, error) {
	return (&connection{conn: p.control, where: p.where}).countRows(ctx, r, app)
}

// connection answers over one connection what detection asks.
type connection struct {
	conn  *pgx.Conn
	where string
}

func (c *connection) hasRows(ctx context.Context, r *relation) (found bool, err error) {
	err = query(ctx, c.conn, func(v [][]byte) error {
		found = isTrue(v[0])
		return nil
	}, "SELECT EXISTS (SELECT 1"+from(r)+")")
	if err != nil {
		return false, fmt.Errorf("look into %s of %s: %w", r.qualified(), c.where, err)
	}
	return found, nil
}

func (c *connection) countRows(ctx context.Context, r *relation, app string) (n int, err error) {
	sql, args := "SELECT count(*)"+from(r), []any(nil)
	if app != "" && r.has(appColumn) {
		sql, args = sql+" WHERE "+quoteIdent(appColumn)+" = $1", []any{app}
	}
	err = query(ctx, c.conn, func(v [][]byte) error {
		rows, err := integer("count", v[0])
		n = int(rows)
		return err
	}, sql, args...)
	if err != nil {
		return 0, fmt.Errorf("count %s of %s: %w", r.qualified(), c.where, err)
	}
	return n, nil
}

func (c *connection) scan(ctx context.Context, r *relation, app string, columns []string, row func([][]byte) error) error {
	sql, args := selectRows(r, app, columns)
	if err := query(ctx, c.conn, row, sql, args...); err != nil {
		return fmt.Errorf("read %s of %s: %w", r.qualified(), c.where, err)
	}
	return nil
}

// selectRows reads columns of the rows of an app.
func selectRows(r *relation, app string, columns []string) (sql string, args []any) {
	sql = "SELECT " + selectList(r, columns) + from(r)
	if app != "" && r.has(appColumn) {
		sql, args = sql+" WHERE "+quoteIdent(appColumn)+" = $1", []any{app}
	}
	return sql, args
}
