package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// elsewhere are examples that another test runs.
var elsewhere = map[string]string{
	"stetl bridge":             "it serves until it is ended: internal/e2e",
	"stetl rejects --stranded": "it takes a target that says how people can sign in: stranded.txtar",
	"stetl bridge try --session 7a1ad61c-8a5c-4d4c-a4f4-5f9d2b0ae0f4":           "it needs a bridge and a session: core/bridge, internal/e2e",
	"stetl check -c keycloak.yaml --fix --admin-token env:KEYCLOAK_ADMIN_TOKEN": "it needs a Keycloak and its administrator: plugins/keycloak, internal/e2e",
	"stetl check -c keycloak.yaml --fix --print commands":                       "it needs a target that can be set up: the script setup",
	"stetl bridge unlock": "it needs a bridge that is at work: internal/e2e",
}

// ours are the commands that are not cobra's own.
func ours(c *cobra.Command) (all []*cobra.Command) {
	if c.Runnable() && !c.Hidden {
		all = append(all, c)
	}
	for _, sub := range c.Commands() {
		all = append(all, ours(sub)...)
	}
	return all
}

// examplesOf are the command lines in the help of a command.
func examplesOf(c *cobra.Command) (lines []string) {
	text := strings.ReplaceAll(c.Example, "\\\n", " ")
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "stetl ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestExamplesOfHelpRun runs every example of every command's help as it is printed, in a
// folder with the files that they name. Those of undo come last.
func TestExamplesOfHelpRun(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "needs PostgreSQL")
	dir, source := t.TempDir(), fixture.Restore(t, "core-10.1.4")
	shared := postgres.Start(t).CreateDatabase(t, postgres.Database{})
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copyOf := func(name, from string) {
		raw, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	acme, err := exec.LookPath("stetl-plugin-acme")
	if err != nil {
		t.Fatal(err)
	}
	copyOf("stetl-plugin-acme", acme)
	copyOf("supertokens.sql", fixture.Dump(t, "core-10.1.4"))
	configuration := `source: {url: "${env:SOURCE}", app: public}
target: {plugin: acme, path: ./stetl-plugin-acme, config: {dir: ./people}}
`
	write("stetl.yaml", configuration)
	write("keycloak.yaml", configuration)
	raw, err := os.ReadFile("../../configs/mapping.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write("mapping.yaml", string(raw))
	write("docker-compose.yml", "services:\n  core:\n    environment:\n      POSTGRESQL_CONNECTION_URI: \""+source+"\"\n")
	if err := os.Mkdir(filepath.Join(dir, "providers"), 0o700); err != nil {
		t.Fatal(err)
	}
	root := rootCommand(&app{})
	commands := ours(root)
	// What looks back comes after what it looks at.
	order := []string{"stetl init", "stetl inspect", "stetl check", "stetl plan", "stetl run", "stetl verify", "stetl report", "stetl rejects", "stetl explain", "stetl idmap"}
	rank := func(c *cobra.Command) int {
		switch i := slices.Index(order, c.CommandPath()); {
		case i >= 0:
			return i
		case c == root || c.Name() == "undo" || c.Name() == "revoke":
			return len(order) + 1
		}
		return len(order)
	}
	slices.SortStableFunc(commands, func(a, b *cobra.Command) int { return rank(a) - rank(b) })
	ran := 0
	for _, c := range commands {
		lines := examplesOf(c)
		if len(lines) == 0 && !c.HasSubCommands() {
			t.Errorf("the help of %s has no example", c.CommandPath())
		}
		for _, line := range lines {
			if elsewhere[line] != "" || elsewhere[c.CommandPath()] != "" && c.Name() == "unlock" {
				continue
			}
			ran++
			if c.Name() == "init" {
				line += " --force" // the test has such files
			}
			if c.CommandPath() == "stetl plugin test" {
				line += " --only describe,configure" // internal/e2e tries all of them
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "SOURCE="+source, "TMPDIR="+t.TempDir(),
				"STETL_JOURNAL_URL="+shared, config.JournalKeyVariable+"="+strings.Repeat("c3RldGwg", 8))
			out, err := cmd.CombinedOutput()
			// Rejects and differences are what an example shows, too.
			if code := cmd.ProcessState.ExitCode(); code != exitDone && code != exitRejects && code != exitDifferences {
				t.Errorf("%s: exit %d, %v\n%.2000s", line, code, err, out)
			}
			if c.Name() == "init" {
				write("keycloak.yaml", configuration)
			}
		}
	}
	if ran < 30 {
		t.Errorf("only %d examples ran", ran)
	}
	if n := postgres.Value[int](t, source, "SELECT count(*) FROM session_info"); n != 0 {
		t.Errorf("%d sessions are there after the example of revoke", n)
	}
}

// TestHelpFits: every page of help fits a terminal of 80 columns, examples and all.
func TestHelpFits(t *testing.T) {
	t.Parallel()
	for _, c := range ours(rootCommand(&app{})) {
		var text strings.Builder
		a := &app{streams: streams{out: &text, err: &text}}
		root := rootCommand(a)
		root.SetOut(&text)
		root.SetArgs(append(strings.Fields(c.CommandPath())[1:], "--help"))
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > helpWidth {
				t.Errorf("%s has a line of %d columns: %s", c.CommandPath(), n, line)
			}
		}
	}
}

// TestManual: each command has a page, and groff has nothing to complain about.
func TestManual(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if r := runStetl(t, nil, "man", "--out", dir); r.code != exitDone {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	for _, c := range ours(rootCommand(&app{})) {
		page := filepath.Join(dir, manName(c)+".1")
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(raw), ".SH NAME") || !strings.Contains(string(raw), ".SH SYNOPSIS") {
			t.Errorf("%s has no name or synopsis", page)
		}
		groff, err := exec.LookPath("groff")
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(t.Context(), groff, "-man", "-ww", "-Tutf8", "-z", page).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("groff on %s: %v\n%s", page, err, out)
		}
	}
}

