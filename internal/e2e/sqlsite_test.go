//go:build unix

package e2e_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver for PostgreSQL

	"github.com/stetl/stetl/internal/testserver/mariadb"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// sqlSite is an empty database of an application, of one kind or the other.
type sqlSite struct {
	dsn     string
	mariadb bool
	open    func() (*sql.DB, error)
}

func onPostgres(t *testing.T) *sqlSite {
	t.Helper()
	dsn := postgres.Start(t).CreateDatabase(t, postgres.Database{})
	return &sqlSite{dsn: dsn, open: func() (*sql.DB, error) { return sql.Open("pgx", dsn) }}
}

func onMariaDB(t *testing.T) *sqlSite {
	t.Helper()
	server := mariadb.Start(t)
	c := server.Config(server.CreateDatabase(t, "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"))
	dsn := url.URL{Scheme: "mysql", User: url.UserPassword(c.User, c.Passwd), Host: c.Addr, Path: "/" + c.DBName, RawQuery: "ssl-mode=DISABLED"}
	c.MultiStatements = true
	return &sqlSite{dsn: dsn.String(), mariadb: true, open: func() (*sql.DB, error) {
		connector, err := mysql.NewConnector(c)
		if err != nil {
			return nil, err
		}
		return sql.OpenDB(connector), nil
	}}
}

// name quotes one.
func (s *sqlSite) name(name string) string {
	if s.mariadb {
		return "`" + name + "`"
	}
	return pgx.Identifier{name}.Sanitize()
}

func (s *sqlSite) exec(t *testing.T, statement string) {
	t.Helper()
	db, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if s.mariadb {
		statement = strings.ReplaceAll(statement, `"`, "`")
	}
	if _, err := db.ExecContext(context.WithoutCancel(t.Context()), statement); err != nil {
		t.Fatal(err)
	}
}

// table is what a query gives, NULL as an empty text.
func (s *sqlSite) table(t *testing.T, query string) (out [][]string) {
	t.Helper()
	db, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if s.mariadb {
		query = strings.ReplaceAll(query, `"`, "`")
	}
	rows, err := db.QueryContext(context.WithoutCancel(t.Context()), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		texts, into := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range texts {
			into[i] = &texts[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := make([]string, len(names))
		for i := range texts {
			row[i] = texts[i].String
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// pairs reads a query of two columns.
func (s *sqlSite) pairs(t *testing.T, query string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, row := range s.table(t, query) {
		out[row[0]] = row[1]
	}
	return out
}

// rows are all those of some tables, in an order of their own.
func (s *sqlSite) rows(t *testing.T, tables ...string) string {
	t.Helper()
	var all strings.Builder
	for _, table := range tables {
		var lines []string
		for _, row := range s.table(t, "SELECT * FROM "+s.name(table)) {
			lines = append(lines, strings.Join(row, "|"))
		}
		slices.Sort(lines)
		fmt.Fprintf(&all, "%s\n%s\n", table, strings.Join(lines, "\n"))
	}
	return all.String()
}
