//go:build unix

package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/testserver/betterauth"
	"github.com/stetl/stetl/internal/testserver/chromium"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// TestBetterAuthBridge: a browser with a session of the old system ends up signed in at
// Better Auth, as the same person, through the bridge as an OpenID provider. Without a
// session nobody does, a reset link that SuperTokens has mailed sets the password there, and
// without the bridge passwords work as before.
func TestBetterAuthBridge(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "needs Chromium and Node.js")
	browser := chromium.Start(t)
	const verify = "../../plugins/generic-sql/verify/index.js"
	s, tr, people := onPostgres(t), fixture.Read(t, bridgeFixture), readAccounts(t, bridgeFixture)
	betterauth.Start(t, betterauth.Options{DSN: s.dsn, Verify: verify}) // makes the tables
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	issuer := "http://" + address + "/bridge"
	config := filepath.Join(t.TempDir(), "better-auth.yaml")
	writeFile(t, config, fmt.Sprintf(`
source: {url: "${env:DATABASE}"}
target:
  plugin: generic-sql
  config: {url: "${env:APP}", preset: better-auth, with: [bridge], hashes: [bcrypt, argon2id, argon2i]}
bridge:
  listen: %s
  admin_listen: %s
  issuer: %s
  reset: {path: /auth/reset-password}
  clients: [{id: better-auth, secret: "${env:BRIDGE_SECRET}", redirect_uris: ["http://localhost:%d/api/auth/callback/supertokens"]}]
`, address, freeAddress(t), issuer, port))
	const secret = "a-secret-of-more-than-thirty-two-characters"
	env := []string{"DATABASE=" + fixture.Restore(t, bridgeFixture), "APP=" + s.dsn, "BRIDGE_SECRET=" + secret}
	if r := runStetl(t, env, "run", "--config", config); r.code != exitRejects && r.code != exitDone {
		t.Fatalf("run: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	bridge := launchBridge(t, config, address, env)
	server := betterauth.Start(t, betterauth.Options{DSN: s.dsn, Verify: verify, Bridge: issuer, BridgeSecret: secret, Port: port})
	app := &demo{t: t, url: server.Origin}
	here := s.pairs(t, `SELECT id, email FROM "user"`)
	before := s.rows(t, "user")

	seeds := startDemo(t) // its cookies are those of the bridge's host
	visited := 0
	for _, old := range tr.Sessions {
		if old.AppID != "public" || old.TenantID != "public" || old.Revoked || old.Expired || old.Orphan || old.Refreshed != nil || here[old.UserID] == "" || visited == 2 {
			continue
		}
		visited++
		tab := chromium.Private(t, browser)
		if err := seeds.seed(tab, old.Access); err != nil {
			t.Fatal(err)
		}
		if answer, shown, err := app.visit(tab, "/visit"); err != nil || answer != "user "+old.UserID {
			t.Errorf("who comes with a session of %s is %q after %v (%v)", old.UserID, answer, shown, err)
		}
	}
	if visited < 2 {
		t.Errorf("%d sessions of people who were loaded", visited)
	}
	stranger := chromium.Private(t, browser)
	if answer, _, err := app.visit(stranger, "/visit"); err != nil || !strings.HasPrefix(answer, "nobody") {
		t.Errorf("who comes without a session is %q (%v)", answer, err)
	}
	if now := s.rows(t, "user"); now != before {
		t.Errorf("sign-ins have changed users:\n%s\nbefore:\n%s", now, before)
	}

	reset := resetOfBetterAuth(t, func(token string) {
		chooseInBrowser(t, chromium.Private(t, browser), "http://"+address+"/auth/reset-password", token)
	}, tr, s, server, here)

	bridge.kill(t)
	for i := range people {
		password, ok := people[i].anyPassword()
		email := here[people[i].VisibleID]
		if !ok || email == "" || people[i].VisibleID == reset || people[i].format() == "firebase_scrypt" || people[i].format() == "argon2d" {
			continue
		}
		if got, err := server.SignIn(t.Context(), email, password); err != nil || got != people[i].VisibleID {
			t.Errorf("without the bridge %s signs in as %q (%v)", people[i].VisibleID, got, err)
		}
		return
	}
	t.Error("nobody has a password")
}

// resetOfBetterAuth follows the reset link of somebody, and says whose it was: the new
// password signs in, and sessions of before are over.
func resetOfBetterAuth(t *testing.T, choose func(token string), tr fixture.Truth, s *sqlSite, server *betterauth.Server, here map[string]string) string {
	t.Helper()
	for _, link := range tr.ResetTokens {
		email := here[link.VisibleID]
		if link.Expired || link.AppID != "public" || email == "" {
			continue
		}
		s.exec(t, `INSERT INTO "session" ("id", "expiresAt", "token", "updatedAt", "userId") VALUES ('before', '2040-01-01', 'before', '2026-01-01', '`+link.VisibleID+`')`)
		choose(link.Token)
		for password, want := range map[string]string{newPassword: link.VisibleID, newPassword + "x": ""} {
			if got, err := server.SignIn(t.Context(), email, password); err != nil || got != want {
				t.Errorf("%q signs in as %q (%v)", password, got, err)
			}
		}
		if left := s.pairs(t, `SELECT id, token FROM "session" WHERE id = 'before'`); len(left) != 0 {
			t.Error("a session of before goes on")
		}
		return link.VisibleID
	}
	t.Error("no reset link of somebody who was loaded")
	return ""
}
