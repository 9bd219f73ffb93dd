package mysqldump

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// mode is what a session has set that decides how statements are read.
type mode struct {
	noBackslash bool // NO_BACKSLASH_ESCAPES
	ansiQuotes  bool // ANSI_QUOTES: "name" is a name
	charset     string
}

type kind int

const (
	tokenEnd    kind = iota // of the dump
	tokenStop               // the end of a statement
	tokenWord               // a keyword, a number, or a name without quotes
	tokenName               // a name in quotes
	tokenString             // a text
	tokenSign               // any other byte
)

type token struct {
	kind kind
	text string // of a text the beginning
	off  int64
	line int
}

// is reports whether the token is this keyword.
func (t token) is(keyword string) bool {
	return t.kind == tokenWord && strings.EqualFold(t.text, keyword)
}

func (t token) isSign(c byte) bool { return t.kind == tokenSign && t.text[0] == c }

// isIdentifier reports whether the token can name something.
func (t token) isIdentifier() bool { return t.kind == tokenWord || t.kind == tokenName }

const (
	// maxToken bounds what is kept of a token. Names have 64 characters at most.
	maxToken = 4 << 10
	// neverRun is a version of the server that there is not: what asks for it is a comment.
	neverRun = 999999
)

// lexer splits a dump into tokens. What stands in comments that servers execute counts
// as if it stood outside of them.
type lexer struct {
	*window
	mode      mode
	delimiter string
	executed  bool // within a comment that servers execute
	comment   func(text string)
}

