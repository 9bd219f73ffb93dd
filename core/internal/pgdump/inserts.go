package pgdump

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
)

// copyText turns the INSERT statements of one table into the COPY text of the same
// rows, which the one decoder reads. Columns are those of the rows in their order.
func copyText(statements io.ReadCloser, columns []string) io.ReadCloser {
	out, in := io.Pipe()
	go func() { // ends when the statements do, or with the first write after Close
		c := inserts{r: bufio.NewReaderSize(statements, 64<<10), w: bufio.NewWriterSize(in, 64<<10), columns: columns}
		err := c.convert()
		in.CloseWithError(errors.Join(err, statements.Close()))
	}()
	return out
}

// inserts is a conversion. It knows what pg_dump writes and refuses all else.
type inserts struct {
	r       *bufio.Reader
	w       *bufio.Writer
	columns []string
}

var errInsert = errors.New("an INSERT statement is not as pg_dump writes it")

func (c *inserts) convert() error {
	for {
		_, err := c.peek()
		switch {
		case errors.Is(err, io.EOF):
			if _, err := c.w.WriteString("\\.\n"); err != nil {
				return err
			}
			return c.w.Flush()
		case err != nil:
			return err
		}
		switch err := c.statement(); {
		case errors.Is(err, io.EOF):
			return errInsert
		case err != nil:
			return err
		}
	}
}

// peek skips white space and returns the byte that comes next.
func (c *inserts) peek() (byte, error) {
	for {
		b, err := c.r.ReadByte()
		switch {
		case err != nil:
			return 0, err
		case b == '\r': // then text with line ends was changed as well
			return 0, errors.New("a carriage return between INSERT statements: line ends were changed")
		case !isSpace(b):
			return b, c.r.UnreadByte()
		}
	}
}

// accept reads the next byte behind white space if it is b.
func (c *inserts) accept(b byte) (bool, error) {
	next, err := c.peek()
	if err != nil || next != b {
		return false, err
	}
	_, err = c.r.ReadByte()
	return err == nil, err
}

func (c *inserts) expect(b byte) error {
	ok, err := c.accept(b)
	if err == nil && !ok {
		err = errInsert
	}
	return err
}

// word reads a keyword, a name that is not quoted, a number or a truth value.
func (c *inserts) word() (string, error) {
	if _, err := c.peek(); err != nil {
		return "", err
	}
	var word []byte
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return "", err
		}
		if !isWord(b) && strings.IndexByte("+-.$", b) < 0 {
			return strings.ToLower(string(word)), c.r.UnreadByte()
		}
		if word = append(word, b); len(word) > maxToken {
			return "", errInsert
		}
	}
}

func (c *inserts) keywords(words ...string) error {
	for _, want := range words {
		if got, err := c.word(); err != nil || got != want {
			return errors.Join(err, errInsert)
		}
	}
	return nil
}

func (c *inserts) name() (string, error) {
	quoted, err := c.accept('"')
	if err != nil || !quoted {
		var list strings.Builder
		for err == nil { // up to what ends a part of a name
			var b byte
			if b, err = c.r.ReadByte(); err == nil && !isWord(b) && b != '$' {
				return strings.ToLower(list.String()), c.r.UnreadByte()
			}
			list.WriteByte(b)
		}
		return "", err
	}
	var name strings.Builder
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return "", err
		}
		if b == '"' {
			if next, err := c.r.ReadByte(); err != nil || next != '"' {
				return name.String(), errors.Join(err, c.r.UnreadByte())
			}
		}
		name.WriteByte(b)
	}
}

