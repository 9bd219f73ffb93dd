//go:build unix

package plugin

import (
	"errors"
	"os"
	"syscall"
)

// killGroup also ends what a plugin that is a script has started.
func killGroup(p *os.Process) error {
	err := syscall.Kill(-p.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
