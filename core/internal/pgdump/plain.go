package pgdump

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
)

// plainIndex is the sink for a plain dump.
type plainIndex struct {
	*parser
	info     *Info
	header   bool // the line that a dump begins with was there
	complete bool // so was the line that it ends with

	// inserts is what the statement before this one belongs to, when it was an INSERT.
	inserts copyStatement
	// announced are the tables with a comment where their data begins. It is all there
	// is of an empty table when rows are INSERT statements.
	announced          []TableName
	hasInsert, hasCopy bool // there was such a statement
}

// indexPlain reads the SQL and finds the data between it.
func (a *Archive) indexPlain(ctx context.Context, cat *catalog, start int64) error {
	a.info.Format = Plain
	a.read = func(_ segment, r io.Reader) (io.ReadCloser, error) { return io.NopCloser(r), nil }

	x := &plainIndex{info: &a.info}
	x.parser = &parser{
		lexer:  lexer{window: a.window(ctx, start)},
		path:   a.path,
		cat:    cat,
		sink:   x,
		schema: "public", // what psql starts with
	}
	err := x.run()
	a.info.Encoding = x.encoding
	if x.hasInsert && !x.hasCopy {
		for _, name := range x.announced {
			if e := cat.tables[name]; e != nil && len(e.segments) == 0 {
				e.segments = []segment{{inserts: true}}
			}
		}
	}
	switch {
	case x.err != nil:
		return x.err
	case !x.header:
		return x.headless(start)
	case err != nil:
		return err
	case !x.complete:
		return x.errorAt(x.start(tokEOF, false), `the line "-- PostgreSQL database dump complete" is missing at the end`, hintCut)
	}
	return nil
}

// headless explains a file that does not begin as a dump does.
func (x *plainIndex) headless(start int64) error {
	e := &SyntaxError{Path: x.path, Line: 1, Offset: start, Msg: `the line "-- PostgreSQL database dump" is missing at the beginning`}
	e.Hint = "this is not a file that pg_dump wrote, or its beginning is lost"
	if x.encoding != "" { // the settings that pg_dump begins with are there
		e.Msg += ": the comments of pg_dump were removed, and without them nobody can tell whether the file is whole"
		e.Hint = "make the dump with pg_dump itself (pg_dump --file=dump.sql DATABASE), not through a tool that changes its output; " +
			"or restore this file into an empty PostgreSQL database and use source.url"
	}
	return e
}

func (x *plainIndex) comment(t token) error {
	x.inserts = copyStatement{}
	switch text := strings.TrimSpace(t.text); {
	case text == "PostgreSQL database dump" && !t.cut:
		if x.header {
			return x.errorAt(t, "a second dump begins in the same file", hintOneDB)
		}
		x.header = true
	case text == "PostgreSQL database dump complete":
		x.complete = true
		return x.tail()
	case text == "PostgreSQL database cluster dump":
		x.header = true
		return x.errorAt(t, "this is the output of pg_dumpall, which holds several databases", hintOneDB)
	case strings.HasPrefix(text, "Data for Name: "):
		name, rest, ok := strings.Cut(strings.TrimPrefix(text, "Data for Name: "), "; Type: TABLE DATA; Schema: ")
		if ok {
			schema, _, _ := strings.Cut(rest, "; ")
			x.announced = append(x.announced, TableName{schema, name})
		}
	case strings.HasPrefix(text, "Dumped from database version "):
		x.info.ServerVersion = cmp.Or(x.info.ServerVersion, strings.TrimPrefix(text, "Dumped from database version "))
	case strings.HasPrefix(text, "Dumped by pg_dump version "):
		x.info.DumpVersion = cmp.Or(x.info.DumpVersion, strings.TrimPrefix(text, "Dumped by pg_dump version "))
	}
	return nil
}

// tail reads what follows the end of the dump: nothing that matters, of which
// the last line may be cut.
func (x *plainIndex) tail() error {
	for {
		t := x.start(tokEOF, false)
		line, complete := x.restOfLine()
		line = strings.TrimSpace(line)
		switch {
		case line == "-- PostgreSQL database dump" && complete:
			return x.errorAt(t, "a second dump begins in the same file", hintOneDB)
		case line == "", strings.HasPrefix(line, "--"), strings.HasPrefix(line, `\unrestrict`):
		case !complete && (line == "-" || strings.HasPrefix(`\unrestrict`, line)):
		default:
			return x.errorAt(t, "more follows behind the end of the dump", hintOneDB)
		}
		if !complete {
			return nil
		}
	}
}

func (x *plainIndex) meta(t token, command string) error {
	name, _, _ := strings.Cut(strings.TrimSpace(command), " ")
	switch name {
	case "restrict", "unrestrict": // around everything, against injected psql commands
		return nil
	case "set", "unset", "echo", "timing": // people put these in front
		return nil
	case "connect", "c":
		// pg_dump --create connects to the database it has just created.
		if len(x.cat.tables) == 0 {
			return nil
		}
		return x.errorAt(t, "the file holds more than one database", hintOneDB)
	case ".":
		return x.errorAt(t, "an end-of-data marker without data before it", hintDamaged)
	}
	return x.errorAt(t, "a psql command that pg_dump does not write", "use a dump that pg_dump wrote, unchanged")
}

func (x *plainIndex) statement(t token) error {
	if !x.header && !t.is("set") {
		return x.errorAt(t, "this is not a plain pg_dump file", "") // explained by the caller
	}
	if !t.is("insert") {
		x.inserts = copyStatement{}
	}
	return nil
}

// inserted takes INSERT statements that follow one another for one stretch of rows.
func (x *plainIndex) inserted(first token, c copyStatement) error {
	x.hasInsert = true
	e := x.cat.entry(c.table)
	if c.table != x.inserts.table || !slices.Equal(c.columns, x.inserts.columns) {
		x.inserts = c
		e.segments = append(e.segments, segment{off: first.off, columns: c.columns, inserts: true})
	}
	s := &e.segments[len(e.segments)-1]
	s.size = x.offset() - s.off
	return nil
}

var endOfData = []byte("\n\\.")

// copyFrom finds the end of the data that follows a COPY statement.
func (x *plainIndex) copyFrom(c copyStatement) error {
	fail := func(t token, msg, hint string) error {
		e := x.errorAt(t, msg, hint)
		e.Table = c.table.String()
		return e
	}
	cut := func() error {
		if x.err != nil {
			return x.err
		}
		return fail(x.start(tokEOF, false), "the file ends inside the data of the table", hintCut)
	}

	var s segment
	for ; ; x.pos++ {
		b, ok := x.peek(0)
		if !ok {
			return cut()
		}
		if b == '\n' {
			break
		}
		if !isSpace(b) {
			return fail(x.start(tokPunct, false), "text behind a COPY statement", hintDamaged)
		}
		s.crlf = b == '\r'
	}
	// The newline stays unread: the marker may be on the very first line.
	s.off = x.offset() + 1
	_, line := x.place()
	s.line = line + 1
	s.columns = c.columns
	if !x.seek(endOfData) {
		return cut()
	}
	x.pos++
	s.size = x.offset() + 2 - s.off
	t := x.start(tokPunct, false)
	x.pos += 2
	if x.at(0, '\r') {
		x.pos++
	}
	if b, ok := x.peek(0); ok && b != '\n' {
		return fail(t, "an end-of-data marker that does not stand alone on its line", hintDamaged)
	}
	x.hasCopy = true
	e := x.cat.entry(c.table)
	e.segments = append(e.segments, s)
	return nil
}
