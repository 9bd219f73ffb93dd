//go:build unix

package postgres

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

// rows runs the query and returns its only column as text.
func rows(t *testing.T, dsn, sql string, args ...any) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	result, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(result, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestStartIsSharedAndAnswersBothWays(t *testing.T) {
	t.Parallel()
	s := Start(t)
	if Start(t) != s {
		t.Error("second Start gave another server")
	}
	for name, dsn := range map[string]string{"tcp": s.DSN("postgres"), "socket": s.SocketDSN("postgres")} {
		if diff := cmp.Diff([]string{"off"}, rows(t, dsn, "SHOW fsync")); diff != "" {
			t.Errorf("%s: fsync (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff([]string{"127.0.0.1"}, rows(t, s.DSN("postgres"), "SHOW listen_addresses")); diff != "" {
		t.Errorf("listen_addresses (-want +got):\n%s", diff)
	}
}

func TestDatabasesHaveTheirCollation(t *testing.T) {
	t.Parallel()
	s := Start(t)
	for _, test := range []struct{ collation, sorted string }{
		{"", "ABab"},
		{"C.UTF-8", "ABab"},
		{"icu:en-US", "aAbB"},
	} {
		dsn := s.CreateDatabase(t, Database{Collation: test.collation})
		got := rows(t, dsn, `SELECT string_agg(c, '' ORDER BY c) FROM unnest('{b,A,a,B}'::text[]) c`)
		if diff := cmp.Diff([]string{test.sorted}, got); diff != "" {
			t.Errorf("collation %q sorts (-want +got):\n%s", test.collation, diff)
		}
	}
}

func TestDatabaseIsDroppedAfterItsTest(t *testing.T) {
	t.Parallel()
	s := Start(t)
	var name string
	t.Run("inner", func(t *testing.T) {
		name = rows(t, s.CreateDatabase(t, Database{}), "SELECT current_database()::text")[0]
	})
	if left := rows(t, s.DSN("postgres"), "SELECT datname::text FROM pg_database WHERE datname = $1", name); len(left) > 0 {
		t.Errorf("database %s is still there", name)
	}
}

func checkPlain(t *testing.T, dsn string) {
	t.Helper()
	want := []string{
		"1|tab\there, line\nbreak, back\\slash|\\x00ff",
		"2|null|null",
		"3||\\x",
		"4|äöü 🔑 COPY public.notes (id) FROM stdin;|null",
		"5|\\.|null",
		"HI;",
	}
	got := rows(t, dsn, `SELECT concat_ws('|', id, coalesce(body, 'null'), coalesce(raw::text, 'null')) FROM (
		SELECT * FROM public.notes ORDER BY id) n UNION ALL SELECT public.shout('hi')`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("restored rows (-want +got):\n%s", diff)
	}
}

func TestRestorePlain(t *testing.T) {
	t.Parallel()
	checkPlain(t, Start(t).RestorePlain(t, "testdata/plain.sql", Database{Collation: "icu:en-US"}))
}

func TestRestoreReportsABadDump(t *testing.T) {
	t.Parallel()
	s := Start(t)
	for name, dump := range map[string]string{
		"statement": "CREATE TABLE t (id integer);\nSELECT 1 FROM missing;\n",
		"data":      "CREATE TABLE t (id integer);\nCOPY t (id) FROM stdin;\nx\n\\.\n",
		"cut":       "CREATE TABLE t (id integer);\nCOPY t (id) FROM stdin;\n1\n",
	} {
		path := filepath.Join(t.TempDir(), "bad.sql")
		if err := os.WriteFile(path, []byte(dump), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := restoreWithoutPsql(t.Context(), s.CreateDatabase(t, Database{}), path); err == nil {
			t.Errorf("%s: no error", name)
		}
		psql, ok := s.Bin("psql")
		if !ok || name == "cut" { // psql takes the end of the file for the end of the data
			continue
		}
		if err := restoreWithPsql(t.Context(), psql, s.CreateDatabase(t, Database{}), path); err == nil {
			t.Errorf("%s: no error of psql", name)
		} else if !strings.Contains(err.Error(), "ERROR") {
			t.Errorf("%s: error does not say what psql said: %v", name, err)
		}
	}
}

// TestFetched is the way of a machine without PostgreSQL: a server without
// client programs.
func TestFetched(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "fetches PostgreSQL")
	bin, err := fetched()
	if err != nil {
		testenv.Skip(t, "a PostgreSQL download", err.Error())
	}
	s, err := start(bin, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.process.Stop(); err != nil {
			t.Error(err)
		}
	})
	if path, ok := s.Bin("psql"); ok {
		t.Errorf("%s exists: prefer it to the restore without", path)
	}
	t.Run("restore", func(t *testing.T) { // its databases are dropped before the server stops
		checkPlain(t, s.RestorePlain(t, "testdata/plain.sql", Database{Collation: "icu:en-US"}))
	})
}
