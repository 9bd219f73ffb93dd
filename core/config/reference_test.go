package config

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
)

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
