package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"testing"
)

type ran struct {
	code           int
	stdout, stderr string
}

// runStetl runs the test binary as the program, as scripts do.
func runStetl(t *testing.T, env []string, args ...string) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "stetl", args...) // on PATH by TestMain
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}
