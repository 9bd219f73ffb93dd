//go:build unix

package bridge_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/core/bridge"
	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/mint"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// TestDiscoveryNamesWhatIsThere: clients import the document and use all of it.
func TestDiscoveryNamesWhatIsThere(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	var about map[string]any
	if err := json.Unmarshal([]byte(w.do(http.MethodGet, w.url+"/.well-known/openid-configuration", "", nil).body), &about); err != nil {
		t.Fatal(err)
	}
	endpoints := 0
	for name, value := range about {
		address, is := value.(string)
		if !is || name == "issuer" {
			continue
		}
		endpoints++
		if a := w.do(http.MethodGet, address, "", nil); a.status == http.StatusNotFound {
			t.Errorf("%s is not there", name)
		}
	}
	if endpoints != 5 || about["issuer"] != w.url {
		t.Errorf("%d endpoints: %v", endpoints, about)
	}
	for name, want := range map[string]string{
		"response_types_supported": "[code]", "grant_types_supported": "[authorization_code]", "scopes_supported": "[openid]", "code_challenge_methods_supported": "[S256]",
		"id_token_signing_alg_values_supported": "[RS256]", "token_endpoint_auth_methods_supported": "[client_secret_post client_secret_basic]",
	} {
		raw, _ := json.Marshal(about[name])
		if got := strings.NewReplacer(`"`, "", ",", " ").Replace(string(raw)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	// Both ways in which a client may show its secret.
	code := w.login(w.url, "sAccessToken="+w.session(alive).Access, nil).Get("code")
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}}.Encode()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/oauth/token", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("idp", clientSecret)
	resp, err := w.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("client_secret_basic: %d, %v", resp.StatusCode, err)
	}
}

