package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

// secretsOf lists what must not leave through any output: digests of password
// hashes, TOTP secrets, provider client secrets, and staged clear passwords of
// a fixture, read off its dump.
func secretsOf(t *testing.T, dump string) []string {
	t.Helper()
	raw, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, pattern := range []string{
		`\$2[abxy]\$\d\d\$([./A-Za-z0-9]{53})`,
		`\$argon2[a-z]+\$[^\t\n]*\$([A-Za-z0-9+/]{20,})`,
		`\$f_scrypt\$([A-Za-z0-9+/=]{20,})`,
		`\t([A-Z2-7]{16,})\t\d+\t\d\t[tf]`,
		`plainTextPassword": ?"([^"]+)"`,
		`[|;](MII[A-Za-z0-9+/=]{1000,})`, // private keys
		`1000:[0-9a-f]{128}:([0-9a-f]{128})`,
	} {
		found := regexp.MustCompile(pattern).FindAllStringSubmatch(string(raw), -1)
		for _, m := range found {
			out = append(out, m[1])
		}
	}
	if len(out) < 80 {
		t.Fatalf("only %d secrets found in %s", len(out), dump)
	}
	return out
}

// personsOf lists what is personal in a fixture and no id: addresses and numbers.
func personsOf(t *testing.T, fixture string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(fixtures, fixture+".truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var truth struct {
		Accounts []struct {
			VisibleID string `json:"visibleId"`
			Logins    []struct {
				Email string `json:"email"`
				Phone string `json:"phone"`
			} `json:"loginMethods"`
		} `json:"accounts"`
	}
	if err := json.Unmarshal(raw, &truth); err != nil {
		t.Fatal(err)
	}
	ids, out := map[string]bool{}, []string{}
	for _, a := range truth.Accounts {
		ids[a.VisibleID] = true
	}
	for _, a := range truth.Accounts {
		for _, l := range a.Logins {
			for _, text := range []string{l.Email, l.Phone} {
				if len(text) > 5 && !ids[text] {
					out = append(out, text)
				}
			}
		}
	}
	if len(out) < 100 {
		t.Fatalf("only %d addresses and numbers found", len(out))
	}
	return out
}

// impersonal are commands whose output can be handed on: it has ids, and nothing else
// of a person.
var impersonal = []string{"run", "idmap", "rejects", "report", "explain", "inspect", "check"}

