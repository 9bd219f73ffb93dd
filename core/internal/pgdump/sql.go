package pgdump

import (
	"slices"
	"strings"
)

// sink receives what a parser finds. For copyFrom and inserted the parser stands
// right behind the semicolon.
type sink interface {
	comment(t token) error
	meta(t token, command string) error
	statement(first token) error // before any statement
	copyFrom(c copyStatement) error
	inserted(first token, c copyStatement) error
}

// copyStatement is COPY … FROM stdin, or INSERT INTO … VALUES.
type copyStatement struct {
	table   TableName
	columns []string // nil when the statement has no list
}

// parser follows the statements of a dump that matter for finding tables and
// their data, and skips all others.
type parser struct {
	lexer
	path     string
	binary   bool // positions have no line
	cat      *catalog
	sink     sink
	schema   string // of unqualified names; empty when there is none
	encoding string

	ahead     token
	haveAhead bool
	depth     int // of parentheses and brackets in the current statement
}

func (p *parser) errorAt(t token, msg, hint string) *SyntaxError {
	e := &SyntaxError{Path: p.path, Line: t.line, Offset: t.off, Msg: msg, Hint: hint}
	if p.binary {
		e.Line = 0
	}
	return e
}

func (p *parser) unexpected(t token, where string) error {
	if t.kind == tokEOF {
		return p.endOfFile(t, where)
	}
	// Without the text: in a damaged file it may be data.
	return p.errorAt(t, where+" is not as pg_dump writes it", hintDamaged)
}

// endOfFile explains the end of the file in the middle of something.
func (p *parser) endOfFile(t token, where string) error {
	if p.err != nil {
		return p.err
	}
	if t.text != "" {
		where = t.text
	}
	return p.errorAt(t, "the file ends inside "+where, hintCut)
}

func (p *parser) peekToken() token {
	for !p.haveAhead {
		p.ahead = p.lexer.next()
		p.haveAhead = p.ahead.kind != tokComment
	}
	return p.ahead
}

func (p *parser) next() token {
	t := p.peekToken()
	p.haveAhead = false
	if t.kind == tokPunct {
		switch t.text {
		case "(", "[":
			p.depth++
		case ")", "]":
			p.depth = max(0, p.depth-1)
		}
	}
	return t
}

// accept reads the next token if it is s.
func (p *parser) accept(s string) bool {
	if !p.peekToken().is(s) {
		return false
	}
	p.next()
	return true
}

func (p *parser) expect(s, where string) error {
	if t := p.next(); !t.is(s) {
		return p.unexpected(t, where)
	}
	return nil
}

