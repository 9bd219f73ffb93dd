package architecture

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mostModules is how many modules the author side of plugins brings along, this one not
// counted. Every one of them is code that an author has to answer for: the number only
// gets lower.
const mostModules = 19

// TestWeightOfTheSDK holds what a plugin compiles and links.
func TestWeightOfTheSDK(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "../../core/sdk", "../../core/sdk/httpx", "../../core/sdk/reconcile", "../../core/sdk/folder").Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := slices.Compact(slices.Sorted(slices.Values(strings.Fields(string(out)))))
	if n := len(modules) - 1; n > mostModules || n < 5 {
		t.Errorf("the author side brings %d modules along, %d are the most:\n%s", n, mostModules, strings.Join(modules, "\n"))
	}
}
