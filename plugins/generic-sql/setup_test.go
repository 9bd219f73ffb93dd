//go:build unix

package sqltarget

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/internal/testserver/mariadb"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// site is a database with the tables of an application, of one kind or the other. Tests
// speak to it in the SQL of PostgreSQL, with everything in the schema crm.
type site struct {
	dsn    string
	schema string
	mysql  *mysql.Config // nil for PostgreSQL
}

// onEach runs a test on a database of each kind, with tables of a file under testdata.
func onEach(t *testing.T, tables string, test func(t *testing.T, s *site)) {
	t.Helper()
	for kind, make := range map[string]func(testing.TB, string) *site{"PostgreSQL": onPostgres, "MariaDB": onMariaDB} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, make(t, tables))
		})
	}
}

func tables(tb testing.TB, name string) string {
	tb.Helper()
	ddl, err := os.ReadFile(filepath.Join("testdata", name+".sql"))
	if err != nil {
		tb.Fatal(err)
	}
	return string(ddl)
}

func onPostgres(tb testing.TB, name string) *site {
	tb.Helper()
	s := &site{dsn: postgres.Start(tb).CreateDatabase(tb, postgres.Database{})}
	if name == "own" {
		s.schema = "crm"
	}
	postgres.Exec(tb, s.dsn, tables(tb, name))
	return s
}

func onMariaDB(tb testing.TB, name string) *site {
	tb.Helper()
	server := mariadb.Start(tb)
	database := server.CreateDatabase(tb, "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
	server.Exec(tb, database, mariadb.Fit(server, tables(tb, name+".mysql")))
	s := &site{mysql: server.Config(database)}
	s.dsn = s.as(s.mysql.User, s.mysql.Passwd)
	return s
}

// as is the address for another role.
func (s *site) as(user, password string) string {
	if s.mysql == nil {
		u, _ := url.Parse(s.dsn)
		u.User = url.UserPassword(user, password)
		return u.String()
	}
	u := url.URL{Scheme: "mysql", User: url.UserPassword(user, password), Host: s.mysql.Addr, Path: "/" + s.mysql.DBName, RawQuery: "ssl-mode=DISABLED"}
	return u.String()
}

var (
	quotedName = regexp.MustCompile(`"((?:[^"]|"")*)"`)
	parameter  = regexp.MustCompile(`\$[0-9]+`)
)

// translated is a statement in the language of the site.
func (s *site) translated(query string) string {
	if s.mysql == nil {
		return query
	}
	query = quotedName.ReplaceAllStringFunc(strings.ReplaceAll(query, "crm.", ""), func(q string) string {
		return mysqlSyntax{}.quote(strings.ReplaceAll(q[1:len(q)-1], `""`, `"`))
	})
	return parameter.ReplaceAllLiteralString(query, "?")
}

// exec runs one statement.
func (s *site) exec(tb testing.TB, query string, args ...any) {
	tb.Helper()
	if s.mysql == nil {
		postgres.Exec(tb, s.dsn, query, args...)
		return
	}
	db := s.opened(tb)
	_, err := db.ExecContext(context.WithoutCancel(tb.Context()), s.translated(query), args...)
	if err := errors.Join(err, db.Close()); err != nil {
		tb.Fatal(err)
	}
}

func (s *site) opened(tb testing.TB) *sql.DB {
	tb.Helper()
	c := s.mysql.Clone()
	c.MultiStatements = true
	connector, err := mysql.NewConnector(c)
	if err != nil {
		tb.Fatal(err)
	}
	return sql.OpenDB(connector)
}

// value is the one text that a query answers with.
func (s *site) value(tb testing.TB, query string, args ...any) (out string) {
	tb.Helper()
	if s.mysql == nil {
		return postgres.Value[string](tb, s.dsn, "SELECT ("+query+")::text", args...)
	}
	db := s.opened(tb)
	err := db.QueryRowContext(context.WithoutCancel(tb.Context()), s.translated(query), args...).Scan(&out)
	if err := errors.Join(err, db.Close()); err != nil {
		tb.Fatal(err)
	}
	return out
}

// inspect reads every row of every table, for a conformance suite and for comparing.
func (s *site) inspect(ctx context.Context) (string, error) {
	if s.mysql != nil {
		return s.inspectMySQL(ctx)
	}
	conn, err := pgx.Connect(ctx, s.dsn)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, `SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`)
	if err != nil {
		return "", err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, name := range names {
		rows, err := conn.Query(ctx, "SELECT t::text FROM "+name+" AS t ORDER BY 1")
		if err != nil {
			return "", err
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&all, "%s\n%s\n", name, strings.Join(lines, "\n"))
	}
	return all.String(), nil
}

func (s *site) inspectMySQL(ctx context.Context) (string, error) {
	connector, err := mysql.NewConnector(s.mysql)
	if err != nil {
		return "", err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	names, err := lines(ctx, db, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = database() ORDER BY 1")
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, name := range names {
		rows, err := lines(ctx, db, "SELECT * FROM `"+name+"`")
		if err != nil {
			return "", err
		}
		slices.Sort(rows)
		fmt.Fprintf(&all, "%s\n%s\n", name, strings.Join(rows, "\n"))
	}
	return all.String(), nil
}

// allowed reads what a role allows, by the table of the conformance suite.
func (s *site) allowed(ctx context.Context, role string) (permissions []string, err error) {
	all, err := s.inspect(ctx)
	_, rows, _ := strings.Cut(all, "allowed\n")
	for line := range strings.Lines(rows) {
		fields := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune("(),|\t \n", r) })
		if len(fields) == 2 && fields[0] == role {
			permissions = append(permissions, fields[1])
		}
	}
	return permissions, err
}

// lines are the rows of a query.
func lines(ctx context.Context, db *sql.DB, query string) (out []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	texts, into := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range texts {
		into[i] = &texts[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		var b strings.Builder
		for i, t := range texts {
			if i > 0 {
				b.WriteByte('|')
			}
			if t.Valid {
				b.WriteString(t.String)
			} else {
				b.WriteString("NULL")
			}
		}
		out = append(out, b.String())
	}
	return out, rows.Err()
}
