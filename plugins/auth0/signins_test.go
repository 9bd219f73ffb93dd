package auth0

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
)

// A check says which ways to sign in the connection names as on or off, and nothing of
// those that it does not name or that the token may not see.
func TestWaysToSignInOfAConnection(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		connection simulator.Connection
		hidden     bool
		want       []sdk.SignIn
	}{
		"nothing named": {simulator.Connection{}, false, nil},
		"all named": {
			simulator.Connection{Methods: map[string]bool{"password": true, "passkey": false, "email_otp": true, "phone_otp": false}, NoReset: true},
			false,
			[]sdk.SignIn{
				{Way: sdk.SignInPassword, State: sdk.SwitchOn},
				{Way: sdk.SignInPasskey, State: sdk.SwitchOff},
				{Way: sdk.SignInEmailCode, State: sdk.SwitchOn},
				{Way: sdk.SignInSMSCode, State: sdk.SwitchOff},
				{Way: sdk.SignInEmailReset, State: sdk.SwitchOff},
			},
		},
		"options that the token may not see": {simulator.Connection{Methods: map[string]bool{"password": false}}, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := simulator.Options{Connection: tt.connection}
			if tt.hidden {
				o.Scopes = slices.Concat(planScopes, loadScopes[:1])
			}
			b := start(t, o, nil)
			got, err := b.client.Check(t.Context(), sdk.Needs{Users: 1})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.SignIns); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
