package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
)

// roleKeeper is a target that is told what roles allow.
type roleKeeper struct {
	caller
	calls int
	roles []sdk.Role
	err   error
}

func (k *roleKeeper) DefineRoles(_ context.Context, roles []sdk.Role) error {
	k.calls++
	k.roles = append(k.roles, roles...)
	return k.err
}

// What roles allow reaches the plugin whole, in messages of a bounded size, and its answer
// comes back.
func TestDefineRoles(t *testing.T) {
	t.Parallel()
	keeper := &roleKeeper{}
	p := with(keeper)
	p.Capabilities.Carries = []sdk.Feature{sdk.CarriesRolePermissions}
	c := plugintest.Serve(t, p, nil)
	want := []sdk.Role{{Name: "admin", Permissions: []string{"read", "write"}}, {Name: "nobody"}}
	for i := range 5 {
		var permissions []string
		for n := range 3_000 {
			permissions = append(permissions, fmt.Sprintf("%s:%d", strings.Repeat("p", 200), n))
		}
		want = append(want, sdk.Role{Name: fmt.Sprint(i), Permissions: permissions})
	}
	if err := c.DefineRoles(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, keeper.roles); diff != "" || keeper.calls < 2 {
		t.Errorf("%d calls (-want +got):\n%s", keeper.calls, diff)
	}
	keeper.err = errors.New("down")
	if err := c.DefineRoles(t.Context(), want[:1]); err == nil || !strings.Contains(err.Error(), "down") {
		t.Errorf("a plugin that cannot: %v", err)
	}
	huge := []sdk.Role{{Name: "huge", Permissions: []string{strings.Repeat("p", 16<<20)}}}
	if err := c.DefineRoles(t.Context(), huge); err == nil || !strings.Contains(err.Error(), "role huge") {
		t.Errorf("a role that fits into no message: %v", err)
	}
}

// A plugin that does not declare it is not told; one that declares it and has no place for it
// is found out.
func TestDefineRolesOfOthers(t *testing.T) {
	t.Parallel()
	roles := []sdk.Role{{Name: "admin"}}
	keeper := &roleKeeper{}
	if err := plugintest.Serve(t, with(keeper), nil).DefineRoles(t.Context(), roles); !errors.Is(err, errors.ErrUnsupported) || keeper.calls > 0 {
		t.Errorf("undeclared: %v, %d calls", err, keeper.calls)
	}
	p := with(&caller{})
	p.Capabilities.Carries = []sdk.Feature{sdk.CarriesRolePermissions}
	if err := plugintest.Serve(t, p, nil).DefineRoles(t.Context(), roles); err == nil || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("declared without a place: %v", err)
	}
}
