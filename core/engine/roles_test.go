package engine

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// A target that keeps it is told what those roles allow that somebody has, before it is
// examined; also of roles that allow nothing, and under the names that the mapping gives.
func TestRolesAreDefinedFirst(t *testing.T) {
	t.Parallel()
	src := people(4)
	src[0].Roles = map[string][]string{"public": {"admin", "reader"}, "eu": {"admin"}}
	src[1].Roles = map[string][]string{"public": {"editor", "undefined"}}
	src[2].Roles = map[string][]string{"public": {"owner"}}
	rules, found := mapping.Compile(mapping.Spec{
		Filter: `source_id != "u0002"`,
		Set:    map[string]mapping.Rule{"roles.public": {CEL: `"public" in roles && "editor" in roles["public"] ? ["writer"] : "public" in roles ? roles["public"] : []`}},
	}, policy.Policies{})
	if found.HasErrors() {
		t.Fatal(found.Err())
	}
	roles := []pluginapi.Role{
		{Name: "admin", Permissions: []string{"all", "more"}},
		{Name: "editor", Permissions: []string{"edit"}},
		{Name: "owner", Permissions: []string{"own"}},
		{Name: "reader"},
		{Name: "unused", Permissions: []string{"x"}},
		{Name: "writer", Permissions: []string{"write"}},
	}
	want := []pluginapi.Role{roles[0], roles[3], roles[5]}
	ways := map[string]func(Options, *fake) (*Result, error){
		"run":   func(o Options, f *fake) (*Result, error) { return Run(t.Context(), src, f, o) },
		"check": func(o Options, f *fake) (*Result, error) { return Check(t.Context(), src, f, o) },
	}
	for name, way := range ways {
		for _, carried := range []bool{true, false} {
			f := newFake()
			f.caps.Carries = []pluginapi.Feature{pluginapi.CarriesRoles}
			if carried {
				f.caps.Carries = append(f.caps.Carries, pluginapi.CarriesRolePermissions)
			}
			var told []pluginapi.Role
			result, err := way(Options{Mapping: rules, Roles: roles, DefineRoles: func(_ context.Context, roles []pluginapi.Role) error {
				if told != nil || f.calls["check"] > 0 {
					t.Errorf("%s: roles are defined again, or too late", name)
				}
				told = roles
				return nil
			}}, f)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&RolePermissions{Roles: 2, Permissions: 3, Carried: carried}, result.RolePermissions); diff != "" {
				t.Errorf("%s, carried %v: the result (-want +got):\n%s", name, carried, diff)
			}
			wantLost, wantTold := 0, want
			if !carried {
				wantLost, wantTold = 2, nil
			}
			if diff := cmp.Diff(wantTold, told); diff != "" || result.Losses[mapping.Loss(pluginapi.CarriesRolePermissions)] != wantLost {
				t.Errorf("%s, carried %v: the losses are %v, defined (-want +got):\n%s", name, carried, result.Losses, diff)
			}
		}
	}
}

// Nothing is written when the target could not be told what roles allow, and nothing is said
// of permissions where nobody has any.
func TestRolesThatCannotBeDefined(t *testing.T) {
	t.Parallel()
	src := people(1)
	src[0].Roles = map[string][]string{"public": {"admin"}}
	f := newFake()
	f.caps.Carries = []pluginapi.Feature{pluginapi.CarriesRolePermissions}
	broken := errors.New("broken")
	o := Options{Roles: []pluginapi.Role{{Name: "admin"}}, DefineRoles: func(context.Context, []pluginapi.Role) error { return broken }}
	result, err := Run(t.Context(), src, f, o)
	if !errors.Is(err, broken) || len(f.loaded) > 0 || result.RolePermissions != nil {
		t.Errorf("%v, %v were loaded, %+v", err, f.loaded, result.RolePermissions)
	}
}
