package sqltarget

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// heldTable is a table as the catalogue describes it.
type heldTable struct {
	oid     uint32
	name    string // quoted, with its schema
	plain   string // as the configuration has it
	columns []*heldColumn
	unique  []*uniqueIndex
	checks  []check
	refers  []reference // its own foreign keys
	rights  map[string]bool
}

// heldColumn is one of its columns.
type heldColumn struct {
	name      string
	typ       string // without its length, for casts
	kind      kind
	digits    int // after a second
	length    int // in characters, 0 for none
	notNull   bool
	defaults  string // expression; also of an identity, where it says nothing else
	generated string // expression of a column that the database makes
	always    bool   // only the database gives it values
	enum      []string
	folds     bool // values that differ in case alone are equal
	rights    map[string]bool
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
	from, to      uint32
	fromName      string // quoted
	toName        string
	columns, refs []string
}

// catalogue is what the database says of the declared tables.
type catalogue struct {
	tables map[string]*heldTable // by the name in the configuration
	// referrers are foreign keys of any table that refer to a declared one.
	referrers  []reference
	disposable map[uint32]bool
}

func (c *catalogue) of(t *table) *heldTable { return c.tables[t.Name] }

func (h *heldTable) column(name string) *heldColumn {
	at := slices.IndexFunc(h.columns, func(c *heldColumn) bool { return c.name == name })
	if at < 0 {
		return nil
	}
	return h.columns[at]
}

func quoteName(name string) string { return pgx.Identifier{name}.Sanitize() }

// qualified is the quoted name of a table, in the schema that it names or the usual one.
func qualified(schema, name string) string {
	if s, n, ok := strings.Cut(name, "."); ok {
		schema, name = s, n
	}
	return pgx.Identifier{schema, name}.Sanitize()
}

// readCatalogue describes the tables that there are. Those that are missing are not in it.
func readCatalogue(ctx context.Context, tx pgx.Tx, schema string, m *model, disposable []string) (*catalogue, error) {
	c := &catalogue{tables: map[string]*heldTable{}, disposable: map[uint32]bool{}}
	for _, name := range disposable {
		var oid *uint32
		if err := tx.QueryRow(ctx, `SELECT to_regclass($1)::oid`, qualified(schema, name)).Scan(&oid); err != nil {
			return nil, err
		}
		if oid == nil {
			continue
		}
		further, err := readReferences(ctx, tx, "confrelid", []uint32{*oid})
		if err != nil {
			return nil, err
		}
		if len(further) == 0 { // else something else would go with its rows
			c.disposable[*oid] = true
		}
	}
	for _, t := range m.tables {
		if c.tables[t.Name] != nil {
			continue
		}
		h, err := readTable(ctx, tx, qualified(schema, t.Name))
		if err != nil {
			return nil, fmt.Errorf("read the catalogue of %s: %w", t.Name, err)
		}
		if h != nil {
			h.plain = t.Name
			c.tables[t.Name] = h
		}
	}
	var oids []uint32
	for _, h := range c.tables {
		oids = append(oids, h.oid)
	}
	slices.Sort(oids)
	refs, err := readReferences(ctx, tx, "confrelid", oids)
	if err != nil {
		return nil, err
	}
	c.referrers = refs
	return c, nil
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
			u.exprs = append(u.exprs, quoteName(col))
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
				col.constant, _ = canonicalOf(col.held.kind, col.held.digits, v) // it was looked at before
			}
		}
	}
}

const columnsQuery = `
SELECT a.attname, format_type(b.oid, NULL), b.typname, b.typcategory::text,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       a.attnotnull OR t.typnotnull, coalesce(pg_get_expr(d.adbin, d.adrelid), CASE WHEN a.attidentity <> '' THEN 'nextval' ELSE '' END),
       a.attgenerated <> '', a.attidentity = 'a',
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = b.oid ORDER BY e.enumsortorder),
       coalesce(NOT l.collisdeterministic, false),
       has_column_privilege(a.attrelid, a.attnum, 'INSERT'), has_column_privilege(a.attrelid, a.attnum, 'UPDATE'), has_column_privilege(a.attrelid, a.attnum, 'SELECT'),
       format_type(t.oid, NULL)
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum`

