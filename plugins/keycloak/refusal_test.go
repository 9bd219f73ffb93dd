//go:build unix

package keycloak

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// Each of these users would have the server refuse the whole request; each costs
// itself alone, with a code and, where only the server knows, its words.
func TestServerRefusals(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	other := newRealmOn(t, s, "refusals-other")
	load(t, open(t, other), []sdk.User{person(30_500)})
	for i, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			testRefusals(t, s, w, 30_000+200*i)
		})
	}
}

func testRefusals(t *testing.T, s *keycloak.Server, w way, offset int) {
	t.Helper()
	realm := "refusals-" + w.name
	c := newRealmOn(t, s, realm)
	c.URL, c.BatchSize = w.front(t, s), 50
	admin := func(path string, in any) {
		t.Helper()
		if err := s.Admin(t.Context(), http.MethodPost, "/realms/"+realm+path, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	admin("/users", map[string]any{"username": "somebody", "email": "taken@example.com", "enabled": true})
	admin("/users", map[string]any{"username": "boss@example.com", "enabled": true})
	// Only the role's name is known to the plugin, not that this one may not be made.
	bad := []struct {
		name   string
		change func(*sdk.User)
		code   sdk.Code
		words  string
	}{
		{"e-mail of somebody else", func(u *sdk.User) { u.Email = "taken@example.com" }, sdk.CodeEmailConflict, "belongs to the account"},
		{"username of somebody else", func(u *sdk.User) { u.Username = "Boss@example.com" }, sdk.CodeUsernameConflict, "belongs to the account"},
		{"id in another realm", func(u *sdk.User) { u.ID = person(30_500).ID }, sdk.CodeTargetRefused, "409"},
		{"id too long", func(u *sdk.User) { u.ID = strings.Repeat("9", 37) }, sdk.CodeIDTooLong, "37"},
		{"id of a directory", func(u *sdk.User) { u.ID = "f:1:2" }, sdk.CodeIDInvalid, "f:"},
		{"id with a slash", func(u *sdk.User) { u.ID = "a/b" }, sdk.CodeIDInvalid, "/"},
		{"no username", func(u *sdk.User) { u.Username, u.Email = " ", "" }, sdk.CodeUsernameMissing, "no name"},
		{"username too long", func(u *sdk.User) { u.Username = strings.Repeat("u", 256) }, sdk.CodeFieldTooLong, "256"},
		{"a NUL in a name", func(u *sdk.User) { u.FamilyName = "a\x00b" }, "", ""}, // what the database says decides
		{"metadata too large", func(u *sdk.User) { u.Metadata = fmt.Appendf(nil, `{"k":%q}`, strings.Repeat("x", maxBody)) }, sdk.CodeUserTooLarge, "bytes"},
		{"no base32", func(u *sdk.User) {
			u.TOTP = []sdk.TOTPDevice{{Name: "a", Secret: secretOf("1!"), Period: 30 * time.Second}}
		}, sdk.CodeTOTPInvalid, "base32"},
	}
	users := people(offset, offset+99)
	for i, b := range bad {
		b.change(&users[3+5*i])
	}
	got := load(t, open(t, c), users)
	refused := 0
	for i, b := range bad {
		o := got.ByID[users[3+5*i].SourceID]
		if o.Action != sdk.Created {
			refused++
		}
		if b.code != "" && (o.Action != sdk.Rejected || o.Code != b.code || !strings.Contains(o.Detail, b.words)) {
			t.Errorf("%s: %s %s: %s", b.name, o.Action, o.Code, o.Detail)
		}
	}
	if d := cmp.Diff(map[sdk.Action]int{sdk.Created: len(users) - refused, sdk.Rejected: refused}, got.Counts()); d != "" {
		t.Error(d)
	}
	var n int
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/users/count", nil, &n); err != nil || n != len(users)-refused+2 {
		t.Errorf("%d users, %v", n, err)
	}
}

// weather spoils the way between plugin and server: every kind of fault in turn, on
// requests with users.
type weather struct {
	forward http.Handler
	faults  []string
	mu      sync.Mutex
	n       int
	met     map[string]int
	tokens  atomic.Int64
}

func (w *weather) next(r *http.Request) string {
	if !strings.HasSuffix(r.URL.Path, "/partialImport") && !strings.HasSuffix(r.URL.Path, "/stetl/users") {
		return ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	if w.n%2 == 0 {
		return "" // the next attempt gets through
	}
	fault := w.faults[w.n/2%len(w.faults)]
	w.met[fault]++
	return fault
}

func (w *weather) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/token") {
		w.tokens.Add(1)
	}
	lost := func() { // the server does its work, and nobody hears of it
		w.forward.ServeHTTP(httptest.NewRecorder(), r)
	}
	switch w.next(r) {
	case "reset before":
		panic(http.ErrAbortHandler)
	case "reset after":
		lost()
		panic(http.ErrAbortHandler)
	case "502 before":
		out.WriteHeader(http.StatusBadGateway)
	case "502 after":
		lost()
		out.WriteHeader(http.StatusBadGateway)
	case "504 after":
		lost()
		out.WriteHeader(http.StatusGatewayTimeout)
	case "busy":
		out.Header().Set("Retry-After", "0")
		out.WriteHeader(http.StatusServiceUnavailable)
	case "stall":
		lost()
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case "half an answer":
		rec := httptest.NewRecorder()
		w.forward.ServeHTTP(rec, r)
		out.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
		_, _ = out.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
		panic(http.ErrAbortHandler)
	case "signed out":
		r.Header.Set("Authorization", "Bearer expired")
		w.forward.ServeHTTP(out, r)
	default:
		w.forward.ServeHTTP(out, r)
	}
}

