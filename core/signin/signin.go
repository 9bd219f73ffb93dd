package signin

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/pluginapi"
)

// Account is what an account brings to a target. It names nobody, so that accounts can be
// counted by it: two are equal when their people can do the same.
type Account struct {
	// Password says that the target can verify the old password.
	Password bool
	// Email and Phone say that a message can be sent to the person.
	Email, Phone bool
	// Passkey says that a passkey is carried.
	Passkey bool
	// providers are those of the identities, in order and each once, as [Account.String]
	// writes them.
	providers string
}

// Of returns what u brings: the account as the target gets it, without what is withheld.
func Of(u *pluginapi.User) Account {
	a := Account{Password: !u.Password.IsZero(), Email: deliverable(u.Email), Phone: u.Phone != "", Passkey: len(u.Passkeys) > 0}
	switch len(u.Identities) {
	case 0:
	case 1:
		a.providers = url.QueryEscape(u.Identities[0].Provider)
	default:
		names := make([]string, 0, len(u.Identities))
		for i := range u.Identities {
			if p := u.Identities[i].Provider; p != "" {
				names = append(names, url.QueryEscape(p))
			}
		}
		slices.Sort(names)
		a.providers = strings.Join(slices.Compact(names), " ")
	}
	return a
}

// deliverable says whether a mail could arrive: the address has a name and a domain.
func deliverable(address string) bool {
	at := 0
	for i := range len(address) {
		switch address[i] {
		case '@':
			at = i
		case ' ', '\t', '\r', '\n':
			return false
		}
	}
	return at > 0 && at < len(address)-1
}

// Providers are the other providers at which the person signs in, in order.
func (a Account) Providers() []string {
	names := strings.Fields(a.providers)
	for i, name := range names {
		names[i], _ = url.QueryUnescape(name) // it was written above
	}
	return names
}

// The words of [Account.String].
const (
	wordPassword = "password"
	wordEmail    = "email"
	wordPhone    = "phone"
	wordPasskey  = "passkey"
	wordProvider = "social:"
)

// String writes the account as words with blanks between them, such as
// "password email social:google". [Parse] reads it.
func (a Account) String() string {
	words := make([]string, 0, 4)
	for _, w := range []struct {
		has  bool
		word string
	}{{a.Password, wordPassword}, {a.Email, wordEmail}, {a.Phone, wordPhone}, {a.Passkey, wordPasskey}} {
		if w.has {
			words = append(words, w.word)
		}
	}
	for name := range strings.FieldsSeq(a.providers) {
		words = append(words, wordProvider+name)
	}
	return strings.Join(words, " ")
}

// Parse reads what [Account.String] has written.
func Parse(text string) (Account, error) {
	var a Account
	var names []string
	for word := range strings.FieldsSeq(text) {
		name, social := strings.CutPrefix(word, wordProvider)
		switch {
		case social:
			names = append(names, name)
		case word == wordPassword:
			a.Password = true
		case word == wordEmail:
			a.Email = true
		case word == wordPhone:
			a.Phone = true
		case word == wordPasskey:
			a.Passkey = true
		default:
			return Account{}, fmt.Errorf("%q is nothing that an account brings to sign in with", word)
		}
	}
	a.providers = strings.Join(names, " ")
	return a, nil
}

// State says whether a way to sign in works at a target.
type State string

// The states.
const (
	// Works: it is switched on there.
	Works State = "works"
	// Off: the target has it, and it is switched off or not set up.
	Off State = "off"
	// Missing: the target has no such way.
	Missing State = "missing"
	// Unknown: nobody has looked, or nobody can.
	Unknown State = "unknown"
)

// Way is a way to sign in that somebody has, and whether it works.
type Way struct {
	Way pluginapi.SignInWay `json:"way"`
	// Provider is the other provider of a way of the kind "social".
	Provider string `json:"provider,omitempty"`
	State    State  `json:"state"`
}

