package sqltarget

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// heldTable is a table as the catalogue describes it.
type heldTable struct {
	id            string
	name          string // quoted, with what it is in
	plain         string // as the configuration has it
	columns       []*heldColumn
	unique        []*uniqueIndex
	checks        []check
	refers        []reference // its own foreign keys
	rights        map[string]bool
	transactional bool   // what was written can be taken back
	overriding    string // lets an INSERT give values that the database would make
	// faithful says that nothing changes a row on its way in, as a trigger would.
	faithful bool

	claimed func(expr string) string // as that of a column, of a type that nobody knows
}

// heldColumn is one of its columns.
type heldColumn struct {
	name      string
	typ       string // without its length, for casts
	kind      kind
	digits    int    // after a second
	length    int    // in characters, 0 for none
	bytes     int    // in bytes, 0 for none
	least     string // of a range; empty for none
	most      string
	letters   func(string) bool // says whether it can hold a text; nil for all
	trims     bool              // blanks at the end are lost
	notNull   bool
	defaults  string // expression
	counted   bool   // the database numbers its rows
	generated string // expression of a column that the database makes
	always    bool   // only the database gives it values
	enum      []string
	known     bool // a value that was parsed is one of its type, whatever it is
	folds     bool // values that are not the same text may be equal
	// ignoresCase says that letter case is among what does not count.
	ignoresCase bool
	rights      map[string]bool

	// Expressions around another one, in the language of the database.
	cast    func(expr string) string // makes a text one of the type
	store   func(expr string) string // the same where it is written
	show    func(expr string) string // gives a value as a text that parse reads
	whole   func(expr string) string // gives a value as a text that store takes
	exact   func(expr string) string // compares as the text that it is; nil where all do
	claimed func(expr string) string // gives values that are equal the same text
	// form makes the text of a value one that the database reads.
	form func(text string) string
}

// optional says that a row without a value for it is taken.
func (c *heldColumn) optional() bool {
	return !c.notNull || c.defaults != "" || c.counted || c.generated != ""
}

// canonical is a value as the column would give it back.
func (c *heldColumn) canonical(v any) (value, error) {
	out, err := canonicalOf(c.kind, c.digits, v)
	if c.trims {
		out.text = strings.TrimRight(out.text, " ")
	}
	return out, err
}

// exactly compares a value as the text that it is.
func (c *heldColumn) exactly(expr string) string {
	if c.exact == nil {
		return expr
	}
	return c.exact(expr)
}

// written is a value as a text that the database reads.
func (c *heldColumn) written(v value) *string {
	if v.null {
		return nil
	}
	text := v.text
	if c.form != nil {
		text = c.form(text)
	}
	return &text
}

// uniqueIndex is a unique index or constraint.
type uniqueIndex struct {
	name        string
	exprs       []string
	columns     []string // those that exprs are, empty for an expression
	predicate   string
	nullsEqual  bool
	declaration bool // of the configuration, not of the database
}

// check is a CHECK constraint.
type check struct{ name, expr string }

// reference is a foreign key.
type reference struct {
	name          string
	from, to      string
	fromName      string // quoted
	toName        string
	columns, refs []string
}

// catalogue is what the database says of the declared tables.
type catalogue struct {
	syntax
	tables map[string]*heldTable // by the name in the configuration
	// referrers are foreign keys of any table that refer to a declared one.
	referrers []reference
	// disposable are tables whose rows may go with an account; sessions are among them.
	disposable, sessions map[string]bool
	// blind says that there may be more of these.
	blind bool
}

func (c *catalogue) of(t *table) *heldTable { return c.tables[t.Name] }

func (h *heldTable) column(name string) *heldColumn {
	at := slices.IndexFunc(h.columns, func(c *heldColumn) bool { return c.name == name })
	if at < 0 {
		return nil
	}
	return h.columns[at]
}

// pathOf is the name of a table and what it is in: the schema that it names, the usual one,
// or nothing.
func pathOf(schema, name string) []string {
	if in, n, ok := strings.Cut(name, "."); ok {
		return []string{in, n}
	}
	if schema == "" {
		return []string{name}
	}
	return []string{schema, name}
}

// readCatalogue describes the tables that there are. Those that are missing are not in it.
func readCatalogue(ctx context.Context, s server, asking tx, config *Config, m *model) (*catalogue, error) {
	c := &catalogue{syntax: s, tables: map[string]*heldTable{}, disposable: map[string]bool{}, sessions: map[string]bool{}}
	r, schema := s.reader(asking), config.Schema
	for _, name := range union(config.Disposable, config.Sessions) {
		id, err := r.exists(ctx, pathOf(schema, name))
		if err != nil {
			return nil, err
		}
		if id == "" {
			continue
		}
		further, err := r.references(ctx, toEnd, []string{id})
		if err != nil {
			return nil, err
		}
		if len(further) == 0 { // else something else would go with its rows
			c.disposable[id] = true
			c.sessions[id] = slices.Contains(config.Sessions, name)
		}
	}
	for _, t := range m.tables {
		if c.tables[t.Name] != nil {
			continue
		}
		h, err := r.table(ctx, pathOf(schema, t.Name))
		if err != nil {
			return nil, fmt.Errorf("read the catalogue of %s: %w", t.Name, err)
		}
		if h != nil {
			h.plain = t.Name
			c.tables[t.Name] = h
		}
	}
	var (
		ids []string
		err error
	)
	for _, h := range c.tables {
		ids = append(ids, h.id)
	}
	slices.Sort(ids)
	if c.referrers, err = r.references(ctx, toEnd, ids); err != nil {
		return nil, err
	}
	c.blind, err = r.blind(ctx, ids)
	return c, err
}

// unique are the rules of that kind for the rows of a declaration: those of the database,
// and its own where the database has no such index.
func (c *catalogue) unique(t *table) []*uniqueIndex {
	all := slices.Clone(c.of(t).unique)
	for _, columns := range t.Unique {
		if slices.ContainsFunc(all, func(o *uniqueIndex) bool { return o.predicate == "" && slices.Equal(o.columns, columns) }) {
			continue
		}
		u := &uniqueIndex{name: strings.Join(columns, ", "), columns: columns, declaration: true}
		for _, col := range columns {
			u.exprs = append(u.exprs, c.quote(col))
		}
		all = append(all, u)
	}
	return all
}

// bind tells the declared columns which ones they are.
func (c *catalogue) bind(m *model) {
	for _, t := range m.tables {
		for _, col := range t.columns {
			col.held = c.of(t).column(col.name)
			if !col.fixed {
				continue
			}
			v, err := col.source.eval(&item{})
			if err == nil {
				col.constant, _ = col.held.canonical(v) // it was looked at before
			}
		}
	}
}
