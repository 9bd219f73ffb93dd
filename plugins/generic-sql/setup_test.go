//go:build unix

package sqltarget

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/internal/testserver/postgres"
)

// database makes one with tables of a file under testdata.
func database(tb testing.TB, schema string) (dsn string) {
	tb.Helper()
	ddl, err := os.ReadFile(filepath.Join("testdata", schema))
	if err != nil {
		tb.Fatal(err)
	}
	dsn = postgres.Start(tb).CreateDatabase(tb, postgres.Database{})
	postgres.Exec(tb, dsn, string(ddl))
	return dsn
}

// inspect reads every row of every table, for a conformance suite and for comparing.
func inspect(dsn string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		conn, err := pgx.Connect(ctx, dsn)
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
}
