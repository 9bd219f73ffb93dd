//go:build unix

package scim

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/stetl/stetl/core/sdk/conformance"
	"github.com/stetl/stetl/internal/testserver/scim"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// TestLiveConformance holds the live mode to the rules of the plugin protocol, on a
// real server behind a proxy that throttles and cuts connections.
func TestLiveConformance(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "tries every rule")
	s := scim.StartSCIMMY(t, scim.Options{})
	base, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	provider := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: base.Scheme, Host: base.Host})
	provider.ErrorLog = log.New(io.Discard, "", 0) // of connections that a rule cuts
	front := conformance.NewFront(provider)
	proxy := httptest.NewServer(front)
	t.Cleanup(proxy.Close)
	conformance.Test(t, conformance.Suite{
		Start: conformance.InProcess(Plugin(), map[string]any{
			"url": proxy.URL + base.Path, "auth": map[string]any{"type": "bearer", "token": scim.Token},
		}),
		Front: front,
		Inspect: func(context.Context) (string, error) {
			users, _ := s.Stored(t) //nolint:contextcheck // it ends with the test
			all, err := json.Marshal(users)
			return string(all), err
		},
	})
}
