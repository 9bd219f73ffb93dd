package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

type shape uint8

const (
	scalar shape = iota
	object
	array
)

// place is a position in the file, counted from 1 in lines and characters.
type place struct{ line, col int }

// node is one value of the configuration, with its place.
type node struct {
	kind      shape
	path      []string // from the root, unescaped
	at        place    // where the value starts
	key       place    // where the key that names it starts; zero in arrays and at the root
	text      string   // scalars: as written, references included
	val       any      // scalars: nil, bool, int64, uint64, float64 or string after expansion
	refs      []string // the references in text, as written; none means a literal
	whole     bool     // text is one reference and nothing else
	expansion string   // scalars: text with the references replaced
	pieces    []piece  // scalars with references: the parts of expansion
	secret    bool     // a schema calls it a secret
	declared  bool     // a schema speaks about it
	hidden    bool     // a literal that must not be printed; true until a schema has judged it
	bad       bool     // reported already: further findings here would be noise

	names  []string // objects: keys in the order of the file
	fields map[string]*node
	items  []*node
}

// piece is a part of an expansion: as it was written, or what a reference stands for.
type piece struct {
	text    string
	literal bool
}

func newObject(path []string, at place) *node {
	return &node{kind: object, path: path, at: at, fields: map[string]*node{}}
}

// get returns the value under the names, or nil.
func (n *node) get(names ...string) *node {
	for _, name := range names {
		if n == nil {
			return nil
		}
		n = n.fields[name]
	}
	return n
}

// absent reports whether there is nothing: no node or an explicit null.
func (n *node) absent() bool {
	return n == nil || n.kind == scalar && n.val == nil && !n.bad
}

// str returns the expanded text, or "" for everything that is not text.
func (n *node) str() string {
	if n == nil {
		return ""
	}
	s, _ := n.val.(string)
	return s
}

// isTrue reports whether the value is true.
func (n *node) isTrue() bool { return n != nil && n.val == true }

// nearest follows tokens as far as they exist.
func (n *node) nearest(tokens []string) *node {
	for _, t := range tokens {
		next := n.fields[t]
		if i, err := strconv.Atoi(t); err == nil && i >= 0 && i < len(n.items) {
			next = n.items[i]
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// walk calls visit for n and everything under it, in the order of the file.
func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, name := range n.names {
		n.fields[name].walk(visit)
	}
	for _, item := range n.items {
		item.walk(visit)
	}
}

// decoded returns n as encoding/json would hold it. leaf chooses what stands for
// each scalar; a scalar for which it reports false is left out of its object, and null in a
// list.
func (n *node) decoded(leaf func(*node) (any, bool)) any {
	switch n.kind {
	case object:
		m := make(map[string]any, len(n.names))
		for _, name := range n.names {
			child := n.fields[name]
			if child.kind == scalar {
				if v, ok := leaf(child); ok {
					m[name] = v
				}
				continue
			}
			m[name] = child.decoded(leaf)
		}
		return m
	case array:
		list := make([]any, 0, len(n.items))
		for _, item := range n.items {
			list = append(list, item.decoded(leaf))
		}
		return list
	default:
		if v, ok := leaf(n); ok {
			return v
		}
		return nil
	}
}

// anchor is the best place to point at when talking about n: scalars are seen in
// their value, containers in their key.
func (n *node) anchor() place {
	if n.kind != scalar && n.key != (place{}) {
		return n.key
	}
	return n.at
}

var plainName = regexp.MustCompile(`^[\pL\pN_-]+$`)

// human names a path for messages: target.config.servers[0].url.
func human(path []string) string {
	if len(path) == 0 {
		return "the configuration"
	}
	var b strings.Builder
	for i, t := range path {
		switch {
		case i > 0 && isIndex(t):
			fmt.Fprintf(&b, "[%s]", t)
		case !plainName.MatchString(t):
			fmt.Fprintf(&b, "[%q]", t)
		case i > 0:
			b.WriteString("." + t)
		default:
			b.WriteString(t)
		}
	}
	return b.String()
}

func isIndex(t string) bool {
	return t != "" && strings.Trim(t, "0123456789") == ""
}
