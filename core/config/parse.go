package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/stetl/stetl/core/diag"
)

// Bounds of a configuration, far above any real one. yaml.v3 stops alias bombs
// only when it decodes into Go values, not when it builds nodes, so the count
// here is the guard.
const (
	maxBytes  = 1 << 20
	maxValues = 10_000
	maxDepth  = 64
)

// parse fills f.lines, f.starts and f.root. The root stays nil when the text
// cannot be understood at all.
func (f *file) parse(text []byte) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	f.text = strings.ReplaceAll(string(text), "\r\n", "\n")
	f.lines = strings.Split(f.text, "\n")
	f.lineAt = make([]int, len(f.lines))
	for i, line := range f.lines {
		if i+1 < len(f.lines) {
			f.lineAt[i+1] = f.lineAt[i] + len(line) + 1
		}
	}
	if !f.plainText() {
		return
	}

	dec := yaml.NewDecoder(strings.NewReader(f.text))
	var doc, second yaml.Node
	switch err := decode(dec, &doc); {
	case errors.Is(err, io.EOF):
		f.root = newObject(nil, place{1, 1})
		return
	case err != nil:
		f.syntax(err)
		return
	}
	switch err := decode(dec, &second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		f.syntax(err)
		return
	default:
		f.add(diag.Diagnostic{
			Code:    diag.ConfigMultipleDocuments,
			Summary: "a second YAML document starts here",
			Hint:    "keep one document per file",
		}, place{second.Line, second.Column})
	}

	for _, y := range append(doc.Content, second.Content...) {
		f.index(y, false)
	}
	slices.Sort(f.starts)
	slices.SortFunc(f.values, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	b := builder{file: f}
	f.root = b.value(doc.Content[0], nil)
	if b.stopped {
		f.root = nil
		return
	}
	if f.root.kind == scalar && f.root.val == nil && !f.root.bad {
		f.root = newObject(nil, f.root.at)
	}
}

// decode shields against the parser: the library is archived, and a panic in it
// must not take the process down.
func decode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("the YAML parser could not read this text")
		}
	}()
	return dec.Decode(n)
}

// plainText refuses what editors and the YAML parser would count differently:
// positions would point at the wrong line.
func (f *file) plainText() bool {
	for i, line := range f.lines {
		what := ""
		col := 1
		if !utf8.ValidString(line) {
			what = "a byte that is not UTF-8"
			for len(line) > 0 {
				r, size := utf8.DecodeRuneInString(line)
				if r == utf8.RuneError && size == 1 {
					break
				}
				line, col = line[size:], col+1
			}
		} else if at := strings.IndexAny(line, "\r\u0085\u2028\u2029\x00"); at >= 0 {
			col = utf8.RuneCountInString(line[:at]) + 1
			what = fmt.Sprintf("the unusual line break or control character %U", []rune(line)[col-1])
		}
		if what != "" {
			f.add(diag.Diagnostic{
				Code:    diag.ConfigEncoding,
				Summary: "the file holds " + what,
				Hint:    `save it as UTF-8 with ordinary line ends; inside "…" write the character as an escape`,
			}, place{i + 1, col})
			return false
		}
	}
	return true
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// syntax reports an error of the parser.
func (f *file) syntax(err error) {
	m := yamlLine.FindStringSubmatch(err.Error())
	line := f.brokenLine(m[1])
	source := f.lines[line-1]
	d := diag.Diagnostic{Code: diag.ConfigSyntax, Summary: "not valid YAML: " + strings.TrimPrefix(err.Error(), m[0])}
	indent := len(source) - len(strings.TrimLeft(source, " \t"))
	flow := strings.IndexAny(source, "{[")
	switch {
	case strings.Contains(source[:indent], "\t"):
		d.Hint = "indent with spaces, not with tabs"
	case flow >= 0 && strings.Contains(source[flow+1:], "${"):
		d.Hint = `inside { } and [ ] a reference needs quotes: "${env:NAME}"`
	}
	f.add(d, place{line, indent + 1})
}

// maxProbed bounds the search in brokenLine, which parses once per line: the
// number of lines times the length of the text.
const maxProbed = 4 << 20

// brokenLine returns the line after the longest beginning of the file that is
// valid. The parser's own answer (reported) is often the start of the mapping
// that surrounds the mistake; it serves where the file is too long to search.
func (f *file) brokenLine(reported string) int {
	if len(f.lines)*len(f.text) <= maxProbed {
		for n := len(f.lines) - 1; n > 0; n-- {
			dec := yaml.NewDecoder(strings.NewReader(strings.Join(f.lines[:n], "\n")))
			var err error
			for err == nil {
				var doc yaml.Node
				err = decode(dec, &doc)
			}
			if errors.Is(err, io.EOF) {
				return n + 1
			}
		}
		return 1
	}
	line, err := strconv.Atoi(reported)
	if err != nil {
		return 1
	}
	return max(1, min(line, len(f.lines)))
}

type builder struct {
	*file
	count   int
	stopped bool
}

// value converts a YAML node that stands at path.
func (b *builder) value(y *yaml.Node, path []string) *node {
	for y.Kind == yaml.AliasNode {
		y = y.Alias
	}
	n := &node{path: path, at: place{y.Line, y.Column}, hidden: true}
	if b.count++; b.count > maxValues || len(path) > maxDepth {
		if !b.stopped {
			b.add(diag.Diagnostic{
				Code:    diag.ConfigTooLarge,
				Summary: fmt.Sprintf("the configuration has more than %d values or %d levels here", maxValues, maxDepth),
				Hint:    "check for an alias that contains itself",
			}, n.at)
		}
		b.stopped = true
	}
	if b.stopped {
		n.bad = true
		return n
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.kind, n.fields = object, map[string]*node{}
		b.mapping(n, y)
	case yaml.SequenceNode:
		n.kind = array
		for i, item := range y.Content {
			n.items = append(n.items, b.value(item, append(slices.Clip(path), strconv.Itoa(i))))
		}
	default:
		n.text = y.Value
		b.scalar(n, y)
	}
	if tag := y.ShortTag(); n.kind != scalar && tag != "!!map" && tag != "!!seq" {
		b.unsupported(n, "the tag "+tag)
	}
	return n
}

func (b *builder) mapping(n *node, y *yaml.Node) {
	var merged []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, val := y.Content[i], y.Content[i+1]
		at := place{key.Line, key.Column}
		for key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch first := n.fields[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			b.unsupported(&node{path: n.path, at: at}, "a list or mapping as a key")
		case key.ShortTag() == "!!merge":
			merged = append(merged, val)
		case first != nil:
			b.add(diag.Diagnostic{
				Code:    diag.ConfigDuplicateField,
				Summary: fmt.Sprintf("%q is given twice", key.Value),
				Path:    diag.Pointer(first.path...),
				Detail:  fmt.Sprintf("first given on line %d", first.key.line),
				Hint:    "keep one of the two",
			}, at)
		default:
			b.field(n, key.Value, at, b.value(val, append(slices.Clip(n.path), key.Value)))
		}
	}
	for _, val := range merged {
		b.merge(n, val)
	}
}

