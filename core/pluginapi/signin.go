package pluginapi

import (
	"fmt"
	"slices"
	"strings"
)

// SignIn is a way to sign in to a target.
type SignIn struct {
	Way SignInWay `json:"way"`
	// Provider is set with [SignInSocial]: the name of the other provider, as in
	// [Identity]. Empty means any provider.
	Provider string `json:"provider,omitempty"`
	// State says whether the way is switched on. It is not set in [Capabilities].
	State Switch `json:"state,omitempty"`
}

// SignInWay names a way to sign in.
type SignInWay string

// The ways that this version of the protocol knows.
const (
	SignInPassword  SignInWay = "password"
	SignInSocial    SignInWay = "social"
	SignInEmailCode SignInWay = "email_code" // a code that is sent by mail, used once
	SignInSMSCode   SignInWay = "sms_code"
	SignInPasskey   SignInWay = "passkey"
	// SignInEmailReset is a new password by mail.
	SignInEmailReset SignInWay = "email_reset"
)

// SignInWays lists all of them.
func SignInWays() []SignInWay {
	return []SignInWay{SignInPassword, SignInSocial, SignInEmailCode, SignInSMSCode, SignInPasskey, SignInEmailReset}
}

// ParseSignIn reads a way to sign in as configurations and reports have it: its name, and
// for a [SignInSocial] the provider behind a colon, as in "social:google".
func ParseSignIn(text string) (SignIn, error) {
	name, provider, named := strings.Cut(text, ":")
	way := SignInWay(name)
	if !slices.Contains(SignInWays(), way) || named && (way != SignInSocial || provider == "") {
		return SignIn{}, fmt.Errorf("%q is not a way to sign in; use one of %s, or %s:PROVIDER", text, joinWays(), SignInSocial)
	}
	return SignIn{Way: way, Provider: provider}, nil
}

func joinWays() string {
	var names []string
	for _, w := range SignInWays() {
		names = append(names, string(w))
	}
	return strings.Join(names, ", ")
}

// Switch is the state of a setting of the target.
type Switch uint8

// The states. The zero value says that nobody has looked, or nobody can.
const (
	SwitchUnknown Switch = iota
	SwitchOn
	SwitchOff
)

var switchText = [...]string{"unknown", "on", "off"}

// MarshalText implements [encoding.TextMarshaler].
func (s Switch) MarshalText() ([]byte, error) {
	if int(s) >= len(switchText) {
		s = SwitchUnknown
	}
	return []byte(switchText[s]), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Switch) UnmarshalText(text []byte) error {
	for i, name := range switchText {
		if name == string(text) {
			*s = Switch(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no state of a switch", text)
}
