//go:build unix

package handover_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/stetl/stetl/internal/testserver/chromium"
)

// switching is an application with the module, and a new system whose answers a test
// chooses. Settings of the page are in its address.
type switching struct {
	url string

	mu     sync.Mutex
	answer string        // what a sign-in comes back with: "ok", "" for nothing at all, or an error
	logins []string      // what the page has asked for
	hold   chan struct{} // sign-ins wait until it is closed
	ticket func(w http.ResponseWriter, r *http.Request)
	asked  []string // tokens that tickets were asked for with
}

const switchingPage = `<!doctype html><p id="answer"></p><script type="module">
import { handover } from '/handover.js';
const q = new URLSearchParams(location.search);
const show = text => { document.getElementById('answer').textContent = text; };
if (q.has('forgetful')) Storage.prototype.setItem = () => { throw new Error('no'); };
const signedIn = async () => (await fetch('/me')).ok;
const error = q.get('error') || '';
q.delete('error');
history.replaceState(null, '', '/?' + q);
const state = await handover({
  signedIn, error, clear: '/clear', patience: Number(q.get('patience')) || 30000,
  signIn: parameters => location.assign('/login?' + new URLSearchParams(parameters)),
});
if (state !== 'leaving') show(state);
</script>`

const switchingTicket = `<!doctype html><p id="answer"></p><script type="module">
import { ticket } from '/handover.js';
await ticket({ issuer: location.origin + '/bridge' });
document.getElementById('answer').textContent = 'stays';
</script>`

func startSwitching(t *testing.T) *switching {
	t.Helper()
	s := &switching{}
	mux := http.NewServeMux()
	page := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, text)
		}
	}
	mux.HandleFunc("GET /{$}", page(switchingPage))
	mux.HandleFunc("GET /ticket", page(switchingTicket))
	mux.HandleFunc("GET /empty", page(`<p id="answer">empty</p>`))
	mux.HandleFunc("GET /handover.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "browser/handover.js") })
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("app"); err != nil {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	mux.HandleFunc("GET /login", s.login)
	mux.HandleFunc("POST /clear", func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "sAccessToken", Path: "/", MaxAge: -1})
	})
	mux.HandleFunc("GET /stuck", page(`<p id="answer">stuck</p>`))
	mux.HandleFunc("GET /bridge/authorize", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `<p id="answer">ticket `+r.URL.Query().Get("ticket")+` state `+r.URL.Query().Get("state")+`</p>`)
	})
	mux.HandleFunc("POST /bridge/handover/ticket", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		answer := s.ticket
		s.mu.Unlock()
		answer(w, r)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *switching) login(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.logins = append(s.logins, r.URL.RawQuery)
	answer, hold := s.answer, s.hold
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	switch answer {
	case "ok":
		http.SetCookie(w, &http.Cookie{Name: "app", Value: "x", Path: "/"})
		http.Redirect(w, r, "/", http.StatusFound)
	case "":
		http.Redirect(w, r, "/", http.StatusFound)
	case "stuck":
		http.Redirect(w, r, "/stuck", http.StatusFound)
	default:
		http.Redirect(w, r, "/?"+url.Values{"error": {answer}}.Encode(), http.StatusFound)
	}
}

// answers sets what sign-ins come back with, and forgets those that were.
func (s *switching) answers(with string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.logins = with, nil
}

func (s *switching) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.logins)
}

// visitor is a tab of a browser of its own with what SuperTokens' libraries leave.
func (s *switching) visitor(t *testing.T, browser context.Context, has string) context.Context {
	t.Helper()
	tab := chromium.Private(t, browser)
	if err := chromedp.Do(tab, chromedp.Navigate(s.url+"/empty"), chromedp.WaitVisible("#answer")); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(tab, chromedp.Evaluate[string](has+"; ''")); err != nil {
		t.Fatal(err)
	}
	return tab
}

func (s *switching) open(t *testing.T, tab context.Context, path string) string {
	t.Helper()
	if err := chromedp.Do(tab, chromedp.Navigate(s.url+path)); err != nil {
		t.Fatal(err)
	}
	return text(t, tab)
}

