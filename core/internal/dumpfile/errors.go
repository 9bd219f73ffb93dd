package dumpfile

import (
	"fmt"
	"strings"
)

// SyntaxError says that a file cannot be used as a dump, where and why. It
// never contains data of a row.
type SyntaxError struct {
	Path   string // of the dump; in a directory that of the file in it
	Line   int    // counted from 1; 0 in archives, which have no lines
	Offset int64  // in bytes from the start of the file, unpacked if it was packed; in an archive that of the table's data
	Table  string // as SQL writes it; empty outside a table
	Row    int64  // row of the table counted from 1; 0 outside a row
	Column string // empty when the whole row is concerned
	Msg    string // what is wrong
	Hint   string // what to do about it; may be empty
	Cause  error  // what is behind it, such as the error of a decompressor, if anything
}

// Unwrap returns the cause.
func (e *SyntaxError) Unwrap() error { return e.Cause }

// Error renders the error in one line that starts with "file:line:".
func (e *SyntaxError) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Table != "" {
		b.WriteString("table " + e.Table)
		if e.Row > 0 {
			fmt.Fprintf(&b, ", row %d", e.Row)
		}
		if e.Column != "" {
			fmt.Fprintf(&b, ", column %q", e.Column)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Msg)
	if e.Line > 0 || e.Offset > 0 {
		fmt.Fprintf(&b, " (byte %d)", e.Offset)
	}
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}
