//go:build unix

package bridge_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

func firebaseUser(t *testing.T, tr fixture.Truth) (fixture.Account, fixture.Login) {
	t.Helper()
	for _, a := range tr.Accounts {
		for _, l := range a.LoginMethods {
			if a.AppID == "public" && l.PasswordFormat == "firebase_scrypt" && l.ClearPassword != "" && len(l.Tenants) == 1 && l.Tenants[0] == "public" {
				return a, l
			}
		}
	}
	t.Fatal("no user with a Firebase hash")
	return fixture.Account{}, fixture.Login{}
}

func TestLazyCheck(t *testing.T) { fixture.Both(t, "core-9.3.0", lazyCheck) }

func lazyCheck(t *testing.T, name string) {
	t.Helper()
	w := build(t, name, nil)
	a, l := firebaseUser(t, w.truth)
	auth := map[string]string{"Authorization": "Bearer " + lazyToken, "Content-Type": "application/json"}
	at := w.url + "/lazy/by-path/" + url.PathEscape(l.Email)
	counts := func() (c struct{ Waiting, Arrived int }) {
		if err := json.Unmarshal([]byte(w.do(http.MethodGet, w.url+"/lazy", "", auth).body), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := counts()
	got := w.do(http.MethodGet, at, "", auth)
	var user struct {
		ID, Username, Email string
		Enabled             bool
	}
	if err := json.Unmarshal([]byte(got.body), &user); err != nil || user.ID != a.VisibleID || user.Username != l.Email || !user.Enabled {
		t.Errorf("%d %s", got.status, got.body)
	}
	var unheld map[string]any
	got = w.do(http.MethodGet, w.url+"/lazy/own-ids/"+url.PathEscape(l.Email), "", auth)
	if err := json.Unmarshal([]byte(got.body), &unheld); err != nil || unheld["id"] != nil || unheld["username"] != l.Email {
		t.Errorf("an id that the target cannot keep: %d %s", got.status, got.body)
	}
	// What the provider really sends: the name as in a form, a content type with a
	// charset; and the members that it knows, with their types.
	provider := map[string]string{"Authorization": "Bearer " + lazyToken, "Accept": "application/json", "Content-Type": "application/json; charset=UTF-8"}
	encoded := w.url + "/lazy/by-path/" + url.QueryEscape(l.Email)
	if got := w.do(http.MethodGet, encoded, "", provider); got.status != http.StatusOK || !strings.Contains(got.body, `"emailVerified":`) {
		t.Errorf("%d %s", got.status, got.body)
	} else {
		known := json.NewDecoder(strings.NewReader(got.body))
		known.DisallowUnknownFields()
		if err := known.Decode(&struct {
			ID, Username, Email, FirstName, LastName string
			Enabled, EmailVerified                   bool
			Attributes                               map[string][]string
			Roles, Groups, RequiredActions           []string
		}{}); err != nil {
			t.Errorf("%v: %s", err, got.body)
		}
	}
	body, _ := json.Marshal(map[string]string{"password": l.ClearPassword})
	if got := w.do(http.MethodPost, encoded, string(body), provider); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	for password, want := range map[string]int{"wrong": http.StatusUnauthorized, l.ClearPassword: http.StatusOK} {
		body, _ := json.Marshal(map[string]string{"password": password})
		if got := w.do(http.MethodPost, at, string(body), auth); got.status != want {
			t.Errorf("%d, want %d: %s", got.status, want, got.body)
		}
		body, _ = json.Marshal(map[string]string{"email": l.Email, "password": password})
		if got := w.do(http.MethodPost, w.url+"/lazy/by-body", string(body), auth); got.status != want || want == http.StatusOK && !strings.Contains(got.body, a.VisibleID) {
			t.Errorf("in the body: %d, want %d: %s", got.status, want, got.body)
		}
	}
	if after := counts(); after.Waiting != before.Waiting-1 || after.Arrived != before.Arrived+1 {
		t.Errorf("%+v, before %+v", after, before)
	}
	if got := w.do(http.MethodPost, w.url+"/lazy/by-body/user", `{"email":"`+l.Email+`"}`, auth); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	// Whose hash the target has taken is nobody here.
	for _, other := range w.truth.Accounts {
		for _, m := range other.LoginMethods {
			if other.AppID == "public" && m.PasswordFormat == "bcrypt" && m.ClearPassword != "" {
				body, _ := json.Marshal(map[string]string{"password": m.ClearPassword})
				if got := w.do(http.MethodPost, w.url+"/lazy/by-path/"+url.PathEscape(m.Email), string(body), auth); got.status != http.StatusUnauthorized {
					t.Errorf("a bcrypt user: %d", got.status)
				}
				goto nobody
			}
		}
	}
nobody:
	if got := w.do(http.MethodGet, w.url+"/lazy/by-path/nobody@example.com", "", auth); got.status != http.StatusNotFound {
		t.Errorf("nobody: %d", got.status)
	}
	for _, header := range []map[string]string{nil, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic " + lazyToken}} {
		if got := w.do(http.MethodGet, at, "", header); got.status != http.StatusUnauthorized {
			t.Errorf("%v: %d", header, got.status)
		}
	}
}

func TestGuessersAreLockedOut(t *testing.T) { fixture.Both(t, "core-9.3.0", guessersAreLockedOut) }

func guessersAreLockedOut(t *testing.T, name string) {
	t.Helper()
	strict := func(c *config.Bridge) { c.Limits.Failures = 3; c.TrustedProxies = []string{"127.0.0.0/8", "::1/128"} }
	w := build(t, name, strict)
	other, _ := w.instance(strict)
	_, l := firebaseUser(t, w.truth)
	auth := map[string]string{"Authorization": "Bearer " + lazyToken, "Content-Type": "application/json"}
	try := func(issuer, password string) int {
		body, _ := json.Marshal(map[string]string{"email": l.Email, "password": password})
		return w.do(http.MethodPost, issuer+"/lazy/by-body", string(body), auth).status
	}
	for range 3 {
		if got := try(w.url, "wrong"); got != http.StatusUnauthorized {
			t.Fatalf("status %d", got)
		}
	}
	if got := try(other, l.ClearPassword); got != http.StatusTooManyRequests { // at the other instance, too
		t.Errorf("locked out: %d", got)
	}
	from := func(address string) map[string]string {
		return map[string]string{"X-Forwarded-For": "6.6.6.6, " + address}
	}
	for surface, ask := range map[string]func(map[string]string) answer{
		"reset": func(h map[string]string) answer {
			return w.do(http.MethodGet, w.origin()+"/auth/reset-password?token=guess", "", h)
		},
		"verify": func(h map[string]string) answer {
			return w.do(http.MethodGet, w.origin()+"/auth/verify-email?token=guess", "", h)
		},
		"token": func(h map[string]string) answer {
			h["Authorization"] = "Bearer wrong"
			return w.do(http.MethodGet, w.url+"/lazy", "", h)
		},
	} {
		for i := range 4 {
			a := ask(from("192.0.2.1"))
			if locked := a.status == http.StatusTooManyRequests; locked != (i == 3) || locked && a.header.Get("Retry-After") == "" {
				t.Errorf("%s, attempt %d: %d", surface, i, a.status)
			}
		}
		if a := ask(from("192.0.2.2")); a.status == http.StatusTooManyRequests {
			t.Errorf("%s: somebody else is locked out", surface)
		}
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	w := build(t, "core-9.3.0", func(c *config.Bridge) { c.Limits.PerMinute = 3 })
	for i := range 4 {
		a := w.do(http.MethodGet, w.origin()+"/auth/reset-password?token=x", "", nil)
		if (a.status == http.StatusTooManyRequests) != (i == 3) {
			t.Errorf("request %d: %d", i, a.status)
		}
	}
}