// TestLogoutOfTheClient brings people back to the client, and ends the session of
// SuperTokens that is left only where the client says whose.
func TestLogoutOfTheClient(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", func(c *config.Bridge) { c.Clients[0].PostLogoutRedirectURIs = []string{"https://app.example.com/bye"} })
	s := w.session(alive)
	cookie := "sAccessToken=" + s.Access
	code := w.login(w.url, cookie, nil).Get("code")
	var tokens struct {
		IDToken string `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(w.redeem(code, clientSecret).body), &tokens); err != nil || tokens.IDToken == "" {
		t.Fatal(err)
	}
	other := w.session(func(x fixture.Session) bool { return alive(x) && x.UserID == s.UserID && x.Handle != s.Handle })
	stranger := w.session(func(x fixture.Session) bool { return alive(x) && x.UserID != s.UserID })
	for _, tt := range []struct {
		name, cookie string
		ask          url.Values
		status       int
		to           string
	}{
		{"below the address for codes", "", url.Values{"id_token_hint": {tokens.IDToken}, "post_logout_redirect_uri": {callback + "/logout_response"}, "state": {"s&1"}}, http.StatusFound, callback + "/logout_response?state=s%261"},
		{"a configured address", "", url.Values{"client_id": {"idp"}, "post_logout_redirect_uri": {"https://app.example.com/bye"}}, http.StatusFound, "https://app.example.com/bye"},
		{"nowhere", "", url.Values{}, http.StatusOK, ""},
		{"somewhere else", "", url.Values{"post_logout_redirect_uri": {"https://evil.example.com/"}}, http.StatusOK, ""},
		{"beside the address for codes", "", url.Values{"post_logout_redirect_uri": {callback + "x"}}, http.StatusOK, ""},
		{"a forged hint", "sAccessToken=" + other.Access, url.Values{"id_token_hint": {tokens.IDToken + "x"}}, http.StatusBadRequest, ""},
		{"no hint", "sAccessToken=" + other.Access, url.Values{}, http.StatusOK, ""},
		{"somebody else's hint", "sAccessToken=" + stranger.Access, url.Values{"id_token_hint": {tokens.IDToken}}, http.StatusOK, ""},
	} {
		a := w.do(http.MethodGet, w.url+"/end_session?"+tt.ask.Encode(), "", map[string]string{"Cookie": tt.cookie})
		if a.status != tt.status || a.header.Get("Location") != tt.to {
			t.Errorf("%s: %d to %q", tt.name, a.status, a.header.Get("Location"))
		}
	}
	if w.sessions(other) != 1 || w.sessions(stranger) != 1 {
		t.Error("anybody can sign people out")
	}
	w.do(http.MethodGet, w.url+"/end_session?id_token_hint="+tokens.IDToken, "", map[string]string{"Cookie": "sAccessToken=" + other.Access})
	if w.sessions(other) != 0 {
		t.Error("the session outlives the logout")
	}
}

// TestRedirectsHaveNoDeadEnds: whoever is sent back can sign in, or try again.
func TestRedirectsHaveNoDeadEnds(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", func(c *config.Bridge) { c.Limits.PerMinute = 2 })
	cookie := "sAccessToken=" + w.session(alive).Access
	for i, want := range []string{"", "", "temporarily_unavailable"} {
		if q := w.login(w.url, cookie, nil); q.Get("error") != want || q.Get("state") != "s1" {
			t.Errorf("request %d: %v", i+1, q)
		}
	}
	for range 5 {
		if q := w.login(w.url, "", nil); q.Get("error") != "login_required" {
			t.Errorf("without a session: %v", q)
		}
	}
}

// TestPagesOfOtherOrigins calls as SuperTokens' SDK does, from the pages of the
// application, also about another tenant, and as a page of somebody else's.
func TestPagesOfOtherOrigins(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", func(c *config.Bridge) {
		c.Reset.Origins, c.VerifyEmail.Origins = []string{"https://app.example.com"}, []string{"https://other.example.com"}
	})
	const app, other = "https://app.example.com", "https://other.example.com"
	from := func(origin string) map[string]string {
		return map[string]string{"Content-Type": "application/json", "Origin": origin}
	}
	reset, verify := w.origin()+"/auth/user/password/reset", w.origin()+"/auth/emea/user/email/verify"
	for _, tt := range []struct {
		method, address, origin string
		status                  int
		allowed                 bool
	}{
		{http.MethodOptions, reset, app, http.StatusNoContent, true},
		{http.MethodPost, reset, app, http.StatusOK, true},
		{http.MethodPost, w.origin() + "/auth/emea/user/password/reset", app, http.StatusOK, true},
		{http.MethodPost, reset, other, http.StatusForbidden, false},
		{http.MethodPost, reset, "null", http.StatusForbidden, false},
		{http.MethodOptions, reset, other, http.StatusNoContent, false},
		{http.MethodPost, verify, other, http.StatusOK, true},
		{http.MethodPost, verify, app, http.StatusForbidden, false},
		{http.MethodPost, verify, w.origin(), http.StatusOK, false}, // its own page
		{http.MethodPost, w.origin() + "/auth/a/b/user/password/reset", app, http.StatusNotFound, false},
		{http.MethodPost, w.origin() + "/auth//user/password/reset", app, http.StatusNotFound, false},
	} {
		a := w.do(tt.method, tt.address, `{"token":"x","formFields":[{"id":"password","value":"p"}]}`, from(tt.origin))
		credentials, origin := a.header.Get("Access-Control-Allow-Credentials"), a.header.Get("Access-Control-Allow-Origin")
		if a.status != tt.status || (credentials == "true") != tt.allowed || (origin == tt.origin) != tt.allowed {
			t.Errorf("%s %s from %s: %d, %q %q", tt.method, tt.address, tt.origin, a.status, credentials, origin)
		}
	}
	b, h := form(url.Values{"token": {w.truth.ResetTokens[0].Token}, "password": {newPassword}, "again": {newPassword}})
	h["Origin"] = "https://evil.example.com"
	if a := w.do(http.MethodPost, w.origin()+"/auth/reset-password", b, h); a.status != http.StatusForbidden {
		t.Errorf("the form of a foreign page: %d", a.status)
	}
	h["Origin"] = "null"
	if a := w.do(http.MethodPost, w.origin()+"/auth/reset-password", b, h); a.status != http.StatusOK {
		t.Errorf("its own form, of an old browser: %d", a.status)
	}
}

// TestLockOutsStayApart: who guesses the one secret locks out nobody who has the other.
func TestLockOutsStayApart(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", func(c *config.Bridge) { c.Limits.Failures = 2 })
	code := w.login(w.url, "sAccessToken="+w.session(alive).Access, nil).Get("code")
	for range 3 {
		w.do(http.MethodGet, w.url+"/lazy", "", map[string]string{"Authorization": "Bearer wrong"})
	}
	if a := w.do(http.MethodGet, w.url+"/lazy", "", map[string]string{"Authorization": "Bearer " + lazyToken}); a.status != http.StatusTooManyRequests {
		t.Errorf("after guesses at the lazy token: %d", a.status)
	}
	if a := w.redeem(code, clientSecret); a.status != http.StatusOK {
		t.Errorf("the client meanwhile: %d %s", a.status, a.body)
	}
}

func TestProxiesThatNobodyTrustsAreWarnedAbout(t *testing.T) {
	t.Parallel()
	const warning = "trusted_proxies does not name"
	for trusted, want := range map[string]int{"192.0.2.0/24": 1, "127.0.0.0/8": 0} {
		w := build(t, "core-9.3.0", func(c *config.Bridge) { c.TrustedProxies = []string{trusted} })
		for range 3 {
			w.do(http.MethodGet, w.origin()+"/healthz", "", map[string]string{"X-Forwarded-For": "203.0.113.9"})
		}
		if got := strings.Count(w.log.String(), warning); got != want {
			t.Errorf("trusting %s: %d warnings, want %d", trusted, got, want)
		}
	}
}

// TestResetEndsSessions: whoever had somebody's session has it no more.
func TestResetEndsSessions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  *bool
	}{{"by default", nil}, {"kept", new(false)}} {
		w := build(t, "core-9.3.0", func(c *config.Bridge) { c.Reset.EndSessions = tt.end })
		link := w.truth.ResetTokens[0]
		count := func(of string) int {
			return postgres.Value[int](t, w.dsn, "SELECT count(*) FROM session_info WHERE user_id "+of+" $1", link.VisibleID)
		}
		w.exec(`INSERT INTO session_info (app_id, tenant_id, session_handle, user_id, refresh_token_hash_2, session_data, expires_at, created_at_time, jwt_user_payload, use_static_key)
			SELECT app_id, tenant_id, 'copy-' || n || session_handle, $1, refresh_token_hash_2, session_data, expires_at, created_at_time, jwt_user_payload, use_static_key
			FROM (SELECT * FROM session_info WHERE app_id = 'public' LIMIT 1) s, generate_series(1, 3) n`, link.VisibleID)
		before, others := count("="), count("<>")
		b, h := form(url.Values{"token": {link.Token}, "password": {newPassword}, "again": {newPassword}})
		w.target.fail(&pluginapi.Failure{Code: diag.TargetPasswordRefused, Detail: "too short"})
		w.do(http.MethodPost, w.origin()+"/auth/reset-password", b, h)
		if count("=") != before {
			t.Errorf("%s: a password that was refused has ended sessions", tt.name)
		}
		w.target.fail(nil)
		if a := w.do(http.MethodPost, w.origin()+"/auth/reset-password", b, h); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", tt.name, a.status, a.body)
		}
		want := 0
		if tt.end != nil {
			want = before
		}
		if before < 3 || count("=") != want || count("<>") != others || w.target.ended != (want == 0) {
			t.Errorf("%s: %d of %d sessions are left, want %d; %d of others, were %d; in the target %v", tt.name, count("="), before, want, count("<>"), others, w.target.ended)
		}
	}
}

// TestClaimsThatAreNamed must be there; the second factor of SuperTokens must only not
// be outstanding.
func TestClaimsThatAreNamed(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", func(c *config.Bridge) { c.RequiredClaims, c.ClaimsNamed = []string{"2fa-completed"}, true })
	plain, _ := w.instance(nil)
	s := w.session(alive)
	for claims, want := range map[string]string{
		`{}`: "login_required", `{"2fa-completed":false}`: "login_required", `{"2fa-completed":null}`: "login_required", `{"2fa-completed":{"v":false,"t":1}}`: "login_required",
		`{"2fa-completed":true}`: "", `{"2fa-completed":{"v":true,"t":1}}`: "",
	} {
		w.exec("UPDATE session_info SET jwt_user_payload = $2 WHERE session_handle = $1", s.Handle, claims)
		if q := w.login(w.url, "sAccessToken="+s.Access, nil); q.Get("error") != want {
			t.Errorf("claims %s: %v, want %q", claims, q, want)
		}
		if q := w.login(plain, "sAccessToken="+s.Access, nil); q.Get("code") == "" {
			t.Errorf("claims %s, of which none is named: %v", claims, q)
		}
	}
}

// TestUnknownAccountsGetAFinalAnswer by mailed links.
func TestUnknownAccountsGetAFinalAnswer(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	w.loaded = loaded(false)
	issuer, _ := w.instance(nil)
	origin := strings.TrimSuffix(issuer, "/auth/session/refresh/bridge")
	link := w.truth.ResetTokens[0]
	b, h := form(url.Values{"token": {link.Token}, "password": {newPassword}, "again": {newPassword}})
	if a := w.do(http.MethodPost, origin+"/auth/reset-password", b, h); a.status != http.StatusNotFound || strings.Contains(a.body, "later") {
		t.Errorf("the page: %d %s", a.status, a.body)
	}
	body := `{"token":"` + link.Token + `","formFields":[{"id":"password","value":"p"}]}`
	if a := w.do(http.MethodPost, origin+"/auth/user/password/reset", body, map[string]string{"Content-Type": "application/json"}); !strings.Contains(a.body, "INVALID_TOKEN") {
		t.Errorf("the API: %d %s", a.status, a.body)
	}
	if a := w.do(http.MethodPost, w.origin()+"/auth/reset-password", b, h); a.status != http.StatusOK {
		t.Errorf("once a run has loaded the account: %d %s", a.status, a.body)
	}
}

func TestHeadOfHealth(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	for _, path := range []string{"/healthz", "/readyz", "/.well-known/jwks.json"} {
		if a := w.do(http.MethodHead, w.origin()+path, "", nil); a.status != http.StatusOK || a.body != "" {
			t.Errorf("%s: %d %q", path, a.status, a.body)
		}
	}
}

// TestLockOutsEnd: what anybody can do to an account must not last.
func TestLockOutsEnd(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", func(c *config.Bridge) { c.Limits.Failures, c.Limits.Lockout.Duration = 1, time.Hour })
	_, l := firebaseUser(t, w.truth)
	auth := map[string]string{"Authorization": "Bearer " + lazyToken, "Content-Type": "application/json"}
	wrong, _ := json.Marshal(map[string]string{"email": l.Email, "password": "wrong"})
	for range 9 {
		if a := w.do(http.MethodPost, w.url+"/lazy/by-body", string(wrong), auth); a.status != http.StatusUnauthorized {
			t.Fatalf("a guess: %d", a.status)
		}
		longest := postgres.Value[int64](t, w.dsn, "SELECT max(until_ms) FROM stetl_bridge.failure")
		if until := time.Until(time.UnixMilli(longest)); until > 4*time.Hour {
			t.Fatalf("locked for %v", until)
		}
		w.exec("UPDATE stetl_bridge.failure SET until_ms = $1", time.Now().UnixMilli()-1)
	}
	right, _ := json.Marshal(map[string]string{"email": l.Email, "password": l.ClearPassword})
	if a := w.do(http.MethodPost, w.url+"/lazy/by-body", string(right), auth); a.status != http.StatusOK {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// TestNULInClaims: a text that PostgreSQL does not take is of no session.
func TestNULInClaims(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	store, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(w.dsn)}, session.Config{Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	m := mint.New(t, store)
	for _, claim := range []string{"sub", "rsub", "tId", "sessionHandle"} {
		token := m.Hostile(t, claim)
		if a := w.do(http.MethodPost, w.url+"/handover", "", map[string]string{"Authorization": "Bearer " + token}); a.status != http.StatusUnauthorized {
			t.Errorf("NUL in %s: %d %s", claim, a.status, a.body)
		}
		if q := w.login(w.url, "sAccessToken="+token, nil); q.Get("error") != "login_required" {
			t.Errorf("NUL in %s: %v", claim, q)
		}
	}
}

// TestUnlock ends the lock-outs of one account, of one address, and all, and says so.
func TestUnlock(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", func(c *config.Bridge) { c.Limits.Failures, c.Limits.Lockout.Duration = 1, time.Hour })
	store, err := session.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(w.dsn)}, session.Config{Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	db, err := cutover.Open(t.Context(), store, cutover.Options{})
	if err != nil {
		t.Fatal(err)
	}
	account, l := firebaseUser(t, w.truth)
	auth := map[string]string{"Authorization": "Bearer " + lazyToken, "Content-Type": "application/json"}
	guess := func(name string) int {
		body, _ := json.Marshal(map[string]string{"email": name, "password": "wrong"})
		return w.do(http.MethodPost, w.url+"/lazy/by-body", string(body), auth).status
	}
	link := func() int { return w.do(http.MethodGet, w.origin()+"/auth/reset-password?token=guess", "", nil).status }
	const locked = http.StatusTooManyRequests
	for _, tt := range []struct {
		which bridge.Unlocking
		try   func() int
		audit string
	}{
		{bridge.Unlocking{Account: account.VisibleID}, func() int { return guess(l.Email) }, `"user":"` + account.VisibleID + `"`},
		{bridge.Unlocking{Account: " " + l.Email}, func() int { return guess(l.Email) }, `"user":"` + account.VisibleID + `"`},
		{bridge.Unlocking{Account: "Nobody@example.com"}, func() int { return guess("nobody@example.com") }, `"user":""`},
		{bridge.Unlocking{Client: "127.0.0.1"}, link, `"client":"127.0.0.1"`},
		{bridge.Unlocking{All: true}, link, `"all":true`},
	} {
		tt.try()
		if got := tt.try(); got != locked {
			t.Fatalf("%+v: %d, want a lock-out", tt.which, got)
		}
		said := &syncBuffer{}
		ended, err := bridge.Unlock(t.Context(), db, "public", tt.which, slog.New(slog.NewJSONHandler(said, nil)))
		if err != nil || ended == 0 {
			t.Errorf("%+v: %d ended, %v", tt.which, ended, err)
		}
		if got := tt.try(); got == locked {
			t.Errorf("%+v: still locked out", tt.which)
		}
		if !strings.Contains(said.String(), `"msg":"audit"`) || !strings.Contains(said.String(), tt.audit) || strings.Contains(said.String(), "@") {
			t.Errorf("%+v: the audit says %s", tt.which, said.String())
		}
	}
	for _, wrong := range []bridge.Unlocking{{}, {Account: "a", All: true}, {Client: "somewhere"}} {
		if _, err := bridge.Unlock(t.Context(), db, "public", wrong, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
}

// TestTickets stand for a session that is in no cookie, in one authorization request.
func TestTickets(t *testing.T) {
	t.Parallel()
	const verifier, challenge = "a-verifier-that-is-long-enough-for-the-rules-of-rfc-7636", "r57OqpQdDZe3yEfyaOGIgm4s6vAK2te5wR13fPlg8w8"
	const page = "https://app.example.com/bridge"
	w := build(t, "core-9.3.0", func(c *config.Bridge) {
		c.Clients = append(c.Clients, config.BridgeClient{ID: "other", Secret: c.Clients[0].Secret, RedirectURIs: []string{callback}})
		c.Clients[0].TicketPage, c.Exchange.Audience = page, ""
	})
	s := w.session(alive)
	ask := func(token string, q url.Values) answer {
		b, h := form(q)
		h["Authorization"] = "Bearer " + token
		return w.do(http.MethodPost, w.url+"/handover/ticket", b, h)
	}
	bound := url.Values{"client_id": {"idp"}, "code_challenge": {challenge}}
	ticket := func() (ticket string) {
		t.Helper()
		var got struct {
			Ticket string `json:"ticket"`
			Expire int    `json:"expires_in"`
		}
		if a := ask(s.Access, bound); json.Unmarshal([]byte(a.body), &got) != nil || a.status != http.StatusOK || got.Ticket == "" || got.Expire > 60 {
			t.Fatalf("a ticket: %d %s", a.status, a.body)
		}
		return got.Ticket
	}
	for what, q := range map[string]url.Values{"no client": {"code_challenge": {challenge}}, "an unknown client": {"client_id": {"x"}, "code_challenge": {challenge}}, "no challenge": {"client_id": {"idp"}}, "a bad one": {"client_id": {"idp"}, "code_challenge": {"x"}}} {
		if a := ask(s.Access, q); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	if a := ask("x", bound); a.status != http.StatusUnauthorized {
		t.Errorf("a forged token: %d", a.status)
	}
	with := func(ticket string, change url.Values) url.Values {
		q := url.Values{"ticket": {ticket}, "code_challenge": {challenge}, "code_challenge_method": {"S256"}}
		for k, v := range change {
			q[k] = v
		}
		return q
	}
	good := ticket()
	for what, change := range map[string]url.Values{
		"another challenge": {"code_challenge": {strings.Repeat("a", 43)}}, "no challenge": {"code_challenge": nil, "code_challenge_method": nil},
		"the challenge in the clear": {"code_challenge_method": {"plain"}}, "another client": {"client_id": {"other"}}, "another ticket": {"ticket": {good + "x"}},
	} {
		if q := w.login(w.url, "", with(good, change)); q.Get("error") != "login_required" {
			t.Errorf("%s: %v", what, q)
		}
	}
	// Somebody else's cookie does not count beside it.
	stranger := w.session(func(x fixture.Session) bool { return alive(x) && x.UserID != s.UserID })
	q := w.login(w.url, "sAccessToken="+stranger.Access, with(good, nil))
	if q.Get("code") == "" || w.sessions(s) != 1 {
		t.Fatalf("%v, %d sessions", q, w.sessions(s))
	}
	if again := w.login(w.url, "", with(good, nil)); again.Get("error") != "login_required" {
		t.Errorf("twice: %v", again)
	}
	if a := w.redeemAt(w.url, q.Get("code"), clientSecret, url.Values{"code_verifier": {verifier}}); a.status != http.StatusOK || w.sessions(s) != 0 || w.sessions(stranger) != 1 {
		t.Errorf("%d %s; %d and %d sessions", a.status, a.body, w.sessions(s), w.sessions(stranger))
	}
	old := with("", nil)
	if q := w.login(w.url, "", old); q.Get("error") != "login_required" {
		t.Errorf("back from the page without a ticket: %v", q)
	}
	// Who has no cookie is sent to the page, once, with what a ticket is bound to.
	request := url.Values{"client_id": {"idp"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s1"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"}}
	a := w.do(http.MethodGet, w.url+"/authorize?"+request.Encode(), "", nil)
	to, fragment, _ := strings.Cut(a.header.Get("Location"), "#")
	about, err := url.ParseQuery(fragment)
	if err != nil || a.status != http.StatusFound || to != page || about.Get("client_id") != "idp" || about.Get("code_challenge") != challenge || about.Get("authorize") != w.url+"/authorize?"+request.Encode() {
		t.Errorf("sent to %s, %v", a.header.Get("Location"), err)
	}
	for _, secret := range []string{good, s.Access} {
		if strings.Contains(w.log.String(), secret) {
			t.Error("a ticket or a token is in the log")
		}
	}
}
