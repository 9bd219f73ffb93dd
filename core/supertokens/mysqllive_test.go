package supertokens

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/mariadb"
)

func TestMySQLLiveEqualsTruth(t *testing.T) {
	t.Parallel()
	for _, name := range []string{ // the others have the same rows
		"core-3.3.0", "core-5.0.0", "core-5.0.0-failed-upgrade", "core-7.0.18", "core-9.3.0", "core-9.3.0-prefixed",
		"core-10.1.4", "core-10.1.4-latin1", "core-10.1.4-traps", "core-10.1.4-mysql97-traps",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := fixture.RestoreMySQL(t, name)
			tr := mysqlTruth(t, name)
			checkTruth(t, tr, func() Options { return Options{URL: canonical.NewSecret(address), RangeSize: 7} })
			for _, app := range tr.Apps {
				want := mysqlBytes(t, Options{Dump: fixture.MySQLDump(t, name), App: app.AppID})
				got := mysqlBytes(t, Options{URL: canonical.NewSecret(address), App: app.AppID, LockTables: true})
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Errorf("app %s (-dump +live):\n%s", app.AppID, diff)
				}
			}
		})
	}
}

// TestMySQLDumpOfTheServer: what the server's own program for dumps writes is read like the
// server, whatever its options are.
func TestMySQLDumpOfTheServer(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]string{
		"core-3.3.0":                nil,
		"core-7.0.18":               {"--single-transaction", "--skip-extended-insert"},
		"core-10.1.4":               {"--single-transaction", "--hex-blob", "--no-tablespaces"},
		"core-10.1.4-latin1":        {"--single-transaction", "--compact", "--skip-compact"},
		"core-10.1.4-traps":         {"--complete-insert", "--routines", "--triggers"},
		"core-10.1.4-mysql97-traps": {"--single-transaction", "--skip-tz-utc"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := fixture.RestoreMySQL(t, name)
			cmd := mariadb.Start(t).Dump(t, address[strings.LastIndexByte(address, '/')+1:], options...)
			path := filepath.Join(t.TempDir(), "dump.sql")
			file, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			var says strings.Builder
			cmd.Stdout, cmd.Stderr = file, &says
			if err := errors.Join(cmd.Run(), file.Close()); err != nil {
				t.Fatalf("%v\n%s", err, &says)
			}
			for _, app := range mysqlTruth(t, name).Apps {
				want := mysqlBytes(t, Options{URL: canonical.NewSecret(address), App: app.AppID})
				got := mysqlBytes(t, Options{Dump: path, App: app.AppID})
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Errorf("app %s (-live +dump):\n%s", app.AppID, diff)
				}
			}
		})
	}
}

// mysqlBytes is all that is said about accounts and rows of nobody.
func mysqlBytes(t *testing.T, o Options) []string {
	t.Helper()
	o.Audit = true
	lines, users, _, orphans := export(t, o)
	for _, u := range users {
		for _, w := range u.Warnings {
			lines = append(lines, u.InternalID+" "+w.Code+" "+w.Detail)
		}
	}
	found := []string{}
	for _, o := range orphans {
		found = append(found, "orphan "+o.Table+" "+o.ID)
	}
	slices.Sort(found)
	return append(lines, found...)
}

// mysqlRole makes a role with rights on one database, and returns its address.
func mysqlRole(t *testing.T, address, rights string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	s, database := mariadb.Start(t), strings.TrimPrefix(u.Path, "/")
	name := "reader_" + database
	s.Exec(t, "", fmt.Sprintf("CREATE USER %s@'%%' IDENTIFIED BY 'canary'", name))
	t.Cleanup(func() { dropMySQLUser(t, s, name) })
	for _, right := range strings.Split(rights, ";") {
		s.Exec(t, database, fmt.Sprintf("GRANT %s TO %s@'%%'", strings.ReplaceAll(right, "DATABASE", database), name))
	}
	u.User = url.UserPassword(name, "canary")
	return u.String()
}

