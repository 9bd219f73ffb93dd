//go:build unix

package bridge_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

// TestWhatAnAuthorizationRequestAsks goes through the parameters of OpenID Connect
// that a provider without a login page cannot satisfy, and those that protect the
// code.
func TestWhatAnAuthorizationRequestAsks(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", func(c *config.Bridge) { c.Limits.Failures = 1 })
	s := w.session(alive)
	other := w.session(func(x fixture.Session) bool { return alive(x) && x.UserID != s.UserID })
	cookie := "sAccessToken=" + url.QueryEscape(s.Access)
	const verifier = "a-verifier-that-is-long-enough-for-the-rules-of-rfc-7636"
	const challenge = "r57OqpQdDZe3yEfyaOGIgm4s6vAK2te5wR13fPlg8w8"

	first := w.login(w.url, "sAccessToken="+url.QueryEscape(other.Access), nil)
	var tokens struct {
		IDToken string `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(w.redeem(first.Get("code"), clientSecret).body), &tokens); err != nil || tokens.IDToken == "" {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		ask  url.Values
		want string
	}{
		"session older than max_age":   {url.Values{"max_age": {"1"}}, "login_required"},
		"max_age of none":              {url.Values{"max_age": {"0"}}, "login_required"},
		"another user's id_token_hint": {url.Values{"id_token_hint": {tokens.IDToken}}, "login_required"},
		"a forged id_token_hint":       {url.Values{"id_token_hint": {tokens.IDToken + "x"}}, "login_required"},
		"a choice of accounts":         {url.Values{"prompt": {"select_account"}}, "login_required"},
		"none and another prompt":      {url.Values{"prompt": {"none login"}}, "invalid_request"},
		"a form as answer":             {url.Values{"response_mode": {"form_post"}}, "invalid_request"},
		"tokens without a code":        {url.Values{"response_type": {"id_token token"}}, "unauthorized_client"},
		"a request object":             {url.Values{"request": {"e30.e30.e30"}}, "request_not_supported"},
		"NUL in the state":             {url.Values{"state": {"a\x00b"}}, "invalid_request"},
	} {
		q := w.login(w.url, cookie, c.ask)
		if q.Get("error") != c.want {
			t.Errorf("%s: %v, want %s", name, q, c.want)
		}
	}

	// The session is still there after all that, and PKCE protects the code.
	q := w.login(w.url, cookie, url.Values{"max_age": {"999999999"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"}})
	if q.Get("code") == "" {
		t.Fatalf("answer %v", q)
	}
	if a := w.redeem(q.Get("code"), clientSecret); a.status != http.StatusBadRequest {
		t.Errorf("a code with a challenge, and no verifier: %d %s", a.status, a.body)
	}
	if a := w.redeemAt(w.url, q.Get("code"), clientSecret, url.Values{"code_verifier": {verifier + "x"}}); a.status != http.StatusBadRequest {
		t.Errorf("another verifier: %d %s", a.status, a.body)
	}
	if a := w.redeemAt(w.url, q.Get("code"), clientSecret, url.Values{"redirect_uri": {callback + "x"}}); a.status != http.StatusBadRequest {
		t.Errorf("another address: %d %s", a.status, a.body)
	}
	if a := w.redeemAt(w.url, q.Get("code"), clientSecret, url.Values{"code_verifier": {verifier}}); a.status != http.StatusOK {
		t.Errorf("with the verifier, after all that: %d %s", a.status, a.body)
	}
	// Of the client's secret there is one guess for a good code.
	third := w.session(func(x fixture.Session) bool { return alive(x) && x.UserID != s.UserID && x.UserID != other.UserID })
	q = w.login(w.url, "sAccessToken="+url.QueryEscape(third.Access), nil)
	for i, want := range []int{http.StatusUnauthorized, http.StatusTooManyRequests} {
		if a := w.redeem(q.Get("code"), []string{"guess", clientSecret}[i]); a.status != want {
			t.Errorf("guessing the client's secret, attempt %d: %d, want %d", i, a.status, want)
		}
	}
}

func unsigned(expires time.Time) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"RS256","typ":"JWT","version":"5","kid":"d-1"}`)) + "." +
		enc(fmt.Appendf(nil, `{"sub":"u","rsub":"u","tId":"public","exp":%d,"sessionHandle":"h","refreshTokenHash1":"aa"}`, expires.Unix())) + "." + enc(make([]byte, 256))
}

// TestForgedTokensLockNobodyOut: a signature cannot be guessed, and everybody behind
// one address would pay for who tries.
func TestForgedTokensLockNobodyOut(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", func(c *config.Bridge) { c.Limits.Failures = 3 })
	for range 5 {
		for _, expires := range []time.Time{time.Now().Add(-time.Hour), time.Now().Add(time.Hour)} {
			if q := w.login(w.url, "sAccessToken="+unsigned(expires), nil); q.Get("error") != "login_required" {
				t.Fatalf("a browser: %v", q)
			}
			if a := w.do(http.MethodPost, w.url+"/handover", "", map[string]string{"Authorization": "Bearer " + unsigned(expires)}); a.status != http.StatusUnauthorized {
				t.Fatalf("an application: %d %s", a.status, a.body)
			}
		}
	}
	if q := w.login(w.url, "sAccessToken="+w.session(alive).Access, nil); q.Get("code") == "" {
		t.Errorf("somebody else at the same address: %v", q)
	}
}

