package keycloak

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk/conformance"
)

func TestFilesConformance(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	conformance.Test(t, conformance.Suite{
		Start: conformance.InProcess(Plugin(), map[string]any{"mode": "files", "realm": "test", "out": out}),
		Inspect: func(context.Context) (string, error) {
			files, err := filepath.Glob(filepath.Join(out, "*.json"))
			slices.Sort(files)
			var all strings.Builder
			for _, file := range files {
				content, readErr := os.ReadFile(file)
				if readErr != nil {
					return "", readErr
				}
				all.Write(content)
			}
			return all.String(), err
		},
	})
}