// run reads statements to the end.
func (p *parser) run() error {
	for {
		p.depth = 0
		t := p.lexer.next()
		var err error
		switch {
		case t.kind == tokEOF && t.text == "":
			return p.err
		case t.kind == tokEOF:
			err = p.endOfFile(t, "")
		case t.kind == tokComment:
			err = p.sink.comment(t)
		case t.is(";"):
		case t.is(`\`):
			command, _ := p.restOfLine()
			err = p.sink.meta(t, command)
		default:
			if err = p.sink.statement(t); err == nil {
				err = p.statement(t)
			}
		}
		if err != nil {
			return err
		}
	}
}

func (p *parser) statement(t token) error {
	p.ahead, p.haveAhead = t, true
	p.next() // counts a parenthesis
	switch {
	case t.is("copy"):
		return p.copyFrom(t)
	case t.is("create"):
		return p.create()
	case t.is("alter"):
		return p.alter()
	case t.is("set"):
		return p.set()
	case t.is("select"):
		return p.selectSetting()
	case t.is("insert"):
		return p.insert(t)
	}
	return p.skip(t, false)
}

// skip reads to the end of the statement that t is the latest token of. The
// body of a routine in the SQL-standard form has semicolons of its own.
func (p *parser) skip(t token, routine bool) error {
	begin := 0
	for {
		switch {
		case t.kind == tokEOF:
			return p.endOfFile(t, "a statement")
		case t.is(`\`):
			return p.errorAt(t, "data or a psql command in the middle of a statement", hintDamaged)
		case p.depth > 0:
		case t.is(";") && begin == 0:
			return nil
		case !routine:
		case begin == 0 && t.is("begin") && p.peekToken().is("atomic"), begin > 0 && t.is("case"):
			begin++
		case begin > 0 && t.is("end"):
			begin--
		}
		t = p.next()
	}
}

func (p *parser) ident(where string) (string, token, error) {
	t := p.next()
	switch {
	case t.cut:
	case t.kind == tokQuoted && t.text != "":
		return t.text, t, nil
	case t.kind == tokWord && !isDigit(t.text[0]):
		return strings.ToLower(t.text), t, nil
	}
	return "", t, p.unexpected(t, where)
}

func (p *parser) tableName(where string) (TableName, error) {
	name, t, err := p.ident(where)
	if err != nil {
		return TableName{}, err
	}
	schema := p.schema
	if p.accept(".") {
		schema = name
		if name, _, err = p.ident(where); err != nil {
			return TableName{}, err
		}
	}
	if schema == "" {
		return TableName{}, p.errorAt(t, "the table "+quoteIdent(name)+" is named without a schema, and the search path is empty", hintDamaged)
	}
	return TableName{schema, name}, nil
}

func (p *parser) copyFrom(t token) (err error) {
	const where = "a COPY statement"
	var c copyStatement
	if c.table, err = p.tableName(where); err != nil {
		return err
	}
	fail := func(msg, hint string) error {
		e := p.errorAt(t, msg, hint)
		e.Table = c.table.String()
		return e
	}
	if c.columns, err = p.columnNames(where); err != nil {
		return err
	}
	if p.accept("with") {
		return fail("the rows carry object ids", "run pg_dump again without --oids")
	}
	if err := p.expect("from", where); err != nil {
		return err
	}
	if t := p.next(); t.kind != tokEOF && !t.is("stdin") {
		return fail("the rows are in another file", "use a dump that pg_dump wrote, unchanged")
	}
	if t := p.next(); t.kind != tokEOF && !t.is(";") {
		return fail("COPY with options is not what pg_dump writes", "use a dump that pg_dump wrote, unchanged")
	} else if t.kind == tokEOF {
		return p.unexpected(t, where)
	}
	return p.sink.copyFrom(c)
}

// columnNames reads a list in parentheses, if there is one.
func (p *parser) columnNames(where string) (names []string, err error) {
	if !p.accept("(") {
		return nil, nil
	}
	for {
		name, _, err := p.ident(where)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
		if !p.accept(",") || len(names) > maxColumns {
			return names, p.expect(")", where)
		}
	}
}

// insert reads INSERT INTO … VALUES …, as pg_dump --inserts writes rows.
func (p *parser) insert(t token) (err error) {
	const where = "an INSERT statement"
	if err := p.expect("into", where); err != nil {
		return err
	}
	var c copyStatement
	if c.table, err = p.tableName(where); err != nil {
		return err
	}
	if c.columns, err = p.columnNames(where); err != nil {
		return err
	}
	if err := p.skip(p.next(), false); err != nil {
		return err
	}
	return p.sink.inserted(t, c)
}

func (p *parser) create() error {
	t := p.next()
	for t.in("or", "replace", "global", "local", "temp", "temporary", "unlogged", "foreign") {
		t = p.next()
	}
	switch {
	case t.is("table"):
		return p.createTable(t)
	case t.is("index"):
		return p.createIndex()
	case t.is("unique") && p.accept("index"):
		return p.createIndex()
	case t.is("view"), t.is("materialized") && p.accept("view"):
		return createView(p)
	}
	return p.skip(t, t.in("function", "procedure"))
}

// createView takes note of a view, whose name a table may be expected to have.
func createView(p *parser) error {
	const where = "a CREATE VIEW statement"
	if p.accept("if") {
		p.accept("not")
		p.accept("exists")
	}
	name, err := p.tableName(where)
	if err != nil {
		return err
	}
	p.cat.views = append(p.cat.views, name)
	return p.skip(p.next(), false)
}

// createIndex reads CREATE INDEX name ON table. pg_dump always names the index.
func (p *parser) createIndex() error {
	const where = "a CREATE INDEX statement"
	if p.accept("if") {
		p.accept("not")
		p.accept("exists")
	}
	if p.peekToken().is("on") {
		return p.skip(p.next(), false)
	}
	name, _, err := p.ident(where)
	if err != nil {
		return err
	}
	if err := p.expect("on", where); err != nil {
		return err
	}
	p.accept("only")
	table, err := p.tableName(where)
	if err != nil {
		return err
	}
	m := p.cat.mark(table)
	m.indexes = append(m.indexes, name)
	return p.skip(p.next(), false)
}

func (p *parser) createTable(t token) (err error) {
	const where = "a CREATE TABLE statement"
	if p.accept("if") {
		p.accept("not")
		p.accept("exists")
	}
	var def table
	name, err := p.tableName(where)
	if err != nil {
		return err
	}
	switch {
	case p.accept("partition"):
		if err := p.expect("of", where); err != nil {
			return err
		}
		if def.parent, err = p.tableName(where); err != nil {
			return err
		}
		def.inherits = append(def.inherits, def.parent)
	case p.accept("of"):
		if _, err := p.tableName(where); err != nil {
			return err
		}
		def.typed = true
	}
	if p.accept("(") {
		if def.columns, err = p.columns(); err != nil {
			return err
		}
	}
	if p.accept("inherits") {
		if err := p.expect("(", where); err != nil {
			return err
		}
		for {
			parent, err := p.tableName(where)
			if err != nil {
				return err
			}
			def.inherits = append(def.inherits, parent)
			if !p.accept(",") {
				break
			}
		}
	}
	if !p.cat.define(name, def) {
		e := p.errorAt(t, "the table is defined twice", hintOneDB)
		e.Table = name.String()
		return e
	}
	return p.skip(p.next(), false)
}

// columns reads the list of a CREATE TABLE behind its opening parenthesis.
func (p *parser) columns() ([]column, error) {
	const where = "a column list"
	var list []column
	depth := p.depth
	for {
		t := p.peekToken()
		if p.accept(")") {
			return list, nil
		}
		if len(list) > maxColumns {
			return nil, p.unexpected(t, where)
		}
		constraint := t.in("constraint", "check", "primary", "unique", "foreign", "like", "not")
		var c column
		if !constraint {
			var err error
			if c.name, _, err = p.ident(where); err != nil {
				return nil, err
			}
			// An unreserved word: a column may have this name.
			constraint = t.is("exclude") && p.peekToken().in("using", "(")
		}
		if !constraint {
			var err error
			if c.typ, err = p.columnType(); err != nil {
				return nil, err
			}
		}
		for {
			t := p.next()
			if t.kind == tokEOF {
				return nil, p.endOfFile(t, where)
			}
			if p.depth < depth {
				return append(list, c.unless(constraint)...), nil
			}
			if p.depth == depth && t.is(",") {
				list = append(list, c.unless(constraint)...)
				break
			}
			// Stored or virtual, not an identity: those have data.
			if p.depth == depth && t.is("as") && p.peekToken().is("(") {
				c.generated = true
			}
		}
	}
}

// columnType reads the type of a column up to what may follow one.
func (p *parser) columnType() (string, error) {
	var b strings.Builder
	depth := p.depth
	for first, dot := true, false; ; first = false {
		t := p.peekToken()
		if t.kind == tokEOF {
			return "", p.endOfFile(t, "a column type")
		}
		if p.depth == depth && !dot {
			if t.in(",", ")", "collate", "default", "generated", "constraint", "not", "null", "check", "primary", "unique", "references") ||
				!first && t.in("compression", "storage", "options") || first && t.is("with") {
				return b.String(), nil
			}
		}
		p.next()
		if t.space && !first {
			b.WriteByte(' ')
		}
		if b.Len() > maxToken {
			return "", p.errorAt(t, "a column type is longer than a type can be", hintDamaged)
		}
		switch {
		case t.kind != tokQuoted:
			b.WriteString(t.text)
		case t.text == "char": // another type than char
			b.WriteString(`"char"`)
		default: // --quote-all-identifiers writes "text"
			b.WriteString(quoteIdent(t.text))
		}
		dot = t.is(".")
	}
}

// alter reads what ALTER TABLE adds to a table: partitions, constraints and
// row-level security.
func (p *parser) alter() error {
	const where = "an ALTER TABLE statement"
	if !p.accept("table") {
		return p.skip(p.next(), false)
	}
	if p.accept("if") {
		p.accept("exists")
	}
	p.accept("only")
	table, err := p.tableName(where)
	if err != nil {
		return err
	}
	t := p.next()
	switch {
	case t.is("attach"):
		if err := p.expect("partition", where); err != nil {
			return err
		}
		child, err := p.tableName(where)
		if err != nil {
			return err
		}
		p.cat.entry(child).parent = table
	case t.is("add") && p.accept("constraint"):
		name, _, err := p.ident(where)
		if err != nil {
			return err
		}
		m := p.cat.mark(table)
		if p.peekToken().is("foreign") {
			m.foreignKeys = append(m.foreignKeys, name)
		} else {
			m.constraints = append(m.constraints, name)
		}
	case t.is("enable") && p.peekToken().is("row"):
		p.cat.mark(table).rowSecurity = true
	default:
		return p.skip(t, false)
	}
	return p.skip(p.next(), false)
}

// set reads SET name = value.
func (p *parser) set() error {
	t := p.next()
	for t.in("session", "local") {
		t = p.next()
	}
	if t.kind != tokWord || !p.accept("=") && !p.accept("to") {
		return p.skip(t, false)
	}
	var values []string
	for {
		v := p.next()
		switch {
		case v.kind == tokEOF || v.is(";"):
			if err := p.setting(t, values); err != nil {
				return err
			}
			return p.skip(v, false)
		case v.kind == tokWord:
			values = append(values, strings.ToLower(v.text))
		case v.kind == tokQuoted, v.kind == tokString:
			values = append(values, v.text)
		}
	}
}

// selectSetting reads SELECT pg_catalog.set_config('name', 'value', false).
func (p *parser) selectSetting() error {
	t := p.next()
	if t.is("pg_catalog") && p.accept(".") {
		t = p.next()
	}
	if !t.is("set_config") || !p.accept("(") {
		return p.skip(t, false)
	}
	name := p.next()
	if name.kind != tokString || !p.accept(",") {
		return p.skip(name, false)
	}
	value := p.next()
	if value.kind != tokString {
		return p.skip(value, false)
	}
	values := []string{value.text}
	if name.text == "search_path" {
		values = nil
		l := lexer{window: textWindow(value.text, 0)}
		for v := l.next(); v.kind != tokEOF; v = l.next() {
			switch v.kind { //nolint:exhaustive // commas, and what cannot be in a list
			case tokWord:
				values = append(values, strings.ToLower(v.text))
			case tokQuoted:
				values = append(values, v.text)
			}
		}
	}
	if err := p.setting(name, values); err != nil {
		return err
	}
	return p.skip(p.next(), false)
}

// setting takes note of the settings that change how the dump is to be read.
func (p *parser) setting(t token, values []string) error {
	value := strings.Join(values, ", ")
	switch strings.ToLower(t.text) {
	case "search_path":
		p.schema = ""
		if i := slices.IndexFunc(values, func(s string) bool { return s != "pg_catalog" && s != "$user" }); i >= 0 {
			p.schema = values[i]
		}
	case "row_security":
		p.cat.rowSecurity = p.cat.rowSecurity || strings.EqualFold(value, "on")
	case "standard_conforming_strings":
		p.escapes = strings.EqualFold(value, "off")
	case "client_encoding":
		switch strings.NewReplacer("-", "", "_", "").Replace(strings.ToUpper(value)) {
		case "UTF8", "UNICODE":
			p.encoding = "UTF8"
		case "SQLASCII":
			p.encoding = "SQL_ASCII" // bytes of any encoding: every row is checked to be UTF-8
		default:
			return p.errorAt(t, "the dump is in the encoding "+quoteIdent(value)+", not in UTF-8", hintUTF8)
		}
	}
	return nil
}
