package mysqldump

import (
	"regexp"
	"strings"
	"time"
)

// parser notes what a dump says about tables and where their rows are.
type parser struct {
	lexer
	info     Info
	database string // that statements are about
	entries  map[TableName]*entry
	views    []TableName
	complete bool
	last     *entry // of the INSERT statement before this one
}

func fail(t token, msg, hint string) error {
	return &SyntaxError{Line: t.line, Offset: t.off, Msg: msg, Hint: hint}
}

var (
	hostLine  = regexp.MustCompile(`^-- Host: .*[ \t]Database: ?(.*)$`)
	dataLine  = regexp.MustCompile("^-- (?:Dumping data for table|Data for the table) [`\"]?([^`\"]+)[`\"]?:?$")
	whereLine = regexp.MustCompile(`^-- WHERE: `)
	usingLine = regexp.MustCompile("^-- Current Database: [`\"](.*)[`\"]$")
	madeLine  = regexp.MustCompile(`^-- (?:MySQL|MariaDB) dump `)
	doneLine  = regexp.MustCompile(`^-- Dump completed(?: on ([0-9-]+) +([0-9]+:[0-9:]+))?`)
	fromLine  = regexp.MustCompile(`^-- Server version:?\s+(.*)$`)
)

// remarked takes what comments say: the name of the database is nowhere else.
func (p *parser) remarked(text string) {
	switch {
	case doneLine.MatchString(text):
		p.complete = true
		if m := doneLine.FindStringSubmatch(text); m[1] != "" {
			p.info.Made, _ = time.ParseInLocation("2006-01-02 15:04:05", m[1]+" "+m[2], time.Local) // else it says nothing
		}
	case madeLine.MatchString(text):
		p.info.Program = strings.TrimSpace(text[len("-- "):])
	case whereLine.MatchString(text):
		p.info.Filtered = true
	default:
		if m := hostLine.FindStringSubmatch(text); m != nil {
			p.database = strings.TrimSpace(m[1])
		} else if m := usingLine.FindStringSubmatch(text); m != nil {
			p.database = m[1]
		} else if m := fromLine.FindStringSubmatch(text); m != nil {
			p.info.Server = strings.TrimSpace(m[1])
		} else if m := dataLine.FindStringSubmatch(text); m != nil {
			p.of(TableName{p.database, m[1]}).table.HasData = true
		}
	}
}

func (p *parser) of(name TableName) *entry {
	e := p.entries[name]
	if e == nil {
		e = &entry{table: Table{TableName: name}}
		p.entries[name] = e
	}
	return e
}

// run reads the whole dump.
func (p *parser) run() error {
	for {
		t, err := p.next()
		switch {
		case err != nil:
			return err
		case t.kind == tokenEnd:
			if !p.complete {
				return p.cut("without the lines that mysqldump writes last; one that was made with --compact cannot be told from one that was cut off, so make it without")
			}
			return nil
		case t.kind == tokenStop:
			continue
		}
		if err := p.statement(t); err != nil {
			return err
		}
	}
}

// printed are lines of the program itself, where its errors were written into the dump.
var printed = regexp.MustCompile(`(?i)^(mysqldump|mariadb|mariadbdump|warning|enter)$`)

func (p *parser) statement(t token) error {
	if t.kind != tokenWord {
		return fail(t, "this is no statement", hintDamaged)
	}
	if printed.MatchString(t.text) {
		return p.message(t)
	}
	word := strings.ToUpper(t.text)
	if word == "INSERT" || word == "REPLACE" {
		return p.insert(t)
	}
	p.last = nil
	switch word {
	case "DELIMITER":
		var text []byte
		p.until(lineEnd, collect(&text))
		if p.delimiter = strings.TrimSpace(string(text)); p.delimiter == "" {
			return fail(t, "DELIMITER without one", hintDamaged)
		}
		return p.err
	case "SET":
		return p.set()
	case "USE":
		name, err := p.next()
		if err != nil || !name.isIdentifier() {
			return p.rest(name, err)
		}
		p.database = name.text
	case "CREATE":
		return (&definer{p}).create(t)
	case "DROP":
		return p.drop()
	case "LOCK":
		return p.lock()
	case "ALTER":
		return (&definer{p}).alter(t)
	case "UPDATE", "DELETE", "LOAD", "RENAME", "TRUNCATE":
		return p.change(t)
	}
	return p.skipStatement()
}