// readTable describes one table; nil when there is none.
func readTable(ctx context.Context, tx pgx.Tx, name string) (*heldTable, error) {
	h := &heldTable{name: name, rights: map[string]bool{}}
	var oid *uint32
	if err := tx.QueryRow(ctx, `SELECT to_regclass($1)::oid`, name).Scan(&oid); err != nil || oid == nil {
		return nil, err
	}
	h.oid = *oid
	rows, err := tx.Query(ctx, columnsQuery, h.oid)
	if err != nil {
		return nil, err
	}
	h.columns, err = pgx.CollectRows(rows, readColumn)
	if err != nil {
		return nil, err
	}
	for _, right := range []string{"SELECT", "INSERT", "UPDATE", "DELETE"} {
		var has bool
		if err := tx.QueryRow(ctx, `SELECT has_table_privilege($1::oid, $2)`, h.oid, right).Scan(&has); err != nil {
			return nil, err
		}
		h.rights[right] = has
	}
	if h.unique, err = readUnique(ctx, tx, h.oid); err != nil {
		return nil, err
	}
	rows, err = tx.Query(ctx, `SELECT conname, pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conrelid = $1 AND contype = 'c' ORDER BY conname`, h.oid)
	if err != nil {
		return nil, err
	}
	if h.checks, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (c check, err error) { return c, r.Scan(&c.name, &c.expr) }); err != nil {
		return nil, err
	}
	h.refers, err = readReferences(ctx, tx, "conrelid", []uint32{h.oid})
	return h, err
}

func readColumn(r pgx.CollectableRow) (*heldColumn, error) {
	c := &heldColumn{rights: map[string]bool{}}
	var base, category, domain, defaults string
	var mod int
	var generated, insert, update, sel bool
	if err := r.Scan(&c.name, &c.typ, &base, &category, &mod, &c.notNull, &defaults, &generated, &c.always, &c.enum, &c.folds, &insert, &update, &sel, &domain); err != nil {
		return nil, err
	}
	c.rights["INSERT"], c.rights["UPDATE"], c.rights["SELECT"] = insert, update, sel
	if generated {
		c.generated, c.always = defaults, true
	} else {
		c.defaults = defaults
	}
	if domain != c.typ {
		c.typ = domain // so that its checks are looked at
	}
	c.folds = c.folds || base == "citext"
	c.digits = 6
	const header = 4 // what a length is stored with
	switch base {
	case "bool":
		c.kind = kindBool
	case "int2", "int4", "int8":
		c.kind = kindInteger
	case "numeric", "float4", "float8":
		c.kind = kindNumber
	case "timestamp", "timestamptz":
		c.kind = kindMoment
		if mod >= 0 {
			c.digits = mod
		}
	case "date":
		c.kind = kindDate
	case "uuid":
		c.kind = kindUUID
	case "bytea":
		c.kind = kindBytes
	case "json", "jsonb":
		c.kind = kindJSON
	case "varchar", "bpchar":
		if mod > header {
			c.length = mod - header
		}
	case "_text", "_varchar":
		c.kind = kindTexts
	}
	return c, nil
}

func readUnique(ctx context.Context, tx pgx.Tx, oid uint32) ([]*uniqueIndex, error) {
	rows, err := tx.Query(ctx, `
SELECT c.relname, coalesce(pg_get_expr(i.indpred, i.indrelid), ''),
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, n, true) FROM generate_series(1, i.indnkeyatts) n),
       ARRAY(SELECT coalesce((SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[n-1] AND a.attnum > 0), '') FROM generate_series(1, i.indnkeyatts) n),
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid ORDER BY c.relname`, oid)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (*uniqueIndex, error) {
		u := &uniqueIndex{}
		return u, r.Scan(&u.name, &u.predicate, &u.exprs, &u.columns, &u.nullsEqual)
	})
}

// readReferences lists the foreign keys of which one end is among the tables.
func readReferences(ctx context.Context, tx pgx.Tx, end string, oids []uint32) ([]reference, error) {
	rows, err := tx.Query(ctx, `
SELECT conname, conrelid, confrelid,
       (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = conrelid),
       (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = confrelid),
       ARRAY(SELECT a.attname::text FROM unnest(conkey) WITH ORDINALITY k(n, i) JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = k.n ORDER BY k.i),
       ARRAY(SELECT a.attname::text FROM unnest(confkey) WITH ORDINALITY k(n, i) JOIN pg_attribute a ON a.attrelid = confrelid AND a.attnum = k.n ORDER BY k.i)
FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND `+end+` = ANY($1) ORDER BY conrelid, conname`, oids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (f reference, err error) {
		return f, r.Scan(&f.name, &f.from, &f.to, &f.fromName, &f.toName, &f.columns, &f.refs)
	})
}
