package keycloak

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
)

// What a check says of the ways to sign in follows the realm's settings; what it cannot
// see is not said.
func TestWaysToSignInOfARealm(t *testing.T) {
	t.Parallel()
	step := func(level int, requirement, provider string) map[string]any {
		return map[string]any{"level": level, "requirement": requirement, "providerId": provider}
	}
	form := []map[string]any{step(0, "ALTERNATIVE", "auth-cookie"), step(0, "ALTERNATIVE", ""), step(1, "REQUIRED", "auth-username-password-form")}
	password := func(s sdk.Switch) sdk.SignIn { return sdk.SignIn{Way: sdk.SignInPassword, State: s} }
	reset := func(s sdk.Switch) sdk.SignIn { return sdk.SignIn{Way: sdk.SignInEmailReset, State: s} }
	for _, tt := range []struct {
		name   string
		change func(f *fake, c *Config)
		needs  sdk.Needs
		want   []sdk.SignIn
	}{
		{"nothing to be seen", func(*fake, *Config) {}, sdk.Needs{}, []sdk.SignIn{password(sdk.SwitchUnknown)}},
		{"the usual form", func(f *fake, _ *Config) {
			f.flows = map[string][]map[string]any{"browser": form}
			f.realm["browserFlow"] = "browser"
		}, sdk.Needs{}, []sdk.SignIn{password(sdk.SwitchOn)}},
		{"a form that is disabled", func(f *fake, _ *Config) {
			f.flows = map[string][]map[string]any{"own": {step(0, "DISABLED", "auth-username-password-form"), step(0, "REQUIRED", "auth-cookie")}}
			f.realm["browserFlow"] = "own"
		}, sdk.Needs{}, []sdk.SignIn{password(sdk.SwitchOff)}},
		{"a form in a flow that is disabled", func(f *fake, _ *Config) {
			f.flows = map[string][]map[string]any{"own": {step(0, "DISABLED", ""), step(1, "REQUIRED", "auth-password-form"), step(0, "REQUIRED", "auth-cookie")}}
			f.realm["browserFlow"] = "own"
		}, sdk.Needs{}, []sdk.SignIn{password(sdk.SwitchOff)}},
		{"a form after a flow that is disabled", func(f *fake, _ *Config) {
			f.flows = map[string][]map[string]any{"own": {step(0, "DISABLED", ""), step(1, "REQUIRED", "auth-cookie"), step(0, "REQUIRED", "auth-password-form")}}
			f.realm["browserFlow"] = "own"
		}, sdk.Needs{}, []sdk.SignIn{password(sdk.SwitchOn)}},
		{"a flow that may not be read", func(f *fake, _ *Config) { f.realm["browserFlow"] = "hidden" }, sdk.Needs{}, []sdk.SignIn{password(sdk.SwitchUnknown)}},
		{"resets without a mail server", func(f *fake, _ *Config) { f.realm["resetPasswordAllowed"] = true }, sdk.Needs{}, []sdk.SignIn{password(sdk.SwitchUnknown), reset(sdk.SwitchOff)}},
		{"a mail server without resets", func(f *fake, _ *Config) {
			f.realm["resetPasswordAllowed"], f.realm["smtpServer"] = false, map[string]any{"host": "mail"}
		}, sdk.Needs{}, []sdk.SignIn{password(sdk.SwitchUnknown), reset(sdk.SwitchOff)}},
		{"resets", func(f *fake, _ *Config) {
			f.realm["resetPasswordAllowed"], f.realm["smtpServer"] = true, map[string]any{"host": "mail"}
		}, sdk.Needs{}, []sdk.SignIn{password(sdk.SwitchUnknown), reset(sdk.SwitchOn)}},
		{"providers", func(f *fake, c *Config) {
			f.providers, c.IdentityProviders = []string{"g", "github off"}, map[string]string{"google": "g"}
		}, sdk.Needs{Providers: []string{"apple", "github", "google"}}, []sdk.SignIn{
			password(sdk.SwitchUnknown),
			{Way: sdk.SignInSocial, Provider: "apple", State: sdk.SwitchOff},
			{Way: sdk.SignInSocial, Provider: "github", State: sdk.SwitchOff},
			{Way: sdk.SignInSocial, Provider: "google", State: sdk.SwitchOn},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			config := f.config()
			tt.change(f, &config)
			target := open(t, config)
			if l := target.Check(t.Context(), tt.needs); l.HasErrors() {
				t.Fatal(l)
			}
			if diff := cmp.Diff(tt.want, target.SignIns()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
