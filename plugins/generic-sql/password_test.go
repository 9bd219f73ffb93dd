//go:build unix

package sqltarget

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/targettest"
)

// opens says whether a password is that of a hash, by the libraries that an application
// would use.
func opens(t *testing.T, hash, password string) bool {
	t.Helper()
	if strings.HasPrefix(hash, "$2") {
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	}
	var version, memory, passes, lanes uint32
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		t.Fatalf("a hash of %d parts", len(parts))
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &passes, &lanes); err != nil {
		t.Fatal(err)
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	key, other := base64.RawStdEncoding.DecodeString(parts[5])
	if err := errors.Join(err, other); err != nil {
		t.Fatal(err)
	}
	derived := argon2.IDKey([]byte(password), salt, passes, memory, uint8(lanes), uint32(len(key)))
	return version == argon2.Version && subtle.ConstantTimeCompare(derived, key) == 1
}

// A reset link sets the password of one account: the new one opens it, the old one does not,
// nobody else is touched, and later runs leave it alone.
func TestSetPassword(t *testing.T) {
	t.Parallel()
	onEach(t, "own", func(t *testing.T, s *site) {
		config := ownTables(s)
		config.Hashes = []string{"bcrypt", "argon2id"}
		users := []sdk.User{ordinary(1), ordinary(2), ordinary(3, func(u *sdk.User) { u.Password = sdk.PasswordHash{} })}
		loaded := targettest.Load(t, open(t, config, nil), users)
		if loaded.Counts()[sdk.Created] != len(users) {
			t.Fatal(loaded.Counts())
		}
		hashOf := func(u sdk.User) string { return s.value(t, `SELECT hash FROM crm.secrets WHERE person = $1`, u.ID) }
		schemeOf := func(u sdk.User) string {
			return s.value(t, `SELECT algorithm FROM crm.secrets WHERE person = $1`, u.ID)
		}
		target := open(t, config, nil)
		set := func(u sdk.User, password string) error {
			return target.SetPassword(t.Context(), sdk.PasswordChange{TargetID: u.ID, Password: sdk.NewSecret(password), EndSessions: true})
		}
		long := strings.Repeat("ä", 50) // bcrypt would look at a part of it
		for i, c := range []struct {
			user     sdk.User
			password string
			scheme   string
		}{{users[0], "correct horse", "bcrypt"}, {users[0], long, "argon2id"}, {users[2], "the first one", "bcrypt"}} {
			if err := set(c.user, c.password); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
			if hash := hashOf(c.user); !opens(t, hash, c.password) || opens(t, hash, c.password+"!") || hash == targettest.Bcrypt {
				t.Errorf("%d: the new password does not open the account, or another one does", i)
			}
			if got := schemeOf(c.user); got != c.scheme {
				t.Errorf("%d: the scheme is %q, not %q", i, got, c.scheme)
			}
		}
		if hashOf(users[1]) != targettest.Bcrypt {
			t.Error("somebody else has another password")
		}
		for i := range users {
			o := loaded.ByID[users[i].SourceID]
			users[i].Existing, users[i].Prior = sdk.Update, sdk.Prior{TargetID: o.TargetID, State: o.State}
		}
		again := targettest.Load(t, open(t, config, nil), users)
		if again.Counts()[sdk.Unchanged] != len(users) || !opens(t, hashOf(users[0]), long) {
			t.Errorf("a later run: %v", again.Counts())
		}
	})
}

// What cannot be done says so, and changes nothing.
func TestSetPasswordRefused(t *testing.T) {
	t.Parallel()
	onEach(t, "own", func(t *testing.T, s *site) {
		config := ownTables(s) // bcrypt alone
		users := []sdk.User{ordinary(1)}
		targettest.Load(t, open(t, config, nil), users)
		target := open(t, config, nil)
		for code, c := range map[sdk.Code]sdk.PasswordChange{
			sdk.CodeNoSuchAccount:   {TargetID: ordinary(2).ID, Password: sdk.NewSecret("short")},
			sdk.CodePasswordRefused: {TargetID: users[0].ID, Password: sdk.NewSecret(strings.Repeat("x", 73))},
		} {
			failure, ok := errors.AsType[*sdk.Failure](target.SetPassword(t.Context(), c))
			if !ok || failure.Code != code {
				t.Errorf("%s: %v", code, failure)
			}
		}
		failure, ok := errors.AsType[*sdk.Failure](target.SetPassword(t.Context(), sdk.PasswordChange{Email: users[0].Email, Password: sdk.NewSecret("short")}))
		if !ok || failure.Code != sdk.CodeNoSuchAccount {
			t.Errorf("by address: %v", failure)
		}
		if s.value(t, `SELECT hash FROM crm.secrets WHERE person = $1`, users[0].ID) != targettest.Bcrypt {
			t.Error("the hash is another one")
		}
	})
}

