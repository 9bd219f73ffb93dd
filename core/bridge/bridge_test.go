//go:build unix

package bridge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/stetl/stetl/core/bridge"
	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

const (
	clientSecret = "canary-client-secret-5512"
	lazyToken    = "canary-lazy-token-7781"
	callback     = "https://sso.example.com/realms/r/broker/supertokens/endpoint"
	newPassword  = "canary-new-password-9321"
	givenToken   = "canary-target-token-4410"
)

// fakeTarget remembers what it was asked. The real one is in cmd/stetl.
type fakeTarget struct {
	mu        sync.Mutex
	passwords map[string]string
	exchanges []pluginapi.Assertion
	location  string // of its own reset
	ended     bool   // whether it was last asked to sign somebody out
	err       error
}

func (f *fakeTarget) SetPassword(_ context.Context, p pluginapi.PasswordChange) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.passwords[p.TargetID], f.ended = p.Password.Reveal(), p.EndSessions
	}
	return f.err
}

func (f *fakeTarget) StartReset(context.Context, pluginapi.Reset) (string, error) {
	return f.location, f.err
}

func (f *fakeTarget) Exchange(_ context.Context, a pluginapi.Assertion) (pluginapi.Tokens, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return pluginapi.Tokens{}, f.err
	}
	f.exchanges = append(f.exchanges, a)
	return pluginapi.Tokens{JSON: canonical.NewSecret(`{"access_token":"` + givenToken + `"}`)}, nil
}

func (f *fakeTarget) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// loaded says that every account has been loaded under its visible id.
type loaded bool

func (l loaded) TargetID(_ context.Context, u session.User) (string, bool, error) {
	return u.ID, bool(l), nil
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// world is a restored fixture with a bridge over it.
type world struct {
	t      *testing.T
	truth  fixture.Truth
	dsn    string
	url    string
	bridge *bridge.Server
	target *fakeTarget
	serves bridge.Target // what an instance asks; target when nil
	wait   time.Duration // of attempts for each other
	// algorithm that instances sign with; RS256 when empty
	algorithm cutover.Algorithm
	loaded    bridge.Accounts
	log       *syncBuffer
	http      *http.Client
}

func build(t *testing.T, name string, change func(*config.Bridge)) *world {
	t.Helper()
	w := &world{t: t, truth: fixture.Read(t, name), dsn: fixture.Restore(t, name), target: &fakeTarget{passwords: map[string]string{}}, log: &syncBuffer{}, loaded: loaded(true)}
	w.url, w.bridge = w.instance(change)
	w.http = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 20 * time.Second}
	return w
}

