package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
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

func TestDiagnostics(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/diagnostics/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	schema := pluginSchema(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, list := problems(string(text), schema)
			got := render(t, list)
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("diagnostics differ (-want +got), rerun with -update if intended:\n%s", d)
			}
			for _, secret := range []string{canary, "hunter2", "12345", "aHVudGVyMg"} {
				if strings.Contains(got, secret) {
					t.Errorf("a secret is shown:\n%s", got)
				}
			}
		})
	}
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
	ignore := cmpopts.IgnoreUnexported(Config{}, Target{})
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

func TestReferences(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, yaml, want string }{
		{"whole", `${env:CLIENT_SECRET}`, canary},
		{"embedded", `Bearer ${env:CLIENT_SECRET}!`, "Bearer " + canary + "!"},
		{"two", `${env:PORT}${env:PORT}`, "84438443"},
		{"escaped", `$${env:PORT}`, "${env:PORT}"},
		{"escaped and real", `$${${env:PORT}}`, "${8443}"},
		{"lone dollars", `"$ $$ $PORT $}"`, "$ $$ $PORT $}"},
		{"single quotes expand too", `'${env:PORT}'`, "8443"},
		{"block scalar", "|\n      a ${env:PORT}\n", "a 8443\n"},
		{"a number stays text", `${env:PORT}`, "8443"},
		{"never parsed again", `${env:YAMLISH}`, "a: [b] # ${env:DB}\n"},
		{"one line end of a file is cut", `${file:signer.key}`, canary},
		{"CRLF too", `${file:token}`, canary},
		{"only one", `${file:two.txt}`, canary + "\n"},
		{"anchors expand as well", "&a ${env:PORT}", "8443"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := mustLoad(t, "source: {dump: a}\ntarget:\n  plugin: other\n  config:\n    v: "+tt.yaml+"\n")
			var got struct{ V string }
			if err := json.Unmarshal(cfg.Target.RevealJSON(), &got); err != nil {
				t.Fatal(err)
			}
			if got.V != tt.want {
				t.Errorf("got %q, want %q", got.V, tt.want)
			}
		})
	}
}

