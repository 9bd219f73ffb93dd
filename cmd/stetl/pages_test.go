package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// pagesElsewhere are pages whose commands another test runs as they are printed.
var pagesElsewhere = map[string]string{
	"tutorial.md":       "internal/e2e",
	"rehearse.md":       "internal/e2e",
	"agents.md":         "internal/e2e",
	"write-a-plugin.md": "internal/e2e",
	"keycloak-realm.md": "internal/e2e, as part of the tutorial",
	"kratos.md":         "make test-kratos",
	"scim.md":           "plugins/generic-scim and internal/e2e run configs/scim.yaml",
	"README.md":         "the script quickstart",
	"commands.md":       "TestExamplesOfHelpRun",
}

// blocksElsewhere are blocks and commands that need what is not here, by their beginning.
var blocksElsewhere = map[string]string{
	"tar -xzf stetl-idp_":    "internal/release",
	"ssh-keygen -Y verify":   "internal/release",
	"docker run":             "there are no containers where this was written; internal/release runs the image",
	"export KEYCLOAK_ADMIN_": "plugins/keycloak and internal/e2e: it takes an administrator of Keycloak",
	"kc.sh import":           "plugins/keycloak: TestServerImportsFiles",
	"mysqldump ":             "core/supertokens has files of real ones",
	"stetl undo --config":    "it asks a person: internal/e2e",
	"for id in $(cat":        "it takes a tenant of Auth0",
	"stetl rejects --config keycloak.yaml --stranded": "it takes a target that says how people can sign in: the script stranded, internal/e2e",
	"stetl explain load.exists":                       "acme.quota is of the plugin that write-a-plugin.md makes: internal/e2e",
	"stetl journal ":                                  "it takes a PostgreSQL: TestExamplesOfHelpRun, internal/e2e",
	"stetl plugin assets":                             "it writes below /opt: the example of its help is the same",
}

// readers are words on pages that stand for something of the reader's.
var readers = strings.NewReplacer(
	"6c0f3a52-0b39-4a49-a06b-66a4a43c4d1e", "anna.kovacs7311@users.example.net",
	"ada@example.org", "anna.kovacs7311@users.example.net",
	"explain USER", "explain anna.kovacs7311@users.example.net",
	"--only-tenant eu", "--only-tenant customer-a",
	"--target acme --target globex", "--target public --target customer-a", "--target acme", "--target customer-a",
	"--format sql --update", "--format sql --partial --update", // some of these accounts are rejected
	"127.0.0.1:9464", "127.0.0.1:0",
	"/etc/bash_completion.d/", "./", "/usr/local/share/zsh/site-functions/", "./", "~/.config/fish/completions/", "./",
)

// TestPagesRun runs the commands of the other pages, in a folder with the files that they
// name: a source, a target that is a folder, and a journal of a run.
func TestPagesRun(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "makes many runs")
	dir := t.TempDir()
	acme, err := exec.LookPath("stetl-plugin-acme")
	if err != nil {
		t.Fatal(err)
	}
	configuration := `source: {dump: "` + fixture.Dump(t, "core-10.1.4") + `", app: public}
target: {plugin: acme, path: "` + acme + `", config: {dir: ./people}}
`
	for name, text := range map[string]string{
		"stetl.yaml": configuration, "keycloak.yaml": configuration,
		"tenants.yaml":       strings.NewReplacer("target: {", "journal: tenants\ntargets: {for_each: tenant, ", "./people", `"./people-{tenant}"`).Replace(configuration),
		"docker-compose.yml": "services:\n  core:\n    environment:\n      POSTGRESQL_CONNECTION_URI: postgres://reader@127.0.0.1:1/supertokens\n",
		"pilot.txt":          "1560e2ae-aeb2-4974-b6ba-e2d15e23d442\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(page, command string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", readers.Replace(command))
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		// Rejects and differences are what pages speak about.
		if code := cmd.ProcessState.ExitCode(); code != exitDone && code != exitRejects && code != exitDifferences {
			t.Errorf("%s: %s: exit %d, %v\n%.2000s", page, command, code, err, out)
		}
	}
	run("the first run", "stetl run -q")
	all := pages(t)
	order := make([]string, 0, len(all))
	for path := range all {
		if filepath.Ext(path) == ".md" {
			order = append(order, path)
		}
	}
	// Who deletes the journal comes last.
	last := func(path string) int { return strings.Count(path, "upkeep.md") }
	slices.SortFunc(order, func(a, b string) int { return 2*(last(a)-last(b)) + strings.Compare(a, b) })
	elsewhere := func(text string) bool {
		begins := func(prefix string) bool { return strings.HasPrefix(text, prefix) }
		return slices.ContainsFunc(slices.Collect(maps.Keys(blocksElsewhere)), begins)
	}
	ran := 0
	for _, path := range order {
		if pagesElsewhere[filepath.Base(path)] != "" {
			continue
		}
		for _, block := range blocks(path, all[path], "sh") {
			if elsewhere(block) {
				continue
			}
			for command := range strings.Lines(block) {
				if elsewhere(command) {
					continue
				}
				ran++
				command = strings.TrimSpace(command)
				if strings.HasPrefix(command, "stetl init") {
					command += " --out own.yaml" // the test has a configuration
				}
				run(path, command)
			}
		}
	}
	if ran < 25 {
		t.Errorf("only %d commands ran", ran)
	}
}
