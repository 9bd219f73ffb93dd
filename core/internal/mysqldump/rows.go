package mysqldump

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Rows streams the rows of one table. It is not safe for concurrent use, but any number
// may be open at once.
type Rows struct {
	dump  *Dump
	ctx   context.Context // of this iteration
	entry *entry
	table Table
	next  int   // of the segments
	row   int64 // number of the current row
	more  bool  // rows of the statement follow

	stored []Column // those that statements without a list have
	list   []string // that the statement names
	width  int      // how many values a row has
	at     []int    // which value of a row each column is
	bytes  []bool   // which values of a row are bytes and no text

	literals
	values [][]byte
	err    error
}

// Rows starts to stream the rows of a table in the order of the dump. The context ends
// the stream when it is cancelled. For a table without data the error is [ErrNoData].
// What Open does not look at (numbers of values, text that is not UTF-8) ends the stream
// with an error, so the rows count only once Err has been asked.
func (d *Dump) Rows(ctx context.Context, t Table) (*Rows, error) {
	e := d.data[t.TableName]
	if e == nil || !e.table.HasData {
		return nil, fmt.Errorf("read table %s: %w", t.TableName, ErrNoData)
	}
	if e.changed != nil {
		return nil, &SyntaxError{
			Path: d.path, Line: e.changed.line, Offset: e.changed.off, Table: t.String(),
			Msg: "a statement changes rows or columns of the table", Hint: "restore the file into a database and dump that",
		}
	}
	return d.rows(ctx, e), nil
}

func (d *Dump) rows(ctx context.Context, e *entry) *Rows {
	r := &Rows{dump: d, ctx: ctx, entry: e, table: e.table, stored: e.table.Columns}
	r.literals = literals{maxRow: d.sizes.maxRow}
	r.keep = r.take
	return r
}

// named gives the columns of a table that the dump does not define, from the list of its
// first statement.
func (d *Dump) named(ctx context.Context, e *entry) ([]Column, error) {
	r := d.rows(ctx, e)
	r.enter(e.segments[0])
	first, err := r.lex.next()
	if err != nil {
		return nil, err
	}
	if err := r.head(); err != nil {
		return nil, err
	}
	if len(r.list) == 0 {
		return nil, &SyntaxError{
			Line: first.line, Offset: first.off,
			Msg: "the rows do not name their columns, and the table's definition is not in the file", Hint: "run mysqldump again without --no-create-info, or with --complete-insert",
		}
	}
	var out []Column
	for _, name := range r.list {
		out = append(out, Column{Name: name})
	}
	return out, nil
}

// enter turns to a segment.
func (r *Rows) enter(s segment) {
	r.lex = &lexer{window: newWindow(r.ctx, r.dump.r, s.off, s.end, s.line, r.dump.sizes.row), mode: s.mode, delimiter: usualDelimiter}
}

// Next moves to the next row, and reports false at the end or at an error.
func (r *Rows) Next() bool {
	if r.err != nil {
		return false
	}
	ok, err := r.advance()
	if err != nil {
		r.err = r.dump.inFile(inTable(err, r.table.TableName))
		return false
	}
	return ok
}

func (r *Rows) advance() (bool, error) {
	for !r.more {
		var t token
		var err error
		if r.lex != nil {
			if t, err = r.lex.next(); err != nil {
				return false, err
			}
		}
		switch {
		case t.kind == tokenStop:
		case t.kind == tokenEnd && r.next == len(r.entry.segments):
			return false, nil
		case t.kind == tokenEnd:
			r.enter(r.entry.segments[r.next])
			r.next++
		default:
			if err := r.head(); err != nil {
				return false, err
			}
			r.more = true
		}
	}
	r.row++
	return true, r.read()
}

// head reads an INSERT statement up to its first row.
func (r *Rows) head() error {
	if _, err := r.lex.into(""); err != nil {
		return err
	}
	t, err := r.lex.next()
	if err != nil {
		return err
	}
	var list []string
	if t.isSign('(') {
		for !t.isSign(')') {
			if t, err = r.lex.next(); err != nil {
				return err
			}
			switch {
			case t.isIdentifier():
				list = append(list, t.text)
			case !t.isSign(',') && !t.isSign(')'):
				return r.fail(t, "the list of columns makes no sense", hintDamaged)
			}
		}
		if t, err = r.lex.next(); err != nil {
			return err
		}
	}
	if !t.is("VALUES") && !t.is("VALUE") {
		return r.fail(t, "the statement does not have values", hintRows)
	}
	return r.arrange(t, list)
}

