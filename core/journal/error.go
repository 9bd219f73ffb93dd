package journal

import (
	"context"
	"fmt"

	"github.com/stetl/stetl/core/diag"
)

// Error is trouble with a journal, with a code for scripts. It has nothing of an address but
// server and database.
type Error struct {
	Code diag.Code
	Text string
	Err  error // what has said so; can be nil
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s (%s)", e.Message(), e.Code) }

// Message is the error without its code.
func (e *Error) Message() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + ": " + e.Err.Error()
}

// Unwrap returns what has said so.
func (e *Error) Unwrap() error { return e.Err }

// Holder is a journal that another run can take over while it is open, when this one has not
// been heard of for too long.
type Holder interface {
	// Hold returns a context that ends also when the journal is not this process's any more,
	// which is then its cause. The caller calls cancel in the end.
	Hold(ctx context.Context) (held context.Context, cancel context.CancelFunc)
}
