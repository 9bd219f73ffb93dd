package supertokens

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ErrNotSuperTokens is returned when a source holds no SuperTokens
// installation.
var ErrNotSuperTokens = errors.New("no SuperTokens installation found")

// ErrAmbiguous is returned when a source holds several installations and the
// options do not say which.
var ErrAmbiguous = errors.New("more than one SuperTokens installation found")

// SettingError is about one setting of the [Options]: it does not go with what the
// source holds.
type SettingError struct {
	// Setting is what the section source of a configuration calls it, for a table with
	// the table: "tables", "thirdparty_users".
	Setting []string
	Err     error
}

// Error implements error.
func (e *SettingError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e *SettingError) Unwrap() error { return e.Err }

// The settings that a [SettingError] can be about.
const (
	settingSchema = "schema"
	settingPrefix = "table_prefix"
	settingTables = "tables"
	settingMode   = "migration_mode"

	settingCharset = "charset"
	settingLock    = "lock_tables"
)

// Layout is where an installation's tables are and what shape they have.
type Layout struct {
	Generation  Generation `json:"generation"`
	Schema      string     `json:"schema"`
	TablePrefix string     `json:"table_prefix"`
	// Renamed maps the core's table names to the actual ones, for tables that
	// were renamed individually.
	Renamed map[string]string `json:"renamed_tables"`

	tables map[TableName]*relation
	// copies are tables that were taken for copies of tables of this installation.
	copies []*relation
	// proven is the oldest core that what is there can come from.
	proven release
}

// atLeast reports whether the installation is proven to be of a core this old or
// younger.
func (l *Layout) atLeast(r release) bool { return l.proven >= r }

// called is the catalog name of a table under the prefix.
func (l *Layout) called(t TableName) string {
	if l.TablePrefix == "" {
		return string(t)
	}
	return l.TablePrefix + "_" + string(t)
}

// installation is a place where tables of the core are: a schema and a prefix.
type installation struct {
	schema, prefix string
	tables         map[TableName]*relation
}

// String is how messages name it.
func (i *installation) String() string {
	return fmt.Sprintf("schema %q with table_prefix %q", i.schema, i.prefix)
}

// find is the part of detection that says where the tables are: one installation,
// or an error that names what is there instead.
func find(ctx context.Context, c *catalog, from rows, o Options) (*Layout, error) {
	found := installations(c)
	fitting, err := chosen(c, found, o)
	if err != nil {
		return nil, err
	}
	fitting, copies, err := withoutCopies(ctx, c, from, fitting)
	if err != nil {
		return nil, err
	}
	switch len(fitting) {
	case 0:
		return nil, notFound(c, o, found)
	case 1:
	default:
		return nil, ambiguous(ctx, c, from, fitting)
	}
	l := fitting[0].layout()
	for _, i := range copies {
		for _, r := range i.tables {
			l.copies = append(l.copies, r)
		}
	}
	return l, l.locate(ctx, c, from, o)
}

// withoutCopies sets aside places where somebody keeps a copy of one table, as
// backup_emailpassword_users: they stop nobody from reading the installation that has
// the table itself.
func withoutCopies(ctx context.Context, c *catalog, from rows, found []*installation) (kept, copies []*installation, err error) {
	for _, i := range found {
		aside, err := isCopy(ctx, c, from, i, found)
		if err != nil {
			return nil, nil, err
		}
		if aside {
			copies = append(copies, i)
		} else {
			kept = append(kept, i)
		}
	}
	return kept, copies, nil
}

// isCopy reports whether a place cannot be an installation, and is not the renamed table
// of one: it has a single table, another place has that table and others that only an
// installation has, and the schema has no table, whatever its name, for something that
// every core makes. A copy with rows of a table without any may be what was meant.
func isCopy(ctx context.Context, c *catalog, from rows, i *installation, found []*installation) (bool, error) {
	if len(i.tables) != 1 {
		return false, nil
	}
	for name, r := range i.tables {
		at := slices.IndexFunc(found, func(other *installation) bool {
			return len(other.tables) > 1 && other.owns() && other.tables[name] != nil
		})
		if at < 0 || !r.readable || !lacksWhatAllMake(c, i, specOf(name), found) {
			return false, nil
		}
		filled := func(r *relation) (bool, error) {
			if r.empty || !r.readable {
				return false, nil
			}
			return from.hasRows(ctx, r)
		}
		own, err := filled(found[at].tables[name])
		if err != nil || own {
			return own, err
		}
		rows, err := filled(r)
		return !rows, err
	}
	return false, nil
}

