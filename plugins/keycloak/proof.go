package keycloak

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/stetl/stetl/core/sdk"
)

// What is said where passwords cannot be proven, and what to do about it.
const (
	withoutClient     = "the service account may not create a client to sign in with: it lacks manage-clients"
	withoutClientHint = "give it manage-clients, or name a confidential client with direct access grants in canary_client_id and canary_client_secret"
	proofHint         = "name a confidential client in canary_client_id and canary_client_secret that may use direct access grants, with a direct grant flow of its own that asks for user name and password alone"
)

// barring are executors of client policies that refuse the client that passwords are
// proven with, or its sign-ins.
var barring = []string{"reject-ropc-grant", "reject-request", "secure-client-authenticator", "holder-of-key-enforcer", "dpop-bind-enforcer"}

// checkProof says beforehand why no password can be proven here.
func checkProof(ctx context.Context, t *preflight, l *sdk.Diagnostics, needs sdk.Needs, token string) {
	if len(needs.Schemes) == 0 {
		return
	}
	say := func(why, hint string) {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: sdk.CodeLoginUnavailable, Summary: "it cannot be proven here that old passwords work: " + why,
			Detail: "a run goes on without the proof, unless policies.canary is required", Hint: hint,
		})
	}
	roles := tokenRoles(token, t.config)
	if t.config.CanaryClientID == "" && roles != nil && !roles["manage-clients"] {
		say(withoutClient, withoutClientHint)
		return
	}
	obstacle, err := grantObstacle(ctx, t.api, t.config)
	if err == nil && obstacle == "" {
		obstacle, err = policyObstacle(ctx, t.api)
	}
	switch {
	case err != nil:
		l.Add(incomplete("whether the realm lets a password be proven", err))
	case obstacle != "":
		say(obstacle, proofHint)
	}
}

// grantObstacle says what the realm asks for beside user name and password where somebody
// signs in with these alone; nothing where that is all. Who has no such thing, as an
// account that has just been made, is refused in the words for a wrong password.
func grantObstacle(ctx context.Context, a *api, c Config) (string, error) {
	flow, err := grantFlow(ctx, a, c)
	if err != nil || flow == "" {
		return "", err
	}
	var steps []struct {
		Name        string `json:"displayName"`
		Provider    string `json:"providerId"`
		Requirement string `json:"requirement"`
		Level       int    `json:"level"`
		Flow        bool   `json:"authenticationFlow"`
	}
	if err := a.read(ctx, a.realmPath("authentication", "flows", flow, "executions"), nil, &steps); err != nil {
		return "", fmt.Errorf("read the flow %s: %w", flow, err)
	}
	password, passed := false, -1 // below which level nothing is asked of everybody
	for _, s := range steps {
		if passed >= 0 && s.Level > passed {
			continue
		}
		passed = -1
		switch {
		case s.Requirement != "REQUIRED":
			passed = s.Level // what a condition or a choice lets out
		case s.Flow, s.Provider == "direct-grant-validate-username":
		case s.Provider == "direct-grant-validate-password":
			password = true
		default:
			return fmt.Sprintf("the flow %q asks everybody for more than user name and password (%s)", flow, s.Name), nil
		}
	}
	if !password {
		return fmt.Sprintf("the flow %q does not look at the password", flow), nil
	}
	return "", nil
}

// grantFlow is the name of the flow by which the client signs people in.
func grantFlow(ctx context.Context, a *api, c Config) (string, error) {
	var realm struct {
		Flow string `json:"directGrantFlow"`
	}
	if err := a.read(ctx, a.realmPath(), nil, &realm); err != nil {
		return "", fmt.Errorf("read the realm's direct grant flow: %w", err)
	}
	if c.CanaryClientID == "" {
		return realm.Flow, nil
	}
	var clients []struct {
		Flows map[string]string `json:"authenticationFlowBindingOverrides"`
	}
	err := a.read(ctx, a.realmPath("clients"), url.Values{"clientId": {c.CanaryClientID}}, &clients)
	if err != nil || len(clients) == 0 || clients[0].Flows["direct_grant"] == "" {
		return realm.Flow, nil //nolint:nilerr // who may not see clients takes what holds for most
	}
	var flow struct {
		Alias string `json:"alias"`
	}
	if err := a.read(ctx, a.realmPath("authentication", "flows", clients[0].Flows["direct_grant"]), nil, &flow); err != nil {
		return "", fmt.Errorf("read the direct grant flow of the client %s: %w", c.CanaryClientID, err)
	}
	return flow.Alias, nil
}

// policyObstacle names a policy that is going to refuse clients that sign people in with a
// password; nothing where there is none. Whom it is about, only the server knows.
func policyObstacle(ctx context.Context, a *api) (string, error) {
	type profile struct {
		Name      string `json:"name"`
		Executors []struct {
			Executor string `json:"executor"`
		} `json:"executors"`
	}
	var policies struct {
		Policies []struct {
			Name     string   `json:"name"`
			Enabled  bool     `json:"enabled"`
			Profiles []string `json:"profiles"`
		} `json:"policies"`
	}
	err := a.read(ctx, a.realmPath("client-policies", "policies"), nil, &policies)
	if s := status(err); s == http.StatusNotFound || s == http.StatusForbidden || err == nil && len(policies.Policies) == 0 {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the client policies: %w", err)
	}
	var profiles struct {
		Own    []profile `json:"profiles"`
		Global []profile `json:"globalProfiles"`
	}
	if err := a.read(ctx, a.realmPath("client-policies", "profiles"), url.Values{"include-global-profiles": {"true"}}, &profiles); err != nil {
		return "", fmt.Errorf("read the client profiles: %w", err)
	}
	all := slices.Concat(profiles.Own, profiles.Global)
	for _, p := range policies.Policies {
		for _, name := range p.Profiles {
			i := slices.IndexFunc(all, func(x profile) bool { return x.Name == name })
			if !p.Enabled || i < 0 {
				continue
			}
			for _, e := range all[i].Executors {
				if slices.Contains(barring, e.Executor) {
					return fmt.Sprintf("the client policy %q, where it is about the client that is to be signed in with, refuses it (%s)", p.Name, e.Executor), nil
				}
			}
		}
	}
	return "", nil
}
