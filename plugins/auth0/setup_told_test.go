package auth0

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
)

// What is printed for a tenant is what docs/bridge.md says, with the names of this one.
func TestSetupIsTold(t *testing.T) {
	t.Parallel()
	p := preparing{Config{Domain: "acme.eu.auth0.com", ClientID: "m2m"}.withDefaults()}
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
	if steps, found := p.Setup(t.Context(), sdk.Setup{}, needs); len(steps) > 0 || !found.HasErrors() {
		t.Errorf("something was made: %+v %+v", steps, found)
	}
	if steps, found := p.Setup(t.Context(), sdk.Setup{Show: true}, sdk.Needs{}); len(steps)+len(found) > 0 {
		t.Errorf("without a bridge: %+v %+v", steps, found)
	}
}
