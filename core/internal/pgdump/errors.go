package pgdump

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNoData is what [Archive.Rows] returns, wrapped, for a table of which the
// dump holds the definition but no data.
var ErrNoData = errors.New("the dump holds no data for this table")

// ErrMySQL is wrapped by the error of [Open] for a dump of MySQL or MariaDB, which is of
// another kind.
var ErrMySQL = errors.New("a dump of MySQL or MariaDB")

// SyntaxError says that a file cannot be used as a dump, where and why. It
// never contains data of a row.
type SyntaxError struct {
	Path   string // of the dump; in a directory that of the file in it
	Line   int    // counted from 1; 0 outside the plain format, which alone has lines
	Offset int64  // in bytes from the start of the file, unpacked if it was packed; in an archive that of the table's data
	Table  string // as SQL writes it; empty outside a table
	Row    int64  // row of the table counted from 1; 0 outside a row
	Column string // empty when the whole row is concerned
	Msg    string // what is wrong
	Hint   string // what to do about it; may be empty

	cause error
}

// Unwrap returns the error of a decompressor that is behind this one, or [ErrMySQL], if any.
func (e *SyntaxError) Unwrap() error { return e.cause }

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

// Remedies that more than one check gives.
const (
	hintCut     = "the file seems to be cut off: copy it again and compare sizes, or run pg_dump again"
	hintDamaged = "the file is damaged or was changed after pg_dump wrote it: copy it again in binary mode, or run pg_dump again"
	hintPacked  = "the packed file is cut off or damaged: copy it again in binary mode, or run pg_dump again"
	hintPlain   = "run pg_dump again with --format=custom or --format=plain, or convert the file without a database: pg_restore --file=dump.sql ARCHIVE"
	hintCopy    = "run pg_dump again without --inserts, or without --data-only"
	hintUTF8    = "run pg_dump again with --encoding=UTF8"
	hintOneDB   = "dump the one database that is needed: pg_dump --file=dump.sql DATABASE"
)