// TestCompletion asks what a shell is told.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"plugin describe ":              "keycloak",
		"init --target ":                "generic-sql",
		"idmap --format ":               "ndjson",
		"report --format ":              "html",
		"keys export --format ":         "pem",
		"plan --detail ":                "users",
		"plugin new x --lang ":          "python",
		"explain keycloak.":             "keycloak.realm_missing\t",
		"explain map.dup":               "map.duplicate_email\t",
		"run --accept-incomplete ":      "rows_missing",
		"check --log-level ":            "debug",
		"generate --generation ":        "G5",
		"plugin assets ":                "keycloak",
		"run --log-format ":             "json",
		"plugin doctor ":                "auth0",
		"plugin docs ":                  "auth0",
		"plugin lock ":                  "auth0",
		"plugin test ":                  "auth0",
		"plugin bundle ":                "auth0",
		"explain ghost_":                "ghost_primary\t",
		"rejects --co":                  "--code",
		"undo --":                       "--no-color",
		"config ":                       "schema",
		"sessions ":                     "revoke",
		"verify --accept-incomplete co": "",
	} {
		r := runStetl(t, nil, append([]string{"__complete"}, strings.Split(line, " ")...)...)
		if r.code != exitDone || !strings.Contains(r.stdout, want) {
			t.Errorf("%q is completed with %d, %q; want %q", line, r.code, r.stdout, want)
		}
	}
}

// Codes of accounts that were rejected come from the journal, and choose among them.
func TestRejectReasonsAreCompleted(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "makes a run")
	dir := t.TempDir()
	dump, err := filepath.Abs("../../testdata/supertokens/core-3.3.0.sql")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "run.yaml")
	text := `{"source":{"dump":"` + dump + `"},"target":{"plugin":"keycloak","config":{"mode":"files","realm":"r","out":"./out"}}}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := runStetl(t, nil, "run", "-q", "-c", path); r.code != exitRejects {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	r := runStetl(t, nil, "__complete", "rejects", "-c", path, "--code", "")
	code := regexp.MustCompile(`(?m)^map\.\w+$`).FindString(r.stdout)
	if code == "" {
		t.Fatalf("no code is offered: %q %q", r.stdout, r.stderr)
	}
	for _, tt := range []struct {
		code string
		some bool
	}{{code, true}, {"map.nothing", false}} {
		r := runStetl(t, nil, "rejects", "-c", path, "--code", tt.code)
		n := 0
		for line := range strings.Lines(r.stdout) {
			var got struct{ Code string }
			if err := json.Unmarshal([]byte(line), &got); err != nil || got.Code != tt.code {
				t.Errorf("--code %s lists %s, %v", tt.code, line, err)
			}
			n++
		}
		if r.code != exitDone || (n > 0) != tt.some {
			t.Errorf("--code %s: exit %d, %d accounts", tt.code, r.code, n)
		}
	}
}
