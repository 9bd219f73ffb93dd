package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
)

// A program that was not released writes projects that use the checkout it was built in,
// and it takes the name of the executable for that of the plugin.
func TestPluginNewUsesItsCheckout(t *testing.T) {
	t.Parallel()
	p, err := newScaffolded("stetl-plugin-my-idp", "", "")
	if err != nil {
		t.Fatal(err)
	}
	files, err := p.files()
	if err != nil {
		t.Fatal(err)
	}
	own, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	// What an author gets is what an author needs.
	if n := strings.Count(string(files["go.mod"]), "\n\t"); n < 10 || n > 30 {
		t.Errorf("go.mod names %d modules, 30 are the most", n)
	}
	if mod := string(files["go.mod"]); p.Name != "my-idp" || !strings.Contains(mod, "replace github.com/stetl/stetl => "+own) {
		t.Errorf("%s:\n%s", p.Name, mod)
	}
}

// The page about a plugin says everything that the plugin says, and breaks no table.
func TestPluginPage(t *testing.T) {
	t.Parallel()
	info := plugin.Info{Protocol: 1, Description: pluginapi.Description{
		Name: "acme", Version: "1.2", Minor: 2,
		ConfigSchema: []byte(`{"type": "object", "required": ["url"], "properties": {
			"mode": {"type": "string", "enum": ["live", "files"], "default": "live", "description": "how to | write"},
			"url": {"type": "string", "description": "where it is"}, "token": {"type": "string", "writeOnly": true},
			"auth": {"type": "object", "properties": {"scopes": {"type": "array", "items": {"type": "string"}}}}}}`),
		Codes: diag.Words{{Code: "acme.quota", Meaning: "full", Remedy: "buy more"}},
		Capabilities: pluginapi.Capabilities{
			Hashes: []pluginapi.HashSupport{{Scheme: "bcrypt", MaxCost: 12}}, Carries: []pluginapi.Feature{pluginapi.CarriesNames},
			Abilities: []pluginapi.Ability{pluginapi.CanUndo}, NoUsernames: true, UniqueIdentities: true, UniqueInTenant: []pluginapi.Identifier{"email"},
			FoldsCase: map[pluginapi.Identifier]bool{"email": true},
		},
	}}
	page, err := pluginPage(&info)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, want := range []string{
		"# stetl-plugin-acme", "version 1.2, which speaks version 1.2", "| `url` | *string, required.* where it is |", "| `auth.scopes` | *array of string.* |",
		"| `mode` | *string, default `\"live\"`.* how to \\| write; one of `live`, `files` |", "| `token` | *string, secret.* |",
		"`bcrypt` (cost 0 to 12)", "| kept | `names` |", "| lost | ", "| can | `undo` |", "| user names | none |", "| social identities | no two users may have the same |", "| unique in one tenant only | `email` |",
		"| letter case of email | does not tell apart |", "| `acme.quota` | full | buy more |",
	} {
		at := strings.Index(page, want)
		if at < last {
			t.Errorf("%q is missing or out of order in\n%s", want, page)
		}
		last = max(at, last)
	}
}

// A project in another language has the package as it is, and nothing else of the example's.
func TestPluginNewInOtherLanguages(t *testing.T) {
	t.Parallel()
	for lang, want := range map[string][]string{
		"python": {"target.py", "stetl_plugin/__init__.py", "stetl_plugin/protocol.binpb", "pyproject.toml"},
		"node":   {"target.js", "stetl-plugin/index.js", "stetl-plugin/index.d.ts", "stetl-plugin/proto/stetl/plugin/v1/user.proto"},
	} {
		p, err := named("stetl-plugin-my-idp")
		if err != nil {
			t.Fatal(err)
		}
		p.lang = lang
		files, err := p.files()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range append(want, "Makefile", "README.md", "install.sh", "my-idp.yaml", ".gitignore") {
			if len(files[name]) == 0 {
				t.Errorf("%s: no %s", lang, name)
			}
		}
		for name, content := range files {
			if strings.Contains(string(content), "ndjson-") || strings.Contains(string(content), "ndjson_target") {
				t.Errorf("%s: %s still names the example", lang, name)
			}
		}
	}
}

// Whatever the name is, nothing of the example's is left in a project.
func TestPluginNewRenames(t *testing.T) {
	t.Parallel()
	p, err := newScaffolded("my-idp", "example.org/my-idp", "")
	if err != nil {
		t.Fatal(err)
	}
	files, err := p.files()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if text := strings.ToLower(string(content)); strings.Contains(text, "acme") || strings.Contains(text, "examples/rest") {
			t.Errorf("%s still names the example", name)
		}
	}
	if got := string(files["my-idp.yaml"]); !strings.Contains(got, "${env:MY_IDP_TOKEN}") {
		t.Errorf("configuration:\n%s", got)
	}
	if !strings.Contains(string(files["testserver/main.go"]), "\"example.org/my-idp/idp\"") {
		t.Error("the test server does not import the project's package")
	}
}
