package config

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
)

// file is one configuration file: its text, its tree and what was found in it.
type file struct {
	path   string
	text   string // line ends are "\n"
	lines  []string
	lineAt []int  // byte offset of each line, line ends counted as one
	root   *node  // nil when the text could not be parsed
	starts []int  // offsets of all YAML nodes, sorted
	values []span // scalars that are no keys, sorted; to is 0 where the end is not known
	found  diag.List
}

// add records d at p. Excerpts come later, when it is known what is secret.
func (f *file) add(d diag.Diagnostic, p place) {
	d.Pos = f.pos(p)
	f.found.Add(d)
}

// pos returns p as a position inside the text: YAML places a value that is not
// there, such as the empty document after "---", on the line after the last.
func (f *file) pos(p place) diag.Pos {
	if p.line > len(f.lines) {
		p = place{len(f.lines), math.MaxInt}
	}
	end := utf8.RuneCountInString(f.lines[p.line-1]) + 1
	return diag.Pos{File: f.path, Line: p.line, Col: min(p.col, end)}
}

// take returns everything recorded since the last call, sorted and with excerpts.
func (f *file) take() diag.List {
	list := f.found
	f.found = nil
	masks := f.masks()
	for i := range list {
		list[i].Snippet = f.snippet(list[i], masks)
	}
	list.Sort()
	return list
}

// locate returns a copy of list with positions in the tree at root for paths that start at
// base.
func (f *file) locate(root *node, base []string, list diag.List) diag.List {
	list = slices.Clone(list)
	if root == nil {
		return list
	}
	masks := f.masks()
	for i, d := range list {
		if d.Path == "" {
			continue
		}
		path := append(slices.Clip(base), diag.Steps(d.Path)...)
		n := root.nearest(path)
		at := n.anchor()
		if d.Pos.File == "" && d.Pos.Line > 0 {
			at = f.inside(n, place{d.Pos.Line, d.Pos.Col})
		}
		d.Path, d.Pos = diag.Pointer(path...), f.pos(at)
		d.Snippet = f.snippet(d, masks)
		list[i] = d
	}
	return list
}

// inside returns the place in the file of one in the text of a scalar, or the
// scalar's own where that cannot be told.
func (f *file) inside(n *node, in place) place {
	wanted := strings.Split(n.text, "\n")
	if n.kind != scalar || in.line > len(wanted) {
		return n.anchor()
	}
	text := wanted[in.line-1]
	if len(wanted) == 1 { // plain, or quoted without escapes
		rest := f.text[f.offset(n.at):]
		for _, quote := range []string{"", `"`, "'"} {
			if strings.HasPrefix(rest, quote+text) && (quote == "" || strings.HasPrefix(rest, quote+text+quote)) {
				return place{n.at.line, n.at.col + len(quote) + in.col - 1}
			}
		}
	}
	line := n.at.line + in.line // a block starts on the line after its mark
	if line > len(f.lines) {
		return n.anchor()
	}
	before, found := strings.CutSuffix(f.lines[line-1], text)
	if !found || strings.Trim(before, " ") != "" {
		return n.anchor()
	}
	return place{line, utf8.RuneCountInString(before) + in.col}
}

// offset turns a place into a byte offset of the lines joined by "\n".
func (f *file) offset(p place) int {
	if p.line < 1 || p.line > len(f.lines) {
		return 0
	}
	return f.lineAt[p.line-1] + byteCol(f.lines[p.line-1], p.col)
}

// byteCol returns the byte offset in line of a column counted in characters.
func byteCol(line string, col int) int {
	for i := range line {
		if col--; col <= 0 {
			return i
		}
	}
	return len(line)
}

type span struct{ from, to int }

// masks returns the parts of the text that must not be shown: every value that no
// schema has cleared, up to its end or the start of whatever comes next. Values
// that did not make it into the tree, such as duplicates, are never cleared.
func (f *file) masks() []span {
	if f.root == nil {
		return nil
	}
	cleared := map[int]bool{}
	f.root.walk(func(n *node) {
		if n.kind == scalar {
			at := f.offset(n.at)
			before, seen := cleared[at]
			cleared[at] = !n.hidden && (before || !seen) // one alias that is a secret hides the text
		}
	})
	var spans []span
	for _, s := range f.values {
		if cleared[s.from] {
			continue
		}
		if s.to == 0 {
			s.to = len(f.text)
			if next, _ := slices.BinarySearch(f.starts, s.from+1); next < len(f.starts) {
				s.to = f.starts[next]
			}
			s.to = s.from + len(strings.TrimRight(f.text[s.from:s.to], " \t\n,"))
		}
		spans = append(spans, s)
	}
	return spans
}

// maxExcerpt keeps a machine-written one-line file with thousands of problems from
// costing time by the square of its length.
const maxExcerpt = 4 << 10

// snippet returns the line d points into, with secrets masked and the underline
// placed.
func (f *file) snippet(d diag.Diagnostic, masks []span) diag.Snippet {
	line := f.lines[d.Pos.Line-1]
	if len(line) > maxExcerpt {
		return diag.Snippet{}
	}
	if f.root == nil {
		// Without a tree nothing says where a secret is: show the key alone.
		key, _, ok := strings.Cut(line+" ", ": ")
		if !ok || strings.ContainsAny(key, "{[\"'#") {
			return diag.Snippet{}
		}
		return diag.Snippet{Text: key + ": …"}
	}

	start := f.offset(place{d.Pos.Line, 1})
	target := byteCol(line, d.Pos.Col)
	s := diag.Snippet{Width: width(line[target:])}
	var out strings.Builder
	for i := 0; i < len(line); {
		m := spanAt(masks, start+i)
		if m == nil {
			if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') && spanAt(f.values, start+i) == nil {
				break // a comment explains nothing here and may hold anything
			}
			if i == target {
				s.Col = utf8.RuneCountInString(out.String()) + 1
			}
			_, size := utf8.DecodeRuneInString(line[i:])
			out.WriteString(line[i : i+size])
			i += size
			continue
		}
		end := min(m.to-start, len(line))
		if i <= target && target < end {
			s.Col, s.Width = utf8.RuneCountInString(out.String())+1, utf8.RuneCountInString(canonical.Redacted)
		}
		out.WriteString(canonical.Redacted)
		i = end
	}
	s.Text = strings.TrimRight(out.String(), " \t")
	if s.Col == 0 {
		s.Col = utf8.RuneCountInString(s.Text) + 1
	}
	return s
}

// spanAt returns the span that covers the offset at, or nil.
func spanAt(spans []span, at int) *span {
	i, _ := slices.BinarySearchFunc(spans, at+1, func(s span, at int) int { return cmp.Compare(s.from, at) })
	if i == 0 || spans[i-1].to <= at {
		return nil
	}
	return &spans[i-1]
}

// width is the number of characters of the token at the start of rest: up to the
// closing quote, or to what ends a plain scalar.
func width(rest string) int {
	if rest == "" {
		return 1
	}
	end := len(rest)
	if q := rest[0]; q == '"' || q == '\'' {
		if i := strings.IndexByte(rest[1:], q); i >= 0 {
			end = i + 2
		}
	} else {
		for _, stop := range []string{": ", " #", ", "} {
			if i := strings.Index(rest, stop); i > 0 {
				end = min(end, i)
			}
		}
		rest = strings.TrimRight(rest[:end], " \t:,]}")
		end = len(rest)
	}
	return max(1, utf8.RuneCountInString(rest[:end]))
}
