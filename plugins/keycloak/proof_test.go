//go:build unix

package keycloak

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// asksForCode has the realm want a one-time password of everybody who signs in with a
// password alone.
func asksForCode(t *testing.T, s *keycloak.Server, realm string) {
	t.Helper()
	path := "/realms/" + realm + "/authentication/flows/"
	if err := s.Admin(t.Context(), http.MethodPost, path+"direct%20grant/copy", map[string]any{"newName": "strict"}, nil); err != nil {
		t.Fatal(err)
	}
	var steps []map[string]any
	if err := s.Admin(t.Context(), http.MethodGet, path+"strict/executions", nil, &steps); err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		switch {
		case step["requirement"] == "CONDITIONAL":
			step["requirement"] = "REQUIRED"
		case step["providerId"] == "conditional-user-configured":
			step["requirement"] = "DISABLED"
		default:
			continue
		}
		if err := s.Admin(t.Context(), http.MethodPut, path+"strict/executions", step, nil); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, s, realm, map[string]any{"directGrantFlow": "strict"})
}

// refusesClients has a client policy that is about every client.
func refusesClients(t *testing.T, s *keycloak.Server, realm, executor string) {
	t.Helper()
	err := s.Admin(t.Context(), http.MethodPut, "/realms/"+realm+"/client-policies/profiles", map[string]any{"profiles": []any{map[string]any{
		"name": "strict", "executors": []any{map[string]any{"executor": executor, "configuration": map[string]any{}}},
	}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Admin(t.Context(), http.MethodPut, "/realms/"+realm+"/client-policies/policies", map[string]any{"policies": []any{map[string]any{
		"name": "everybody", "enabled": true, "profiles": []string{"strict"}, "conditions": []any{map[string]any{"condition": "any-client", "configuration": map[string]any{}}},
	}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// TestServerProof has realms in which a password cannot be proven, or can in spite of what
// the realm asks for: check says it beforehand, and a sign-in gives no wrong answer.
func TestServerProof(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	tests := []struct {
		name     string
		settle   func(t *testing.T, realm string)
		possible bool
	}{
		{"as made", func(*testing.T, string) {}, true},
		{"code", func(t *testing.T, realm string) { t.Helper(); asksForCode(t, s, realm) }, false},
		{"no-grants", func(t *testing.T, realm string) { t.Helper(); refusesClients(t, s, realm, "reject-ropc-grant") }, false},
		{"a field more", func(t *testing.T, realm string) {
			t.Helper()
			profiled(t, s, realm, func(attributes []any) []any {
				return append(attributes, map[string]any{"name": "shoe", "required": map[string]any{}, "permissions": map[string]any{"view": []string{"admin", "user"}, "edit": []string{"admin", "user"}}})
			})
		}, true},
		{"expiry", func(t *testing.T, realm string) {
			t.Helper()
			settle(t, s, realm, map[string]any{"passwordPolicy": "forceExpiredPasswordChange(30)"})
		}, true},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			realm := "proof-" + string(rune('a'+i))
			config := newRealmOn(t, s, realm)
			grant(t, s, realm, "manage-clients")
			tt.settle(t, realm)
			target := open(t, config)
			list := target.Check(t.Context(), sdk.Needs{Schemes: []sdk.Scheme{sdk.Bcrypt}})
			if told := slices.Contains(codes(list), "warning target.login_unavailable"); told == tt.possible || list.HasErrors() {
				t.Errorf("check: %+v", list)
			}
			u := person(66_000+i, func(u *sdk.User) {
				u.SourceID, u.Tenants = "stetl-canary-"+realm, nil
				u.Password, u.Class = bcryptOf(t, "2a", "right"), sdk.HashCarried
			})
			load(t, target, []sdk.User{u})
			for password, want := range map[string]bool{"right": true, "xright": false} {
				got, err := target.Login(t.Context(), sdk.Login{TargetID: u.ID, Username: u.Username, Password: sdk.NewSecret(password)})
				if f, deaf := errors.AsType[*sdk.Failure](err); tt.possible && (err != nil || got != want) || !tt.possible && (!deaf || f.Code != sdk.CodeLoginUnavailable || f.Hint == "") {
					t.Errorf("login with %s: %v, %v", password, got, err)
				}
			}
		})
	}
}

// profiled changes the attributes of a realm's user profile.
func profiled(t *testing.T, s *keycloak.Server, realm string, change func(attributes []any) []any) {
	t.Helper()
	path := "/realms/" + realm + "/users/profile"
	var profile map[string]any
	if err := s.Admin(t.Context(), http.MethodGet, path, nil, &profile); err != nil {
		t.Fatal(err)
	}
	profile["attributes"] = change(profile["attributes"].([]any))
	if err := s.Admin(t.Context(), http.MethodPut, path, profile, nil); err != nil {
		t.Fatal(err)
	}
}
