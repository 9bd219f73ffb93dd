package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// realmsVariable is how many tenants get a realm.
const realmsVariable = "STETL_REALMS"

// intoTenants deals the accounts of the fixture's tenant public to others. A membership is in
// more than one table.
const intoTenants = `
SET session_replication_role = replica;
INSERT INTO tenants SELECT 'public', 'firm-' || i, 0 FROM generate_series(0, %[1]d) i;
CREATE TEMP TABLE moves AS SELECT DISTINCT user_id, 'firm-' || dense_rank() OVER (ORDER BY primary_or_recipe_user_id) %% (%[1]d + 1) AS firm
	FROM all_auth_recipe_users WHERE app_id = 'public' AND tenant_id = 'public';
UPDATE emailpassword_user_to_tenant t SET tenant_id = firm FROM moves m WHERE m.user_id = t.user_id AND app_id = 'public' AND tenant_id = 'public';
UPDATE thirdparty_user_to_tenant t SET tenant_id = firm FROM moves m WHERE m.user_id = t.user_id AND app_id = 'public' AND tenant_id = 'public';
UPDATE passwordless_user_to_tenant t SET tenant_id = firm FROM moves m WHERE m.user_id = t.user_id AND app_id = 'public' AND tenant_id = 'public';
UPDATE webauthn_user_to_tenant t SET tenant_id = firm FROM moves m WHERE m.user_id = t.user_id AND app_id = 'public' AND tenant_id = 'public';
UPDATE all_auth_recipe_users t SET tenant_id = firm FROM moves m WHERE m.user_id = t.user_id AND app_id = 'public' AND tenant_id = 'public';
`

// rowsRead is how many rows anybody has read in a database so far.
func rowsRead(t *testing.T, database string) int64 {
	t.Helper()
	// What a connection has read is counted when it ends.
	for postgres.Value[int](t, database, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'") > 0 {
		if t.Context().Err() != nil {
			t.Fatal("a connection to the source stays open")
		}
	}
	return postgres.Value[int64](t, database, "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint FROM pg_stat_user_tables")
}

type targetsReport struct {
	Summary pluginapi.Summary `json:"summary"`
	Dealt   map[string]int    `json:"dealt"`
	Targets []struct {
		Name  string    `json:"name"`
		State string    `json:"state"`
		Exit  int       `json:"exit_code"`
		Error string    `json:"error"`
		Run   runReport `json:"run"`
	} `json:"targets"`
}

func (r ran) targets(t *testing.T) (out targetsReport) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		t.Fatalf("exit %d, output is not JSON: %v\n%.2000s\n%s", r.code, err, r.stdout, r.stderr)
	}
	for _, one := range out.Targets {
		if one.Error != "" {
			t.Errorf("%s: %s: %s", one.Name, one.State, one.Error)
		}
	}
	return out
}

