package plugin

import (
	"fmt"

	"github.com/stetl/stetl/core/diag"
)

// Error says why a plugin cannot be used: one cause and one thing to do.
type Error struct {
	Plugin string
	Code   diag.Code // plugin.…
	Cause  string
	Fix    string
}

func (e *Error) Error() string { return fmt.Sprintf("plugin %s: %s; %s", e.Plugin, e.Cause, e.Fix) }

// Diagnostic is the error in the form that commands print.
func (e *Error) Diagnostic() diag.Diagnostic {
	return diag.Diagnostic{Code: e.Code, Summary: fmt.Sprintf("plugin %s: %s", e.Plugin, e.Cause), Hint: e.Fix}
}

// CrashError says that the process of a plugin ended before it was closed.
type CrashError struct {
	Plugin string
	PID    int
	// State is how it ended: "exit status 2", "signal: killed".
	State string
	// ExitCode is -1 when a signal ended it.
	ExitCode int
	// LastWords is what its stderr ended with, empty when it said nothing.
	LastWords string
}

// Crashed tells the engine that a new process may do better.
func (e *CrashError) Crashed() bool { return true }

func (e *CrashError) Error() string {
	msg := fmt.Sprintf("plugin %s (pid %d) died: %s", e.Plugin, e.PID, e.State)
	if e.LastWords != "" {
		msg += fmt.Sprintf(" (stderr: %s)", e.LastWords)
	}
	return msg
}
