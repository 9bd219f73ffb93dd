package report

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens"
)

// keysOf are the JSON keys of a struct, those of embedded ones among them.
func keysOf(t reflect.Type) (out []string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for f := range t.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			out = append(out, keysOf(f.Type)...)
		case key != "-" && key != "":
			out = append(out, key)
		}
	}
	return out
}

// Every key that a run can print is in the published schema, which lets no other pass.
func TestSchemasKnowEveryKey(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		file string
		path []string
		of   reflect.Type
	}{
		{"run.schema.json", []string{"$defs", "run"}, reflect.TypeFor[runJSON]()},
		{"run.schema.json", []string{"$defs", "run", "properties", "read_back"}, reflect.TypeFor[engine.Verification]()},
		{"run.schema.json", []string{"$defs", "targets"}, reflect.TypeFor[targetsJSON]()},
		{"run.schema.json", []string{"$defs", "target"}, reflect.TypeFor[targetJSON]()},
		{"run.schema.json", []string{"$defs", "target", "properties", "run"}, reflect.TypeFor[runJSON]()},
		{"run.schema.json", []string{"$defs", "targets", "properties", "dealt"}, reflect.TypeFor[Dealing]()},
		{"inspect.schema.json", []string{"$defs", "inspection"}, reflect.TypeFor[Inspection]()},
		{"inspect.schema.json", []string{"$defs", "inspection", "properties", "inventory"}, reflect.TypeFor[supertokens.Inventory]()},
		{"inspect.schema.json", []string{"$defs", "list"}, reflect.TypeFor[Installations]()},
		{"check.schema.json", []string{"properties", "completeness"}, reflect.TypeFor[supertokens.Completeness]()},
		{"verify.schema.json", nil, reflect.TypeFor[engine.Verification]()},
		{"undo.schema.json", nil, reflect.TypeFor[engine.Undoing]()},
		{"undo.schema.json", []string{"$defs", "outcome"}, reflect.TypeFor[pluginapi.Outcome]()},
		{"explain.schema.json", []string{"$defs", "account"}, reflect.TypeFor[Explanation]()},
		{"explain.schema.json", []string{"$defs", "code"}, reflect.TypeFor[Code]()},
		{"report.schema.json", []string{"properties", "read_back"}, reflect.TypeFor[engine.Verification]()},
	} {
		raw, err := os.ReadFile("../../docs/" + tt.file)
		if err != nil {
			t.Fatal(err)
		}
		var at any
		if err := json.Unmarshal(raw, &at); err != nil {
			t.Fatal(err)
		}
		for _, name := range append(tt.path, "properties") {
			object, _ := at.(map[string]any)
			at = object[name]
		}
		known, _ := at.(map[string]any)
		for _, key := range keysOf(tt.of) {
			if known[key] == nil {
				t.Errorf("%s, %s: %q is not there", tt.file, strings.Join(tt.path, "/"), key)
			}
		}
	}
}
