//go:build unix

package e2e_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

// TestTutorial runs every command of the tutorial, as a reader would who follows
// nothing else.
func TestTutorial(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "builds a plugin")
	page, err := os.ReadFile("../../docs/write-a-plugin.md")
	if err != nil {
		t.Fatal(err)
	}
	script := "set -e\n"
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 7 {
		t.Fatalf("only %d blocks of commands found", len(blocks))
	}
	for _, b := range blocks {
		script += b[1]
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = "../.."
	// Everything that is needed was needed to build stetl.
	cmd.Env = append(os.Environ(), "WORK="+t.TempDir(), "GOPROXY=off", "GOFLAGS=")
	ownTemp(t, cmd)
	// What a failing script leaves running must not outlive the test.
	cmd.SysProcAttr, cmd.WaitDelay = &syscall.SysProcAttr{Setpgid: true}, 5*time.Second
	out, err := cmd.CombinedOutput()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"the kit has found it", "--- FAIL: TestConformance/leave", "starts, answers and ends as it should", "0 broken", "sha256",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}
