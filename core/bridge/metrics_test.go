//go:build unix

package bridge_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/bridge"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

func scrape(s *bridge.Server) string {
	admin := httptest.NewRecorder()
	s.AdminHandler().ServeHTTP(admin, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return admin.Body.String()
}

// Operators see how many sessions are left, and that hand-overs which begin also end.
func TestMetricsTellHowFarTheSwitchIs(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", nil)
	live := postgres.Value[int](t, w.dsn, "SELECT count(*) FROM session_info WHERE app_id = 'public' AND expires_at > extract(epoch from now()) * 1000")
	if live < 2 {
		t.Fatalf("%d live sessions", live)
	}
	has := func(s *bridge.Server, live, issued, redeemed int) {
		t.Helper()
		text := scrape(s)
		for _, line := range []string{
			fmt.Sprintf("stetl_bridge_sessions_live %d\n", live),
			fmt.Sprintf(`stetl_bridge_events_total{outcome="issued",surface="browser"} %d`+"\n", issued),
			fmt.Sprintf(`stetl_bridge_events_total{outcome="redeemed",surface="browser"} %d`+"\n", redeemed),
		} {
			if !strings.Contains(text, line) {
				t.Errorf("the metrics have no %s%s", line, text)
			}
		}
	}
	has(w.bridge, live, 0, 0)
	q := w.login(w.url, "sAccessToken="+url.QueryEscape(w.session(alive).Access), nil)
	has(w.bridge, live, 1, 0)
	if a := w.redeem(q.Get("code"), clientSecret); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	has(w.bridge, live, 1, 1) // it counts rows once in a minute
	_, fresh := w.instance(nil)
	has(fresh, live-1, 0, 0)
}

// What people see is in their language, also where it says that something is wrong;
// programs get a line.
func TestPagesSpeak(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", func(c *config.Bridge) { c.Limits.PerMinute = 3 })
	browser := map[string]string{"Accept": "text/html,*/*", "Accept-Language": "fr-CA,en;q=0.5"}
	for _, c := range []struct {
		path   string
		status int
		says   string
	}{
		{"/auth/reset-password?token=" + w.truth.ResetTokens[0].Token, http.StatusOK, "Choisir un nouveau mot de passe"},
		{"/auth/reset-password?token=none", http.StatusGone, "ne fonctionne plus"},
		{"/auth/session/refresh/bridge/authorize?client_id=nobody", http.StatusBadRequest, "ne peut pas être ouverte"},
		{"/auth/session/refresh/bridge/end_session", http.StatusOK, "Vous êtes déconnecté"},
		{"/auth/reset-password?token=none", http.StatusGone, "ne fonctionne plus"},
		{"/auth/reset-password?token=none", http.StatusTooManyRequests, "trop de tentatives"},
	} {
		a := w.do(http.MethodGet, w.origin()+c.path, "", browser)
		if a.status != c.status || !strings.Contains(a.body, c.says) || a.header.Get("Content-Language") != "fr" {
			t.Errorf("%s: %d %s %s", c.path, a.status, a.header.Get("Content-Language"), a.body)
		}
	}
	if a := w.do(http.MethodGet, w.origin()+"/auth/reset-password?token=none", "", nil); a.status != http.StatusTooManyRequests || strings.Contains(a.body, "<") {
		t.Errorf("a program gets %d %s", a.status, a.body)
	}
}
