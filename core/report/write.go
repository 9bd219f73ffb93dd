package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/stetl/stetl/core/diag"
)

// FormatVersion is that of what commands print as JSON. Within one version fields are only
// added: a reader ignores those that it does not know.
const FormatVersion = 1

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

// WriteJSON writes what a command prints as JSON: one object on a line, which begins with
// the version of its form, without the escapes that only HTML needs.
func WriteJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	if err := writeLine(&b, v); err != nil {
		return err
	}
	object := bytes.TrimPrefix(b.Bytes(), []byte("{"))
	comma := ","
	if object[0] == '}' {
		comma = ""
	}
	_, err := fmt.Fprintf(w, `{"format_version":%d%s%s`, FormatVersion, comma, object)
	return err
}

func writeLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// writeLines writes one such line for each of a list.
func writeLines[T any](w io.Writer, list []T) error {
	b := bufio.NewWriter(w)
	for i := range list {
		if err := writeLine(b, &list[i]); err != nil {
			return err
		}
	}
	return b.Flush()
}

// write prints the table as wide as it is, or so that it fits the page.
func (t *table) write(p *sheet) error {
	widths := make([]int, len(t.header))
	right := make([]bool, len(t.header))
	head := make([]string, len(t.header))
	for i, h := range t.header {
		head[i], right[i] = strings.CutSuffix(h, "#")
	}
	lines := append([][]string{head}, t.rows...)
	for _, row := range lines {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	gap := fit(widths, right, lines, p.columns)
	for _, row := range lines {
		if err := writeRow(p, row, widths, right, gap); err != nil {
			return err
		}
	}
	return nil
}

// writeRow prints one row; cells that are wider than their column go on below.
func writeRow(w io.Writer, row []string, widths []int, right []bool, gap string) error {
	cells, height := make([][]string, len(row)), 1
	for i, cell := range row {
		cells[i] = wrap(cell, widths[i])
		height = max(height, len(cells[i]))
	}
	for n := range height {
		var b strings.Builder
		b.WriteString("  ")
		for i := range row {
			text := ""
			if n < len(cells[i]) {
				text = cells[i][n]
			}
			pad := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(text)))
			if right[i] {
				text, pad = pad, text
			}
			b.WriteString(text + pad)
			if i < len(row)-1 {
				b.WriteString(gap)
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// Accounts prints how many: "1 account", "2 accounts".
func Accounts(n int) string {
	if n == 1 {
		return "1 account"
	}
	return Number(n) + " accounts"
}

// Number prints n with thin groups of three: 1,234,567.
func Number(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
