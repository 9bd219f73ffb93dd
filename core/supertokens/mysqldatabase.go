package supertokens

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/stetl/stetl/core/internal/mysqlurl"
)

// More codes of the server's errors.
const (
	mysqlDuplicate = 1062
	mysqlDeadlock  = 1213
	mysqlMixed     = 1267 // of the collations of two texts
	mysqlMixed3    = 1270
	mysqlMixedMore = 1271
	mysqlNoLetter  = 3854 // of MySQL for a text that the character set of a column cannot hold
)

// errCharsetWritten is for a setting that tells how to read and not how to write.
var errCharsetWritten = errors.New("source.charset turns texts back when they are read; sessions, links and the bridge, which also write, need texts that are stored right")

// mysqlConfig reads the address of a MySQL or MariaDB. Texts come as UTF-8 from whatever
// they are stored in, and arguments in the statement, so that nothing is prepared.
func mysqlConfig(o Options) (config *mysql.Config, database, where string, err error) {
	address, err := mysqlurl.Parse(o.URL.Reveal())
	if err != nil {
		return nil, "", "", err
	}
	if config, err = address.Config(); err != nil {
		return nil, "", "", err
	}
	config.InterpolateParams = true
	if err := config.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return nil, "", "", err
	}
	where = "MySQL server " + address.Where()
	if address.Database != "" {
		where = fmt.Sprintf("MySQL database %s at %s", address.Database, address.Where())
	}
	return config, address.Database, where, nil
}

// openMySQLDatabase makes a pool of connections to MySQL or MariaDB.
func openMySQLDatabase(o Options, connections int) (*Database, func(), error) {
	if o.Charset != "" {
		return nil, nil, &SettingError{[]string{settingCharset}, errCharsetWritten}
	}
	config, within, where, err := mysqlConfig(o)
	if err != nil {
		return nil, nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, nil, fmt.Errorf("the address of the database cannot be used: %w", err)
	}
	pool := sql.OpenDB(prepared{connector})
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	pool.SetConnMaxIdleTime(Abandoned / 2) // the server ends what is idle for longer
	s := mysqlServer{pool, within, where}
	d := &Database{Statements: mysqlStatements{conn: pool, begin: s.begin}, Rows: mysqlRows{pool}, Connections: connections, server: s}
	return d, func() { _ = pool.Close() }, nil
}

// prepared sets up every connection: servers are started with settings that change what
// statements mean, and one that says nothing must not keep rows locked.
type prepared struct{ driver.Connector }

// Connect implements [driver.Connector].
func (p prepared) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, statement := range []string{
		"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", // locks no rows that there are not
		"SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
		"SET SESSION autocommit = 1",
		"SET SESSION lock_wait_timeout = 30",
		fmt.Sprintf("SET SESSION wait_timeout = %d", int(Abandoned.Seconds())),
	} {
		execer, ok := conn.(driver.ExecerContext)
		if !ok {
			return nil, errors.Join(errors.New("the driver of MySQL takes no statements"), conn.Close())
		}
		if _, err := execer.ExecContext(ctx, statement, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("prepare a connection: %w", err), conn.Close())
		}
	}
	return conn, nil
}

// mysqlServer is a database of MySQL or MariaDB.
type mysqlServer struct {
	pool          *sql.DB
	within, where string
}

func (m mysqlServer) ping(ctx context.Context) error { return m.pool.PingContext(ctx) }

// find reads the catalog without a snapshot. A role without the right to read password
// hashes is good for what needs none.
func (m mysqlServer) find(ctx context.Context, o Options) (*Tables, error) {
	conn, err := m.pool.Conn(ctx)
	if err != nil {
		return nil, &mysqlConnectError{m.where, err}
	}
	defer func() { _ = conn.Close() }() // to the pool
	l := &mysqlLive{where: m.where, within: m.within, db: m.pool, idle: make(chan *sql.Conn, 1), withoutHashes: true}
	l.idle <- conn
	c, err := l.catalog(ctx)
	if err != nil {
		return nil, err
	}
	return newTables(ctx, c, l, o)
}

