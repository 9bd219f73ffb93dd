package supertokens

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/internal/mysqlurl"
)

// mysqlLive reads a live MySQL or MariaDB in one consistent snapshot. No connection can
// take over the snapshot of another, so there is one connection, unless tables may be
// locked for the moment in which several of them begin.
type mysqlLive struct {
	where   string
	charset string
	within  string // the database that the address names
	db      *sql.DB
	idle    chan *sql.Conn
	// withoutHashes takes a table for readable of which the role may read all but hashes.
	withoutHashes bool
}

// Codes of the server's errors.
const (
	mysqlAccessDenied   = 1045
	mysqlDatabaseDenied = 1044
	mysqlNoDatabase     = 1049
	mysqlTableDenied    = 1142
	mysqlColumnDenied   = 1143
	mysqlUnknownSetting = 1193
	mysqlLockTimeout    = 1205
	mysqlReloadDenied   = 1227
)

// IsMySQL reports whether the address of a database is one of MySQL or MariaDB.
func IsMySQL(url canonical.Secret) bool { return mysqlurl.Is(url.Reveal()) }

func openMySQL(ctx context.Context, o Options) (_ *mysqlLive, err error) {
	config, within, where, err := mysqlConfig(o)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("the address of the database cannot be used: %w", err)
	}
	m := &mysqlLive{charset: o.Charset, within: within, where: where, db: sql.OpenDB(connector)}
	connections := 1
	if o.LockTables {
		connections = cmp.Or(max(o.Connections, 0), defaultConnections)
	}
	m.idle = make(chan *sql.Conn, connections)
	if err := m.begin(ctx, connections, o.LockTables); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

// begin opens the snapshot in every connection. Several see the same state because
// nobody can write while they begin.
func (m *mysqlLive) begin(ctx context.Context, connections int, lock bool) (err error) {
	if lock {
		locking, err := m.connect(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = locking.Close() }() // with its lock
		if _, err := locking.ExecContext(ctx, "FLUSH TABLES WITH READ LOCK"); err != nil {
			if mysqlCode(err) == mysqlReloadDenied || mysqlCode(err) == mysqlAccessDenied {
				return fmt.Errorf("lock the tables of %s: the role may not; run: GRANT RELOAD ON *.* TO <role>, or leave source.lock_tables out: %w", m.where, err)
			}
			return fmt.Errorf("lock the tables of %s: %w", m.where, err)
		}
		defer func() {
			_, unlocked := locking.ExecContext(context.WithoutCancel(ctx), "UNLOCK TABLES")
			err = errors.Join(err, unlocked)
		}()
	}
	for range connections {
		conn, err := m.connect(ctx)
		if err != nil {
			return err
		}
		m.idle <- conn
		if _, err := conn.ExecContext(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"); err != nil {
			return fmt.Errorf("begin a read-only snapshot of %s: %w", m.where, err)
		}
	}
	return nil
}

// connect makes a connection that waits neither forever nor too little.
func (m *mysqlLive) connect(ctx context.Context) (*sql.Conn, error) {
	conn, err := m.db.Conn(ctx)
	if err != nil {
		return nil, &mysqlConnectError{m.where, err}
	}
	for _, statement := range []string{
		"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
		"SET SESSION sql_mode = ''", // PAD_CHAR_TO_FULL_LENGTH and NO_BACKSLASH_ESCAPES among others
		"SET SESSION lock_wait_timeout = 30",
		"SET SESSION net_write_timeout = 3600", // rows wait while others are joined
		"SET SESSION wait_timeout = 28800",
		"SET SESSION max_execution_time = 0", // MySQL
		"SET SESSION max_statement_time = 0", // MariaDB
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil && mysqlCode(err) != mysqlUnknownSetting {
			return nil, errors.Join(fmt.Errorf("prepare a read-only snapshot of %s: %w", m.where, err), conn.Close())
		}
	}
	return conn, nil
}

func (m *mysqlLive) close() error {
	close(m.idle)
	for conn := range m.idle {
		_ = conn.Close() // nothing was written, so nothing can be lost
	}
	return m.db.Close()
}

// query gives every row of a statement as the server writes it, valid until the next.
func (m *mysqlLive) query(ctx context.Context, row func([][]byte) error, statement string, args ...any) error {
	var conn *sql.Conn
	select {
	case conn = <-m.idle:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { m.idle <- conn }()
	return m.explain(ctx, mysqlQuery(ctx, conn, row, statement, args...))
}

// explain says of an error what it means for the snapshot.
func (m *mysqlLive) explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the snapshot of %s is gone with the connection that held it, and reading on would mix two states; start again: %w", m.where, err)
	case mysqlCode(err) == mysqlLockTimeout:
		return fmt.Errorf("a table stays locked by another session, as during ALTER TABLE; wait for it and start again: %w", err)
	}
	return err
}

