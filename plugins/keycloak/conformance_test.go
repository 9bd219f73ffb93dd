package keycloak

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk/conformance"
	"github.com/stetl/stetl/internal/targettest"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// TestServerConformance holds the live mode to the rules of the plugin protocol, on a
// real server behind a proxy that throttles and cuts connections.
func TestServerConformance(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	c := newRealmOn(t, s, "conformance")
	settle(t, s, "conformance", map[string]any{"editUsernameAllowed": true}) // else nobody gives a name free
	err := s.Admin(t.Context(), http.MethodPost, "/realms/conformance/clients", map[string]any{
		"clientId": "canary", "secret": "canary-secret", "publicClient": false, "directAccessGrantsEnabled": true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	server := httputil.NewSingleHostReverseProxy(base)
	server.ErrorLog = log.New(io.Discard, "", 0) // of connections that a rule cuts
	front := conformance.NewFront(server)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") { // a POST that changes nothing
			server.ServeHTTP(w, r)
			return
		}
		front.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	conformance.Test(t, conformance.Suite{
		Start: conformance.InProcess(Plugin(), map[string]any{
			"url": proxy.URL, "realm": c.Realm, "client_id": c.ClientID, "client_secret": c.ClientSecret.Reveal(),
			"canary_client_id": "canary", "canary_client_secret": "canary-secret",
		}),
		Front: front,
		Allows: func(ctx context.Context, role string) ([]string, error) {
			var r wholeRole
			err := s.Admin(ctx, http.MethodGet, "/realms/conformance/roles/"+role, nil, &r)
			return r.Attributes[attributeAllows], err
		},
		Inspect: func(ctx context.Context) (string, error) {
			var users []map[string]any
			err := s.Admin(ctx, http.MethodGet, "/realms/conformance/users?max=100000", nil, &users)
			if err != nil {
				return "", err
			}
			all, err := json.Marshal(users)
			return string(all), err
		},
	})
}

func TestFilesConformance(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "tries every rule")
	out := filepath.Join(t.TempDir(), "out")
	conformance.Test(t, conformance.Suite{
		Start:   conformance.InProcess(Plugin(), map[string]any{"mode": "files", "realm": "test", "out": out}),
		Inspect: targettest.Files(out),
	})
}
