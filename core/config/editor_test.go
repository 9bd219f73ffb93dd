package config

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/stetl/stetl/core/policy"
)

func editorSchema(t *testing.T) []byte {
	t.Helper()
	b, err := Schema(map[string][]byte{"keycloak": pluginSchema(t), "open": []byte(`{"type":"object"}`)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSchemaGolden(t *testing.T) {
	t.Parallel()
	const golden = "testdata/editor.schema.json"
	got := editorSchema(t)
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("the schema differs (-want +got), rerun with -update if intended:\n%s", d)
	}
}

// An editor validates the file as written, before references are expanded.
func TestSchemaInEditor(t *testing.T) {
	t.Parallel()
	schema, err := compile(editorSchema(t))
	if err != nil {
		t.Fatal(err)
	}
	const head = "source: {dump: a}\ntarget:\n  plugin: keycloak\n  config: "
	tests := []struct {
		name, text string
		want       bool
	}{
		{"by reference", head + `{mode: live, url: "${env:URL}", realm: r, client_id: c, client_secret: "${env:S}", port: "${env:PORT}", verify: "${env:V}"}`, true},
		{"literal values", head + `{mode: live, url: "https://h", realm: r, client_id: c, client_secret: "${file:s}", port: 1, verify: true}`, true},
		{"alternative", head + `{mode: files, realm: r, out: o, auth: {type: bearer, token: "${env:T}"}}`, true},
		{"local reference of the plugin's schema", head + `{mode: files, realm: r, out: o, scopes: [a]}`, false},
		{"unknown plugin", "source: {dump: a}\ntarget: {plugin: mine, config: {any: thing}}", true},
		{"other plugin", "source: {dump: a}\ntarget: {plugin: open, config: {any: thing}}", true},
		{"literal secret", head + `{mode: live, url: "https://h", realm: r, client_id: c, client_secret: hunter2}`, false},
		{"literal secret in an alternative", head + `{mode: files, realm: r, out: o, auth: {type: bearer, token: hunter2}}`, false},
		{"wrong number", head + `{mode: files, realm: r, out: o, port: many}`, false},
		{"condition", head + `{mode: files, realm: r}`, false},
		{"unknown field", head + `{mode: files, realm: r, out: o, relam: x}`, false},
		{"url and dump", "source: {dump: a, url: b}\ntarget: {plugin: mine}", false},
		{"no source", "source: {}\ntarget: {plugin: mine}", false},
		{"literal signer key", "source: {dump: a, firebase_signer_key: abc}\ntarget: {plugin: mine}", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var v any
			if err := yaml.Unmarshal([]byte(tt.text), &v); err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(v); (err == nil) != tt.want {
				t.Errorf("valid: want %v, got %v", tt.want, err)
			}
		})
	}
}

func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	for _, broken := range []string{``, `{`, `true`, `[]`} {
		if _, err := Schema(map[string][]byte{"p": []byte(broken)}); err == nil || !strings.Contains(err.Error(), "plugin p") {
			t.Errorf("%q: want an error that names the plugin, got %v", broken, err)
		}
	}
	b, err := Schema(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b))); err != nil {
		t.Error(err)
	}
}

// The fields of the schema are the fields that Load fills.
func TestSchemaMatchesStructs(t *testing.T) {
	t.Parallel()
	var own struct {
		Properties map[string]struct {
			Properties map[string]any
		}
	}
	if err := json.Unmarshal(ownSchemaJSON, &own); err != nil {
		t.Fatal(err)
	}
	var want []string
	for f := range reflect.TypeFor[Source]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		want = append(want, name)
	}
	slices.Sort(want)
	if d := cmp.Diff(want, slices.Sorted(maps.Keys(own.Properties["source"].Properties))); d != "" {
		t.Errorf("source differs (-struct +schema):\n%s", d)
	}
	for section, typ := range map[string]reflect.Type{"policies": reflect.TypeFor[policy.Policies](), "limits": reflect.TypeFor[policy.Limits](), "rejects": reflect.TypeFor[Rejects](), "bridge": reflect.TypeFor[Bridge]()} {
		var want []string
		for f := range typ.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		if d := cmp.Diff(want, slices.Sorted(maps.Keys(own.Properties[section].Properties))); d != "" {
			t.Errorf("%s differs (-struct +schema):\n%s", section, d)
		}
	}
	if d := cmp.Diff([]string{"bridge", "journal", "journal_key", "limits", "mapping", "policies", "rejects", "source", "target", "targets"}, slices.Sorted(maps.Keys(own.Properties))); d != "" {
		t.Errorf("the top differs (-struct +schema):\n%s", d)
	}
}

// The schema knows every field that a section is decoded into: one that it lacks would be
// refused as unknown, however well the program handles it.
func TestSchemaKnowsEveryField(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	if err := json.Unmarshal(ownSchemaJSON, &schema); err != nil {
		t.Fatal(err)
	}
	var look func(path string, section map[string]any, typ reflect.Type)
	look = func(path string, section map[string]any, typ reflect.Type) {
		properties, _ := section["properties"].(map[string]any)
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			property, known := properties[name].(map[string]any)
			if !known && path == bridgeSection+".verify_email" {
				continue // it shares its type with reset, which has more
			}
			if !known {
				t.Errorf("%s.%s is not in schema.json", path, name)
				continue
			}
			field := typ.Field(i).Type
			for field.Kind() == reflect.Pointer || field.Kind() == reflect.Slice {
				field = field.Elem()
			}
			if items, ok := property["items"].(map[string]any); ok {
				property = items
			}
			if _, object := property["properties"]; object && field.Kind() == reflect.Struct {
				look(path+"."+name, property, field)
			}
		}
	}
	sections := schema["properties"].(map[string]any)
	for name, into := range map[string]any{"policies": policy.Policies{}, "limits": policy.Limits{}, "rejects": Rejects{}, bridgeSection: Bridge{}} {
		look(name, sections[name].(map[string]any), reflect.TypeOf(into))
	}
}