// mysqlCode is the code of a server's error, 0 for other ones.
func mysqlCode(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number
	}
	return 0
}

// mysqlConnectError words an attempt to connect for a person.
type mysqlConnectError struct {
	where string
	cause error
}

func (e *mysqlConnectError) Unwrap() error { return e.cause }

func (e *mysqlConnectError) Error() string {
	remedy := "check the host and the port, and that the server accepts connections from here"
	switch code := mysqlCode(e.cause); {
	case code == mysqlAccessDenied:
		remedy = "check the user and the password, and that the account is allowed from this host"
	case code == mysqlDatabaseDenied, code == mysqlNoDatabase:
		remedy = "check the name of the database, and that the role may read it"
	case code != 0:
		remedy = "the server says why"
	case strings.Contains(e.cause.Error(), "tls") || strings.Contains(e.cause.Error(), "TLS") || strings.Contains(e.cause.Error(), "x509"):
		remedy = "check ssl-mode and ssl-ca"
	}
	return fmt.Sprintf("connect to %s: %v; %s", e.where, e.cause, remedy)
}

// ownSchemas are those of the server.
const ownSchemas = "('mysql', 'information_schema', 'performance_schema', 'sys')"

func (m *mysqlLive) catalog(ctx context.Context) (*catalog, error) {
	c := &catalog{where: m.where, showsGranted: true, collates: true}
	where, args := " NOT IN "+ownSchemas, []any(nil)
	if m.within != "" {
		where, args = " = ?", []any{m.within}
	}
	err := m.query(ctx, func(v [][]byte) error {
		schema, name := string(v[0]), string(v[1])
		if string(v[2]) == "VIEW" {
			if c.viewOf(schema, name) == nil {
				c.views = append(c.views, view{schema, name, "view"})
			}
			return nil
		}
		last := len(c.tables) - 1
		if last < 0 || c.tables[last].schema != schema || c.tables[last].name != name {
			c.tables = append(c.tables, &relation{schema: schema, name: name, readable: true, mysql: true})
			last++
		}
		r := c.tables[last]
		if !generatedColumn(string(v[5])) {
			r.columns, r.types = append(r.columns, string(v[3])), append(r.types, mysqlType(strings.ToLower(string(v[4]))))
		}
		return nil
	}, "SELECT t.TABLE_SCHEMA, t.TABLE_NAME, t.TABLE_TYPE, c.COLUMN_NAME, c.COLUMN_TYPE, c.EXTRA FROM information_schema.TABLES t"+
		" JOIN information_schema.COLUMNS c ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME"+
		" WHERE t.TABLE_SCHEMA"+where+" ORDER BY 1, 2, c.ORDINAL_POSITION", args...)
	if err == nil {
		err = mysqlKeys(ctx, m, c, where, args)
	}
	if err == nil {
		err = mysqlRights(ctx, m, c)
	}
	if err != nil {
		return nil, fmt.Errorf("list the tables of %s: %w", m.where, err)
	}
	return c, nil
}

func generatedColumn(extra string) bool {
	return strings.Contains(strings.ToUpper(extra), "GENERATED") && !strings.Contains(strings.ToUpper(extra), "DEFAULT_GENERATED")
}

// mysqlKeys adds the names of indexes, and foreign keys as PostgreSQL names them.
func mysqlKeys(ctx context.Context, m *mysqlLive, c *catalog, where string, args []any) error {
	tables := map[[2]string]*relation{}
	for _, r := range c.tables {
		tables[[2]string{r.schema, r.name}] = r
	}
	err := m.query(ctx, func(v [][]byte) error {
		if r := tables[[2]string{string(v[0]), string(v[1])}]; r != nil {
			r.indexes = append(r.indexes, string(v[2]))
		}
		return nil
	}, "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA"+where+" ORDER BY 1, 2, 3", args...)
	if err != nil {
		return err
	}
	// The columns of one key come together; the last of them names it.
	var key [3]string
	var columns []string
	note := func() {
		if r := tables[[2]string{key[0], key[1]}]; r != nil {
			r.indexes = append(r.indexes, key[2], foreignKey(key[1], columns))
		}
	}
	err = m.query(ctx, func(v [][]byte) error {
		if next := [3]string{string(v[0]), string(v[1]), string(v[2])}; next != key {
			note()
			key, columns = next, nil
		}
		columns = append(columns, string(v[3]))
		return nil
	}, "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE"+
		" WHERE REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_SCHEMA"+where+" ORDER BY 1, 2, 3, ORDINAL_POSITION", args...)
	note()
	return err
}

