//go:build unix

package keycloak

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// TestServerDeletesTogether: the provider deletes accounts with all that loads make, and
// the server forgets what it has cached of them.
func TestServerDeletesTogether(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *keycloak.Server, _ string) {
		testDeletesTogether(t, s, func([]string) map[string]int { return nil })
	})
}

// testDeletesTogether also wants no rows of whom it has deleted.
func testDeletesTogether(t *testing.T, s *keycloak.Server, rows func(ids []string) map[string]int) {
	t.Helper()
	const realm = "deletes-together"
	base := "/realms/" + realm
	c := newRealmOn(t, s, realm)
	addProvider(t, s, realm, "google")
	settle(t, s, realm, map[string]any{"adminEventsEnabled": true})
	marked := func(u sdk.User) bool { return u.Password.IsZero() }
	users, passwords := zoo(t, 66_000)
	users = slices.DeleteFunc(users, marked)
	target := open(t, c)
	load(t, target, users)
	a := provided{target.api}
	var about struct {
		Together bool `json:"together"`
	}
	if err := a.read(t.Context(), a.realmPath("stetl"), nil, &about); err != nil || !about.Together {
		t.Fatalf("accounts are left to the server's routine: %v", err)
	}
	var ids []string
	for _, u := range users {
		ids = append(ids, u.ID)
		// The server remembers ids, names and links of whom somebody has asked for.
		for _, part := range []string{"", "/federated-identity"} {
			if err := s.Admin(t.Context(), http.MethodGet, base+"/users/"+url.PathEscape(u.ID)+part, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		login(t, s, realm, strings.ToLower(u.Username), "wrong")
	}
	before := count(t, s, realm)
	seen, err := a.seenStates(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	var all []doomed
	for _, id := range ids {
		all = append(all, doomed{id, seen[id].Digest})
	}
	results, err := a.deleteAccounts(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Status != http.StatusNoContent {
			t.Errorf("%s: %+v", ids[i], r)
		}
		if err := s.Admin(t.Context(), http.MethodGet, base+"/users/"+url.PathEscape(ids[i]), nil, nil); err == nil {
			t.Errorf("%s is still there", ids[i])
		}
	}
	if n := count(t, s, realm); n != before-len(users) {
		t.Errorf("%d accounts of %d are left, and %d were to go", n, before, len(users))
	}
	if left := rows(ids); len(left) > 0 {
		t.Errorf("rows are left: %v", left)
	}
	var events []struct{ ResourcePath string }
	if err := s.Admin(t.Context(), http.MethodGet, base+"/admin-events?operationTypes=DELETE&resourceTypes=USER&max=1000", nil, &events); err != nil || len(events) != len(users) {
		t.Errorf("%d admin events for %d accounts, %v", len(events), len(users), err)
	}
	// Others with the same names, who sign in, and whom nothing cached keeps from it.
	others, _ := zoo(t, 66_000)
	others = slices.DeleteFunc(others, marked)
	for i := range others {
		others[i].ID = fmt.Sprintf("other-%d", i)
	}
	if n := load(t, open(t, c), others).Counts(); n[sdk.Created] != len(others) {
		t.Errorf("others: %v", n)
	}
	checkZoo(t, s, realm, others, passwords)
}

// asking counts requests to an endpoint of the provider.
func asking(t *testing.T, server string) (string, func(endpoint string) int) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	counts := map[string]int{}
	forward := httputil.NewSingleHostReverseProxy(u)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if _, endpoint, is := strings.Cut(r.URL.Path, "/stetl/"); is {
			counts[endpoint]++
		}
		mu.Unlock()
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL, func(endpoint string) int {
		mu.Lock()
		defer mu.Unlock()
		return counts[endpoint]
	}
}

// TestServerProves: accounts that are as loads have left them are not read again, and any
// change of one is seen.
func TestServerProves(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *keycloak.Server, _ string) {
		const realm = "proves"
		config := newRealmOn(t, s, realm)
		addProvider(t, s, realm, "google")
		users, _ := zoo(t, 67_000)
		users = slices.DeleteFunc(users, func(u sdk.User) bool { return !known(u.Created) })
		var asked func(string) int
		config.URL, asked = asking(t, s.URL())
		c := client(t, config)
		known := remembering(users, loaded(t, c, users...))
		before := asked("accounts")
		for i, p := range planOf(t, c, known) {
			if p.Action != sdk.Unchanged {
				t.Errorf("%s: %s", users[i].SourceID, short(p))
			}
		}
		if read := asked("accounts") - before; read > 0 || asked("matching") == 0 {
			t.Errorf("%d accounts were asked about with %d requests, and read with %d", len(users), asked("matching"), read)
		}
		call := func(method, path string, in any) {
			t.Helper()
			if err := s.Admin(t.Context(), method, "/realms/"+realm+"/users/"+url.PathEscape(path), in, nil); err != nil {
				t.Fatal(err)
			}
		}
		call(http.MethodPut, users[0].ID, map[string]any{"firstName": "Other"})
		call(http.MethodPut, users[1].ID, map[string]any{"enabled": false})
		call(http.MethodPut, users[2].ID, map[string]any{"requiredActions": []string{"UPDATE_PROFILE"}})
		touched := map[int]bool{0: true, 1: true} // a required action is the server's own
		for i, p := range planOf(t, client(t, config), known) {
			if (p.Action != sdk.Unchanged) != touched[i] {
				t.Errorf("%s, touched %v: %s", users[i].SourceID, touched[i], short(p))
			}
		}
		known[3].GivenName = "New at the source"
		if p := planOf(t, client(t, config), known[3:4])[0]; p.Action != sdk.Updated || len(p.Fields) != 1 {
			t.Errorf("%s", short(p))
		}
	})
}
