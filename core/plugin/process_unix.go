//go:build unix && !linux

package plugin

import "syscall"

// isolate puts the plugin into a process group of its own, so that Ctrl-C in a
// terminal reaches the host alone.
func isolate(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
