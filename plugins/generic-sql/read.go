package sqltarget

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// shown is the expression that gives a column as a text that parse reads.
func (c *heldColumn) shown(of string) string {
	name := of + "." + quoteName(c.name)
	switch c.kind {
	case kindTexts:
		return "to_json(" + name + ")::text"
	case kindBytes:
		return "encode(" + name + ", 'hex')"
	default:
		return name + "::text"
	}
}

// written is a value as a text that the database reads.
func (c *heldColumn) written(v value) *string {
	if v.null {
		return nil
	}
	text := v.text
	switch {
	case c.kind == kindBytes:
		text = `\x` + text
	case c.kind == kindTexts:
		text = arrayLiteral(text)
	case c.kind == kindMoment && c.typ == "timestamp with time zone":
		text += "+00"
	}
	return &text
}

// arrayLiteral makes PostgreSQL's form of a JSON list of texts.
func arrayLiteral(list string) string {
	var out []string
	for _, s := range texts(list) {
		out = append(out, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)+`"`)
	}
	return "{" + strings.Join(out, ",") + "}"
}

// physical are the declarations of one table of the database, those with more constants
// in their keys first: a row is of the first that it fits.
type physical struct {
	held    *heldTable
	account *heldColumn
	tables  []*table
	columns []*heldColumn // that any declaration has
}

func (c *catalogue) physical(m *model) []*physical {
	var out []*physical
	for _, t := range m.tables {
		h := c.of(t)
		account := h.column(t.account.name)
		at := slices.IndexFunc(out, func(p *physical) bool { return p.held == h && p.account == account })
		if at < 0 {
			at = len(out)
			out = append(out, &physical{held: h, account: account})
		}
		p := out[at]
		p.tables = append(p.tables, t)
		for _, col := range t.columns {
			if held := h.column(col.name); !slices.Contains(p.columns, held) {
				p.columns = append(p.columns, held)
			}
		}
	}
	for _, p := range out {
		slices.SortStableFunc(p.tables, func(a, b *table) int { return b.constants() - a.constants() })
	}
	return out
}

func (t *table) constants() (n int) {
	for _, k := range t.key {
		if k.fixed {
			n++
		}
	}
	return n
}

// fits says whether a held row is one of this declaration.
func (t *table) fits(values []value) bool {
	for i, c := range t.columns {
		if c.fixed && slices.Contains(t.key, c) && values[i] != c.constant {
			return false
		}
	}
	return true
}

// read finds the rows that accounts have. lock keeps others from changing them until the
// end of the transaction.
func (s *session) read(ctx context.Context, ids []string, lock bool) (map[string][]*row, error) {
	out := map[string][]*row{}
	s.strays = map[string]int{}
	for n, p := range s.places {
		cols := []string{p.account.shown("t")}
		for _, c := range p.columns {
			cols = append(cols, c.shown("t"))
		}
		query := "SELECT " + strings.Join(cols, ", ") + " FROM " + p.held.name + " AS t WHERE t." + quoteName(p.account.name) + " = ANY($1::text[]::" + p.account.typ + "[])"
		if lock && n == 0 {
			query += " FOR UPDATE"
		}
		rows, err := s.tx.Query(ctx, query, ids)
		if err != nil {
			return nil, err
		}
		_, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (struct{}, error) {
			texts := make([]*string, len(cols))
			into := make([]any, len(cols))
			for i := range texts {
				into[i] = &texts[i]
			}
			if err := r.Scan(into...); err != nil {
				return struct{}{}, err
			}
			return struct{}{}, p.take(texts, out, s.strays)
		})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", p.held.plain, err)
		}
	}
	return out, nil
}

// take adds a row to those of its account.
func (p *physical) take(texts []*string, out map[string][]*row, strays map[string]int) error {
	values := map[*heldColumn]value{}
	for i, c := range p.columns {
		if texts[i+1] == nil {
			values[c] = null
			continue
		}
		v, err := parse(c.kind, c.digits, *texts[i+1])
		if err != nil {
			v = value{text: *texts[i+1]} // a form of its own, such as infinity
		}
		values[c] = v
	}
	id, err := parse(p.account.kind, p.account.digits, *texts[0])
	if err != nil {
		return err
	}
	for _, t := range p.tables {
		r := &row{table: t, values: make([]value, len(t.columns))}
		for i, c := range t.columns {
			r.values[i] = values[c.held]
		}
		if t.fits(r.values) {
			r.key = t.keyOf(r.values)
			out[id.text] = append(out[id.text], r)
			return nil
		}
	}
	strays[id.text]++ // of no declaration: somebody else's
	return nil
}
