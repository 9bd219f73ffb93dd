package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/diag"
)

// TestGapsAreExplained: each code that may be accepted has its meaning in one registry
// and its line in the documentation.
func TestGapsAreExplained(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/supertokens.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range gapCodes() {
		if _, known := diag.Lookup(diag.Code(code)); !known {
			t.Errorf("%s is not registered in core/diag", code)
		}
		if !strings.Contains(string(page), "| `"+code+"` |") {
			t.Errorf("%s is not in docs/supertokens.md", code)
		}
	}
}
