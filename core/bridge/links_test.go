//go:build unix

package bridge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/chromium"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

func form(v url.Values) (string, map[string]string) {
	return v.Encode(), map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
}

func TestResetLink(t *testing.T) { fixture.Both(t, "core-9.3.0", resetLink) }

func resetLink(t *testing.T, name string) {
	t.Helper()
	w := build(t, name, nil)
	link := w.truth.ResetTokens[0]
	page := w.origin() + "/auth/reset-password"
	for range 2 { // a mail scanner, then a person
		if a := w.do(http.MethodGet, page+"?rid=emailpassword&token="+link.Token, "", nil); a.status != http.StatusOK || !strings.Contains(a.body, link.Token) || a.header.Get("Referrer-Policy") != "no-referrer" {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	post := func(v url.Values) answer { b, h := form(v); return w.do(http.MethodPost, page, b, h) }
	if a := post(url.Values{"token": {link.Token}, "password": {"a"}, "again": {"b"}}); a.status != http.StatusUnprocessableEntity {
		t.Errorf("two passwords: %d", a.status)
	}
	w.target.fail(&pluginapi.Failure{Code: diag.TargetPasswordRefused, Detail: "at least <8> characters"})
	if a := post(url.Values{"token": {link.Token}, "password": {"a"}, "again": {"a"}}); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "at least &lt;8&gt; characters") {
		t.Errorf("refused: %d %s", a.status, a.body)
	}
	w.target.fail(errors.New("down"))
	if a := post(url.Values{"token": {link.Token}, "password": {"a"}, "again": {"a"}}); a.status != http.StatusBadGateway {
		t.Errorf("down: %d", a.status)
	}
	w.target.fail(nil)
	good := url.Values{"token": {link.Token}, "password": {newPassword}, "again": {newPassword}}
	if a := post(good); a.status != http.StatusOK || w.target.passwords[link.VisibleID] != newPassword {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := post(good); a.status != http.StatusGone {
		t.Errorf("again: %d", a.status)
	}
	if a := w.do(http.MethodGet, page+"?token="+link.Token, "", nil); a.status != http.StatusGone {
		t.Errorf("the page again: %d", a.status)
	}
	other := w.truth.ResetTokens[1]
	api := func(token, password string) string {
		body, _ := json.Marshal(map[string]any{"method": "token", "token": token, "formFields": []any{map[string]string{"id": "password", "value": password}}})
		a := w.do(http.MethodPost, w.origin()+"/auth/user/password/reset", string(body), map[string]string{"Content-Type": "application/json; charset=utf-8"})
		var out struct{ Status string }
		if err := json.Unmarshal([]byte(a.body), &out); err != nil {
			t.Errorf("%d %s", a.status, a.body)
		}
		return out.Status
	}
	for i, want := range []string{"FIELD_ERROR", "OK", "RESET_PASSWORD_INVALID_TOKEN_ERROR"} {
		if got := api(other.Token, []string{"", newPassword, newPassword}[i]); got != want {
			t.Errorf("API: %s, want %s", got, want)
		}
	}
}

// TestResetByTheTarget follows a link in a browser, which ends where the target says: at
// another origin.
func TestResetByTheTarget(t *testing.T) {
	t.Parallel()
	browser := chromium.Start(t)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `<p id="arrived">%s</p>`, html.EscapeString(r.URL.Query().Get("ticket")))
	}))
	t.Cleanup(target.Close)
	w := build(t, "core-9.3.0", func(c *config.Bridge) { c.Reset.Mode = "target" })
	w.target.location = target.URL + "/lo/reset?ticket=a&b=<c>"
	link := w.origin() + "/auth/reset-password?token=" + w.truth.ResetTokens[0].Token
	tab := chromium.Private(t, browser)
	if err := chromedp.Do(tab, chromedp.Navigate(link), chromedp.Click("#go"), chromedp.WaitVisible("#arrived")); err != nil {
		t.Fatal(err)
	}
	if text, err := chromedp.Run(tab, chromedp.Text("#arrived")); err != nil || text != "a" {
		t.Errorf("arrived with %q, %v", text, err)
	}
	if a := w.do(http.MethodGet, link, "", nil); a.status != http.StatusGone {
		t.Errorf("again: %d", a.status)
	}
}

func TestVerificationLink(t *testing.T) { fixture.Both(t, "core-9.3.0", verificationLink) }

func verificationLink(t *testing.T, name string) {
	t.Helper()
	w := build(t, name, nil)
	link, page := w.truth.VerificationTokens[0], w.origin()+"/auth/verify-email"
	if a := w.do(http.MethodGet, page+"?token="+link.Token, "", nil); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	b, h := form(url.Values{"token": {link.Token}})
	for _, want := range []int{http.StatusOK, http.StatusGone} {
		if a := w.do(http.MethodPost, page, b, h); a.status != want {
			t.Errorf("%d, want %d", a.status, want)
		}
	}
	if n := fixture.Value[int](t, w.dsn, "SELECT count(*) FROM emailverification_verified_emails WHERE user_id = $1 AND email = $2", link.UserID, link.Email); n != 1 {
		t.Errorf("%d rows say that the address is verified", n)
	}
	body := `{"method":"token","token":"` + w.truth.VerificationTokens[1].Token + `"}`
	for _, want := range []string{"OK", "EMAIL_VERIFICATION_INVALID_TOKEN_ERROR"} {
		if a := w.do(http.MethodPost, w.origin()+"/auth/user/email/verify", body, map[string]string{"Content-Type": "application/json"}); !strings.Contains(a.body, want) {
			t.Errorf("%d %s, want %s", a.status, a.body, want)
		}
	}
}
