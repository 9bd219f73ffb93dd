package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/target"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/scim"
)

// TestSCIMToServers goes with the shipped configuration from a live database into
// servers that others have written, and back.
func TestSCIMToServers(t *testing.T) {
	t.Parallel()
	database := postgres.Start(t)
	shipped, err := os.ReadFile("../../configs/scim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const fixture = "core-10.1.4"
	for name, start := range map[string]func(testing.TB, scim.Options) *scim.Server{"SCIMMY": scim.StartSCIMMY, "scim2-server": scim.StartSCIM2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, scim.Options{})
			env := []string{
				"SUPERTOKENS_DATABASE_URL=" + database.RestorePlain(t, filepath.Join(fixtures, fixture+".sql"), postgres.Database{}),
				"SCIM_URL=" + server.URL, "SCIM_TOKEN=" + scim.Token,
			}
			config := filepath.Join(t.TempDir(), "scim.yaml")
			writeFile(t, config, string(shipped))

			planned := runStetl(t, env, "run", "--config", config, "--dry-run", "--json").report(t).Summary
			if users, _ := server.Stored(t); len(users) != 0 {
				t.Fatalf("the dry run left %d users", len(users))
			}
			first := runStetl(t, env, "run", "--config", config, "--json")
			loaded := first.report(t).Summary
			if loaded != planned {
				t.Errorf("the run did %+v, the dry run said %+v", loaded, planned)
			}
			people := readAccounts(t, fixture)
			if loaded.Read != len(people) || loaded.Accounted() != len(people) || loaded.Created == 0 || loaded.InDoubt > 0 {
				t.Errorf("%+v, the record has %d accounts\n%s", loaded, len(people), first.stderr)
			}
			users, _ := server.Stored(t)
			visible := map[string]int{}
			for _, a := range people {
				visible[a.VisibleID] = 0
			}
			for _, u := range users {
				key, _ := u["externalId"].(string)
				if n, ok := visible[key]; !ok || n > 0 {
					t.Errorf("externalId %q is nobody's, or there twice", key)
				}
				visible[key]++
				if u["password"] != nil {
					t.Errorf("the account %s has a password", key)
				}
			}
			if len(users) != loaded.Created {
				t.Errorf("%d users at the server, %d were created", len(users), loaded.Created)
			}

			again := runStetl(t, env, "run", "--config", config, "--json").report(t).Summary
			if want := (target.Summary{Read: loaded.Read, Unchanged: loaded.Created, Skipped: loaded.Skipped, Rejected: loaded.Rejected}); again != want {
				t.Errorf("the second run did %+v, want %+v", again, want)
			}
			if r := runStetl(t, env, "verify", "--config", config); r.code != exitDone {
				t.Errorf("verify exits with %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			if r := runStetl(t, env, "undo", "--config", config, "--yes"); r.code != exitDone {
				t.Errorf("undo exits with %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			if users, groups := server.Stored(t); len(users)+len(groups) != 0 {
				t.Errorf("after the undo there are %d users and %d groups", len(users), len(groups))
			}
			if all := first.stdout + first.stderr; strings.Contains(all, scim.Token) || strings.Contains(all, "$2a$") {
				t.Error("a secret is in the output")
			}
		})
	}
}
