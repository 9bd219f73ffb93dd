package auth0

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
)

// What is printed for a tenant is what docs/bridge.md says, with the names of this one.
func TestSetupIsTold(t *testing.T) {
	t.Parallel()
	p := preparing{config: Config{Domain: "acme.eu.auth0.com", ClientID: "m2m"}.withDefaults()}
	needs := sdk.Needs{Broker: &sdk.Broker{Issuer: "https://api.example.com/bridge", Exchange: true}}
	steps, found := p.Setup(t.Context(), sdk.Setup{Show: true}, needs)
	if len(steps) != 4 || len(found) > 0 {
		t.Fatalf("%+v %+v", steps, found)
	}
	var first struct {
		Path string
		Body struct {
			Code    string
			Secrets []struct{ Name, Value string }
		}
	}
	if err := json.Unmarshal(steps[0].Request, &first); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/bridge.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := strings.ReplaceAll(first.Body.Code, "https://acme.eu.auth0.com/", "https://YOUR_TENANT/")
	if first.Path != "/api/v2/actions/actions" || !strings.Contains(string(page), "```js\n"+documented+"```") || documented == first.Body.Code {
		t.Errorf("the Action is not that of docs/bridge.md:\n%s", first.Body.Code)
	}
	if len(first.Body.Secrets) != 1 || first.Body.Secrets[0].Value != "https://api.example.com/bridge" {
		t.Errorf("secrets %+v", first.Body.Secrets)
	}
	if want := "auth0 api patch clients/m2m <<'EOF'"; !strings.HasPrefix(steps[3].Command, want) || !strings.Contains(steps[2].Command, "urn:supertokens:session") {
		t.Errorf("commands %q, %q", steps[2].Command, steps[3].Command)
	}
	if steps, found := p.Setup(t.Context(), sdk.Setup{Show: true}, sdk.Needs{}); len(steps)+len(found) > 0 {
		t.Errorf("without a bridge: %+v %+v", steps, found)
	}
}

func prepare(t *testing.T, s *simulator.Server) preparing {
	t.Helper()
	c := Config{Domain: "tenant.eu.auth0.test", APIURL: s.URL, ClientID: "stetl", ClientSecret: sdk.NewSecret("unused")}.withDefaults()
	base, err := network(c)
	if err != nil {
		t.Fatal(err)
	}
	return preparing{c, sdk.Env{Log: slog.New(slog.DiscardHandler), Pulse: func(sdk.Pulse) {}}, base}
}

// What is missing at a tenant is made, once; what is there otherwise is named and left.
func TestSetupIsMade(t *testing.T) {
	t.Parallel()
	s := simulator.Start(t, simulator.Options{})
	p := prepare(t, s)
	c := p.config
	needs := sdk.Needs{Broker: &sdk.Broker{Issuer: "https://api.example.com/bridge", Exchange: true}}
	admin := sdk.Setup{AdminToken: sdk.NewSecret(s.Token())}
	steps, found := p.Setup(t.Context(), admin, needs)
	if len(steps) != 4 || len(found) > 0 {
		t.Fatalf("made %d: %v", len(steps), found)
	}
	now := simulator.Exchanges(s)
	if len(now.Actions) != 1 || !now.Actions[0].Deployed || now.Actions[0].Secrets["ISSUER"] != needs.Broker.Issuer || !strings.Contains(now.Actions[0].Code, "https://"+c.Domain+"/") {
		t.Fatalf("actions: %+v", now.Actions)
	}
	want := []simulator.Profile{{ID: now.Profiles[0].ID, Name: profileName, Kind: c.ExchangeTokenType, ActionID: now.Actions[0].ID, Type: profileType}}
	if d := cmp.Diff(want, now.Profiles); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string][]string{c.ClientID: {profileType}}, now.Types); d != "" {
		t.Error(d)
	}
	if steps, found := p.Setup(t.Context(), admin, needs); len(steps)+len(found) > 0 {
		t.Errorf("again: %+v %+v", steps, found)
	}
	p.config.Domain = "another.eu.auth0.test" // its Action has another audience
	if steps, found := p.Setup(t.Context(), admin, needs); len(steps) > 0 || len(found) != 1 || found[0].Code != codeSetupDiffers || found[0].Severity != sdk.Warning {
		t.Errorf("another Action is there: %+v %+v", steps, found)
	}
}

// Where making it is refused, that is said, and what would help.
func TestSetupIsRefused(t *testing.T) {
	t.Parallel()
	needs := sdk.Needs{Broker: &sdk.Broker{Issuer: "https://api.example.com/bridge", Exchange: true}}
	for name, c := range map[string]struct {
		scopes []string
		token  string
		hint   string
	}{
		"an old token": {nil, "old", "get a new one"},
		"no scopes":    {[]string{"read:users"}, "", "create:token_exchange_profiles"},
	} {
		s := simulator.Start(t, simulator.Options{Scopes: c.scopes})
		if c.token == "" {
			c.token = s.Token()
		}
		steps, found := prepare(t, s).Setup(t.Context(), sdk.Setup{AdminToken: sdk.NewSecret(c.token)}, needs)
		if len(steps) > 0 || len(found) != 1 || !strings.Contains(found[0].Hint, c.hint) || strings.Contains(fmt.Sprint(found), c.token) {
			t.Errorf("%s: %+v %+v", name, steps, found)
		}
	}
}
