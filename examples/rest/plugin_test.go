package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path"
	"sync"
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

// book keeps all outcomes.
type book struct {
	mu  sync.Mutex
	all map[string]sdk.Outcome
}

// Report implements [sdk.Outcomes].
func (b *book) Report(out sdk.Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[out.SourceID] = out
}

// What Acme has against the undo of one account costs nobody else anything, and an account
// that was deleted by a request whose answer was lost is deleted.
func TestUndoOfEach(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := path.Base(r.URL.Path)
		if r.Method == http.MethodDelete && id != "plain" {
			w.WriteHeader(map[string]int{"refused": http.StatusConflict, "lost": http.StatusNotFound}[id])
			return
		}
		_ = json.NewEncoder(w).Encode(account{ID: id})
	}))
	t.Cleanup(server.Close)
	target, err := open(t.Context(), config{URL: server.URL, Token: sdk.NewSecret("t0ken")}, sdk.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	got := book{all: map[string]sdk.Outcome{}}
	accounts := []sdk.Account{{SourceID: "1", TargetID: "refused"}, {SourceID: "2", TargetID: "lost"}, {SourceID: "3", TargetID: "plain"}}
	err = target.(sdk.Undoer).Undo(t.Context(), accounts, &got)
	if one, two, three := got.all["1"], got.all["2"], got.all["3"]; err != nil || one.Action != sdk.Rejected || two.Action != sdk.Deleted || three.Action != sdk.Deleted {
		t.Errorf("%s, %s and %s, %v", one.Action, two.Action, three.Action, err)
	}
}
