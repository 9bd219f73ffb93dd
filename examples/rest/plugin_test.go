package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/stetl/stetl/core/sdk/conformance"
	"github.com/stetl/stetl/examples/rest/idp"
)

// TestConformance tries every rule that a target plugin must keep.
func TestConformance(t *testing.T) {
	t.Parallel()
	provider := idp.New("t0ken-for-tests")
	front := conformance.NewFront(provider) // throttles and cuts connections for some rules
	server := httptest.NewServer(front)
	t.Cleanup(server.Close)
	conformance.Test(t, conformance.Suite{
		Start:   conformance.InProcess(plugin(), map[string]any{"url": server.URL, "token": "t0ken-for-tests"}),
		Front:   front,
		Inspect: func(context.Context) (string, error) { return fmt.Sprint(provider.Users()), nil },
	})
}
