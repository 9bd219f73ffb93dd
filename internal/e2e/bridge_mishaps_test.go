//go:build unix

package e2e_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/chromium"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/mint"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// testMishaps is the day of the switch on which things go wrong: an account that was not
// loaded, a secret that was mistyped, a database that is away. Nobody loses a session, and
// everybody is signed in once it is repaired. The identity provider is imported from the
// discovery document, so that a logout passes through the bridge, and comes back.
func testMishaps(t *testing.T, server *keycloak.Server) {
	t.Helper()
	browser := chromium.Start(t)
	c := startCutOver(t, server, "mishaps", false)
	sessions := c.sessions(t)
	if len(sessions) < 3 {
		t.Fatalf("only %d sessions of loaded users", len(sessions))
	}
	broker := importBroker(t, c)
	left := func(s fixture.Session) int {
		return postgres.Value[int](t, c.dsn, "SELECT count(*) FROM session_info WHERE session_handle = $1", s.Handle)
	}
	window := func(s fixture.Session) context.Context {
		t.Helper()
		tab := chromium.Private(t, browser)
		if err := c.app.seed(tab, s.Access); err != nil {
			t.Fatal(err)
		}
		return tab
	}
	// sees is what a visitor gets to see, at the application or before.
	sees := func(tab context.Context, path string) string {
		t.Helper()
		text, err := "", chromedp.Do(tab, chromedp.Navigate(c.app.url+path))
		if err == nil {
			text, err = chromedp.Run(tab, chromedp.Text("body"))
		}
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(text), " ")
	}

	// A second window, a logout, and the way back.
	first := window(sessions[0])
	if got := sees(first, "/"); got != "user "+sessions[0].UserID {
		t.Fatalf("the first window: %q", got)
	}
	if got := sees(chromium.Beside(t, first), "/"); got != "user "+sessions[0].UserID {
		t.Errorf("a second window: %q", got)
	}
	if got := sees(first, "/logout"); got != "bye" {
		t.Errorf("the logout ends at %q", got)
	}
	for _, path := range []string{"/", "/?plain=1"} {
		if got := sees(first, path); got != "error login_required" {
			t.Errorf("after the logout, %s: %q", path, got)
		}
	}

	// Somebody who has come since the run.
	access := lateComer(t, c.dsn)
	late := window(fixture.Session{Access: access})
	if got := sees(late, "/"); got != "error login_required" {
		t.Errorf("an account that was not loaded: %q", got)
	}
	if n := postgres.Value[int](t, c.dsn, "SELECT count(*) FROM session_info WHERE user_id = $1", lateID); n != 1 {
		t.Errorf("an account that was not loaded has %d sessions", n)
	}

	second := window(sessions[1])
	broker("a wrong secret")
	got := sees(second, "/")
	if strings.HasPrefix(got, "user ") || left(sessions[1]) != 1 {
		t.Errorf("a wrong secret: %q, %d sessions", got, left(sessions[1]))
	}
	t.Logf("a wrong secret: %q", got)
	broker("bridge-secret")
	if got := sees(second, "/"); got != "user "+sessions[1].UserID || left(sessions[1]) != 0 {
		t.Errorf("with the right secret: %q, %d sessions", got, left(sessions[1]))
	}

	third := window(sessions[2])
	open := shut(t, c.dsn)
	got = sees(third, "/")
	t.Logf("a dead database: %q", got)
	if strings.HasPrefix(got, "user ") || strings.Contains(got, "login_required") {
		t.Errorf("a dead database: %q", got)
	}
	if got := sees(chromium.Private(t, browser), "/"); got != "error login_required" {
		t.Errorf("a dead database, and no session: %q", got)
	}
	open()
	if got := sees(third, "/"); got != "user "+sessions[2].UserID || left(sessions[2]) != 0 {
		t.Errorf("when it is back: %q, %d sessions", got, left(sessions[2]))
	}
}

const lateID = "1a7ec03e-0000-4000-8000-000000000001"

// lateComer signs up with SuperTokens after the run, and has a session.
func lateComer(t *testing.T, dsn string) (access string) {
	t.Helper()
	for _, sql := range []string{
		"INSERT INTO app_id_to_user_id (user_id, recipe_id, primary_or_recipe_user_id) VALUES ($1::text, 'emailpassword', $1::text)",
		"INSERT INTO all_auth_recipe_users (user_id, primary_or_recipe_user_id, recipe_id, time_joined, primary_or_recipe_user_time_joined) VALUES ($1::text, $1::text, 'emailpassword', 1, 1)",
		"INSERT INTO emailpassword_users (user_id, email, password_hash, time_joined) VALUES ($1::text, 'late@example.com', 'x', 1)",
		"INSERT INTO emailpassword_user_to_tenant (user_id, email) VALUES ($1::text, 'late@example.com')",
	} {
		postgres.Exec(t, dsn, sql, lateID)
	}
	return minter(t, dsn).Session(t, lateID, lateID)
}

// minter makes sessions in a database as a core does.
func minter(t *testing.T, dsn string) *mint.Minter {
	t.Helper()
	store, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(dsn)}, session.Config{Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return mint.New(t, store)
}

// importBroker has the realm read the discovery document, as an administrator does, and
// returns how to change the client's secret there.
func importBroker(t *testing.T, c *cutOver) (secret func(string)) {
	t.Helper()
	const alias = "supertokens"
	path := "/realms/" + c.realm + "/identity-provider/"
	var imported map[string]any
	var instance map[string]any
	err := c.server.Admin(t.Context(), http.MethodPost, path+"import-config", map[string]any{"providerId": "oidc", "fromUrl": c.issuer + "/.well-known/openid-configuration"}, &imported)
	if err == nil {
		err = c.server.Admin(t.Context(), http.MethodGet, path+"instances/"+alias, nil, &instance)
	}
	if err != nil {
		t.Fatal(err)
	}
	config, _ := instance["config"].(map[string]any)
	for name, value := range imported {
		config[name] = value
	}
	if config["logoutUrl"] != c.issuer+"/end_session" || config["tokenUrl"] != c.issuer+"/oauth/token" {
		t.Fatalf("imported %v", imported)
	}
	secret = func(text string) {
		t.Helper()
		config["clientSecret"] = text
		if err := c.server.Admin(t.Context(), http.MethodPut, path+"instances/"+alias, instance, nil); err != nil {
			t.Fatal(err)
		}
	}
	secret("bridge-secret")
	return secret
}

// shut takes a database away from everybody, and gives it back.
func shut(t *testing.T, dsn string) (open func()) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	allow := func(yes string) { postgres.Exec(t, u.String(), `ALTER DATABASE "`+name+`" ALLOW_CONNECTIONS `+yes) }
	allow("false")
	postgres.Exec(t, u.String(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
	return func() { allow("true") }
}
