//go:build unix

package keycloak

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// TestServerOrganizations has tenants become organizations, on the newest server and
// on the first that has them.
func TestServerOrganizations(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *keycloak.Server, version string) {
		c := newRealmOn(t, s, "orgs")
		c.Tenants = tenantsAsOrganizations
		if list := open(t, Config{URL: c.URL, Realm: c.Realm, ClientID: c.ClientID, ClientSecret: c.ClientSecret, Tenants: c.Tenants}).Check(t.Context(), sdk.Needs{}); !slices.Contains(codes(list), "error keycloak.organizations_off") {
			t.Errorf("check: %+v", list)
		}
		fixer := Config{URL: c.URL, Realm: c.Realm, AuthRealm: "master", ClientID: keycloak.AdminClientID, ClientSecret: secretOf(keycloak.AdminClientSecret), Tenants: c.Tenants}
		if list := open(t, fixer).Fix(t.Context(), sdk.Needs{}); !slices.Contains(codes(list), "warning keycloak.organizations_off") {
			t.Fatalf("fix: %+v", list)
		}
		before := snapshot(t, s, "orgs")
		p := plugintest.ServeWith(t, Plugin(), map[string]any{
			"url": c.URL, "realm": c.Realm, "client_id": c.ClientID, "client_secret": c.ClientSecret.Reveal(), "tenants": c.Tenants,
		}, plugintest.Host{FingerprintKey: bytes.Repeat([]byte{5}, 32)})
		users := people(32_000, 32_029)
		for i := range users {
			users[i].Tenants = [][]string{{"public"}, {"eu"}, {"eu", "us"}}[i%3]
		}
		loaded, err := p.Load(t.Context(), users)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(map[sdk.Action]int{sdk.Created: 30}, actions(loaded)); d != "" {
			t.Fatalf("%s\n%+v", d, loaded)
		}
		if d := cmp.Diff(map[string]int{"eu": 20, "us": 10}, membersOf(t, s, "orgs")); d != "" {
			t.Error(d)
		}
		known := remembering(users, loaded)
		for range 5 { // at first one by one, then by the index of members
			for i, o := range planOf(t, p, known) {
				if o.Action != sdk.Unchanged || !bytes.Equal(o.State, loaded[i].State) {
					t.Errorf("read back: %s", short(o))
				}
			}
		}
		// One moves to another tenant.
		known[1].Tenants = []string{"asia"}
		planned := planOf(t, p, known[1:2])
		if len(planned[0].Fields) != 1 || planned[0].Fields[0].Field != "organizations" || planned[0].Fields[0].New != "asia" {
			t.Errorf("plan of a move: %+v", planned[0])
		}
		updated, err := p.Load(t.Context(), known[1:2])
		if err != nil || updated[0].Action != sdk.Updated {
			t.Fatalf("%+v, %v", updated, err)
		}
		if d := cmp.Diff(map[string]int{"asia": 1, "eu": 19, "us": 10}, membersOf(t, s, "orgs")); d != "" {
			t.Error(d)
		}
		// A run that was killed between the import and the organizations.
		var all []organization
		if err := s.Admin(t.Context(), http.MethodGet, "/realms/orgs/organizations", nil, &all); err != nil {
			t.Fatal(err)
		}
		us := all[slices.IndexFunc(all, func(o organization) bool { return o.Name == "us" })].ID
		if err := s.Admin(t.Context(), http.MethodDelete, "/realms/orgs/organizations/"+us+"/members/"+users[2].ID, nil, nil); err != nil {
			t.Fatal(err)
		}
		late := users[2]
		late.Prior.InDoubt = true
		if o, err := p.Load(t.Context(), []sdk.User{late}); err != nil || o[0].Action != sdk.Created || !slices.Contains(o[0].Changed, "organizations") {
			t.Errorf("in doubt: %+v, %v", o, err)
		}
		if d := cmp.Diff(map[string]int{"asia": 1, "eu": 19, "us": 10}, membersOf(t, s, "orgs")); d != "" {
			t.Error(d)
		}
		accounts := make([]sdk.Account, len(users))
		for i, o := range loaded {
			accounts[i] = sdk.Account{SourceID: users[i].SourceID, TargetID: o.TargetID, State: o.State}
		}
		accounts[1].State = updated[0].State
		undone, err := p.Undo(t.Context(), accounts)
		if d := cmp.Diff(map[sdk.Action]int{sdk.Deleted: 30}, actions(undone)); err != nil || d != "" {
			t.Errorf("%v %s\n%+v", err, d, undone)
		}
		if removed, left, err := p.Tidy(t.Context()); err != nil || removed != 3 || left != 0 {
			t.Fatalf("tidied up: %d removed, %d left, %v", removed, left, err)
		}
		if left := membersOf(t, s, "orgs"); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if d := cmp.Diff(before, snapshot(t, s, "orgs")); d != "" {
			t.Errorf("the realm is not as it was:\n%s", d)
		}
	})
}

// membersOf counts the members of a realm's organizations.
func membersOf(t *testing.T, s *keycloak.Server, realm string) map[string]int {
	t.Helper()
	var all []organization
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/organizations", nil, &all); err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, o := range all {
		var members []member
		if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/organizations/"+o.ID+"/members?max=1000", nil, &members); err != nil {
			t.Fatal(err)
		}
		out[o.Name] = len(members)
	}
	return out
}

// A realm per tenant takes the users and the roles of that tenant.
func TestOneTenant(t *testing.T) {
	t.Parallel()
	m := mapper{defaultRole: "all", tenants: tenantsAsGroups, tenant: "eu"}
	u := person(1, func(u *sdk.User) {
		u.Tenants, u.Roles = []string{"eu", "us"}, map[string][]string{"eu": {"editor"}, "us": {"admin"}}
	})
	rep, rejected := m.user(&u)
	if rejected != nil || !slices.Equal(rep.RealmRoles, []string{"all", "editor"}) || len(rep.Groups) > 0 {
		t.Errorf("%+v, %+v", rep, rejected)
	}
	u.Tenants = []string{"us"}
	if _, o := m.user(&u); o == nil || o.Action != sdk.Skipped || o.Code != sdk.CodeOtherTenant {
		t.Errorf("%+v", o)
	}
	u.SourceID, u.Tenants = "stetl-canary-x", nil
	if _, o := m.user(&u); o != nil {
		t.Errorf("a canary, which proves that passwords work: %+v", o)
	}
	if got := slices.Sorted(maps.Keys(u.Roles)); len(got) != 2 {
		t.Errorf("the user was changed: %v", got)
	}
}
