package signin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
)

func hash(t *testing.T) canonical.PasswordHash {
	t.Helper()
	h := canonical.ParsePasswordHash("$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy")
	if h.IsZero() {
		t.Fatal("no hash")
	}
	return h
}

func TestWhatAnAccountBrings(t *testing.T) {
	t.Parallel()
	of := func(names ...string) (all []pluginapi.Identity) {
		for _, n := range names {
			all = append(all, pluginapi.Identity{Provider: n, Subject: "s"})
		}
		return all
	}
	for _, tt := range []struct {
		name, want string
		user       pluginapi.User
	}{
		{"nothing", "", pluginapi.User{TOTP: []canonical.TOTPDevice{{}}}},
		{"a password", "password", pluginapi.User{Password: hash(t)}},
		{"an address", "email", pluginapi.User{Email: "ada@example.org"}},
		{"no address that a mail reaches", "", pluginapi.User{Email: "ada"}},
		{"a blank in it", "", pluginapi.User{Email: "ada lovelace@example.org"}},
		{"no domain", "", pluginapi.User{Email: "ada@"}},
		{"a number", "phone", pluginapi.User{Phone: "+36201234567"}},
		{"a passkey", "passkey", pluginapi.User{Passkeys: []pluginapi.Passkey{{}}}},
		{"one provider", "social:google", pluginapi.User{Identities: of("google")}},
		{"providers in any order, and twice", "social:apple social:google", pluginapi.User{Identities: of("google", "apple", "google")}},
		{"a provider with a blank", "social:my+idp", pluginapi.User{Identities: of("my idp")}},
		{"all", "password email phone passkey social:google", pluginapi.User{
			Password: hash(t), Email: "a@b", Phone: "1", Passkeys: []pluginapi.Passkey{{}}, Identities: of("google"),
		}},
	} {
		if got := Of(&tt.user).String(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What is written into a journal is read back as it was.
func TestAccountsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		u := pluginapi.User{Email: rapid.SampledFrom([]string{"", "a@b"}).Draw(t, "email"), Phone: rapid.SampledFrom([]string{"", "1"}).Draw(t, "phone")}
		for _, name := range rapid.SliceOf(rapid.String()).Draw(t, "providers") {
			u.Identities = append(u.Identities, pluginapi.Identity{Provider: name})
		}
		want := Of(&u)
		got, err := Parse(want.String())
		if err != nil || got != want {
			t.Fatalf("%q was read as %q: %v", want, got, err)
		}
	})
	if _, err := Parse("password magic"); err == nil {
		t.Error("a word that does not exist was read")
	}
}

func TestWays(t *testing.T) {
	t.Parallel()
	on, off := pluginapi.SwitchOn, pluginapi.SwitchOff
	target := Target{
		Declared: []pluginapi.SignIn{{Way: pluginapi.SignInPassword}, {Way: pluginapi.SignInSocial}, {Way: pluginapi.SignInEmailReset}, {Way: pluginapi.SignInPasskey}},
		Found: []pluginapi.SignIn{
			{Way: pluginapi.SignInPassword, State: on},
			{Way: pluginapi.SignInEmailReset, State: off},
			{Way: pluginapi.SignInSocial, Provider: "google", State: on},
			{Way: pluginapi.SignInSocial, Provider: "apple", State: off},
		},
	}
	for _, tt := range []struct {
		brings  string
		want    []Way
		strands bool
	}{
		{"", []Way{}, true},
		{"password", []Way{{pluginapi.SignInPassword, "", Works}}, false},
		{"phone", []Way{{pluginapi.SignInSMSCode, "", Missing}}, true},
		{"email", []Way{{pluginapi.SignInEmailCode, "", Missing}, {pluginapi.SignInEmailReset, "", Off}}, true},
		{"passkey", []Way{{pluginapi.SignInPasskey, "", Unknown}}, false},
		{"social:google", []Way{{pluginapi.SignInSocial, "google", Works}}, false},
		{"social:apple", []Way{{pluginapi.SignInSocial, "apple", Off}}, true},
		{"social:github", []Way{{pluginapi.SignInSocial, "github", Unknown}}, false},
		{"social:apple social:google", []Way{{pluginapi.SignInSocial, "apple", Off}, {pluginapi.SignInSocial, "google", Works}}, false},
	} {
		a, err := Parse(tt.brings)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, target.Ways(a)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.brings, diff)
		}
		if got := target.Strands(a); got != tt.strands {
			t.Errorf("%q: stranded %v", tt.brings, got)
		}
		if nobodyKnows := (&Target{}); nobodyKnows.Strands(a) {
			t.Errorf("%q is stranded at a target that says nothing", tt.brings)
		}
	}
	// What is found of all providers counts for each that nothing else is found of.
	target.Found = []pluginapi.SignIn{{Way: pluginapi.SignInSocial, State: off}, {Way: pluginapi.SignInSocial, Provider: "google", State: on}}
	if got := target.Ways(Account{providers: "github google"}); got[0].State != Off || got[1].State != Works {
		t.Errorf("%v", got)
	}
}

// The way that lets most people in comes first.
func TestCount(t *testing.T) {
	t.Parallel()
	target := Target{
		Declared: []pluginapi.SignIn{{Way: pluginapi.SignInSocial}, {Way: pluginapi.SignInEmailReset}},
		Found:    []pluginapi.SignIn{{Way: pluginapi.SignInEmailReset, State: pluginapi.SwitchOff}, {Way: pluginapi.SignInSocial, State: pluginapi.SwitchOff}},
	}
	got := target.Count(map[Account]int{
		{Phone: true}: 4, {Email: true}: 3, {providers: "google"}: 2, {Email: true, providers: "google"}: 1, {Password: true}: 0, {Passkey: true}: -1,
	})
	want := Stranded{
		Accounts: 10, Bring: map[string]int{"phone": 4, "email": 3, "social:google": 2, "email social:google": 1},
		SwitchOn: []Remedy{{pluginapi.SignInEmailReset, "", 4}, {pluginapi.SignInSocial, "google", 3}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Every way has words of its own, so that a new one is not forgotten.
func TestEveryWayHasWords(t *testing.T) {
	t.Parallel()
	for _, way := range pluginapi.SignInWays() {
		if text := (Way{Way: way}).Text(); text == string(way) {
			t.Errorf("%s has no words", way)
		}
	}
	for _, s := range []State{Works, Off, Missing, Unknown} {
		if s.Text() == "" {
			t.Errorf("%s has no words", s)
		}
	}
}
