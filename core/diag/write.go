package diag

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Options of [Write].
type Options struct {
	Color bool // ANSI colours; off unless the caller knows its terminal
}

const (
	bold   = "1"
	red    = "1;31"
	yellow = "1;33"
	cyan   = "36"
)

// maxLine bounds a printed source line: a configuration may be JSON on one line.
const maxLine = 120

// Write prints the list in its own order, one block per diagnostic:
//
//	stetl.yaml:14:5: error[config.unknown_field]: "relam" is not a field of target.config
//	   14 |     relam: customers
//	      |     ^^^^^ did you mean "realm"?
//
// Control characters are replaced: a configuration file cannot drive the terminal.
func Write(w io.Writer, l List, opt Options) error {
	paint := func(style, s string) string {
		if !opt.Color || s == "" {
			return s
		}
		return "\x1b[" + style + "m" + s + "\x1b[0m"
	}
	for i := range l {
		if _, err := io.WriteString(w, block(&l[i], paint)); err != nil {
			return fmt.Errorf("write diagnostics: %w", err)
		}
	}
	return nil
}

// block is what is printed of one diagnostic.
func block(d *Diagnostic, paint func(style, s string) string) string {
	var b strings.Builder
	if pos := d.Pos.String(); pos != "" {
		b.WriteString(paint(bold, Printable(pos)+":") + " ")
	}
	style := red
	if d.Severity == Warning {
		style = yellow
	}
	b.WriteString(paint(style, fmt.Sprintf("%s[%s]:", d.Severity, Printable(string(d.Code)))))
	b.WriteString(" " + Printable(d.Summary) + "\n")

	hint := Printable(d.Hint)
	if d.Snippet.Text != "" {
		text, col := window(Printable(d.Snippet.Text), d.Snippet.Col)
		fmt.Fprintf(&b, "%5d | %s\n", d.Pos.Line, text)
		if d.Snippet.Width > 0 && col > 0 {
			width := min(d.Snippet.Width, max(1, len([]rune(text))-col+1))
			marks := strings.Repeat("^", width)
			if hint != "" {
				marks += " " + hint
			}
			b.WriteString("      | " + indent(text, col-1) + paint(cyan, marks) + "\n")
			hint = ""
		}
	}
	for line := range strings.Lines(d.Detail) {
		b.WriteString("      = " + Printable(strings.TrimRight(line, "\r\n")) + "\n")
	}
	if hint != "" {
		b.WriteString("      = " + paint(cyan, hint) + "\n")
	}
	return b.String()
}

// Printable replaces what could move the cursor or reorder text on a terminal,
// line ends included.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// PrintableText is [Printable] for text of several lines.
func PrintableText(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = Printable(l)
	}
	return strings.Join(lines, "\n")
}

// window cuts a long line around col and returns the column in the cut line.
func window(text string, col int) (string, int) {
	runes := []rune(text)
	if len(runes) <= maxLine {
		return text, min(col, len(runes)+1)
	}
	from := min(max(0, col-maxLine/2), len(runes)-maxLine)
	cut := string(runes[from : from+maxLine])
	if from > 0 {
		cut, col = "…"+cut, col-from+1
	}
	if from+maxLine < len(runes) {
		cut += "…"
	}
	return cut, min(col, len([]rune(cut))+1)
}

// indent returns white space as wide as the first n characters of text, tabs kept.
func indent(text string, n int) string {
	var b strings.Builder
	for _, r := range text {
		if n <= 0 {
			break
		}
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
		n--
	}
	return b.String()
}
