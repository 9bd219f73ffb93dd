package sdk_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/conversation"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
)

type proposedConfig struct {
	URL    string     `json:"url"`
	Token  sdk.Secret `json:"token,omitzero"`
	Page   int        `json:"page,omitempty" default:"7"`
	Tables []string   `json:"tables,omitempty"`
}

// A plugin that proposes a configuration is asked before it has one, with what is known,
// and says nothing of a secret, whatever it writes.
func TestPropose(t *testing.T) {
	t.Parallel()
	p := sdk.Plugin[proposedConfig]{
		Name: "test", Version: "1",
		Propose: func(_ context.Context, known proposedConfig, env sdk.Env) (sdk.Proposal[proposedConfig], sdk.Diagnostics) {
			if known.URL == "panic" {
				panic("no")
			}
			if known.Page != 7 || env.Log == nil {
				t.Errorf("known: %+v", known)
			}
			return sdk.Proposal[proposedConfig]{
				Config: proposedConfig{Tables: []string{"people"}}, Comments: map[string]string{"/tables": "found with " + known.Token.Reveal()},
			}, sdk.Diagnostics{{Severity: sdk.Warning, Code: "test.odd", Summary: "odd " + known.Token.Reveal()}}
		},
		New: func(context.Context, proposedConfig, sdk.Env) (sdk.Target, error) { return newFull(), nil },
	}
	c := plugintest.Connect(t, p)
	if !c.Capabilities().Can(sdk.CanPropose) {
		t.Error("the ability is not declared")
	}
	got, found, err := conversation.Propose(t.Context(), c.Session, []byte(`{"token":"s3cr3t"}`), "")
	if err != nil || !strings.Contains(string(got.Config), `"tables":["people"]`) || got.Comments["/tables"] != "found with ‹secret›" {
		t.Errorf("%s, %v, %v", got.Config, got.Comments, err)
	}
	if len(found) != 1 || found[0].Summary != "odd ‹secret›" {
		t.Errorf("diagnostics: %v", found)
	}
	if _, found, err := conversation.Propose(t.Context(), c.Session, []byte(`{"url":7}`), ""); err != nil || len(found) != 1 || found[0].Code != diag.ConfigInvalidValue {
		t.Errorf("a configuration that cannot be read: %v, %v", found, err)
	}
	if _, _, err := conversation.Propose(t.Context(), c.Session, []byte(`{"url":"panic"}`), ""); err == nil || !strings.Contains(err.Error(), "panicked in Propose") {
		t.Errorf("a panic: %v", err)
	}
	if list, err := c.Configure(t.Context(), []byte(`{"url":"x"}`), ""); err != nil || list.HasErrors() {
		t.Fatal(list, err)
	}
	if _, _, err := conversation.Propose(t.Context(), c.Session, []byte(`{}`), ""); err == nil {
		t.Error("it may be asked after it was configured")
	}
	p.Propose = nil
	if _, _, err := conversation.Propose(t.Context(), plugintest.Connect(t, p).Session, []byte(`{}`), ""); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a plugin that proposes nothing: %v", err)
	}
}
