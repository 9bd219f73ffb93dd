package auth0

import (
	"context"
	"encoding/json"
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
	conformance.Test(t, conformance.Suite{
		Start: conformance.InProcess(Plugin(), map[string]any{
			"domain": "tenant.eu.auth0.test", "api_url": server.URL, "client_id": "stetl", "client_secret": "client-secret-of-the-tenant",
			"connection": "Username-Password-Authentication", "poll_interval": "10ms", "deferred": filepath.Join(t.TempDir(), "deferred.jsonl"),
			"canary_client_id": "stetl", "canary_client_secret": "client-secret-of-the-tenant",
		}),
		Inspect: func(context.Context) (string, error) {
			all, err := json.Marshal(server.Users())
			return string(all), err
		},
	})
}
