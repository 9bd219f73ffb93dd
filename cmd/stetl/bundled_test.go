package main

import (
	"path/filepath"
	"strings"
	"testing"
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
	if mod := string(files["go.mod"]); p.Name != "my-idp" || !strings.Contains(mod, "replace github.com/stetl/stetl => "+own) {
		t.Errorf("%s:\n%s", p.Name, mod)
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
