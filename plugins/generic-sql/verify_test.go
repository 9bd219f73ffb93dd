//go:build unix

package sqltarget

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/testserver/betterauth"
)

// TestVerify runs the tests of the package for Node.js, with the libraries that it names.
func TestVerify(t *testing.T) {
	t.Parallel()
	node, modules := betterauth.Node(t)
	files := map[string]string{}
	for _, name := range []string{"package.json", "index.js", "test/verify.test.js", "test/vectors.json"} {
		content, err := os.ReadFile(filepath.Join("verify", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(content)
	}
	var wants struct{ Dependencies map[string]string }
	if err := json.Unmarshal([]byte(files["package.json"]), &wants); err != nil {
		t.Fatal(err)
	}
	for name, version := range wants.Dependencies {
		raw, err := os.ReadFile(filepath.Join(modules, name, "package.json"))
		if err != nil || !strings.Contains(string(raw), `"version": "`+version+`"`) {
			t.Errorf("the tests have another %s than %s (%v)", name, version, err)
		}
	}
	cmd := exec.CommandContext(t.Context(), node, "--test", "--test-reporter=tap")
	cmd.Dir = betterauth.Folder(t, modules, files)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "# fail 0") || strings.Contains(string(out), "# tests 0") {
		t.Errorf("%v\n%s", err, out)
	}
}
