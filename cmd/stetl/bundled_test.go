package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk/conformance"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// TestBundledPluginsConform holds every bundled plugin, writing files, against the same
// rules as everybody else's. Their live modes have tests with real servers.
func TestBundledPluginsConform(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "tries every rule on every bundled plugin")
	settings := map[string]map[string]any{"keycloak": {"realm": "test"}}
	for _, name := range bundledNames() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := map[string]any{"mode": "files", "out": filepath.Join(t.TempDir(), "out")}
			for key, value := range settings[name] {
				config[key] = value
			}
			raw, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			r := runStetl(t, nil, "plugin", "test", name, "--json", "--settings", string(raw))
			var report conformance.Report
			if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
				t.Fatalf("exit %d: %v\n%s\n%s", r.code, err, r.stdout, r.stderr)
			}
			passed := 0
			for _, rule := range report.Results {
				switch rule.Status {
				case conformance.Failed:
					t.Errorf("%s: %s", rule.Rule, strings.Join(rule.Problems, "; "))
				case conformance.Passed:
					passed++
				case conformance.Skipped:
				}
			}
			if r.code != 0 || passed < 15 {
				t.Errorf("exit %d, %d rules kept", r.code, passed)
			}
		})
	}
}

// Every bundled plugin says what its provider makes of letter case, as the pages about
// it say.
func TestBundledPluginsDeclareLetterCase(t *testing.T) {
	t.Parallel()
	folded := map[string]bool{"id": false, "username": true, "email": true}
	want := map[string]map[string]bool{"auth0": {"id": true, "username": true, "email": true}, "keycloak": folded, "generic-scim": folded}
	for _, name := range bundledNames() {
		r := runStetl(t, nil, "plugin", "describe", name)
		var described struct {
			Capabilities struct{ FoldsCase map[string]bool }
		}
		if err := json.Unmarshal([]byte(r.stdout), &described); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, r.stdout)
		}
		if diff := cmp.Diff(want[name], described.Capabilities.FoldsCase); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPluginNewRefuses(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	if r := runStetl(t, nil, "plugin", "new", "acme", "--dir", filepath.Join(full, "acme")); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a name with capitals":  {[]string{"Acme", "--dir", filepath.Join(full, "x")}, exitUsage, "is not a plugin name"},
		"a folder in use":       {[]string{"acme", "--dir", filepath.Join(full, "acme")}, exitRefused, "is not empty"},
		"not a checkout":        {[]string{"acme", "--dir", filepath.Join(full, "y"), "--stetl", full}, exitUsage, "is not a checkout of stetl"},
		"a name of stetl's":     {[]string{"keycloak", "--dir", filepath.Join(full, "z")}, exitUsage, "choose another name"},
		"a name without end":    {[]string{strings.Repeat("x", 300), "--dir", filepath.Join(full, "z")}, exitUsage, "is not a plugin name"},
		"no name":               {nil, exitUsage, "accepts 1 arg"},
		"a name with two words": {[]string{"my acme"}, exitUsage, "is not a plugin name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := runStetl(t, nil, append([]string{"plugin", "new"}, tc.args...)...)
			if r.code != tc.code || !strings.Contains(r.stderr, tc.want) {
				t.Errorf("exit %d, want %d: %s", r.code, tc.code, r.stderr)
			}
		})
	}
}

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
