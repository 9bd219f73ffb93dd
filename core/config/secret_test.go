package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
)

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
		{"host=db password='${env:PW}'", false},
		{"host=db password='${env:PW}x'", true},
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
