//go:build unix

package keycloak

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// TestServerPower: nobody becomes an administrator by the name of a role or a tenant.
func TestServerPower(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "power")
	const base = "/realms/power"
	call := func(method, path string, in, out any) {
		t.Helper()
		if err := s.Admin(t.Context(), method, base+path, in, out); err != nil {
			t.Fatal(err)
		}
	}
	var clients []struct{ ID string }
	var account []struct{ ID string }
	var realmAdmin, viewProfile, admin, boss role
	call(http.MethodGet, "/clients?clientId=realm-management", nil, &clients)
	call(http.MethodGet, "/clients?clientId=account", nil, &account)
	call(http.MethodGet, "/clients/"+clients[0].ID+"/roles/realm-admin", nil, &realmAdmin)
	call(http.MethodGet, "/clients/"+account[0].ID+"/roles/view-profile", nil, &viewProfile)
	for _, name := range []string{"admin", "boss", "reader", "plain"} {
		call(http.MethodPost, "/roles", map[string]any{"name": name}, nil)
	}
	call(http.MethodPost, "/roles/admin/composites", []role{realmAdmin}, nil)
	call(http.MethodGet, "/roles/admin", nil, &admin)
	call(http.MethodPost, "/roles/boss/composites", []role{admin}, nil)
	call(http.MethodGet, "/roles/boss", nil, &boss)
	call(http.MethodPost, "/roles/reader/composites", []role{viewProfile}, nil)
	addGroup := func(parent, name string) (id string) {
		path := "/groups"
		if parent != "" {
			path += "/" + parent + "/children"
		}
		call(http.MethodPost, path, map[string]any{"name": name}, nil)
		where := "/" + name
		if parent != "" {
			where = "/tenants/" + name
		}
		var g group
		call(http.MethodGet, "/group-by-path"+where, nil, &g)
		return g.ID
	}
	tenants := addGroup("", "tenants")
	north, south := addGroup(tenants, "north"), addGroup(tenants, "south")
	addGroup(tenants, "west")
	call(http.MethodPost, "/groups/"+north+"/role-mappings/clients/"+clients[0].ID, []role{realmAdmin}, nil)
	call(http.MethodPost, "/groups/"+south+"/role-mappings/realm", []role{boss}, nil)

	users := []sdk.User{person(61_000, func(u *sdk.User) {
		u.Roles = map[string][]string{"public": {"admin", "boss", "offline_access", "plain", "reader"}}
		u.Tenants = []string{"north", "public", "south", "west"}
	})}
	usual := "keycloak.usernames_fixed the realm does not allow changing user names"
	needs := sdk.Needs{Roles: []string{"admin", "boss", "offline_access", "plain", "reader", "fresh"}, Tenants: []string{"north", "south", "west", "fresh"}}
	var named []string
	needs.RoleUsers = map[string]int{"reader": 7}
	for _, d := range open(t, config).Check(t.Context(), needs) {
		named = append(named, string(d.Code)+" "+strings.SplitN(d.Summary, ":", 2)[0])
		if strings.Contains(d.Summary, "role reader") && !strings.Contains(d.Detail, "7 people") {
			t.Errorf("how many get it is not said: %q", d.Detail)
		}
	}
	slices.Sort(named)
	if d := cmp.Diff([]string{
		"keycloak.power nobody gets the group /tenants/north, which is in the realm",
		"keycloak.power nobody gets the group /tenants/south, which is in the realm",
		"keycloak.power nobody gets the role admin, which is in the realm",
		"keycloak.power nobody gets the role boss, which is in the realm",
		"keycloak.power nobody gets the role offline_access, which is in the realm",
		"keycloak.power the role reader of the realm has permissions, which its people from SuperTokens get", usual,
	}, named); d != "" {
		t.Error(d)
	}
	target := open(t, config)
	planned, got := plan(t, target, users).ByID[users[0].SourceID], load(t, target, users).ByID[users[0].SourceID]
	var withheld []string
	for _, l := range got.Losses {
		withheld = append(withheld, string(l.Code)+" "+l.Attribute)
	}
	if d := cmp.Diff([]string{"keycloak.power admin", "keycloak.power boss", "keycloak.power offline_access", "keycloak.power /tenants/north", "keycloak.power /tenants/south"}, withheld); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(planned.Losses, got.Losses); d != "" || got.Action != sdk.Created {
		t.Errorf("%s: plan and run differ: %s", got.Action, d)
	}
	if f := shownOf(t, s, config, users[0].ID); f["roles"] != "plain, reader" || f["groups"] != "/tenants/public, /tenants/west" {
		t.Errorf("%v", f)
	}
	// Accepted by name, an update brings them.
	config.AcceptRoles, config.AcceptGroups = []string{"admin"}, []string{"/tenants/north"}
	users[0].Existing, users[0].Prior = sdk.Update, sdk.Prior{TargetID: users[0].ID, State: got.State}
	again := load(t, open(t, config), users).ByID[users[0].SourceID]
	if f := shownOf(t, s, config, users[0].ID); again.Action != sdk.Updated || f["roles"] != "admin, plain, reader" || f["groups"] != "/tenants/north, /tenants/public, /tenants/west" {
		t.Errorf("%+v\n%v", again.Outcome, f)
	}
}

// TestServerPowerUnseen: a client that may not see the roles of clients takes whatever may
// hold them for power, but for what a load has made.
func TestServerPowerUnseen(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	newRealmOn(t, s, "unseen")
	config := testerIn(t, s, "unseen", []string{"manage-realm", "manage-users", "view-users"})
	call := func(method, path string, in, out any) {
		t.Helper()
		if err := s.Admin(t.Context(), method, "/realms/unseen"+path, in, out); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"admin", "part", "plain"} {
		call(http.MethodPost, "/roles", map[string]any{"name": name}, nil)
	}
	var part role
	call(http.MethodGet, "/roles/part", nil, &part)
	call(http.MethodPost, "/roles/admin/composites", []role{part}, nil)
	withRoles := func(n int) []sdk.User {
		return []sdk.User{person(n, func(u *sdk.User) {
			u.Roles, u.Tenants = map[string][]string{"public": {"admin", "plain"}}, []string{"eu", "public"}
		})}
	}
	for n := range 2 { // the groups are a load's the second time
		users := withRoles(61_500 + n)
		got := load(t, open(t, config), users).ByID[users[0].SourceID]
		if f := shownOf(t, s, config, users[0].ID); f["roles"] != "plain" || f["groups"] != "/tenants/eu, /tenants/public" || len(got.Losses) != 1 || got.Losses[0].Attribute != "admin" {
			t.Errorf("%+v\n%v", got.Outcome, f)
		}
	}
}
