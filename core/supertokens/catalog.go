package supertokens

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// catalog is what a source says about its tables, before anything is known
// about SuperTokens: one entry per table of every schema that is not
// PostgreSQL's own.
type catalog struct {
	// where names the source in messages: "database app at host:5432" or the
	// dump's path. It never holds a password.
	where  string
	tables []*relation
	// views are what has the name of a table and is none.
	views []view
	// withoutIndexes says that the source does not tell which indexes and constraints
	// there are, as a dump of some sections only.
	withoutIndexes bool
	// hidesRows says that the source was made so that rows may be missing from it.
	hidesRows bool
	// filtered says that a dump was made of some rows only.
	filtered bool
	// showsGranted says that the source shows only tables that the role has a right to: what
	// is missing may be there.
	showsGranted bool
	// made is when a dump was made, at the latest; zero of a database, and of a dump of which
	// nobody can tell.
	made time.Time
	// dumped says that the source is a dump.
	dumped bool
	// collates says that the server may take texts for equal that are not.
	collates bool
}

// view is something that can be read like a table. It may leave rows out, and nothing
// tells which, so it is not read.
type view struct {
	schema, name string
	kind         string // "view", "materialized view" or "foreign table"
}

// why says that this is no table. What to do about it is another sentence.
func (v *view) why() string {
	return fmt.Sprintf("%s.%s is a %s, and only tables are read: a %s may leave out rows, and it is unknown which", v.schema, v.name, v.kind, v.kind)
}

// viewOf finds what stands in place of a table, nil when nothing does.
func (c *catalog) viewOf(schema, name string) *view {
	for i := range c.views {
		if v := &c.views[i]; v.schema == schema && v.name == name {
			return v
		}
	}
	return nil
}

// relation is one table as the source has it.
type relation struct {
	schema, name string
	// mysql says how its name is quoted, and how its texts are compared.
	mysql   bool
	columns []string
	// types are those of the columns, in the spelling of this package; empty where
	// the source does not tell.
	types []string
	// indexes are the names of its indexes and constraints.
	indexes []string
	// part says that the table is a partition of another or inherits from it, through
	// which its rows are read.
	part bool
	// readable is false when the role of the connection lacks SELECT.
	readable bool
	// policies are the row-level security policies that apply to the role.
	policies []string
	// mayHideRows is true when the table of a dump has row-level security, and the kind
	// of dump does not tell whether it was heeded.
	mayHideRows bool
	// empty is true when a dump defines the table and leaves its data out.
	empty bool
}

func (r *relation) qualified() string { return r.schema + "." + r.name }

func (r *relation) has(names ...string) bool {
	for _, n := range names {
		if !slices.Contains(r.columns, n) {
			return false
		}
	}
	return true
}

// typeOf is the type of a column by its position, empty when it is not known.
func (r *relation) typeOf(column int) string {
	if column < 0 || column >= len(r.types) {
		return ""
	}
	return r.types[column]
}

// hasIndex reports whether an index or a constraint is called so. Cores put the
// name of the table, with its prefix, before the names of constraints.
func (r *relation) hasIndex(name string) bool {
	return slices.ContainsFunc(r.indexes, func(n string) bool { return strings.HasSuffix(n, name) })
}

func (c *catalog) find(schema, name string) *relation {
	for _, r := range c.tables {
		if r.schema == schema && r.name == name {
			return r
		}
	}
	return nil
}

// schemas returns the distinct schema names, sorted.
func (c *catalog) schemas() []string {
	var out []string
	for _, r := range c.tables {
		out = append(out, r.schema)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// rows answers what detection asks about the content of tables.
type rows interface {
	// hasRows reports whether a table has any row.
	hasRows(ctx context.Context, r *relation) (bool, error)
	// countRows counts the rows of a table; where the table has apps and app is not
	// empty, only those of the app.
	countRows(ctx context.Context, r *relation, app string) (int, error)
	// scan gives every row of a table, columns in the order asked for; a column
	// the table lacks is NULL. Where the table has apps and app is not empty,
	// only its rows. Values are valid during the call. Several tables may be
	// scanned at once.
	scan(ctx context.Context, r *relation, app string, columns []string, row func([][]byte) error) error
}
