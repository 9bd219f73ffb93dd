package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

func recipeOf(t *testing.T) release {
	t.Helper()
	raw, err := os.ReadFile("../../release.json")
	if err != nil {
		t.Fatal(err)
	}
	var r release
	if err := json.Unmarshal(raw, &r.recipe); err != nil {
		t.Fatal(err)
	}
	return r
}

// Everything that the program is built from has a licence that goes along with it.
func TestEveryDependencyHasItsLicence(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "lists the modules of every platform")
	r := recipeOf(t)
	for i, file := range r.Files {
		if _, err := os.Stat(filepath.Join("../..", file)); err != nil {
			t.Errorf("file %d of the recipe: %v", i, err)
		}
	}
	to := filepath.Join(t.TempDir(), "licences.txt")
	r.root = "../.."
	if err := r.licences(to); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"github.com/spf13/cobra v", "Go, its runtime and standard library", "google.golang.org/grpc v", "modernc.org/sqlite v"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not there", want)
		}
	}
	if strings.Contains(string(text), "chromedp") {
		t.Error("what only tests use is there")
	}
}
