package pgdump

import (
	"bytes"
	"strings"
)

type kind uint8

const (
	tokEOF     kind = iota // text names what the end of the file cut, if anything
	tokWord                // keyword, unquoted name or number
	tokQuoted              // quoted identifier
	tokString              // any string constant
	tokPunct               // one byte of anything else
	tokComment             // a line comment without its dashes; cut when the file ends before the line does
)

// maxToken bounds what is kept of one token. Names have at most 63 bytes;
// function bodies and large objects are long but of no interest.
const maxToken = 4 << 10

type token struct {
	kind  kind
	space bool // white space or a comment lies before
	cut   bool // text is not all of it
	text  string
	off   int64
	line  int
}

// is reports whether the token is the given lower-case keyword or punctuation.
func (t token) is(s string) bool {
	return (t.kind == tokWord || t.kind == tokPunct) && strings.EqualFold(t.text, s)
}

func (t token) in(words ...string) bool {
	for _, w := range words {
		if t.is(w) {
			return true
		}
	}
	return false
}

// lexer cuts SQL into tokens the way psql does, so that nothing inside a
// string, a function body or a comment is taken for a statement.
type lexer struct {
	*window
	escapes bool // backslash escapes in ordinary strings: standard_conforming_strings = off
}

func (l *lexer) next() token {
	space := false
	for {
		c, ok := l.peek(0)
		switch {
		case !ok:
			return l.start(tokEOF, space)
		case isSpace(c):
			l.pos++
			space = true
			continue
		case c == '-' && l.at(1, '-'):
			return l.comment(space)
		case c == '/' && l.at(1, '*'):
			if !l.blockComment() {
				return l.unterminated("a comment")
			}
			space = true
			continue
		}
		t := l.start(tokPunct, space)
		switch {
		case c == '\'':
			return l.quoted(t, tokString, l.escapes)
		case c == '"':
			return l.quoted(t, tokQuoted, false)
		case c == '$':
			if tag := l.dollarTag(); tag != nil {
				return l.dollarQuoted(t, tag)
			}
		case isWord(c):
			return l.word(t)
		}
		l.pos++
		t.text = string(c)
		return t
	}
}

func (l *lexer) start(k kind, space bool) token {
	off, line := l.place()
	return token{kind: k, space: space, off: off, line: line}
}

func (l *lexer) unterminated(what string) token {
	t := l.start(tokEOF, true)
	t.text = what
	return t
}

// restOfLine reads to the end of the line and returns the text without the newline,
// and whether there was one.
func (l *lexer) restOfLine() (text string, complete bool) {
	var b prefix
	for {
		rest := l.buf[l.pos:l.end]
		i := bytes.IndexByte(rest, '\n')
		if i >= 0 {
			b.add(rest[:i])
			l.pos += i + 1
			return string(bytes.TrimSuffix(b.kept, []byte{'\r'})), true
		}
		b.add(rest)
		l.pos = l.end
		if !l.fill() {
			return string(b.kept), false
		}
	}
}

func (l *lexer) comment(space bool) token {
	t := l.start(tokComment, space)
	l.pos += 2
	text, complete := l.restOfLine()
	t.text, t.cut = text, !complete
	return t
}

func (l *lexer) blockComment() bool {
	l.pos += 2
	for depth := 1; depth > 0; {
		c, ok := l.peek(0)
		switch {
		case !ok:
			return false
		case c == '*' && l.at(1, '/'):
			depth--
			l.pos++
		case c == '/' && l.at(1, '*'):
			depth++
			l.pos++
		}
		l.pos++
	}
	return true
}

func (l *lexer) word(t token) token {
	t.kind = tokWord
	var b prefix
	for {
		i := l.pos
		for i < l.end && (isWord(l.buf[i]) || l.buf[i] == '$') {
			i++
		}
		b.add(l.buf[l.pos:i])
		l.pos = i
		if i < l.end || !l.fill() {
			break
		}
	}
	t.text, t.cut = string(b.kept), b.cut
	if strings.EqualFold(t.text, "e") && l.at(0, '\'') {
		return l.quoted(t, tokString, true)
	}
	return t
}

// quoted reads a string or a quoted identifier, in which a doubled quote
// stands for itself.
func (l *lexer) quoted(t token, k kind, escapes bool) token {
	t.kind = k
	quote := l.buf[l.pos]
	l.pos++
	var b prefix
	for {
		rest := l.buf[l.pos:l.end]
		i := bytes.IndexByte(rest, quote)
		if escapes {
			i = bytes.IndexAny(rest, `'\`)
		}
		if i < 0 {
			b.add(rest)
			l.pos = l.end
			if !l.fill() {
				if k == tokQuoted {
					return l.unterminated("a quoted identifier")
				}
				return l.unterminated("a quoted string")
			}
			continue
		}
		b.add(rest[:i])
		l.pos += i
		c, _ := l.peek(0)
		follower, ok := l.peek(1)
		switch {
		case c == '\\' && ok:
			b.add([]byte{c, follower}) // escapes matter only for finding the end
			l.pos += 2
		case c == quote && ok && follower == quote:
			b.add([]byte{quote})
			l.pos += 2
		case c == quote:
			l.pos++
			t.text, t.cut = string(b.kept), b.cut
			return t
		default: // a backslash is the last byte
			l.pos++
		}
	}
}

// dollarTag returns the opening "$tag$" without reading it, nil if there is none.
func (l *lexer) dollarTag() []byte {
	for i := 1; i < 64; i++ {
		c, ok := l.peek(i)
		switch {
		case !ok:
			return nil
		case c == '$':
			return bytes.Clone(l.buf[l.pos : l.pos+i+1])
		case !isWord(c) || i == 1 && isDigit(c):
			return nil
		}
	}
	return nil
}

func (l *lexer) dollarQuoted(t token, tag []byte) token {
	l.pos += len(tag)
	if !l.seek(tag) {
		return l.unterminated("a dollar-quoted string")
	}
	l.pos += len(tag)
	t.kind, t.cut = tokString, true
	return t
}

// prefix collects the first maxToken bytes of a token.
type prefix struct {
	kept []byte
	cut  bool
}

func (p *prefix) add(b []byte) {
	if room := maxToken - len(p.kept); len(b) > room {
		b, p.cut = b[:room], true
	}
	p.kept = append(p.kept, b...)
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || isDigit(c) || c >= 0x80
}

// quoteIdent renders a name as SQL writes it.
func quoteIdent(s string) string {
	plain := s != "" && !isDigit(s[0])
	for i := range len(s) {
		plain = plain && isWord(s[i]) && (s[i] < 'A' || s[i] > 'Z') && s[i] < 0x80
	}
	if plain {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}
