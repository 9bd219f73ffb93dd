package mysqldump

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// literals reads the values of one row after another.
type literals struct {
	lex    *lexer
	maxRow int
	text   []byte // of all values of the row
	spans  []span
	keep   func([]byte) // take, made once
}

// span is where a value lies in the text of its row.
type span struct {
	from, to int
	null     bool
	raw      bool // bytes, whatever the session's character set
	off      int64
	line     int
}

// take adds to the text of the row, up to a little more than the limit.
func (r *literals) take(piece []byte) {
	if len(r.text) <= r.maxRow {
		r.text = append(r.text, piece...)
	}
}

// here is a token for the place that the lexer has reached.
func (r *literals) here() token {
	off, line := r.lex.place()
	return token{off: off, line: line}
}

// value reads one value of a row, which has so many at most.
func (r *literals) value(most int) error {
	if !r.lex.space() {
		return r.lex.cut("in the middle of a comment")
	}
	if len(r.spans) > most {
		return fail(r.here(), "the row has more values than there are columns", hintDamaged)
	}
	off, line := r.lex.place()
	s := span{from: len(r.text), off: off, line: line}
	err := r.literal(&s)
	s.to = len(r.text)
	if err == nil && s.to > r.maxRow {
		return fail(r.here(), "the row takes more memory than a row of an application can", hintDamaged)
	}
	r.spans = append(r.spans, s)
	return err
}

func (r *literals) literal(s *span) error {
	switch c := r.lex.peek(0); {
	case c == '\'' || c == '"' && !r.lex.mode.ansiQuotes:
		r.lex.pos++
		return r.lex.quoted(c, true, r.keep)
	case c == '0' && r.lex.peek(1) == 'x':
		r.lex.pos += len("0x")
		r.lex.until(wordStop, r.keep)
		return r.hex(s)
	case c == '-' || c == '+' || c == '.' || '0' <= c && c <= '9':
		return r.number(s)
	}
	t, err := r.lex.next()
	if err != nil {
		return err
	}
	switch text := strings.ToLower(t.text); {
	case t.kind != tokenWord:
	case text == "null":
		s.null = true
		return nil
	case text == "true", text == "false":
		r.text = append(r.text, "01"[len("false")-len(text)])
		return nil
	case (text == "x" || text == "b") && r.lex.peek(0) == '\'':
		r.lex.pos++
		if err := r.lex.quoted('\'', true, r.keep); err != nil {
			return err
		}
		if text == "x" {
			return r.hex(s)
		}
		return r.bits(s)
	case strings.HasPrefix(text, "_"):
		if !r.lex.space() {
			return r.lex.cut("in the middle of a comment")
		}
		raw := text == "_binary"
		if raw || strings.HasPrefix(text, "_utf8") {
			err := r.literal(s)
			s.raw = s.raw || raw
			return err
		}
	}
	return fail(t, "a value is not one that mysqldump writes", hintRows)
}

var numberStops = allBut(digits + ".-+eE")

func (r *literals) number(s *span) error {
	r.lex.until(numberStops, r.keep)
	digits := r.text[s.from:]
	for i, c := range digits {
		if (c == '-' || c == '+') && i > 0 && digits[i-1]|0x20 != 'e' {
			return fail(token{off: s.off, line: s.line}, "a value is not one that mysqldump writes", hintRows)
		}
	}
	return r.lex.err
}

// hex makes bytes of the digits that were read.
func (r *literals) hex(s *span) error {
	digits := r.text[s.from:]
	n, err := hex.Decode(digits, digits)
	if err != nil {
		return fail(token{off: s.off, line: s.line}, "hexadecimal digits make no sense", hintDamaged)
	}
	s.raw, r.text = true, r.text[:s.from+n]
	return r.lex.err
}

// bits makes bytes of the binary digits that were read.
func (r *literals) bits(s *span) error {
	digits := string(r.text[s.from:])
	if len(digits) > 64 || strings.Trim(digits, "01") != "" {
		return fail(token{off: s.off, line: s.line}, "binary digits make no sense", hintDamaged)
	}
	var n uint64
	for _, c := range digits {
		n = n<<1 | uint64(c-'0') //nolint:gosec // 0 or 1
	}
	s.raw, r.text = true, r.text[:s.from]
	for shift := (len(digits)+7)/8*8 - 8; shift >= 0; shift -= 8 {
		r.text = append(r.text, byte(n>>shift)) //nolint:gosec // one byte of it
	}
	return nil
}

func isASCII(text []byte) bool {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
