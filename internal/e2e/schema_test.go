package e2e_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

func published(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(name, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func instance(t *testing.T, text string) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %.500s", err, text)
	}
	return v
}

// TestOutputHasThePublishedSchema holds what scripts read against docs/*.schema.json,
// and makes sure that the schemas refuse something: a key that is not described.
func TestOutputHasThePublishedSchema(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "makes several runs")
	dir := t.TempDir()
	dump, err := filepath.Abs(filepath.Join(fixtures, "core-10.1.4.sql"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plugin := filepath.Join(dir, filePlugin)
	if err := os.Symlink(own, plugin); err != nil {
		t.Fatal(err)
	}
	good, bad, part := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml"), filepath.Join(dir, "part.yaml")
	writeFile(t, part, `
source: {dump: "${env:DUMP}"}
target: {plugin: file, path: "`+plugin+`", config: {dir: ./accounts, forgets: anna.kovacs7311@users.example.net}}
journal: ./part
`)
	writeFile(t, good, `
source: {dump: "${env:DUMP}"}
target: {plugin: keycloak, config: {mode: files, realm: r, out: ./out}}
mapping: {filter: 'email != ""'}
policies: {collision: {username: suffix, email: drop}}
`)
	writeFile(t, bad, "source: {dump: no.sql}\ntarget: {plugin: keycloak, config: {mode: files, relm: r}}\n")
	for _, tt := range []struct {
		schema string
		args   []string
		lines  bool
	}{
		{"run.schema.json", []string{"plan", "--json", "--detail", "full", "--config", good}, false},
		{"run.schema.json", []string{"run", "--json", "--config", good}, false},
		{"run.schema.json", []string{"run", "--json", "--config", bad}, false},
		{"run.schema.json", []string{"plan", "--json", "--config", part, "--sample", "9"}, false},
		{"run.schema.json", []string{"run", "--json", "--config", part, "--user", "76d42f84-3240-4166-a76c-1ab402575825"}, false},
		{"run.schema.json", []string{"run", "--json", "--config", part, "--user", "typo"}, false},
		{"run.schema.json", []string{"run", "--json", "--config", part, "--user", "typo", "--sample", "9"}, false},
		{"report.schema.json", []string{"report", "--json", "--config", part}, false},
		{"reject.schema.json", []string{"rejects", "--config", good, "--recipient", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"}, true},
		{"report.schema.json", []string{"report", "--json", "--config", good}, false},
		{"inspect.schema.json", []string{"inspect", "--json", "--config", good}, false},
		{"inspect.schema.json", []string{"inspect", "--list", "--json", "--config", good}, false},
		{"check.schema.json", []string{"check", "--json", "--config", good}, false},
		{"check.schema.json", []string{"check", "--json", "--config", part}, false},
		{"verify.schema.json", []string{"verify", "--json", "--config", part}, false},
		{"verify.schema.json", []string{"verify", "--all", "--json", "--config", part}, false},
		{"explain.schema.json", []string{"explain", "anna.kovacs7311@users.example.net", "--json", "--config", part}, false},
		{"explain.schema.json", []string{"explain", "anna.kovacs7311@users.example.net", "--json", "--config", good}, false},
		{"explain.schema.json", []string{"explain", "keycloak.realm_missing", "--json"}, false},
		{"undo.schema.json", []string{"undo", "--yes", "--json", "--config", part}, false},
	} {
		schema := published(t, tt.schema)
		r := runStetl(t, []string{"DUMP=" + dump}, tt.args...)
		texts := []string{r.stdout}
		if tt.lines {
			texts = slices.Collect(strings.Lines(r.stdout))
		}
		if len(texts) == 0 || texts[0] == "" {
			t.Errorf("%v prints nothing: exit %d\n%s", tt.args, r.code, r.stderr)
		}
		for _, text := range texts {
			v := instance(t, text)
			if err := schema.Validate(v); err != nil {
				t.Errorf("%v: %v", tt.args, err)
			}
			object, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%v prints %T", tt.args, v)
			}
			more := maps.Clone(object)
			more["something_else"] = true
			if schema.Validate(more) == nil {
				t.Errorf("%s lets any key pass", tt.schema)
			}
			delete(object, "format_version")
			if tt.schema != "reject.schema.json" && schema.Validate(object) == nil {
				t.Errorf("%s misses nothing", tt.schema)
			}
		}
	}
}
