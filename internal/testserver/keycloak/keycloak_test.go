//go:build unix

package keycloak_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/plugins/keycloak/provider"
)

// options are those of the provider's own test, so that one build serves both.
var options = keycloak.Options{Providers: map[string][]byte{provider.FileName: provider.Jar()}}

const realm = `{
	"realm": "imported",
	"enabled": true,
	"clients": [{"clientId": "app", "enabled": true, "publicClient": true, "directAccessGrantsEnabled": true}]
}`

const users = `{"realm": "imported", "users": [{
	"id": "5d1c2c7e-0001-4000-8000-000000000001",
	"username": "ada@example.com", "email": "ada@example.com", "emailVerified": true,
	"firstName": "Ada", "lastName": "Example", "enabled": true,
	"credentials": [{"type": "password", "value": "correct horse 1"}]
}]}`

func TestImportThenLogIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"imported-realm.json": realm, "imported-users-0.json": users} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opts := options
	opts.Import = dir
	s := keycloak.Start(t, opts)

	g, err := s.PasswordGrant(t.Context(), "imported", "app", "ada@example.com", "correct horse 1")
	if err != nil {
		t.Fatal(err)
	}
	if g.Status != http.StatusOK || g.Claims["sub"] != "5d1c2c7e-0001-4000-8000-000000000001" {
		t.Errorf("right password: status %d, subject %v", g.Status, g.Claims["sub"])
	}
	g, err = s.PasswordGrant(t.Context(), "imported", "app", "ada@example.com", "wrong")
	if err != nil {
		t.Fatal(err)
	}
	if !g.Refused() || g.AccessToken != "" {
		t.Errorf("wrong password: status %d: %s", g.Status, g.Body)
	}
}

func TestSharedServer(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, options)
	if keycloak.Shared(t, options) != s {
		t.Error("same options gave another server")
	}
	s.CreateRealm(t, map[string]any{"realm": "testserver", "enabled": true})
	var got struct{ Realm string }
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/testserver", nil, &got); err != nil || got.Realm != "testserver" {
		t.Errorf("realm is %q, %v", got.Realm, err)
	}
	err := s.Admin(t.Context(), http.MethodGet, "/realms/missing", nil, &got)
	if status, ok := errors.AsType[*keycloak.StatusError](err); !ok || status.Status != http.StatusNotFound {
		t.Errorf("error is %v, want one of status 404", err)
	}
}

// The hash that a server makes of its own accord costs next to nothing.
func TestOwnHashIsCheap(t *testing.T) {
	t.Parallel()
	for _, version := range []string{keycloak.Version, keycloak.OldVersion} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			opts := options
			opts.Version = version
			s := keycloak.Shared(t, opts)
			s.CreateRealm(t, map[string]any{"realm": "cheap", "enabled": true, "users": []any{map[string]any{
				"username": "ada", "enabled": true, "credentials": []any{map[string]any{"type": "password", "value": "correct horse 1"}},
			}}})
			var users []struct{ ID string }
			if err := s.Admin(t.Context(), http.MethodGet, "/realms/cheap/users", nil, &users); err != nil || len(users) != 1 {
				t.Fatalf("%v, %v", users, err)
			}
			var credentials []struct{ CredentialData string }
			if err := s.Admin(t.Context(), http.MethodGet, "/realms/cheap/users/"+users[0].ID+"/credentials", nil, &credentials); err != nil || len(credentials) != 1 {
				t.Fatalf("%v, %v", credentials, err)
			}
			if data := credentials[0].CredentialData; !strings.Contains(data, `"memory":["1024"]`) {
				t.Errorf("the hash is %s", data)
			}
		})
	}
}
