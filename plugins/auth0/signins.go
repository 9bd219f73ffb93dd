package auth0

import "github.com/stetl/stetl/core/sdk"

// seen is what the last Check has seen of the tenant.
type seen struct{ signIns []sdk.SignIn }

// SignIns implements [sdk.SignInReporter].
func (s *seen) SignIns() []sdk.SignIn { return s.signIns }

// signInMethods are the names of a connection's methods, as its options have them.
var signInMethods = []struct {
	method string
	way    sdk.SignInWay
}{
	{"password", sdk.SignInPassword},
	{"passkey", sdk.SignInPasskey},
	{"email_otp", sdk.SignInEmailCode},
	{"phone_otp", sdk.SignInSMSCode},
}

// signIns says which ways to sign in the connection has switched on. A token without the
// scope read:connections_options shows none; a method that is not named stays unknown, since
// tenants differ in what they name.
func (c *connection) signIns() []sdk.SignIn {
	o := c.Options
	if o == nil {
		return nil
	}
	var all []sdk.SignIn
	for _, m := range signInMethods {
		if setting, named := o.Methods[m.method]; named && setting.Enabled != nil {
			all = append(all, sdk.SignIn{Way: m.way, State: switched(*setting.Enabled)})
		}
	}
	if o.NoReset {
		all = append(all, sdk.SignIn{Way: sdk.SignInEmailReset, State: sdk.SwitchOff})
	}
	return all
}

func switched(on bool) sdk.Switch {
	if on {
		return sdk.SwitchOn
	}
	return sdk.SwitchOff
}
