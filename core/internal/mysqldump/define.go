package mysqldump

import (
	"slices"
	"strings"
)

// definer reads the statements that define something.
type definer struct{ *parser }

// create takes definitions of tables, and the names of views.
func (p *definer) create(statement token) error {
	t, err := p.passing("OR", "REPLACE", "TEMPORARY")
	for ; err == nil; t, err = p.next() {
		switch {
		case t.is("TABLE"):
			return p.createTable(statement)
		case t.is("VIEW"):
			return p.createView()
		case t.is("INDEX"):
			return p.createIndex()
		case t.is("PROCEDURE"), t.is("FUNCTION"), t.is("TRIGGER"), t.is("EVENT"), t.is("DATABASE"), t.is("SCHEMA"), t.kind == tokenStop, t.kind == tokenEnd:
			return p.rest(t, nil)
		}
	}
	return err
}

func (p *definer) createView() error {
	t, err := p.passing("IF", "NOT", "EXISTS")
	if err != nil {
		return err
	}
	name, err := p.name(t, p.database)
	if err != nil {
		return err
	}
	delete(p.entries, name) // a stand-in until all views can be made
	if !slices.Contains(p.views, name) {
		p.views = append(p.views, name)
	}
	return p.skipStatement()
}

func (p *definer) createIndex() error {
	index, err := p.passing("IF", "NOT", "EXISTS")
	if err != nil {
		return err
	}
	t, err := p.next()
	for err == nil && !t.is("ON") && t.kind != tokenStop && t.kind != tokenEnd {
		t, err = p.next()
	}
	if err != nil || !t.is("ON") {
		return p.rest(t, err)
	}
	if t, err = p.next(); err != nil {
		return err
	}
	name, err := p.name(t, p.database)
	if err != nil {
		return err
	}
	e := p.of(name)
	e.table.Indexes = append(e.table.Indexes, index.text)
	return p.skipStatement()
}

func (p *definer) createTable(statement token) error {
	p.complete = false
	t, err := p.passing("IF", "NOT", "EXISTS")
	if err != nil {
		return err
	}
	name, err := p.name(t, p.database)
	if err != nil {
		return err
	}
	e := p.of(name)
	if e.defined || len(e.segments) > 0 {
		return inTable(fail(statement, "the dump defines the table twice", "keep one dump in the file"), name)
	}
	e.defined = true
	open, err := p.next()
	if err != nil {
		return err
	}
	if !open.isSign('(') {
		return inTable(fail(open, "the columns of the table are missing", hintDamaged), name)
	}
	for {
		item, last, err := p.item(true)
		if err != nil {
			return inTable(err, name)
		}
		if !e.key(item) {
			e.column(item)
		}
		if last {
			return p.skipStatement()
		}
	}
}

// column takes the definition of a column.
func (e *entry) column(item []token) {
	if len(item) < 2 || !item[0].isIdentifier() {
		return
	}
	c := Column{Name: item[0].text, Type: strings.ToLower(item[1].text)}
	rest := item[2:]
	if len(rest) > 0 && rest[0].isSign('(') {
		for i, t := range rest {
			c.Type += t.text
			if t.isSign(')') {
				rest = rest[i+1:]
				break
			}
		}
	}
	if len(rest) > 0 && rest[0].is("unsigned") {
		c.Type += " unsigned"
	}
	depth := 0
	for i, t := range rest {
		switch {
		case t.isSign('('):
			depth++
		case t.isSign(')'):
			depth--
		case depth == 0 && t.is("AS") && i+1 < len(rest) && rest[i+1].isSign('('):
			c.generated = true
		}
	}
	e.all = append(e.all, c)
}

// key takes the definition of a key or a constraint, and reports whether it is one.
func (e *entry) key(item []token) bool {
	if len(item) == 0 {
		return true
	}
	name := ""
	if item[0].is("CONSTRAINT") {
		item = item[1:]
		if len(item) > 1 && !item[0].is("PRIMARY") && !item[0].is("UNIQUE") && !item[0].is("FOREIGN") && !item[0].is("CHECK") {
			name, item = item[0].text, item[1:]
		}
	}
	if len(item) == 0 {
		return true
	}
	switch {
	case item[0].is("PRIMARY"):
		name = "PRIMARY"
	case item[0].is("CHECK"), item[0].is("PERIOD"):
	case item[0].is("UNIQUE"), item[0].is("FULLTEXT"), item[0].is("SPATIAL"), item[0].is("KEY"), item[0].is("INDEX"):
		for _, t := range item[1:] {
			if t.isSign('(') || t.is("USING") {
				break
			}
			if !t.is("KEY") && !t.is("INDEX") {
				name = t.text
			}
		}
	case item[0].is("FOREIGN"):
		f := ForeignKey{Name: name}
		at := slices.IndexFunc(item, func(t token) bool { return t.isSign('(') })
		for _, t := range item[at+1:] {
			if t.isSign(')') {
				break
			}
			if t.isIdentifier() {
				f.Columns = append(f.Columns, t.text)
			}
		}
		e.table.ForeignKeys = append(e.table.ForeignKeys, f)
		return true
	default:
		return false
	}
	if name != "" {
		e.table.Indexes = append(e.table.Indexes, name)
	}
	return true
}

// alter takes keys that are added behind the rows, as phpMyAdmin does. What changes the
// columns is not followed.
func (p *definer) alter(statement token) error {
	what, err := p.passing("ONLINE", "IGNORE")
	if err != nil || !what.is("TABLE") {
		return p.rest(what, err)
	}
	t, err := p.passing("IF", "EXISTS")
	if err != nil {
		return err
	}
	name, err := p.name(t, p.database)
	if err != nil {
		return err
	}
	e := p.of(name)
	for {
		item, stopped, err := p.item(false)
		if err != nil {
			return inTable(err, name)
		}
		switch {
		case len(item) == 0:
		case item[0].is("ADD"):
			if !e.key(item[1:]) {
				e.changed = &statement
			}
		case item[0].is("DROP"), item[0].is("CHANGE"), item[0].is("RENAME"):
			e.changed = &statement
		}
		if stopped {
			return nil
		}
	}
}
