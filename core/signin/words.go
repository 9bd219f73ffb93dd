package signin

import (
	"fmt"
	"strings"

	"github.com/stetl/stetl/core/pluginapi"
)

var wayText = map[pluginapi.SignInWay]string{
	pluginapi.SignInPassword:   "the old password",
	pluginapi.SignInSocial:     "another provider",
	pluginapi.SignInEmailCode:  "a code by mail",
	pluginapi.SignInSMSCode:    "a code by SMS",
	pluginapi.SignInPasskey:    "a passkey",
	pluginapi.SignInEmailReset: "a new password by mail",
}

// Text names the way for a person.
func (w Way) Text() string { return text(w.Way, w.Provider) }

// Text names what to switch on.
func (r Remedy) Text() string { return text(r.Way, r.Provider) }

func text(way pluginapi.SignInWay, provider string) string {
	name, known := wayText[way]
	switch {
	case !known:
		return string(way)
	case provider != "":
		return fmt.Sprintf("the provider %q", provider)
	}
	return name
}

var stateText = map[State]string{
	Works: "works", Off: "is switched off in the target", Missing: "does not exist in the target", Unknown: "is not known",
}

// Text says the state in words.
func (s State) Text() string { return stateText[s] }

// Text says what an account brings.
func (a Account) Text() string {
	var parts []string
	for _, p := range []struct {
		has  bool
		text string
	}{{a.Password, "a password"}, {a.Email, "an e-mail address"}, {a.Phone, "a phone number"}, {a.Passkey, "a passkey"}} {
		if p.has {
			parts = append(parts, p.text)
		}
	}
	for _, provider := range a.Providers() {
		parts = append(parts, fmt.Sprintf("the provider %q", provider))
	}
	if len(parts) == 0 {
		return "nothing to sign in with"
	}
	return strings.Join(parts, ", ")
}
