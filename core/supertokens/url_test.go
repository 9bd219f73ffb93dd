package supertokens

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// TestCheckURL shows that the forms of core/internal/pgurl, whose tests have them
// all, arrive here, and what is in files.
func TestCheckURL(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "root.pem")
	for given, says := range map[string]string{
		"postgresql://u:canary@h/d?sslmode=require&currentSchema=x":             "",
		"host=h user=u password=canary dbname=d":                                "",
		"jdbc:postgresql://h/d?password=canary":                                 "",
		"mysql://u:canary@h/d":                                                  "",
		"u:canary@tcp(h)/d":                                                     "",
		"mysql://u:can#ary@h/d":                                                 "%23",
		"mysql://u:canary@h/d?ssl-ca=" + missing:                                missing,
		"postgres://u:can#ary@h/d":                                              "%23",
		"postgres://u:canary@h/d?sslmode=verify-full&sslrootcert=" + missing:    missing,
		"postgres://u:canary@h/d?sslmode=verify-full&sslrootcert=" + os.DevNull: "certificates",
	} {
		err := CheckURL(canonical.NewSecret(given))
		switch {
		case says == "" && err != nil:
			t.Errorf("%q: %v", given, err)
		case says != "" && (err == nil || !strings.Contains(err.Error(), says)):
			t.Errorf("%q: %v, want %q in it", given, err, says)
		case err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "can#")):
			t.Errorf("%q is repeated: %v", given, err)
		}
	}
}

// TestSchemaOfURL: of two installations, the one is read whose schema the address
// names, however it does so.
func TestSchemaOfURL(t *testing.T) {
	t.Parallel()
	sql := `ALTER SCHEMA public RENAME TO login; CREATE SCHEMA public; CREATE SCHEMA nothing;`
	for _, r := range fixtureCatalog(t, "core-9.3.0").tables {
		sql += fmt.Sprintf("CREATE TABLE public.%q (LIKE login.%q);", r.name, r.name)
	}
	dsn := twist(t, "core-9.3.0", sql)
	want, _, _, _ := export(t, Options{Dump: fixture.Dump(t, "core-9.3.0")})
	if err := readError(t, Options{URL: canonical.NewSecret(dsn)}); !errors.Is(err, ErrAmbiguous) {
		t.Fatalf("two installations: %v", err)
	}
	for _, s := range [][2]string{
		{"schema", "login"},
		{"currentSchema", "login"},
		{"search_path", "LOGIN"},
		{"options", "-csearch_path=login"},
		{"options", "-c search_path=login,pg_catalog"},
		{"search_path", "nothing, login"},
	} {
		o := Options{URL: canonical.NewSecret(with(t, dsn, s[0], s[1]))}
		got, _, src, _ := export(t, o)
		if diff := gocmp.Diff(want, got); diff != "" || src.Layout().Schema != "login" {
			t.Errorf("%s, schema %s (-alone +beside another):\n%s", s, src.Layout().Schema, diff)
		}
		tables, err := OpenTables(t.Context(), o)
		if err != nil || tables.Layout().Schema != "login" {
			t.Errorf("%s: tables %v, error %v", s, tables, err)
			continue
		}
		if err := tables.Close(); err != nil {
			t.Error(err)
		}
		if told := URLSchemas(o.URL); !slices.Contains(told, "login") {
			t.Errorf("%s: schemas %v", s, told)
		}
	}
	if err := readError(t, Options{URL: canonical.NewSecret(with(t, dsn, "search_path", "login,public"))}); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("two installations in two schemas: %v", err)
	}
	for _, path := range []string{"nothing", "nothing,none"} {
		if err := readError(t, Options{URL: canonical.NewSecret(with(t, dsn, "search_path", path))}); !errors.Is(err, ErrNotSuperTokens) || !strings.Contains(err.Error(), "its address says search_path: nothing") {
			t.Errorf("no installation in %s: %v", path, err)
		}
	}
	o := Options{URL: canonical.NewSecret(with(t, dsn, "currentSchema", "public")), Schema: "login"}
	err := readError(t, o)
	if err == nil || !strings.Contains(err.Error(), `source.schema is "login"`) || !strings.Contains(err.Error(), "currentSchema in the address of the database says public") {
		t.Errorf("two schemas told: %v", err)
	}
	if _, err := OpenTables(t.Context(), o); err == nil || !strings.Contains(err.Error(), "source.schema") {
		t.Errorf("two schemas told, for tables: %v", err)
	}
	o.Schema = "Public" // as the core's own configuration folds it
	if err := CheckSchema(o.URL, o.Schema); err != nil {
		t.Error(err)
	}
}

