//go:build unix

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What takes long begins first, and the rest is in the order in which it was.
func TestByLength(t *testing.T) {
	t.Parallel()
	got := []string{module + "core/a", module + longest[1], module + "core/b", module + longest[0]}
	byLength(got)
	if d := cmp.Diff([]string{module + longest[0], module + longest[1], module + "core/a", module + "core/b"}, got); d != "" {
		t.Error(d)
	}
	for _, name := range longest {
		if _, err := os.Stat(filepath.Join("..", "..", name)); err != nil {
			t.Errorf("a package that takes long: %v", err)
		}
	}
}