// text waits until the page, or one that it leads to, says something.
func text(t *testing.T, tab context.Context) string {
	t.Helper()
	for {
		got, err := chromedp.Run(tab, chromedp.Evaluate[string]("document.getElementById('answer')?.textContent || ''"))
		if got != "" {
			return got
		}
		if tab.Err() != nil { // an error else is of a page that has gone
			t.Fatal(tab.Err(), err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

const (
	cookieMode = `document.cookie = "sFrontToken=front; path=/"; document.cookie = "st-last-access-token-update=1; path=/"`
	headerMode = `localStorage.setItem("st-access-token", "access"); document.cookie = "st-refresh-token=refresh%2F.V2; path=/"`
	throughIt  = "kc_idp_hint=supertokens&prompt=none"
)

func TestBrowser(t *testing.T) {
	t.Parallel()
	browser := chromium.Start(t)
	s := startSwitching(t)
	check := func(t *testing.T, what, got, want string, logins ...string) {
		t.Helper()
		if got != want || !slices.Equal(s.seen(), logins) {
			t.Errorf("%s: %q after sign-ins %q, want %q after %q", what, got, s.seen(), want, logins)
		}
	}

	t.Run("nothing of SuperTokens", func(t *testing.T) {
		s.answers("ok")
		check(t, "none", s.open(t, s.visitor(t, browser, `document.cookie = "sFrontToken=remove; path=/"`), "/"), "none")
	})
	t.Run("arrives", func(t *testing.T) {
		s.answers("ok")
		tab := s.visitor(t, browser, cookieMode+`; document.cookie = "mine=1; path=/"; document.cookie = "sAccessToken=a; path=/"; localStorage.setItem("supertokens-x", 1); localStorage.setItem("mine", 1)`)
		check(t, "first", s.open(t, tab, "/"), "signed-in", throughIt)
		left, err := chromedp.Run(tab, chromedp.Evaluate[string](`document.cookie.split("; ").sort() + " " + Object.keys(localStorage).sort()`))
		if err != nil || left != "app=x,mine=1 mine,stetl-handover" {
			t.Errorf("left: %q, %v", left, err)
		}
		check(t, "again", s.open(t, tab, "/"), "signed-in", throughIt)
	})
	t.Run("refused", func(t *testing.T) {
		s.answers("login_required")
		tab := s.visitor(t, browser, cookieMode)
		check(t, "first", s.open(t, tab, "/"), "refused", throughIt)
		check(t, "again", s.open(t, tab, "/"), "refused", throughIt)
		s.answers("ok")
		if _, err := chromedp.Run(tab, chromedp.Evaluate[string](`document.cookie = "sFrontToken=another; path=/"; ''`)); err != nil {
			t.Fatal(err)
		}
		check(t, "another session", s.open(t, tab, "/"), "signed-in", throughIt)
	})
	for _, answer := range []string{"temporarily_unavailable", ""} {
		t.Run("no end of "+answer, func(t *testing.T) {
			s.answers(answer)
			tab := s.visitor(t, browser, cookieMode)
			for range 5 {
				if got := s.open(t, tab, "/"); got != "later" {
					t.Errorf("%q", got)
				}
			}
			check(t, "given up", s.open(t, tab, "/"), "later", throughIt, throughIt, throughIt)
		})
	}
	t.Run("no memory", func(t *testing.T) {
		s.answers("")
		check(t, "later", s.open(t, s.visitor(t, browser, cookieMode), "/?forgetful=1"), "later")
	})
	t.Run("three tabs", func(t *testing.T) { s.threeTabs(t, browser) })
	t.Run("a tab that is stuck", func(t *testing.T) {
		s.answers("stuck")
		first := s.visitor(t, browser, cookieMode)
		check(t, "first", s.open(t, first, "/"), "stuck", throughIt)
		s.answers("ok")
		check(t, "second", s.open(t, chromium.Beside(t, first), "/?patience=100"), "signed-in", throughIt)
	})
}

// threeTabs opens tabs while the first is on its way: they wait for it.
func (s *switching) threeTabs(t *testing.T, browser context.Context) { //nolint:contextcheck // every tab is a context
	t.Helper()
	s.answers("ok")
	hold := make(chan struct{})
	s.mu.Lock()
	s.hold = hold
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.hold = nil
		s.mu.Unlock()
	}()
	first := s.visitor(t, browser, cookieMode)
	tabs := []context.Context{first, chromium.Beside(t, first), chromium.Beside(t, first)}
	for _, tab := range tabs {
		go func() { _ = chromedp.Do(tab, chromedp.Navigate(s.url+"/")) }() // it returns when the sign-in does
	}
	for len(s.seen()) == 0 {
		if first.Err() != nil {
			t.Fatal("nobody signs in")
		}
		time.Sleep(10 * time.Millisecond)
	}
	close(hold)
	for _, tab := range tabs {
		if got := text(t, tab); got != "signed-in" { //nolint:contextcheck // every tab is a context
			t.Errorf("%q", got)
		}
	}
	if got := s.seen(); len(got) != 1 {
		t.Errorf("sign-ins %q, want one", got)
	}
}

func TestTickets(t *testing.T) {
	t.Parallel()
	browser := chromium.Start(t)
	s := startSwitching(t)
	const request = "/bridge/authorize?client_id=kc&state=s"
	page := func(authorize string) string {
		return "/ticket#" + url.Values{"authorize": {authorize}, "client_id": {"kc"}, "code_challenge": {"c"}}.Encode()
	}
	only := func(good string, otherwise int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil || string(body) != `{"client_id":"kc","code_challenge":"c"}` {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			if r.Header.Get("Authorization") != "Bearer "+good {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(otherwise)
				return
			}
			_, _ = io.WriteString(w, `{"ticket":"T"}`)
		}
	}
	for _, c := range []struct {
		name, has string
		ticket    func(http.ResponseWriter, *http.Request)
		want      string
		asked     []string
	}{
		{"access token", headerMode, only("access", 401), "ticket T state s", []string{"access"}},
		{"an old access token", headerMode, only("refresh/.V2", 401), "ticket T state s", []string{"access", "refresh/.V2"}},
		{"no session", headerMode, only("", 401), "ticket  state s", []string{"access", "refresh/.V2"}},
		{"not loaded", headerMode, only("", 403), "ticket  state s", []string{"access", "refresh/.V2"}},
		{"the bridge is busy", headerMode, only("", 503), "ticket  state s", []string{"access", "access", "access"}},
		{"no tokens", "", only("", 401), "ticket  state s", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.mu.Lock()
			s.ticket, s.asked = c.ticket, nil
			s.mu.Unlock()
			tab := s.visitor(t, browser, c.has)
			if got := s.open(t, tab, page(s.url+request)); got != c.want || !slices.Equal(s.asked, c.asked) {
				t.Errorf("%q after %q, want %q after %q", got, s.asked, c.want, c.asked)
			}
		})
	}
	t.Run("somebody else's address", func(t *testing.T) {
		for _, address := range []string{"http://127.0.0.1:1/x", s.url + "/bridge/authorized?x", "javascript:alert(1)", ""} {
			if got := s.open(t, s.visitor(t, browser, headerMode), page(address)); got != "stays" {
				t.Errorf("%s: %q", address, got)
			}
		}
	})
	// The bridge was away when the ticket was asked for, and knows of no session when the
	// browser comes: that says nothing about the session.
	t.Run("later", func(t *testing.T) {
		s.ticket = only("", 502)
		s.answers("stuck")
		tab := s.visitor(t, browser, headerMode)
		for _, step := range []struct{ path, want string }{{"/", "stuck"}, {page(s.url + request), "ticket  state s"}, {"/?error=login_required", "later"}} {
			if got := s.open(t, tab, step.path); got != step.want {
				t.Errorf("%s: %q", step.path, got)
			}
		}
		s.answers("ok")
		if got := s.open(t, tab, "/"); got != "signed-in" {
			t.Errorf("once it is back: %q", got)
		}
	})
}
