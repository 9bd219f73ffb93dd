package supertokens

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

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
	// collate is added to comparisons of ids where the database's own order
	// could differ from the order of bytes.
	collate string
	schema  string
}

// connectTimeout bounds each connection attempt unless the url says otherwise.
const connectTimeout = 15 * time.Second

func openLive(ctx context.Context, url canonical.Secret, connections int) (_ *live, err error) {
	config, err := pgx.ParseConfig(url.Reveal())
	if err != nil { // the parser's own words could quote the password
		return nil, errors.New("source.url is not a PostgreSQL connection string; expected postgres://user:password@host:5432/database")
	}
	// No prepared statements: they do not survive a pooler in transaction mode.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	p := &live{where: fmt.Sprintf("database %s at %s:%d", config.Database, config.Host, config.Port), config: config}
	// The core's own connection URI may carry a JDBC attribute that PostgreSQL
	// would refuse as an unknown setting.
	p.schema = config.RuntimeParams["currentSchema"]
	delete(config.RuntimeParams, "currentSchema")
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
	if err := p.control.QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&p.snapshot); err != nil {
		return nil, fmt.Errorf("export a snapshot of %s: %w", p.where, err)
	}
	for range connections {
		conn, err := p.begin(ctx)
		if err != nil {
			return nil, err
		}
		p.idle <- conn
	}
	return p, nil
}

// begin connects and opens the transaction, importing the snapshot once there
// is one.
func (p *live) begin(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, p.config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", p.where, err)
	}
	statements := []string{
		"BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
		"SET LOCAL statement_timeout = 0",
		"SET LOCAL idle_in_transaction_session_timeout = 0",
		"SET LOCAL client_encoding = 'UTF8'",
		"SET LOCAL bytea_output = 'hex'",
	}
	if p.snapshot != "" { // must come before any query
		statements = append(statements[:1:1], append([]string{"SET TRANSACTION SNAPSHOT '" + p.snapshot + "'"}, statements[1:]...)...)
	}
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			_ = conn.Close(context.WithoutCancel(ctx))
			return nil, fmt.Errorf("prepare a read-only snapshot of %s: %w", p.where, err)
		}
	}
	return conn, nil
}