var (
	lineEnd     = bytesOf("\n")
	starOnly    = bytesOf("*")
	wordStop    = wordStops()
	singleStops = bytesOf(`'\`)
	doubleStops = bytesOf(`"\`)
	nameStops   = bytesOf("`")

	statementStops = bytesOf(outside + usualDelimiter)
)

const (
	usualDelimiter = ";"
	// outside are the bytes that mean something outside of quotes.
	outside = "'\"`#-/*"
)

func forget([]byte) {}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// wordStops are the bytes that end a word: all but those of words, which may have any
// character that is not ASCII.
func wordStops() *[256]bool {
	stops := allBut(digits + letters + "_$@")
	for c := utf8.RuneSelf; c < len(stops); c++ {
		stops[c] = false
	}
	return stops
}

func allBut(text string) *[256]bool {
	set := bytesOf(text)
	for c := range set {
		set[c] = !set[c]
	}
	return set
}

// collect keeps the beginning of what passes.
func collect(to *[]byte) func([]byte) {
	return func(piece []byte) {
		if room := maxToken - len(*to); room > 0 {
			*to = append(*to, piece[:min(room, len(piece))]...)
		}
	}
}

// space skips blanks and comments, and reports whether it could: a comment that has no
// end is where the dump was cut.
func (l *lexer) space() bool {
	for {
		switch c := l.peek(0); {
		case c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == '\v':
			l.pos++
		case c == '#', c == '-' && l.peek(1) == '-' && l.peek(2) <= ' ':
			var text []byte
			l.until(lineEnd, collect(&text))
			if l.comment != nil {
				l.comment(strings.TrimRight(string(text), "\r"))
			}
		case c == '*' && l.executed && l.peek(1) == '/':
			l.pos += 2
			l.executed = false
		case c == '/' && l.peek(1) == '*':
			if !l.remark() {
				return false
			}
		default:
			return true
		}
	}
}

// remark enters a comment that servers execute, and skips another one.
func (l *lexer) remark() bool {
	at := 2
	if l.peek(at) == 'M' && l.peek(at+1) == '!' {
		at++
	}
	if l.peek(at) == '!' {
		version, length := 0, 0
		for at++; length < 6; length++ {
			c := l.peek(at + length)
			if c < '0' || c > '9' {
				break
			}
			version = 10*version + int(c-'0')
		}
		if version < neverRun {
			l.pos += at + length
			l.executed = true
			return true
		}
	}
	for l.pos += 2; l.until(starOnly, nil); l.pos++ {
		if l.peek(1) == '/' {
			l.pos += 2
			return true
		}
	}
	return false
}

// next is the next token.
func (l *lexer) next() (token, error) {
	if !l.space() {
		return token{}, l.cut("in the middle of a comment")
	}
	off, line := l.place()
	t := token{off: off, line: line}
	if l.atEnd() {
		return t, l.err
	}
	c := l.peek(0)
	switch {
	case l.atDelimiter():
		l.pos += len(l.delimiter)
		t.kind = tokenStop
		return t, nil
	case c == '`', c == '"' && l.mode.ansiQuotes:
		t.kind = tokenName
	case c == '\'' || c == '"':
		t.kind = tokenString
	case !wordStop[c]:
		var text []byte
		l.until(wordStop, collect(&text))
		t.kind, t.text = tokenWord, string(text)
		return t, l.err
	default:
		l.pos++
		t.kind, t.text = tokenSign, string(c)
		return t, nil
	}
	var text []byte
	l.pos++
	err := l.quoted(c, t.kind == tokenString, collect(&text))
	t.text = string(text)
	return t, err
}

func (l *lexer) atDelimiter() bool {
	for i := range len(l.delimiter) {
		if l.peek(i) != l.delimiter[i] {
			return false
		}
	}
	return true
}

// quoted reads what stands in quotes, behind the first one, and gives it to take
// without them. Only texts have escapes.
func (l *lexer) quoted(quote byte, text bool, take func([]byte)) error {
	stops := nameStops
	switch quote {
	case '\'':
		stops = singleStops
	case '"':
		stops = doubleStops
	}
	for l.until(stops, take) {
		c := l.buf[l.pos]
		if c == '\\' {
			if !text || l.mode.noBackslash {
				take(one[c])
				l.pos++
				continue
			}
			l.peek(1)
			if l.end-l.pos < 2 {
				break
			}
			take(escapes[l.buf[l.pos+1]])
			l.pos += 2
			continue
		}
		l.pos++
		if l.peek(0) != quote || l.pos == l.end {
			return l.err
		}
		take(one[quote])
		l.pos++
	}
	l.pos = l.end
	return l.cut("in the middle of a text")
}

// one is each byte.
var one = func() (out [256][]byte) {
	for c := range out {
		out[c] = []byte{byte(c)}
	}
	return out
}()

// escapes are what the server makes of a letter behind a backslash. Any other byte is
// itself, but % and _ keep the backslash.
var escapes = func() [256][]byte {
	out := one
	for c, is := range map[byte]string{'0': "\x00", 'b': "\b", 'n': "\n", 'r': "\r", 't': "\t", 'Z': "\x1a", '%': `\%`, '_': `\_`} {
		out[c] = []byte(is)
	}
	return out
}()

// cut is the error for a dump that ends too early.
func (l *lexer) cut(where string) error {
	if l.err != nil {
		return l.err
	}
	off, line := l.place()
	return &SyntaxError{Line: line, Offset: off, Msg: "the file ends " + where, Hint: hintCut}
}

// skipStatement moves behind the end of the statement, which is quick because nearly all
// of a dump is read like this.
func (l *lexer) skipStatement() error {
	stops := statementStops
	if l.delimiter != usualDelimiter {
		stops = bytesOf(outside + l.delimiter[:1])
	}
	for l.until(stops, nil) {
		c := l.buf[l.pos]
		switch {
		case l.atDelimiter():
			l.pos += len(l.delimiter)
			return nil
		case c == '\'', c == '"', c == '`':
			l.pos++
			if err := l.quoted(c, c != '`' && (c == '\'' || !l.mode.ansiQuotes), forget); err != nil {
				return err
			}
		default:
			before := l.base + int64(l.pos)
			if !l.space() {
				return l.cut("in the middle of a comment")
			}
			if l.base+int64(l.pos) == before {
				l.pos++
			}
		}
	}
	return l.cut("in the middle of a statement")
}

// passing skips keywords, and gives the token behind them.
func (l *lexer) passing(keywords ...string) (token, error) {
	for {
		t, err := l.next()
		if err != nil || !slices.ContainsFunc(keywords, t.is) {
			return t, err
		}
	}
}

// name reads the name of a table, which begins with t and is in this database unless it
// says otherwise.
func (l *lexer) name(t token, database string) (TableName, error) {
	const missing = "the name of a table is missing"
	if !t.isIdentifier() {
		return TableName{}, fail(t, missing, hintDamaged)
	}
	if !l.space() {
		return TableName{}, l.cut("in the middle of a comment")
	}
	if l.peek(0) != '.' {
		return TableName{database, t.text}, l.err
	}
	l.pos++
	second, err := l.next()
	if err == nil && !second.isIdentifier() {
		err = fail(second, missing, hintDamaged)
	}
	return TableName{t.text, second.text}, err
}

// into reads an INSERT statement as far as the name of the table.
func (l *lexer) into(database string) (TableName, error) {
	t, err := l.passing("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO")
	if err != nil {
		return TableName{}, err
	}
	return l.name(t, database)
}

// rest skips the rest of a statement of which t is the last token that was read.
func (l *lexer) rest(t token, err error) error {
	switch {
	case err != nil || t.kind == tokenStop:
		return err
	case t.kind == tokenEnd:
		return l.cut("in the middle of a statement")
	}
	return l.skipStatement()
}

// maxItem bounds what is kept of a definition.
const maxItem = 1 << 12

// item is one of a list: the tokens up to the next comma that is in no brackets. A list
// that is in brackets itself ends with them, another one with the statement; last says
// that it does.
func (l *lexer) item(bracketed bool) (tokens []token, last bool, err error) {
	for depth := 0; ; {
		t, err := l.next()
		switch {
		case err != nil:
			return nil, false, err
		case t.kind == tokenEnd:
			return nil, false, l.cut("in the middle of a statement")
		case t.kind == tokenStop && !bracketed, t.isSign(')') && depth == 0 && bracketed:
			return tokens, true, nil
		case t.kind == tokenStop:
			return nil, false, fail(t, "a bracket is never closed", hintDamaged)
		case t.isSign(',') && depth == 0:
			return tokens, false, nil
		case t.isSign('('):
			depth++
		case t.isSign(')'):
			depth--
		}
		if len(tokens) < maxItem {
			tokens = append(tokens, t)
		}
	}
}
