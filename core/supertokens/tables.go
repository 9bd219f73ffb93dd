package supertokens

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Tables is where the tables of one installation are, for the packages below
// this one that read more of it than accounts: keys, sessions, links. It does
// not require that all of them are there or may be read; each caller says which
// ones it needs.
type Tables struct {
	layout *Layout
	store  store
	all    *catalog
	app    string
	// What reading single accounts takes: how each table is read, what is true for
	// the whole app, core 12's mode where it is told, and what is missing.
	readers   []*tableReader
	assembler assembler
	mode      string
	gaps      []Gap
	accepts   []GapCode
	backfill  backfill
}

// OpenTables finds the installation that the options describe in a live
// database or a dump. The errors are those of [Open].
func OpenTables(ctx context.Context, o Options) (*Tables, error) {
	o.Connections = 1
	st, err := openStore(ctx, o)
	if err != nil {
		return nil, err
	}
	c, err := st.catalog(ctx)
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	t, err := newTables(ctx, c, st, o)
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	t.store = st
	return t, nil
}

// FindTables is [OpenTables] over a connection of the caller's. The result
// cannot [Tables.Scan] and need not be closed.
func FindTables(ctx context.Context, conn *pgx.Conn, o Options) (*Tables, error) {
	config := conn.Config()
	c, err := readCatalog(ctx, conn, fmt.Sprintf("database %s at %s:%d", config.Database, config.Host, config.Port))
	if err != nil {
		return nil, err
	}
	return newTables(ctx, c, &connection{conn: conn}, o)
}

func newTables(ctx context.Context, c *catalog, from rows, o Options) (*Tables, error) {
	o, c, err := o.narrow(c)
	if err != nil {
		return nil, err
	}
	l, err := find(ctx, c, from, o)
	if err != nil {
		return nil, err
	}
	e, err := judge(ctx, c, from, l)
	if err != nil {
		return nil, err
	}
	t := &Tables{layout: l, all: c, app: o.App, mode: strings.ToUpper(o.MigrationMode), accepts: o.AcceptIncomplete}
	if t.mode != "" && !slices.Contains(migrationModes(), t.mode) {
		return nil, errMode(o.MigrationMode)
	}
	if t.app == "" {
		t.app = defaultName
	}
	t.assembler = newAssembler(l, t.app)
	t.assembler.takeLeft = o.TakeLeft
	t.readers = l.readers(func(*tableSpec) bool { return true })
	if l.Generation.hasUsers() {
		e.missingTables()
		e.missingColumns()
		e.hiddenRows()
		t.gaps, _ = accept(e.gaps, o.AcceptIncomplete)
	}
	return t, nil
}

// whole fails when something is missing of the tables that are wanted: accounts
// would be other ones without it.
func (t *Tables) whole(want func(*tableSpec) bool) error {
	var open []Gap
	for _, g := range t.gaps {
		if g.Table == "" || want(specOf(g.Table)) {
			open = append(open, g)
		}
	}
	if len(open) > 0 {
		return &IncompleteError{Gaps: open}
	}
	return nil
}

// CheckAccounts fails when something is missing that accounts are made of.
func (t *Tables) CheckAccounts() error { return t.whole(saysAnything) }

// reader is how a table is read, nil when the installation has none of that name.
func (t *Tables) reader(name TableName) *tableReader {
	for _, r := range t.readers {
		if r.name == name {
			return r
		}
	}
	return nil
}

// FoundTables lists the tables of SuperTokens that there are.
func FoundTables(t *Tables) (found []TableName) {
	for i := range schema {
		if _, ok := t.Table(schema[i].name); ok {
			found = append(found, schema[i].name)
		}
	}
	return found
}

// IsMySQL tells whether they are in MySQL or MariaDB, or a dump of it.
func (t *Tables) IsMySQL() bool { return t.all.collates }

// Close gives back the snapshot or the file.
func (t *Tables) Close() error {
	if t.store == nil {
		return nil
	}
	return t.store.close()
}

// Layout says what was found.
func (t *Tables) Layout() *Layout { return t.layout }

// App is the app of the options, "public" by default.
func (t *Tables) App() string { return t.app }

// Where names the source in messages, without a password.
func (t *Tables) Where() string { return t.all.where }

// Table finds a table by the name the core gives it before prefix and renaming.
func (t *Tables) Table(name TableName) (Table, bool) {
	r := t.layout.tables[name]
	if r == nil {
		r = t.all.find(t.layout.Schema, t.layout.called(name))
	}
	return Table{r}, r != nil
}

// Need is [Tables.Table] for a table that the caller cannot do without; the
// error says what is missing or which right.
func (t *Tables) Need(name TableName) (Table, error) {
	r, ok := t.Table(name)
	switch {
	case !ok && t.all.viewOf(t.layout.Schema, t.layout.called(name)) != nil:
		return r, fmt.Errorf("in %s %s", t.all.where, t.all.viewOf(t.layout.Schema, t.layout.called(name)).why())
	case !ok:
		hint := "is this the schema and the prefix of a complete installation?"
		if specOf(name).renamable {
			hint = fmt.Sprintf("if it was renamed, set source.tables.%s", name)
		}
		return r, fmt.Errorf("%s has no table %q in schema %q; %s", t.all.where, t.layout.called(name), t.layout.Schema, hint)
	case !r.Readable():
		return r, fmt.Errorf("no permission to read table %s in %s; run: GRANT SELECT ON %s TO <role>", r.r.qualified(), t.all.where, r.SQL())
	}
	return r, nil
}

// Scan gives every row of a table of the app, columns in the order asked for
// and as PostgreSQL writes them; a column the table lacks is nil. Values are
// valid during the call.
func (t *Tables) Scan(ctx context.Context, from Table, columns []string, row func([][]byte) error) error {
	if t.store == nil {
		return errors.New("these tables were found over a connection of the caller's")
	}
	return t.store.scan(ctx, from.r, t.app, columns, row)
}

// Table is one table as the source has it.
type Table struct{ r *relation }

// SQL is the quoted name with its schema.
func (t Table) SQL() string {
	if t.r.mysql {
		return quoteMySQL(t.r.schema) + "." + quoteMySQL(t.r.name)
	}
	return quoteIdent(t.r.schema) + "." + quoteIdent(t.r.name)
}

// Has tells whether the table has all these columns.
func (t Table) Has(columns ...string) bool { return t.r != nil && t.r.has(columns...) }

// Readable tells whether the role of the connection may read it.
func (t Table) Readable() bool { return t.r.readable }