// YAML types arrive in the plugin as their JSON counterparts.
func TestScalars(t *testing.T) {
	t.Parallel()
	cfg := mustLoad(t, `
source: {dump: a}
target:
  plugin: other
  config: {s: x, i: 12, h: 0x1f, big: 18446744073709551615, f: 1.5, t: true, n: ~, q: "12", d: 2026-01-02, e: !!str 7, l: [1, [a]], on: on}
`)
	want := `{"big":18446744073709551615,"d":"2026-01-02","e":"7","f":1.5,"h":31,"i":12,"l":[1,["a"]],"n":null,"on":"on","q":"12","s":"x","t":true}`
	if d := cmp.Diff(want, string(cfg.Target.RevealJSON())); d != "" {
		t.Errorf("RevealJSON differs (-want +got):\n%s", d)
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	cfg := mustLoad(t, `
source: {dump: a}
target:
  plugin: other
  config:
    base: &base {a: 1, b: 1}
    more: &more {b: 2, c: 2}
    one: {<<: *base, a: 0}
    two: {<<: [*more, *base]}
`)
	want := `{"base":{"a":1,"b":1},"more":{"b":2,"c":2},"one":{"a":0,"b":1},"two":{"a":1,"b":2,"c":2}}`
	if d := cmp.Diff(want, string(cfg.Target.RevealJSON())); d != "" {
		t.Errorf("RevealJSON differs (-want +got):\n%s", d)
	}
}

func TestConvertByType(t *testing.T) {
	t.Parallel()
	tests := []struct{ schema, env, want string }{
		{`{"type":"integer"}`, "8443", `8443`},
		{`{"type":"integer"}`, "-1", `-1`},
		{`{"type":"number"}`, "1.5", `1.5`},
		{`{"type":["integer","null"]}`, "7", `7`},
		{`{"type":"boolean"}`, "true", `true`},
		{`{"type":"boolean"}`, "false", `false`},
		{`{"$ref":"#/$defs/n"}`, "3", `3`},
		{`{"anyOf":[{"type":"integer"},{"type":"boolean"}]}`, "true", `true`},
		{`{"type":"string"}`, "8443", `"8443"`},
		{`{"type":["integer","string"]}`, "8443", `"8443"`},
		{`{}`, "8443", `"8443"`},
	}
	for _, tt := range tests {
		t.Run(tt.schema+" "+tt.env, func(t *testing.T) {
			t.Parallel()
			text := []byte("source: {dump: a}\ntarget: {plugin: p, config: {v: \"${env:V}\"}}\n")
			env := Env{
				Lookup:   func(string) (string, bool) { return tt.env, true },
				ReadFile: func(string) ([]byte, error) { return text, nil },
			}
			cfg, list := Load("c.yaml", env)
			list.Add(cfg.Target.Validate([]byte(`{"properties":{"v":` + tt.schema + `},"$defs":{"n":{"type":"integer"}}}`))...)
			if list.HasErrors() {
				t.Fatalf("unexpected problems:\n%s", render(t, list))
			}
			if got, want := string(cfg.Target.RevealJSON()), `{"v":`+tt.want+`}`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
	// What is not a number in plain decimal notation stays text, and the schema refuses it.
	for _, v := range []string{"", "1e999", "Inf", "NaN", "12abc", "yes", "True"} {
		for _, typ := range []string{"integer", "boolean"} {
			text := []byte("source: {dump: a}\ntarget: {plugin: p, config: {v: \"${env:V}\"}}\n")
			cfg, list := Load("c.yaml", Env{
				Lookup:   func(string) (string, bool) { return v, true },
				ReadFile: func(string) ([]byte, error) { return text, nil },
			})
			list.Add(cfg.Target.Validate([]byte(`{"properties":{"v":{"type":"` + typ + `"}}}`))...)
			if len(list) != 1 || list[0].Code != diag.ConfigWrongType {
				t.Errorf("%q as %s: want one wrong_type, got:\n%s", v, typ, render(t, list))
			}
		}
	}
}

func TestClearPassword(t *testing.T) {
	t.Parallel()
	tests := []struct {
		dsn  string
		want bool
	}{
		{"postgres://db/supertokens", false},
		{"postgres://app@db/supertokens?sslmode=require", false},
		{"postgres://app:@db/supertokens", false},
		{"postgres://db:5432/supertokens?application_name=a@b", false},
		{"host=db user=app", false},
		{"postgres://app@db", false},
		{"postgres://app@/supertokens?host=/run/postgresql", false},
		{"postgres:///supertokens?host=/run/postgresql", false},
		{"postgres://app:${env:PW}@db/x", false},
		{"postgres://${env:U}:${file:p}@db/x", false},
		{"host=db password=${env:PW}", false},
		{"", false},
		{"postgres://app:pw@db/supertokens", true},
		{"postgres://app:p/w@db/supertokens", true},
		{"postgres://app:12/w@db/supertokens", true},
		{"postgres://app:12#w@db/supertokens", true},
		{"postgres://app:p%w@db/supertokens", true},
		{"postgres://app:p?w@db/supertokens", true},
		{"postgres://app:12?w@db/supertokens", true},
		{"postgres://app:pw${env:REST}@db/x", true},
		{"postgres://db/supertokens?user=app&password=pw", true},
		{"host=db password=pw user=app", true},
		{"host=db PASSWORD = 'p w'", true},
		{"sslpassword=pw", true},
		{"jdbc:postgresql://db/supertokens?user=app", false},
		{"jdbc:postgresql://db/supertokens?user=app&password=pw", true},
		{"jdbc:postgresql://app:pw@db/supertokens", true},
		{"postgresql+psycopg2://app:pw@db/supertokens", true},
		{"DATABASE_URL=postgres://app:pw@db/supertokens", true},
		{"psql 'postgres://app:pw@db/supertokens'", true},
		{"Host=db;Username=app", false},
		{"Host=db;Password=pw", true},
		{"Host=db; Pwd = pw", true},
		{"Host=db;SSL Password=pw", true},
		{"Host=db;Password=${env:PW};Database=x", false},
		{"Host=db;Passfile=x;Database=x", false},
	}
	for _, tt := range tests {
		if got := clearPassword(tt.dsn); got != tt.want {
			t.Errorf("clearPassword(%q) = %v, want %v", tt.dsn, got, tt.want)
		}
	}
}

// No rendering of anything shows a secret, and none a value that came through a reference
// before a schema has said that it is none.
func TestSecretsNeverPrint(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/diagnostics/ok.yaml")
	if err != nil {
		t.Fatal(err)
	}
	loaded, _ := Load("stetl.yaml", testEnv("stetl.yaml", text))
	for name, cfg := range map[string]*Config{"loaded": loaded, "validated": mustLoad(t, string(text))} {
		var renderings []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			for _, v := range []any{cfg, *cfg, cfg.Source, cfg.Target, &cfg.Target} {
				renderings = append(renderings, fmt.Sprintf(verb, v))
			}
		}
		j, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "cfg", cfg, "target", cfg.Target)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "cfg", cfg, "target", cfg.Target)
		renderings = append(renderings, string(j), log.String())
		for _, r := range renderings {
			if strings.Contains(r, canary) || strings.Contains(r, fmt.Sprintf("%x", canary)) || name == "loaded" && strings.Contains(r, "8443") {
				t.Errorf("%s: a referenced value is shown: %s", name, r)
			}
		}
		if name == "validated" {
			want := `{"path":"stetl.yaml","source":{"url":"‹secret›","schema":"public","table_prefix":"auth","tables":{"users":"people"},"app":"public","migration_mode":"MIGRATED",` +
				`"firebase_signer_key":"‹secret›"},"target":{"plugin":"keycloak","config":{"auth":{"token":"‹secret›","type":"bearer"},"client_id":"stetl",` +
				`"client_secret":"‹secret›","identity_providers":{"google":"google"},"port":8443,"realm":"customers","url":"https://id.example.com",` +
				`"verify":true}},"journal":"state"}`
			if d := cmp.Diff(want, string(j)); d != "" {
				t.Errorf("JSON differs (-want +got):\n%s", d)
			}
		}
	}
}

// What is shown is decided by the schema, and not by where a value came from.
func TestShownByTheSchema(t *testing.T) {
	t.Parallel()
	const schema = `{"additionalProperties":false,"properties":{
		"v":{"type":"string"},"secret":{"type":"string","writeOnly":true},"api_key":{"type":"string"},
		"in":{"properties":{"list":{"type":"array","items":{"type":"string"}}}}}}`
	for _, tt := range []struct{ name, field, env, want string }{
		{"a name", `v: "${env:V}"`, "customers", `{"v":"customers"}`},
		{"a part", `v: "https://${env:V}/auth"`, "sso.example.com", `{"v":"https://sso.example.com/auth"}`},
		{"from a file", `v: "${file:V}"`, "customers\n", `{"v":"customers"}`},
		{"in a list", `in: {list: [a, "${env:V}"]}`, "b", `{"in":{"list":["a","b"]}}`},
		{"a secret", `secret: "${env:V}"`, "pw", `{"secret":"‹secret›"}`},
		{"a secret that nobody has marked", `api_key: "${env:V}"`, "pw", `{"api_key":"‹secret›"}`},
		{"a password in an address", `v: "${env:V}"`, "postgres://app:pw@db:5432/users", `{"v":"postgres://db:5432/users"}`},
		{"a password of an address", `v: "postgres://app:${env:V}@db/users"`, "pw", `{"v":"postgres://db/users"}`},
		{"a literal password", `v: "postgres://app:pw@db/users"`, "", `{"v":"postgres://db/users"}`},
		{"a token before the host", `v: "${env:V}"`, "https://token@host/path", `{"v":"https://host/path"}`},
		{"parameters", `v: "${env:V}"`, "https://host/path?key=pw#pw", `{"v":"https://host/path"}`},
		{"the other form", `v: "${env:V}"`, "host=db password=pw", `{"v":"‹secret›"}`},
		{"unescaped", `v: "${env:V}"`, "postgres://app:p/w@db/x", `{"v":"‹secret›"}`},
		{"unescaped and parsed", `v: "${env:V}"`, "postgres://app:12#w@db/x", `{"v":"‹secret›"}`},
		{"wrong elsewhere", `{v: "${env:V}", unknown: 1}`, "pw", `{"unknown":1,"v":"‹secret›"}`},
	} {
		text := []byte("source: {dump: a}\ntarget:\n  plugin: p\n  config:\n    " + tt.field + "\n")
		cfg, _ := Load("c.yaml", Env{
			Lookup: func(string) (string, bool) { return tt.env, true },
			ReadFile: func(path string) ([]byte, error) {
				if path != "c.yaml" {
					return []byte(tt.env), nil
				}
				return text, nil
			},
		})
		cfg.Target.Validate([]byte(schema))
		var got struct{ Config json.RawMessage }
		raw, err := json.Marshal(cfg.Target)
		if err := errors.Join(err, json.Unmarshal(raw, &got)); err != nil {
			t.Fatal(err)
		}
		if string(got.Config) != tt.want {
			t.Errorf("%s: shows %s, want %s", tt.name, got.Config, tt.want)
		}
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	cfg := mustLoad(t, `source:
  dump: a.sql
target:
  plugin: keycloak
  config:
    mode: files
    realm: customers
    out: o
    auth: {type: bearer, token: "${env:CLIENT_SECRET}"}
    scopes: [ab, cd]
`)
	got := render(t, cfg.Target.Locate(diag.List{
		{Code: "keycloak.refused", Summary: "token " + canary + " refused", Detail: canary, Hint: canary, Path: "/auth/token"},
		{Code: "keycloak.no_realm", Summary: "no such realm", Path: "/realm"},
		{Code: "keycloak.scope", Summary: "no such scope", Path: "/scopes/1"},
		{Code: "keycloak.lost", Summary: "nearest", Path: "/auth/nothing/here"},
		{Code: "keycloak.down", Summary: "no answer"},
	})) + render(t, cfg.Locate(diag.List{{Code: "source.dump", Summary: "not a dump", Path: "/source/dump"}}))
	want := `stetl.yaml:9:33: error[keycloak.refused]: token ‹secret› refused
    9 |     auth: {type: bearer, token: "${env:CLIENT_SECRET}"}
      |                                 ^^^^^^^^^^^^^^^^^^^^^^ ‹secret›
      = ‹secret›
stetl.yaml:7:12: error[keycloak.no_realm]: no such realm
    7 |     realm: customers
      |            ^^^^^^^^^
stetl.yaml:10:18: error[keycloak.scope]: no such scope
   10 |     scopes: [ab, cd]
      |                  ^^
stetl.yaml:9:5: error[keycloak.lost]: nearest
    9 |     auth: {type: bearer, token: "${env:CLIENT_SECRET}"}
      |     ^^^^
error[keycloak.down]: no answer
stetl.yaml:2:9: error[source.dump]: not a dump
    2 |   dump: a.sql
      |         ^^^^^
`
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("differs (-want +got):\n%s", d)
	}
}

// A plugin may repeat any of several secrets, one of which may start another.
func TestLocateMasksWholeSecrets(t *testing.T) {
	t.Parallel()
	text := []byte(`{source: {dump: a}, target: {plugin: p, config: {a: "${env:A}", b: "${env:AB}"}}}`)
	vars := map[string]string{"A": "once", "AB": "once-and-two"}
	cfg, list := Load("c.yaml", Env{
		Lookup:   func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		ReadFile: func(string) ([]byte, error) { return text, nil },
	})
	list.Add(cfg.Target.Validate([]byte(`{"additionalProperties":{"writeOnly":true}}`))...)
	if list.HasErrors() {
		t.Fatalf("unexpected problems:\n%s", render(t, list))
	}
	got := cfg.Target.Locate(diag.List{{Code: "p.x", Summary: "once, once-and-two"}})[0].Summary
	if want := "‹secret›, ‹secret›"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Validate keeps quiet where Load could not find a configuration at all.
func TestBrokenFile(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"source: [", "- a", "target: 5", "target: {config: {}}\n--- 1"} {
		cfg, list := Load("c.yaml", testEnv("c.yaml", []byte(text)))
		if !list.HasErrors() {
			t.Errorf("%q: no error", text)
		}
		if got := cfg.CheckTables(nil); got != nil {
			t.Errorf("%q: CheckTables: %v", text, got)
		}
		if got := string(cfg.Target.RevealJSON()); got != "{}" {
			t.Errorf("%q: RevealJSON = %s", text, got)
		}
		_ = cfg.Locate(diag.List{{Path: "/source"}})
		_ = cfg.Target.Locate(diag.List{{Path: "/x"}})
	}
	var zero Target
	if zero.Validate([]byte(`{}`)) != nil || string(zero.RevealJSON()) != "{}" {
		t.Error("the zero Target is not harmless")
	}
}

func TestPluginSchemaIsBroken(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{
		``, `{`, `{"type":"nonsense"}`,
		`{"$ref":"file:///etc/passwd"}`, `{"$ref":"https://example.com/schema.json"}`, `{"$schema":"https://example.com/meta"}`,
	} {
		cfg, _ := Load("c.yaml", testEnv("c.yaml", []byte("source: {dump: a}\ntarget: {plugin: p}\n")))
		list := cfg.Target.Validate([]byte(schema))
		if len(list) != 1 || list[0].Code != diag.ConfigPluginSchema || list[0].Pos.Line != 2 {
			t.Errorf("%s: got:\n%s", schema, render(t, list))
		}
	}
}

// Rules that the example plugin does not use.
func TestSchemaRules(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, schema, config, want string }{
		{"exclusive minimum", `{"properties":{"v":{"exclusiveMinimum":1.5}}}`, `{v: 1}`, "target.config.v must be more than 1.5"},
		{"exclusive maximum", `{"properties":{"v":{"exclusiveMaximum":1}}}`, `{v: 1}`, "target.config.v must be less than 1"},
		{"minimum", `{"properties":{"v":{"minimum":2}}}`, `{v: 1}`, "target.config.v must be at least 2"},
		{"multiple", `{"properties":{"v":{"multipleOf":2}}}`, `{v: 1}`, "target.config.v must be a multiple of 2"},
		{"max length", `{"properties":{"v":{"maxLength":2}}}`, `{v: abc}`, "target.config.v must have at most 2 characters"},
		{"min items", `{"properties":{"v":{"minItems":2}}}`, `{v: [1]}`, "target.config.v must have at least 2 items"},
		{"max items", `{"properties":{"v":{"maxItems":0}}}`, `{v: [1]}`, "target.config.v must have at most 0 items"},
		{"min properties", `{"minProperties":2}`, `{v: 1}`, "target.config must have at least 2 fields"},
		{"max properties", `{"maxProperties":0}`, `{v: 1}`, "target.config must have at most 0 fields"},
		{"contains", `{"properties":{"v":{"contains":{"const":1}}}}`, `{v: [2]}`, `target.config.v breaks the rule "contains" of its schema`},
		{"const", `{"properties":{"v":{"const":{"a":1}}}}`, `{v: 1}`, `"1" is not allowed for target.config.v`},
		{"dependent", `{"dependentRequired":{"a":["b"]}}`, `{a: 1}`, `target.config needs "b" when "a" is given`},
		{"property names", `{"propertyNames":{"pattern":"^x"}}`, `{a: 1}`, `"a" is not a possible name in target.config`},
		{"two forms", `{"oneOf":[{"required":["a"]},{"required":["b"]}]}`, `{a: 1, b: 1}`, "target.config fits more than one of the forms it may have; exactly one is allowed"},
		{"no form", `{"anyOf":[{"required":["a"]},{"required":["b"]}]}`, `{}`, "target.config fits none of the forms it may have"},
		{"types merged", `{"properties":{"v":{"anyOf":[{"type":"integer"},{"type":"null"}]}}}`, `{v: x}`, "target.config.v must be an integer or empty, not a string"},
		{"values merged", `{"properties":{"v":{"oneOf":[{"const":"a"},{"enum":["b","c"]},{"const":"a"}]}}}`, `{v: d}`, `"d" is not allowed for target.config.v`},
		{"type or value", `{"properties":{"v":{"anyOf":[{"type":"integer"},{"const":"auto"}]}}}`, `{v: atuo}`, "target.config.v fits none of the forms it may have"},
		{"combined", `{"properties":{"v":{"anyOf":[{"allOf":[{"type":"integer"}]},{"allOf":[{"type":"string"},{"minLength":3}]}]}}}`, `{v: x}`, "target.config.v must have at least 3 characters"},
		{"draft 7 dependencies", `{"$schema":"http://json-schema.org/draft-07/schema#","dependencies":{"a":["b"],"b":{"properties":{"c":{"writeOnly":true}}}}}`, `{a: 1, c: "${env:PORT}"}`, `target.config needs "b" when "a" is given`},
		{"dependent schemas", `{"dependentSchemas":{"a":{"properties":{"s":{"writeOnly":true}}}}}`, `{a: 1, s: hunter2}`, "target.config.s is a secret and stands here as clear text"},
		{"not at the root", `{"not":{"required":["a"]}}`, `{a: 1}`, "target.config is not allowed in this combination"},
		{"false additional", `{"additionalProperties":{"not":{}},"properties":{"realm":{}}}`, `{relam: 1}`, `"relam" is not a field of target.config`},
		{"unevaluated", `{"allOf":[{"properties":{"realm":{}}}],"unevaluatedProperties":false}`, `{relam: 1}`, `"relam" is not a field of target.config`},
		{"unevaluated only because it is wrong", `{"allOf":[{"properties":{"v":{"type":"string"}}}],"unevaluatedProperties":false}`, `{v: 1}`, "target.config.v must be a string, not a number"},
		{"nested in a list", `{"properties":{"l":{"items":{"additionalProperties":false,"properties":{"name":{}}}}}}`, `{l: [{nam: 1}]}`, `"nam" is not a field of target.config.l[0]`},
		{"names are no formats", `{"properties":{"a%d":{"minimum":2}}}`, `{a%d: 1}`, `target.config["a%d"] must be at least 2`},
		{"odd names", `{"properties":{"a b/~":{"type":"string"}}}`, `{"a b/~": 1}`, `target.config["a b/~"] must be a string, not a number`},
		{"draft 7", `{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"s":{"type":"string"}},"properties":{"v":{"items":[{"$ref":"#/definitions/s"}],"additionalItems":false}}}`, `{v: [1]}`, "target.config.v[0] must be a string, not a number"},
		{"false schema", `false`, `{a: 1}`, "target.config is not allowed in this combination"},
		{"secrets below", `{"properties":{"m":{"writeOnly":true}}}`, `{m: {a: [{b: hunter2}]}}`, "target.config.m.a[0].b is a secret and stands here as clear text"},
		{"a secret in one form is one in all", `{"properties":{"m":{"anyOf":[{"type":"string"},{"writeOnly":true,"type":"integer"}]}}}`, `{m: hunter2}`, "target.config.m is a secret and stands here as clear text"},
		{"secrets by pattern", `{"patternProperties":{"^s":{"writeOnly":true}},"additionalProperties":{"writeOnly":true}}`, `{s: hunter2}`, "target.config.s is a secret and stands here as clear text"},
		{"prefix items", `{"properties":{"l":{"prefixItems":[{"writeOnly":true}],"items":{"type":"string"}}}}`, `{l: [hunter2, b]}`, "target.config.l[0] is a secret and stands here as clear text"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg, list := Load("c.yaml", testEnv("c.yaml", []byte("source: {dump: a}\ntarget:\n  plugin: p\n  config: "+tt.config+"\n")))
			list.Add(cfg.Target.Validate([]byte(tt.schema))...)
			if len(list) != 1 || list[0].Summary != tt.want || list[0].Pos.Line < 3 {
				t.Errorf("want %q, got:\n%s", tt.want, render(t, list))
			}
			if strings.Contains(render(t, list), "hunter2") {
				t.Errorf("a secret is shown:\n%s", render(t, list))
			}
		})
	}
}

