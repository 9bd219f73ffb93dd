package sqltarget

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/stetl/stetl/core/sdk/mysqladdress"
)

// mysqlSyntax is that of MySQL and MariaDB.
type mysqlSyntax struct{}

func (mysqlSyntax) quote(names ...string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = "`" + strings.ReplaceAll(name, "`", "``") + "`"
	}
	return strings.Join(quoted, ".")
}

// text is a constant of bytes, in which no setting finds anything to escape.
func (mysqlSyntax) text(s string) string {
	if s == "" {
		return "''"
	}
	return fmt.Sprintf("_utf8mb4 x'%x'", s)
}

func (mysqlSyntax) same(a, b string) string { return a + " <=> " + b }

func (mysqlSyntax) param(_ int, c *heldColumn) string { return c.store("?") }

// given reads one JSON text: there is no other way to give many rows as one parameter. What
// is not in it is NULL.
func (mysqlSyntax) given(t *table) string {
	columns := []string{"stetl_n INT PATH '$.n'"}
	for i := range t.columns {
		columns = append(columns, fmt.Sprintf("c%d LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.c%d'", i, i))
	}
	return "JSON_TABLE(?, '$[*]' COLUMNS (" + strings.Join(columns, ", ") + ")) AS w"
}

func (mysqlSyntax) rows(t *table, rows []pending) []any {
	list := make([]map[string]any, len(rows))
	for n, r := range rows {
		list[n] = map[string]any{"n": n}
		for i, c := range t.columns {
			if v := c.held.written(r.values[i]); v != nil {
				list[n]["c"+strconv.Itoa(i)] = *v
			}
		}
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(list) // texts, all of which are UTF-8
	return []any{b.String()}
}

func (mysqlSyntax) among(expr string, c *heldColumn, texts []string) (string, []any) {
	args := make([]any, len(texts))
	for i, t := range texts {
		args[i] = t
	}
	return expr + " IN (" + strings.TrimSuffix(strings.Repeat(c.store("?")+", ", len(texts)), ", ") + ")", args
}

func (mysqlSyntax) updating(table, from, on string, set []string) string {
	for i := range set {
		set[i] = "x." + set[i]
	}
	return "UPDATE " + table + " AS x JOIN " + from + " ON " + on + " SET " + strings.Join(set, ", ")
}

func (mysqlSyntax) removing(table, from, on string) string {
	return "DELETE x FROM " + table + " AS x JOIN " + from + " ON " + on
}

// mysqlServer is a server of MySQL or MariaDB.
type mysqlServer struct {
	mysqlSyntax
	config  *mysql.Config
	checked bool // its certificate is
	db      *sql.DB
}

func newMySQL(c *Config) (*mysqlServer, error) {
	address, err := mysqladdress.Parse(c.URL.Reveal())
	if err != nil {
		return nil, err
	}
	config, err := address.Config()
	if err != nil {
		return nil, err
	}
	if config.DBName == "" {
		return nil, errors.New("the address names no database")
	}
	config.MaxAllowedPacket = 0 // as the server has it
	// What values look like, and what is refused, must not depend on the server's settings.
	config.Params = map[string]string{
		"time_zone": "'+00:00'", "sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'",
		"foreign_key_checks": "1", "unique_checks": "1", "innodb_lock_wait_timeout": "20",
	}
	if err := config.Apply(mysql.Charset("utf8mb4", "utf8mb4_bin")); err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	s := &mysqlServer{config: config, checked: address.Verified(), db: sql.OpenDB(connector)}
	s.db.SetMaxOpenConns(c.connections())
	s.db.SetMaxIdleConns(c.connections())
	return s, nil
}

func (s *mysqlServer) place() string {
	return "mysql " + strings.ToLower(s.config.Addr) + "/" + s.config.DBName
}

func (s *mysqlServer) secure() bool {
	host, _, err := net.SplitHostPort(s.config.Addr)
	return s.config.Net == "unix" || err == nil && loopback(host) || s.checked
}

func (s *mysqlServer) close() error { return s.db.Close() }

func (s *mysqlServer) reader(t tx) catalogues {
	return &mysqlCatalogue{syntax: s, tx: t, database: s.config.DBName}
}

func (s *mysqlServer) begin(ctx context.Context, why purpose) (tx, error) {
	options := &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: why == reading}
	if why == writing {
		options = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	t, err := s.db.BeginTx(ctx, options)
	if err != nil {
		return nil, err
	}
	return &mysqlTx{t}, nil
}

// mysqlTx is a transaction of it.
type mysqlTx struct{ tx *sql.Tx }

func (t *mysqlTx) exec(ctx context.Context, query string, args ...any) error {
	_, err := t.tx.ExecContext(ctx, query, args...)
	return err
}

func (t *mysqlTx) each(ctx context.Context, query string, args []any, f func([]*string) error) error {
	rows, err := t.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	raw, into := make([]sql.RawBytes, len(names)), make([]any, len(names))
	for i := range raw {
		into[i] = &raw[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		texts := make([]*string, len(raw))
		for i, v := range raw {
			if v != nil {
				texts[i] = new(string(v))
			}
		}
		if err := f(texts); err != nil {
			return err
		}
	}
	return rows.Err()
}

// mostParams is how many parameters a statement may have.
const mostParams = 65535

func (t *mysqlTx) insert(ctx context.Context, h *heldTable, of *table, rows []pending) error {
	places := make([]string, len(of.columns))
	for i, c := range of.columns {
		places[i] = c.held.store("?")
	}
	one := "(" + strings.Join(places, ", ") + ")"
	for part := range slices.Chunk(rows, mostParams/len(of.columns)) {
		args := make([]any, 0, len(part)*len(of.columns))
		for _, r := range part {
			for i, c := range of.columns {
				args = append(args, c.held.written(r.values[i]))
			}
		}
		query := "INSERT INTO " + h.name + " (" + of.names(mysqlSyntax{}) + ") VALUES " + strings.TrimSuffix(strings.Repeat(one+", ", len(part)), ", ")
		if err := t.exec(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
}

// name is empty: nobody can ask for a transaction that has ended.
func (t *mysqlTx) name(context.Context) (string, error) { return "", nil }

func (t *mysqlTx) ended(context.Context, string) (string, error) { return "", nil }

func (t *mysqlTx) commit(context.Context) error {
	err := t.tx.Commit()
	if err == nil {
		return nil
	}
	if _, answered := errors.AsType[*mysql.MySQLError](err); answered {
		return err
	}
	return fmt.Errorf("%w: %w", errLostAnswer, err)
}

func (t *mysqlTx) close(context.Context) { _ = t.tx.Rollback() } // nothing after a commit

// Codes of the server's errors.
const (
	mysqlTooManyConnections = 1040
	mysqlNotNull            = 1048
	mysqlShutdown           = 1053
	mysqlDuplicate          = 1062
	mysqlPacketTooLarge     = 1153
	mysqlLockTimeout        = 1205
	mysqlDeadlock           = 1213
	mysqlOutOfRange         = 1264
	mysqlTruncated          = 1265
	mysqlBadValue           = 1292
	mysqlNoDefault          = 1364
	mysqlBadText            = 1366
	mysqlTooLong            = 1406
	mysqlNoParent           = 1452
	mysqlCheckBroken        = 3819
	mysqlKilled             = 1927
	mysqlIdle               = 4031
	mariadbCheckBroken      = 4025
)

var mysqlKeyName = regexp.MustCompile(`for key '([^']*)'$`)

// mysqlRefusal finds the server's word against a row. Its words quote values, unless they
// are a trigger's own or name a column only.
func mysqlRefusal(err error) (*refusal, bool) {
	if errors.Is(err, mysql.ErrPktTooLarge) {
		return &refusal{kind: refusedLength, text: "the row is larger than max_allowed_packet of the server"}, true
	}
	e, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok {
		return nil, false
	}
	r := &refusal{text: e.Message}
	switch e.Number {
	case mysqlDuplicate:
		r.kind, r.name = refusedTaken, "a unique index"
		if m := mysqlKeyName.FindStringSubmatch(e.Message); m != nil {
			r.name = m[1]
		}
		r.text = "another row has the same value, which " + r.name + " does not allow"
		return r, true
	case mysqlTooLong, mysqlPacketTooLarge:
		r.kind = refusedLength
		return r, true
	case mysqlTruncated, mysqlBadValue, mysqlBadText:
		r.kind, r.text = refusedForm, strconv.Itoa(int(e.Number))
		return r, true
	case mysqlNotNull, mysqlOutOfRange, mysqlNoDefault, mysqlNoParent, mysqlCheckBroken, mariadbCheckBroken:
		return r, true
	}
	switch string(e.SQLState[:2]) {
	case "22":
		r.kind, r.text = refusedForm, strconv.Itoa(int(e.Number))
		return r, true
	case "23", "45": // 45 is a trigger's own
		return r, true
	}
	return nil, false
}

func mysqlLost(err error) bool {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return slices.Contains([]uint16{mysqlTooManyConnections, mysqlShutdown, mysqlKilled, mysqlIdle}, e.Number) ||
			slices.Contains([]string{"08", "28"}, string(e.SQLState[:2])) || e.Number == 1044 || e.Number == 1049
	}
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, sql.ErrConnDone)
}

func mysqlPasses(err error) bool {
	e, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && (e.Number == mysqlDeadlock || e.Number == mysqlLockTimeout)
}
