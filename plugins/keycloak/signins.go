package keycloak

import (
	"cmp"
	"context"

	"github.com/stetl/stetl/core/sdk"
)

// SignIns implements [sdk.SignInReporter].
func (t *seen) SignIns() []sdk.SignIn { return t.signIns }

// signInReader sees which ways to sign in a realm has switched on. providers are its
// identity providers by alias, and whether they are enabled; nil where nobody could see.
type signInReader struct {
	api       *api
	config    Config
	providers map[string]bool
}

// read says which are. What the client may not read stays unknown.
func (t signInReader) read(ctx context.Context, needs sdk.Needs, facts realmFacts) []sdk.SignIn {
	all := []sdk.SignIn{{Way: sdk.SignInPassword, State: t.asksForPassword(ctx, facts.BrowserFlow)}}
	if facts.ResetPassword != nil {
		// The mail server is shown to whoever sees the setting: no server, no mail.
		all = append(all, sdk.SignIn{Way: sdk.SignInEmailReset, State: switched(*facts.ResetPassword && facts.SMTP.Host != "")})
	}
	if t.providers == nil {
		return all
	}
	for _, p := range needs.Providers {
		alias := cmp.Or(t.config.IdentityProviders[p], p)
		all = append(all, sdk.SignIn{Way: sdk.SignInSocial, Provider: p, State: switched(t.providers[alias])})
	}
	return all
}

func switched(on bool) sdk.Switch {
	if on {
		return sdk.SwitchOn
	}
	return sdk.SwitchOff
}

// asksForPassword says whether the flow of the realm's browsers has a form for passwords.
// A step counts only if no flow around it is disabled.
func (t signInReader) asksForPassword(ctx context.Context, flow string) sdk.Switch {
	if flow == "" {
		return sdk.SwitchUnknown
	}
	var steps []struct {
		Level       int    `json:"level"`
		Requirement string `json:"requirement"`
		Provider    string `json:"providerId"`
	}
	if err := t.api.read(ctx, t.api.realmPath("authentication", "flows", flow, "executions"), nil, &steps); err != nil {
		return sdk.SwitchUnknown
	}
	const none = 1 << 30
	disabled := none // the level of the flow that is
	for _, s := range steps {
		if s.Level <= disabled {
			disabled = none
		}
		switch {
		case disabled < none:
		case s.Requirement == "DISABLED":
			disabled = s.Level
		case s.Provider == "auth-username-password-form", s.Provider == "auth-password-form":
			return sdk.SwitchOn
		}
	}
	return sdk.SwitchOff
}