func TestValidateTwice(t *testing.T) {
	t.Parallel()
	cfg, _ := Load("c.yaml", testEnv("c.yaml", []byte("source: {dump: a}\ntarget: {plugin: p, config: {v: \"${env:PORT}\"}}\n")))
	for _, tt := range []struct{ schema, want string }{
		{`{"properties":{"v":{"type":"integer"}}}`, `{"v":8443}`},
		{`{"properties":{"v":{"type":"string"}}}`, `{"v":"8443"}`},
	} {
		if list := cfg.Target.Validate([]byte(tt.schema)); list.HasErrors() {
			t.Errorf("%s: %s", tt.schema, render(t, list))
		}
		if got := string(cfg.Target.RevealJSON()); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// Above a certain size the parser's own line has to do.
func TestSyntaxErrorInLongFile(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("# comment\n", 5000) + "a: [1\nb: }\n"
	_, list := Load("c.yaml", testEnv("c.yaml", []byte(text)))
	if len(list) != 1 || list[0].Code != diag.ConfigSyntax || list[0].Pos.Line < 5000 || list[0].Pos.Line > 5003 {
		t.Errorf("got:\n%s", render(t, list))
	}
}

// A machine-written line is reported without its text.
func TestLongLine(t *testing.T) {
	t.Parallel()
	text := "{source: {dump: a}, target: {plugin: p}, x: \"" + strings.Repeat("x", maxExcerpt) + "\"}"
	_, list := Load("c.yaml", testEnv("c.yaml", []byte(text)))
	if len(list) != 1 || list[0].Snippet != (diag.Snippet{}) || list[0].Pos.Col != 42 {
		t.Errorf("got:\n%s", render(t, list))
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
