package session_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// fixtureTime is shortly after the fixtures were made; the tokens of old cores
// live for 25 days.
var fixtureTime = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func fixed() time.Time { return fixtureTime }

func open(t *testing.T, dsn, app string, now time.Time) *session.Store {
	t.Helper()
	s, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(dsn), App: app},
		session.Config{Now: func() time.Time { return now }, Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// account finds the account that the login method with this visible id belongs
// to.
func account(tr fixture.Truth, app, visibleID string) *fixture.Account {
	for i, a := range tr.Accounts {
		if a.AppID != app {
			continue
		}
		for _, l := range a.LoginMethods {
			if l.VisibleID == visibleID {
				return &tr.Accounts[i]
			}
		}
	}
	return nil
}

// TestEveryTokenAsTheTruthSays goes through all tokens of all fixtures.
func TestEveryTokenAsTheTruthSays(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "needs databases")
	versions, kinds := map[int]int{}, map[string]int{}
	t.Cleanup(func() {
		for _, v := range []int{2, 3, 4, 5} {
			if versions[v] == 0 {
				t.Errorf("no fixture has an access token of version %d: %v", v, versions)
			}
		}
		if kinds["key_value"] == 0 || kinds["dynamic"] == 0 || kinds["static"] == 0 {
			t.Errorf("kinds of keys: %v", kinds)
		}
	})
	for _, name := range fixture.AllNames(t) {
		t.Run(name, func(t *testing.T) { // in turn: they share the counters
			tr := fixture.Read(t, name)
			dsn := fixture.Restore(t, name)
			for _, s := range tr.Sessions {
				store := open(t, dsn, s.AppID, fixtureTime)
				var want error
				switch {
				case s.Revoked:
					want = session.ErrRevoked
				case s.Expired:
					want = session.ErrExpired
				}
				access := []string{s.Access}
				if s.LongLived != "" {
					access = append(access, s.LongLived)
				}
				current := s.Refresh // the refresh token that the row stands for
				if r := s.Refreshed; r != nil {
					access = append(access, r.Access)
					if r.Access2 != "" {
						access = append(access, r.Access2)
					}
					if r.ChildUsed {
						current = r.Refresh
					}
				}
				for i, token := range access {
					found, err := store.VerifyAccess(t.Context(), token, session.Check{Tenant: s.TenantID})
					if !errors.Is(err, want) {
						t.Errorf("session %s, access token %d: %v, want %v", s.Handle, i, err, want)
					}
					if err != nil {
						continue
					}
					versions[found.Version]++
					kinds[s.KeyKind]++
					if want := "V" + string(rune('0'+found.Version)); s.Version != want {
						t.Errorf("session %s: version %s, want %s", s.Handle, want, s.Version)
					}
					if found.Handle != s.Handle || found.RowUserID != s.UserID {
						t.Errorf("session %s: found %+v", s.Handle, found)
					}
					replaced := s.Refreshed != nil && s.Refreshed.ChildUsed && (token == s.Access || token == s.LongLived)
					if found.Current == replaced {
						t.Errorf("session %s, access token %d: current %v", s.Handle, i, found.Current)
					}
					checkUser(t, store, tr, s, found)
				}
				_, err := store.VerifyRefresh(t.Context(), current, session.Check{Tenant: s.TenantID})
				if !errors.Is(err, want) {
					t.Errorf("session %s, refresh token: %v, want %v", s.Handle, err, want)
				}
				if r := s.Refreshed; r != nil {
					if _, err := store.VerifyRefresh(t.Context(), r.Refresh, session.Check{}); err != nil {
						t.Errorf("session %s, child: %v", s.Handle, err)
					}
					_, err := store.VerifyRefresh(t.Context(), s.Refresh, session.Check{})
					if r.ChildUsed != errors.Is(err, session.ErrReplaced) {
						t.Errorf("session %s, parent after its child was used (%v): %v", s.Handle, r.ChildUsed, err)
					}
				}
			}
		})
	}
}

func checkUser(t *testing.T, store *session.Store, tr fixture.Truth, s fixture.Session, found session.Session) {
	t.Helper()
	u, err := store.User(t.Context(), found)
	if s.Orphan {
		if !errors.Is(err, session.ErrNoUser) {
			t.Errorf("session %s of nobody: %v", s.Handle, err)
		}
		return
	}
	a := account(tr, s.AppID, s.UserID)
	switch {
	case err != nil:
		t.Errorf("session %s: %v", s.Handle, err)
	case a == nil:
		t.Errorf("session %s: the truth knows no user %s", s.Handle, s.UserID)
	case u.ID != a.VisibleID || u.InternalID != a.InternalID:
		t.Errorf("session %s: user %+v, want %s (%s)", s.Handle, u, a.VisibleID, a.InternalID)
	case s.AccountID != "" && u.InternalID != s.AccountID:
		t.Errorf("session %s: account %s, want %s", s.Handle, u.InternalID, s.AccountID)
	}
}

// TestKeysEqualTruth compares with what the cores published, from the live
// database and from the dump.
func TestKeysEqualTruth(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.AllNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := fixture.Read(t, name)
			for source, o := range map[string]supertokens.Options{
				"live": {URL: canonical.NewSecret(fixture.Restore(t, name))},
				"dump": {Dump: fixture.Dump(t, name)},
			} {
				tables, err := supertokens.OpenTables(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				keys, err := session.ReadKeys(t.Context(), tables)
				if err := errors.Join(err, tables.Close()); err != nil {
					t.Fatal(err)
				}
				public, err := keys.JWKS()
				if err != nil {
					t.Fatal(err)
				}
				var set struct {
					Keys []map[string]string `json:"keys"`
				}
				if err := json.Unmarshal(public, &set); err != nil {
					t.Fatal(err)
				}
				if len(set.Keys) == 0 {
					t.Errorf("%s: no keys", source)
				}
				for _, want := range tr.PublicKeys.JWKS {
					if !slices.ContainsFunc(set.Keys, func(k map[string]string) bool {
						return k["kid"] == want["kid"] && k["n"] == want["n"] && k["e"] == want["e"] && k["d"] == ""
					}) {
						t.Errorf("%s: key %s is missing from %s", source, want["kid"], public)
					}
				}
				for _, k := range keys.All {
					if _, err := k.Private(); err != nil {
						t.Errorf("%s: %v", source, err)
					}
				}
			}
		})
	}
}
