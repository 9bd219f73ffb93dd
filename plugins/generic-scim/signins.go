package scim

import "github.com/stetl/stetl/core/sdk"

// signIns are the ways to sign in that the configuration lists. SCIM has no word for them:
// without a list nobody says anything about any.
func signIns(c Config) (all []sdk.SignIn) {
	for _, name := range c.SignIns {
		if s, err := sdk.ParseSignIn(name); err == nil { // others were reported
			all = append(all, s)
		}
	}
	return all
}

// stated is what the configuration says of the provider. It implements [sdk.SignInReporter].
type stated struct{ all []sdk.SignIn }

// SignIns says that what is listed is switched on.
func (s stated) SignIns() []sdk.SignIn {
	out := make([]sdk.SignIn, len(s.all))
	for i, way := range s.all {
		way.State = sdk.SwitchOn
		out[i] = way
	}
	return out
}
