package e2e_test

import (
	"cmp"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/scim"
)

// scimServer is one that the shipped configuration is pointed to.
type scimServer struct {
	url, secret string
	auth        string // instead of the bearer of the shipped configuration
	// stored is what it holds, by a way that the plugin does not use.
	stored func(testing.TB) (users, groups []map[string]any)
}

func bearer(start func(testing.TB, scim.Options) *scim.Server) func(*testing.T) scimServer {
	return func(t *testing.T) scimServer {
		s := start(t, scim.Options{})
		return scimServer{url: s.URL, secret: scim.Token, stored: s.Stored}
	}
}

// keycloakSCIM is a realm of Keycloak's own SCIM service, prepared as docs/scim.md says.
func keycloakSCIM(t *testing.T) scimServer {
	const realm, secret = "scim", "secret-of-the-scim-client"
	s := keycloak.Shared(t, keycloak.Bare)
	base := s.URL() + "/realms/" + realm + "/scim/v2"
	s.CreateRealm(t, map[string]any{
		"realm": realm, "enabled": true, "scimApiEnabled": true,
		"clients": []any{map[string]any{
			"clientId": "stetl", "enabled": true, "secret": secret, "serviceAccountsEnabled": true,
			"protocolMappers": []any{map[string]any{
				"name": "scim", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
				"config": map[string]any{"included.custom.audience": base, "access.token.claim": "true"},
			}},
		}},
		"users": []any{map[string]any{
			"username": "service-account-stetl", "enabled": true, "serviceAccountClientId": "stetl",
			"clientRoles": map[string]any{"realm-management": []string{"manage-users", "query-groups", "view-realm"}},
		}},
	})
	if err := s.RelaxUserProfile(t.Context(), realm); err != nil {
		t.Fatal(err)
	}
	var profile map[string]any
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/"+realm+"/users/profile", nil, &profile); err != nil {
		t.Fatal(err)
	}
	attributes, _ := profile["attributes"].([]any)
	profile["attributes"] = append(attributes, map[string]any{
		"name": "externalId", "annotations": map[string]any{"kc.scim.schema.attribute": "externalId"},
		"permissions": map[string]any{"view": []string{"admin"}, "edit": []string{"admin"}},
	})
	if err := s.Admin(t.Context(), http.MethodPut, "/realms/"+realm+"/users/profile", profile, nil); err != nil {
		t.Fatal(err)
	}
	return scimServer{
		url: base, secret: secret,
		auth: `auth: {type: oauth2, token_url: "` + s.URL() + "/realms/" + realm + `/protocol/openid-connect/token", client_id: stetl, client_secret: "${env:SCIM_TOKEN}"}`,
		stored: func(tb testing.TB) (users, groups []map[string]any) {
			tb.Helper()
			for path, into := range map[string]*[]map[string]any{"/users?max=10000": &users, "/groups": &groups} {
				if err := s.Admin(tb.Context(), http.MethodGet, "/realms/"+realm+path, nil, into); err != nil {
					tb.Fatal(err)
				}
			}
			for _, u := range users {
				held, _ := u["attributes"].(map[string]any)
				if keys, _ := held["externalId"].([]any); len(keys) == 1 {
					u["externalId"] = keys[0]
				}
			}
			return users, groups
		},
	}
}

const bearerOfConfig = `auth: {type: bearer, token: "${env:SCIM_TOKEN}"}`

// TestSCIMToServers goes with the shipped configuration from a live database into
// servers that others have written, and back.
func TestSCIMToServers(t *testing.T) {
	t.Parallel()
	database := postgres.Start(t)
	shipped, err := os.ReadFile("../../configs/scim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(shipped), bearerOfConfig) {
		t.Fatal("the shipped configuration signs in otherwise")
	}
	const fixture = "core-10.1.4"
	for name, start := range map[string]func(*testing.T) scimServer{
		"SCIMMY": bearer(scim.StartSCIMMY), "scim2-server": bearer(scim.StartSCIM2), "Keycloak": keycloakSCIM,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			env := []string{
				"SUPERTOKENS_DATABASE_URL=" + database.RestorePlain(t, filepath.Join(fixtures, fixture+".sql"), postgres.Database{}),
				"SCIM_URL=" + server.url, "SCIM_TOKEN=" + server.secret,
			}
			config := filepath.Join(t.TempDir(), "scim.yaml")
			writeFile(t, config, strings.Replace(string(shipped), bearerOfConfig, cmp.Or(server.auth, bearerOfConfig), 1))

			planned := runStetl(t, env, "run", "--config", config, "--dry-run", "--json").report(t).Summary
			if users, _ := server.stored(t); len(users) != 0 {
				t.Fatalf("the dry run left %d users", len(users))
			}
			first := runStetl(t, env, "run", "--config", config, "--json")
			loaded := first.report(t).Summary
			if loaded != planned {
				t.Errorf("the run did %+v, the dry run said %+v", loaded, planned)
			}
			people := readAccounts(t, fixture)
			if loaded.Read != len(people) || loaded.Accounted() != len(people) || loaded.Created == 0 || loaded.InDoubt > 0 {
				t.Errorf("%+v, the record has %d accounts\n%s", loaded, len(people), first.stderr)
			}
			users, _ := server.stored(t)
			visible := map[string]int{}
			for _, a := range people {
				visible[a.VisibleID] = 0
			}
			for _, u := range users {
				key, _ := u["externalId"].(string)
				if n, ok := visible[key]; !ok || n > 0 {
					t.Errorf("externalId %q is nobody's, or there twice", key)
				}
				visible[key]++
				if u["password"] != nil {
					t.Errorf("the account %s has a password", key)
				}
			}
			if len(users) != loaded.Created {
				t.Errorf("%d users at the server, %d were created", len(users), loaded.Created)
			}

			again := runStetl(t, env, "run", "--config", config, "--json").report(t).Summary
			if want := (pluginapi.Summary{Read: loaded.Read, Unchanged: loaded.Created, Skipped: loaded.Skipped, Rejected: loaded.Rejected}); again != want {
				t.Errorf("the second run did %+v, want %+v", again, want)
			}
			if r := runStetl(t, env, "verify", "--config", config); r.code != exitDone {
				t.Errorf("verify exits with %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			if r := runStetl(t, env, "undo", "--config", config, "--yes"); r.code != exitDone {
				t.Errorf("undo exits with %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			if users, groups := server.stored(t); len(users)+len(groups) != 0 {
				t.Errorf("after the undo there are %d users and %d groups", len(users), len(groups))
			}
			if all := first.stdout + first.stderr; strings.Contains(all, server.secret) || strings.Contains(all, "$2a$") {
				t.Error("a secret is in the output")
			}
		})
	}
}