// mysqlRights finds tables that the role sees and may not read, as one with other rights does.
func mysqlRights(ctx context.Context, m *mysqlLive, c *catalog) error {
	for _, r := range c.tables {
		if !mayBeOfCore(r) {
			continue
		}
		probe := func(columns []string) error {
			return m.query(ctx, func([][]byte) error { return nil }, "SELECT "+mysqlColumns(r, columns)+mysqlFrom(r)+" LIMIT 0")
		}
		err := probe(r.columns)
		if columns, has := (Table{r}).WithoutHash(); mysqlCode(err) == mysqlColumnDenied && has && m.withoutHashes {
			err = probe(columns)
		}
		switch code := mysqlCode(err); {
		case code == mysqlTableDenied, code == mysqlColumnDenied:
			r.readable = false
		case err != nil:
			return err
		}
	}
	return nil
}

// mayBeOfCore reports whether a table is called like one of the core's.
func mayBeOfCore(r *relation) bool {
	return slices.ContainsFunc(schema, func(t tableSpec) bool { return strings.HasSuffix(r.name, string(t.name)) })
}

func quoteMySQL(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func mysqlFrom(r *relation) string { return " FROM " + quoteMySQL(r.schema) + "." + quoteMySQL(r.name) }

// mysqlColumns renders columns, NULL for those the table does not have.
func mysqlColumns(r *relation, columns []string) string {
	out := make([]string, len(columns))
	for i, name := range columns {
		out[i] = "NULL"
		if r.has(name) {
			out[i] = quoteMySQL(name)
		}
	}
	return cmp.Or(strings.Join(out, ", "), "1")
}

// ofApp limits a statement to the rows of an app. Bytes are compared: a collation takes
// more for equal.
func ofApp(r *relation, app string) (sql string, args []any) {
	if app == "" || !r.has(appColumn) {
		return "", nil
	}
	column := quoteMySQL(appColumn)
	return " WHERE " + column + " = ? AND CAST(" + column + " AS BINARY) = ?", []any{app, app}
}

func (m *mysqlLive) scan(ctx context.Context, r *relation, app string, columns []string, row func([][]byte) error) error {
	types := make([]string, len(columns))
	for i, c := range columns {
		types[i] = r.typeOf(slices.Index(r.columns, c))
	}
	convert := mysqlValues(types, m.charset)
	where, args := ofApp(r, app)
	err := m.query(ctx, func(v [][]byte) error {
		for i, f := range convert {
			if f != nil && v[i] != nil {
				v[i] = f(v[i])
			}
		}
		return row(v[:len(columns)])
	}, "SELECT "+mysqlColumns(r, columns)+mysqlFrom(r)+where, args...)
	switch mysqlCode(err) {
	case mysqlTableDenied, mysqlColumnDenied:
		return fmt.Errorf("no permission to read table %s in %s; run: GRANT SELECT ON %s.* TO <role>: %w", r.qualified(), m.where, quoteMySQL(r.schema), err)
	case 0:
		return err
	}
	return fmt.Errorf("read %s of %s: %w", r.qualified(), m.where, err)
}

func (m *mysqlLive) countBy(ctx context.Context, r *relation, column string) (map[string]int, error) {
	out := map[string]int{}
	err := m.query(ctx, func(v [][]byte) error {
		n, err := integer("count", v[1])
		out[string(v[0])] += int(n)
		return err
	}, "SELECT CAST("+quoteMySQL(column)+" AS BINARY), count(*)"+mysqlFrom(r)+" GROUP BY 1")
	if err != nil {
		return nil, fmt.Errorf("count %s of %s: %w", r.qualified(), m.where, err)
	}
	return out, nil
}

func (m *mysqlLive) hasRows(ctx context.Context, r *relation) (found bool, err error) {
	err = m.query(ctx, func([][]byte) error {
		found = true
		return nil
	}, "SELECT 1"+mysqlFrom(r)+" LIMIT 1")
	if err != nil {
		return false, fmt.Errorf("look into %s of %s: %w", r.qualified(), m.where, err)
	}
	return found, nil
}

// memberships has to be added up here: MySQL has no hash that fits.
func (m *mysqlLive) memberships(ctx context.Context, r *relation, app string) (memberships, error) {
	return sumMemberships(ctx, m, r, app)
}

func (m *mysqlLive) countRows(ctx context.Context, r *relation, app string) (n int, err error) {
	where, args := ofApp(r, app)
	err = m.query(ctx, func(v [][]byte) error {
		rows, err := integer("count", v[0])
		n = int(rows)
		return err
	}, "SELECT count(*)"+mysqlFrom(r)+where, args...)
	if err != nil {
		return 0, fmt.Errorf("count %s of %s: %w", r.qualified(), m.where, err)
	}
	return n, nil
}
