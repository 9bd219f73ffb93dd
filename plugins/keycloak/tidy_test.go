//go:build unix

package keycloak

import (
	"net/http"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// Tidying up takes away what is empty and nothing else.
func TestServerTidyKeepsMembers(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "tidy")
	target := open(t, config)
	u := person(6200, func(u *sdk.User) {
		u.Tenants, u.Roles = []string{"eu", "public"}, map[string][]string{"eu": {"editor"}}
	})
	load(t, target, []sdk.User{u})
	if removed, left, err := target.Tidy(t.Context()); err != nil || removed != 0 || left != 0 {
		t.Fatalf("%d removed, %d left, %v", removed, left, err)
	}
	var groups []group
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/tidy/users/"+u.ID+"/groups", nil, &groups); err != nil || len(groups) != 2 {
		t.Errorf("groups %+v, %v", groups, err)
	}
	var roles []role
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/tidy/users/"+u.ID+"/role-mappings/realm", nil, &roles); err != nil || len(roles) != 2 {
		t.Errorf("roles %+v, %v", roles, err)
	}
}