// TestForeignSettings reads with what others have put into the address.
func TestForeignSettings(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-10.1.4")
	want, _, _, _ := export(t, Options{URL: canonical.NewSecret(dsn)})
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	login := "user=" + url.QueryEscape(u.User.Username()) + "&password=" + url.QueryEscape(password)
	for _, address := range []string{
		dsn + "&schema=public&connection_limit=5&pgbouncer=true&pool_timeout=3&gssencmode=disable&pool_max_conns=1",
		strings.Replace(dsn, "postgres", "postgresql+psycopg2", 1) + "&keepalives=1&channel_binding=prefer\n",
		"jdbc:postgresql://" + u.Host + u.Path + "?" + login + "&prepareThreshold=0&reWriteBatchedInserts=true&ApplicationName=stetl",
		fmt.Sprintf("Host=%s;Port=%s;Database=%s;Username=%s;Password='%s';Pooling=true", u.Hostname(), u.Port(), u.Path[1:], u.User.Username(), password),
		"DATABASE_URL='" + dsn + "'",
	} {
		got, _, _, _ := export(t, Options{URL: canonical.NewSecret(address)})
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("an address of another form (-plain +it):\n%s", diff)
		}
	}
}

// TestOtherServer: a balancer sends every other connection to another server.
func TestOtherServer(t *testing.T) {
	t.Parallel()
	servers := []*postgres.Server{postgres.Start(t), postgres.StartOther(t)}
	var hosts []string
	for _, s := range servers {
		dsn := s.DSN("postgres")
		postgres.Exec(t, dsn, "CREATE ROLE everywhere LOGIN PASSWORD 'same'")
		t.Cleanup(func() { postgres.Exec(t, dsn, "DROP ROLE everywhere") })
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, u.Host)
	}
	_, err := openLive(t.Context(), canonical.NewSecret("postgres://everywhere:same@"+balance(t, hosts)+"/postgres?sslmode=disable"), 1, false)
	if err == nil || !strings.Contains(err.Error(), "reach different servers") || strings.Contains(err.Error(), "is gone") {
		t.Errorf("error %v", err)
	}
}

// balance forwards connections to hosts in turn and returns its address.
func balance(t *testing.T, hosts []string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		open.Wait()
	})
	open.Go(func() {
		for i := 0; ; i++ {
			client, err := l.Accept()
			if err != nil {
				return // closed
			}
			server, err := net.Dial("tcp", hosts[i%len(hosts)])
			if err != nil {
				t.Errorf("dial: %v", err)
				_ = client.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
				open.Go(func() {
					_, _ = io.Copy(way[0], way[1]) // an end is no error here
					_ = way[0].Close()
					_ = way[1].Close()
				})
			}
		}
	})
	return l.Addr().String()
}

// with is dsn with one more setting.
func with(t *testing.T, dsn, key, value string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(key, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// TestConnectErrorIsOneLine: pgx's own words take a line for each attempt.
func TestConnectErrorIsOneLine(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-3.0.1")
	for name, tt := range map[string]struct{ dsn, says string }{
		"nobody listens": {"postgres://u:canary@127.0.0.1:1/d", "check the host and the port"},
		"wrong password": {as(t, dsn, "nobody", "canary"), "check the user, the password"},
		"no database":    {postgres.Start(t).DSN("gone"), "check the name of the database"},
		"no TLS":         {with(t, dsn, "sslmode", "require"), "check sslmode"},
	} {
		err := readError(t, Options{URL: canonical.NewSecret(tt.dsn)})
		if err == nil || !strings.Contains(err.Error(), tt.says) || strings.ContainsAny(err.Error(), "\n\t") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
		if name != "no TLS" && err != nil && strings.Contains(err.Error(), "refused TLS") {
			t.Errorf("%s: an attempt that did not matter is named: %v", name, err)
		}
	}
}

// TestLockedTable: the wait for a table that another session holds ends.
func TestLockedTable(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-10.1.4")
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE user_metadata IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	err = readError(t, Options{URL: canonical.NewSecret(with(t, dsn, "lock_timeout", "50"))})
	if err == nil || !strings.Contains(err.Error(), "user_metadata") || !strings.Contains(err.Error(), "locked by another session") {
		t.Errorf("error %v", err)
	}
	s, err := openLive(t.Context(), canonical.NewSecret(dsn), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var limit string
	if err := s.control.QueryRow(t.Context(), "SHOW lock_timeout").Scan(&limit); err != nil || limit != lockTimeout {
		t.Errorf("lock_timeout %q, error %v", limit, err)
	}
}

// TestSeveralServers: of an address that names several, the one is said that was reached.
func TestSeveralServers(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-9.3.0")
	at, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{URL: canonical.NewSecret(strings.Replace(dsn, at.Host, nobody+","+at.Host, 1))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if where := s.Where(); !strings.HasSuffix(where, " at "+at.Host) {
		t.Errorf("read from %s, which was said to be %q", at.Host, where)
	}
}
