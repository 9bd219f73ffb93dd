package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	host "github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/sdk/conformance"
)

// The test binary is also the executable of the plugin.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		main()
		return
	}
	m.Run()
}

func TestConformance(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "users.ndjson")
	conformance.Test(t, conformance.Suite{
		Start: conformance.Executable(
			host.Location{Name: "ndjson", Path: self, Args: []string{"serve"}}, host.Options{}, map[string]any{"path": path},
		),
		Inspect: func(context.Context) (string, error) {
			content, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return string(content), err
		},
	})
}