// testRealms moves each tenant into a realm of its own, which does not exist yet:
// from one reading, with one report, and takes one of them back.
func testRealms(t *testing.T, server *keycloak.Server) {
	t.Helper()
	realms := 5
	if text := os.Getenv(realmsVariable); text != "" {
		var err error
		if realms, err = strconv.Atoi(text); err != nil || realms < 3 {
			t.Fatalf("%s is %q", realmsVariable, text)
		}
	}
	source := postgres.Start(t).RestorePlain(t, filepath.Join(fixtures, "core-10.1.4.sql"), postgres.Database{})
	postgres.Exec(t, source, fmt.Sprintf(intoTenants, realms-3)) // customer-a and customer-b are there
	const prefix = "each-"
	realm(t, server, prefix+"template", "of-the-template")
	config := filepath.Join(t.TempDir(), "realms.yaml")
	writeFile(t, config, `
source: {url: "${env:DATABASE}", app: public}
targets:
  for_each: tenant
  exclude: [public]
  plugin: keycloak
  config:
    url: "${env:URL}"
    realm: "`+prefix+`{tenant}"
    tenant: "{tenant}"
    auth_realm: master
    client_id: "${env:CLIENT}"
    client_secret: "${env:SECRET}"
    create: true
    template: `+prefix+`template
mapping: {set: {id: {cel: "target == home ? id : uuid5(target + ' ' + id)"}}}
policies: {several_tenants: each, skip: [map.no_tenant, map.duplicate_username, load.id_invalid, load.id_too_long]}
`)
	env := []string{"DATABASE=" + source, "URL=" + server.URL(), "CLIENT=" + keycloak.AdminClientID, "SECRET=" + keycloak.AdminClientSecret}
	names := []string{"customer-a", "customer-b"}
	for i := range realms - 2 {
		names = append(names, "firm-"+strconv.Itoa(i))
	}
	slices.Sort(names)
	t.Cleanup(func() {
		for _, name := range names {
			if err := server.Admin(context.WithoutCancel(t.Context()), http.MethodDelete, "/realms/"+prefix+name, nil, nil); err != nil {
				t.Error(err)
			}
		}
	})

	start := rowsRead(t, source)
	alone := runStetl(t, env, "plan", "--config", config, "--target", "firm-0", "--json")
	if alone.code != exitDone {
		t.Fatalf("plan of one: exit %d\n%.2000s\n%s", alone.code, alone.stdout, alone.stderr)
	}
	one := rowsRead(t, source)
	saved := filepath.Join(t.TempDir(), "plan.json")
	plan := runStetl(t, env, "plan", "--config", config, "--out", saved, "--json")
	planned := plan.targets(t)
	all := rowsRead(t, source)
	first := runStetl(t, env, "run", "--config", config, "--json")
	done := first.targets(t)
	raw, err := os.ReadFile(saved)
	if err != nil {
		t.Fatal(err)
	}
	for _, output := range []struct{ schema, text string }{{"run.schema.json", plan.stdout}, {"run.schema.json", first.stdout}, {"plan.schema.json", string(raw)}} {
		if err := published(t, output.schema).Validate(instance(t, output.text)); err != nil {
			t.Errorf("%s: %v", output.schema, err)
		}
	}
	if again := rowsRead(t, source); all-one != one-start || again-all != one-start {
		t.Errorf("the source was not read once: one target takes %d rows, the plan of all %d, the run %d", one-start, all-one, again-all)
	}
	if first.code != exitDone || len(done.Targets) != realms || done.Summary.Read != done.Summary.Accounted() || done.Dealt["accounts"] != 125 {
		t.Fatalf("exit %d, %d targets, %+v, %v\n%s", first.code, len(done.Targets), done.Summary, done.Dealt, first.stderr)
	}
	created := map[string]int{}
	for i, target := range done.Targets {
		created[target.Name] = count(t, server, prefix+target.Name)
		if target.Run.Summary != planned.Targets[i].Run.Summary || created[target.Name] != target.Run.Summary.Created || target.Run.Summary.Created == 0 {
			t.Errorf("%s: %+v, planned %+v, %d users", target.Name, target.Run.Summary, planned.Targets[i].Run.Summary, created[target.Name])
		}
	}
	if got := slices.Sorted(maps.Keys(created)); !slices.Equal(got, names) {
		t.Errorf("the targets are %v", got)
	}

	oldPasswordsWork(t, server, prefix, names)
	again := runStetl(t, env, "run", "--config", config, "--json").targets(t)
	if again.Summary.Created+again.Summary.Updated != 0 || again.Summary.Unchanged != done.Summary.Created {
		t.Errorf("the second run did %+v", again.Summary)
	}

	before := map[string][]string{}
	for _, name := range names {
		before[name] = idsOf(t, server, prefix+name)
	}
	if r := runStetl(t, env, "undo", "--config", config, "--target", "firm-0", "--yes", "--signed-in"); r.code != exitDone {
		t.Errorf("undo: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	before["firm-0"] = nil
	after := map[string][]string{}
	for _, name := range names {
		after[name] = idsOf(t, server, prefix+name)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the undo of one realm is not about that alone (-before +after):\n%s", diff)
	}
	if r := runStetl(t, env, "verify", "--config", config, "--target", "customer-a"); r.code != exitDone {
		t.Errorf("verify: exit %d\n%.2000s\n%s", r.code, r.stdout, r.stderr)
	}
	if r := runStetl(t, env, "run", "--config", config, "--target", "firm-0", "--json").report(t); r.Summary.Created != created["firm-0"] {
		t.Errorf("moved again: %+v, before %d", r.Summary, created["firm-0"])
	}
}

// oldPasswordsWork signs somebody in to each realm where anybody can with a password alone.
func oldPasswordsWork(t *testing.T, server *keycloak.Server, prefix string, realms []string) {
	t.Helper()
	worked := 0
	for _, name := range realms {
		var users []struct {
			ID       string `json:"id"`
			Username string `json:"username"`
		}
		if err := server.Admin(t.Context(), http.MethodGet, "/realms/"+prefix+name+"/users?max=1000", nil, &users); err != nil {
			t.Fatal(err)
		}
		passwords := map[string]string{}
		for _, a := range readAccounts(t, "core-10.1.4") {
			if password, ok := a.password(); ok {
				passwords[a.VisibleID] = password
			}
		}
		for _, u := range users {
			password, known := passwords[u.ID]
			if !known {
				continue
			}
			g, err := server.PasswordGrant(t.Context(), prefix+name, "people", u.Username, password)
			if err != nil {
				t.Fatal(err)
			}
			if g.AccessToken != "" {
				worked++
				break
			}
		}
	}
	if worked < len(realms)/2 { // with fifty there are few people in each, and not all have a password alone
		t.Errorf("somebody could sign in to %d of %d realms", worked, len(realms))
	}
}
