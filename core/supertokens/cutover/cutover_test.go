//go:build unix

package cutover_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/bcrypt"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// fixtureTime is when the fixtures' tokens are good.
var fixtureTime = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, dsn, signer string, now func() time.Time) *cutover.DB {
	t.Helper()
	return openWith(t, dsn, cutover.Options{FirebaseSignerKey: canonical.NewSecret(signer)}, now)
}

func openWith(t *testing.T, dsn string, o cutover.Options, now func() time.Time) *cutover.DB {
	t.Helper()
	store, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(dsn)}, session.Config{Now: now, Connections: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	db, err := cutover.Open(t.Context(), store, o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func fixed() time.Time { return fixtureTime }

// bridgeSchema is where the bridge keeps its own tables.
func bridgeSchema(dsn string) string {
	if strings.HasPrefix(dsn, "mysql:") {
		return "stetl_bridge_" + dsn[strings.LastIndexByte(dsn, '/')+1:]
	}
	return "stetl_bridge"
}

// TestEveryLinkAsTheTruthSays consumes every mailed token of every fixture.
func TestEveryLinkAsTheTruthSays(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.AllNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := fixture.Read(t, name)
			db := open(t, fixture.Restore(t, name), "", fixed)
			used := map[string]bool{} // users whose tokens are consumed
			for _, token := range tr.ResetTokens {
				if token.AppID != "public" {
					continue
				}
				want := error(nil)
				if token.Expired || used[token.UserID] {
					want = cutover.ErrNoLink
				}
				if err := db.Links.PeekReset(t.Context(), token.Token); !errors.Is(err, want) {
					t.Errorf("reset token of %s: peek says %v, want %v", token.UserID, err, want)
				}
				failure := errors.New("the target is down")
				if err := db.Links.ConsumeReset(t.Context(), token.Token, false, func(cutover.Link) error { return failure }); want == nil && !errors.Is(err, failure) {
					t.Errorf("reset token of %s, failing: %v", token.UserID, err)
				}
				err := db.Links.ConsumeReset(t.Context(), token.Token, false, func(l cutover.Link) error {
					if l.User.LoginID != token.UserID && l.User.InternalID != token.UserID {
						t.Errorf("reset token of %s: user %+v", token.UserID, l.User)
					}
					if l.Email != token.Email {
						t.Errorf("reset token of %s: address %s, want %s", token.UserID, l.Email, token.Email)
					}
					return nil
				})
				if !errors.Is(err, want) {
					t.Errorf("reset token of %s: %v, want %v", token.UserID, err, want)
				}
				used[token.UserID] = used[token.UserID] || err == nil
				if err := db.Links.ConsumeReset(t.Context(), token.Token, false, func(cutover.Link) error { t.Error("used twice"); return nil }); !errors.Is(err, cutover.ErrNoLink) {
					t.Errorf("reset token of %s, again: %v", token.UserID, err)
				}
			}
			for _, token := range tr.VerificationTokens {
				if token.AppID != "public" {
					continue
				}
				want := error(nil)
				if token.Expired {
					want = cutover.ErrNoLink
				}
				for _, want := range []error{want, cutover.ErrNoLink} {
					err := db.Links.ConsumeVerification(t.Context(), token.Token, func(l cutover.Link) error {
						if l.Email != token.Email {
							t.Errorf("address %s, want %s", l.Email, token.Email)
						}
						return nil
					})
					if !errors.Is(err, want) {
						t.Errorf("verification token of %s: %v, want %v", token.UserID, err, want)
					}
				}
			}
			for _, wrong := range []string{"", "x", strings.Repeat("a", 128), strings.Repeat("a", 1<<20), tr.ResetTokens[0].Hash} {
				if err := db.Links.ConsumeReset(t.Context(), wrong, false, func(cutover.Link) error { return nil }); !errors.Is(err, cutover.ErrNoLink) {
					t.Errorf("wrong token: %v", err)
				}
			}
		})
	}
}

