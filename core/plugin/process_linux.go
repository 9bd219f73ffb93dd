package plugin

import "syscall"

// isolate puts the plugin into a process group of its own, so that Ctrl-C in a
// terminal reaches the host alone. Unless it may become an orphan, the kernel
// kills it together with the host, however the host ends.
func isolate(orphanable bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if !orphanable {
		attr.Pdeathsig = syscall.SIGKILL
	}
	return attr
}
