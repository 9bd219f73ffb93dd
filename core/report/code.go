package report

import (
	"fmt"
	"io"

	"github.com/stetl/stetl/core/diag"
)

// Code explains one code.
type Code struct {
	diag.Info
	// Of is the plugin whose own the code is; empty for codes that all share.
	Of string `json:"plugin,omitempty"`
}

// WriteJSON writes the code as one JSON object on one line.
func (c *Code) WriteJSON(w io.Writer) error { return WriteJSON(w, c) }

// WriteText writes the code for a person.
func (c *Code) WriteText(w io.Writer) error {
	b := newSheet(w)
	fmt.Fprintf(b, "\n%s", c.Code)
	if c.Of != "" {
		fmt.Fprintf(b, ", of the plugin %s", c.Of)
	}
	fmt.Fprintf(b, "\n\n  %s\n  What to do: %s\n", diag.Printable(c.Meaning), diag.Printable(c.Remedy))
	if c.Path != "" {
		fmt.Fprintf(b, "  It is about %s of an account.\n", diag.Printable(c.Path))
	}
	if c.Permanent {
		b.WriteString("  Running again does not help, as long as accounts, settings and target stay the same.\n")
	}
	return b.flush(w)
}
