package auth0

import (
	"bytes"
	"cmp"
	"context"
	_ "embed" // the Action
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// action is that of the token exchange profile, as docs/bridge.md has it.
//
//go:embed action.js
var action string

// preparing tells what the tenant needs for the bridge. It makes nothing: this project has
// no tenant to try that at.
type preparing struct{ config Config }

// Setup implements [sdk.Preparer].
func (p preparing) Setup(_ context.Context, s sdk.Setup, needs sdk.Needs) (steps []sdk.SetupStep, found sdk.Diagnostics) {
	if !s.Show {
		found.Add(sdk.Diagnostic{
			Code: codeNotSetUp, Summary: "stetl makes nothing at a tenant of Auth0 by itself",
			Hint: "look at what check --fix --print commands prints, and run it with Auth0's own tool",
		})
		return nil, found
	}
	b := needs.Broker
	if b == nil || !b.Exchange {
		return nil, nil // a run needs nothing but its application and the connection
	}
	client := cmp.Or(p.config.ExchangeClientID, p.config.ClientID)
	for _, r := range []struct {
		what, method, path string
		body               any
	}{
		{"the Action that verifies assertions of the bridge", http.MethodPost, "actions/actions", map[string]any{
			"name": "stetl bridge", "runtime": "node22", "supported_triggers": []any{map[string]string{"id": "custom-token-exchange", "version": "v1"}},
			"code":         strings.ReplaceAll(action, "https://YOUR_TENANT/", "https://"+p.config.Domain+"/"),
			"dependencies": []any{map[string]string{"name": "jose", "version": "5.9.6"}}, "secrets": []any{map[string]string{"name": "ISSUER", "value": b.Issuer}},
		}},
		{"the Action, in use; ACTION_ID is in the answer before", http.MethodPost, "actions/actions/ACTION_ID/deploy", map[string]any{}},
		{"the token exchange profile", http.MethodPost, "token-exchange-profiles", map[string]any{
			"name": "stetl bridge", "subject_token_type": p.config.ExchangeTokenType, "action_id": "ACTION_ID", "type": "custom_authentication",
		}},
		{"that the application may use the profile", http.MethodPatch, "clients/" + client, map[string]any{
			"token_exchange": map[string]any{"allow_any_profile_of_type": []string{"custom_authentication"}},
		}},
	} {
		step, err := stepOf(r.what, r.method, r.path, r.body)
		if err != nil {
			found.Add(sdk.Diagnostic{Code: codeNotSetUp, Summary: "could not tell " + r.what, Detail: err.Error()})
			return steps, found
		}
		steps = append(steps, step)
	}
	return steps, found
}

func stepOf(what, method, path string, body any) (sdk.SetupStep, error) {
	encode := func(v any, indent string) (string, error) {
		var out bytes.Buffer
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false) // the Action has arrows
		e.SetIndent("", indent)
		err := e.Encode(v)
		return strings.TrimSpace(out.String()), err
	}
	request, err := encode(map[string]any{"method": method, "path": "/api/v2/" + path, "body": body}, "")
	if err != nil {
		return sdk.SetupStep{}, err
	}
	input, err := encode(body, "  ")
	return sdk.SetupStep{What: what, Request: []byte(request), Command: fmt.Sprintf("auth0 api %s %s <<'EOF'\n%s\nEOF", strings.ToLower(method), path, input)}, err
}
