//go:build unix

package keycloak

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// adminToken is what an administrator would paste.
func adminToken(t *testing.T, s *keycloak.Server) sdk.Secret {
	t.Helper()
	g, err := s.Token(t.Context(), "master", url.Values{"grant_type": {"client_credentials"}, "client_id": {keycloak.AdminClientID}, "client_secret": {keycloak.AdminClientSecret}})
	if err != nil || g.AccessToken == "" {
		t.Fatalf("no token: %s, %v", g.Body, err)
	}
	return secretOf(g.AccessToken)
}

func made(steps []sdk.SetupStep) (out []string) {
	for _, s := range steps {
		out = append(out, s.What)
	}
	return out
}

// A server that has nothing gets all that a run and the bridge need, once; what is there
// is left as it is, and named where it differs.
func TestServerSetup(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	const realm = "made"
	c := Config{
		URL: s.URL(), Realm: realm, ClientID: "stetl", ClientSecret: secretOf(`own-secret "`), BridgeAlias: "supertokens",
		ExchangeClientID: "api", ExchangeClientSecret: secretOf("exchange-secret"),
	}
	needs := sdk.Needs{Schemes: []sdk.Scheme{sdk.Bcrypt}, Broker: &sdk.Broker{Issuer: "https://api.example.com/bridge", ClientID: "keycloak", ClientSecret: secretOf("broker-secret"), Exchange: true}}
	admin := adminToken(t, s)
	t.Cleanup(func() {
		if err := s.Admin(context.WithoutCancel(t.Context()), http.MethodDelete, "/realms/"+realm, nil, nil); err != nil {
			t.Error(err)
		}
	})

	all := []string{
		"the realm made, with the client stetl for stetl and its roles", "the flow stetl deny unknown accounts", "what denies in the flow", "that the flow denies",
		"the identity provider supertokens, which is the bridge", "the client api, which exchanges assertions of the bridge",
	}
	shown, found := open(t, c).Setup(t.Context(), sdk.Setup{Show: true}, needs)
	if d := cmp.Diff(all, made(shown)); d != "" || len(found) > 0 {
		t.Errorf("shown:\n%s%v", d, found)
	}
	for _, step := range shown {
		for _, secret := range []string{"own-secret", "exchange-secret", "broker-secret"} {
			if strings.Contains(string(step.Request)+step.Command, secret) {
				t.Errorf("a secret is shown: %+v", step)
			}
		}
	}
	if list := open(t, c).Check(t.Context(), needs); !slices.Equal(codes(list), []string{"error keycloak.realm_missing"}) {
		t.Fatalf("something has been made: %v", codes(list))
	}

	steps, found := open(t, c).Setup(t.Context(), sdk.Setup{AdminToken: admin}, needs)
	if d := cmp.Diff(all, made(steps)); d != "" || len(found) > 0 {
		t.Fatalf("made:\n%s%+v", d, found)
	}
	s.CreateRealm(t, map[string]any{"realm": "made-beside", "enabled": true}) // and the server's own administrator sees the new ones
	if list := open(t, c).Check(t.Context(), needs); list.HasErrors() || slices.Contains(codes(list), "warning keycloak.bridge_differs") {
		t.Errorf("check: %+v", list)
	}
	if steps, found := open(t, c).Setup(t.Context(), sdk.Setup{AdminToken: adminToken(t, s)}, needs); len(steps)+len(found) > 0 {
		t.Errorf("a second time: %v %+v", made(steps), found)
	}

	// What somebody has changed stays.
	change := func(method, path string, body any) {
		t.Helper()
		if err := s.Admin(t.Context(), method, "/realms/"+realm+path, body, nil); err != nil {
			t.Fatal(err)
		}
	}
	var provider map[string]any
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/made/identity-provider/instances/supertokens", nil, &provider); err != nil {
		t.Fatal(err)
	}
	settings, ok := provider["config"].(map[string]any)
	if !ok {
		t.Fatalf("provider %v", provider)
	}
	settings["pkceEnabled"], provider["firstBrokerLoginFlowAlias"] = "false", "first broker login"
	delete(settings, "clientSecret")
	change(http.MethodPut, "/identity-provider/instances/supertokens", provider)
	var clients []struct{ ID string }
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/made/clients?clientId=api", nil, &clients); err != nil || len(clients) != 1 {
		t.Fatal(clients, err)
	}
	change(http.MethodDelete, "/clients/"+clients[0].ID, nil)
	steps, found = open(t, c).Setup(t.Context(), sdk.Setup{AdminToken: adminToken(t, s)}, needs)
	if d := cmp.Diff(all[5:], made(steps)); d != "" {
		t.Error(d)
	}
	if len(found) != 1 || found[0].Code != codeSetupDiffers || !strings.HasSuffix(found[0].Summary, "differs: "+joinList([]string{"its first login flow makes accounts", "pkceEnabled"})) {
		t.Errorf("found %+v", found)
	}
	list := open(t, c).Check(t.Context(), needs)
	if !slices.Contains(codes(list), "warning keycloak.bridge_differs") {
		t.Errorf("check: %+v", list)
	}
}

// A realm that is there gets what it lacks; a token that is worth nothing makes nothing.
func TestServerSetupOfARealmThatIsThere(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	s.CreateRealm(t, map[string]any{"realm": "half-made", "enabled": true})
	c := Config{URL: s.URL(), Realm: "half-made", ClientID: "stetl", ClientSecret: secretOf("own-secret")}
	steps, found := open(t, c).Setup(t.Context(), sdk.Setup{AdminToken: secretOf("nonsense")}, sdk.Needs{})
	if len(steps) > 0 || len(found) != 1 || found[0].Code != codeNotSetUp || !strings.Contains(found[0].Hint, "get a new one") {
		t.Errorf("a wrong token: %v %+v", made(steps), found)
	}
	steps, found = open(t, c).Setup(t.Context(), sdk.Setup{AdminToken: adminToken(t, s)}, sdk.Needs{})
	if len(steps) != 2 || len(found) > 0 || !strings.HasPrefix(steps[1].What, "the roles manage-realm, ") {
		t.Errorf("made %v %+v", made(steps), found)
	}
	if list := open(t, c).Check(t.Context(), sdk.Needs{}); list.HasErrors() {
		t.Errorf("check: %+v", list)
	}
	c.ClientSecret = secretOf("another")
	steps, found = open(t, c).Setup(t.Context(), sdk.Setup{AdminToken: adminToken(t, s)}, sdk.Needs{})
	if len(steps) > 0 || len(found) != 1 || !strings.Contains(found[0].Summary, "it has another secret") {
		t.Errorf("another secret: %v %+v", made(steps), found)
	}
}
