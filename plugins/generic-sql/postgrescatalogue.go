package sqltarget

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
)

// postgresCatalogue reads pg_catalog. What is a list there comes as JSON.
type postgresCatalogue struct {
	syntax
	tx tx
}

func (p *postgresCatalogue) exists(ctx context.Context, path []string) (id string, err error) {
	err = p.tx.each(ctx, `SELECT to_regclass($1)::oid::text`, []any{p.quote(path...)}, func(texts []*string) error {
		id = textOf(texts[0])
		return nil
	})
	return id, err
}

func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func truth(s *string) bool { return textOf(s) == "t" || textOf(s) == "true" || textOf(s) == "1" }

const postgresColumns = `
SELECT a.attname, format_type(b.oid, NULL), b.typname,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       a.attnotnull OR t.typnotnull, coalesce(pg_get_expr(d.adbin, d.adrelid), CASE WHEN a.attidentity <> '' THEN 'nextval' ELSE '' END),
       a.attgenerated <> '', a.attidentity = 'a',
       (SELECT json_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = b.oid),
       coalesce(NOT l.collisdeterministic, false),
       has_column_privilege(a.attrelid, a.attnum, 'INSERT'), has_column_privilege(a.attrelid, a.attnum, 'UPDATE'), has_column_privilege(a.attrelid, a.attnum, 'SELECT'),
       format_type(t.oid, NULL)
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE a.attrelid = $1::text::oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum`

