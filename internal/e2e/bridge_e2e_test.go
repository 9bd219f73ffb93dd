//go:build unix

package e2e_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/stetl/stetl/internal/testserver/chromium"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// demo is an application that has moved to Keycloak. Its visitors come with a
// cookie of SuperTokens, which /seed sets.
type demo struct {
	t             *testing.T
	url, keycloak string
	idToken       atomic.Value // of who came last
	ticketPage    string
}

func startDemo(t *testing.T) *demo {
	t.Helper()
	d := &demo{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /seed", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "sAccessToken", Value: r.URL.Query().Get("access"), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		_, _ = io.WriteString(w, `<p id="seeded">seeded</p>`)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		q := url.Values{
			"client_id": {"demo"}, "redirect_uri": {d.url + "/callback"}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s"}, "prompt": {"none"},
		}
		if r.URL.Query().Get("plain") == "" {
			q.Set("kc_idp_hint", "supertokens")
		}
		http.Redirect(w, r, d.keycloak+"/protocol/openid-connect/auth?"+q.Encode(), http.StatusFound)
	})
	mux.HandleFunc("GET /callback", d.callback)
	mux.HandleFunc("GET /store", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `<script>localStorage.setItem("st-access-token", %q)</script><p id="seeded">seeded</p>`, r.URL.Query().Get("access"))
	})
	mux.HandleFunc("GET /bridge", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, d.ticketPage) })
	mux.HandleFunc("GET /logout", func(w http.ResponseWriter, r *http.Request) {
		hint, _ := d.idToken.Load().(string)
		q := url.Values{"client_id": {"demo"}, "post_logout_redirect_uri": {d.url + "/bye"}, "id_token_hint": {hint}}
		http.Redirect(w, r, d.keycloak+"/protocol/openid-connect/logout?"+q.Encode(), http.StatusFound)
	})
	mux.HandleFunc("GET /cookies", func(w http.ResponseWriter, r *http.Request) {
		var names []string
		for _, c := range r.Cookies() {
			names = append(names, c.Name)
		}
		_, _ = fmt.Fprintf(w, `<p id="answer">cookies %s</p>`, html.EscapeString(strings.Join(names, " ")))
	})
	mux.HandleFunc("GET /handover.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join("..", "..", "examples", "handover", "browser", "handover.js"))
	})
	mux.HandleFunc("GET /bye", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `<p id="answer">bye</p>`) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	d.url = server.URL
	return d
}

