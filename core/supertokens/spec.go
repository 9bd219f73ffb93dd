package supertokens

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
)

// TableName is a table by the name that the core gives it, before prefix and
// renaming.
type TableName string

// role is what a table is to an account.
type role int

const (
	// roleIgnored: tables that hold nothing of an account: copies of what other tables say,
	// one-time tokens, keys, and the core's own configuration.
	roleIgnored role = iota
	// roleInstallation: tables that hold nothing of an account either, but are looked at for what
	// an operator should know.
	roleInstallation
	// The next ones say who there is: an account for each login, the logins, a list
	// of them, the tenants they are in, and the ids that applications see.
	roleSpine
	roleRecipe
	roleIndex
	roleMembership
	roleMapping
	// roleAccount and roleLogin: what else is known about them.
	roleAccount
	roleLogin
	// roleApp: the names of apps, tenants and roles.
	roleApp
)

// matters reports whether accounts are other ones without such a table.
func (r role) matters() bool { return r != roleIgnored && r != roleInstallation }

// saysWhere reports whether such a table is needed to tell which tenants a login is in.
func (r role) saysWhere() bool {
	return r == roleSpine || r == roleRecipe || r == roleIndex || r == roleMembership
}

// owner says whose id a table stores. It differs from table to table, and between
// cores.
type owner int

const (
	// byInternalID is the core's own UUID of a login or of an account.
	byInternalID owner = iota
	// byVisibleID is the external id where one is mapped, else the internal one.
	byVisibleID
)

// tableSpec is everything that is known about one table. The list of them is
// [schema]; nothing else names a table.
type tableSpec struct {
	name TableName
	role role
	// since is the first release that makes it; every later one does as well,
	// whenever it starts and the table is missing. until, when not zero, is the
	// first that does not, and upgrades may leave the table behind.
	since, until release
	// droppable tables may be dropped once core 12 has moved their content.
	droppable bool
	// renamable tables can be renamed one by one (postgresql_<name>_table_name).
	// Such a table keeps the schema and loses the prefix.
	renamable bool
	// common names are ones that applications give tables of their own.
	common bool
	// vague tables have so few columns that applications have such tables under names of
	// their own: one that was renamed is found only beside others of its age.
	vague bool
	// partitioned tables have parts that are called after them.
	partitioned bool
	columns     []columnSpec
	// reason says why nothing of a table is carried whose columns nobody needs to know.
	reason  string
	indexes []indexSpec
	// key is the column with the id of a user, and owner says which id that is.
	key   string
	owner func(*Layout) owner
	// loginOf is the kind of login that a row of a recipe table is.
	loginOf canonical.Recipe

	// child tables have a foreign key to users: a row of nobody proves that the row
	// of a user is missing.
	child bool

	// readUser and readID bind the columns of a row and return how it is read: into
	// what is known about a user, or into what lies under one id.
	readUser func(*binding) func(*rangeRows, *userRows, [][]byte) error
	readID   func(*binding) func(*idRows, [][]byte) error
	// attach adds to an account what lies under its id.
	attach func(*assembler, *canonical.User, *idRows)
	// leftover counts what lies under an id of an account where the core does not
	// look; takeable says that an operator may want it all the same.
	leftover func(*idRows) int
	takeable bool
}

// columnSpec is one column of a table.
type columnSpec struct {
	name string
	// typ is the type that the first core gives it, "varchar(128)"; widths are those
	// of later ones, which an upgrade may not have brought.
	typ    string
	widths []width
	// since is the first release that makes the column, zero for all that make the
	// table; until, when not zero, the first that does not.
	since, until release
	// optional columns are missing where an operator has not run the statements of
	// an upgrade, without harm to an account.
	optional bool
	fate     Fate
	reason   string
}

// width is a type that a column has had since a release.
type width struct {
	typ   string
	since release
}

// indexSpec is an index or a constraint that only some releases make: it proves
// them where it is there.
type indexSpec struct {
	name  string
	since release
}

// ofFate is a list of columns, one string each, "name type", of one fate.
func ofFate(fate Fate, reason string, columns ...string) []columnSpec {
	out := make([]columnSpec, len(columns))
	for i, c := range columns {
		name, typ, _ := strings.Cut(c, " ")
		out[i] = columnSpec{name: name, typ: typ, fate: fate, reason: reason}
	}
	return out
}

func carried(columns ...string) []columnSpec { return ofFate(Carried, "", columns...) }

func transformed(reason string, columns ...string) []columnSpec {
	return ofFate(Transformed, reason, columns...)
}

func dropped(reason string, columns ...string) []columnSpec {
	return ofFate(Dropped, reason, columns...)
}

// since says that columns came with a release.
func since(r release, columns []columnSpec) []columnSpec {
	for i := range columns {
		columns[i].since = r
	}
	return columns
}

// until says that columns went with a release.
func until(r release, columns []columnSpec) []columnSpec {
	for i := range columns {
		columns[i].until = r
	}
	return columns
}

// optional says that columns may be missing.
func optional(columns []columnSpec) []columnSpec {
	for i := range columns {
		columns[i].optional = true
	}
	return columns
}

// widened says that a release changed the type of columns.
func widened(r release, typ string, columns []columnSpec) []columnSpec {
	for i := range columns {
		columns[i].widths = append(columns[i].widths, width{typ, r})
	}
	return columns
}

func (t *tableSpec) column(name string) *columnSpec {
	for i := range t.columns {
		if t.columns[i].name == name {
			return &t.columns[i]
		}
	}
	return nil
}

// widthSince is the release that gave the column this type, zero when none is
// known to have changed it to that.
func (c *columnSpec) widthSince(typ string) release {
	for _, w := range c.widths {
		if w.typ == typ {
			return w.since
		}
	}
	return 0
}

