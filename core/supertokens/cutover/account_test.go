//go:build unix

package cutover_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/mint"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// twins are two password logins with external ids that differ by a blank at the end.
func twins(t *testing.T, dsn string) (logins map[string]string) {
	t.Helper()
	postgres.Exec(t, dsn, `INSERT INTO userid_mapping (app_id, supertokens_user_id, external_user_id)
		SELECT 'public', user_id, CASE row_number() OVER (ORDER BY user_id) WHEN 1 THEN 'acct-7' ELSE 'acct-7 ' END FROM emailpassword_users
		WHERE app_id = 'public' AND user_id NOT IN (SELECT supertokens_user_id FROM userid_mapping) AND user_id IN (SELECT primary_or_recipe_user_id FROM app_id_to_user_id) ORDER BY user_id LIMIT 2`)
	logins = map[string]string{}
	for _, id := range []string{"acct-7", "acct-7 "} {
		logins[id] = postgres.Value[string](t, dsn, "SELECT supertokens_user_id::text FROM userid_mapping WHERE external_user_id = $1", id)
	}
	return logins
}

// giveLink stores a token that verifies the address of a login, as mailed to an id.
func giveLink(t *testing.T, dsn, token, id, login string) (email string) {
	t.Helper()
	email = postgres.Value[string](t, dsn, "SELECT email FROM emailpassword_users WHERE user_id = $1::bpchar", login)
	postgres.Exec(t, dsn, "DELETE FROM emailverification_verified_emails WHERE email = $1", email)
	postgres.Exec(t, dsn, "INSERT INTO emailverification_tokens (app_id, tenant_id, user_id, email, token, token_expiry) VALUES ('public', 'public', $1, $2, encode(sha256($3::bytea), 'hex'), $4)",
		id, email, []byte(token), fixtureTime.UnixMilli()+1_000_000)
	return email
}

