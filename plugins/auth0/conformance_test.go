package auth0

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
	"testing"

	"github.com/stetl/stetl/core/sdk/conformance"
	"github.com/stetl/stetl/internal/targettest"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

func TestFilesConformance(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "tries every rule")
	out := filepath.Join(t.TempDir(), "out")
	conformance.Test(t, conformance.Suite{
		Start:   conformance.InProcess(Plugin(), map[string]any{"mode": "files", "out": out}),
		Inspect: targettest.Files(out),
	})
}

func TestLiveConformance(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "tries every rule")
	server := simulator.Start(t, simulator.Options{})
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	tenant := httputil.NewSingleHostReverseProxy(base)
	tenant.ErrorLog = log.New(io.Discard, "", 0) // of connections that a rule cuts
	front := conformance.NewFront(tenant)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oauth/token" { // a POST that changes nothing
			tenant.ServeHTTP(w, r)
			return
		}
		front.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	conformance.Test(t, conformance.Suite{
		Start: conformance.InProcess(Plugin(), map[string]any{
			"domain": "tenant.eu.auth0.test", "api_url": proxy.URL, "client_id": "stetl", "client_secret": "client-secret-of-the-tenant",
			"connection": "Username-Password-Authentication", "poll_interval": "10ms", "deferred": filepath.Join(t.TempDir(), "deferred.jsonl"),
			"canary_client_id": "stetl", "canary_client_secret": "client-secret-of-the-tenant",
		}),
		Front: front,
		Inspect: func(context.Context) (string, error) {
			all, err := json.Marshal(server.Users())
			return string(all), err
		},
	})
}
