package auth0

import (
	"bytes"
	"cmp"
	"context"
	_ "embed" // the Action
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// action is that of the token exchange profile, as docs/bridge.md has it.
//
//go:embed action.js
var action string

// preparing makes what the tenant needs for the bridge. A run needs nothing but its
// application and the connection.
type preparing struct {
	config Config
	env    sdk.Env
	base   http.RoundTripper
}

const (
	profileName    = "stetl bridge" // that of the Action, too
	profileType    = "custom_authentication"
	profileTrigger = "custom-token-exchange"
	// An Action is built before it can be deployed, usually within seconds.
	buildTimeout, buildPoll = 2 * time.Minute, time.Second
	setupScopes             = "read:actions create:actions update:actions read:token_exchange_profiles create:token_exchange_profiles read:clients update:clients"
)

// Setup implements [sdk.Preparer].
func (p preparing) Setup(ctx context.Context, s sdk.Setup, needs sdk.Needs) ([]sdk.SetupStep, sdk.Diagnostics) {
	if needs.Broker == nil || !needs.Broker.Exchange {
		return nil, nil
	}
	m := &maker{config: p.config, show: s.Show}
	if !s.Show {
		access := p.config.access()
		access.Token = s.AdminToken
		var err error
		if m.api, err = tenant.New(access, p.env, p.base); err != nil {
			m.fail("what the bridge needs", err)
			return nil, m.found
		}
		defer m.api.Close()
	}
	id, err := m.action(ctx, needs.Broker.Issuer)
	if err != nil {
		m.fail("the Action", err)
		return m.steps, m.found
	}
	if err := m.profile(ctx, id); err != nil {
		m.fail("the token exchange profile", err)
		return m.steps, m.found
	}
	if err := m.application(ctx); err != nil {
		m.fail("the permission of the application", err)
	}
	return m.steps, m.found
}

// maker makes what is missing, or, with show, tells all of it.
type maker struct {
	config Config
	api    *tenant.Client // nil with show
	show   bool
	steps  []sdk.SetupStep
	found  sdk.Diagnostics
}

func (m *maker) fail(what string, err error) {
	d := sdk.Diagnostic{Code: codeNotSetUp, Summary: "could not create " + what, Detail: err.Error(), Hint: "run it again when that is corrected: it creates what is missing"}
	switch tenant.Status(err) {
	case http.StatusUnauthorized:
		d.Hint = "the token is no longer good, or it is of another tenant: get a new one"
	case http.StatusForbidden:
		d.Hint = "the token needs the scopes " + setupScopes
	}
	m.found.Add(d)
}

func (m *maker) differs(what string) {
	m.found.Add(sdk.Diagnostic{
		Severity: sdk.Warning, Code: codeSetupDiffers, Summary: what,
		Hint: "it is left as it is; check whether that is intended",
	})
}

// do sends a request, and tells it.
func (m *maker) do(ctx context.Context, what, method string, path []string, body, into any) error {
	step, err := stepOf(what, method, strings.Join(path, "/"), body)
	if err == nil && !m.show {
		err = m.api.Create(ctx, method, m.api.URI(path...), body, into)
	}
	if err == nil {
		m.steps = append(m.steps, step)
	}
	return err
}

// built is an Action as the tenant has it.
type built struct {
	ID, Name, Code, Status string
	AllChangesDeployed     bool `json:"all_changes_deployed"`
}

// action makes the Action that verifies assertions of the bridge, and deploys it.
func (m *maker) action(ctx context.Context, issuer string) (id string, err error) {
	code := strings.ReplaceAll(action, "https://YOUR_TENANT/", "https://"+m.config.Domain+"/")
	a := built{ID: "ACTION_ID"}
	if !m.show {
		if a, err = m.existing(ctx); err != nil {
			return "", err
		}
	}
	switch {
	case m.show || a.ID == "":
		err = m.do(ctx, "the Action that verifies assertions of the bridge", http.MethodPost, []string{"actions", "actions"}, map[string]any{
			"name": profileName, "runtime": "node22", "supported_triggers": []any{map[string]string{"id": profileTrigger, "version": "v1"}},
			"code": code, "dependencies": []any{map[string]string{"name": "jose", "version": "5.9.6"}}, "secrets": []any{map[string]string{"name": "ISSUER", "value": issuer}},
		}, &a)
	case a.Code != code:
		m.differs(fmt.Sprintf("the Action %q exists, but its code is not that of docs/bridge.md", profileName))
	}
	if err != nil || a.AllChangesDeployed {
		return a.ID, err
	}
	if err := m.wait(ctx, a); err != nil {
		return "", err
	}
	return a.ID, m.do(ctx, "the Action, in use; ACTION_ID is in the answer before", http.MethodPost, []string{"actions", "actions", a.ID, "deploy"}, map[string]any{}, nil)
}

// existing finds the Action by its name.
func (m *maker) existing(ctx context.Context) (built, error) {
	var list struct{ Actions []built }
	err := m.api.Get(ctx, &list, url.Values{"triggerId": {profileTrigger}, "actionName": {profileName}}, "actions", "actions")
	if err != nil {
		return built{}, err
	}
	at := slices.IndexFunc(list.Actions, func(a built) bool { return a.Name == profileName }) // the tenant may search for a part of a name
	if at < 0 {
		return built{}, nil
	}
	return list.Actions[at], nil
}

// wait waits until an Action can be deployed.
func (m *maker) wait(ctx context.Context, a built) error {
	if m.show {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	for a.Status != "built" {
		if a.Status == "failed" {
			return errors.New("the tenant could not build the Action; its editor says why")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the Action is not built yet (%q): %w", a.Status, ctx.Err())
		case <-time.After(buildPoll):
		}
		if err := m.api.Get(ctx, &a, nil, "actions", "actions", a.ID); err != nil {
			return err
		}
	}
	return nil
}

// profile makes the token exchange profile that runs the Action.
func (m *maker) profile(ctx context.Context, action string) error {
	type profile struct {
		SubjectTokenType string `json:"subject_token_type"`
		ActionID         string `json:"action_id"`
	}
	kind := m.config.ExchangeTokenType
	from := ""
	for !m.show {
		var list struct {
			Profiles []profile `json:"token_exchange_profiles"`
			Next     string
		}
		query := url.Values{"take": {"50"}}
		if from != "" {
			query.Set("from", from)
		}
		if err := m.api.Get(ctx, &list, query, "token-exchange-profiles"); err != nil {
			return err
		}
		if at := slices.IndexFunc(list.Profiles, func(p profile) bool { return p.SubjectTokenType == kind }); at >= 0 {
			if list.Profiles[at].ActionID != action {
				m.differs("a token exchange profile for " + kind + " exists, but runs another Action")
			}
			return nil
		}
		if from = list.Next; from == "" {
			break
		}
	}
	return m.do(ctx, "the token exchange profile", http.MethodPost, []string{"token-exchange-profiles"}, map[string]any{
		"name": profileName, "subject_token_type": kind, "action_id": action, "type": profileType,
	}, nil)
}

// application lets it use profiles.
func (m *maker) application(ctx context.Context) error {
	client := cmp.Or(m.config.ExchangeClientID, m.config.ClientID)
	var now struct {
		Exchange struct {
			Types []string `json:"allow_any_profile_of_type"`
		} `json:"token_exchange"`
	}
	if !m.show {
		if err := m.api.Get(ctx, &now, url.Values{"fields": {"token_exchange"}, "include_fields": {"true"}}, "clients", client); err != nil {
			return err
		}
	}
	if slices.Contains(now.Exchange.Types, profileType) {
		return nil
	}
	return m.do(ctx, "that the application may use the profile", http.MethodPatch, []string{"clients", client}, map[string]any{
		"token_exchange": map[string]any{"allow_any_profile_of_type": append(now.Exchange.Types, profileType)},
	}, nil)
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