func (p *live) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
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
func query(ctx context.Context, conn *pgx.Conn, row func([][]byte) error, sql string, args ...any) error {
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
	c := &catalog{where: p.where}
	// pg_catalog rather than information_schema: the latter hides tables that
	// the role may not read, and a hidden table looks like a missing one.
	const sql = `
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
ORDER BY 1, 2, a.attnum`
	err := query(ctx, p.control, func(v [][]byte) error {
		schema, name := string(v[0]), string(v[1])
		last := len(c.tables) - 1
		if last < 0 || c.tables[last].schema != schema || c.tables[last].name != name {
			c.tables = append(c.tables, &relation{schema: schema, name: name, readable: isTrue(v[4])})
			last++
		}
		c.tables[last].columns = append(c.tables[last].columns, column{name: string(v[2]), typ: string(v[3])})
		return nil
	}, sql)
	if err != nil {
		return nil, fmt.Errorf("list the tables of %s: %w", p.where, err)
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

func (p *live) scan(ctx context.Context, r *relation, columns []string, row func([][]byte) error) error {
	if err := query(ctx, p.control, row, "SELECT "+selectList(r, columns)+from(r)); err != nil {
		return fmt.Errorf("read %s of %s: %w", r.qualified(), p.where, err)
	}
	return nil
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

// ranges asks the database for every size-th id in its own order, which an
// index on the ids answers without touching the rows.
func (p *live) ranges(ctx context.Context, l *Layout, app string, size int) ([]idRange, error) {
	var args []any
	if l.multiApp() {
		args = append(args, app)
	}
	if err := p.chooseOrder(ctx, l, args); err != nil {
		return nil, err
	}
	ids := p.allIDs(l)
	sql := fmt.Sprintf("SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id%s) AS n FROM (%s) AS ids) AS numbered WHERE n %% %d = 0 ORDER BY n",
		p.collate, ids, size)
	out := []idRange{{}}
	err := query(ctx, p.control, func(v [][]byte) error {
		id := trimPadding(v[0])
		if last := &out[len(out)-1]; last.lo != id {
			last.hi = id
			out = append(out, idRange{lo: id})
		}
		return nil
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("split the users of %s into ranges: %w", p.where, err)
	}
	return out, nil
}

// allIDs selects the id of every recipe user.
func (p *live) allIDs(l *Layout) string {
	if l.multiApp() {
		return `SELECT "user_id" AS id` + from(l.tables[tSpine]) + ` WHERE "app_id" = $1`
	}
	var parts []string
	for _, t := range []table{tEmailPassword, tThirdParty, tPasswordless, tWebAuthn} {
		if r := l.tables[t]; r != nil {
			parts = append(parts, `SELECT "user_id" AS id`+from(r))
		}
	}
	return strings.Join(parts, " UNION ALL ")
}

// chooseOrder compares ids as bytes when the database's collation and ids that
// are not lower-case UUIDs come together; the price is that no index helps.
// For UUIDs every collation gives the order of bytes.
func (p *live) chooseOrder(ctx context.Context, l *Layout, args []any) error {
	var c bool
	const collation = `SELECT '-' < '0' COLLATE "default" AND '9a' > '10' COLLATE "default" AND 'A' < 'a' COLLATE "default" AND 'Z' < 'a' COLLATE "default"`
	if err := p.control.QueryRow(ctx, collation).Scan(&c); err != nil {
		return fmt.Errorf("look at the collation of %s: %w", p.where, err)
	}
	if c {
		return nil
	}
	var odd bool
	sql := "SELECT EXISTS (SELECT 1 FROM (" + p.allIDs(l) + `) AS ids WHERE id::text !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$')`
	if err := p.control.QueryRow(ctx, sql, args...).Scan(&odd); err != nil {
		return fmt.Errorf("look at the ids of %s: %w", p.where, err)
	}
	if odd {
		p.collate = ` COLLATE "C"`
	}
	return nil
}

// rangeQuery builds the selection of one table.
type rangeQuery struct {
	strings.Builder
	args []any
}

func (q *rangeQuery) arg(v any) string {
	q.args = append(q.args, v)
	return fmt.Sprintf("$%d", len(q.args))
}

// in renders the condition that column is inside r.
func (q *rangeQuery) in(rel *relation, column string, r idRange, collate string) string {
	typ := "::text"
	if rel.column(column).blankPadded() {
		typ = "::bpchar"
	}
	var parts []string
	if r.lo != "" {
		parts = append(parts, quoteIdent(column)+collate+" >= "+q.arg(r.lo)+typ)
	}
	if r.hi != "" {
		parts = append(parts, quoteIdent(column)+collate+" < "+q.arg(r.hi)+typ)
	}
	if len(parts) == 0 {
		return "true"
	}
	return strings.Join(parts, " AND ")
}

// anyOf renders the condition that column is one of ids. The array has the
// column's own type: a text[] against character(36) would cast the column and
// lose its index.
func (q *rangeQuery) anyOf(rel *relation, column string, ids []string) string {
	typ := "::text[]"
	if rel.column(column).blankPadded() {
		typ = "::bpchar[]"
	}
	return quoteIdent(column) + " = ANY(" + q.arg(ids) + typ + ")"
}

func (q *rangeQuery) app(rel *relation, app string) string {
	if !rel.has("app_id") {
		return "true"
	}
	return `"app_id" = ` + q.arg(app)
}

func (p *live) read(ctx context.Context, app string, r idRange, tables []*spec, rr *rangeRows, orphan orphanFunc) error {
	var conn *pgx.Conn
	select {
	case conn = <-p.idle:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { p.idle <- conn }()
	rd := rangeReader{live: p, conn: conn, app: app, r: r, rr: rr, orphan: orphan}
	return rd.read(ctx, tables)
}

// rangeReader reads one range on one connection.
type rangeReader struct {
	*live
	conn   *pgx.Conn
	app    string
	r      idRange
	rr     *rangeRows
	orphan orphanFunc
	// strangers are members of this range's accounts whose own id lies outside.
	strangers []string
	// externals are the external ids of this range's users; claimed are those
	// external ids inside the range's bounds whose user is in another range.
	externals []string
	claimed   map[string]struct{}
}

func (rd *rangeReader) read(ctx context.Context, tables []*spec) error {
	for _, s := range tables {
		rel := rd.rr.layout.tables[s.table]
		var err error
		switch s.table {
		case tSpine:
			err = rd.spine(ctx, s, rel)
		case tMapping:
			err = rd.mapping(ctx, s, rel)
		default:
			err = rd.table(ctx, s, rel)
		}
		if err != nil {
			return fmt.Errorf("read %s of %s: %w", rel.qualified(), rd.where, err)
		}
	}
	return nil
}

// spine reads which accounts lie in the range, and the members of these
// accounts whose own ids do not.
func (rd *rangeReader) spine(ctx context.Context, s *spec, rel *relation) error {
	const primary = "primary_or_recipe_user_id"
	var q rangeQuery
	here := "true"
	if rel.has(primary) {
		here = q.in(rel, primary, rd.r, rd.collate)
	}
	fmt.Fprintf(&q, "SELECT %s, (%s)%s WHERE %s AND %s",
		selectList(rel, append([]string{s.key}, s.columns...)), here, from(rel), q.app(rel, rd.app), q.in(rel, s.key, rd.r, rd.collate))
	err := query(ctx, rd.conn, func(v [][]byte) error {
		here := len(v) - 1
		if !isTrue(v[here]) {
			rd.rr.elsewhere[trimPadding(v[0])] = struct{}{}
			return nil
		}
		_, err := rd.rr.add(s, v[:here])
		return err
	}, q.String(), q.args...)
	if err != nil || !rel.has(primary) || rd.r == (idRange{}) {
		return err
	}
	q = rangeQuery{}
	fmt.Fprintf(&q, "SELECT %s%s WHERE %s AND %s AND NOT (%s)",
		selectList(rel, append([]string{s.key}, s.columns...)), from(rel), q.app(rel, rd.app),
		q.in(rel, primary, rd.r, rd.collate), q.in(rel, s.key, rd.r, rd.collate))
	return query(ctx, rd.conn, func(v [][]byte) error {
		rd.strangers = append(rd.strangers, trimPadding(v[0]))
		_, err := rd.rr.add(s, v)
		return err
	}, q.String(), q.args...)
}

// mapping reads the external ids of the range's users, and which external ids
// between the range's bounds belong to users elsewhere, so that rows under
// those are not taken for orphans.
func (rd *rangeReader) mapping(ctx context.Context, s *spec, rel *relation) error {
	if err := rd.table(ctx, s, rel); err != nil {
		return err
	}
	for id := range rd.rr.byExternal {
		rd.externals = append(rd.externals, id)
	}
	rd.claimed = map[string]struct{}{}
	var q rangeQuery
	fmt.Fprintf(&q, `SELECT "external_user_id"%s WHERE %s AND %s`, from(rel), q.app(rel, rd.app), q.in(rel, "external_user_id", rd.r, rd.collate))
	return query(ctx, rd.conn, func(v [][]byte) error {
		rd.claimed[string(v[0])] = struct{}{}
		return nil
	}, q.String(), q.args...)
}

func (rd *rangeReader) table(ctx context.Context, s *spec, rel *relation) error {
	ids := rd.strangers
	if s.keyIs == visibleID {
		ids = append(ids[:len(ids):len(ids)], rd.externals...)
	}
	var q rangeQuery
	app := q.app(rel, rd.app)
	where := q.in(rel, s.key, rd.r, rd.collate)
	if len(ids) > 0 {
		where = "(" + where + " OR " + q.anyOf(rel, s.key, ids) + ")"
	}
	fmt.Fprintf(&q, "SELECT %s%s WHERE %s AND %s", selectList(rel, append([]string{s.key}, s.columns...)), from(rel), app, where)
	return query(ctx, rd.conn, func(v [][]byte) error {
		known, err := rd.rr.add(s, v)
		if err == nil && !known && s.keyIs == visibleID {
			rd.orphanRow(s.table, string(v[0]))
		}
		return err
	}, q.String(), q.args...)
}

func (rd *rangeReader) orphanRow(t table, id string) {
	for _, id := range []string{id, strings.TrimRight(id, " ")} {
		if _, ok := rd.claimed[id]; ok {
			return
		}
		if _, ok := rd.rr.elsewhere[id]; ok {
			return
		}
	}
	rd.orphan(t, strings.TrimRight(id, " "))
}