// check refuses tables whose engine has no transactions, and a server that takes none: what
// happens once there could happen twice, or not at all.
func (m mysqlServer) check(ctx context.Context, t *Tables) error {
	if t.layout.Generation.tenantsMigrate() {
		return errors.New("these are tables of core 12, which does not run on MySQL")
	}
	for _, name := range []TableName{SessionInfo, ResetTokens, VerificationTokens, VerificationTokensOf31, VerifiedEmails} {
		of, there := t.Table(name)
		if !there {
			continue
		}
		engine := ""
		err := mysqlQuery(ctx, m.pool, func(v [][]byte) error {
			engine = string(v[0])
			return nil
		}, "SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?", of.r.schema, of.r.name)
		switch {
		case err != nil:
			return fmt.Errorf("ask for the engine of %s: %w", of.r.qualified(), err)
		case !strings.EqualFold(engine, "InnoDB"):
			return fmt.Errorf("table %s in %s has the engine %s, which has no transactions, so that a session could be handed over twice; run: ALTER TABLE %s ENGINE = InnoDB", of.r.qualified(), m.where, engine, of.SQL())
		}
	}
	log := ""
	err := mysqlQuery(ctx, m.pool, func(v [][]byte) error {
		if string(v[0]) == "1" {
			log = string(v[1])
		}
		return nil
	}, "SELECT @@log_bin, @@binlog_format")
	switch {
	case mysqlCode(err) == mysqlUnknownSetting: // of a server that knows one format alone
	case err != nil:
		return fmt.Errorf("ask for the log of %s: %w", m.where, err)
	case strings.EqualFold(log, "STATEMENT"):
		return fmt.Errorf("%s has binlog_format = STATEMENT, with which it refuses the transactions of the bridge; set it to ROW or MIXED", m.where)
	}
	return CheckMode(ctx, t, nil)
}

// may has the server explain a statement that would change nothing: that takes the rights
// of the statement, from whatever role or wildcard they come.
func (m mysqlServer) may(ctx context.Context, right string, t Table) (bool, error) {
	columns := mysqlColumns(t.r, t.r.columns)
	statement := map[string]string{
		"DELETE": "DELETE FROM " + t.SQL() + " WHERE 1 = 0",
		"INSERT": "INSERT INTO " + t.SQL() + " (" + columns + ") SELECT " + columns + " FROM " + t.SQL() + " WHERE 1 = 0",
	}[right]
	if statement == "" {
		return false, fmt.Errorf("the right %s is not known", right)
	}
	err := mysqlQuery(ctx, m.pool, func([][]byte) error { return nil }, "EXPLAIN "+statement)
	switch mysqlCode(err) {
	case mysqlTableDenied, mysqlColumnDenied:
		return false, nil
	}
	return err == nil, err
}

// deadlockAttempts is how often a transaction that has done nothing yet is tried.
const deadlockAttempts = 10

// once tries again after a deadlock at the first statement: nothing has happened then that
// the server has not taken back.
func (m mysqlServer) once(ctx context.Context, wait time.Duration, do func(Statements) error) error {
	for attempt := 1; ; attempt++ {
		done, err := m.try(ctx, wait, do)
		switch code := mysqlCode(err); {
		case code == mysqlDeadlock && done == 0 && attempt < deadlockAttempts && ctx.Err() == nil:
		case code == mysqlDeadlock, code == mysqlLockTimeout:
			return errors.Join(ErrLocked, err)
		default:
			return err
		}
	}
}

// try runs do in a transaction, and says how many statements have done something.
func (m mysqlServer) try(ctx context.Context, wait time.Duration, do func(Statements) error) (done int, err error) {
	tx, end, err := m.begin(ctx, wait)
	if err != nil {
		return 0, err
	}
	defer end()
	if err := do(mysqlStatements{conn: tx, done: &done}); err != nil {
		return done, err
	}
	return done, tx.Commit()
}

