package supertokens

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

func TestCheckURL(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "root.pem")
	for given, says := range map[string]string{
		"postgres://u:canary@h:5432/d":                                          "",
		"postgresql://u:canary@h/d?sslmode=require&currentSchema=x":             "",
		"postgres://u:canary@h/d\n":                                             "",
		"host=h user=u password=canary dbname=d":                                "",
		"host=h password=x://canary dbname=d":                                   "",
		"mysql://u:canary@h/d":                                                  "PostgreSQL",
		"jdbc:postgresql://h/d?password=canary":                                 "PostgreSQL",
		"postgres://u:%zcanary@h/d":                                             "%25",
		"postgres://u:can#ary@h/d":                                              "%23",
		"postgres://u:canary@h:port/d":                                          "%25",
		"postgres://u:canary@h/d?sslmode=no":                                    "sslmode",
		"host=h password=canary port=abc":                                       "port",
		"postgres://u:canary@h/d?sslmode=verify-full&sslrootcert=" + missing:    missing,
		"postgres://u:canary@h/d?sslmode=verify-full&sslrootcert=" + os.DevNull: "setting",
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
	s, err := openLive(t.Context(), canonical.NewSecret(dsn), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var limit string
	if err := s.control.QueryRow(t.Context(), "SHOW lock_timeout").Scan(&limit); err != nil || limit != lockTimeout {
		t.Errorf("lock_timeout %q, error %v", limit, err)
	}
}
