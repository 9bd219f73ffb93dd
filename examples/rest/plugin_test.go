package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stetl/stetl/core/sdk"
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

// one keeps the last outcome.
type one struct{ sdk.Outcome }

// Report implements [sdk.Outcomes].
func (o *one) Report(out sdk.Outcome) { o.Outcome = out }

// An account of an interrupted load that cannot be completed is in doubt: that it is there
// does not say that the change has arrived.
func TestFailedCompletion(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		_ = json.NewEncoder(w).Encode([]account{{ID: "1", ExternalID: "u1", Username: "ada", Email: "old@example.org"}})
	}))
	t.Cleanup(server.Close)
	target, err := open(t.Context(), config{URL: server.URL, Token: sdk.NewSecret("t0ken")}, sdk.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	u := sdk.User{SourceID: "s1", ID: "u1", Username: "ada", Email: "ada@example.org", Enabled: true, Prior: sdk.Prior{InDoubt: true}}
	var got one
	if err := target.Load(t.Context(), []sdk.User{u}, &got); err != nil || got.Action != sdk.InDoubt {
		t.Errorf("%s %s, %v", got.Action, got.Detail, err)
	}
}
