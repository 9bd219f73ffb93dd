package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/report"
)

// The exit codes, documented in docs/operations.md. Scripts rely on them.
const (
	exitDone        = 0
	exitInternal    = 1
	exitUsage       = 2
	exitRefused     = 3
	exitRejects     = 4
	exitLimit       = 5
	exitDifferences = 6
)

// exitMeanings say what each of them means; pages and manual have no other ones.
var exitMeanings = []string{
	exitDone:        "Done.",
	exitInternal:    "An error of stetl itself.",
	exitUsage:       "The command line or the configuration is wrong.",
	exitRefused:     "Source, target or plugin could not be reached, or said no.",
	exitRejects:     "Done, and somebody was not loaded, or not whole.",
	exitLimit:       "Stopped by a limit.",
	exitDifferences: "There are differences.",
}

// usageError says that err is a mistake on the command line.
func usageError(err error) error { return migration.UsageError{Err: err} }

// commandLineError is a usage error for which the help of a command is the remedy.
type commandLineError struct {
	error
	command string
}

func (e commandLineError) Unwrap() error { return e.error }

// refusedError says that err comes from something that could not be reached or said no.
func refusedError(err error) error { return migration.RefusedError{Err: err} }

// silentError sets the exit code after a report that already said everything.
type silentError struct{ code int }

func (e silentError) Error() string { return fmt.Sprintf("exit %d", e.code) }

// signalError is the reason of a context that a signal cancelled.
type signalError struct{ os.Signal }

func (e signalError) Error() string { return "stopped by " + e.String() }

// exitCode is the one place that decides.
func exitCode(err error) int {
	var list *diag.ListError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, new(signalError)):
		var e signalError
		errors.As(err, &e)
		if s, ok := e.Signal.(syscall.Signal); ok {
			return 128 + int(s)
		}
		return exitInternal
	case errors.As(err, new(silentError)):
		var e silentError
		errors.As(err, &e)
		return e.code
	case errors.As(err, new(declinedError)):
		return exitUsage
	case errors.Is(err, engine.ErrLimit):
		return exitLimit
	case errors.Is(err, engine.ErrDiffers), errors.Is(err, report.ErrNoBijection):
		return exitDifferences
	case errors.As(err, new(migration.RefusedError)), errors.Is(err, engine.ErrRefused), errors.Is(err, engine.ErrNotCommitted):
		return exitRefused
	case errors.As(err, new(migration.UsageError)), errors.As(err, &list):
		return exitUsage
	default:
		return exitInternal
	}
}
