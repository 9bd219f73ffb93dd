package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

func pick(t *testing.T, tr fixture.Truth, want func(fixture.Session) bool) fixture.Session {
	t.Helper()
	for _, s := range tr.Sessions {
		if want(s) {
			return s
		}
	}
	t.Fatal("the fixture has no such session")
	return fixture.Session{}
}

func plain(s fixture.Session) bool {
	return !s.Revoked && !s.Expired && !s.Orphan && s.TenantID == "public" && s.AntiCSRF == "" && s.Refreshed == nil
}

func TestRefusals(t *testing.T) { fixture.Both(t, "core-9.3.0", refusals) }

func refusals(t *testing.T, name string) {
	t.Helper()
	tr := fixture.Read(t, name)
	dsn := fixture.Restore(t, name)
	store := open(t, dsn, "public", fixtureTime)
	good := pick(t, tr, plain)
	csrf := pick(t, tr, func(s fixture.Session) bool { return s.AntiCSRF != "" && s.Refreshed == nil })
	other := pick(t, tr, func(s fixture.Session) bool { return s.TenantID != "public" })

	late := open(t, dsn, "public", time.UnixMilli(good.AccessExpiry).Add(time.Second))
	strangers := "app-two"
	for _, a := range tr.Apps {
		if a.AppID != "public" {
			strangers = a.AppID
		}
	}
	otherApp := open(t, dsn, strangers, fixtureTime)

	access := map[string]struct {
		store *session.Store
		token string
		check session.Check
		want  error
	}{
		"good":                    {store, good.Access, session.Check{}, nil},
		"expired":                 {late, good.Access, session.Check{}, session.ErrExpired},
		"of another app":          {otherApp, good.Access, session.Check{}, session.ErrSignature},
		"of another tenant":       {store, good.Access, session.Check{Tenant: other.TenantID}, session.ErrTenant},
		"of that tenant":          {store, other.Access, session.Check{Tenant: other.TenantID}, nil},
		"not of the first tenant": {store, other.Access, session.Check{Tenant: "public"}, session.ErrTenant},
		"no anti-CSRF":            {store, csrf.Access, session.Check{RequireAntiCSRF: true}, session.ErrAntiCSRF},
		"wrong anti-CSRF":         {store, csrf.Access, session.Check{RequireAntiCSRF: true, AntiCSRF: good.Handle}, session.ErrAntiCSRF},
		"right anti-CSRF":         {store, csrf.Access, session.Check{RequireAntiCSRF: true, AntiCSRF: csrf.AntiCSRF}, nil},
		"session without one":     {store, good.Access, session.Check{RequireAntiCSRF: true}, nil},
		"a refresh token":         {store, good.Refresh, session.Check{}, session.ErrMalformed},
	}
	for name, c := range access {
		if _, err := c.store.VerifyAccess(t.Context(), c.token, c.check); !errors.Is(err, c.want) {
			t.Errorf("access token %s: %v, want %v", name, err, c.want)
		}
	}
	tampered := []byte(good.Refresh)
	tampered[40] ^= 1
	refresh := map[string]struct {
		store *session.Store
		token string
		check session.Check
		want  error
	}{
		"good":              {store, good.Refresh, session.Check{}, nil},
		"of another app":    {otherApp, good.Refresh, session.Check{}, session.ErrSignature},
		"of another tenant": {store, good.Refresh, session.Check{Tenant: other.TenantID}, session.ErrTenant},
		"of that tenant":    {store, other.Refresh, session.Check{Tenant: other.TenantID}, nil},
		"no anti-CSRF":      {store, csrf.Refresh, session.Check{RequireAntiCSRF: true}, session.ErrAntiCSRF},
		"right anti-CSRF":   {store, csrf.Refresh, session.Check{RequireAntiCSRF: true, AntiCSRF: csrf.AntiCSRF}, nil},
		"an access token":   {store, good.Access, session.Check{}, session.ErrMalformed},
	}
	for name, c := range refresh {
		if _, err := c.store.VerifyRefresh(t.Context(), c.token, c.check); !errors.Is(err, c.want) {
			t.Errorf("refresh token %s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := store.VerifyRefresh(t.Context(), string(tampered), session.Check{}); err == nil {
		t.Error("a tampered refresh token was accepted")
	}
}

// TestRevokedOnce has many at once revoke the same session: one succeeds, and
// no token works afterwards.
func TestRevokedOnce(t *testing.T) { fixture.Both(t, "core-7.0.18", revokedOnce) }

func revokedOnce(t *testing.T, name string) {
	t.Helper()
	tr := fixture.Read(t, name)
	store := open(t, fixture.Restore(t, name), "public", fixtureTime)
	s := pick(t, tr, plain)
	found, err := store.VerifyAccess(t.Context(), s.Access, session.Check{})
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 10)
	var g errgroup.Group
	for range cap(results) {
		g.Go(func() error {
			results <- store.Database().Once(t.Context(), time.Minute, func(tx supertokens.Statements) error {
				return store.Revoke(t.Context(), tx, found)
			})
			return nil
		})
	}
	_ = g.Wait()
	close(results)
	won := 0
	for err := range results {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, session.ErrRevoked):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d attempts revoked the session, want one", won)
	}
	if _, err := store.VerifyAccess(t.Context(), s.Access, session.Check{}); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("access token: %v", err)
	}
	if _, err := store.VerifyRefresh(t.Context(), s.Refresh, session.Check{}); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("refresh token: %v", err)
	}
}

