//go:build unix

package bridge_test

import (
	"strings"
	"testing"

	"github.com/stetl/stetl/core/bridge"
	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

// A trial says of every session of the fixture what a hand-over would, and takes nothing.
func TestTry(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	store, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(w.dsn)}, session.Config{Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	c := config.Bridge{Clients: []config.BridgeClient{{ID: "kc"}}}
	try := func(accounts bridge.Accounts, c config.Bridge, presented string) bridge.Trial {
		t.Helper()
		got, err := bridge.Try(t.Context(), store, accounts, c, presented)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	seen := map[bool]int{}
	for _, s := range w.truth.Sessions {
		if s.AppID != "public" {
			continue
		}
		good := !s.Revoked && !s.Expired && !s.Orphan
		for _, presented := range []string{s.Handle, s.Refresh} {
			got := try(loaded(true), c, presented)
			if s.Refreshed != nil && presented == s.Refresh {
				continue // whether an old token is good is another test's
			}
			if got.Would != good || got.Would == (got.Why != "") || good && (got.User == "" || got.Target == "" || got.Ends.IsZero()) {
				t.Errorf("session %s, good: %t: %+v", s.Handle, good, got)
			}
			seen[got.Would]++
		}
	}
	if seen[true] < 4 || seen[false] < 4 {
		t.Fatalf("seen %v", seen)
	}
	s := w.session(func(s fixture.Session) bool { return alive(s) })
	for why, got := range map[string]bridge.Trial{
		"no run has loaded":          try(loaded(false), c, s.Handle),
		"neither bridge.clients nor": try(loaded(true), config.Bridge{}, s.Handle),
		"2fa-completed":              try(loaded(true), config.Bridge{Clients: c.Clients, RequiredClaims: []string{"2fa-completed"}, ClaimsNamed: true}, s.Handle),
		"has been revoked":           try(loaded(true), c, "no-such-handle"),
		"signed by no key":           try(loaded(true), c, s.Access[:len(s.Access)-8]+"AAAAAAAA"),
	} {
		if got.Would || !strings.Contains(got.Why, why) {
			t.Errorf("%s: %+v", why, got)
		}
	}
	if w.sessions(s) != 1 {
		t.Error("a trial has ended a session")
	}
}