// Whatever the network does, every user is in the realm once and has one outcome.
func TestServerBehindABadNetwork(t *testing.T) {
	t.Parallel()
	for i, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			testBadNetwork(t, keycloak.Shared(t, withJar), w, 33_000+1000*i)
		})
	}
}

func testBadNetwork(t *testing.T, s *keycloak.Server, way way, offset int) {
	t.Helper()
	realm := "weather-" + way.name
	c := newRealmOn(t, s, realm)
	u, err := url.Parse(way.front(t, s))
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(u)
	w := &weather{forward: forward, met: map[string]int{}, faults: []string{
		"reset before", "reset after", "502 before", "502 after", "504 after", "busy", "stall", "half an answer", "signed out",
	}}
	proxy := httptest.NewServer(w)
	t.Cleanup(proxy.Close)
	// Longer than a busy server takes: whom a client gives up on, it may not load at all.
	c.URL, c.BatchSize, c.Timeout = proxy.URL, 10, sdk.Duration{Duration: 12 * time.Second}
	// The tokens of this client are good for three seconds.
	var clients []struct {
		ID string `json:"id"`
	}
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/clients?clientId=loader", nil, &clients); err != nil {
		t.Fatal(err)
	}
	var whole map[string]any
	path := "/realms/" + realm + "/clients/" + clients[0].ID
	if err := s.Admin(t.Context(), http.MethodGet, path, nil, &whole); err != nil {
		t.Fatal(err)
	}
	whole["attributes"] = map[string]string{"access.token.lifespan": "3"}
	if err := s.Admin(t.Context(), http.MethodPut, path, whole, nil); err != nil {
		t.Fatal(err)
	}
	target := openPatient(t, c, 2*time.Minute)
	users := people(offset, offset+179)
	got := newBook(t)
	var wait sync.WaitGroup
	for part := range 6 {
		wait.Go(func() {
			if err := target.Load(t.Context(), users[30*part:30*part+30], got); err != nil {
				t.Errorf("load: %v", err)
			}
		})
	}
	wait.Wait()
	if d := cmp.Diff(map[sdk.Action]int{sdk.Created: len(users)}, got.Counts()); d != "" {
		t.Error(d)
	}
	for _, fault := range w.faults {
		if w.met[fault] == 0 {
			t.Errorf("nobody met %q", fault)
		}
	}
	if w.tokens.Load() < 2 {
		t.Error("no token expired")
	}
	var n int
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/users/count", nil, &n); err != nil || n != len(users) {
		t.Errorf("%d users, %v", n, err)
	}
	c.URL = s.URL()
	if d := cmp.Diff(map[sdk.Action]int{sdk.Unchanged: len(users)}, load(t, open(t, c), users).Counts()); d != "" {
		t.Error(d)
	}
}