// arrange finds the columns of the table among those of a statement.
func (r *Rows) arrange(t token, list []string) error {
	if r.at != nil && slices.Equal(list, r.list) {
		return nil
	}
	r.list, r.at = list, make([]int, len(r.stored))
	for i, c := range r.stored {
		r.at[i] = i
		if list != nil {
			r.at[i] = slices.IndexFunc(list, func(name string) bool { return strings.EqualFold(name, c.Name) })
		}
		if r.at[i] < 0 {
			return r.fail(t, fmt.Sprintf("the statement leaves out the column %q of the table", c.Name), hintRows)
		}
	}
	r.values = make([][]byte, len(r.stored))
	r.width = len(r.stored)
	if list != nil {
		r.width = len(list)
	}
	r.bytes = make([]bool, r.width)
	for i, c := range r.stored {
		r.bytes[r.at[i]] = c.Binary()
	}
	return nil
}

func (r *Rows) fail(t token, msg, hint string) error { return r.inRow(fail(t, msg, hint)) }

// inRow says of an error in which row it is.
func (r *Rows) inRow(err error) error {
	if e, ok := err.(*SyntaxError); ok { //nolint:errorlint // made here
		e.Row = r.row
	}
	return inTable(err, r.table.TableName)
}

// read reads one row, from its bracket to what follows it.
func (r *Rows) read() error {
	t, err := r.lex.next()
	if err != nil {
		return err
	}
	if !t.isSign('(') {
		return r.fail(t, "a row does not begin with a bracket", hintDamaged)
	}
	r.text, r.spans = r.text[:0], r.spans[:0]
	for {
		if err := r.value(r.width); err != nil {
			return r.inRow(err)
		}
		after, err := r.lex.next()
		if err != nil {
			return err
		}
		if after.isSign(')') {
			break
		}
		if !after.isSign(',') {
			return r.fail(after, "a value is not one that mysqldump writes", hintRows)
		}
	}
	if len(r.spans) != r.width {
		return r.fail(t, fmt.Sprintf("the row has %d values, and there are %d columns", len(r.spans), r.width), hintDamaged)
	}
	if err := r.settle(); err != nil {
		return err
	}
	switch after, err := r.lex.next(); {
	case err != nil:
		return err
	case after.kind == tokenStop:
		r.more = false
	case !after.isSign(','):
		return r.fail(after, "something follows a row that does not belong there", hintRows)
	}
	return nil
}

// settle checks the text of the row, and gives its values their places.
func (r *Rows) settle() error {
	for i := range r.spans {
		s := &r.spans[i]
		if s.null || s.raw || r.bytes[i] {
			continue
		}
		text := r.text[s.from:s.to]
		if isASCII(text) {
			continue
		}
		switch charset := r.lex.mode.charset; charset {
		case "", "utf8", "utf8mb3", "utf8mb4", "binary":
			if !utf8.Valid(text) {
				return r.bad(i, "the text is not valid UTF-8", hintUTF8)
			}
		case "latin1":
			s.from, s.to = len(r.text), 0
			for _, c := range text {
				r.text = utf8.AppendRune(r.text, Latin1(c))
			}
			s.to = len(r.text)
		default:
			return r.bad(i, fmt.Sprintf("the dump is in the character set %q", charset), hintUTF8)
		}
	}
	for i, at := range r.at {
		s := r.spans[at]
		if s.null {
			r.values[i] = nil
		} else {
			r.values[i] = r.text[s.from:s.to:s.to]
		}
	}
	return nil
}

func (r *Rows) bad(value int, msg, hint string) error {
	s := r.spans[value]
	e := &SyntaxError{Line: s.line, Offset: s.off, Table: r.table.String(), Row: r.row, Msg: msg, Hint: hint}
	if at := slices.Index(r.at, value); at >= 0 {
		e.Column = r.stored[at].Name
	}
	return e
}

// Values are the values of the current row, in the order of the table's columns, nil for
// NULL. They are valid until the next row.
func (r *Rows) Values() [][]byte { return r.values }

// Err is why the stream ended, nil at the end of the table.
func (r *Rows) Err() error { return r.err }