// lacksWhatAllMake reports whether a place has not got a table that each core makes that
// makes the one which is there. Such a table may have been renamed: then it is one that
// fits and that no place has under its own name.
func lacksWhatAllMake(c *catalog, i *installation, is *tableSpec, found []*installation) bool {
	claimed := map[*relation]bool{}
	for _, other := range found {
		for _, r := range other.tables {
			claimed[r] = claimed[r] || other != i
		}
	}
	for j := range schema {
		t := &schema[j]
		if t == is || t.since > is.since || t.until != 0 || t.droppable || t.common || t.vague || len(t.columns) == 0 {
			continue
		}
		there := slices.ContainsFunc(c.tables, func(r *relation) bool { return r.schema == i.schema && !r.part && !claimed[r] && t.fits(r) })
		if !there && c.viewOf(i.schema, i.layout().called(t.name)) == nil {
			return true
		}
	}
	return false
}

func (i *installation) layout() *Layout {
	return &Layout{Schema: i.schema, TablePrefix: i.prefix, Renamed: map[string]string{}, tables: i.tables}
}

// installations lists every place in the catalog where tables of the core are
// under their own names. Tables that an operator can rename are not what a place is
// told by, except where nothing else is there; the names of some others are so
// common that applications have them as well.
func installations(c *catalog) []*installation {
	type place struct{ schema, prefix string }
	places := map[place]*installation{}
	certain := map[place]bool{}
	for _, r := range c.tables {
		if r.part {
			continue
		}
		for i := range schema {
			t := &schema[i]
			before, ok := strings.CutSuffix(r.name, string(t.name))
			if !ok || before != "" && !strings.HasSuffix(before, "_") || before == "_" || !t.fits(r) || len(t.columns) == 0 {
				continue
			}
			at := place{r.schema, strings.TrimSuffix(before, "_")}
			if places[at] == nil {
				places[at] = &installation{schema: at.schema, prefix: at.prefix, tables: map[TableName]*relation{}}
			}
			places[at].tables[t.name] = r
			certain[at] = certain[at] || !t.common
		}
	}
	var out []*installation
	for at, i := range places {
		if certain[at] {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(x, y *installation) int {
		return cmp.Or(strings.Compare(x.schema, y.schema), strings.Compare(x.prefix, y.prefix))
	})
	return out
}

// chosen keeps the installations that the options describe.
func chosen(c *catalog, found []*installation, o Options) ([]*installation, error) {
	in := slices.DeleteFunc(slices.Clone(found), func(i *installation) bool { return o.Schema != "" && !named(i.schema, o.Schema) })
	if o.TablePrefix == nil {
		in = withoutTold(in, o)
		if len(in) == 0 {
			in = renamedAltogether(c, o)
		}
		return in, nil
	}
	told := fold(*o.TablePrefix)
	// The core puts one more line under what it is given, so auth_ gives auth__roles.
	for _, prefix := range []string{*o.TablePrefix, told, strings.TrimSuffix(told, "_")} {
		fitting := slices.DeleteFunc(slices.Clone(in), func(i *installation) bool { return i.prefix != prefix })
		if len(fitting) > 0 {
			return fitting, nil
		}
	}
	if len(in) == 0 {
		return nil, nil
	}
	return nil, &SettingError{[]string{settingPrefix}, fmt.Errorf("%w in %s under table_prefix %q; the prefixes found there: %s",
		ErrNotSuperTokens, c.where, *o.TablePrefix, prefixesOf(in))}
}

// withoutTold leaves out places of which the options tell every table: these are
// renamed tables of the installation beside them in the schema.
func withoutTold(found []*installation, o Options) []*installation {
	told := func(r *relation) bool {
		for _, name := range o.Tables {
			if named(r.name, name) {
				return true
			}
		}
		return false
	}
	return slices.DeleteFunc(slices.Clone(found), func(i *installation) bool {
		beside := slices.ContainsFunc(found, func(other *installation) bool { return other != i && other.schema == i.schema && other.owns() })
		for _, r := range i.tables {
			if !told(r) {
				return false
			}
		}
		return beside && !i.owns()
	})
}

func prefixesOf(found []*installation) string {
	var out []string
	for _, i := range found {
		out = append(out, fmt.Sprintf("%q in schema %q", i.prefix, i.schema))
	}
	return strings.Join(out, ", ")
}

// renamedAltogether handles an installation of an old core whose tables all have
// names of the operator's: those that the options tell, in the schema where they are.
func renamedAltogether(c *catalog, o Options) []*installation {
	schemas := map[string]bool{}
	for _, told := range o.Tables {
		for _, r := range c.tables {
			if named(r.name, told) && (o.Schema == "" || named(r.schema, o.Schema)) {
				schemas[r.schema] = true
			}
		}
	}
	var out []*installation
	for _, s := range slices.Sorted(maps.Keys(schemas)) {
		out = append(out, &installation{schema: s, tables: map[TableName]*relation{}})
	}
	return out
}

// locate completes the tables: told names first, then those under the prefix, then,
// for the renamable ones, the only table that is made as cores make it.
func (l *Layout) locate(ctx context.Context, c *catalog, from rows, o Options) error {
	for _, key := range slices.Sorted(maps.Keys(o.Tables)) {
		if err := l.told(c, TableName(key), o.Tables[key]); err != nil {
			return &SettingError{[]string{settingTables, key}, err}
		}
	}
	for _, t := range renamables() {
		if l.Renamed[string(t.name)] != "" {
			continue
		}
		others := l.unnamed(c, t)
		switch {
		case l.tables[t.name] != nil && t.name == EmailPasswordUsers && len(others) > 0:
			return l.severalTables(ctx, c, from, t, append([]*relation{l.tables[t.name]}, others...))
		case l.tables[t.name] != nil || len(others) == 0 || t.vague && !l.hasOneSince(t.since):
		case len(others) == 1:
			l.tables[t.name] = others[0]
			l.Renamed[string(t.name)] = others[0].name
		case t.role.matters():
			return l.severalTables(ctx, c, from, t, others)
		}
	}
	return nil
}

// renamables lists the tables that can be renamed, those at the end that applications
// have alike.
func renamables() (out []*tableSpec) {
	for _, vague := range []bool{false, true} {
		for i := range schema {
			if t := &schema[i]; t.renamable && t.vague == vague {
				out = append(out, t)
			}
		}
	}
	return out
}

// hasOneSince reports whether there is a table that cores older than r do not make.
func (l *Layout) hasOneSince(r release) bool {
	for name := range l.tables {
		if t := specOf(name); t.since >= r && !t.common {
			return true
		}
	}
	return false
}

// told takes a table that the options name, if it is one of its kind.
func (l *Layout) told(c *catalog, name TableName, told string) error {
	t, key := specOf(name), "source.tables."+string(name)
	r := c.find(l.Schema, told)
	if r == nil {
		r = c.find(l.Schema, fold(told))
	}
	for _, name := range []string{told, fold(told)} {
		if v := c.viewOf(l.Schema, name); r == nil && v != nil {
			return fmt.Errorf("%s names %q, and in %s %s; name the table behind it", key, told, c.where, v.why())
		}
	}
	if r == nil {
		return fmt.Errorf("%s names %q, and %s has no such table in schema %q", key, told, c.where, l.Schema)
	}
	for other, taken := range l.tables {
		if taken == r && other != name {
			return fmt.Errorf("%s names %q, and that is the core's own table %s; leave the line out, or name the table that it was renamed to", key, told, other)
		}
	}
	if err := l.ofAnother(c, t, r, key); err != nil {
		return err
	}
	for i := range t.columns {
		if c := &t.columns[i]; t.base(c) && !r.has(c.name) {
			return fmt.Errorf("%s names %q, which has no column %q, so it is not that table (its columns: %s)", key, told, c.name, strings.Join(r.columns, ", "))
		}
	}
	for _, column := range r.columns {
		if t.column(column) == nil && isColumnOfAnother(t, column) {
			return fmt.Errorf("%s names %q, which has a column %q that no core gives that table, so it is another one (its columns: %s)", key, told, column, strings.Join(r.columns, ", "))
		}
	}
	l.tables[name] = r
	l.Renamed[string(name)] = r.name
	return nil
}

// ofAnother refuses a told table that another installation owns: one that is called as
// the core calls another table under that prefix, or that stands beside tables which
// cannot be renamed, or whose own table is here as well.
func (l *Layout) ofAnother(c *catalog, t *tableSpec, r *relation, key string) error {
	for _, i := range installations(c) {
		if i.schema != l.Schema || i.prefix == l.TablePrefix {
			continue
		}
		for name, table := range i.tables {
			if table == r && (name != t.name || i.tables[t.name] == r && (i.owns() || l.tables[t.name] != nil)) {
				return fmt.Errorf("%s names %q, and that is table %s of the installation with table_prefix %q; leave the line out, or name the table that was renamed",
					key, r.name, name, i.prefix)
			}
		}
	}
	return nil
}

// owns reports whether a place has tables that only an installation of its own has:
// others may have been renamed to names with its prefix.
func (i *installation) owns() bool {
	for name := range i.tables {
		if t := specOf(name); !t.renamable && !t.common {
			return true
		}
	}
	return false
}

// isColumnOfAnother reports whether a column tells another table of the core from t.
func isColumnOfAnother(t *tableSpec, column string) bool {
	for i := range schema {
		if other := &schema[i]; other != t && other.renamable && other.column(column) != nil {
			return true
		}
	}
	return false
}

// unnamed lists the tables of the schema that are made as cores make t, under names
// that say nothing.
func (l *Layout) unnamed(c *catalog, t *tableSpec) []*relation {
	var out []*relation
	for _, r := range c.tables {
		if r.schema == l.Schema && !r.part && t.fitsExactly(r) && !l.isNamed(r) {
			out = append(out, r)
		}
	}
	return out
}

// isNamed reports whether a table has a name of the core's, under this prefix or any
// other, or was told.
func (l *Layout) isNamed(r *relation) bool {
	for _, known := range l.tables {
		if known == r {
			return true
		}
	}
	for i := range schema {
		t := &schema[i]
		before, ok := strings.CutSuffix(r.name, string(t.name))
		if ok && (before == "" || strings.HasSuffix(before, "_")) && t.fits(r) {
			return true
		}
	}
	return false
}

func (l *Layout) severalTables(ctx context.Context, c *catalog, from rows, t *tableSpec, found []*relation) error {
	var names []string
	for _, r := range found {
		names = append(names, r.name+rowsText(ctx, from, r))
	}
	return fmt.Errorf("%w: %s could each be table %q of schema %q in %s; say which in source.tables.%s",
		ErrAmbiguous, strings.Join(names, " and "), l.called(t.name), l.Schema, c.where, t.name)
}

// rowsText is " (12 rows)". A table that cannot be counted is named without.
func rowsText(ctx context.Context, from rows, r *relation) string {
	if r == nil || !r.readable || r.empty {
		return ""
	}
	n, err := from.countRows(ctx, r, "")
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (%d rows)", n)
}

// people is the table that tells best how many there are.
func (i *installation) people() *relation {
	for _, t := range []TableName{Spine, UserIndex, EmailPasswordUsers, SessionInfo} {
		if r := i.tables[t]; r != nil {
			return r
		}
	}
	return nil
}

func ambiguous(ctx context.Context, c *catalog, from rows, found []*installation) error {
	var names []string
	for _, i := range found {
		name := i.String()
		if r := i.people(); r != nil {
			name += ", " + r.name + rowsText(ctx, from, r)
		}
		names = append(names, name)
	}
	hint := ""
	if slices.ContainsFunc(found, (*installation).owns) && slices.ContainsFunc(found, func(i *installation) bool { return !i.owns() }) {
		hint = "; if tables of one were renamed to names of another, name them all in source.tables"
	}
	return fmt.Errorf("%w in %s: %s; set source.schema and source.table_prefix to choose one%s",
		ErrAmbiguous, c.where, strings.Join(names, "; "), hint)
}

func notFound(c *catalog, o Options, found []*installation) error {
	there := "schemas there: " + strings.Join(c.schemas(), ", ")
	if len(found) > 0 {
		there = "installations there: " + prefixesOf(found)
	}
	if v := c.viewOfCore(o.Schema); v != nil && (len(found) == 0 || o.Schema != "") {
		err := fmt.Errorf("%w in %s: %s; read the schema that has the tables themselves (%s)", ErrNotSuperTokens, c.where, v.why(), there)
		if o.Schema != "" && !o.schemaOfURL {
			err = &SettingError{[]string{settingSchema}, err}
		}
		return err
	}
	switch {
	case o.schemaOfURL:
		return fmt.Errorf("%w in %s in schema %q; leave it out of the address to search the whole database (%s)", ErrNotSuperTokens, c.where, o.Schema, there)
	case o.Schema != "":
		return &SettingError{[]string{settingSchema}, fmt.Errorf(
			"%w in %s in schema %q; leave source.schema out to search the whole of it (%s)", ErrNotSuperTokens, c.where, o.Schema, there)}
	case o.TablePrefix != nil:
		return &SettingError{[]string{settingPrefix}, fmt.Errorf(
			"%w in %s under table_prefix %q; leave source.table_prefix out to search the whole of it (%s)", ErrNotSuperTokens, c.where, *o.TablePrefix, there)}
	}
	return fmt.Errorf("%w in %s: none of its %d tables is called %s, with or without a prefix (%s)",
		ErrNotSuperTokens, c.where, len(c.tables), EmailPasswordUsers, there)
}

// viewOfCore finds a view that is called like a table that only the core has.
func (c *catalog) viewOfCore(within string) *view {
	for i := range c.views {
		v := &c.views[i]
		if within != "" && !named(v.schema, within) {
			continue
		}
		for j := range schema {
			t := &schema[j]
			if before, ok := strings.CutSuffix(v.name, string(t.name)); ok && (before == "" || strings.HasSuffix(before, "_")) && !t.common && !t.vague {
				return v
			}
		}
	}
	return nil
}

// fold does what PostgreSQL does to the unquoted names the core uses.
func fold(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// named reports whether a catalog name is the one that was told: as it is, or
// folded.
func named(name, told string) bool { return name == told || name == fold(told) }

func quoteIdent(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
