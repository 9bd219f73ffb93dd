//go:build unix && usermigration

package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// TestUserMigrationProvider has Keycloak ask the bridge through the user-migration
// provider (com.danielfrak.code.keycloak). Its jar is on no registry, so the test is
// built with the tag usermigration only, and STETL_USER_MIGRATION_JAR names a jar that
// somebody has built. What the provider sends is held by TestLazyCheck in core/bridge.
func TestUserMigrationProvider(t *testing.T) {
	t.Parallel()
	path := os.Getenv("STETL_USER_MIGRATION_JAR")
	if path == "" {
		t.Fatal("STETL_USER_MIGRATION_JAR names no jar of the provider")
	}
	jar, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const name, r, clientSecret = "core-9.3.0", "lazy", "client-secret"
	server := keycloak.Start(t, keycloak.Options{Providers: map[string][]byte{"user-migration.jar": jar}})
	realm(t, server, r, clientSecret)
	tr := fixture.Read(t, name)
	address := freeAddress(t)
	config := filepath.Join(t.TempDir(), "keycloak.yaml")
	writeFile(t, config, `
source: {url: "${env:DATABASE}", firebase_signer_key: "${env:SIGNER}"}
target:
  plugin: keycloak
  config: {url: "${env:URL}", realm: `+r+`, client_id: stetl, client_secret: "${env:SECRET}"}
bridge:
  listen: `+address+`
  admin_listen: `+freeAddress(t)+`
  issuer: http://`+address+`/bridge
  lazy: {token: "${env:LAZY}"}
`)
	env := []string{"DATABASE=" + fixture.Restore(t, name), "URL=" + server.URL(), "SECRET=" + clientSecret, "SIGNER=" + tr.FirebaseSignerKey, "LAZY=lazy-token"}
	startBridge(t, config, address, env)
	err = server.Admin(t.Context(), http.MethodPost, "/realms/"+r+"/components", map[string]any{
		"name": "supertokens", "providerType": "org.keycloak.storage.UserStorageProvider", "providerId": "User migration using a REST client",
		"config": map[string][]string{
			"enabled": {"true"}, "priority": {"0"}, "URI": {"http://" + address + "/bridge/lazy/keycloak"}, "API_TOKEN_ENABLED": {"true"}, "API_TOKEN": {"lazy-token"},
			"MIGRATE_UNMAPPED_ROLES": {"true"}, "MIGRATE_UNMAPPED_GROUPS": {"true"},
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(username, password string) keycloak.Grant {
		t.Helper()
		g, err := server.PasswordGrant(t.Context(), r, "people", username, password)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	lazy, bcrypt := 0, 0
	for _, a := range tr.Accounts {
		for _, l := range a.LoginMethods {
			switch {
			case a.AppID != "public" || l.ClearPassword == "" || len(l.Tenants) != 1 || l.Tenants[0] != "public":
			case l.PasswordFormat == "firebase_scrypt":
				lazy++
				for _, password := range []string{"wrong", l.ClearPassword, l.ClearPassword} {
					g := sign(l.Email, password)
					if good := g.Status == http.StatusOK; good != (password == l.ClearPassword) {
						t.Errorf("%s: %d %s", l.Email, g.Status, g.Body)
					} else if good && len(a.VisibleID) <= 36 && g.Claims["sub"] != a.VisibleID {
						t.Errorf("%s is %v, want %s", l.Email, g.Claims["sub"], a.VisibleID)
					}
				}
			case l.PasswordFormat == "bcrypt" && bcrypt == 0:
				bcrypt++
				if g := sign(l.Email, l.ClearPassword); !g.Refused() {
					t.Errorf("somebody whose hash the realm takes: %d %s", g.Status, g.Body)
				}
			}
		}
	}
	if lazy == 0 || bcrypt == 0 {
		t.Errorf("%d users with hashes from Firebase and %d others were tried", lazy, bcrypt)
	}
}
