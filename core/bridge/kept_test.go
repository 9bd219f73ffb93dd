//go:build unix

package bridge_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stetl/stetl/core/supertokens/session"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// sessions counts the rows of a session.
func (w *world) sessions(s fixture.Session) int {
	w.t.Helper()
	return postgres.Value[int](w.t, w.dsn, "SELECT count(*) FROM session_info WHERE session_handle = $1", s.Handle)
}

// events reads a counter of what the bridge did.
func (w *world) events(surface, outcome string) bool {
	w.t.Helper()
	admin := httptest.NewRecorder()
	w.bridge.AdminHandler().ServeHTTP(admin, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	count := `stetl_bridge_events_total{outcome="` + outcome + `",surface="` + surface + `"} `
	return strings.Contains(admin.Body.String(), count) && !strings.Contains(admin.Body.String(), count+"0\n")
}

// shut takes the database away from everybody, and gives it back.
func (w *world) shut() (open func()) {
	w.t.Helper()
	u, err := url.Parse(w.dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	allow := func(yes string) { postgres.Exec(w.t, u.String(), `ALTER DATABASE "`+name+`" ALLOW_CONNECTIONS `+yes) }
	allow("false")
	postgres.Exec(w.t, u.String(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
	return func() { allow("true") }
}

// TestOneOfManyCodesIsRedeemed is a browser with fifty tabs at two instances.
func TestOneOfManyCodesIsRedeemed(t *testing.T) {
	t.Parallel()
	const tabs = 50
	w := build(t, "core-9.3.0", nil)
	other, _ := w.instance(nil)
	issuers := []string{w.url, other}
	s := w.session(alive)
	codes := make([]string, tabs)
	var wg sync.WaitGroup
	for i := range tabs {
		wg.Go(func() { codes[i] = w.login(issuers[i%2], "sAccessToken="+s.Access, nil).Get("code") })
	}
	wg.Wait()
	if n := w.sessions(s); n != 1 {
		t.Fatalf("%d sessions are left after codes were issued", n)
	}
	answers := make([]answer, tabs)
	for i, code := range codes {
		if code == "" {
			t.Fatalf("tab %d has no code", i)
		}
		wg.Go(func() { answers[i] = w.redeemAt(issuers[(i/2)%2], code, clientSecret, nil) })
	}
	wg.Wait()
	good := 0
	for i, a := range answers {
		switch {
		case a.status == http.StatusOK:
			good++
		case a.status != http.StatusBadRequest || !strings.Contains(a.body, "invalid_grant"):
			t.Errorf("tab %d: %d %s", i, a.status, a.body)
		}
	}
	if good != 1 || w.sessions(s) != 0 {
		t.Errorf("%d of %d codes were redeemed, %d sessions are left", good, tabs, w.sessions(s))
	}
	for _, outcome := range []string{"issued", "redeemed", "refused"} {
		if !w.events("browser", outcome) && !strings.Contains(w.log.String(), `"outcome":"`+outcome+`"`) {
			t.Errorf("nothing is known of %s", outcome)
		}
	}
}

// TestWhatGoesWrongKeepsTheSession: only tokens that were given end it.
func TestWhatGoesWrongKeepsTheSession(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	s := w.session(alive)
	cookie := "sAccessToken=" + s.Access
	kept := func(after string) {
		t.Helper()
		if n := w.sessions(s); n != 1 {
			t.Fatalf("%d sessions after %s", n, after)
		}
	}
	code := w.login(w.url, cookie, nil).Get("code")
	for what, extra := range map[string]url.Values{
		"a wrong secret": {"client_secret": {"wrong"}}, "another client": {"client_id": {"other"}}, "another address": {"redirect_uri": {"https://evil.example.com/"}},
		"an unknown code": {"code": {"x"}}, "no grant": {"grant_type": {""}}, "another grant": {"grant_type": {"refresh_token"}}, "a verifier for no challenge": {"code_verifier": {"x"}},
	} {
		if a := w.redeemAt(w.url, code, clientSecret, extra); a.status != http.StatusBadRequest && a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
		kept(what)
	}
	if w.events("browser", "redeemed") || !w.events("browser", "issued") || !w.events("browser", "refused") {
		t.Error("what was issued, redeemed and refused is not told apart")
	}

	open := w.shut()
	a := w.redeem(code, clientSecret)
	if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "temporarily_unavailable") || a.header.Get("Retry-After") == "" {
		t.Errorf("a dead database: %d %s", a.status, a.body)
	}
	if q := w.login(w.url, cookie, nil); q.Get("error") != "temporarily_unavailable" || q.Get("state") != "s1" {
		t.Errorf("a dead database, at the authorization endpoint: %v", q)
	}
	if q := w.login(w.url, "", nil); q.Get("error") != "login_required" {
		t.Errorf("a dead database, and no session: %v", q)
	}
	open()
	kept("a dead database")
	if a := w.redeem(code, clientSecret); a.status != http.StatusOK {
		t.Errorf("the code after all that: %d %s", a.status, a.body)
	}
	if n := w.sessions(s); n != 0 || !w.events("browser", "redeemed") {
		t.Errorf("%d sessions after the code was redeemed", n)
	}
}

// someLoaded are the accounts that a run has loaded.
type someLoaded func(session.User) bool

func (l someLoaded) TargetID(_ context.Context, u session.User) (string, bool, error) {
	return u.ID, l(u), nil
}

// TestAccountsThatNoRunHasLoaded get a final answer before anything happens to their
// sessions.
func TestAccountsThatNoRunHasLoaded(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	s := w.session(alive)
	w.loaded = someLoaded(func(u session.User) bool { return u.ID != s.UserID })
	issuer, _ := w.instance(nil)
	if q := w.login(issuer, "sAccessToken="+s.Access, nil); q.Get("error") != "login_required" || q.Get("code") != "" {
		t.Errorf("a browser: %v", q)
	}
	a := w.do(http.MethodPost, issuer+"/handover", "", map[string]string{"Authorization": "Bearer " + s.Access})
	if a.status != http.StatusForbidden || !strings.Contains(a.body, "access_denied") || strings.Contains(a.body, "try again") {
		t.Errorf("an application: %d %s", a.status, a.body)
	}
	if len(w.target.exchanges) != 0 || w.sessions(s) != 1 {
		t.Errorf("the target was asked %d times, %d sessions are left", len(w.target.exchanges), w.sessions(s))
	}
	other := w.session(func(x fixture.Session) bool { return alive(x) && x.UserID != s.UserID })
	if q := w.login(issuer, "sAccessToken="+other.Access, nil); q.Get("code") == "" {
		t.Errorf("somebody who is loaded: %v", q)
	}
}