func dropMySQLUser(t *testing.T, s *mariadb.Server, name string) {
	t.Helper()
	c := s.Config("")
	db, err := sql.Open("mysql", c.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec("DROP USER " + name + "@'%'") // the context of the test has ended
	if err := errors.Join(err, db.Close()); err != nil {
		t.Error(err)
	}
}

// TestMySQLRole reads with the rights that the documentation names, and says what is
// missing with less.
func TestMySQLRole(t *testing.T) {
	t.Parallel()
	address := fixture.RestoreMySQL(t, "core-7.0.18")
	role := mysqlRole(t, address, "SELECT ON DATABASE.*")
	want := mysqlBytes(t, Options{URL: canonical.NewSecret(address)})
	if diff := gocmp.Diff(want, mysqlBytes(t, Options{URL: canonical.NewSecret(role)})); diff != "" {
		t.Errorf("(-superuser +role):\n%s", diff)
	}
	few := fixture.RestoreMySQL(t, "core-7.0.18")
	for rights, says := range map[string]string{
		"SELECT ON app_id_to_user_id;SELECT ON emailpassword_users;SELECT ON all_auth_recipe_users": "the server hides tables from a role",
		"INSERT ON DATABASE.*;SELECT ON app_id_to_user_id;SELECT ON all_auth_recipe_users":          "no permission to read table",
		"USAGE ON *.*": "connect to MySQL database",
	} {
		t.Run(says, func(t *testing.T) { //nolint:paralleltest // one role at a time
			err := readError(t, Options{URL: canonical.NewSecret(mysqlRole(t, few, rights))})
			if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "canary") {
				t.Errorf("with %s: %v, want %q", rights, err, says)
			}
		})
	}
	lock := Options{URL: canonical.NewSecret(role), LockTables: true}
	if err := readError(t, lock); err == nil || !strings.Contains(err.Error(), "GRANT RELOAD") {
		t.Errorf("lock without the right: %v", err)
	}
}

// TestMySQLSnapshot: what is written after the source was opened is not in it, in one
// connection and in several.
func TestMySQLSnapshot(t *testing.T) {
	t.Parallel()
	for _, lock := range []bool{false, true} {
		address := fixture.RestoreMySQL(t, "core-5.0.0")
		want, _, _, _ := export(t, Options{URL: canonical.NewSecret(address)})
		s, err := Open(t.Context(), Options{URL: canonical.NewSecret(address), LockTables: lock, Connections: 3})
		if err != nil {
			t.Fatal(err)
		}
		database := address[strings.LastIndexByte(address, '/')+1:]
		mariadb.Start(t).Exec(t, database, "DELETE FROM user_metadata; DELETE FROM emailpassword_users LIMIT 9; UPDATE user_roles SET role = 'x' WHERE 1=0")
		got, _, _ := readAll(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("locked %v (-before +while others write):\n%s", lock, diff)
		}
	}
}

// TestMySQLConnections goes over the socket, over TLS, through every form of address, and
// fails with words.
func TestMySQLConnections(t *testing.T) {
	t.Parallel()
	address := fixture.RestoreMySQL(t, "core-3.3.0")
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	s := mariadb.Start(t)
	c := s.Config(strings.TrimPrefix(u.Path, "/"))
	want, _, _, _ := export(t, Options{URL: canonical.NewSecret(address)})
	for _, other := range []string{
		c.FormatDSN(),
		"jdbc:mysql://" + c.Addr + "/" + c.DBName + "?user=" + c.User + "&password=" + c.Passwd + "&useSSL=false",
		address + "?socket=" + url.QueryEscape(s.Socket()),
		c.User + ":" + c.Passwd + "@unix(" + s.Socket() + ")/" + c.DBName,
		address + "?ssl-mode=DISABLED",
		strings.TrimSuffix(address, c.DBName) + "?ssl-mode=PREFERRED",
	} {
		o := Options{URL: canonical.NewSecret(other)}
		if strings.Contains(other, "PREFERRED") { // searches all databases
			o.Schema = c.DBName
		}
		got, _, _, _ := export(t, o)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-first +this):\n%s", strings.ReplaceAll(other, c.Passwd, "…"), diff)
		}
	}
	for other, says := range map[string]string{
		strings.Replace(address, c.Passwd, "canary", 1):             "check the user and the password",
		strings.Replace(address, c.DBName, "nowhere", 1):            "check the name of the database",
		strings.Replace(address, c.Addr, "127.0.0.1:1", 1):          "check the host and the port",
		address + "?ssl-mode=VERIFY_IDENTITY":                       "check ssl-mode and ssl-ca",
		strings.Replace(address, c.DBName, "information_schema", 1): "no SuperTokens installation found",
	} {
		err := readError(t, Options{URL: canonical.NewSecret(other)})
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), c.Passwd) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", says, err)
		}
	}
	if err := readError(t, Options{URL: canonical.NewSecret(address), Schema: "other"}); !errors.As(err, new(*SettingError)) {
		t.Errorf("two databases named: %v", err)
	}
}

