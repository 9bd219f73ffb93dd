package keycloak

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// A real server shows the loader's client which ways its realm has, as an operator
// switches them on one after the other.
func TestServerShowsWaysToSignIn(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	const realm = "ways"
	target := open(t, newRealmOn(t, s, realm))
	needs := sdk.Needs{Providers: []string{"github", "google"}}
	provider := func(alias string, enabled bool) {
		t.Helper()
		if err := s.Admin(t.Context(), http.MethodPost, "/realms/"+realm+"/identity-provider/instances", map[string]any{
			"alias": alias, "providerId": "oidc", "enabled": enabled,
			"config": map[string]any{"clientId": "c", "clientSecret": "s", "authorizationUrl": s.URL() + "/a", "tokenUrl": s.URL() + "/t"},
		}, nil); err != nil {
			t.Fatal(err)
		}
	}
	on, off := sdk.SwitchOn, sdk.SwitchOff
	for _, step := range []struct {
		name                            string
		change                          func()
		password, reset, github, google sdk.Switch
	}{
		{"as Keycloak makes it", func() {}, on, off, off, off},
		{"resets without a mail server", func() { settle(t, s, realm, map[string]any{"resetPasswordAllowed": true}) }, on, off, off, off},
		{"with one", func() {
			settle(t, s, realm, map[string]any{"smtpServer": map[string]any{"host": "mail.example.org", "from": "a@example.org", "user": "u", "password": "p"}})
		}, on, on, off, off},
		{"a provider, and one that is switched off", func() { provider("google", true); provider("github", false) }, on, on, off, on},
		{"no form for passwords", func() {
			settle(t, s, realm, map[string]any{"browserFlow": "docker auth"})
		}, off, on, off, on},
	} {
		step.change()
		if l := target.Check(t.Context(), needs); l.HasErrors() {
			t.Fatal(l)
		}
		want := []sdk.SignIn{
			{Way: sdk.SignInPassword, State: step.password},
			{Way: sdk.SignInEmailReset, State: step.reset},
			{Way: sdk.SignInSocial, Provider: "github", State: step.github},
			{Way: sdk.SignInSocial, Provider: "google", State: step.google},
		}
		if diff := cmp.Diff(want, target.SignIns()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}