// begin opens a transaction. The time that it waits for rows has whole seconds. The
// returned function takes back what has not been committed.
func (m mysqlServer) begin(ctx context.Context, wait time.Duration) (*sql.Tx, func(), error) {
	tx, err := m.pool.BeginTx(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	seconds := int64(min(max(wait.Round(time.Second), time.Second), time.Hour) / time.Second)
	if wait == 0 {
		seconds = int64(time.Hour / time.Second)
	}
	if _, err := tx.ExecContext(ctx, "SET SESSION innodb_lock_wait_timeout = ?", seconds); err != nil {
		return nil, nil, errors.Join(err, tx.Rollback())
	}
	return tx, func() { _ = tx.Rollback() }, nil // which says that it was committed, if so
}

// mysqlConn is a pool, a connection or a transaction.
type mysqlConn interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// mysqlStatements runs in a pool or a transaction.
type mysqlStatements struct {
	conn mysqlConn
	// begin opens a transaction; nil inside of one.
	begin func(ctx context.Context, wait time.Duration) (*sql.Tx, func(), error)
	// done counts the statements of a transaction.
	done *int
}

func (m mysqlStatements) did(err error) {
	if err == nil && m.done != nil {
		*m.done++
	}
}

// Exec implements [Statements].
func (m mysqlStatements) Exec(ctx context.Context, statement string, args ...any) (int, error) {
	statement, args = positional(statement, args)
	result, err := m.conn.ExecContext(ctx, statement, args...)
	m.did(err)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// Query implements [Statements].
func (m mysqlStatements) Query(ctx context.Context, row func([][]byte) error, statement string, args ...any) error {
	statement, args = positional(statement, args)
	err := mysqlQuery(ctx, m.conn, row, statement, args...)
	m.did(err)
	return err
}

// takeWait is how long rows that are taken by themselves are waited for.
const takeWait = 3 * time.Second

// Take implements [Statements]. MySQL gives nothing back of what it deletes, so the rows
// are locked and read first.
func (m mysqlStatements) Take(ctx context.Context, row func([][]byte) error, columns, from, where string, args ...any) error {
	if m.begin == nil {
		return m.take(ctx, row, columns, from, where, args...)
	}
	tx, end, err := m.begin(ctx, takeWait)
	if err != nil {
		return err
	}
	defer end()
	if err := (mysqlStatements{conn: tx}).take(ctx, row, columns, from, where, args...); err != nil {
		return err
	}
	return tx.Commit()
}

func (m mysqlStatements) take(ctx context.Context, row func([][]byte) error, columns, from, where string, args ...any) error {
	found := false
	err := m.Query(ctx, func(v [][]byte) error {
		found = true
		return row(v)
	}, "SELECT "+columns+" FROM "+from+" WHERE "+where+" FOR UPDATE", args...)
	if err != nil || !found {
		return err
	}
	_, err = m.Exec(ctx, "DELETE FROM "+from+" WHERE "+where, args...)
	return err
}

// Put implements [Statements]. IGNORE would hide other mistakes, and ON DUPLICATE KEY needs
// the right to change rows.
func (m mysqlStatements) Put(ctx context.Context, into string, columns []string, values ...any) error {
	_, err := m.Exec(ctx, insertInto(into, columns), values...)
	if mysqlCode(err) == mysqlDuplicate {
		return nil
	}
	return err
}

// placeholder is what has a quoted name or text in it, or is a parameter.
var placeholder = regexp.MustCompile("`[^`]*`|'[^']*'|\"[^\"]*\"|\\$[0-9]+")

// positional writes a statement with $1 and $2 as one with question marks. A []string is a
// list in parentheses.
func positional(statement string, args []any) (string, []any) {
	var out []any
	written := placeholder.ReplaceAllStringFunc(statement, func(found string) string {
		n, err := strconv.Atoi(strings.TrimPrefix(found, "$"))
		if err != nil || n < 1 || n > len(args) {
			return found
		}
		texts, several := args[n-1].([]string)
		if !several {
			out = append(out, args[n-1])
			return "?"
		}
		for _, text := range texts {
			out = append(out, text)
		}
		return "(NULL" + strings.Repeat(", ?", len(texts)) + ")" // an empty list is of nothing
	})
	return written, out
}

// mysqlQuery gives every row of a statement as the server writes it, valid until the next.
func mysqlQuery(ctx context.Context, conn mysqlConn, row func([][]byte) error, statement string, args ...any) error {
	rows, err := conn.QueryContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err is asked below
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	raw, into, out := make([]sql.RawBytes, len(names)), make([]any, len(names)), make([][]byte, len(names))
	for i := range raw {
		into[i] = &raw[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i := range raw {
			out[i] = raw[i]
		}
		if err := row(out); err != nil {
			return err
		}
	}
	return rows.Err()
}

// mysqlRows asks a pool for the rows of accounts. The server finds them by its indexes and
// so by its collation; what is exactly equal is decided here.
type mysqlRows struct{ conn mysqlConn }

// errEnough ends a reading.
var errEnough = errors.New("enough rows")

// Rows implements [RowSource].
func (m mysqlRows) Rows(ctx context.Context, q RowQuery, row func([][]byte) error) error {
	r := q.From.r
	var compared []string // columns beside those that are asked for
	at := func(w []RowMatch) {
		for _, c := range w {
			compared = append(compared, c.Column)
		}
	}
	at(q.Where)
	at(q.Either)
	columns := slices.Concat(q.Columns, compared)
	types := make([]string, len(columns))
	for i, c := range columns {
		types[i] = r.typeOf(slices.Index(r.columns, c))
	}
	convert := mysqlValues(types, "")
	given := 0
	take := func(v [][]byte) error {
		for i, f := range convert {
			if f != nil && v[i] != nil {
				v[i] = f(v[i])
			}
		}
		if !q.exactly(v[len(q.Columns):], types[len(q.Columns):]) {
			return nil
		}
		given++
		if err := row(v[:len(q.Columns)]); err != nil {
			return err
		}
		if given == q.Limit {
			return errEnough
		}
		return nil
	}
	statement, args := q.mysql(columns, quoteMySQL)
	err := mysqlQuery(ctx, m.conn, take, statement, args...)
	switch mysqlCode(err) {
	case mysqlMixed, mysqlMixed3, mysqlMixedMore, mysqlNoLetter: // a text that the column cannot hold, among others
		statement, args = q.mysql(columns, func(column string) string { return "CONVERT(" + quoteMySQL(column) + " USING utf8mb4)" })
		err = mysqlQuery(ctx, m.conn, take, statement, args...)
	}
	switch code := mysqlCode(err); {
	case err == nil, errors.Is(err, errEnough):
		return nil
	case code == mysqlTableDenied, code == mysqlColumnDenied:
		return fmt.Errorf("no permission to read table %s; run: GRANT SELECT ON %s TO <role>: %w", r.qualified(), q.From.SQL(), err)
	default:
		return fmt.Errorf("read %s: %w", r.qualified(), err)
	}
}

// mysql is the query as a statement that finds at least the rows that are asked for.
// Indexes are those of columns as they are.
func (q *RowQuery) mysql(columns []string, as func(column string) string) (statement string, args []any) {
	condition := func(w RowMatch) string {
		marks := strings.TrimSuffix(strings.Repeat("?, ", len(w.Values)), ", ")
		for _, v := range w.Values {
			args = append(args, v)
		}
		return as(w.Column) + " IN (" + marks + ")"
	}
	var all, either []string
	for _, w := range q.Where {
		all = append(all, condition(w))
	}
	for _, w := range q.Either {
		either = append(either, condition(w))
	}
	if len(either) > 0 {
		all = append(all, "("+strings.Join(either, " OR ")+")")
	}
	statement = "SELECT " + mysqlColumns(q.From.r, columns) + mysqlFrom(q.From.r)
	if len(all) > 0 {
		statement += " WHERE " + strings.Join(all, " AND ")
	}
	return statement, args
}

// exactly tells whether the compared columns of a row have the values that are asked for.
func (q *RowQuery) exactly(v [][]byte, types []string) bool {
	is := func(i int, w RowMatch) bool {
		if v[i] == nil {
			return false
		}
		return slices.ContainsFunc(w.Values, func(value string) bool {
			if isPadded(types[i]) {
				return strings.TrimRight(value, " ") == strings.TrimRight(string(v[i]), " ")
			}
			return value == string(v[i])
		})
	}
	for i, w := range q.Where {
		if !is(i, w) {
			return false
		}
	}
	for i, w := range q.Either {
		if is(len(q.Where)+i, w) {
			return true
		}
	}
	return len(q.Either) == 0
}

// mysqlExact is an expression of bytes that are the same only where texts are.
func mysqlExact(expression string) string {
	return "CAST(CONVERT(" + expression + " USING utf8mb4) AS BINARY)"
}

// mysqlEquals is the condition that a column has one of the texts of a parameter: by its
// index, and then exactly. compared is how the parameter is compared.
func (t Table) mysqlEquals(column, compared string) string {
	name := quoteMySQL(column)
	return "(" + name + compared + " AND " + mysqlExact(name) + compared + ")"
}