// TestMySQLLostConnection: a snapshot that is gone is not read on.
func TestMySQLLostConnection(t *testing.T) {
	t.Parallel()
	address := fixture.RestoreMySQL(t, "core-3.3.0")
	role := mysqlRole(t, address, "SELECT ON DATABASE.*")
	s, err := Open(t.Context(), Options{URL: canonical.NewSecret(role)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	database := address[strings.LastIndexByte(address, '/')+1:]
	mariadb.KillUser(t, mariadb.Start(t), "reader_"+database)
	err = s.Read(t.Context(), func(Batch) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "is gone with the connection") {
		t.Errorf("error %v", err)
	}
}

// TestMySQLEncrypted reads over connections that have to be encrypted, and trusts whom the
// address says.
func TestMySQLEncrypted(t *testing.T) {
	t.Parallel()
	s := mariadb.Start(t)
	address := fixture.RestoreMySQL(t, "core-3.3.0")
	want, _, _, _ := export(t, Options{URL: canonical.NewSecret(address)})
	role := mysqlRole(t, address, "SELECT ON DATABASE.*")
	u, err := url.Parse(role)
	if err != nil {
		t.Fatal(err)
	}
	name := u.User.Username()
	require := func(what string) { s.Exec(t, "", "ALTER USER "+name+"@'%' REQUIRE "+what) }
	require("SSL")
	authority, certificate, key := s.Certificates()
	ca, other := "&ssl-ca="+url.QueryEscape(authority), filepath.Join(t.TempDir(), "other.pem")
	raw, err := os.ReadFile(certificate)
	if err == nil {
		err = os.WriteFile(other, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := strings.Replace(role, "127.0.0.1", "localhost", 1) // of which the certificate does not speak
	good := []string{
		role, role + "?ssl-mode=REQUIRED", role + "?ssl-mode=VERIFY_CA" + ca, role + "?ssl-mode=VERIFY_IDENTITY" + ca,
		role + "?" + strings.TrimPrefix(ca, "&"), // an authority is named so that it is asked
		elsewhere + "?ssl-mode=VERIFY_CA" + ca, strings.Replace(role, "mysql:", "jdbc:mariadb:", 1) + "?sslMode=verify-full&serverSslCert=" + url.QueryEscape(authority),
	}
	for _, address := range good {
		got, _, _, _ := export(t, Options{URL: canonical.NewSecret(address)})
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-plain +this):\n%s", strings.ReplaceAll(address, "canary", "…"), diff)
		}
	}
	refused := func(address, says string) {
		t.Helper()
		if err := readError(t, Options{URL: canonical.NewSecret(address)}); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", strings.ReplaceAll(address, "canary", "…"), err)
		}
	}
	refused(role+"?ssl-mode=DISABLED", "check the user and the password")
	refused(elsewhere+"?ssl-mode=VERIFY_IDENTITY"+ca, "check ssl-mode and ssl-ca")
	refused(role+"?ssl-mode=VERIFY_IDENTITY", "check ssl-mode and ssl-ca")
	refused(role+"?ssl-mode=VERIFY_CA&ssl-ca="+url.QueryEscape(other), "check ssl-mode and ssl-ca")
	require("X509")
	own := "?ssl-mode=VERIFY_IDENTITY" + ca + "&ssl-cert=" + url.QueryEscape(certificate) + "&ssl-key=" + url.QueryEscape(key)
	refused(role+"?ssl-mode=VERIFY_IDENTITY"+ca, "check the user and the password")
	if got, _, _, _ := export(t, Options{URL: canonical.NewSecret(role + own)}); !slices.Equal(got, want) {
		t.Errorf("with a certificate of its own: %d accounts, want %d", len(got), len(want))
	}
}
