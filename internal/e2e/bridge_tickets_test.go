//go:build unix

package e2e_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/stetl/stetl/internal/testserver/chromium"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// documentedPage is the page of docs/bridge.md that gets tickets.
func documentedPage(t *testing.T, issuer string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "bridge.md"))
	if err != nil {
		t.Fatal(err)
	}
	const block = "```html\n"
	_, script, found := strings.Cut(string(page), block)
	script, _, ends := strings.Cut(script, "```")
	if !found || !ends || !strings.Contains(script, "ticket({ issuer") {
		t.Fatal("docs/bridge.md has lost the page")
	}
	return strings.ReplaceAll(script, "https://api.example.com/auth/session/refresh/bridge", issuer)
}

// testTickets is an application in header mode: its tokens are in the storage of its
// pages, and no cookie has them. Its visitors get a session of Keycloak that lasts.
func testTickets(t *testing.T, server *keycloak.Server) {
	t.Helper()
	browser := chromium.Start(t)
	c := startCutOver(t, server, "tickets", true)
	s := c.sessions(t)[0]
	tab := chromium.Private(t, browser)
	if err := chromedp.Do(tab, chromedp.Navigate(c.app.url+"/store?access="+url.QueryEscape(s.Access)), chromedp.WaitVisible("#seeded")); err != nil {
		t.Fatal(err)
	}
	answer, _, err := c.app.visit(tab, "/")
	if err != nil || answer != "user "+s.UserID {
		t.Fatalf("the application says %q, %v", answer, err)
	}
	if answer, _, err := c.app.visit(tab, "/?plain=1"); err != nil || answer != "user "+s.UserID {
		t.Errorf("the second visit: %q, %v", answer, err)
	}
	if left := postgres.Value[int](t, c.dsn, "SELECT count(*) FROM session_info WHERE session_handle = $1", s.Handle); left != 0 {
		t.Errorf("%d sessions of SuperTokens are left", left)
	}
	err = server.Admin(t.Context(), http.MethodPost, "/realms/"+c.realm+"/clients", map[string]any{
		"clientId": "app", "publicClient": true, "standardFlowEnabled": true, "redirectUris": []string{"com.example.app:/callback"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	native := c.sessions(t)[1]
	if refresh, user := nativeApp(t, c, native.Refresh); refresh == "" || user != native.UserID {
		t.Errorf("an app on a phone: user %q, want %s, refresh token %t", user, native.UserID, refresh != "")
	}
	if answer, _, err := c.app.visit(chromium.Private(t, browser), "/"); err != nil || answer != "error login_required" {
		t.Errorf("who has no tokens: %q, %v", answer, err)
	}
}
