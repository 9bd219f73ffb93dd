package conformance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stetl/stetl/core/plugin"
)

const canOrphan = true

// adopted starts a plugin as the child of a shell, which can be killed in place of
// the host.
func adopted(loc plugin.Location) plugin.Location {
	return plugin.Location{
		Name: loc.Name, Path: "/bin/sh",
		Args: append([]string{"-c", `"$0" "$@" & wait`, loc.Path}, loc.Args...),
	}
}

// orphan kills the process that has the id of its group, and waits for the end of
// the others in that group. None of them is left behind.
func orphan(ctx context.Context, group int, patience time.Duration) (ended bool, err error) {
	if err := syscall.Kill(group, syscall.SIGKILL); err != nil {
		return false, err
	}
	wait := time.NewTimer(patience)
	defer wait.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		if !alive(group) {
			return true, nil
		}
		select {
		case <-look.C:
		case <-wait.C:
			return false, syscall.Kill(-group, syscall.SIGKILL)
		case <-ctx.Done():
			return false, errors.Join(context.Cause(ctx), syscall.Kill(-group, syscall.SIGKILL))
		}
	}
}

// alive reports whether the group has a process that has not ended. One that has
// ended and that nobody collects does not count.
func alive(group int) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// The name of the program may hold anything, also brackets.
		fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		if len(fields) < 3 || fields[2] != strconv.Itoa(group) {
			continue
		}
		if state := fields[0]; state != "Z" && state != "X" {
			return true
		}
	}
	return false
}
