//go:build unix

package keycloak

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// makerOf serves a plugin that makes realms.
func makerOf(t *testing.T, c Config) *plugintest.Client {
	t.Helper()
	return plugintest.ServeWith(t, Plugin(), map[string]any{
		"url": c.URL, "realm": c.Realm, "auth_realm": c.AuthRealm, "client_id": c.ClientID, "client_secret": c.ClientSecret.Reveal(), "create": c.Create, "template": c.Template,
	}, plugintest.Host{FingerprintKey: bytes.Repeat([]byte{5}, 32)})
}

// A realm that does not exist is made from the template by the first load, once, and not by a
// look; one that exists is left as it is.
func TestServerCreate(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	const template, realm = "create-template", "create-made"
	s.CreateRealm(t, map[string]any{
		"realm": template, "enabled": true, "resetPasswordAllowed": true, "passwordPolicy": "length(3)",
		"clients": []any{map[string]any{"clientId": "shop", "secret": "of-the-template", "redirectUris": []string{"https://shop.example.com/*"}}},
		"roles":   map[string]any{"realm": []any{map[string]any{"name": "customer"}}},
		"users":   []any{map[string]any{"username": "somebody", "enabled": true}},
	})
	t.Cleanup(func() { _ = s.Admin(context.WithoutCancel(t.Context()), http.MethodDelete, "/realms/"+realm, nil, nil) })
	c := Config{URL: s.URL(), Realm: realm, AuthRealm: "master", ClientID: keycloak.AdminClientID, ClientSecret: secretOf(keycloak.AdminClientSecret), Create: true, Template: template}
	needs := sdk.Needs{Schemes: []sdk.Scheme{sdk.Bcrypt}}

	list := open(t, c).Check(t.Context(), needs)
	if list.HasErrors() || !slices.Contains(codes(list), "warning keycloak.realm_to_make") || !slices.Contains(codes(list), "warning keycloak.template") {
		t.Fatalf("check: %+v", list)
	}
	user := sdk.User{SourceID: "s1", ID: "create-user-1", Username: "ada@example.org", Email: "ada@example.org", Enabled: true, Class: sdk.NoPassword, Roles: map[string][]string{"t": {"customer"}}}
	if planned := planOf(t, makerOf(t, c), []sdk.User{user}); planned[0].Action != sdk.Created {
		t.Fatalf("plan: %+v", planned)
	}
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm, nil, nil); err == nil {
		t.Fatal("a look has made the realm")
	}

	if out := loaded(t, makerOf(t, c), user); out[0].Action != sdk.Created {
		t.Fatalf("load: %+v", out)
	}
	var made struct {
		PasswordPolicy string `json:"passwordPolicy"`
		DefaultRole    struct{ Name string }
	}
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm, nil, &made); err != nil || made.PasswordPolicy != "length(3)" || made.DefaultRole.Name != "default-roles-"+realm {
		t.Errorf("the realm is %+v, %v", made, err)
	}
	var clients []struct{ Secret string }
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/clients?clientId=shop", nil, &clients); err != nil || len(clients) != 1 || clients[0].Secret == "" || strings.Contains(clients[0].Secret, "*") || clients[0].Secret == "of-the-template" {
		t.Errorf("the client is %d, %v", len(clients), err)
	}
	var users []struct{ Username string }
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/users", nil, &users); err != nil || len(users) != 1 || users[0].Username != "ada@example.org" {
		t.Errorf("the users are %+v, %v", users, err)
	}

	// What somebody has changed in it stays.
	if err := s.Admin(t.Context(), http.MethodPut, "/realms/"+realm, map[string]any{"passwordPolicy": "length(9)"}, nil); err != nil {
		t.Fatal(err)
	}
	if again := loaded(t, makerOf(t, c), user); again[0].Action != sdk.Unchanged {
		t.Errorf("again: %+v", again)
	}
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm, nil, &made); err != nil || made.PasswordPolicy != "length(9)" {
		t.Errorf("a realm that exists was changed: %+v, %v", made, err)
	}
}

// Who may not make realms is told so before anything is written.
func TestServerCreateNeedsTheRole(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	const template = "create-no-role"
	s.CreateRealm(t, map[string]any{"realm": template, "enabled": true})
	if err := s.Admin(t.Context(), http.MethodPost, "/realms/master/clients", map[string]any{
		"clientId": "cannot-create", "secret": "pw", "serviceAccountsEnabled": true, "publicClient": false,
	}, nil); err != nil {
		t.Fatal(err)
	}
	c := Config{URL: s.URL(), Realm: "never", AuthRealm: "master", ClientID: "cannot-create", ClientSecret: secretOf("pw"), Create: true, Template: template}
	if list := open(t, c).Check(t.Context(), sdk.Needs{}); !slices.Equal(codes(list), []string{"error keycloak.role_missing"}) || !strings.Contains(list[0].Summary, "may not make realms") {
		t.Errorf("check: %+v", list)
	}
}

// The roles that docs/targets.md names are enough to make a realm and to load users into it.
func TestServerCreateWithTheLeastRights(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	const template, realm, id = "create-least-template", "create-least", "least-rights"
	s.CreateRealm(t, map[string]any{"realm": template, "enabled": true})
	t.Cleanup(func() { _ = s.Admin(context.WithoutCancel(t.Context()), http.MethodDelete, "/realms/"+realm, nil, nil) })
	call := func(method, path string, in, out any) {
		t.Helper()
		if err := s.Admin(t.Context(), method, "/realms/master"+path, in, out); err != nil {
			t.Fatal(err)
		}
	}
	call(http.MethodPost, "/clients", map[string]any{"clientId": id, "secret": "pw", "serviceAccountsEnabled": true, "publicClient": false}, nil)
	var clients, managing []struct{ ID string }
	var user struct{ ID string }
	call(http.MethodGet, "/clients?clientId="+id, nil, &clients)
	call(http.MethodGet, "/clients/"+clients[0].ID+"/service-account-user", nil, &user)
	call(http.MethodGet, "/clients?clientId="+template+"-realm", nil, &managing)
	var creates map[string]any
	call(http.MethodGet, "/roles/create-realm", nil, &creates)
	call(http.MethodPost, "/users/"+user.ID+"/role-mappings/realm", []any{creates}, nil)
	for _, name := range []string{"manage-realm", "view-users", "view-clients", "view-identity-providers"} {
		var role map[string]any
		call(http.MethodGet, "/clients/"+managing[0].ID+"/roles/"+name, nil, &role)
		call(http.MethodPost, "/users/"+user.ID+"/role-mappings/clients/"+managing[0].ID, []any{role}, nil)
	}
	c := Config{URL: s.URL(), Realm: realm, AuthRealm: "master", ClientID: id, ClientSecret: secretOf("pw"), Create: true, Template: template}
	if list := open(t, c).Check(t.Context(), sdk.Needs{}); list.HasErrors() {
		t.Errorf("check: %+v", list)
	}
	out := loaded(t, makerOf(t, c), sdk.User{SourceID: "s2", ID: "create-user-2", Username: "grace@example.org", Email: "grace@example.org", Enabled: true, Class: sdk.NoPassword})
	if out[0].Action != sdk.Created {
		t.Errorf("load: %+v", out)
	}
}