func (b *builder) field(n *node, name string, at place, child *node) {
	child.key = at
	n.names = append(n.names, name)
	n.fields[name] = child
}

// merge implements the key "<<": fields of n win, then earlier sources.
func (b *builder) merge(n *node, y *yaml.Node) {
	for y.Kind == yaml.AliasNode {
		y = y.Alias
	}
	sources := []*yaml.Node{y}
	if y.Kind == yaml.SequenceNode {
		sources = y.Content
	}
	for _, source := range sources {
		s := b.value(source, n.path)
		if s.kind != object && !s.bad {
			b.unsupported(s, "a merge (<<) of something that is not a mapping")
		}
		for _, name := range s.names {
			if n.fields[name] == nil {
				b.field(n, name, s.fields[name].key, s.fields[name])
			}
		}
	}
}

func (b *builder) scalar(n *node, y *yaml.Node) {
	switch tag := y.ShortTag(); tag {
	case "!!str", "!!merge", "!!timestamp":
		n.val = y.Value
	case "!!null":
	case "!!bool", "!!int", "!!float":
		if err := y.Decode(&n.val); err != nil {
			b.unsupported(n, "a value that does not fit its tag "+tag)
			return
		}
		switch v := n.val.(type) {
		case bool, uint64, int64:
		case int:
			n.val = int64(v)
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				b.unsupported(n, "a number that is not finite")
			}
		default:
			b.unsupported(n, "a value that does not fit its tag "+tag)
		}
	default:
		b.unsupported(n, "the tag "+tag)
	}
}

func (b *builder) unsupported(n *node, what string) {
	n.bad, n.val = true, nil
	b.add(diag.Diagnostic{
		Code:    diag.ConfigUnsupportedYAML,
		Summary: "the configuration does not support " + what,
		Path:    diag.Pointer(n.path...),
		Hint:    "write a plain string, number, boolean, list or mapping",
	}, n.at)
}

// index notes where nodes start and, for values, end.
func (f *file) index(y *yaml.Node, key bool) {
	at := f.offset(place{y.Line, y.Column})
	f.starts = append(f.starts, at)
	if y.Kind == yaml.ScalarNode && !key && y.Value != "" {
		s := span{from: at}
		if token := scalarToken(f.text[at:], y); token != "" {
			s.to = at + len(token)
		}
		f.values = append(f.values, s)
	}
	for i, child := range y.Content {
		f.index(child, y.Kind == yaml.MappingNode && i%2 == 0)
	}
}

var (
	doubleQuoted = regexp.MustCompile(`^"(?:[^"\\]|\\(?s:.))*"`)
	singleQuoted = regexp.MustCompile(`^'(?:[^']|'')*'`)
)

// scalarToken returns the scalar y as written at the start of text. YAML's nodes
// have no end; where it does not show (blocks, plain text over several lines,
// anchors and tags in front) the result is "".
func scalarToken(text string, y *yaml.Node) string {
	switch {
	case y.Style == yaml.DoubleQuotedStyle:
		return doubleQuoted.FindString(text)
	case y.Style == yaml.SingleQuotedStyle:
		return singleQuoted.FindString(text)
	case y.Style == 0 && strings.HasPrefix(text, y.Value):
		return y.Value
	}
	return ""
}
