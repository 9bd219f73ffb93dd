package testenv

import (
	"os"
	"strings"
	"testing"
)

// Needs begins what a test says that was skipped because something is not there. By it,
// a run over many packages lists its skips at the end.
const Needs = "needs "

// Once is a variable that is another in every run of tools/test.sh. Whoever reads it is
// tested again: go test repeats no result, but where a variable has changed that the test
// has read.
const Once = "STETL_TEST_ONCE"

// Skip ends the test because what it needs is not there. With CI=true that is
// a failure: nothing may go untested there unnoticed. Elsewhere the test is
// skipped, and says so in one line that begins with [Needs].
func Skip(tb testing.TB, what, reason string) {
	tb.Helper()
	reason = strings.Join(strings.Fields(reason), " ")
	if os.Getenv("CI") == "true" {
		tb.Fatalf("%s is missing, and CI runs every test: %s", what, reason)
	}
	_ = os.Getenv(Once) // what is missing may be there next time
	tb.Skipf(Needs+"%s: %s", what, reason)
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
