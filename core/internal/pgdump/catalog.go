package pgdump

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

type catalog struct{ tables map[TableName]*table }

func newCatalog() *catalog { return &catalog{tables: make(map[TableName]*table)} }

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
