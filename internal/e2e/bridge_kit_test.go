//go:build unix

package e2e_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/stetl/stetl/internal/testserver/chromium"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/mint"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// testKit is examples/handover against the real thing: the module in a browser, and three
// back ends, which get nothing told of what this test knows.
func testKit(t *testing.T, server *keycloak.Server) {
	t.Helper()
	browser := chromium.Start(t)
	c := startCutOver(t, server, "kit", false)
	m, user := minter(t, c.dsn), c.sessions(t)[0].UserID
	folder, err := filepath.Abs(filepath.Join("..", "..", "examples", "handover"))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "server")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./go/server")
	build.Dir = folder
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, backEnd := range []struct {
		name string
		argv []string
	}{{"go", []string{program}}, {"node", []string{"node", "node/server.mjs"}}, {"python", []string{"python3", "-B", "python/server.py"}}} {
		t.Run(backEnd.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), backEnd.argv[0], backEnd.argv[1:]...) //nolint:contextcheck // of the test inside
			if cmd.Err != nil {
				testenv.Skip(t, backEnd.name, cmd.Err.Error())
			}
			cmd.Dir = folder
			tryBackEnd(t, c, m, user, chromium.Private(t, browser), "kit-"+backEnd.name, cmd)
		})
	}
}

// tryBackEnd has a visitor with a session, and a client that is no browser, come to a back
// end that has a client of the realm to itself.
func tryBackEnd(t *testing.T, c *cutOver, m *mint.Minter, user string, tab context.Context, client string, cmd *exec.Cmd) {
	t.Helper()
	address := freeAddress(t) //nolint:contextcheck // it takes the test's
	app := "http://" + address
	err := c.server.Admin(tab, http.MethodPost, "/realms/"+c.realm+"/clients", map[string]any{
		"clientId": client, "publicClient": true, "standardFlowEnabled": true, "redirectUris": []string{app + "/callback"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "LISTEN="+address, "ISSUER="+c.issuer, "TARGET="+c.app.keycloak, "CLIENT_ID="+client, "BROWSER_FILES=browser")
	proc.Serve(t, "kit", cmd, "listening", time.Minute)
	shows := func() string {
		t.Helper()
		if err := chromedp.Do(tab, chromedp.Navigate(app+"/")); err != nil {
			t.Fatal(err)
		}
		for {
			text, err := chromedp.Run(tab, chromedp.Evaluate[string]("document.getElementById('answer')?.textContent || ''"))
			if text != "" {
				return text
			}
			if tab.Err() != nil { // an error else is of a page that has gone
				t.Fatal(tab.Err(), err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if got := shows(); got != "none" {
		t.Errorf("who has no session is shown %q", got)
	}
	if err := c.app.seed(tab, m.Session(t, user, user)); err != nil {
		t.Fatal(err)
	}
	front := `document.cookie = "sFrontToken=f; path=/"; localStorage.setItem("supertokens-x", "1"); ""`
	if err := chromedp.Do(tab, chromedp.Navigate(app+"/me")); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(tab, chromedp.Evaluate[string](front)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := shows(); got != "user "+user {
			t.Errorf("the application shows %q, want user %s", got, user)
		}
	}
	left, err := chromedp.Run(tab, chromedp.Evaluate[string](`[document.cookie, ...Object.keys(localStorage)].join(" ")`))
	if err != nil || strings.Contains(left, "sFrontToken") || strings.Contains(left, "supertokens-") {
		t.Errorf("left: %q, %v", left, err)
	}
	err = chromedp.Do(tab, chromedp.Navigate(c.app.url+"/cookies"))
	if err == nil {
		left, err = chromedp.Run(tab, chromedp.Text("#answer"))
	}
	if err != nil || strings.Contains(left, "sAccessToken") || !strings.Contains(left, "app") {
		t.Errorf("the browser has the cookies %q, %v", left, err)
	}
	if left := postgres.Value[int](t, c.dsn, "SELECT count(*) FROM session_info WHERE session_handle LIKE 'minted-%'"); left != 0 { //nolint:contextcheck // it takes the test's
		t.Errorf("%d sessions of SuperTokens are left", left)
	}

	token := m.Session(t, user, user)
	for _, want := range []int{http.StatusOK, http.StatusUnauthorized} {
		status, subject := switchOver(t, app, token) //nolint:contextcheck // it takes the test's
		if status != want || want == http.StatusOK && subject != user {
			t.Errorf("an application that is no browser: %d, user %q; want %d", status, subject, want)
		}
	}
}

// nativeApp does what docs/handover.md tells apps to do: it follows redirects by itself and
// asks for a ticket on the way. It returns the refresh token and the user.
func nativeApp(t *testing.T, c *cutOver, token string) (refresh, subject string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, address, authorization, kind, body string) (location string, text []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if kind != "" {
			req.Header.Set("Content-Type", kind)
		}
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if text, err = io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.Header.Get("Location"), text
	}
	const back, verifier = "com.example.app:/callback", "0123456789012345678901234567890123456789012345"
	sum := sha256.Sum256([]byte(verifier))
	next := c.app.keycloak + "/protocol/openid-connect/auth?" + url.Values{
		"client_id": {"app"}, "redirect_uri": {back}, "response_type": {"code"}, "scope": {"openid"}, "state": {"S"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "kc_idp_hint": {"supertokens"}, "prompt": {"none"},
	}.Encode()
	for range 10 {
		location, text := ask(http.MethodGet, next, "", "", "")
		if location == "" {
			t.Fatalf("a page for people: %s", text)
		}
		next = location
		if strings.HasPrefix(next, c.app.url+"/bridge#") {
			_, fragment, _ := strings.Cut(next, "#")
			wanted, err := url.ParseQuery(fragment)
			if err != nil || !strings.HasPrefix(wanted.Get("authorize"), c.issuer+"/authorize?") {
				t.Fatalf("a ticket for %q, %v", fragment, err)
			}
			_, answer := ask(http.MethodPost, c.issuer+"/handover/ticket", "Bearer "+token, "application/json",
				fmt.Sprintf(`{"client_id": %q, "code_challenge": %q}`, wanted.Get("client_id"), wanted.Get("code_challenge")))
			var got struct{ Ticket string }
			if err := json.Unmarshal(answer, &got); err != nil || got.Ticket == "" {
				t.Fatalf("no ticket: %s, %v", answer, err)
			}
			next = wanted.Get("authorize") + "&ticket=" + got.Ticket
		}
		if query, arrived := strings.CutPrefix(next, back+"?"); arrived {
			q, err := url.ParseQuery(query)
			if err != nil || q.Get("state") != "S" || q.Get("code") == "" {
				t.Fatalf("back with %q, %v", query, err)
			}
			_, answer := ask(http.MethodPost, c.app.keycloak+"/protocol/openid-connect/token", "", "application/x-www-form-urlencoded", url.Values{
				"grant_type": {"authorization_code"}, "client_id": {"app"}, "redirect_uri": {back}, "code": {q.Get("code")}, "code_verifier": {verifier},
			}.Encode())
			var tokens struct {
				Access  string `json:"access_token"`
				Refresh string `json:"refresh_token"`
			}
			if err := json.Unmarshal(answer, &tokens); err != nil {
				t.Fatal(err)
			}
			return tokens.Refresh, subjectOf(tokens.Access)
		}
	}
	t.Fatalf("the redirects do not end: %s", next)
	return "", ""
}

// switchOver is what a client does that has a token and no browser.
func switchOver(t *testing.T, app, token string) (status int, subject string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, app+"/switch", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var got handedOver
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, subjectOf(got.AccessToken)
}