// TestTwinsKeepWhatIsTheirs: a hand-over, a link and a check of a password of one
// account never touch the other one.
func TestTwinsKeepWhatIsTheirs(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-10.1.4")
	logins := twins(t, dsn)
	db := open(t, dsn, "", fixed)
	m := mint.New(t, db.Sessions())
	for id, login := range logins {
		found, err := db.Sessions().VerifyAccess(t.Context(), m.Session(t, id, id), session.Check{})
		if err != nil {
			t.Fatal(err)
		}
		u, err := db.Sessions().User(t.Context(), found)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Logins.Issue(t.Context(), "code "+login, cutover.Login{Request: []byte(`{}`), Session: found, UserID: u.ID}); err != nil {
			t.Fatal(err)
		}
		if l, err := db.Logins.Get(t.Context(), "code "+login); err != nil || l.UserID != id {
			t.Errorf("the code of %q is for %q, %v", id, l.UserID, err)
		}
		if c, err := db.Passwords.Candidate(t.Context(), "public", id); err != nil || c.User.LoginID != login || c.User.ID != id {
			t.Errorf("the password of %q is that of %+v, %v", id, c.User, err)
		}
	}
	email := map[string]string{}
	for id, login := range logins {
		email[id] = giveLink(t, dsn, "link of "+id, id, login)
	}
	err := db.Links.ConsumeVerification(t.Context(), "link of acct-7 ", func(l cutover.Link) error {
		if l.User.ID != "acct-7 " || l.User.InternalID != logins["acct-7 "] {
			t.Errorf("the link is of %+v", l.User)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"acct-7": false, "acct-7 ": true} {
		if c, err := db.Passwords.Candidate(t.Context(), "public", email[id]); err != nil || c.Verified != want {
			t.Errorf("%q: verified %v, %v; want %v", id, c.Verified, err, want)
		}
	}
	if err := db.Links.PeekVerification(t.Context(), "link of acct-7"); err != nil {
		t.Errorf("the link of the other one: %v", err)
	}
}

// TestLinksInPaddedColumns is for databases upgraded from core 3.4, whose columns fill
// external ids up with blanks: an id is what is stored, if that is one, and else that
// without the blanks.
func TestLinksInPaddedColumns(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-10.1.4")
	logins := twins(t, dsn)
	postgres.Exec(t, dsn, `DELETE FROM emailverification_tokens; ALTER TABLE emailverification_tokens ALTER user_id TYPE char(36);
		DELETE FROM emailverification_verified_emails WHERE length(user_id) > 36; ALTER TABLE emailverification_verified_emails ALTER user_id TYPE char(36)`)
	db := open(t, dsn, "", fixed)
	email := giveLink(t, dsn, "padded", "acct-7", logins["acct-7"])
	check := func(token, login string) {
		t.Helper()
		err := db.Links.ConsumeVerification(t.Context(), token, func(l cutover.Link) error {
			if l.User.LoginID != login {
				t.Errorf("%s: the link is of %+v, want %s", token, l.User, login)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", token, err)
		}
	}
	check("padded", logins["acct-7"])
	if c, err := db.Passwords.Candidate(t.Context(), "public", email); err != nil || !c.Verified {
		t.Errorf("verified %v, %v", c.Verified, err)
	}
	// Somebody whose external id is exactly what is stored comes first.
	postgres.Exec(t, dsn, "UPDATE userid_mapping SET external_user_id = $1 WHERE external_user_id = 'acct-7 '", fmt.Sprintf("%-36s", "acct-7"))
	giveLink(t, dsn, "exact", "acct-7", logins["acct-7 "])
	check("exact", logins["acct-7 "])
	for internal, login := range map[string]string{"internal": logins["acct-7"]} { // as before it was mapped
		email := giveLink(t, dsn, internal, login, login)
		check(internal, login)
		if n := postgres.Value[int](t, dsn, "SELECT count(*) FROM emailverification_verified_emails WHERE user_id = 'acct-7' AND email = $1", email); n != 1 {
			t.Errorf("%d rows under the id where the core looks", n)
		}
	}
}

// TestLinkOfASharedID is for nobody.
func TestLinkOfASharedID(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-10.1.4")
	logins := twins(t, dsn)
	postgres.Exec(t, dsn, "UPDATE userid_mapping SET external_user_id = $1 WHERE external_user_id = 'acct-7 '", logins["acct-7"])
	giveLink(t, dsn, "shared", logins["acct-7"], logins["acct-7"])
	db := open(t, dsn, "", fixed)
	if err := db.Links.ConsumeVerification(t.Context(), "shared", func(cutover.Link) error { t.Error("used"); return nil }); !errors.Is(err, cutover.ErrNoLink) {
		t.Errorf("error %v", err)
	}
	if c, err := db.Passwords.Candidate(t.Context(), "public", logins["acct-7"]); !errors.Is(err, session.ErrNoUser) {
		t.Errorf("candidate %+v, %v", c.User, err)
	}
}

// TestOpenRefusesWhatIsNotWhole: without the table that maps ids, people would be
// handed over under ids that nobody knows.
func TestOpenRefusesWhatIsNotWhole(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-9.3.0")
	postgres.Exec(t, dsn, "DROP TABLE userid_mapping")
	store, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(dsn)}, session.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	_, err = cutover.Open(t.Context(), store, cutover.Options{})
	if gap, ok := errors.AsType[*supertokens.IncompleteError](err); !ok || gap.Gaps[0].Table != supertokens.UserIDMapping {
		t.Errorf("error %v", err)
	}
}

// TestOpenRefusesAModeThatCannotBe: people would be looked up in tenants that they are
// not in, or not found at all.
func TestOpenRefusesAModeThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fixture, mode string
		good          bool
	}{
		{"modelled-12.0-legacy", "MIGRATED", false},
		{"modelled-12.0-migrated", "LEGACY", false},
		{"core-9.3.0", "MIGRATED", false},
		{"modelled-12.0-migrated", "MIGRATED", true},
		{"modelled-12.0-legacy", "LEGACY", true},
		{"core-9.3.0", "LEGACY", true},
	} {
		o := supertokens.Options{URL: canonical.NewSecret(fixture.Restore(t, tt.fixture)), MigrationMode: tt.mode}
		store, err := session.Open(t.Context(), o, session.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		_, err = cutover.Open(t.Context(), store, cutover.Options{})
		gap, refused := errors.AsType[*supertokens.IncompleteError](err)
		if refused == tt.good || refused && gap.Gaps[0].Code != supertokens.GapMode || !refused && err != nil {
			t.Errorf("%s told to be %s: %v", tt.fixture, tt.mode, err)
		}
	}
}

type queries struct{ n atomic.Int64 }

func (q *queries) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	q.n.Add(1)
	return ctx
}

func (*queries) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestQueriesOfACandidate bounds what the check of a password asks the database.
func TestQueriesOfACandidate(t *testing.T) {
	t.Parallel()
	for name, most := range map[string]int64{"core-3.1.0": 5, "core-5.0.0": 6, "core-9.3.0": 7, "modelled-12.0-migrated": 10, "modelled-12.0-legacy": 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := &queries{}
			store, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(fixture.Restore(t, name))}, session.Config{Now: fixed, Tracer: asked})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(store.Close)
			db, err := cutover.Open(t.Context(), store, cutover.Options{})
			if err != nil {
				t.Fatal(err)
			}
			seen := int64(0)
			for _, a := range fixture.Read(t, name).Accounts {
				for _, l := range a.LoginMethods {
					if a.AppID != "public" || l.Recipe != "emailpassword" || len(l.Tenants) == 0 {
						continue
					}
					before := asked.n.Load()
					_, err := db.Passwords.Candidate(t.Context(), l.Tenants[0], l.Email)
					n := asked.n.Load() - before
					seen = max(seen, n)
					if n > most || err != nil && !errors.Is(err, session.ErrNoUser) {
						t.Errorf("%s took %d queries, want at most %d; %v", l.Email, n, most, err)
					}
				}
			}
			t.Logf("at most %d queries", seen)
		})
	}
}

// TestWaitingCountsAccounts compares the count in the database with a whole reading.
func TestWaitingCountsAccounts(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.AllNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := fixture.Restore(t, name)
			src, err := supertokens.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(dsn)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = src.Close() }()
			want := map[canonical.Scheme]int{}
			err = src.Read(t.Context(), func(b supertokens.Batch) error {
				for i := range b.Users {
					seen := map[canonical.Scheme]bool{}
					for _, l := range b.Users[i].Logins {
						if s := l.Password.Scheme; !l.Password.IsZero() && !seen[s] {
							seen[s] = true
							want[s]++
						}
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			db := open(t, dsn, "", fixed)
			for _, s := range []canonical.Scheme{canonical.Bcrypt, canonical.Argon2id, canonical.FirebaseScrypt} {
				if n, _, err := db.Passwords.Waiting(t.Context(), []canonical.Scheme{s}); err != nil || n != want[s] {
					t.Errorf("%s: %d are waiting, %v; want %d", s, n, err, want[s])
				}
			}
		})
	}
}