// Target is what a target offers. The zero value offers nothing that anybody knows of.
type Target struct {
	// Declared are the ways that its plugin knows, Found those that a check has looked at.
	Declared []pluginapi.SignIn `json:"declared,omitempty"`
	Found    []pluginapi.SignIn `json:"found,omitempty"`
}

// Known says whether anything can be predicted: a plugin that declares no way says nothing
// about any.
func (t *Target) Known() bool { return t != nil && len(t.Declared) > 0 }

// Ways are the ways to sign in that an account has, as far as the target is concerned, in
// the order of [pluginapi.SignInWays].
func (t *Target) Ways(a Account) []Way {
	ways := []Way{}
	for _, way := range pluginapi.SignInWays() {
		has := false
		switch way {
		case pluginapi.SignInPassword:
			has = a.Password
		case pluginapi.SignInEmailCode, pluginapi.SignInEmailReset:
			has = a.Email
		case pluginapi.SignInSMSCode:
			has = a.Phone
		case pluginapi.SignInPasskey:
			has = a.Passkey
		case pluginapi.SignInSocial:
			for _, provider := range a.Providers() {
				ways = append(ways, Way{way, provider, t.state(way, provider)})
			}
		}
		if has {
			ways = append(ways, Way{way, "", t.state(way, "")})
		}
	}
	return ways
}

// state of one way. What is found about one provider counts before what is found about all.
func (t *Target) state(way pluginapi.SignInWay, provider string) State {
	if !t.Known() {
		return Unknown
	}
	of := func(all []pluginapi.SignIn) (pluginapi.SignIn, bool) {
		for _, want := range []string{provider, ""} {
			if i := slices.IndexFunc(all, func(s pluginapi.SignIn) bool { return s.Way == way && s.Provider == want }); i >= 0 {
				return all[i], true
			}
		}
		return pluginapi.SignIn{}, false
	}
	if _, declared := of(t.Declared); !declared {
		return Missing
	}
	switch found, _ := of(t.Found); found.State {
	case pluginapi.SwitchOn:
		return Works
	case pluginapi.SwitchOff:
		return Off
	default:
		return Unknown
	}
}

// Strands says that an account has no way to sign in for certain: none that works, and none
// of which nobody knows.
func (t *Target) Strands(a Account) bool {
	return t.Known() && None(t.Ways(a))
}

// None says that none of the ways works for certain.
func None(ways []Way) bool {
	return !slices.ContainsFunc(ways, func(w Way) bool { return w.State == Works || w.State == Unknown })
}

// Stranded is who has no way to sign in, by what they bring, and what would help.
type Stranded struct {
	// Accounts is how many there are.
	Accounts int `json:"accounts"`
	// Bring counts them by what they bring, as [Account.String] says it; the empty text is
	// nothing at all.
	Bring map[string]int `json:"bring,omitempty"`
	// SwitchOn are ways that the target has and that are off, with how many of them each
	// would let in; the one that helps most people comes first.
	SwitchOn []Remedy `json:"switch_on,omitempty"`
}

// Remedy is a way to switch on.
type Remedy struct {
	Way      pluginapi.SignInWay `json:"way"`
	Provider string              `json:"provider,omitempty"`
	Accounts int                 `json:"accounts"`
}

// Count says who of accounts is stranded. accounts has a number for each that is there.
func (t *Target) Count(accounts map[Account]int) Stranded {
	s := Stranded{Bring: map[string]int{}}
	helps := map[Way]int{}
	for a, n := range accounts {
		if n <= 0 || !t.Strands(a) {
			continue
		}
		s.Accounts += n
		s.Bring[a.String()] += n
		for _, w := range t.Ways(a) {
			if w.State == Off {
				helps[w] += n
			}
		}
	}
	for w, n := range maps.All(helps) {
		s.SwitchOn = append(s.SwitchOn, Remedy{w.Way, w.Provider, n})
	}
	slices.SortFunc(s.SwitchOn, func(x, y Remedy) int {
		if x.Accounts != y.Accounts {
			return y.Accounts - x.Accounts
		}
		return strings.Compare(string(x.Way)+" "+x.Provider, string(y.Way)+" "+y.Provider)
	})
	return s
}