// TestNoSecretLeaves runs every command with every kind of output over a source
// full of real hashes and secrets.
func TestNoSecretLeaves(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "runs every command")
	dump, err := filepath.Abs(filepath.Join(fixtures, "core-10.1.4.sql"))
	if err != nil {
		t.Fatal(err)
	}
	secrets, persons := secretsOf(t, dump), personsOf(t, "core-10.1.4")
	dir := t.TempDir()
	good, dead := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "dead.yaml")
	writeFile(t, good, `
source: {dump: "${env:DUMP}"}
target: {plugin: keycloak, config: {mode: files, realm: r, out: ./out}}
`)
	writeFile(t, dead, `
source: {dump: "${env:DUMP}"}
target:
  plugin: keycloak
  config: {url: "http://${env:HOST}", realm: "${env:REALM}", client_id: c, client_secret: "${env:MARKER}"}
`)
	writeFile(t, filepath.Join(dir, "live.yaml"), `
source: {url: "${env:DATABASE}"}
target: {plugin: keycloak, config: {mode: files, realm: r, out: ./out}}
`)
	mapped := filepath.Join(dir, "mapped.yaml")
	writeFile(t, mapped, `
source: {dump: "${env:DUMP}"}
target: {plugin: keycloak, config: {mode: files, realm: m, out: ./mapped}}
mapping:
  set:
    enabled: {cel: 'int(email + phone) > 0'}
    metadata.a: {lookup: email, table: {x: y}}
`)
	a0files, a0dead := filepath.Join(dir, "a0files.yaml"), filepath.Join(dir, "a0dead.yaml")
	writeFile(t, a0files, `
source: {dump: "${env:DUMP}"}
target: {plugin: auth0, config: {mode: files, out: ./auth0}}
`)
	writeFile(t, a0dead, `
source: {dump: "${env:DUMP}"}
target:
  plugin: auth0
  config: {domain: nobody.test, api_url: "http://127.0.0.1:1", connection: c, client_id: c, client_secret: "${env:MARKER}"}
`)
	const marker = "canary-3c9a-client-secret"
	secrets = append(secrets, marker, "canary-77-database-password")
	env := []string{"HOST=127.0.0.1:1", "REALM=r", "DUMP=" + dump, "MARKER=" + marker, "DATABASE=postgres://u:canary-77-database-password@127.0.0.1:1/d"}
	commands := [][]string{
		{"run", "--config", good},
		{"run", "--config", good, "--json"},
		{"run", "--config", good, "--dry-run"},
		{"run", "--config", good, "--dry-run", "--json"},
		{"plan", "--config", good, "--detail", "users"},
		{"plan", "--config", good, "--detail", "full", "--out", filepath.Join(dir, "plan.json")},
		{"plan", "--config", good, "--html", filepath.Join(dir, "plan.html")},
		{"run", "--config", good, "--plan", filepath.Join(dir, "plan.json")},
		{"inspect", "--config", good},
		{"inspect", "--config", good, "--json"},
		{"export", "--config", good},
		{"check", "--config", good},
		{"check", "--config", good, "--json"},
		{"run", "--config", a0files, "--json"},
		{"plan", "--config", a0files, "--detail", "full"},
		{"run", "--config", a0dead},
		{"check", "--config", a0dead, "--json"},
		{"run", "--config", dead},
		{"run", "--config", dead, "--json"},
		{"check", "--config", dead},
		{"undo", "--config", dead},
		{"run", "--config", filepath.Join(dir, "live.yaml")},
		{"plugin", "describe", "keycloak"},
		{"keys", "export", "--config", good},
		{"keys", "export", "--config", good, "--format", "pem"},
		{"keys", "export", "--config", good, "--private"},
		{"sessions", "stats", "--config", good},
		{"sessions", "revoke", "--config", good, "--all", "--yes"},
		{"bridge", "--config", good},
		{"bridge", "--config", good, "--print-sql", "reader"},
		{"idmap", "--config", good},
		{"idmap", "--config", good, "--format", "ndjson"},
		{"idmap", "--config", good, "--format", "sql", "--partial", "--update", "t.c"},
		{"rejects", "--config", good, "--recipient", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"},
		{"report", "--config", good},
		{"report", "--config", good, "--json"},
		{"report", "--config", good, "--format", "html"},
		{"rejects", "--config", dead},
		{"run", "--config", mapped, "--json"},
		{"run", "--config", mapped},
		{"rejects", "--config", mapped},
		{"report", "--config", mapped, "--format", "html"},
		{"explain", "1b2a0580-f7aa-4695-be2a-6e251115326e", "--config", good},
		{"explain", "1b2a0580-f7aa-4695-be2a-6e251115326e", "--config", good, "--json"},
		{"explain", "98638fc7-4703-4661-b98a-600c6d1cedcf", "--config", dead},
	}
	for _, args := range commands {
		r := runStetl(t, env, args...)
		if r.stdout == "" && r.stderr == "" {
			t.Errorf("%v says nothing", args)
		}
		if slices.Contains(impersonal, args[0]) {
			for _, person := range persons {
				if strings.Contains(r.stdout+r.stderr, person) {
					t.Errorf("%v: %q is in its output", args, person)
				}
			}
		}
		for _, secret := range secrets {
			if strings.Contains(r.stdout, secret) {
				t.Errorf("%v: a secret is on standard output", args)
			}
			if strings.Contains(r.stderr, secret) {
				t.Errorf("%v: a secret is on standard error", args)
			}
		}
	}
	// Nor do they stay in what outlives a run: its journal and its plan.
	kept := []string{filepath.Join(dir, "plan.json")}
	journals, err := filepath.Glob(filepath.Join(dir, ".stetl", "*"))
	if err != nil || len(journals) == 0 {
		t.Fatalf("no journal: %v", err)
	}
	for _, path := range append(kept, journals...) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range append(persons, secrets...) {
			if strings.Contains(string(content), secret) {
				t.Errorf("%s: something secret or personal is in it", filepath.Base(path))
			}
		}
	}
	// A page about a plan has personal data, and no secret.
	page, err := os.ReadFile(filepath.Join(dir, "plan.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		if strings.Contains(string(page), secret) {
			t.Errorf("%q is in the page about a plan", secret)
		}
	}
	// The markers are the right ones: import files are full of them.
	files, err := os.ReadFile(filepath.Join(dir, "out", "r-users-0.json"))
	if err != nil {
		t.Fatal(err)
	}
	carried := 0
	for _, secret := range secrets {
		if strings.Contains(string(files), secret) {
			carried++
		}
	}
	if carried < 70 {
		t.Errorf("only %d of the markers are in the import file: they are not what is carried", carried)
	}
}
