package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/policy"
)

var update = flag.Bool("update", false, "rewrite the expected diagnostics")

// Values that come through references; none of them may ever be printed.
const (
	canary     = "cAnArY-7f3a"
	databaseIn = "postgres://app:cAnArY-7f3a@db/supertokens"
)

// testEnv is a world in memory; text is the configuration file itself.
func testEnv(path string, text []byte) Env {
	vars := map[string]string{
		"DB": databaseIn, "CLIENT_SECRET": canary, "HOST": canary, "PORT": "8443",
		"BIG_PORT": "70001", "VERIFY": "true", "EMPTY": "", "LATIN1": "\xe9", "YAMLISH": "a: [b] # ${env:DB}\n",
	}
	dir := filepath.Dir(path)
	files := map[string][]byte{
		path:                             text,
		filepath.Join(dir, "signer.key"): []byte(canary + "\n"),
		filepath.Join(dir, "token"):      []byte(canary + "\r\n"),
		filepath.Join(dir, "two.txt"):    []byte(canary + "\n\n"),
		filepath.Join(dir, "binary"):     {0xff, 0xfe},
	}
	return Env{
		Lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		ReadFile: func(path string) ([]byte, error) {
			if path == "/etc/locked" {
				return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
			}
			if b, ok := files[path]; ok {
				return b, nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
	}
}

func pluginSchema(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/plugin.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// problems loads text and validates it the way a command does.
func problems(text string, schema []byte) (*Config, diag.List) {
	cfg, list := Load("stetl.yaml", testEnv("stetl.yaml", []byte(text)))
	list.Add(cfg.CheckTables([]string{"users", "sessions"})...)
	if cfg.Target.Plugin == "keycloak" {
		list.Add(cfg.Target.Validate(schema)...)
	}
	list.Sort()
	return cfg, list
}

func render(t testing.TB, list diag.List) string {
	t.Helper()
	var b strings.Builder
	if err := diag.Write(&b, list, diag.Options{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func mustLoad(t *testing.T, text string) *Config {
	t.Helper()
	cfg, list := problems(text, pluginSchema(t))
	if list.HasErrors() {
		t.Fatalf("unexpected problems:\n%s", render(t, list))
	}
	return cfg
}

func TestLoad(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/diagnostics/ok.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg := mustLoad(t, string(text))
	want := &Config{
		Path: "stetl.yaml",
		Source: Source{
			URL:               canonical.NewSecret(databaseIn),
			Schema:            "public",
			TablePrefix:       new("auth"),
			Tables:            map[string]string{"users": "people"},
			App:               "public",
			MigrationMode:     "MIGRATED",
			FirebaseSignerKey: canonical.NewSecret(canary),
		},
		Target:  Target{Plugin: "keycloak"},
		Journal: "state",
	}
	ignore := cmpopts.IgnoreUnexported(Config{}, Target{}, Targets{})
	reveal := cmp.Transformer("reveal", canonical.Secret.Reveal)
	if d := cmp.Diff(want, cfg, ignore, reveal); d != "" {
		t.Errorf("Load differs (-want +got):\n%s", d)
	}
	wantJSON := `{"auth":{"token":"cAnArY-7f3a","type":"bearer"},"client_id":"stetl","client_secret":"cAnArY-7f3a",` +
		`"identity_providers":{"google":"google"},"port":8443,"realm":"customers","url":"https://id.example.com","verify":true}`
	if d := cmp.Diff(wantJSON, string(cfg.Target.RevealJSON())); d != "" {
		t.Errorf("RevealJSON differs (-want +got):\n%s", d)
	}

	wantPlain := `{"auth":{"type":"bearer"},"client_id":"stetl",` +
		`"identity_providers":{"google":"google"},"port":8443,"realm":"customers","url":"https://id.example.com","verify":true}`
	if d := cmp.Diff(wantPlain, string(cfg.Target.PlainJSON())); d != "" {
		t.Errorf("PlainJSON differs (-want +got):\n%s", d)
	}
}

func TestLoadDefaultsAndPaths(t *testing.T) {
	t.Parallel()
	const path = "/etc/stetl/keycloak.yaml"
	tests := []struct {
		name, text          string
		wantDump, wantState string
	}{
		{"defaults", "source: {dump: a.sql}\ntarget: {plugin: p}", "/etc/stetl/a.sql", "/etc/stetl/.stetl"},
		{"null is absent", "source: {dump: a.sql, app: }\ntarget: {plugin: p, config: }\njournal:", "/etc/stetl/a.sql", "/etc/stetl/.stetl"},
		{"relative", "source: {dump: ../a.sql}\ntarget: {plugin: p}\njournal: ./j", "/etc/a.sql", "/etc/stetl/j"},
		{"absolute", "source: {dump: /a.sql}\ntarget: {plugin: p}\njournal: /var/j", "/a.sql", "/var/j"},
		{"by reference", "source: {dump: \"${file:token}.sql\"}\ntarget: {plugin: p}", "/etc/stetl/" + canary + ".sql", "/etc/stetl/.stetl"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg, list := Load(path, testEnv(path, []byte(tt.text)))
			if list.HasErrors() {
				t.Fatalf("unexpected problems:\n%s", render(t, list))
			}
			if cfg.Source.Dump != tt.wantDump || cfg.Journal != tt.wantState {
				t.Errorf("dump %q, journal %q; want %q, %q", cfg.Source.Dump, cfg.Journal, tt.wantDump, tt.wantState)
			}
			if cfg.Source.Schema != "" || cfg.Source.TablePrefix != nil || cfg.Source.App != "" || !cfg.Source.URL.IsZero() {
				t.Errorf("want empty defaults, got %+v", cfg.Source)
			}
		})
	}
}

func TestEmptyTablePrefix(t *testing.T) {
	t.Parallel()
	cfg := mustLoad(t, "source: {dump: a, table_prefix: ''}\ntarget: {plugin: p}")
	if p := cfg.Source.TablePrefix; p == nil || *p != "" {
		t.Errorf("want a prefix that is empty on purpose, got %v", p)
	}
}

// The default Env reads the real environment and disk.
func TestLoadRealEnv(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "stetl.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("STETL_TEST_URL", databaseIn)
	write("signer.key", canary+"\n")
	write("stetl.yaml", "source:\n  url: ${env:STETL_TEST_URL}\n  firebase_signer_key: ${file:signer.key}\ntarget: {plugin: p}\n")
	cfg, list := Load(path, Env{})
	if list.HasErrors() {
		t.Fatalf("unexpected problems:\n%s", render(t, list))
	}
	if cfg.Source.URL.Reveal() != databaseIn || cfg.Source.FirebaseSignerKey.Reveal() != canary {
		t.Error("references were not expanded")
	}

	write("signer.key", strings.Repeat("x", maxBytes+1))
	if _, list = Load(path, Env{}); !strings.Contains(render(t, list), "larger than 1 MiB") {
		t.Errorf("want a complaint about size, got:\n%s", render(t, list))
	}
	for name, path := range map[string]string{"does not exist": filepath.Join(dir, "none.yaml"), "cannot be read: is a directory": dir} {
		if _, list = Load(path, Env{}); len(list) != 1 || list[0].Code != diag.ConfigUnreadable || !strings.Contains(list[0].Summary, name) {
			t.Errorf("Load(%s): want %q, got:\n%s", path, name, render(t, list))
		}
	}
	write("stetl.yaml", "# "+strings.Repeat("x", maxBytes))
	if _, list = Load(path, Env{}); !list.HasErrors() {
		t.Error("a file above the limit was accepted")
	}
}

func TestPoliciesAndLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "c.yaml")
	text := `
source: {dump: d.sql}
target: {plugin: keycloak}
policies: {skip: [load.id_invalid], existing: adopt, drift: overwrite, canary: false}
limits: {updates: 5, resets: 2.5%, adoptions: 0, mails: 1%, failures: 10, window: 50}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, problems := Load(path, Env{})
	if len(problems) > 0 {
		t.Fatal(problems.Err())
	}
	wantPolicies := policy.Policies{Skip: []diag.Code{"load.id_invalid"}, Adopt: true, OverwriteDrift: true, Canary: policy.CanaryOff}
	if d := cmp.Diff(wantPolicies, c.Policies); d != "" {
		t.Errorf("policies (-want +got):\n%s", d)
	}
	wantLimits := policy.Limits{
		Updates: policy.Limit{Set: true, Count: 5}, Resets: policy.Limit{Set: true, Percent: 2.5},
		Adoptions: policy.Limit{Set: true}, Mails: policy.Limit{Set: true, Percent: 1}, Failures: policy.Limit{Set: true, Count: 10}, Window: 50,
	}
	if d := cmp.Diff(wantLimits, c.Limits); d != "" {
		t.Errorf("limits (-want +got):\n%s", d)
	}
	for _, bad := range []string{"{updates: -1}", `{updates: "many"}`, "{failures: 0}"} {
		if err := os.WriteFile(path, []byte("source: {dump: d.sql}\ntarget: {plugin: keycloak}\nlimits: "+bad+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, problems := Load(path, Env{}); len(problems) != 1 || problems[0].Pos.Line != 3 {
			t.Errorf("limits %s: %v", bad, problems)
		}
	}
}

// The address of a database is never the name of a folder, whichever form it has, and is not
// printed: a password would land in a path.
func TestJournalInADatabase(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	for _, address := range []string{
		"postgres://ada:" + secret + "@db/journal", "postgresql://db/journal?password=" + secret, "POSTGRES://ada:" + secret + "@db", "jdbc:postgresql://db/j?password=" + secret,
		"host=db dbname=journal password=" + secret, "password = '" + secret + "' user = ada", "psql 'postgres://ada:" + secret + "@db/journal'",
		"Host=db;Username=ada;Password=" + secret, "mysql://ada:" + secret + "@db/journal", "service=" + secret,
	} {
		env := Env{
			Lookup: func(name string) (string, bool) {
				return map[string]string{"URL": address, JournalKeyVariable: secret}[name], true
			},
			ReadFile: func(string) ([]byte, error) {
				return []byte("source: {dump: a.sql}\ntarget: {plugin: p}\njournal: ${env:URL}\n"), nil
			},
		}
		cfg, problems := Load("/etc/stetl.yaml", env)
		if problems.HasErrors() || cfg.Journal != "" || cfg.JournalURL.Reveal() != address || cfg.JournalKey.Reveal() != secret {
			t.Errorf("%s: folder %q, %v", address, cfg.Journal, problems)
		}
		shown, err := json.Marshal(cfg)
		if err != nil || strings.Contains(string(shown)+fmt.Sprintf("%+v", *cfg), secret) {
			t.Errorf("%s: the password is shown, or %v", address, err)
		}
	}
	for _, folder := range []string{"./.stetl", "/var/lib/host", "journal of user=", "C:\\journal", "postgres"} {
		if got := IsAddress(folder); got != (folder == "journal of user=") {
			t.Errorf("%q is an address: %v", folder, got)
		}
	}
}

// In a file, an address is as secret as that of the source.
func TestJournalAddressInTheFile(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"postgres://ada:hunter2@db/journal": false, "host=db password=hunter2": false, "postgres://ada@db/journal": true, "postgres://ada:${env:PW}@db/journal": true,
	} {
		cfg, problems := Load("stetl.yaml", Env{
			Lookup: func(string) (string, bool) { return "hunter3", true },
			ReadFile: func(string) ([]byte, error) {
				return []byte("source: {dump: a.sql}\ntarget: {plugin: p}\njournal: " + address + "\njournal_key: ${env:KEY}\n"), nil
			},
		})
		var b strings.Builder
		if err := diag.Write(&b, problems, diag.Options{}); err != nil {
			t.Fatal(err)
		}
		if problems.HasErrors() == ok || cfg.JournalURL.IsZero() || cfg.JournalKey.Reveal() != "hunter3" || strings.Contains(b.String(), "hunter") {
			t.Errorf("%s: %s", address, b.String())
		}
	}
}
