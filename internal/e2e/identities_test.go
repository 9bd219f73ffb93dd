package e2e_test

import (
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// testSharedIdentity moves two accounts, in two tenants, of one person at Google. The plan, the first run
// and later ones say the same, and the link stays where it is.
func testSharedIdentity(t *testing.T, server *keycloak.Server) {
	t.Helper()
	const (
		name    = "shared"
		subject = "217553981088316199087"
		older   = "712270c0-d87a-4133-9e49-6ed935c3b940"
		younger = "b8956c5c-b1a4-4bf9-a546-bf089bc402d9"
	)
	realm(t, server, name, "s3cret")
	if err := server.Admin(t.Context(), http.MethodPost, "/realms/"+name+"/identity-provider/instances", map[string]any{"alias": "google", "providerId": "google", "enabled": true}, nil); err != nil {
		t.Fatal(err)
	}
	dump, err := filepath.Abs(filepath.Join(fixtures, "core-10.1.4.sql"))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "keycloak.yaml")
	env := []string{"DUMP=" + dump, "URL=" + server.URL(), "SECRET=s3cret"}
	linked := func() (ids []string) {
		var found []struct {
			ID string `json:"id"`
		}
		query := url.Values{"idpAlias": {"google"}, "idpUserId": {subject}}
		if err := server.Admin(t.Context(), http.MethodGet, "/realms/"+name+"/users?"+query.Encode(), nil, &found); err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			ids = append(ids, f.ID)
		}
		return ids
	}
	// codes are those of who is kept out, by account.
	codes := func(args ...string) map[string]diag.Code {
		t.Helper()
		r := runStetl(t, env, append([]string{"run", "--config", config, "--json"}, args...)...)
		if r.code != exitRejects && r.code != exitDone {
			t.Fatalf("%v: exit %d\n%s", args, r.code, r.stderr)
		}
		out := map[string]diag.Code{}
		for _, c := range r.report(t).Changes {
			if c.Action == pluginapi.Rejected || c.Action == pluginapi.Skipped {
				out[c.SourceID] = c.Code
			}
		}
		return out
	}
	for _, step := range []struct {
		choice string
		want   diag.Code
	}{{"reject", diag.MapDuplicateIdentity}, {"drop", ""}} {
		writeFile(t, config, `
source: {dump: "${env:DUMP}"}
target:
  plugin: keycloak
  config: {url: "${env:URL}", realm: shared, client_id: stetl, client_secret: "${env:SECRET}"}
policies: {collision: {username: suffix, email: drop, identity: `+step.choice+`}}
`)
		planned := codes("--dry-run")
		if planned[younger] != step.want || planned[older] != "" {
			t.Errorf("%s: the plan keeps out %q and %q", step.choice, planned[younger], planned[older])
		}
		for run := range 3 {
			if got := codes(); !maps.Equal(got, planned) {
				t.Errorf("%s, run %d: %v, planned %v", step.choice, run, got, planned)
			}
			if ids := linked(); !slices.Equal(ids, []string{older}) {
				t.Errorf("%s, run %d: the identity is with %v", step.choice, run, ids)
			}
		}
		if again := codes("--dry-run"); !maps.Equal(again, planned) {
			t.Errorf("%s, the plan after the runs: %v, before %v", step.choice, again, planned)
		}
	}
}