// The ability is declared where there is a scheme and a place for a new hash, and nowhere
// else.
func TestWhoCanSetPasswords(t *testing.T) {
	t.Parallel()
	s := &site{dsn: "postgres://nobody@127.0.0.1:1/nothing"}
	for name, c := range map[string]struct {
		change func(*Config)
		can    bool
	}{
		"bcrypt":         {func(*Config) {}, true},
		"argon2id":       {func(c *Config) { c.Hashes = []string{"argon2id"} }, true},
		"firebase alone": {func(c *Config) { c.Hashes = []string{"firebase_scrypt"} }, false},
		"no hashes":      {func(c *Config) { c.Hashes = nil }, false},
		"no place":       {func(c *Config) { c.Tables = slices.Delete(c.Tables, 1, 2) }, false},
		"with more of the account in it": {func(c *Config) {
			c.Tables[1].Columns["hash"] = Column{CEL: "password.hash + ' ' + email"}
		}, false},
	} {
		config := ownTables(s)
		c.change(&config)
		if can := !slices.Contains(open(t, config, nil).Lacks(), sdk.CanSetPassword); can != c.can {
			t.Errorf("%s: %t", name, can)
		}
	}
}

// In the tables of Better Auth, who had a social login alone gets the row of a password, and
// the sessions of the account end, and nobody else's.
func TestSetPasswordOfBetterAuth(t *testing.T) {
	t.Parallel()
	onEach(t, "better-auth", func(t *testing.T, s *site) {
		config := Config{URL: sdk.NewSecret(s.dsn), Preset: "better-auth", Hashes: []string{"bcrypt"}, Schema: s.schema, Name: "default", IDLength: 255}
		social := func(u *sdk.User) {
			u.Password, u.Identities = sdk.PasswordHash{}, []sdk.Identity{{Provider: "google", Subject: "g-" + u.ID}}
		}
		users := []sdk.User{ordinary(1), ordinary(2, social), ordinary(3)}
		if loaded := targettest.Load(t, open(t, config, nil), users); loaded.Counts()[sdk.Created] != len(users) {
			t.Fatal(loaded.Counts())
		}
		for i, u := range users {
			s.exec(t, `INSERT INTO "session" ("id", "expiresAt", "token", "updatedAt", "userId") VALUES ($1, '2030-01-01 00:00:00', $2, '2026-01-01 00:00:00', $3)`,
				fmt.Sprint("s", i), fmt.Sprint("t", i), u.ID)
		}
		target := open(t, config, nil)
		for i, u := range users[:2] {
			change := sdk.PasswordChange{TargetID: u.ID, Password: sdk.NewSecret("chosen now"), EndSessions: i == 0}
			if err := target.SetPassword(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			hash := s.value(t, `SELECT "password" FROM "account" WHERE "userId" = $1 AND "providerId" = 'credential' AND "accountId" = $2`, u.ID, u.ID)
			if !opens(t, hash, "chosen now") {
				t.Errorf("account %d does not open", i+1)
			}
		}
		for i, want := range []string{"0", "1", "1"} {
			if got := s.value(t, `SELECT count(*) FROM "session" WHERE "userId" = $1`, users[i].ID); got != want {
				t.Errorf("account %d has %s sessions, not %s", i+1, got, want)
			}
		}
		if got := s.value(t, `SELECT count(*) FROM "account" WHERE "providerId" = 'google'`); got != "1" {
			t.Errorf("%s social logins are left", got)
		}
	})
}

// A trigger that puts another hash there is found out, and the account stays as it was.
func TestSetPasswordIsReadBack(t *testing.T) {
	t.Parallel()
	s := onPostgres(t, "own")
	users := []sdk.User{ordinary(1)}
	targettest.Load(t, open(t, ownTables(s), nil), users)
	s.exec(t, `CREATE FUNCTION crm.stale() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.hash := OLD.hash; RETURN NEW; END'`)
	s.exec(t, `CREATE TRIGGER stale BEFORE UPDATE ON crm.secrets FOR EACH ROW EXECUTE FUNCTION crm.stale()`)
	err := open(t, ownTables(s), nil).SetPassword(t.Context(), sdk.PasswordChange{TargetID: users[0].ID, Password: sdk.NewSecret("chosen now")})
	if failure, ok := errors.AsType[*sdk.Failure](err); !ok || failure.Code != sdk.CodeTargetRefused {
		t.Errorf("it counts as set: %v", err)
	}
}
