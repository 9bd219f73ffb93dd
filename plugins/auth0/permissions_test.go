package auth0

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
)

const ordersAPI = "https://api.example.com/orders"

// permissionsOf is what a role of the tenant allows, without the API.
func permissionsOf(s *simulator.Server, role string) (names []string) {
	s.ChangeRole(role, func(_, permissions map[string]bool) {
		for key := range permissions {
			names = append(names, strings.TrimSuffix(key, "@"+ordersAPI))
		}
	})
	slices.Sort(names)
	return names
}

func withRoles(roles ...string) func(*sdk.User) {
	return func(u *sdk.User) { u.Roles = map[string][]string{"public": roles} }
}

// Roles that runs make get the permissions of the source and follow it. What was there
// before, and what somebody has changed since, stays and is named.
func TestRolePermissions(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{APIs: map[string][]string{ordersAPI: {"orders:read", "orders:write", "orders:delete"}}}, map[string]any{"permissions_api": ordersAPI})
	b.server.PutRole("theirs")
	roles := []string{"editor", "touched", "theirs", "plain", "misfit"}
	users := []sdk.User{light(1, withRoles(roles...))}
	needs := sdk.Needs{Users: 1, Roles: roles}
	define := func(all map[string][]string) {
		t.Helper()
		var defined []sdk.Role
		for name, permissions := range all {
			defined = append(defined, sdk.Role{Name: name, Permissions: permissions})
		}
		if err := b.client.DefineRoles(t.Context(), defined); err != nil {
			t.Fatal(err)
		}
	}
	odd := func() map[string]string {
		t.Helper()
		list, err := b.client.Check(t.Context(), needs)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, d := range list.Diagnostics {
			if d.Code == codePower {
				t.Errorf("what a run has given counts as power that was there: %s", d.Summary)
			}
			if d.Code == codeRolePermissions {
				role, why, _ := strings.Cut(strings.TrimPrefix(d.Summary, "the role "), " does not get all permissions of the source: ")
				out[role] = why
			}
		}
		return out
	}
	const foreign, changed = "no run has made it, and it keeps the permissions that it has in the tenant", "somebody has changed its permissions in the tenant, and it keeps them"

	define(map[string][]string{"editor": {"orders:read", "orders:write"}, "touched": {"orders:read"}, "theirs": {"orders:read"}, "plain": nil, "misfit": {"orders:burn", "orders:read"}})
	want := map[string]string{"theirs": foreign, "misfit": "the API has no permission orders:burn"}
	if d := cmp.Diff(want, odd()); d != "" {
		t.Errorf("before the first run: %s", d)
	}
	if b.server.Writes() != 0 {
		t.Error("a check has written")
	}
	b.load(users...)
	finish(t, b)
	for role, want := range map[string][]string{"editor": {"orders:read", "orders:write"}, "touched": {"orders:read"}, "theirs": nil, "plain": nil, "misfit": {"orders:read"}} {
		if d := cmp.Diff(want, permissionsOf(b.server, role)); d != "" {
			t.Errorf("%s after the first run: %s", role, d)
		}
	}

	// The next run: the source has changed, and somebody was here.
	b.server.ChangeRole("touched", func(_, permissions map[string]bool) { permissions["orders:delete@"+ordersAPI] = true })
	b.client = b.serve()
	define(map[string][]string{"editor": {"orders:delete", "orders:read"}, "touched": {"orders:write"}, "theirs": {"orders:read"}, "plain": nil, "misfit": nil})
	want = map[string]string{"theirs": foreign, "touched": changed}
	needs.Roles = []string{"editor", "plain", "misfit"} // the power of touched is that of somebody else by now
	if d := cmp.Diff(want, odd()); d != "" {
		t.Errorf("before the second run: %s", d)
	}
	b.load(users...)
	finish(t, b)
	for role, want := range map[string][]string{"editor": {"orders:delete", "orders:read"}, "touched": {"orders:delete", "orders:read"}, "theirs": nil, "misfit": nil} {
		if d := cmp.Diff(want, permissionsOf(b.server, role)); d != "" {
			t.Errorf("%s after the second run: %s", role, d)
		}
	}

	// Nothing is written where nothing differs.
	b.client = b.serve()
	define(map[string][]string{"editor": {"orders:delete", "orders:read"}})
	before := b.server.Writes()
	finish(t, b)
	if n := b.server.Writes() - before; n != 0 {
		t.Errorf("%d requests write what is there", n)
	}

	// A tidy takes away the role that is as it was left, and not the one that was changed.
	for _, role := range roles {
		b.server.ChangeRole(role, func(users, _ map[string]bool) { clear(users) })
	}
	b.client = b.serve()
	if _, _, err := b.client.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"theirs", "touched"}, b.server.Roles()); d != "" {
		t.Errorf("roles after a tidy: %s", d)
	}
}

func finish(t *testing.T, b *bundle) {
	t.Helper()
	if err := b.client.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Without an API nothing is declared, and the Management API is refused: its permissions
// change the tenant itself.
func TestWhoKeepsPermissions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config Config
		keeps  bool
	}{
		"live":              {Config{PermissionsAPI: ordersAPI}, true},
		"no API":            {Config{}, false},
		"files":             {Config{PermissionsAPI: ordersAPI, Mode: modeFiles}, false},
		"roles in metadata": {Config{PermissionsAPI: ordersAPI, Roles: choiceMetadata}, false},
	} {
		if caps := capabilities(c.config.withDefaults()); caps.Has(sdk.CarriesRolePermissions) != c.keeps {
			t.Errorf("%s: %t", name, !c.keeps)
		}
	}
	c := Config{Domain: "acme.eu.auth0.com", ClientID: "m2m", ClientSecret: sdk.NewSecret("s"), Connection: "c", PermissionsAPI: "https://acme.eu.auth0.com/api/v2/"}.withDefaults()
	if l := c.validate(); len(l) != 1 || l[0].Path != "/permissions_api" {
		t.Errorf("the Management API: %+v", l)
	}
}

// An application without the scopes loads everybody, and check says what is missing; so does
// an API that is not there.
func TestRolePermissionsRefused(t *testing.T) {
	t.Parallel()
	scopes := strings.Fields(strings.Join(slices.Concat(loadScopes, otherScopes, []string{"read:roles", "create:roles", "create:role_members", "read:resource_servers"}), " "))
	for name, c := range map[string]struct {
		options simulator.Options
		code    sdk.Code
	}{
		"no scope": {simulator.Options{Scopes: scopes, APIs: map[string][]string{ordersAPI: {"orders:read"}}}, codeScopeMissing},
		"no API":   {simulator.Options{}, codeRolePermissions},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, c.options, map[string]any{"permissions_api": ordersAPI})
			if err := b.client.DefineRoles(t.Context(), []sdk.Role{{Name: "editor", Permissions: []string{"orders:read"}}}); err != nil {
				t.Fatal(err)
			}
			list, err := b.client.Check(t.Context(), sdk.Needs{Users: 1, Roles: []string{"editor"}})
			if err != nil || list.Diagnostics.HasErrors() || !slices.ContainsFunc(list.Diagnostics, func(d sdk.Diagnostic) bool { return d.Code == c.code && d.Path == "/permissions_api" }) {
				t.Errorf("%v %v", list, err)
			}
			b.expect(b.load(light(1, withRoles("editor"))), sdk.Created, 1)
			finish(t, b)
		})
	}
}
