//go:build unix

package keycloak

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// way is one to a server: through the endpoints of our provider, or without them.
type way struct {
	name string
	bulk bool
}

var ways = []way{{"bulk", true}, {"plain", false}}

// front returns an address of the server that has the endpoints, or has not.
func (w way) front(t *testing.T, s *keycloak.Server) string {
	t.Helper()
	if w.bulk {
		return s.URL()
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(u)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/stetl") { // as a server without them answers
			r.URL.Path += "-is-not-here"
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// onBothServers tests on the newest server and on the oldest that has the endpoints.
func onBothServers(t *testing.T, test func(t *testing.T, s *keycloak.Server, version string)) {
	t.Helper()
	for _, version := range []string{keycloak.Version, keycloak.OldVersion} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			opts := withJar
			opts.Version = version
			test(t, keycloak.Shared(t, opts), version)
		})
	}
}

// rawUser is a person as it is sent, with more fields at its end.
func rawUser(t *testing.T, n int, more string, change ...func(*sdk.User)) json.RawMessage {
	t.Helper()
	u := person(n, change...)
	rep, rejected := (&mapper{defaultRole: "offline_access", tenants: tenantsAsGroups}).user(&u)
	if rejected != nil {
		t.Fatal(rejected)
	}
	b, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	return append(b[:len(b)-1], more+"}"...)
}

// What the endpoints say of each user of one request: a bad one costs itself.
func TestServerBulkAnswers(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *keycloak.Server, version string) {
		load(t, open(t, newRealmOn(t, s, "bulk-other")), []sdk.User{person(40_900)})
		target := open(t, newRealmOn(t, s, "bulk"))
		load(t, target, []sdk.User{person(40_000)})
		if r, err := target.open(t.Context()); err != nil || !r.bulk {
			t.Fatalf("the server has no endpoints: %v", err)
		}
		raw := func(n int, more string, change ...func(*sdk.User)) json.RawMessage {
			return rawUser(t, n, more, change...)
		}
		otp := func(label string) string {
			return `{"type":"otp","userLabel":"` + label + `","credentialData":"{\"subType\":\"totp\",\"digits\":6}","secretData":"{\"value\":\"x\"}"}`
		}
		labels := 409
		if version == keycloak.OldVersion {
			labels = 201 // before 26.3 labels may repeat
		}
		tests := []struct {
			name   string
			user   json.RawMessage
			status int
			words  string
		}{
			{"new", raw(40_001, ""), 201, ""},
			{"there", raw(40_000, ""), 200, ""},
			{"e-mail of somebody else", raw(40_002, "", func(u *sdk.User) { u.Email = "user40000@example.com" }), 200, ""},
			{"username of somebody else", raw(40_003, "", func(u *sdk.User) { u.Username = "User40000@example.com" }), 200, ""},
			{"id of somebody else", raw(40_004, "", func(u *sdk.User) { u.ID = person(40_000).ID }), 200, ""},
			{"id in another realm", raw(40_005, "", func(u *sdk.User) { u.ID = person(40_900).ID }), 409, "another realm"},
			{"e-mail of one before", raw(40_006, "", func(u *sdk.User) { u.Email = "user40001@example.com" }), 200, ""},
			{"unknown field", raw(40_007, `,"foo":"secret"`), 400, "cannot be parsed"},
			{"no such group", raw(40_008, "", func(u *sdk.User) { u.Tenants = []string{"eu"} }), 500, "/tenants/"},
			{"one label twice", raw(40_009, `,"credentials":[`+otp("a")+","+otp("A ")+"]", func(u *sdk.User) { u.Password = sdk.PasswordHash{} }), labels, "name"},
			{"a name too long", raw(40_010, `,"firstName":"`+strings.Repeat("n", 256)+`"`), 500, "SQL state 22001"},
			{"no id", json.RawMessage(`{"username":"x"}`), 400, "id"},
			{"no user", json.RawMessage(`null`), 400, "id"},
			{"another", raw(40_011, ""), 201, ""},
		}
		users := make([]json.RawMessage, len(tests))
		for i, tt := range tests {
			users[i] = tt.user
		}
		results, err := provided{target.api}.loadUsers(t.Context(), users)
		if err != nil {
			t.Fatal(err)
		}
		for i, tt := range tests {
			got := results[i]
			if got.Status != tt.status || (got.Status >= 300 && !strings.Contains(got.Error, tt.words)) || strings.Contains(got.Error, "secret") {
				t.Errorf("%s: %d %s, want %d %s", tt.name, got.Status, got.Error, tt.status, tt.words)
			}
		}
		_, err = provided{target.api}.loadUsers(t.Context(), slices.Repeat(users[:1], 1001))
		if status(err) != http.StatusBadRequest {
			t.Errorf("too many users: %v", err)
		}
	})
}

// Who may not import or not see users may not do so here.
func TestServerBulkPermissions(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *keycloak.Server, version string) {
		for i, roles := range [][]string{{}, {"manage-users"}, {"manage-realm"}, {"manage-realm", "view-users"}} {
			realm := "bulk-roles-" + string(rune('a'+i))
			newRealmOn(t, s, realm)
			c := testerIn(t, s, realm, roles)
			a := open(t, c).api
			_, loadErr := provided{a}.loadUsers(t.Context(), []json.RawMessage{[]byte(`{}`)})
			_, readErr := provided{a}.accountsByID(t.Context(), []string{"x"})
			_, compareErr := provided{a}.compare(t.Context(), []question{{ID: "x", Credentials: map[string]mark{}}})
			about, err := provided{a}.endpoints(t.Context())
			has := about.Version > 0
			if err != nil {
				t.Fatal(err)
			}
			may := func(role ...string) int {
				if slices.ContainsFunc(role, func(r string) bool { return slices.Contains(roles, r) }) {
					return 0
				}
				return http.StatusForbidden
			}
			got := []int{status(loadErr), status(readErr), status(compareErr)}
			if d := cmp.Diff([]int{may("manage-realm"), may("view-users", "manage-users"), max(may("manage-realm"), may("view-users", "manage-users"))}, got); d != "" {
				t.Errorf("%v: load and read: %s", roles, d)
			}
			if has != (len(roles) == 2) {
				t.Errorf("%v: has the endpoints: %v", roles, has)
			}
		}
	})
}

