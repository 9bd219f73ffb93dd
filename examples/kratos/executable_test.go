//go:build unix

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stetl/stetl/core/sdk/conformance"
	"github.com/stetl/stetl/internal/testserver/kratos"
)

// TestExecutable tries every rule on the built plugin with the built program, on a real
// server, by the commands of docs/kratos.md and with its configuration.
func TestExecutable(t *testing.T) {
	t.Parallel()
	s := kratos.Start(t)
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "../../cmd/stetl")
	plugin := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "bin", "stetl-plugin-kratos"), ".")
	for _, cmd := range []*exec.Cmd{build, plugin} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	// In the place that the configuration has in the checkout, from which it leads to bin.
	at := filepath.Join(dir, "examples", "kratos")
	raw, err := os.ReadFile("kratos.yaml")
	if err == nil {
		err = os.MkdirAll(at, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(at, "kratos.yaml"), raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "stetl"), "plugin", "test", "bin/stetl-plugin-kratos", "--config", "examples/kratos/kratos.yaml", "--json")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "KRATOS_ADMIN_URL="+s.Admin, "KRATOS_PUBLIC_URL="+s.Public)
	out, runErr := cmd.Output()
	var report conformance.Report
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v, %v\n%s", runErr, err, out)
	}
	tried := map[string]conformance.Status{}
	for _, r := range report.Results {
		tried[r.Rule] = r.Status
		if r.Status == conformance.Failed {
			t.Errorf("%s: %q", r.Rule, r.Problems)
		}
	}
	for _, rule := range []string{"crash", "orphan", "signals", "client-certificate", "exit", "login", "undo-in-doubt", "one-owner"} {
		if tried[rule] != conformance.Passed {
			t.Errorf("the rule %s: %q", rule, tried[rule])
		}
	}
	if runErr != nil {
		t.Errorf("plugin test: %v", runErr)
	}
}
