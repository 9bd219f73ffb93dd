//go:build unix

package kratos

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

const (
	// Version is the release that tests run on: the newest one that is a Go module.
	Version = "v1.3.1"
	sum     = "h1:XOw84ToAxLDb5K5Xv/Qspk0vzlBq+6zgz2TufVg4kkU="

	buildTimeout = 20 * time.Minute
)

// program is the path of the server, built for the tests.
func program(tb testing.TB) (string, error) {
	tb.Helper()
	dir, err := testenv.Cached("kratos-"+Version, func(dir string) error {
		defer testenv.Wait(tb, "a build of Kratos "+Version)()
		ctx, cancel := context.WithTimeout(tb.Context(), buildTimeout)
		defer cancel()
		return build(ctx, dir)
	})
	return filepath.Join(dir, "kratos"), err
}

// build has the checksum of the module stand for those of all others, which its go.sum has.
func build(ctx context.Context, dir string) error {
	out, err := run(ctx, dir, "mod", "download", "-json", "github.com/ory/kratos@"+Version)
	if err != nil {
		return err
	}
	var module struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &module); err != nil {
		return fmt.Errorf("go mod download: %w", err)
	}
	if module.Sum != sum {
		return fmt.Errorf("the module of Kratos %s has the checksum %q, want %q", Version, module.Sum, sum)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(module.Dir, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	// It leads to a folder that is no part of the module, and that the server does not need.
	if _, err := run(ctx, dir, "mod", "edit", "-dropreplace=github.com/ory/client-go", filepath.Join(dir, "go.mod")); err != nil {
		return err
	}
	_, err = run(ctx, module.Dir, "build", "-modfile="+filepath.Join(dir, "go.mod"), "-mod=mod", "-trimpath", "-o", filepath.Join(dir, "kratos"), ".")
	return err
}

func run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		var text []byte
		if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // of Output, as it is
			text = e.Stderr
		}
		return nil, fmt.Errorf("go %s: %w: %s", args[0], err, text)
	}
	return out, nil
}
