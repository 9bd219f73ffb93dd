//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// commented are the statements in the comments of an example.
func commented(t *testing.T, text string) (ddl string) {
	t.Helper()
	text = regexp.MustCompile(`(?m)^#   (export|stetl) .*\n`).ReplaceAllString(text, "")
	for _, m := range regexp.MustCompile(`(?m)^#   (.*)$`).FindAllStringSubmatch(text, -1) {
		ddl += m[1] + "\n"
	}
	if !strings.Contains(ddl, "CREATE TABLE") {
		t.Fatal("the example has no tables in its comments")
	}
	return ddl
}

// TestTablesOfExamples moves a fixture into the tables of each example: what is planned
// happens, a second run writes nothing, and an undo leaves what was there before.
func TestTablesOfExamples(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "needs PostgreSQL")
	authjs, err := os.ReadFile("../../plugins/generic-sql/testdata/authjs.sql")
	if err != nil {
		t.Fatal(err)
	}
	for name, example := range map[string]struct {
		ddl, before, people, roles string
	}{
		"authjs": {
			string(authjs), `INSERT INTO users (id, email) VALUES ('before', 'before@example.com')`,
			`SELECT coalesce(string_agg(concat_ws(' ', id, password), E'\n' ORDER BY id), '') FROM users WHERE id <> 'before'`, "",
		},
		"own-tables": {
			"", `INSERT INTO people (id, active) VALUES ('before', true); INSERT INTO person_roles VALUES ('before', 'admin', 'public')`,
			`SELECT coalesce(string_agg(concat_ws(' ', id, password_hash), E'\n' ORDER BY id), '') FROM people WHERE id <> 'before'`,
			`SELECT count(*) FROM person_roles WHERE person_id <> 'before'`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile("../../configs/" + name + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			dump, err := filepath.Abs(fixture.Dump(t, "core-9.3.0"))
			if err != nil {
				t.Fatal(err)
			}
			dsn := postgres.Start(t).CreateDatabase(t, postgres.Database{})
			if example.ddl == "" {
				example.ddl = commented(t, string(raw))
			}
			postgres.Exec(t, dsn, example.ddl)
			postgres.Exec(t, dsn, example.before)
			config := filepath.Join(t.TempDir(), name+".yaml")
			writeFile(t, config, strings.NewReplacer("url: ${env:SUPERTOKENS_DATABASE_URL}", "dump: "+dump, `# sign_ins: [password, email_reset, "social:google"]`, "sign_ins: [password]").Replace(string(raw)))
			env := []string{"APP_DATABASE_URL=" + dsn}
			people := func() string { return postgres.Value[string](t, dsn, example.people) }
			if r := runStetl(t, env, "check", "--config", config); r.code != exitDone {
				t.Fatalf("check: exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			dry := runStetl(t, env, "run", "--config", config, "--dry-run", "--json")
			planned := dry.report(t)
			if people() != "" {
				t.Error("the dry run has written somebody")
			}
			loaded := runStetl(t, env, "run", "--config", config, "--json").report(t)
			if loaded.Summary != planned.Summary || loaded.Summary.Created == 0 {
				t.Errorf("the run did %+v, the dry run said %+v", loaded.Summary, planned.Summary)
			}
			first := people()
			if name == "own-tables" {
				var said struct{ Stranded *int }
				if err := json.Unmarshal([]byte(dry.stdout), &said); err != nil {
					t.Fatal(err)
				}
				without := postgres.Value[int](t, dsn, `SELECT count(*) FROM people WHERE id <> 'before' AND password_hash IS NULL`)
				if said.Stranded == nil || *said.Stranded != without || without == 0 {
					t.Errorf("%v are said to be stranded, and %d have no password", said.Stranded, without)
				}
			}
			if n := strings.Count(first, "\n") + 1; n != loaded.Summary.Created {
				t.Errorf("%d people are there, and %d were created", n, loaded.Summary.Created)
			}
			for _, a := range readAccounts(t, "core-9.3.0") {
				if at := a.chosen(); at >= 0 && strings.Contains(first, a.VisibleID) && a.Logins[at].Format != "firebase_scrypt" {
					if want := fmt.Sprintf("%s %s", a.VisibleID, *a.Logins[at].Hash); a.Logins[at].Format != "unknown" && a.Logins[at].Format != "argon2d" && !strings.Contains(first, want) {
						t.Errorf("%s has another hash than in the source", a.VisibleID)
					}
				}
			}
			if example.roles != "" && postgres.Value[int](t, dsn, example.roles) == 0 {
				t.Error("nobody has a role")
			}
			again := runStetl(t, env, "run", "--config", config, "--json").report(t)
			if again.Summary.Created+again.Summary.Updated != 0 || again.Summary.Unchanged != loaded.Summary.Created || people() != first {
				t.Errorf("the second run did %+v after %+v", again.Summary, loaded.Summary)
			}
			if r := runStetl(t, env, "verify", "--config", config, "--json"); r.code != exitDone {
				t.Errorf("verify: exit %d\n%.3000s\n%s", r.code, r.stdout, r.stderr)
			}
			if r := runStetl(t, env, "undo", "--config", config, "--yes", "--json"); r.code != exitDone || people() != "" {
				t.Errorf("undo: exit %d\n%.3000s\n%s", r.code, r.stdout, r.stderr)
			}
			if table := strings.Fields(example.before)[2]; postgres.Value[int](t, dsn, "SELECT count(*) FROM "+table) != 1 {
				t.Error("who was there before is not there any more")
			}
		})
	}
}
