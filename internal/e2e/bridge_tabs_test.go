//go:build unix

package e2e_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/stetl/stetl/internal/testserver/chromium"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// rounds is how often the tabs are opened: make test-bridge asks for thirty.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("STETL_TAB_ROUNDS")
	if text == "" {
		return 3
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// testTabs opens the application in several tabs of one browser at once: people have
// the habit, and browsers that start again have it, too.
func testTabs(t *testing.T, server *keycloak.Server) {
	t.Helper()
	browser := chromium.Start(t)
	c := startCutOver(t, server, "tabs", false)
	m, user := minter(t, c.dsn), c.sessions(t)[0].UserID
	for round := range rounds(t) {
		for _, tabs := range []int{2, 3, 4} {
			c.openTabs(t, chromium.Private(t, browser), m.Session(t, user, user), user, tabs)
			if t.Failed() {
				t.Fatalf("round %d with %d tabs", round+1, tabs)
			}
		}
	}
}

// openTabs opens tabs beside a first one, whose browser gets a session of SuperTokens.
func (c *cutOver) openTabs(t *testing.T, first context.Context, access, user string, n int) { //nolint:contextcheck // every tab is a context
	t.Helper()
	tabs := []context.Context{first}
	if err := c.app.seed(first, access); err != nil {
		t.Fatal(err)
	}
	for len(tabs) < n {
		tabs = append(tabs, chromium.Beside(t, first))
	}
	type seen struct {
		text string
		err  error
	}
	saw := make(chan seen, n)
	for _, tab := range tabs {
		go func() {
			err := chromedp.Do(tab, chromedp.Navigate(c.app.url+"/"))
			text := ""
			if err == nil {
				text, err = chromedp.Run(tab, chromedp.Text("body"))
			}
			saw <- seen{text, err}
		}()
	}
	signedIn := 0
	for range n {
		s := <-saw
		if s.text == "user "+user {
			signedIn++
		}
		t.Logf("%d tabs: %q, %v", n, strings.Join(strings.Fields(s.text), " "), s.err)
	}
	left := postgres.Value[int](t, c.dsn, "SELECT count(*) FROM session_info WHERE session_handle LIKE 'minted-%'") //nolint:contextcheck // it takes the test's
	if left != 0 || signedIn == 0 {
		t.Errorf("%d of %d tabs are signed in, %d sessions of SuperTokens are left", signedIn, n, left)
	}
	for i, tab := range tabs {
		answer, _, err := c.app.visit(tab, "/?plain=1") //nolint:contextcheck // every tab is a context
		if err != nil || answer != "user "+user {
			t.Errorf("tab %d of %d, loaded again: %q, %v", i+1, n, answer, err)
		}
	}
	var sessions []struct {
		ID string `json:"id"`
	}
	path := "/realms/" + c.realm + "/users/" + url.PathEscape(user)
	if err := c.server.Admin(first, http.MethodGet, path+"/sessions", nil, &sessions); err != nil || len(sessions) != 1 {
		t.Errorf("the target has %d sessions, %v", len(sessions), err)
	}
	if err := c.server.Admin(first, http.MethodPost, path+"/logout", map[string]any{}, nil); err != nil {
		t.Fatal(err)
	}
}