func (p *postgresCatalogue) table(ctx context.Context, path []string) (*heldTable, error) {
	h := &heldTable{name: p.quote(path...), rights: map[string]bool{}, transactional: true, overriding: " OVERRIDING SYSTEM VALUE", claimed: func(expr string) string { return "(" + expr + ")::text" }}
	var err error
	if h.id, err = p.exists(ctx, path); err != nil || h.id == "" {
		return nil, err
	}
	err = p.tx.each(ctx, postgresColumns, []any{h.id}, func(texts []*string) error {
		h.columns = append(h.columns, postgresColumn(texts))
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, right := range []string{"SELECT", "INSERT", "UPDATE", "DELETE"} {
		err := p.tx.each(ctx, `SELECT has_table_privilege($1::text::oid, $2)`, []any{h.id, right}, func(texts []*string) error {
			h.rights[right] = truth(texts[0])
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if err := p.unique(ctx, h); err != nil {
		return nil, err
	}
	const changes = `SELECT relkind = 'r' AND NOT relhasrules AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal) FROM pg_class c WHERE c.oid = $1::text::oid`
	err = p.tx.each(ctx, changes, []any{h.id}, func(texts []*string) error {
		h.faithful = truth(texts[0])
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = p.tx.each(ctx, `SELECT conname, pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conrelid = $1::text::oid AND contype = 'c' ORDER BY conname`, []any{h.id}, func(texts []*string) error {
		h.checks = append(h.checks, check{textOf(texts[0]), textOf(texts[1])})
		return nil
	})
	if err != nil {
		return nil, err
	}
	h.refers, err = p.references(ctx, fromEnd, []string{h.id})
	return h, err
}

func postgresColumn(texts []*string) *heldColumn {
	c := &heldColumn{
		name: textOf(texts[0]), typ: textOf(texts[1]), notNull: truth(texts[4]), always: truth(texts[7]), folds: truth(texts[9]), digits: 6,
		rights: map[string]bool{"INSERT": truth(texts[10]), "UPDATE": truth(texts[11]), "SELECT": truth(texts[12])},
	}
	base, defaults := textOf(texts[2]), textOf(texts[5])
	mod, _ := strconv.Atoi(textOf(texts[3])) // a number
	if texts[8] != nil {
		_ = json.Unmarshal([]byte(*texts[8]), &c.enum) // it was made as one
	}
	switch {
	case truth(texts[6]):
		c.generated, c.always = defaults, true
	case strings.Contains(defaults, "nextval"):
		c.counted = true
	default:
		c.defaults = defaults
	}
	if domain := textOf(texts[13]); domain != c.typ {
		c.typ = domain // so that its checks are looked at
	}
	c.ignoresCase = base == "citext"
	c.folds = c.folds || c.ignoresCase
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
		c.trims = base == "bpchar"
		if mod > header {
			c.length = mod - header
		}
	case "_text", "_varchar":
		c.kind = kindTexts
	}
	c.postgresForms()
	return c
}

// postgresForms says how values go in and come out.
func (c *heldColumn) postgresForms() {
	c.cast = func(expr string) string { return expr + "::" + c.typ }
	c.store = c.cast
	c.claimed = func(expr string) string { return "(" + expr + ")::text" }
	if c.folds {
		c.claimed = func(expr string) string { return "lower((" + expr + ")::text)" }
	}
	c.show = func(expr string) string {
		switch c.kind {
		case kindTexts:
			return "to_json(" + expr + ")::text"
		case kindBytes:
			return "encode(" + expr + ", 'hex')"
		default:
			return expr + "::text"
		}
	}
	c.whole = func(expr string) string { return expr + "::text" }
	c.form = func(text string) string {
		switch {
		case c.kind == kindBytes:
			return `\x` + text
		case c.kind == kindTexts:
			return arrayLiteral(text)
		case c.kind == kindMoment && c.typ == "timestamp with time zone":
			return text + "+00"
		}
		return text
	}
	switch c.typ {
	case "text", "character varying", "character", "boolean", "bigint", "timestamp with time zone", "timestamp without time zone", "date", "uuid", "bytea", "text[]", "character varying[]":
		c.known = true
	default:
		c.known = len(c.enum) > 0
	}
}

// arrayLiteral makes PostgreSQL's form of a JSON list of texts.
func arrayLiteral(list string) string {
	var out []string
	for _, s := range texts(list) {
		out = append(out, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)+`"`)
	}
	return "{" + strings.Join(out, ",") + "}"
}

func (p *postgresCatalogue) unique(ctx context.Context, h *heldTable) error {
	return p.tx.each(ctx, `
SELECT c.relname, coalesce(pg_get_expr(i.indpred, i.indrelid), ''),
       (SELECT json_agg(pg_get_indexdef(i.indexrelid, n, true) ORDER BY n) FROM generate_series(1, i.indnkeyatts) n),
       (SELECT json_agg(coalesce((SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[n-1] AND a.attnum > 0), '') ORDER BY n) FROM generate_series(1, i.indnkeyatts) n),
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::text::oid AND i.indisunique AND i.indisvalid ORDER BY c.relname`, []any{h.id}, func(row []*string) error {
		h.unique = append(h.unique, &uniqueIndex{
			name: textOf(row[0]), predicate: textOf(row[1]), exprs: texts(textOf(row[2])), columns: texts(textOf(row[3])), nullsEqual: truth(row[4]),
		})
		return nil
	})
}

// blind is never so: everybody may read pg_constraint.
func (p *postgresCatalogue) blind(context.Context, []string) (bool, error) { return false, nil }

func (p *postgresCatalogue) references(ctx context.Context, e end, tables []string) (out []reference, err error) {
	column := map[end]string{fromEnd: "conrelid", toEnd: "confrelid"}[e]
	err = p.tx.each(ctx, `
SELECT conname, conrelid::text, confrelid::text,
       (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = conrelid),
       (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = confrelid),
       (SELECT json_agg(a.attname::text ORDER BY k.i) FROM unnest(conkey) WITH ORDINALITY k(n, i) JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = k.n),
       (SELECT json_agg(a.attname::text ORDER BY k.i) FROM unnest(confkey) WITH ORDINALITY k(n, i) JOIN pg_attribute a ON a.attrelid = confrelid AND a.attnum = k.n)
FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND `+column+` = ANY($1::text[]::oid[]) ORDER BY conrelid, conname`, []any{tables}, func(row []*string) error {
		out = append(out, reference{
			name: textOf(row[0]), from: textOf(row[1]), to: textOf(row[2]), fromName: textOf(row[3]), toName: textOf(row[4]), columns: texts(textOf(row[5])), refs: texts(textOf(row[6])),
		})
		return nil
	})
	return out, err
}