// instance starts one more bridge over the same database.
func (w *world) instance(change func(*config.Bridge)) (string, *bridge.Server) {
	w.t.Helper()
	store, err := session.Open(w.t.Context(), supertokens.Options{URL: canonical.NewSecret(w.dsn)}, session.Config{Connections: 8})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(store.Close)
	db, err := cutover.Open(w.t.Context(), store, cutover.Options{FirebaseSignerKey: canonical.NewSecret(w.truth.FirebaseSignerKey), Wait: w.wait, Algorithm: w.algorithm})
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := db.SigningKey(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { handler.ServeHTTP(rw, r) }))
	w.t.Cleanup(server.Close)
	c := config.Bridge{
		Issuer: server.URL + "/auth/session/refresh/bridge", Tenant: "public",
		Clients:     []config.BridgeClient{{ID: "idp", Secret: canonical.NewSecret(clientSecret), RedirectURIs: []string{callback}}},
		Cookies:     config.BridgeCookies{Access: []string{"sAccessToken"}, Refresh: []string{"sRefreshToken"}},
		Exchange:    config.BridgeExchange{Audience: "https://sso.example.com/realms/r", Origins: []string{"https://app.example.com"}},
		Reset:       config.BridgeLink{Path: "/auth/reset-password", APIPath: "/auth/user/password/reset", Parameter: "token", Mode: "password"},
		VerifyEmail: config.BridgeLink{Path: "/auth/verify-email", APIPath: "/auth/user/email/verify", Parameter: "token"},
		Lazy:        config.BridgeLazy{Token: canonical.NewSecret(lazyToken), Schemes: []string{"firebase_scrypt"}},
		Limits:      config.BridgeLimits{PerMinute: 1000, Failures: 1000, Lockout: config.Duration{Duration: time.Minute}},
		Drain:       config.Duration{Duration: 5 * time.Second},
	}
	if change != nil {
		change(&c)
	}
	if w.serves == nil {
		w.serves = w.target
	}
	s, err := bridge.New(bridge.Options{
		Config: c, DB: db, Target: w.serves, Accounts: w.loaded, Key: key, Uses: cutover.Uses{Sessions: true},
		Log: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Lazy: []bridge.LazyContract{
			{Name: "by-path", Form: bridge.UserInPath},
			{Name: "own-ids", Form: bridge.UserInPath, Holds: func(string) bool { return false }},
			{Name: "by-body", Form: bridge.UserInBody, OwnPrefix: "own|"},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	handler = s
	return c.Issuer, s
}

func (w *world) origin() string { return strings.TrimSuffix(w.url, "/auth/session/refresh/bridge") }

type answer struct {
	status int
	header http.Header
	body   string
}

func (w *world) do(method, address, body string, header map[string]string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(raw)}
}

func (w *world) session(want func(fixture.Session) bool) fixture.Session {
	w.t.Helper()
	for _, s := range w.truth.Sessions {
		if s.AppID == "public" && want(s) {
			return s
		}
	}
	w.t.Fatal("no such session in the fixture")
	return fixture.Session{}
}

// unfinished is a session that waits for its second factor.
func (w *world) unfinished() fixture.Session {
	w.t.Helper()
	s := w.session(alive)
	w.exec(`UPDATE session_info SET jwt_user_payload = '{"st-mfa":{"c":{"emailpassword":1700000000},"v":false}}' WHERE session_handle = $1`, s.Handle)
	return s
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	fixture.Exec(w.t, w.dsn, sql, args...)
}

func alive(s fixture.Session) bool {
	return !s.Revoked && !s.Expired && !s.Orphan && s.Refreshed == nil
}

// login follows a browser that has a cookie from the authorization request to the
// address it is sent back to.
func (w *world) login(issuer, cookie string, extra url.Values) url.Values {
	w.t.Helper()
	q := url.Values{
		"client_id": {"idp"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s1"}, "nonce": {"n1"}, "prompt": {"none"},
	}
	for k, v := range extra {
		q[k] = v
	}
	a := w.do(http.MethodGet, issuer+"/authorize?"+q.Encode(), "", map[string]string{"Cookie": cookie})
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status != http.StatusFound || !strings.HasPrefix(to.String(), callback) {
		w.t.Errorf("status %d to %s: %s", a.status, to, a.body)
		return nil
	}
	if to.RawQuery == "" { // how answers with tokens, and their errors, would come
		to.RawQuery = to.Fragment
	}
	return to.Query()
}

func (w *world) redeem(code, secret string) answer { return w.redeemAt(w.url, code, secret, nil) }

func (w *world) redeemAt(issuer, code, secret string, extra url.Values) answer {
	w.t.Helper()
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "client_id": {"idp"}, "client_secret": {secret},
	}
	maps.Copy(form, extra)
	return w.do(http.MethodPost, issuer+"/oauth/token", form.Encode(), map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
}

func TestBrowserIsHandedOverOnce(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	s := w.session(alive)
	cookie := "sAccessToken=" + url.QueryEscape(s.Access)

	if q := w.login(w.url, "", nil); q.Get("error") != "login_required" || q.Get("state") != "s1" {
		t.Errorf("without a session: %v", q)
	}
	if q := w.login(w.url, cookie, url.Values{"prompt": {"login"}}); q.Get("error") != "login_required" {
		t.Errorf("a fresh login: %v", q)
	}
	q := w.login(w.url, cookie, nil)
	if q.Get("code") == "" || q.Get("state") != "s1" {
		t.Fatalf("answer %v", q)
	}
	got := w.redeem(q.Get("code"), clientSecret)
	var tokens struct {
		IDToken      string `json:"id_token"`
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(got.body), &tokens); err != nil || got.status != http.StatusOK || tokens.IDToken == "" || tokens.RefreshToken != "" {
		t.Fatalf("status %d, %v: %s", got.status, err, got.body)
	}
	claims := w.verified(tokens.IDToken)
	if claims["sub"] != s.UserID || claims["nonce"] != "n1" || claims["iss"] != w.url || claims["email"] != nil {
		t.Errorf("claims %v", claims)
	}
	if again := w.redeem(q.Get("code"), clientSecret); again.status != http.StatusBadRequest || !strings.Contains(again.body, "invalid_grant") {
		t.Errorf("the code again: %d %s", again.status, again.body)
	}
	if q := w.login(w.url, cookie, nil); q.Get("error") != "login_required" {
		t.Errorf("a second time: %v", q)
	}
	info := w.do(http.MethodGet, w.url+"/userinfo", "", map[string]string{"Authorization": "Bearer " + tokens.AccessToken})
	if info.status != http.StatusOK || !strings.Contains(info.body, s.UserID) {
		t.Errorf("userinfo: %d %s", info.status, info.body)
	}
	for _, token := range []string{"", tokens.AccessToken + "x", tokens.IDToken} {
		if info := w.do(http.MethodGet, w.url+"/userinfo", "", map[string]string{"Authorization": "Bearer " + token}); info.status != http.StatusUnauthorized {
			t.Errorf("userinfo with another token: %d %s", info.status, info.body)
		}
	}
	for _, path := range []string{"/authorize/callback", "/revoke", "/oauth/introspect", "/device_authorization", "/ready", "/nothing"} {
		if a := w.do(http.MethodPost, w.url+path, "", nil); a.status != http.StatusNotFound {
			t.Errorf("%s is served: %d", path, a.status)
		}
	}
}

// verified checks a token of the bridge with its published keys.
func (w *world) verified(token string) map[string]any {
	w.t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(w.do(http.MethodGet, w.url+"/keys", "", nil).body), &set); err != nil {
		w.t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		w.t.Fatal(err)
	}
	var claims map[string]any
	if err := parsed.Claims(set, &claims); err != nil {
		w.t.Fatal(err)
	}
	return claims
}

// TestRefreshTokenIsEnough is for a browser that was away for longer than an
// access token lives; also of the oldest generations.
func TestRefreshTokenIsEnough(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core-3.0.1", "core-6.0.13", "modelled-12.0-migrated"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := build(t, name, nil)
			s := w.session(alive)
			q := w.login(w.url, "sAccessToken=stale; sRefreshToken="+url.QueryEscape(s.Refresh), nil)
			if q.Get("code") == "" {
				t.Errorf("answer %v", q)
			}
		})
	}
}

