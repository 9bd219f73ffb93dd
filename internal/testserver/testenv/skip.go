package testenv

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Skip ends the test because what it needs is not there. With CI=true that is
// a failure: nothing may go untested there unnoticed. Elsewhere the test is
// skipped, and the line "test: what: reason" is appended to the file that
// STETL_SKIP_LOG names (an absolute path, as each package has its own working
// directory), so that a run over many packages can list its skips at the end.
func Skip(tb testing.TB, what, reason string) {
	tb.Helper()
	reason = strings.Join(strings.Fields(reason), " ")
	if os.Getenv("CI") == "true" {
		tb.Fatalf("%s is missing, and CI runs every test: %s", what, reason)
	}
	if path := os.Getenv("STETL_SKIP_LOG"); path != "" {
		if err := appendLine(path, fmt.Sprintf("%s: %s: %s\n", tb.Name(), what, reason)); err != nil {
			tb.Fatalf("note skipped test (needs %s: %s): %v", what, reason, err)
		}
	}
	tb.Skipf("needs %s: %s", what, reason)
}

// Slow ends the test in a run of the fast ones (go test -short, make test-fast): it
// needs a server, or takes seconds of its own. What it says is what the test needs or
// does. Unlike with [Skip], nothing is missing, and nobody needs to know.
func Slow(tb testing.TB, what string) {
	tb.Helper()
	if testing.Short() {
		tb.Skipf("slow: %s", what)
	}
}

// appendLine relies on O_APPEND: packages are tested in parallel processes.
func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(line); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