// firstOf is the first release that makes a column.
func (t *tableSpec) firstOf(c *columnSpec) release { return max(c.since, t.since) }

// base reports whether every release that makes the table makes the column.
func (t *tableSpec) base(c *columnSpec) bool {
	return t.firstOf(c) == t.since && c.until == 0 && !c.optional
}

// fits reports whether r can be this table: it has what every core has given it,
// in types of the same kind.
func (t *tableSpec) fits(r *relation) bool {
	for i := range t.columns {
		c := &t.columns[i]
		at := slices.Index(r.columns, c.name)
		if at < 0 && t.base(c) {
			return false
		}
		if at >= 0 && !c.holds(r.typeOf(at)) {
			return false
		}
	}
	return true
}

// misfit says why r does not fit.
func (t *tableSpec) misfit(r *relation) string {
	for i := range t.columns {
		c := &t.columns[i]
		at := slices.Index(r.columns, c.name)
		switch {
		case at < 0 && t.base(c):
			return fmt.Sprintf("it has no column %s (its columns: %s)", c.name, strings.Join(r.columns, ", "))
		case at >= 0 && !c.holds(r.typeOf(at)):
			return fmt.Sprintf("its column %s is of type %s, where cores have %s", c.name, r.typeOf(at), c.typ)
		}
	}
	return "nobody knows why"
}

// fitsExactly reports whether r is this table as cores make it: it has no column
// that no core gives it, and only types that cores do. An application's own table
// of the same name does not pass.
func (t *tableSpec) fitsExactly(r *relation) bool {
	if !t.fits(r) {
		return false
	}
	newest := release(0)
	for i, name := range r.columns {
		c := t.column(name)
		if c == nil {
			return false
		}
		if typ := r.typeOf(i); typ != "" && typ != c.typ && c.widthSince(typ) == 0 {
			return false
		}
		newest = max(newest, t.firstOf(c))
	}
	// Whatever has a column of one release has those of the releases before it.
	return !slices.ContainsFunc(t.columns, func(c columnSpec) bool {
		return !c.optional && c.until == 0 && t.firstOf(&c) <= newest && !r.has(c.name)
	})
}

// holds reports whether a column of this type can hold what the core stores. MySQL has no
// lists: there they are texts.
func (c *columnSpec) holds(typ string) bool {
	return sameKind(typ, c.typ) || kindOf(c.typ) == "array" && kindOf(typ) == "text"
}

// sameKind reports whether a column of one type can hold what one of the other
// does. A type that a source does not tell is of any kind.
func sameKind(a, b string) bool { return a == "" || b == "" || kindOf(a) == kindOf(b) }

func kindOf(typ string) string {
	if strings.HasSuffix(typ, "[]") {
		return "array"
	}
	name, _, _ := strings.Cut(typ, "(")
	if name = strings.TrimPrefix(name, "public."); name == "citext" { // an extension's, wherever it was put
		return "text"
	}
	switch name {
	case "char", "varchar", "text":
		return "text"
	case "bigint", "integer", "smallint":
		return "number"
	default:
		return name
	}
}

// isPadded reports whether a column of this type fills values up with blanks.
func isPadded(typ string) bool {
	return strings.HasPrefix(typ, "char") || strings.HasPrefix(typ, "bpchar")
}

// shortType is a type of PostgreSQL in the spelling of this package.
func shortType(typ string) string {
	typ = strings.Replace(typ, "character varying", "varchar", 1)
	return strings.Replace(typ, "character", "char", 1)
}

// binding collects the columns that a reader asks for by name and says where in
// a row each will be. The key comes first.
type binding struct {
	columns []string
	rel     *relation // nil where the table is no matter
}

// has reports whether the table of this installation has a column at all: where it has,
// NULL is something that no core stores.
func (b *binding) has(name string) bool { return b.rel != nil && b.rel.has(name) }

// at binds a column.
func (b *binding) at(name string) int {
	if i := slices.Index(b.columns, name); i >= 0 {
		return i
	}
	b.columns = append(b.columns, name)
	return len(b.columns) - 1
}

// tableReader reads one table of an installation.
type tableReader struct {
	*tableSpec
	rel *relation
	// columns are those of a row that is read, the key first.
	columns []string
	// eitherID says that rows may lie under the internal and the external id: the
	// core looks under the one that applications see, and the other is reported.
	eitherID bool
	// pads says that the column of the key fills ids up with blanks, or that the
	// source does not tell.
	pads   bool
	toUser func(*rangeRows, *userRows, [][]byte) error
	toID   func(*idRows, [][]byte) error
}

// reader binds the columns of a table that is read by the ids of users.
func (l *Layout) reader(t *tableSpec) *tableReader {
	b := &binding{columns: []string{t.key}, rel: l.tables[t.name]}
	out := &tableReader{tableSpec: t, rel: b.rel}
	if t.readID != nil {
		out.eitherID = t.owner(l) == byVisibleID
		typ := out.rel.typeOf(slices.Index(out.rel.columns, t.key))
		out.pads = typ == "" || isPadded(typ)
		out.toID = t.readID(b)
	} else {
		out.toUser = t.readUser(b)
	}
	out.columns = b.columns
	return out
}

// readers returns how to read those tables of the installation that want asks
// for, in the order that joining needs, which is that of the list.
func (l *Layout) readers(want func(*tableSpec) bool) []*tableReader {
	var out []*tableReader
	for i := range schema {
		if t := &schema[i]; (t.readUser != nil || t.readID != nil) && l.tables[t.name] != nil && want(t) {
			out = append(out, l.reader(t))
		}
	}
	return out
}