func TestSessionsOfNobodyAndOldOnesAreRefused(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	for name, s := range map[string]fixture.Session{
		"revoked":                     w.session(func(s fixture.Session) bool { return s.Revoked }),
		"orphan":                      w.session(func(s fixture.Session) bool { return s.Orphan }),
		"waiting for a second factor": w.unfinished(),
	} {
		if q := w.login(w.url, "sAccessToken="+s.Access+"; sRefreshToken="+url.QueryEscape(s.Refresh), nil); q.Get("error") != "login_required" {
			t.Errorf("%s: %v", name, q)
		}
	}
	for name, change := range map[string]url.Values{
		"another address": {"redirect_uri": {"https://evil.example.com/"}}, "another client": {"client_id": {"evil"}},
	} {
		q := url.Values{"client_id": {"idp"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"}}
		for k, v := range change {
			q[k] = v
		}
		if a := w.do(http.MethodGet, w.url+"/authorize?"+q.Encode(), "", nil); a.status != http.StatusBadRequest || a.header.Get("Location") != "" {
			t.Errorf("%s: %d to %s", name, a.status, a.header.Get("Location"))
		}
	}
}

func TestApplicationsExchangeTokens(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	s := w.session(alive)
	bearer := map[string]string{"Authorization": "Bearer " + s.Access, "Origin": "https://app.example.com"}
	w.target.fail(&pluginapi.Failure{Code: diag.LoadTargetRefused, Detail: "down"})
	if a := w.do(http.MethodPost, w.url+"/handover", "", bearer); a.status != http.StatusBadGateway {
		t.Errorf("a target that is down: %d %s", a.status, a.body)
	}
	w.target.fail(nil)
	a := w.do(http.MethodPost, w.url+"/handover", "", bearer)
	if a.status != http.StatusOK || !strings.Contains(a.body, givenToken) || a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s %v", a.status, a.body, a.header)
	}
	if a := w.do(http.MethodPost, w.url+"/handover", "", bearer); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "invalid_grant") {
		t.Errorf("again: %d %s", a.status, a.body)
	}
	claims := w.verified(w.target.exchanges[0].JWT.Reveal())
	if claims["sub"] != s.UserID || claims["iss"] != w.url || claims["jti"] == nil {
		t.Errorf("claims %v", claims)
	}
	second := w.session(func(x fixture.Session) bool { return alive(x) && x.Handle != s.Handle })
	body, _ := json.Marshal(map[string]string{"token": second.Refresh})
	if a := w.do(http.MethodPost, w.url+"/handover", string(body), map[string]string{"Content-Type": "application/json", "Origin": "https://evil.example.com"}); a.status != http.StatusForbidden || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a foreign origin: %d %s %v", a.status, a.body, a.header)
	}
	if a := w.do(http.MethodPost, w.url+"/handover", string(body), map[string]string{"Content-Type": "application/json"}); a.status != http.StatusOK {
		t.Errorf("refresh token: %d %s %v", a.status, a.body, a.header)
	}
	// A cookie is not enough: another site could send it.
	third := w.session(func(x fixture.Session) bool { return alive(x) && x.Handle != s.Handle && x.Handle != second.Handle })
	if a := w.do(http.MethodPost, w.url+"/handover", "", map[string]string{"Cookie": "sAccessToken=" + third.Access}); a.status != http.StatusBadRequest {
		t.Errorf("cookie: %d", a.status)
	}
	for _, token := range []string{"x", s.Access + "x", "a.b.c"} {
		if a := w.do(http.MethodPost, w.url+"/handover", "", map[string]string{"Authorization": "Bearer " + token}); a.status != http.StatusUnauthorized {
			t.Errorf("forged: %d", a.status)
		}
	}
}

