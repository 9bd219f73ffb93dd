package diag

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says whether a problem stops the command.
type Severity uint8

// Errors stop, warnings do not. The zero value is Error: a maker of diagnostics
// who forgets the severity errs on the safe side.
const (
	Error Severity = iota
	Warning
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// MarshalText implements [encoding.TextMarshaler].
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Severity) UnmarshalText(text []byte) error {
	switch string(text) {
	case "error":
		*s = Error
	case "warning":
		*s = Warning
	default:
		return fmt.Errorf("unknown severity %q: use error or warning", text)
	}
	return nil
}

// Pos is a place in a text file. Line and Col count from 1, Col in characters;
// zero means unknown.
type Pos struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Col  int    `json:"col,omitempty"`
}

// String returns as much of file:line:col as is known.
func (p Pos) String() string {
	parts := make([]string, 0, 3)
	if p.File != "" {
		parts = append(parts, p.File)
	}
	if p.Line > 0 {
		parts = append(parts, fmt.Sprint(p.Line))
		if p.Col > 0 {
			parts = append(parts, fmt.Sprint(p.Col))
		}
	}
	return strings.Join(parts, ":")
}

// Snippet is the source line a diagnostic points into, free of secrets. Col and
// Width place the underline within Text, in characters: Col can differ from the
// column in the file when something before it was masked. Width zero means no
// underline.
type Snippet struct {
	Text  string `json:"text"`
	Col   int    `json:"col,omitempty"`
	Width int    `json:"width,omitempty"`
}

// Diagnostic is one problem. Severity, Code and Summary are always set; no
// field ever holds a secret.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	Code     Code     `json:"code"`
	Summary  string   `json:"summary"`          // what is wrong, one line
	Detail   string   `json:"detail,omitempty"` // why it matters or how it came about
	Path     string   `json:"path,omitempty"`   // JSON pointer into the document, RFC 6901
	Pos      Pos      `json:"pos,omitzero"`
	Snippet  Snippet  `json:"snippet,omitzero"`
	Hint     string   `json:"hint,omitempty"` // what to do, one line
}

// List is a collection of diagnostics. The zero value is ready; it is not safe
// for concurrent use.
type List []Diagnostic

// Add appends those that are not there yet. Two diagnostics are the same when
// code, place and summary agree; the path counts only where no place is known,
// since one YAML alias can make the same text appear under several paths.
func (l *List) Add(ds ...Diagnostic) {
	for _, d := range ds {
		same := func(o Diagnostic) bool {
			return o.Code == d.Code && o.Pos == d.Pos && o.Summary == d.Summary && (d.Pos != Pos{} || o.Path == d.Path)
		}
		if !slices.ContainsFunc(*l, same) {
			*l = append(*l, d)
		}
	}
}

// HasErrors reports whether something in the list must stop the command.
func (l List) HasErrors() bool {
	return slices.ContainsFunc(l, func(d Diagnostic) bool { return d.Severity == Error })
}

// Sort orders by file, line and column, then by code and summary, so that two
// runs over the same input print the same text.
func (l List) Sort() {
	slices.SortStableFunc(l, func(a, b Diagnostic) int {
		return cmp.Or(
			cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Col, b.Pos.Col),
			cmp.Compare(a.Code, b.Code),
			cmp.Compare(a.Summary, b.Summary),
			cmp.Compare(a.Path, b.Path),
		)
	})
}

// Err returns nil when the list has no errors, else a [*ListError] with the
// whole list, warnings included.
func (l List) Err() error {
	if !l.HasErrors() {
		return nil
	}
	return &ListError{List: l}
}

// ListError carries diagnostics through an error return; get them back with
// [errors.As].
type ListError struct{ List List }

// Error returns the list as [Write] prints it, without colour.
func (e *ListError) Error() string {
	var b strings.Builder
	_ = Write(&b, e.List, Options{})
	return strings.TrimSuffix(b.String(), "\n")
}
