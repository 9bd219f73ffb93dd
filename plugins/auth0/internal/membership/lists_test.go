package membership

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// model answers as a tenant without a network, and counts.
type model struct {
	requests map[string]int
	lag      bool // the list of the role does not show anybody
}

func (m *model) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	kind := "list"
	switch path := r.URL.Path; {
	case path == "/oauth/token":
		kind = "token"
		_, _ = fmt.Fprint(w, `{"access_token":"x","expires_in":86400,"token_type":"Bearer"}`)
	case path == "/api/v2/roles":
		_, _ = fmt.Fprint(w, `{"total":1,"roles":[{"id":"r1","name":"admin"}]}`)
	case strings.HasPrefix(path, "/api/v2/users/"):
		kind = "alone"
		_, _ = fmt.Fprint(w, `{"total":1,"roles":[{"id":"r1","name":"admin"}]}`)
	case m.lag:
		_, _ = fmt.Fprint(w, `{"total":0,"users":[]}`)
	default:
		var all []string
		for i := range 20 {
			all = append(all, fmt.Sprintf(`{"user_id":"u%d"}`, i))
		}
		_, _ = fmt.Fprintf(w, `{"total":20,"users":[%s]}`, strings.Join(all, ","))
	}
	m.requests[kind]++
	return w.Result(), nil
}

// TestLists: a list that lags behind makes nobody equal who is to lose something, and
// nobody different.
func TestLists(t *testing.T) {
	t.Parallel()
	admin := Set{Roles: []string{"admin"}}
	for name, c := range map[string]struct {
		lag          bool
		noted, wants Set
		alone        int
	}{
		"as wanted":         {false, admin, admin, 0},
		"to lose it":        {false, admin, Set{}, 20},
		"lag, as wanted":    {true, admin, admin, 20},
		"lag, to lose it":   {true, admin, Set{}, 20},
		"nothing to ask of": {true, Set{}, Set{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &model{requests: map[string]int{}, lag: c.lag}
			client, err := tenant.New(tenant.Access{Domain: "tenant.test", APIURL: "https://tenant.test"}, sdk.Env{}, serial{m, make(chan struct{}, 1)})
			if err != nil {
				t.Fatal(err)
			}
			b := NewBook(client, slog.New(slog.DiscardHandler), "con", Allowed{Roles: true})
			var asks []Ask
			for i := range 20 {
				asks = append(asks, Ask{User: fmt.Sprintf("u%d", i), Noted: c.noted, Wants: c.wants})
			}
			answers, err := b.Read(t.Context(), asks)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range answers {
				if want := Union(c.noted, c.wants); a.Err != nil || !a.Equal(want) {
					t.Errorf("%s, %v; want %s", text(a.Set), a.Err, text(want))
				}
			}
			if m.requests["alone"] != c.alone || m.requests["list"] > 3 {
				t.Errorf("requests %v, want %d about single users", m.requests, c.alone)
			}
		})
	}
}

// serial lets one request through at a time.
type serial struct {
	next http.RoundTripper
	turn chan struct{}
}

func (s serial) RoundTrip(r *http.Request) (*http.Response, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return s.next.RoundTrip(r)
}