// Both ways read the same of an account.
func TestServerBulkReads(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *keycloak.Server, version string) {
		c := newRealmOn(t, s, "bulk-reads")
		addProvider(t, s, "bulk-reads", "google")
		users, _ := zoo(t, 41_000)
		target := open(t, c)
		load(t, target, users)
		r, err := target.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids := []string{"nobody", "with & in it"}
		for _, u := range users {
			ids = append(ids, u.ID)
		}
		for _, policy := range []string{"ADMIN_EDIT", ""} { // attributes shown and hidden
			setProfile(t, s, "bulk-reads", policy)
			together, err := provided{target.api}.accountsByID(t.Context(), ids)
			if err != nil {
				t.Fatal(err)
			}
			if len(together) != len(users) {
				t.Errorf("%d accounts of %d", len(together), len(users))
			}
			for _, u := range users {
				alone, err := r.reader.one(t.Context(), u.ID, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				// 26.0 shows empty values in lists only.
				filled := func(d *detail) map[string]string {
					f := r.view.held(d, reconcile.Wanted{}, reconcile.State{}).Fields
					maps.DeleteFunc(f, func(_, value string) bool { return value == "" })
					return f
				}
				if d := cmp.Diff(filled(alone), filled(together[u.ID])); d != "" {
					t.Errorf("%s (-alone +together): %s", u.SourceID, d)
				}
				if d := cmp.Diff(alone.RequiredActions, together[u.ID].RequiredActions); len(alone.RequiredActions) > 0 && d != "" {
					t.Errorf("%s: %s", u.SourceID, d)
				}
			}
		}
	})
}

// What the endpoints write by themselves is what the server's import routine
// writes, of which every user can be had by a field that says nothing.
func TestServerBulkWritesAlike(t *testing.T) {
	t.Parallel()
	for _, version := range []string{keycloak.Version, keycloak.OldVersion} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			opts := withJar
			opts.Version = version
			testAlike(t, keycloak.Shared(t, opts), func([]string) any { return nil })
		})
	}
}

// testAlike compares all that the admin API shows of accounts, and what else
// rows returns of them.
func testAlike(t *testing.T, s *keycloak.Server, rows func(ids []string) any) {
	t.Helper()
	const realm = "bulk-alike"
	c := newRealmOn(t, s, realm)
	c.BridgeAlias = "supertokens"
	for _, alias := range []string{"google", "supertokens"} {
		addProvider(t, s, realm, alias)
	}
	target := open(t, c)
	r, err := target.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	users, _ := zoo(t, 42_000)
	// Both ways take the time of the load where none is known, and it goes on.
	users = slices.DeleteFunc(users, func(u sdk.User) bool { return !known(u.Created) })
	var ids []string
	var direct, usual []json.RawMessage
	for _, u := range users {
		rep, rejected := r.mapper.user(&u)
		if rejected != nil {
			t.Fatal(rejected)
		}
		if err := r.members.prepare(t.Context(), []*representation{rep}); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(rep)
		if err != nil {
			t.Fatal(err)
		}
		ids, direct = append(ids, u.ID), append(direct, b)
		usual = append(usual, append(slices.Clone(b[:len(b)-1]), `,"clientConsents":[]}`...))
	}
	shown := func(users []json.RawMessage) (all []any) {
		results, err := provided{target.api}.loadUsers(t.Context(), users)
		if err != nil {
			t.Fatal(err)
		}
		for i, res := range results {
			if res.Status != http.StatusCreated {
				t.Errorf("%s: %d %s", ids[i], res.Status, res.Error)
			}
		}
		for _, id := range ids {
			path := "/realms/" + realm + "/users/" + url.PathEscape(id)
			for _, part := range []string{"", "/credentials", "/role-mappings", "/groups", "/federated-identity"} {
				var found any
				if err := s.Admin(t.Context(), http.MethodGet, path+part, nil, &found); err != nil {
					t.Fatal(err)
				}
				all = append(all, inOrder(found))
			}
		}
		all = append(all, rows(ids))
		for _, id := range ids {
			if err := s.Admin(t.Context(), http.MethodDelete, "/realms/"+realm+"/users/"+url.PathEscape(id), nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	if d := cmp.Diff(shown(usual), shown(direct)); d != "" {
		t.Errorf("(-server's routine +ours):\n%s", d)
	}
	var about struct {
		Direct bool `json:"direct"`
	}
	if err := target.api.read(t.Context(), target.api.realmPath("stetl"), nil, &about); err != nil || !about.Direct {
		t.Errorf("all users were left to the server's routine: %v", err)
	}
}

// inOrder sorts what a server lists in any order, and leaves out when it did so.
func inOrder(v any) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "lastModifiedTimestamp")
		for name, part := range v {
			v[name] = inOrder(part)
		}
	case []any:
		for i, part := range v {
			v[i] = inOrder(part)
		}
		slices.SortFunc(v, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
	return v
}