func TestKeysHealthAndMetrics(t *testing.T) {
	t.Parallel()
	w := build(t, "core-5.0.0", nil)
	var set struct{ Keys []map[string]string }
	a := w.do(http.MethodGet, w.origin()+"/.well-known/jwks.json", "", nil)
	if err := json.Unmarshal([]byte(a.body), &set); err != nil || len(set.Keys) == 0 || strings.Contains(a.body, `"d"`) {
		t.Errorf("%v: %s", err, a.body)
	}
	for _, want := range w.truth.PublicKeys.JWKS {
		if !strings.Contains(a.body, want["n"]) {
			t.Errorf("key %s is missing", want["kid"])
		}
	}
	if a := w.do(http.MethodGet, w.url+"/.well-known/openid-configuration", "", nil); a.status != http.StatusOK || !strings.Contains(a.body, w.url+"/authorize") {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := w.do(http.MethodGet, w.origin()+path, "", nil); a.status != http.StatusOK {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := w.do(http.MethodGet, w.origin()+"/metrics", "", nil); a.status != http.StatusNotFound {
		t.Errorf("metrics are public: %d", a.status)
	}
	admin := httptest.NewRecorder()
	w.bridge.AdminHandler().ServeHTTP(admin, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if !strings.Contains(admin.Body.String(), `stetl_bridge_request_seconds_count{path="/healthz",status="200"} 1`) || !strings.Contains(admin.Body.String(), "stetl_bridge_lazy_waiting") {
		t.Error(admin.Body.String())
	}
}

// TestNothingSecretIsLogged sends every kind of secret through every surface, at
// the most talkative level.
func TestNothingSecretIsLogged(t *testing.T) {
	w := build(t, "core-9.3.0", nil)
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))) // the library's
	t.Cleanup(func() { slog.SetDefault(old) })
	var secrets []string
	for _, s := range w.truth.Sessions {
		secrets = append(secrets, s.Access, s.Refresh)
		w.login(w.url, "sAccessToken="+s.Access+"; sRefreshToken="+url.QueryEscape(s.Refresh), nil)
		w.do(http.MethodPost, w.url+"/handover", "", map[string]string{"Authorization": "Bearer " + s.Access})
	}
	w.redeem("canary-code", "canary-wrong-secret")
	w.do(http.MethodGet, w.url+"/authorize?client_id=idp&redirect_uri=x&state=canary-state", "", map[string]string{"Cookie": "sAccessToken=canary-cookie"})
	for _, extra := range []url.Values{{}, {"prompt": {"login"}}, {"response_type": {"token"}}, {"request": {"canary"}}} {
		extra.Set("state", "canary-state")
		w.login(w.url, "sAccessToken=canary-cookie", extra)
	}
	for _, link := range w.truth.ResetTokens {
		secrets = append(secrets, link.Token, link.Hash, link.Email)
		w.do(http.MethodGet, w.origin()+"/auth/reset-password?token="+link.Token, "", nil)
		b, h := form(url.Values{"token": {link.Token}, "password": {newPassword}, "again": {newPassword}})
		w.do(http.MethodPost, w.origin()+"/auth/reset-password", b, h)
	}
	for _, link := range w.truth.VerificationTokens {
		secrets = append(secrets, link.Token, link.Hash)
		b, h := form(url.Values{"token": {link.Token}})
		w.do(http.MethodPost, w.origin()+"/auth/verify-email", b, h)
	}
	_, l := firebaseUser(t, w.truth)
	auth := map[string]string{"Authorization": "Bearer " + lazyToken, "Content-Type": "application/json"}
	for _, password := range []string{"canary-wrong-password", l.ClearPassword} {
		body, _ := json.Marshal(map[string]string{"email": l.Email, "password": password})
		w.do(http.MethodPost, w.url+"/lazy/by-body", string(body), auth)
	}
	w.do(http.MethodGet, w.url+"/lazy", "", map[string]string{"Authorization": "Bearer canary-wrong-token"})
	w.do(http.MethodGet, w.url+"/lazy/by-path/"+url.PathEscape(l.Email), "", auth)
	secrets = append(secrets, "canary", l.ClearPassword, l.Email, l.PasswordHash, clientSecret, lazyToken, givenToken)
	admin := httptest.NewRecorder()
	w.bridge.AdminHandler().ServeHTTP(admin, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	said := w.log.String()
	if strings.Count(said, `"msg":"audit"`) < 20 {
		t.Errorf("the audit trail is short: %s", said)
	}
	for _, secret := range secrets {
		if len(secret) >= 6 && (strings.Contains(said, secret) || strings.Contains(admin.Body.String(), secret)) {
			t.Errorf("a secret is in the log or the metrics: %.12s…", secret)
		}
	}
}