// TestOldLinksAreNoGuesses, either: a mail scanner follows many of them.
func TestOldLinksAreNoGuesses(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", func(c *config.Bridge) { c.Limits.Failures = 2 })
	for _, link := range w.truth.ResetTokens {
		if link.AppID != "public" || !link.Expired {
			continue
		}
		for range 4 {
			if a := w.do(http.MethodGet, w.origin()+"/auth/reset-password?token="+link.Token, "", nil); a.status != http.StatusGone {
				t.Fatalf("an old link: %d", a.status)
			}
		}
		for i, want := range []int{http.StatusGone, http.StatusGone, http.StatusTooManyRequests} {
			if a := w.do(http.MethodGet, w.origin()+"/auth/reset-password?token=guess", "", nil); a.status != want {
				t.Errorf("guess %d: %d, want %d", i, a.status, want)
			}
		}
		return
	}
	t.Error("no expired link")
}

// TestGuessingAtOnceAndByOtherNames tries to get more guesses at a password than
// the limit allows.
func TestGuessingAtOnceAndByOtherNames(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", func(c *config.Bridge) { c.Limits.Failures = 3 })
	a, l := firebaseUser(t, w.truth)
	auth := map[string]string{"Authorization": "Bearer " + lazyToken, "Content-Type": "application/json"}
	try := func(name, password string) int {
		body, _ := json.Marshal(map[string]string{"email": name, "password": password})
		return w.do(http.MethodPost, w.url+"/lazy/by-body", string(body), auth).status
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	tried := 0
	for i := range 20 {
		wg.Go(func() {
			if try([]string{l.Email, strings.ToUpper(l.Email), " " + l.Email, a.VisibleID, a.InternalID}[i%5], "wrong") == http.StatusUnauthorized {
				mu.Lock()
				tried++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if most := 2 + runtime.GOMAXPROCS(0); tried > most {
		t.Errorf("%d guesses were tried, want at most %d", tried, most)
	}
	for _, name := range []string{l.Email, a.VisibleID} {
		if got := try(name, l.ClearPassword); got != http.StatusTooManyRequests {
			t.Errorf("%s is not locked out: %d", name, got)
		}
	}
	if got := try("a\x00b@example.com", "x"); got != http.StatusUnauthorized {
		t.Errorf("a name that PostgreSQL does not take: %d", got)
	}
}

// stuckTarget answers nobody until it is let go.
type stuckTarget struct {
	fakeTarget
	asked chan struct{}
	letGo chan struct{}
}

func (s *stuckTarget) Exchange(ctx context.Context, a pluginapi.Assertion) (pluginapi.Tokens, error) {
	s.asked <- struct{}{}
	select {
	case <-s.letGo:
	case <-ctx.Done():
		return pluginapi.Tokens{}, ctx.Err()
	}
	return s.fakeTarget.Exchange(ctx, a)
}

// TestSlowTarget has more people wait for the target than there are connections to
// the database: everything else is served meanwhile, and nobody loses a session.
func TestSlowTarget(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	stuck := &stuckTarget{fakeTarget: fakeTarget{passwords: map[string]string{}}, asked: make(chan struct{}, 20), letGo: make(chan struct{})}
	w.serves, w.wait = stuck, 50*time.Millisecond
	issuer, _ := w.instance(nil)
	var sessions []fixture.Session
	for _, s := range w.truth.Sessions {
		if s.AppID == "public" && alive(s) {
			sessions = append(sessions, s)
		}
	}
	if len(sessions) < 7 {
		t.Fatalf("%d sessions", len(sessions))
	}
	visitor, waiting := sessions[0], sessions[1:]
	answers := make(chan answer, 2*len(waiting)+1)
	handover := func(s fixture.Session) {
		answers <- w.do(http.MethodPost, issuer+"/handover", "", map[string]string{"Authorization": "Bearer " + s.Access})
	}
	const connections, most = 8, 5 // of the pool; of them for the target
	for _, s := range waiting[:most] {
		go handover(s)
	}
	for range most {
		<-stuck.asked
	}
	go handover(waiting[0]) // twice at once, and one too many
	for _, s := range waiting[most:] {
		go handover(s)
	}
	for range 1 + len(waiting) - most {
		if a := <-answers; a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("one too many: %d %s", a.status, a.body)
		}
	}
	if a := w.do(http.MethodGet, strings.TrimSuffix(issuer, "/auth/session/refresh/bridge")+"/readyz", "", nil); a.status != http.StatusOK {
		t.Errorf("readiness: %d %s", a.status, a.body)
	}
	if q := w.login(issuer, "sAccessToken="+visitor.Access, nil); q.Get("code") == "" {
		t.Errorf("a browser meanwhile: %v", q)
	}
	close(stuck.letGo)
	for range most {
		if a := <-answers; a.status != http.StatusOK {
			t.Errorf("who waited: %d %s", a.status, a.body)
		}
	}
	for _, s := range waiting[most:] {
		handover(s)
		if a := <-answers; a.status != http.StatusOK {
			t.Errorf("who tries again: %d %s", a.status, a.body)
		}
	}
}

// brokenTarget has a bug.
type brokenTarget struct{ fakeTarget }

func (*brokenTarget) Exchange(context.Context, pluginapi.Assertion) (pluginapi.Tokens, error) {
	panic("canary-panic")
}

// TestBugIsToldAndCostsNothing: the operator hears of a panic, the caller does not,
// and the session is still there.
func TestBugIsToldAndCostsNothing(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	w.serves = &brokenTarget{}
	issuer, _ := w.instance(nil)
	bearer := map[string]string{"Authorization": "Bearer " + w.session(alive).Access}
	if a := w.do(http.MethodPost, issuer+"/handover", "", bearer); a.status != http.StatusInternalServerError || strings.Contains(a.body, "canary") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if said := w.log.String(); !strings.Contains(said, "brokenTarget") || strings.Contains(said, "canary-panic") {
		t.Errorf("log: %s", said)
	}
	if a := w.do(http.MethodPost, w.url+"/handover", "", bearer); a.status != http.StatusOK {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}
