//go:build unix

package keycloak

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// What roles allow goes with the roles that runs make, follows the source, and is left alone
// where somebody else has made the role or has changed it.
func TestServerRolePermissions(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "allows")
	admin := func(method, path string, body, into any) {
		t.Helper()
		if err := s.Admin(t.Context(), method, "/realms/allows/"+path, body, into); err != nil {
			t.Fatal(err)
		}
	}
	admin(http.MethodPost, "roles", map[string]any{"name": "theirs", "attributes": map[string]any{"team": []string{"a"}}}, nil)
	admin(http.MethodPost, "roles", map[string]any{"name": "before", "attributes": madeByUs}, nil) // by a version that knew no permissions
	allows := func() map[string][]string {
		t.Helper()
		var all []wholeRole
		admin(http.MethodGet, "roles?briefRepresentation=false", nil, &all)
		out := map[string][]string{}
		for _, r := range all {
			if r.Name != "default-roles-allows" && !slices.Contains(builtIn, r.Name) {
				out[r.Name] = slices.Sorted(slices.Values(r.Attributes[attributeAllows]))
			}
		}
		return out
	}
	told := func(l sdk.Diagnostics) (out []string) {
		for _, d := range l {
			if d.Code == codeRolePermissions {
				out = append(out, d.Summary)
			}
		}
		return out
	}
	roles := []sdk.Role{
		{Name: "before", Permissions: []string{"old:read"}},
		{Name: "editor", Permissions: []string{"posts:read", "posts:write"}},
		{Name: "plain"},
		{Name: "theirs", Permissions: []string{"all"}},
		{Name: "touched", Permissions: []string{"a", "b"}},
	}
	defining := func(roles []sdk.Role) *live {
		t.Helper()
		target := open(t, config)
		if err := target.DefineRoles(t.Context(), roles); err != nil {
			t.Fatal(err)
		}
		return target
	}
	target := defining(roles)
	found := told(target.Check(t.Context(), sdk.Needs{Roles: []string{"editor"}}))
	if len(found) != 2 || !strings.HasPrefix(found[0], "the role before allows something else") || !strings.Contains(found[1], "theirs of the realm was not made by a run, and keeps its own permissions: its 1 permissions") {
		t.Errorf("check before: %q", found)
	}
	u := person(6300, func(u *sdk.User) {
		u.Roles = map[string][]string{"public": {"before", "editor", "plain", "theirs", "touched"}}
	})
	load(t, target, []sdk.User{u})
	if err := target.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"before": {"old:read"}, "editor": {"posts:read", "posts:write"}, "plain": nil, "theirs": nil, "touched": {"a", "b"}}
	if diff := cmp.Diff(want, allows(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("after the load (-want +got):\n%s", diff)
	}

	// The source changes, and somebody changes a role.
	var touched wholeRole
	admin(http.MethodGet, "roles/touched", nil, &touched)
	touched.Attributes[attributeAllows] = []string{"a"}
	admin(http.MethodPut, "roles/touched", touched, nil)
	roles[0].Permissions, roles[1].Permissions, roles[4].Permissions = nil, []string{"posts:delete", "posts:read"}, []string{"b", "c"}
	target = defining(roles)
	if found := told(target.Check(t.Context(), sdk.Needs{})); len(found) != 4 {
		t.Errorf("check in between: %q", found)
	}
	if err := target.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	want["before"], want["editor"], want["touched"] = nil, []string{"posts:delete", "posts:read"}, []string{"a"}
	if diff := cmp.Diff(want, allows(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("after the next run (-want +got):\n%s", diff)
	}
	if found := told(target.Check(t.Context(), sdk.Needs{})); len(found) != 2 || !strings.HasPrefix(found[1], "somebody has changed what the role touched allows") {
		t.Errorf("check after: %q", found)
	}

	// Tidying up takes what a load has made, with permissions or without.
	admin(http.MethodDelete, "users/"+u.ID, nil, nil)
	if removed, left, err := target.Tidy(t.Context()); err != nil || removed != 3 || left != 0 {
		t.Errorf("%d removed, %d left, %v", removed, left, err)
	}
	if got := slices.Sorted(maps.Keys(allows())); !slices.Equal(got, []string{"theirs", "touched"}) {
		t.Errorf("roles that stay: %q", got)
	}
}

// The realm file has what roles allow.
func TestFilesHaveRolePermissions(t *testing.T) {
	t.Parallel()
	var d sdk.DefinedRoles
	if err := d.DefineRoles(t.Context(), []sdk.Role{{Name: "editor", Permissions: []string{"a", "b"}}, {Name: "plain"}, {Name: "nobody", Permissions: []string{"c"}}}); err != nil {
		t.Fatal(err)
	}
	realm := newRealm("r", "default-roles-r", map[string]bool{"editor": true, "plain": true, "unknown": true}, nil, &d)
	want := `{"realm":[{"attributes":{"permissions":["a","b"]},"name":"editor"},{"name":"plain"},{"name":"unknown"}]}`
	if got := text(realm["roles"]); got != want {
		t.Errorf("%s", got)
	}
}
