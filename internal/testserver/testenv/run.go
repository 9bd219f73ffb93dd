package testenv

import (
	"cmp"
	"fmt"
	"os"
	"testing"
	"time"
)

// Run names what stands for a run of tools/test.sh, a pipe that is open for
// writing as long as it goes on. It is empty where tests are run otherwise.
func Run() string { return os.Getenv("STETL_TEST_RUN") }

// Race is the value of GORACE for programs that tests start: one under the race detector
// sleeps a second when it ends, unless it is told not to, and tests start hundreds.
func Race() string { return cmp.Or(os.Getenv("GORACE"), "atexit_sleep_ms=0") }

// Wait notes what is being waited for, for whoever watches a run of tools/test.sh,
// which STETL_WAIT_LOG names a file for. The function that it returns notes how long
// it has taken.
func Wait(tb testing.TB, what string) (done func()) {
	tb.Helper()
	path := os.Getenv("STETL_WAIT_LOG")
	if path == "" {
		return func() {}
	}
	note := func(line string) {
		tb.Helper()
		if err := appendLine(path, line+"\n"); err != nil {
			tb.Errorf("note what is waited for: %v", err)
		}
	}
	began := time.Now()
	note("waiting for " + what + " (" + tb.Name() + ")")
	return func() {
		tb.Helper()
		note(fmt.Sprintf("%s: %.0f s", what, time.Since(began).Seconds()))
	}
}