// TestGraceOfPreviousToken is about the columns of core 12.1, added as its
// changelog describes them.
func TestGraceOfPreviousToken(t *testing.T) {
	t.Parallel()
	tr := fixture.Read(t, "modelled-12.0-migrated")
	dsn := fixture.Restore(t, "modelled-12.0-migrated")
	s := pick(t, tr, plain)
	postgres.Exec(t, dsn, `ALTER TABLE session_info ADD prev_refresh_token_hash_2 varchar(128), ADD refresh_token_rotated_at bigint`)
	postgres.Exec(t, dsn, `UPDATE session_info SET prev_refresh_token_hash_2 = refresh_token_hash_2, refresh_token_hash_2 = 'newer', refresh_token_rotated_at = $1 WHERE session_handle = $2`,
		fixtureTime.UnixMilli(), s.Handle)
	soon := open(t, dsn, "public", fixtureTime.Add(10*time.Second))
	if _, err := soon.VerifyRefresh(t.Context(), s.Refresh, session.Check{}); err != nil {
		t.Errorf("within the grace period: %v", err)
	}
	later := open(t, dsn, "public", fixtureTime.Add(time.Minute))
	if _, err := later.VerifyRefresh(t.Context(), s.Refresh, session.Check{}); !errors.Is(err, session.ErrReplaced) {
		t.Errorf("after it: %v", err)
	}
}

func TestSelections(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core-3.3.0", "core-3.16.2-prefixed", "core-10.1.4", "mysql/core-3.3.0", "mysql/core-9.3.0-prefixed", "mysql/core-10.1.4"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := fixture.Read(t, name)
			dsn := fixture.Restore(t, name)
			store := open(t, dsn, "public", fixtureTime)
			rows := 0
			for _, s := range tr.Sessions {
				if !s.Revoked && s.AppID == "public" {
					rows++
				}
			}
			live, expired := statsOf(t, dsn)
			if live+expired != rows || expired != 1 {
				t.Errorf("%d live and %d expired sessions, want %d in all", live, expired, rows)
			}
			if n, _, err := store.Count(t.Context(), session.Selection{All: true}); err != nil || n != rows {
				t.Errorf("counted %d, %v; want %d", n, err, rows)
			}
			// Of a user: by the visible id of the account, all its login methods.
			var of fixture.Session
			for _, s := range tr.Sessions {
				if !s.Revoked && !s.Orphan && (of.Handle == "" || s.AccountID != "") {
					of = s
				}
			}
			id := account(tr, "public", of.UserID).VisibleID
			want := 0
			for _, s := range tr.Sessions {
				if a := account(tr, "public", s.UserID); !s.Revoked && a != nil && a.VisibleID == id {
					want++
				}
			}
			sel := session.Selection{UserID: id}
			counted, _, err := store.Count(t.Context(), sel)
			if err != nil || counted != want || want == 0 {
				t.Errorf("user %s has %d sessions, %v; want %d", id, counted, err, want)
			}
			if n, err := store.RevokeAll(t.Context(), sel); err != nil || n != want {
				t.Errorf("revoked %d, %v; want %d", n, err, want)
			}
			if _, err := store.VerifyAccess(t.Context(), of.Access, session.Check{}); !errors.Is(err, session.ErrRevoked) {
				t.Errorf("after the revocation: %v", err)
			}
			inTenant := session.Selection{Tenant: "customer-a"}
			hasTenants := !strings.Contains(name, "core-3.")
			if n, err := store.RevokeAll(t.Context(), inTenant); hasTenants && (err != nil || n != 1) || !hasTenants && err == nil {
				t.Errorf("tenant: revoked %d, %v", n, err)
			}
			if _, err := store.RevokeAll(t.Context(), session.Selection{}); err == nil {
				t.Error("nothing was selected, and something revoked")
			}
			if _, err := store.RevokeAll(t.Context(), session.Selection{All: true}); err != nil {
				t.Fatal(err)
			}
			if live, expired := statsOf(t, dsn); live+expired != 0 {
				t.Errorf("%d sessions are left", live+expired)
			}
		})
	}
}

func statsOf(t *testing.T, dsn string) (live, expired int) {
	t.Helper()
	tables, err := supertokens.OpenTables(t.Context(), supertokens.Options{URL: canonical.NewSecret(dsn)})
	if err != nil {
		t.Fatal(err)
	}
	stats, err := session.ReadStats(t.Context(), tables, fixtureTime)
	if err := errors.Join(err, tables.Close()); err != nil {
		t.Fatal(err)
	}
	aged := 0
	for _, a := range stats.ByAge {
		aged += a.Count
	}
	inTenants := 0
	for _, n := range stats.ByTenant {
		inTenants += n
	}
	if aged != stats.Live || inTenants != stats.Live {
		t.Errorf("the parts do not add up: %+v", stats)
	}
	return stats.Live, stats.Expired
}

// TestAddressOfAnORM: the pool reads addresses as the rest of the program does, and
// its own settings in them count.
func TestAddressOfAnORM(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-9.3.0")
	address := dsn + "&schema=public&connection_limit=5&pgbouncer=true&pool_max_conns=3&pool_max_conn_idle_time=1m"
	store, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(address)}, session.Config{Connections: 20})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if n := store.Database().Connections; n != 3 || store.Tables().Layout().Schema != "public" {
		t.Errorf("%d connections, schema %q", n, store.Tables().Layout().Schema)
	}
	_, err = session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(address), Schema: "other"}, session.Config{})
	if err == nil || !strings.Contains(err.Error(), "source.schema") {
		t.Errorf("two schemas told: %v", err)
	}
}

func TestMissingRightsAreNamed(t *testing.T) {
	t.Parallel()
	_, err := session.Open(t.Context(), supertokens.Options{Dump: "x.sql"}, session.Config{})
	if err == nil {
		t.Error("a dump has no sessions that could be revoked")
	}
	_, err = session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret("postgres://u:canary@[x/db")}, session.Config{})
	if err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
