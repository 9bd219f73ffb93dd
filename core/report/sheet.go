package report

import (
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stetl/stetl/core/diag"
)

// Screen is a writer that reports for people fit into. Without columns, and on any other
// writer, lines are as long as they are.
type Screen struct {
	io.Writer
	Columns int
}

// sheet is a report for a person that is being written. Writing to it does not fail.
type sheet struct {
	strings.Builder
	columns int // 0 for any number
}

func newSheet(w io.Writer) *sheet {
	p := &sheet{}
	if s, ok := w.(Screen); ok {
		p.columns = s.Columns
	}
	return p
}

// WriteParagraphs writes a text that fits the screen.
func WriteParagraphs(w io.Writer, text string) error {
	p := newSheet(w)
	p.WriteString(text)
	return p.flush(w)
}

// flush writes the page to w. Lines that are longer than the screen break between words.
func (p *sheet) flush(w io.Writer) error {
	text := diag.PrintableText(p.String())
	if p.columns > 0 {
		var b strings.Builder
		for line := range strings.SplitAfterSeq(text, "\n") {
			b.WriteString(p.broken(line))
		}
		text = b.String()
	}
	_, err := io.WriteString(w, text)
	return err
}

// Fill breaks a paragraph between words into lines of at most so many columns.
func Fill(text string, columns int) string {
	return (&sheet{columns: columns}).broken(text)
}

// broken breaks a line; what follows stands under its beginning.
func (p *sheet) broken(line string) string {
	text, end := strings.CutSuffix(line, "\n")
	if utf8.RuneCountInString(text) <= p.columns {
		return line
	}
	left := strings.Repeat(" ", min(len(text)-len(strings.TrimLeft(text, " ")), p.columns/2))
	var b strings.Builder
	length := 0
	for i, word := range strings.Split(strings.TrimLeft(text, " "), " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
			b.WriteString(left + word)
			length = len(left) + n
		case length+1+n <= p.columns:
			b.WriteString(" " + word)
			length += 1 + n
		default:
			b.WriteString("\n" + left + word)
			length = len(left) + n
		}
	}
	if end {
		b.WriteByte('\n')
	}
	return b.String()
}

const (
	// widestWord is how much of a word is kept whole, as long as there is room: an id.
	widestWord = 36
	// leastWidth is what every column of texts gets.
	leastWidth = 8
)

// fit makes columns of texts narrower until a table fits, and says what stands between
// columns. First cells break between words, then columns move together, then words break.
func fit(widths []int, right []bool, lines [][]string, columns int) (gap string) {
	gap = "  "
	wide := func() int {
		total := 2 + len(gap)*(len(widths)-1)
		for _, w := range widths {
			total += w
		}
		return total
	}
	if columns <= 0 || wide() <= columns {
		return gap
	}
	floors := make([]int, len(widths))
	for n, row := range lines {
		for i, cell := range row {
			if right[i] && n > 0 {
				floors[i] = max(floors[i], utf8.RuneCountInString(cell)) // a number does not break
				continue
			}
			for _, word := range strings.Fields(cell) {
				floors[i] = max(floors[i], min(utf8.RuneCountInString(word), widestWord))
			}
		}
	}
	shrink(widths, floors, func() bool { return wide() > columns })
	if wide() > columns {
		gap = " "
	}
	for i := range floors {
		if !right[i] {
			floors[i] = min(floors[i], leastWidth)
		}
	}
	shrink(widths, floors, func() bool { return wide() > columns })
	return gap
}

// shrink takes from whatever is widest, as long as there is too much.
func shrink(widths, floors []int, tooMuch func() bool) {
	for tooMuch() {
		spare := make([]int, len(widths))
		for i := range widths {
			if widths[i] > floors[i] {
				spare[i] = widths[i]
			}
		}
		if widest := slices.Max(spare); widest > 0 {
			widths[slices.Index(spare, widest)]--
			continue
		}
		return
	}
}

// wrap breaks a cell into lines of at most that width, between words where it can.
func wrap(cell string, width int) []string {
	if utf8.RuneCountInString(cell) <= width || width <= 0 {
		return []string{cell}
	}
	var lines []string
	line := []rune{}
	for _, word := range strings.Fields(cell) {
		w := []rune(word)
		if len(line) > 0 && len(line)+1+len(w) <= width {
			line = append(append(line, ' '), w...)
			continue
		}
		if len(line) > 0 {
			lines = append(lines, string(line))
		}
		for len(w) > width {
			lines = append(lines, string(w[:width]))
			w = w[width:]
		}
		line = w
	}
	return append(lines, string(line))
}
