package pgdump

import (
	"cmp"
	"slices"
)

// maxColumns is PostgreSQL's own limit.
const maxColumns = 1600

type column struct {
	name, typ string
	generated bool
}

// unless is the column as a list, empty for what was a constraint after all.
func (c column) unless(constraint bool) []column {
	if constraint {
		return nil
	}
	return []column{c}
}

// table is what the dump says about one table.
type table struct {
	defined  bool
	typed    bool // of a composite type: columns has only what differs from it
	columns  []column
	inherits []TableName // where further columns come from
	parent   TableName   // of a partition
	segments []segment
}

type catalog struct {
	tables map[TableName]*table
	// partitions and heirs are made when all tables are known. The rows of heirs are rows
	// of the table that they inherit from, too.
	partitions, heirs map[TableName][]TableName

	// marks are kept apart from the tables: a materialized view may have some too.
	marks       map[TableName]*marks
	views       []TableName
	rowSecurity bool // row_security = on
}

// marks are what the statements behind the data add to a table.
type marks struct {
	indexes, constraints, foreignKeys []string
	rowSecurity                       bool
}

// describe copies the marks to what callers see.
func (m *marks) describe(t *Table) {
	if m == nil {
		return
	}
	for _, list := range [][]string{m.indexes, m.constraints, m.foreignKeys} {
		slices.Sort(list)
	}
	t.Indexes, t.Constraints, t.ForeignKeys = m.indexes, m.constraints, m.foreignKeys
	t.RowSecurity = m.rowSecurity
}

func newCatalog() *catalog {
	return &catalog{tables: make(map[TableName]*table), marks: make(map[TableName]*marks)}
}

// mark returns the marks of a table, which are made when they are new.
func (c *catalog) mark(name TableName) *marks {
	m := c.marks[name]
	if m == nil {
		m = &marks{}
		c.marks[name] = m
	}
	return m
}

// postData reports whether there is an index or a constraint of any table.
func (c *catalog) postData() bool {
	for _, m := range c.marks {
		if len(m.indexes)+len(m.constraints)+len(m.foreignKeys) > 0 {
			return true
		}
	}
	return false
}

// entry returns the entry of a table, which is made when it is new.
func (c *catalog) entry(name TableName) *table {
	e := c.tables[name]
	if e == nil {
		e = &table{}
		c.tables[name] = e
	}
	return e
}

// define adds a definition and reports false when there is one already.
func (c *catalog) define(name TableName, def table) bool {
	e := c.entry(name)
	if e.defined {
		return false
	}
	def.defined, def.segments = true, e.segments
	if def.parent == (TableName{}) {
		def.parent = e.parent
	}
	*e = def
	return true
}

// family notes which tables are parts of which others.
func (c *catalog) family() {
	if c.partitions != nil {
		return
	}
	c.partitions, c.heirs = make(map[TableName][]TableName), make(map[TableName][]TableName)
	for name, e := range c.tables {
		if e.parent != (TableName{}) {
			c.partitions[e.parent] = append(c.partitions[e.parent], name)
			continue
		}
		for _, parent := range e.inherits {
			c.heirs[parent] = append(c.heirs[parent], name)
		}
	}
}

// data lists where the rows of a table lie, those of a partitioned one in its
// partitions unless --load-via-partition-root has put them under its own name, and those
// of tables that inherit from it beside its own, as a SELECT gives them. It reports
// false where the dump leaves some out.
func (c *catalog) data(name TableName) ([]segment, bool) {
	c.family()
	seen := make(map[TableName]bool) // a hostile file may go round in circles
	var collect func(TableName) ([]segment, bool)
	collect = func(name TableName) ([]segment, bool) {
		if seen[name] {
			return nil, false
		}
		seen[name] = true
		parts := c.partitions[name]
		list := slices.Clone(c.tables[name].segments)
		for i := range list {
			if list[i].columns == nil { // COPY without a list means all stored columns
				list[i].columns = c.stored(name)
			}
		}
		if len(list) > 0 {
			parts = nil
		} else if len(parts) == 0 {
			return nil, false
		}
		for i, part := range slices.Concat(parts, c.heirs[name]) {
			if i >= len(parts) && seen[part] { // it inherits from two tables of the family
				continue
			}
			more, ok := collect(part)
			if !ok {
				return nil, false
			}
			for j := range more {
				more[j].heir = more[j].heir || i >= len(parts)
			}
			list = append(list, more...)
		}
		return list, true
	}
	list, ok := collect(name)
	slices.SortFunc(list, func(x, y segment) int { return cmp.Or(cmp.Compare(x.off, y.off), cmp.Compare(x.seq, y.seq)) })
	return list, ok
}

// stored lists the columns of a table that have data, inherited ones first, as
// COPY without a column list would.
func (c *catalog) stored(name TableName) []string {
	list := []string{}
	listed := make(map[string]bool)
	seen := make(map[TableName]bool)
	var add func(TableName)
	add = func(name TableName) {
		e := c.tables[name]
		if e == nil || e.typed || seen[name] {
			return
		}
		seen[name] = true
		for _, parent := range e.inherits {
			add(parent)
		}
		for _, col := range e.columns {
			if !col.generated && !listed[col.name] {
				listed[col.name] = true
				list = append(list, col.name)
			}
		}
	}
	add(name)
	return list
}

// typeOf finds the type of a column in the table or where it is inherited from.
func (c *catalog) typeOf(name TableName, col string) string {
	seen := make(map[TableName]bool)
	var find func(TableName) string
	find = func(name TableName) string {
		e := c.tables[name]
		if e == nil || seen[name] {
			return ""
		}
		seen[name] = true
		for _, own := range e.columns {
			if own.name == col && own.typ != "" {
				return own.typ
			}
		}
		for _, parent := range e.inherits {
			if typ := find(parent); typ != "" {
				return typ
			}
		}
		return ""
	}
	return find(name)
}
