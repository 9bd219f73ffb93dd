package e2e_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk/conformance"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// bundled lists the plugins that are part of the program.
func bundled(t *testing.T) (names []string) {
	t.Helper()
	r := runStetl(t, nil, "plugin", "list")
	for line := range strings.Lines(r.stdout) {
		if name := strings.TrimSuffix(line, "\n"); !strings.Contains(name, "\t") { // others come with their file
			names = append(names, name)
		}
	}
	if len(names) < 3 {
		t.Fatalf("exit %d, %q\n%s", r.code, r.stdout, r.stderr)
	}
	return names
}

// TestBundledPluginsConform holds every bundled plugin, writing files, against the same
// rules as everybody else's. Their live modes have tests with real servers.
func TestBundledPluginsConform(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "tries every rule on every bundled plugin")
	settings := map[string]map[string]any{"keycloak": {"realm": "test"}, "generic-sql": {"preset": "better-auth"}}
	for _, name := range bundled(t) {
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
func TestBundledPluginsDeclareWhatTellsAccountsApart(t *testing.T) {
	t.Parallel()
	folded := map[string]bool{"id": false, "username": true, "email": true}
	want := map[string]map[string]bool{"auth0": {"id": true, "username": true, "email": true}, "keycloak": folded, "generic-scim": folded}
	for _, name := range bundled(t) {
		r := runStetl(t, nil, "plugin", "describe", name)
		var described struct {
			Capabilities struct {
				FoldsCase        map[string]bool
				UniqueIdentities bool
			}
		}
		if err := json.Unmarshal([]byte(r.stdout), &described); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, r.stdout)
		}
		if diff := cmp.Diff(want[name], described.Capabilities.FoldsCase); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if once := name == "auth0" || name == "keycloak"; described.Capabilities.UniqueIdentities != once {
			t.Errorf("%s: an identity belongs to one account: %v", name, !once)
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
		"an unknown language":   {[]string{"acme", "--lang", "cobol"}, exitUsage, "use go, node or python"},
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
