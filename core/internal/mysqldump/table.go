package mysqldump

import "slices"

// TableName is the name of a table without any quoting. The database is empty where the
// dump does not tell.
type TableName struct{ Database, Name string }

// String renders the name as messages do.
func (n TableName) String() string {
	if n.Database == "" {
		return n.Name
	}
	return n.Database + "." + n.Name
}

// Table is a table that the dump defines or has data for.
type Table struct {
	TableName

	// Columns are the stored columns, in the order of [Rows.Values]; generated ones have
	// no data in a dump and are left out.
	Columns []Column
	// HasData reports whether the dump was made with the rows of the table, of which there
	// may be none. HasRows reports whether there are any.
	HasData, HasRows bool
	// Indexes are the names of its indexes and constraints other than foreign keys.
	Indexes []string
	// ForeignKeys are the names of its foreign keys, with the columns of each.
	ForeignKeys []ForeignKey
}

// ForeignKey is a foreign key of a table.
type ForeignKey struct {
	Name    string
	Columns []string
}

// Column is a column of a table.
type Column struct {
	Name string
	// Type is in small letters, without blanks but the one before "unsigned":
	// "bigint(20) unsigned". It is empty where the dump does not tell.
	Type string

	generated bool
}

// Binary reports whether a column of this type holds bytes and no text.
func (c Column) Binary() bool {
	switch base(c.Type) {
	case "blob", "tinyblob", "mediumblob", "longblob", "binary", "varbinary", "bit", "geometry", "point", "vector":
		return true
	}
	return false
}

// base is a type without width and attributes.
func base(typ string) string {
	for i, c := range []byte(typ) {
		if c == '(' || c == ' ' {
			return typ[:i]
		}
	}
	return typ
}

// entry is what is known of a table while the dump is read.
type entry struct {
	table    Table
	all      []Column // generated ones as well
	defined  bool
	changed  *token // a statement that changes rows or columns
	segments []segment
}

// segment is a stretch of the dump that holds nothing but INSERT statements of one table.
type segment struct {
	off, end int64
	line     int
	mode     mode
}

// add takes note of an INSERT statement, which is part of the last segment when nothing
// came between them.
func (e *entry) add(s segment, follows bool) {
	if last := len(e.segments) - 1; follows && last >= 0 && e.segments[last].mode == s.mode {
		e.segments[last].end = s.end
		return
	}
	e.segments = append(e.segments, s)
}

// finish is the table as callers see it.
func (e *entry) finish() Table {
	t := e.table
	t.HasRows = len(e.segments) > 0
	t.HasData = t.HasData || t.HasRows
	t.Columns = slices.DeleteFunc(slices.Clone(e.all), func(c Column) bool { return c.generated })
	slices.Sort(t.Indexes)
	return t
}
