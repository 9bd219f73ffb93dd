package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/stetl/stetl/core/diag"
)

// table prints aligned columns. Columns whose name ends in "#" are numbers and
// are aligned to the right.
type table struct {
	header []string
	rows   [][]string
}

// add takes names of users' making: a cell stays on its line.
func (t *table) add(cells ...string) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = diag.Printable(c)
	}
	t.rows = append(t.rows, row)
}

// writeText writes a report for a person.
func writeText(w io.Writer, text string) error {
	_, err := io.WriteString(w, diag.PrintableText(text))
	return err
}

// writeJSON writes one object on a line, without the escapes that only HTML needs.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// writeLines writes one such line for each of a list.
func writeLines[T any](w io.Writer, list []T) error {
	b := bufio.NewWriter(w)
	for i := range list {
		if err := writeJSON(b, &list[i]); err != nil {
			return err
		}
	}
	return b.Flush()
}

func (t *table) write(w io.Writer) error {
	widths := make([]int, len(t.header))
	right := make([]bool, len(t.header))
	head := make([]string, len(t.header))
	for i, h := range t.header {
		head[i], right[i] = strings.CutSuffix(h, "#")
		widths[i] = utf8.RuneCountInString(head[i])
	}
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range append([][]string{head}, t.rows...) {
		var b strings.Builder
		b.WriteString("  ")
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			switch {
			case right[i]:
				b.WriteString(pad + cell)
			case i < len(row)-1:
				b.WriteString(cell + pad)
			default:
				b.WriteString(cell)
			}
			if i < len(row)-1 {
				b.WriteString("  ")
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// Number prints n with thin groups of three: 1,234,567.
func Number(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
