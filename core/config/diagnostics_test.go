package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
)

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
		{"two forms", `{"oneOf":[{"required":["a"]},{"required":["b"]}]}`, `{a: 1, b: 1}`, "target.config has more than one of the allowed forms; exactly one is needed"},
		{"no form", `{"anyOf":[{"required":["a"]},{"required":["b"]}]}`, `{}`, "target.config has none of the allowed forms"},
		{"types merged", `{"properties":{"v":{"anyOf":[{"type":"integer"},{"type":"null"}]}}}`, `{v: x}`, "target.config.v must be an integer or empty, not a string"},
		{"values merged", `{"properties":{"v":{"oneOf":[{"const":"a"},{"enum":["b","c"]},{"const":"a"}]}}}`, `{v: d}`, `"d" is not allowed for target.config.v`},
		{"type or value", `{"properties":{"v":{"anyOf":[{"type":"integer"},{"const":"auto"}]}}}`, `{v: atuo}`, "target.config.v has none of the allowed forms"},
		{"combined", `{"properties":{"v":{"anyOf":[{"allOf":[{"type":"integer"}]},{"allOf":[{"type":"string"},{"minLength":3}]}]}}}`, `{v: x}`, "target.config.v must have at least 3 characters"},
		{"draft 7 dependencies", `{"$schema":"http://json-schema.org/draft-07/schema#","dependencies":{"a":["b"],"b":{"properties":{"c":{"writeOnly":true}}}}}`, `{a: 1, c: "${env:PORT}"}`, `target.config needs "b" when "a" is given`},
		{"dependent schemas", `{"dependentSchemas":{"a":{"properties":{"s":{"writeOnly":true}}}}}`, `{a: 1, s: hunter2}`, "target.config.s is a secret and must not be here in clear text"},
		{"not at the root", `{"not":{"required":["a"]}}`, `{a: 1}`, "target.config is not allowed in this combination"},
		{"false additional", `{"additionalProperties":{"not":{}},"properties":{"realm":{}}}`, `{relam: 1}`, `"relam" is not a field of target.config`},
		{"unevaluated", `{"allOf":[{"properties":{"realm":{}}}],"unevaluatedProperties":false}`, `{relam: 1}`, `"relam" is not a field of target.config`},
		{"unevaluated only because it is wrong", `{"allOf":[{"properties":{"v":{"type":"string"}}}],"unevaluatedProperties":false}`, `{v: 1}`, "target.config.v must be a string, not a number"},
		{"nested in a list", `{"properties":{"l":{"items":{"additionalProperties":false,"properties":{"name":{}}}}}}`, `{l: [{nam: 1}]}`, `"nam" is not a field of target.config.l[0]`},
		{"names are no formats", `{"properties":{"a%d":{"minimum":2}}}`, `{a%d: 1}`, `target.config["a%d"] must be at least 2`},
		{"odd names", `{"properties":{"a b/~":{"type":"string"}}}`, `{"a b/~": 1}`, `target.config["a b/~"] must be a string, not a number`},
		{"draft 7", `{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"s":{"type":"string"}},"properties":{"v":{"items":[{"$ref":"#/definitions/s"}],"additionalItems":false}}}`, `{v: [1]}`, "target.config.v[0] must be a string, not a number"},
		{"false schema", `false`, `{a: 1}`, "target.config is not allowed in this combination"},
		{"secrets below", `{"properties":{"m":{"writeOnly":true}}}`, `{m: {a: [{b: hunter2}]}}`, "target.config.m.a[0].b is a secret and must not be here in clear text"},
		{"a secret in one form is one in all", `{"properties":{"m":{"anyOf":[{"type":"string"},{"writeOnly":true,"type":"integer"}]}}}`, `{m: hunter2}`, "target.config.m is a secret and must not be here in clear text"},
		{"secrets by pattern", `{"patternProperties":{"^s":{"writeOnly":true}},"additionalProperties":{"writeOnly":true}}`, `{s: hunter2}`, "target.config.s is a secret and must not be here in clear text"},
		{"prefix items", `{"properties":{"l":{"prefixItems":[{"writeOnly":true}],"items":{"type":"string"}}}}`, `{l: [hunter2, b]}`, "target.config.l[0] is a secret and must not be here in clear text"},
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