func (c *inserts) statement() error {
	if err := c.keywords("insert", "into"); err != nil {
		return err
	}
	for { // the table, which the index knows
		if _, err := c.name(); err != nil {
			return err
		}
		if dot, err := c.accept('.'); err != nil {
			return err
		} else if !dot {
			break
		}
	}
	if err := c.list(); err != nil {
		return err
	}
	first, err := c.word()
	if err == nil && first == "overriding" { // SYSTEM VALUE, for identities
		if err = c.keywords("system", "value"); err == nil {
			first, err = c.word()
		}
	}
	switch {
	case err == nil && first == "values":
		err = c.rows()
	case err == nil && first == "default": // VALUES, of a table without columns
		if err = c.keywords("values"); err == nil {
			err = c.w.WriteByte('\n')
		}
	default:
		err = errors.Join(err, errInsert)
	}
	if err != nil {
		return err
	}
	if on, err := c.peek(); err == nil && on != ';' {
		if err := c.keywords("on", "conflict", "do", "nothing"); err != nil {
			return err
		}
	}
	return c.expect(';')
}

// list reads the names of the columns, if they are given.
func (c *inserts) list() error {
	if given, err := c.accept('('); err != nil || !given {
		return err
	}
	var names []string
	for {
		if _, err := c.peek(); err != nil {
			return err
		}
		name, err := c.name()
		if err != nil {
			return err
		}
		names = append(names, name)
		if more, err := c.accept(','); err != nil {
			return err
		} else if !more {
			break
		}
		if len(names) > maxColumns {
			return errInsert
		}
	}
	if !slices.Equal(names, c.columns) {
		return errors.New("an INSERT statement names other columns than the table has")
	}
	return c.expect(')')
}

func (c *inserts) rows() error {
	for more := true; more; {
		err := c.row()
		if err == nil {
			more, err = c.accept(',')
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// row reads the values in parentheses and writes a line.
func (c *inserts) row() error {
	if err := c.expect('('); err != nil {
		return err
	}
	for n := 0; ; {
		written, err := c.value(n > 0)
		if err != nil {
			return err
		}
		if written {
			n++
		}
		if more, err := c.accept(','); err != nil {
			return err
		} else if !more {
			break
		}
	}
	if err := c.expect(')'); err != nil {
		return err
	}
	return c.w.WriteByte('\n')
}

// value reads a value and writes it as a field, behind a tab where it is not the
// first one. DEFAULT stands for a generated column, of which nothing is written.
func (c *inserts) value(tab bool) (written bool, err error) {
	var word string
	if b, err := c.peek(); err != nil {
		return false, err
	} else if b != '\'' {
		if word, err = c.word(); err != nil {
			return false, err
		}
	}
	if word == "default" {
		return false, nil
	}
	if tab {
		if err := c.w.WriteByte('\t'); err != nil {
			return false, err
		}
	}
	text := ""
	switch word {
	case "", "e", "b": // the letter of a string
		return true, c.text(word == "e")
	case "null":
		text = `\N`
	case "true":
		text = "t"
	case "false":
		text = "f"
	default:
		if strings.Trim(word, "+-.e0123456789") != "" {
			return false, errInsert
		}
		text = word
	}
	_, err = c.w.WriteString(text)
	return true, err
}

// text reads a string and writes it with what COPY escapes.
func (c *inserts) text(escapes bool) error {
	if b, err := c.r.ReadByte(); err != nil || b != '\'' {
		return errors.Join(err, errInsert)
	}
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return err
		}
		switch {
		case b == '\'':
			if next, err := c.r.ReadByte(); err != nil || next != '\'' {
				return errors.Join(err, c.r.UnreadByte())
			}
		case b == '\\' && escapes: // pg_dump doubles it and writes no other
			if next, err := c.r.ReadByte(); err != nil || next != '\\' {
				return errors.Join(err, errInsert)
			}
		}
		switch b {
		case '\\':
			_, err = c.w.WriteString(`\\`)
		case '\t':
			_, err = c.w.WriteString(`\t`)
		case '\n':
			_, err = c.w.WriteString(`\n`)
		case '\r':
			_, err = c.w.WriteString(`\r`)
		default:
			err = c.w.WriteByte(b)
		}
		if err != nil {
			return err
		}
	}
}