// message skips a line that the program wrote for a person. One about an error says that
// the dump is not whole.
func (p *parser) message(t token) error {
	var text []byte
	p.until(lineEnd, collect(&text))
	line := strings.ToLower(t.text + string(text))
	for _, harmless := range []string{"warning", "password:", "deprecated"} {
		if strings.Contains(line, harmless) {
			return p.err
		}
	}
	return fail(t, "the program that made the dump has written an error into it", "run mysqldump again, and look at what it says")
}

// set takes what decides how the rest is read, and what only stands at the end.
func (p *parser) set() error {
	var before, name token
	for {
		t, err := p.next()
		if err != nil || t.kind == tokenStop {
			return err
		}
		switch {
		case t.kind == tokenEnd:
			return p.cut("in the middle of a statement")
		case before.is("NAMES"), before.is("SET") && name.is("CHARACTER"):
			p.mode.charset = strings.ToLower(t.text)
		case before.isSign('='):
			p.assign(strings.ToUpper(name.text), t)
		}
		if t.isIdentifier() && !before.isSign('=') {
			name = t
			if t.is("SET") {
				name = before
			}
		}
		before = t
	}
}

func (p *parser) assign(variable string, value token) {
	variable = variable[strings.LastIndexByte(variable, '@')+1:]
	switch variable {
	case "SQL_MODE":
		modes := strings.Split(strings.ToUpper(value.text), ",")
		p.mode.noBackslash, p.mode.ansiQuotes = false, false
		for _, m := range modes {
			p.mode.noBackslash = p.mode.noBackslash || m == "NO_BACKSLASH_ESCAPES"
			p.mode.ansiQuotes = p.mode.ansiQuotes || m == "ANSI_QUOTES" || m == "ANSI"
		}
	case "SQL_NOTES", "NOTE_VERBOSITY", "CHARACTER_SET_RESULTS":
		if strings.HasPrefix(strings.ToUpper(value.text), "@OLD_") {
			p.complete = true
		}
	}
}

func (p *parser) insert(t token) error {
	p.complete = false
	name, err := p.into(p.database)
	if err != nil {
		return err
	}
	if err := p.skipStatement(); err != nil {
		return inTable(err, name)
	}
	e := p.of(name)
	end, _ := p.place()
	e.add(segment{off: t.off, end: end, line: t.line, mode: p.mode}, p.last == e)
	p.last = e
	return nil
}

// lock takes note of the tables whose rows follow: the program locks also those that
// have none.
func (p *parser) lock() error {
	t, err := p.passing("TABLES", "TABLE")
	for err == nil && t.isIdentifier() {
		var name TableName
		if name, err = p.name(t, p.database); err != nil {
			return err
		}
		p.of(name).table.HasData = true
		for err == nil && !t.isSign(',') && t.kind != tokenStop {
			if t, err = p.next(); t.kind == tokenEnd && err == nil {
				return p.cut("in the middle of a statement")
			}
		}
		if err == nil && t.kind != tokenStop {
			t, err = p.next()
		}
	}
	if err != nil || t.kind == tokenStop {
		return err
	}
	return p.skipStatement()
}

func (p *parser) drop() error {
	what, err := p.passing("TEMPORARY")
	if err != nil {
		return err
	}
	if !what.is("TABLE") && !what.is("VIEW") {
		return p.skipStatement()
	}
	t, err := p.passing("IF", "EXISTS")
	for err == nil && t.isIdentifier() {
		var name TableName
		if name, err = p.name(t, p.database); err != nil {
			return err
		}
		delete(p.entries, name)
		if t, err = p.next(); err == nil && t.isSign(',') {
			t, err = p.next()
		}
	}
	if err != nil || t.kind == tokenStop {
		return err
	}
	return p.skipStatement()
}

// change takes note of a statement that changes the rows of a table: what the dump says
// of them before is not what there is.
func (p *parser) change(statement token) error {
	t, err := p.passing("LOW_PRIORITY", "IGNORE", "QUICK", "FROM", "TABLE", "LOCAL", "DATA", "INFILE", "INTO")
	for err == nil && t.kind == tokenString {
		t, err = p.passing("REPLACE", "IGNORE", "INTO", "TABLE")
	}
	if err != nil || !t.isIdentifier() {
		return p.rest(t, err)
	}
	name, err := p.name(t, p.database)
	if err != nil {
		return err
	}
	e := p.of(name)
	if statement.is("TRUNCATE") {
		e.segments = nil
	} else {
		e.changed = &statement
	}
	return p.skipStatement()
}

func inTable(err error, name TableName) error {
	if e, ok := err.(*SyntaxError); ok && e.Table == "" { //nolint:errorlint // made here
		e.Table = name.String()
	}
	return err
}