func (d *demo) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("error") != "" {
		_, _ = fmt.Fprintf(w, `<p id="answer">error %s</p>`, html.EscapeString(q.Get("error")))
		return
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "redirect_uri": {d.url + "/callback"}, "client_id": {"demo"}}
	resp, err := http.PostForm(d.keycloak+"/protocol/openid-connect/token", form)
	if err != nil {
		d.t.Error(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	var tokens struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		IDToken      string `json:"id_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&tokens); err != nil || tokens.RefreshToken == "" {
		_, _ = fmt.Fprintf(w, `<p id="answer">no tokens: %d</p>`, resp.StatusCode)
		return
	}
	d.idToken.Store(tokens.IDToken)
	_, _ = fmt.Fprintf(w, `<p id="answer">user %s</p>`, html.EscapeString(subjectOf(tokens.AccessToken)))
}

// subjectOf reads a token that came straight from the server.
func subjectOf(token string) string {
	parts := strings.Split(token, ".")
	var c struct{ Sub string }
	if len(parts) != 3 {
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(raw, &c) != nil {
		return ""
	}
	return c.Sub
}

// visit opens the application and returns what it says, and the pages that were
// shown on the way.
func (d *demo) visit(tab context.Context, path string) (answer string, shown []string, err error) {
	var mu sync.Mutex
	stop, cancel := context.WithCancel(tab)
	defer cancel()
	err = chromedp.Listen(stop, func(ev any) {
		if e, ok := ev.(*page.EventFrameNavigated); ok {
			mu.Lock()
			shown = append(shown, e.Frame.URL)
			mu.Unlock()
		}
	})
	if err == nil {
		err = chromedp.Do(tab, chromedp.Navigate(d.url+path))
	}
	if err == nil {
		answer, err = chromedp.Run(tab, chromedp.Text("#answer"))
	}
	mu.Lock()
	defer mu.Unlock()
	return answer, slices.Clone(shown), err
}

func (d *demo) seed(tab context.Context, access string) error {
	return chromedp.Do(tab, chromedp.Navigate(d.url+"/seed?access="+url.QueryEscape(access)), chromedp.WaitVisible("#seeded"))
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// startBridge runs the executable until the end of the test, and then checks that
// it ends in order.
func startBridge(t *testing.T, config, address string, env []string) (logPath string, pid int) {
	t.Helper()
	b := launchBridge(t, config, address, env)
	return b.logPath, b.cmd.Process.Pid
}

// bridgeProcess is a running bridge.
type bridgeProcess struct {
	cmd     *exec.Cmd
	ended   chan error
	logPath string
	killed  bool
}

// kill ends the process as a machine that vanishes would, and its plugin by itself.
func (b *bridgeProcess) kill(t *testing.T) {
	t.Helper()
	b.killed = true
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-b.ended
}

func launchBridge(t *testing.T, config, address string, env []string) *bridgeProcess {
	t.Helper()
	b := &bridgeProcess{logPath: filepath.Join(t.TempDir(), "bridge.log"), ended: make(chan error, 1)}
	log, err := os.Create(b.logPath)
	if err != nil {
		t.Fatal(err)
	}
	b.cmd = command(context.WithoutCancel(t.Context()), t, env, "bridge", "--config", config)
	b.cmd.Stderr, b.cmd.Stdout = log, log
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { b.ended <- b.cmd.Wait() }()
	t.Cleanup(func() {
		if !b.killed {
			b.stop(t)
		}
		_ = log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(b.logPath)
			t.Logf("bridge: %s", text)
		}
	})
	deadline := time.After(time.Minute)
	for {
		resp, err := http.Get("http://" + address + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return b
			}
		}
		select {
		case err := <-b.ended:
			text, _ := os.ReadFile(b.logPath)
			b.ended <- err
			t.Fatalf("the bridge ended: %v\n%s", err, text)
		case <-deadline:
			t.Fatal("the bridge does not get ready")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (b *bridgeProcess) stop(t *testing.T) {
	t.Helper()
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-b.ended:
		if err != nil {
			t.Errorf("the bridge ended with %v", err)
		}
	case <-time.After(40 * time.Second):
		t.Error("the bridge does not end", b.cmd.Process.Kill())
		<-b.ended
	}
}

// cutOver is a realm that a run has loaded and an application of it, with a bridge
// beside them.
type cutOver struct {
	server      *keycloak.Server
	realm       string
	app         *demo
	address     string // of the bridge
	issuer      string
	dsn, config string
	env         []string
	logPath     string
	truth       fixture.Truth
}

const bridgeFixture = "core-9.3.0"

// startCutOver does what docs/bridge.md tells operators to do.
func startCutOver(t *testing.T, server *keycloak.Server, realmName string, headerMode bool) *cutOver {
	t.Helper()
	const clientSecret = "client+secret%with:signs"
	realm(t, server, realmName, clientSecret)
	c := &cutOver{server: server, realm: realmName, app: startDemo(t), address: freeAddress(t), dsn: fixture.Restore(t, bridgeFixture), truth: fixture.Read(t, bridgeFixture)}
	c.app.keycloak = server.URL() + "/realms/" + realmName
	c.issuer = "http://" + c.address + "/bridge"
	c.env = []string{
		"DATABASE=" + c.dsn, "SECRET=" + clientSecret, "URL=" + server.URL(), "REALM=" + realmName, "BRIDGE_SECRET=bridge-secret", "API_SECRET=api-secret",
	}
	page := ""
	if headerMode {
		page = `, ticket_page: "` + c.app.url + `/bridge"`
		c.app.ticketPage = documentedPage(t, c.issuer)
	}
	c.config = filepath.Join(t.TempDir(), "keycloak.yaml")
	writeFile(t, c.config, `
source: {url: "${env:DATABASE}"}
target:
  plugin: keycloak
  config: {url: "${env:URL}", realm: "${env:REALM}", client_id: stetl, client_secret: "${env:SECRET}", bridge_alias: supertokens,
    exchange_client_id: api, exchange_client_secret: "${env:API_SECRET}"}
bridge:
  listen: `+c.address+`
  admin_listen: `+freeAddress(t)+`
  issuer: `+c.issuer+`
  clients: [{id: keycloak, secret: "${env:BRIDGE_SECRET}", redirect_uris: ["`+c.app.keycloak+`/broker/supertokens/endpoint"]`+page+`}]
  exchange: {audience: "`+c.app.keycloak+`", origins: ["`+c.app.url+`"]}
  reset: {path: /auth/reset-password}
  verify_email: {path: /auth/verify-email}
  limits: {per_minute: 100000} # all browsers of a test have one address
`)
	prepareRealm(t, c)
	if r := runStetl(t, c.env, "run", "--config", c.config); r.code != exitRejects && r.code != exitDone {
		t.Fatalf("run: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	c.logPath, _ = startBridge(t, c.config, c.address, c.env)
	return c
}

// loaded tells whether the realm has a user of this id.
func (c *cutOver) loaded(ctx context.Context, id string) bool {
	return c.server.Admin(ctx, http.MethodGet, "/realms/"+c.realm+"/users/"+url.PathEscape(id), nil, nil) == nil
}

// sessions are the live ones of loaded users.
func (c *cutOver) sessions(t *testing.T) (out []fixture.Session) {
	t.Helper()
	for _, s := range c.truth.Sessions {
		if s.AppID == "public" && s.TenantID == "public" && !s.Revoked && !s.Expired && !s.Orphan && s.Refreshed == nil && c.loaded(t.Context(), s.UserID) {
			out = append(out, s)
		}
	}
	return out
}

// testBridge is the cut-over as people see it: a real browser with a session of
// the old system ends up signed in at an application of the new one.
func testBridge(t *testing.T, server *keycloak.Server) {
	t.Helper()
	browser := chromium.Start(t)
	const r = "bridge"
	c := startCutOver(t, server, r, false)
	app, issuer, tr := c.app, c.issuer, c.truth
	sessions := c.sessions(t)
	if len(sessions) < 3 {
		t.Fatalf("only %d sessions of loaded users", len(sessions))
	}

	// One visitor, who never sees a page of Keycloak.
	tab := chromium.Private(t, browser)
	if err := app.seed(tab, sessions[0].Access); err != nil {
		t.Fatal(err)
	}
	answer, shown, err := app.visit(tab, "/")
	if err != nil || answer != "user "+sessions[0].UserID {
		t.Fatalf("the application says %q after %v, %v; want user %s", answer, shown, err, sessions[0].UserID)
	}
	for _, address := range shown {
		if strings.HasPrefix(address, server.URL()) || strings.HasPrefix(address, issuer) {
			t.Errorf("the visitor saw %s", address)
		}
	}
	// It is a session of Keycloak's own: no way through the bridge is needed now.
	if answer, _, err := app.visit(tab, "/?plain=1"); err != nil || answer != "user "+sessions[0].UserID {
		t.Errorf("the second visit: %q, %v", answer, err)
	}
	// Whoever has a copy of the old token comes too late.
	thief := chromium.Private(t, browser)
	if err := app.seed(thief, sessions[0].Access); err != nil {
		t.Fatal(err)
	}
	if answer, _, err := app.visit(thief, "/"); err != nil || answer != "error login_required" {
		t.Errorf("the old token again: %q, %v", answer, err)
	}

	// Two browsers with one session, at the same time: both may get a code, and one of them
	// is redeemed. The other ends at the application without a session, or at a page of
	// Keycloak that says so.
	answers := make(chan string, 2)
	var tabs []context.Context
	for range 2 {
		tab := chromium.Private(t, browser)
		if err := app.seed(tab, sessions[1].Access); err != nil {
			t.Fatal(err)
		}
		tabs = append(tabs, tab)
	}
	for _, tab := range tabs {
		go func() {
			err := chromedp.Do(tab, chromedp.Navigate(app.url+"/"))
			text := ""
			if err == nil {
				text, err = chromedp.Run(tab, chromedp.Text("body"))
			}
			if err != nil {
				text = err.Error()
			}
			answers <- strings.TrimSpace(text)
		}()
	}
	got := []string{<-answers, <-answers}
	signedIn := 0
	for _, text := range got {
		if strings.HasPrefix(text, "user ") {
			signedIn++
		}
	}
	if signedIn != 1 || !slices.Contains(got, "user "+sessions[1].UserID) {
		t.Errorf("two at once: %q, want one of them to be user %s", got, sessions[1].UserID)
	}

	// An application without a browser.
	grant := handover(t, issuer, sessions[2].Access)
	if grant.status != http.StatusOK || subjectOf(grant.AccessToken) != sessions[2].UserID {
		t.Errorf("hand-over: %d %s", grant.status, grant.body)
	}
	if again := handover(t, issuer, sessions[2].Access); again.status != http.StatusUnauthorized {
		t.Errorf("hand-over again: %d %s", again.status, again.body)
	}

	username := resetInBrowser(t, browser, server, r, "http://"+c.address+"/auth/reset-password", tr)
	verifyAndRunAgain(t, server, r, "http://"+c.address+"/auth/verify-email", tr, func() ran { return runStetl(t, c.env, "run", "--config", c.config) })
	if g, err := server.PasswordGrant(t.Context(), r, "people", username, newPassword); err != nil || g.Status != http.StatusOK {
		t.Errorf("the new password after another run: %d %s, %v", g.Status, g.Body, err)
	}

	said, err := os.ReadFile(c.logPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range tr.Sessions {
		if strings.Contains(string(said), s.Access) || strings.Contains(string(said), s.Refresh) {
			t.Error("a token is in the log")
		}
	}
	if strings.Contains(string(said), newPassword) || !strings.Contains(string(said), `"surface":"browser","outcome":"redeemed"`) {
		t.Errorf("log: %s", said)
	}
}

const newPassword = "A-new-Passw0rd"

// prepareRealm has stetl make the realm's side of the bridge, and adds the application.
func prepareRealm(t *testing.T, c *cutOver) {
	t.Helper()
	admin, err := c.server.Token(t.Context(), "master", url.Values{"grant_type": {"client_credentials"}, "client_id": {keycloak.AdminClientID}, "client_secret": {keycloak.AdminClientSecret}})
	if err != nil || admin.AccessToken == "" {
		t.Fatalf("no administrator's token: %s, %v", admin.Body, err)
	}
	r := runStetl(t, append(c.env, "ADMIN_TOKEN="+admin.AccessToken), "check", "--fix", "--admin-token", "env:ADMIN_TOKEN", "--config", c.config)
	if r.code != exitDone || !strings.Contains(r.stderr, "made: the identity provider supertokens, which is the bridge") {
		t.Fatalf("check --fix: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	if strings.Contains(r.stdout+r.stderr, admin.AccessToken) {
		t.Error("the administrator's token is printed")
	}
	err = c.server.Admin(t.Context(), http.MethodPost, "/realms/"+c.realm+"/clients", map[string]any{
		"clientId": "demo", "publicClient": true, "standardFlowEnabled": true, "redirectUris": []string{c.app.url + "/callback"},
		"attributes": map[string]string{"post.logout.redirect.uris": c.app.url + "/bye"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

type handedOver struct {
	AccessToken string `json:"access_token"`
	IDToken     string `json:"id_token"`
	status      int
	body        string
}

func handover(t *testing.T, issuer, token string) (out handedOver) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, issuer+"/handover", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(raw, &out) // the caller looks at the status
	out.status, out.body = resp.StatusCode, string(raw)
	return out
}

// verifyAndRunAgain follows a mailed link that verifies an address, and has the next
// run carry that to the target.
func verifyAndRunAgain(t *testing.T, server *keycloak.Server, realm, page string, tr fixture.Truth, run func() ran) {
	t.Helper()
	for _, link := range tr.VerificationTokens {
		path := "/realms/" + realm + "/users/" + url.PathEscape(link.UserID)
		verified := func() (bool, error) {
			var user struct {
				Email    string `json:"email"`
				Verified bool   `json:"emailVerified"`
			}
			err := server.Admin(t.Context(), http.MethodGet, path, nil, &user)
			return user.Verified || !strings.EqualFold(user.Email, link.Email), err
		}
		if before, err := verified(); link.Expired || link.AppID != "public" || before || err != nil {
			continue
		}
		resp, err := http.PostForm(page, url.Values{"token": {link.Token}})
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("verification link: %d, %v", resp.StatusCode, err)
		}
		if now, err := verified(); now || err != nil {
			t.Errorf("verified before the next run: %v, %v", now, err)
		}
		if r := run(); r.code != exitRejects && r.code != exitDone {
			t.Errorf("run: exit %d\n%s", r.code, r.stderr)
		}
		if now, err := verified(); !now || err != nil {
			t.Errorf("verified after the next run: %v, %v", now, err)
		}
		return
	}
	t.Error("no verification link of a loaded user")
}

// chooseInBrowser follows a mailed link and chooses the new password.
func chooseInBrowser(t *testing.T, tab context.Context, page, token string) {
	t.Helper()
	err := chromedp.Do(tab, chromedp.Navigate(page+"?rid=emailpassword&token="+token), chromedp.SendKeys("#password", newPassword),
		chromedp.SendKeys("#again", newPassword), chromedp.Click("#go"), chromedp.WaitVisible("#text"))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := chromedp.Run(tab, chromedp.Text("#text")); err != nil || text != "Your new password is set." {
		t.Errorf("the page says %q, %v", text, err)
	}
}

// resetInBrowser follows a mailed link, and signs in with the new password.
func resetInBrowser(t *testing.T, browser context.Context, server *keycloak.Server, realm, page string, tr fixture.Truth) (username string) {
	t.Helper()
	for _, link := range tr.ResetTokens {
		var user struct {
			Username string `json:"username"`
		}
		if link.Expired || link.AppID != "public" || server.Admin(browser, http.MethodGet, "/realms/"+realm+"/users/"+url.PathEscape(link.VisibleID), nil, &user) != nil {
			continue
		}
		tab := chromium.Private(t, browser)
		chooseInBrowser(t, tab, page, link.Token)
		for password, want := range map[string]bool{newPassword: true, newPassword + "x": false} {
			g, err := server.PasswordGrant(browser, realm, "people", user.Username, password)
			if err != nil || (g.Status == http.StatusOK) != want || !want && !g.Refused() {
				t.Errorf("signing in with the new password: %d %s, %v", g.Status, g.Body, err)
			}
		}
		err := chromedp.Do(tab, chromedp.Navigate(page+"?token="+link.Token), chromedp.WaitVisible("#problem"))
		if err != nil {
			t.Errorf("the link again: %v", err)
		}
		return user.Username
	}
	t.Error("no reset link of a loaded user")
	return ""
}
