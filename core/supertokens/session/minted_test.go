package session_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/mint"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// queries counts what a store asks the database.
type queries struct{ n atomic.Int64 }

func (q *queries) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	q.n.Add(1)
	return ctx
}

func (*queries) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// mostForUser bounds the queries of [session.Store.User]. Before core 6.0 no list
// names all logins; most accounts have one login, which gave them their id.
func mostForUser(tr fixture.Truth, a fixture.Account) int64 {
	switch {
	case tr.Generation < "G3":
		return 5
	case len(a.LoginMethods) == 1 && a.LoginMethods[0].ID == a.InternalID:
		return 2
	default:
		return 4
	}
}

// TestSessionOfEveryLogin mints a session for every login method of every account of
// every fixture, and compares whose it is found to be.
func TestSessionOfEveryLogin(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.Names(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := fixture.Read(t, name)
			dsn := fixture.Restore(t, name)
			minted := 0
			for _, app := range tr.Apps {
				asked := &queries{}
				store := openTraced(t, dsn, app.AppID, asked)
				m := (*mint.Minter)(nil)
				for _, a := range tr.Accounts {
					for _, l := range a.LoginMethods {
						if a.AppID != app.AppID {
							continue
						}
						if m == nil {
							m = mint.New(t, store)
						}
						found, err := store.VerifyAccess(t.Context(), m.Session(t, l.VisibleID, a.VisibleID), session.Check{})
						if err != nil {
							t.Errorf("session of login %s: %v", l.VisibleID, err)
							continue
						}
						minted++
						before := asked.n.Load()
						u, err := store.User(t.Context(), found)
						if n := asked.n.Load() - before; n > mostForUser(tr, a) {
							t.Errorf("session of login %s took %d queries, want at most %d", l.VisibleID, n, mostForUser(tr, a))
						}
						if want := (session.User{ID: a.VisibleID, InternalID: a.InternalID, LoginID: l.ID}); err != nil || u != want {
							t.Errorf("session of login %s is of %+v, %v; want %+v", l.VisibleID, u, err, want)
						}
					}
				}
			}
			if minted == 0 {
				t.Error("no session was minted")
			}
		})
	}
}

func openTraced(t *testing.T, dsn, app string, tracer pgx.QueryTracer) *session.Store {
	t.Helper()
	s, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(dsn), App: app},
		session.Config{Now: fixed, Connections: 2, Tracer: tracer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestTwins has two accounts whose external ids differ by a blank at the end. A
// session is never somebody else's, however the row and the token spell the id.
func TestTwins(t *testing.T) {
	t.Parallel()
	sql, err := os.ReadFile("testdata/s1-twin.sql")
	if err != nil {
		t.Fatal(err)
	}
	dsn := fixture.Restore(t, "core-10.1.4")
	postgres.Exec(t, dsn, string(sql))
	store := open(t, dsn, "public", fixtureTime)
	m := mint.New(t, store)
	for _, id := range []string{"acct-7", "acct-7 "} {
		want := postgres.Value[string](t, dsn, "SELECT supertokens_user_id::text FROM userid_mapping WHERE external_user_id = $1", id)
		found, err := store.VerifyAccess(t.Context(), m.Session(t, id, id), session.Check{})
		if err != nil {
			t.Fatal(err)
		}
		if u, err := store.User(t.Context(), found); err != nil || u.ID != id || u.InternalID != want || u.LoginID != want {
			t.Errorf("session of %q is of %+v, %v; want %s", id, u, err, want)
		}
		if ids, err := store.LoginIDs(t.Context(), session.User{InternalID: want}); err != nil || fmt.Sprintf("%q", ids) != fmt.Sprintf("%q", []string{id, want}) {
			t.Errorf("ids of %q: %q, %v", id, ids, err)
		}
		if n, err := store.RevokeAll(t.Context(), session.Selection{UserID: id}); err != nil || n != 1 {
			t.Errorf("revoked %d sessions of %q, %v", n, id, err)
		}
	}
	// The row of one twin with the token of the other.
	mixed := m.Session(t, "acct-7", "acct-7")
	postgres.Exec(t, dsn, "UPDATE session_info SET user_id = 'acct-7 ' WHERE user_id = 'acct-7'")
	if _, err := store.VerifyAccess(t.Context(), mixed, session.Check{}); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("row of the other twin: %v", err)
	}
	// Without a twin, a blank more is nobody's.
	for _, id := range []string{"acct-7  ", "ACCT-7", " acct-7"} {
		if u, err := store.UserByVisibleID(t.Context(), id); !errors.Is(err, session.ErrNoUser) {
			t.Errorf("%q: %+v, %v", id, u, err)
		}
	}
	internal := postgres.Value[string](t, dsn, "SELECT supertokens_user_id::text FROM userid_mapping WHERE external_user_id = 'acct-7'")
	if u, err := store.UserByVisibleID(t.Context(), internal+" "); !errors.Is(err, session.ErrNoUser) {
		t.Errorf("an internal id with a blank that no column has added: %+v, %v", u, err)
	}
	if u, err := store.UserByInternalID(t.Context(), internal+"  "); err != nil || u.ID != "acct-7" {
		t.Errorf("an internal id with blanks: %+v, %v", u, err)
	}
}

// TestSharedIDIsNobodys has its own error, and revoking does not guess either.
func TestSharedIDIsNobodys(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-10.1.4")
	postgres.Exec(t, dsn, `WITH u AS (SELECT user_id, row_number() OVER (ORDER BY user_id) n FROM emailpassword_users WHERE app_id = 'public' AND user_id NOT IN (SELECT supertokens_user_id FROM userid_mapping))
		INSERT INTO userid_mapping (app_id, supertokens_user_id, external_user_id) SELECT 'public', a.user_id, b.user_id FROM u a, u b WHERE a.n = 1 AND b.n = 2`)
	id := postgres.Value[string](t, dsn, "SELECT external_user_id FROM userid_mapping WHERE external_user_id IN (SELECT user_id::text FROM emailpassword_users)")
	store := open(t, dsn, "public", fixtureTime)
	if _, err := store.UserByVisibleID(t.Context(), id); !errors.Is(err, session.ErrSharedID) || !errors.Is(err, session.ErrNoUser) {
		t.Errorf("error %v", err)
	}
	if u, err := store.UserByInternalID(t.Context(), id); err != nil || u.InternalID != id {
		t.Errorf("by the internal id: %+v, %v", u, err)
	}
	if _, _, err := store.Count(t.Context(), session.Selection{UserID: id}); !errors.Is(err, session.ErrSharedID) {
		t.Errorf("count: %v", err)
	}
}