// TestLeftoversOfCore31 has the table and the column that later cores do not use
// any more, as an upgrade may leave them behind.
func TestLeftoversOfCore31(t *testing.T) {
	t.Parallel()
	tr := fixture.Read(t, "core-3.3.0")
	dsn := fixture.Restore(t, "core-3.3.0")
	postgres.Exec(t, dsn, "CREATE TABLE emailpassword_email_verification_tokens (user_id char(36), email varchar(256), token varchar(128), token_expiry bigint)")
	postgres.Exec(t, dsn, "ALTER TABLE emailpassword_users ADD is_email_verified boolean NOT NULL DEFAULT false")
	db := open(t, dsn, "", fixed)
	for _, token := range tr.VerificationTokens {
		if token.Expired {
			continue
		}
		if err := db.Links.ConsumeVerification(t.Context(), token.Token, func(cutover.Link) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if n := postgres.Value[int](t, dsn, "SELECT count(*) FROM emailverification_verified_emails WHERE user_id = $1 AND email = $2", token.UserID, token.Email); n != 1 {
			t.Errorf("%d rows say that %s is verified", n, token.UserID)
		}
		return
	}
	t.Error("no live token")
}

// TestLinkWorksOnce presents one link from all sides at once, to two instances.
func TestLinkWorksOnce(t *testing.T) { fixture.Both(t, "core-9.3.0", linkWorksOnce) }

func linkWorksOnce(t *testing.T, name string) {
	t.Helper()
	tr := fixture.Read(t, name)
	dsn := fixture.Restore(t, name)
	instances := []*cutover.DB{open(t, dsn, "", fixed), open(t, dsn, "", fixed)}
	// Two live tokens of one user: either may win, not both.
	var tokens []string
	for _, token := range tr.ResetTokens {
		if token.UserID == tr.ResetTokens[0].UserID && !token.Expired {
			tokens = append(tokens, token.Token)
		}
	}
	if len(tokens) != 2 {
		t.Fatalf("%d tokens of one user", len(tokens))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 50 {
		wg.Go(func() {
			err := instances[i%2].Links.ConsumeReset(t.Context(), tokens[i/2%2], false, func(cutover.Link) error { return nil })
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !errors.Is(err, cutover.ErrNoLink):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 50 attempts used the links", won)
	}
}

func liveSession(t *testing.T, db *cutover.DB, tr fixture.Truth) (session.Session, session.User) {
	t.Helper()
	for _, s := range tr.Sessions {
		if s.Revoked || s.Expired || s.Orphan || s.AppID != "public" {
			continue
		}
		found, err := db.Sessions().VerifyAccess(t.Context(), s.Access, session.Check{})
		if err != nil {
			continue
		}
		u, err := db.Sessions().User(t.Context(), found)
		if err != nil {
			t.Fatal(err)
		}
		return found, u
	}
	t.Fatal("no live session")
	return session.Session{}, session.User{}
}

// TestCodesAreRedeemedOnce has many codes of one session out, of two instances, and
// redeems all of them at once, each at both.
func TestCodesAreRedeemedOnce(t *testing.T) { fixture.Both(t, "core-7.0.18", codesAreRedeemedOnce) }

func codesAreRedeemedOnce(t *testing.T, name string) {
	t.Helper()
	const attempts = 50
	dsn := fixture.Restore(t, name)
	instances := []*cutover.DB{open(t, dsn, "", fixed), open(t, dsn, "", fixed)}
	found, user := liveSession(t, instances[0], fixture.Read(t, name))
	there := func() int {
		return fixture.Value[int](t, dsn, "SELECT count(*) FROM session_info WHERE session_handle = $1", found.Handle)
	}
	code := func(i int) string { return fmt.Sprintf("code-%d", i) }
	for i := range attempts {
		if err := instances[i%2].Logins.Issue(t.Context(), code(i), cutover.Login{Request: []byte(`{"n":1}`), Session: found, UserID: user.ID}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := instances[0].Logins.Get(t.Context(), code(1))
	if err != nil || got.UserID != user.ID || string(got.Request) != `{"n":1}` || got.Session.Handle != found.Handle || there() != 1 {
		t.Errorf("login %+v, %v; %d sessions", got, err, there())
	}
	var wg sync.WaitGroup
	redeemed := make(chan int, attempts)
	for i := range attempts {
		wg.Go(func() {
			for _, db := range instances {
				switch err := db.Logins.Redeem(t.Context(), code(i), found); {
				case err == nil:
					redeemed <- i
				case !errors.Is(err, session.ErrRevoked) && !errors.Is(err, cutover.ErrNoLogin):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(redeemed) != 1 || there() != 0 {
		t.Fatalf("%d codes were redeemed, %d sessions are left", len(redeemed), there())
	}
	for _, code := range []string{code(<-redeemed), "code-zzz", ""} {
		if _, err := instances[0].Logins.Get(t.Context(), code); !errors.Is(err, cutover.ErrNoLogin) {
			t.Errorf("code %q: %v", code, err)
		}
	}
}

func TestCodesAge(t *testing.T) { fixture.Both(t, "core-7.0.18", codesAge) }

func codesAge(t *testing.T, name string) {
	t.Helper()
	now := fixtureTime
	dsn := fixture.Restore(t, name)
	db := open(t, dsn, "", func() time.Time { return now })
	found, user := liveSession(t, db, fixture.Read(t, name))
	login := cutover.Login{Request: []byte(`{}`), Session: found, UserID: user.ID}
	if err := db.Logins.Issue(t.Context(), "old", login); err != nil {
		t.Fatal(err)
	}
	now = now.Add(61 * time.Second)
	_, err := db.Logins.Get(t.Context(), "old")
	if err := errors.Join(err, db.Logins.Redeem(t.Context(), "old", found)); !errors.Is(err, cutover.ErrNoLogin) {
		t.Errorf("a code of a minute: %v", err)
	}
	if err := db.Logins.Issue(t.Context(), "new", login); err != nil {
		t.Fatal(err)
	}
	if n := fixture.Value[int](t, dsn, "SELECT count(*) FROM "+bridgeSchema(dsn)+".code"); n != 1 {
		t.Errorf("%d codes are kept, want the new one", n)
	}
	other := found
	other.Handle += "x"
	if err := db.Logins.Redeem(t.Context(), "new", other); !errors.Is(err, cutover.ErrNoLogin) {
		t.Errorf("the code of another session: %v", err)
	}
	if err := db.Logins.Redeem(t.Context(), "new", found); err != nil {
		t.Errorf("its own: %v", err)
	}
}

// TestFailedExchangeLeavesTheSession is for a target that is down.
func TestFailedExchangeLeavesTheSession(t *testing.T) {
	fixture.Both(t, "core-7.0.18", failedExchangeLeavesTheSession)
}

func failedExchangeLeavesTheSession(t *testing.T, name string) {
	t.Helper()
	db := open(t, fixture.Restore(t, name), "", fixed)
	found, _ := liveSession(t, db, fixture.Read(t, name))
	failure := errors.New("down")
	if err := db.Logins.Exchange(t.Context(), found, func() error { return failure }); !errors.Is(err, failure) {
		t.Fatal(err)
	}
	if err := db.Logins.Exchange(t.Context(), found, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := db.Logins.Exchange(t.Context(), found, func() error { t.Error("again"); return nil }); !errors.Is(err, session.ErrRevoked) {
		t.Fatal(err)
	}
}

// TestBusySession has one attempt hold a session for longer than another one is
// willing to wait.
func TestBusySession(t *testing.T) { fixture.Both(t, "core-7.0.18", busySession) }

func busySession(t *testing.T, name string) {
	t.Helper()
	dsn := fixture.Restore(t, name)
	if !strings.HasPrefix(name, "mysql/") {
		postgres.Exec(t, dsn, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); END $$")
	}
	db := openWith(t, dsn, cutover.Options{Wait: 20 * time.Millisecond}, fixed)
	found, user := liveSession(t, db, fixture.Read(t, name))
	if err := db.Logins.Issue(t.Context(), "c", cutover.Login{Request: []byte(`{}`), Session: found, UserID: user.ID}); err != nil {
		t.Fatal(err)
	}
	err := db.Logins.Exchange(t.Context(), found, func() error {
		if err := db.Logins.Exchange(t.Context(), found, func() error { t.Error("two at once"); return nil }); !errors.Is(err, cutover.ErrBusy) {
			t.Errorf("a second exchange: %v", err)
		}
		if err := db.Logins.Redeem(t.Context(), "c", found); !errors.Is(err, cutover.ErrBusy) {
			t.Errorf("a code meanwhile: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Logins.Redeem(t.Context(), "c", found); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("afterwards: %v", err)
	}
}

// TestForgottenFailuresAreDeleted: names that somebody made up must not fill the
// database.
func TestForgottenFailuresAreDeleted(t *testing.T) {
	fixture.Both(t, "core-9.3.0", forgottenFailuresAreDeleted)
}

func forgottenFailuresAreDeleted(t *testing.T, name string) {
	t.Helper()
	now := fixtureTime
	dsn := fixture.Restore(t, name)
	db := open(t, dsn, "", func() time.Time { return now })
	for _, name := range []string{"a", "b", "c"} {
		if _, err := db.Failures.Fail(t.Context(), "lazy", name, 3, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(11 * time.Minute)
	if _, err := db.Failures.Fail(t.Context(), "lazy", "d", 3, time.Minute); err != nil {
		t.Fatal(err)
	}
	if n := fixture.Value[int](t, dsn, "SELECT count(*) FROM "+bridgeSchema(dsn)+".failure"); n != 1 {
		t.Errorf("%d rows are left, want that of d", n)
	}
}

// TestFailuresAreAllCounted fails at two instances at once, for one subject that is new.
func TestFailuresAreAllCounted(t *testing.T) {
	fixture.Both(t, "core-9.3.0", func(t *testing.T, name string) {
		t.Helper()
		const attempts = 50
		dsn := fixture.Restore(t, name)
		instances := []*cutover.DB{open(t, dsn, "", fixed), open(t, dsn, "", fixed)}
		var wg sync.WaitGroup
		locked := make(chan bool, attempts)
		for i := range attempts {
			wg.Go(func() {
				is, err := instances[i%2].Failures.Fail(t.Context(), "lazy", "a", attempts, time.Minute)
				if err != nil {
					t.Error(err)
				}
				if is {
					locked <- true
				}
			})
		}
		wg.Wait()
		if n := fixture.Value[int](t, dsn, "SELECT failures FROM "+bridgeSchema(dsn)+".failure"); n != attempts || len(locked) != 1 {
			t.Errorf("%d failures were counted, %d locked", n, len(locked))
		}
	})
}

func TestLockOut(t *testing.T) { fixture.Both(t, "core-9.3.0", lockOut) }

func lockOut(t *testing.T, name string) {
	t.Helper()
	now := fixtureTime
	dsn := fixture.Restore(t, name)
	clock := func() time.Time { return now }
	db, other := open(t, dsn, "", clock), open(t, dsn, "", clock)
	locked := func(want bool) {
		t.Helper()
		until, err := other.Failures.Locked(t.Context(), "lazy", "a@b")
		if err != nil || !until.IsZero() != want {
			t.Fatalf("locked until %v, %v", until, err)
		}
	}
	for i := range 3 {
		locked(false)
		if got, err := db.Failures.Fail(t.Context(), "lazy", "a@b", 3, time.Minute); err != nil || got != (i == 2) {
			t.Fatalf("failure %d: %v, %v", i, got, err)
		}
	}
	locked(true)
	now = now.Add(61 * time.Second)
	locked(false)
	if got, err := db.Failures.Fail(t.Context(), "lazy", "a@b", 3, time.Minute); err != nil || !got {
		t.Fatalf("after the lock: %v, %v", got, err)
	}
	now = now.Add(61 * time.Second)
	locked(true) // twice as long
	if err := db.Failures.Succeed(t.Context(), "lazy", "a@b"); err != nil {
		t.Fatal(err)
	}
	locked(false)
	for range 2 { // anew, and when it is forgotten
		if got, err := db.Failures.Fail(t.Context(), "lazy", "once", 1, time.Minute); err != nil || !got {
			t.Fatalf("one failure is too many: %v, %v", got, err)
		}
		if until, err := other.Failures.Locked(t.Context(), "lazy", "once"); err != nil || until.Sub(now) != time.Minute {
			t.Errorf("locked until %v, %v", until, err)
		}
		now = now.Add(12 * time.Minute)
	}
	if until, err := db.Failures.Locked(t.Context(), "other", "a@b"); err != nil || !until.IsZero() {
		t.Errorf("another surface is locked: %v", err)
	}
}

// TestPasswordsOfTheTruth checks clear passwords of every scheme.
func TestPasswordsOfTheTruth(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core-3.3.0", "core-9.3.0", "modelled-12.0-migrated", "mysql/core-3.3.0", "mysql/core-9.3.0", "mysql/core-10.1.4-traps"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := fixture.Read(t, name)
			db := open(t, fixture.Restore(t, name), tr.FirebaseSignerKey, fixed)
			tried := map[string]int{}
			for _, a := range tr.Accounts {
				for _, l := range a.LoginMethods {
					if a.AppID != "public" || l.ClearPassword == "" || tried[l.PasswordFormat] == 1 || len(l.Tenants) == 0 {
						continue
					}
					c, err := db.Passwords.Candidate(t.Context(), l.Tenants[0], l.Email)
					if err != nil || c.User.ID != a.VisibleID {
						t.Errorf("%s: candidate %v, %v", l.Email, c.User, err)
						continue
					}
					if name == "modelled-12.0-migrated" && l.PasswordFormat != "bcrypt" {
						continue // found by address in the tables of core 12; that is what is new there
					}
					tried[l.PasswordFormat]++
					for password, want := range map[string]bool{l.ClearPassword: true, l.ClearPassword + "x": false, "": false} {
						if ok, err := db.Passwords.Check(c, canonical.NewSecret(password), c.Hash.Scheme); err != nil || ok != want && len(password) < 72 {
							t.Errorf("%s (%s): accepted %v, %v; want %v", l.Email, l.PasswordFormat, ok, err, want)
						}
					}
				}
			}
			if tried["bcrypt"] == 0 || name == "core-9.3.0" && (tried["firebase_scrypt"] == 0 || tried["argon2id"] == 0) {
				t.Errorf("tried %v", tried)
			}
			if _, err := db.Passwords.Candidate(t.Context(), "public", "nobody@nowhere.example"); !errors.Is(err, session.ErrNoUser) {
				t.Errorf("nobody: %v", err)
			}
			if _, err := db.Passwords.Candidate(t.Context(), "elsewhere", tr.Accounts[0].LoginMethods[0].Email); tr.Generation == "G4" && !errors.Is(err, session.ErrNoUser) {
				t.Errorf("another tenant: %v", err)
			}
		})
	}
}

// TestNobodyTakesAsLong: there is something to compute for nobody, whatever kind
// of hash is checked.
func TestNobodyTakesAsLong(t *testing.T) {
	t.Parallel()
	db := open(t, fixture.Restore(t, "core-3.3.0"), "c2lnbmVyIGtleSBvZiBub2JvZHk=", fixed)
	for _, scheme := range []canonical.Scheme{canonical.Bcrypt, canonical.Argon2id, canonical.Argon2i, canonical.FirebaseScrypt} {
		if good, err := db.Passwords.Check(cutover.Candidate{}, canonical.NewSecret("x"), scheme); err != nil || good {
			t.Errorf("%s: %v, %v", scheme, good, err)
		}
	}
}

func TestWhoIsStillToCome(t *testing.T) { fixture.Both(t, "core-9.3.0", whoIsStillToCome) }

func whoIsStillToCome(t *testing.T, name string) {
	t.Helper()
	tr := fixture.Read(t, name)
	db := open(t, fixture.Restore(t, name), tr.FirebaseSignerKey, fixed)
	want := map[string]bool{}
	var one fixture.Login
	for _, a := range tr.Accounts {
		for _, l := range a.LoginMethods {
			if a.AppID == "public" && l.PasswordFormat == "firebase_scrypt" {
				want[a.InternalID], one = true, l
			}
		}
	}
	count := func(waiting, arrived int) {
		t.Helper()
		w, a, err := db.Passwords.Waiting(t.Context(), []canonical.Scheme{canonical.FirebaseScrypt})
		if err != nil || w != waiting || a != arrived {
			t.Errorf("%d waiting, %d arrived, %v; want %d, %d", w, a, err, waiting, arrived)
		}
	}
	count(len(want), 0)
	c, err := db.Passwords.Candidate(t.Context(), one.Tenants[0], one.Email)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := db.Passwords.Arrived(t.Context(), c.User); err != nil {
			t.Fatal(err)
		}
	}
	count(len(want)-1, 1)
}

// TestLeastPrivilege does everything with a role that has the documented rights
// and no others.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core-3.1.0", "core-3.3.0", "core-9.3.0", "modelled-12.0-migrated"} {
		t.Run(name, func(t *testing.T) { // in turn: roles belong to the server
			tr := fixture.Read(t, name)
			dsn := fixture.Restore(t, name)
			admin, err := pgx.Connect(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				ctx := context.WithoutCancel(t.Context())
				_, err := admin.Exec(ctx, "DROP OWNED BY stetl_bridge_test; DROP ROLE stetl_bridge_test")
				if err := errors.Join(err, admin.Close(ctx)); err != nil {
					t.Error(err)
				}
			})
			tables, err := supertokens.FindTables(t.Context(), admin, supertokens.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, sql := range append([]string{"CREATE ROLE stetl_bridge_test LOGIN PASSWORD 'x'"}, cutover.Grants(tables, "", "stetl_bridge_test", true)...) {
				if _, err := admin.Exec(t.Context(), sql); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
			}
			u, err := url.Parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			u.User = url.UserPassword("stetl_bridge_test", "x")
			db := open(t, u.String(), tr.FirebaseSignerKey, fixed)
			found, user := liveSession(t, db, tr)
			first, err := db.SigningKey(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if second, err := db.SigningKey(t.Context()); err != nil || !reflect.DeepEqual(second, first) {
				t.Errorf("another key: %v", err)
			}
			c, errCandidate := db.Passwords.Candidate(t.Context(), "public", tr.ResetTokens[0].Email)
			_, _, errWaiting := db.Passwords.Waiting(t.Context(), []canonical.Scheme{canonical.Bcrypt})
			_, errFail := db.Failures.Fail(t.Context(), "s", "x", 3, time.Minute)
			_, errLocked := db.Failures.Locked(t.Context(), "s", "x")
			nothing := func(cutover.Link) error { return nil }
			var live fixture.OneTime
			for _, v := range tr.VerificationTokens {
				if !v.Expired && v.AppID == "public" {
					live = v
				}
			}
			for what, err := range map[string]error{
				"candidate": errCandidate, "waiting": errWaiting, "fail": errFail, "locked": errLocked,
				"arrived": db.Passwords.Arrived(t.Context(), c.User),
				"succeed": db.Failures.Succeed(t.Context(), "s", "x"),
				"reset":   db.Links.ConsumeReset(t.Context(), tr.ResetTokens[0].Token, false, nothing),
				"verify":  db.Links.ConsumeVerification(t.Context(), live.Token, nothing),
				"issue":   db.Logins.Issue(t.Context(), "c", cutover.Login{Request: []byte(`{}`), Session: found, UserID: user.ID}),
			} {
				if err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			if l, err := db.Logins.Get(t.Context(), "c"); err != nil {
				t.Errorf("get: %v", err)
			} else if err := db.Logins.Redeem(t.Context(), "c", l.Session); err != nil {
				t.Errorf("redeem: %v", err)
			}
			conn, err := pgx.Connect(t.Context(), u.String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
			for _, sql := range []string{"DELETE FROM emailpassword_users", "UPDATE emailpassword_users SET email = 'x'", "DELETE FROM key_value", "INSERT INTO session_info DEFAULT VALUES", "SELECT 1 FROM user_metadata"} {
				_, err := conn.Exec(t.Context(), sql)
				if err == nil || !strings.Contains(err.Error(), "permission denied") && !strings.Contains(err.Error(), "does not exist") {
					t.Errorf("%s: %v", sql, err)
				}
			}
		})
	}
}

// TestRoleThatReadsNoHashes serves everything but the check of passwords.
func TestRoleThatReadsNoHashes(t *testing.T) {
	t.Parallel()
	for i, name := range []string{"core-3.3.0", "core-9.3.0"} {
		tr, dsn := fixture.Read(t, name), fixture.Restore(t, name)
		admin, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		role := fmt.Sprintf("stetl_bridge_no_hashes_%d_%d", os.Getpid(), i)
		t.Cleanup(func() {
			ctx := context.WithoutCancel(t.Context())
			_, err := admin.Exec(ctx, "DROP OWNED BY "+role+"; DROP ROLE "+role)
			if err := errors.Join(err, admin.Close(ctx)); err != nil {
				t.Error(err)
			}
		})
		tables, err := supertokens.FindTables(t.Context(), admin, supertokens.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, sql := range append([]string{"CREATE ROLE " + role + " LOGIN PASSWORD 'x'"}, cutover.Grants(tables, "", role, false)...) {
			if _, err := admin.Exec(t.Context(), sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(role, "x")
		store, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(u.String())}, session.Config{Now: fixed, Connections: 4, WithoutHashes: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		db, err := cutover.Open(t.Context(), store, cutover.Options{})
		if err != nil {
			t.Fatal(err)
		}
		worksWithoutHashes(t, db, name, tr)
		if _, err := store.Database().Exec(t.Context(), "SELECT password_hash FROM emailpassword_users LIMIT 1"); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s: the role reads hashes: %v", name, err)
		}
	}
}

func TestSigningKeyIsChecked(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "canary", "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n"} {
		if _, err := cutover.ParseSigningKey(canonical.NewSecret(text)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v", err)
		}
	}
	for curve, good := range map[elliptic.Curve]bool{elliptic.P256(): true, elliptic.P384(): false} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cutover.ParseSigningKey(canonical.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))); (err == nil) != good {
			t.Errorf("a key of the curve %s: %v", curve.Params().Name, err)
		}
	}
}

// TestBcryptVariants: all of them are computed alike, as cores do, with bytes that have
// the highest bit, too.
func TestBcryptVariants(t *testing.T) {
	t.Parallel()
	const password = "pässword"
	made, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for _, variant := range []string{"2a", "2b", "2x", "2y"} {
		hash := canonical.ParsePasswordHash("$" + variant + string(made[3:]))
		for try, want := range map[string]bool{password: true, "password": false} {
			if got, err := cutover.VerifyPassword(hash, canonical.NewSecret(try), canonical.Secret{}); err != nil || got != want {
				t.Errorf("%s with %s: %v, %v", variant, try, got, err)
			}
		}
	}
}

// worksWithoutHashes uses what a role can do that may not read hashes.
func worksWithoutHashes(t *testing.T, db *cutover.DB, name string, tr fixture.Truth) {
	t.Helper()
	liveSession(t, db, tr)
	if err := db.Links.ConsumeReset(t.Context(), tr.ResetTokens[0].Token, true, func(l cutover.Link) error {
		if l.Email != tr.ResetTokens[0].Email || l.User.ID != tr.ResetTokens[0].VisibleID {
			t.Errorf("%s: the link is of %+v", name, l)
		}
		return nil
	}); err != nil {
		t.Errorf("%s: a reset link: %v", name, err)
	}
	if c, err := db.Passwords.Candidate(t.Context(), "public", tr.ResetTokens[0].Email); err != nil || c.User.ID != tr.ResetTokens[0].VisibleID {
		t.Errorf("%s: an account by its address: %+v, %v", name, c.User, err)
	}
}
