package sqltarget

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// physical are the declarations of one table of the database, those with more constants
// in their keys first: a row is of the first that it fits.
type physical struct {
	held *heldTable
	// bound says that a foreign key keeps rows of accounts that are not there out of it.
	bound   bool
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
			first := m.accounts()
			bound := slices.ContainsFunc(h.refers, func(f reference) bool {
				return f.to == c.of(first).id && slices.Equal(f.columns, []string{account.name}) && slices.Equal(f.refs, first.Key)
			})
			out = append(out, &physical{held: h, account: account, bound: bound})
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
	if len(ids) == 0 {
		return out, nil
	}
	s.strays = map[string]int{}
	there := ids // of accounts that are, once the first table has told
	for n, p := range s.places {
		if n == 1 {
			there = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return len(out[id])+s.strays[id] == 0 })
		}
		ids := ids
		if p.bound {
			ids = there
		}
		if len(ids) == 0 {
			continue
		}
		account := "t." + s.server.quote(p.account.name)
		cols := []string{p.account.show(account)}
		for _, c := range p.columns {
			cols = append(cols, c.show("t."+s.server.quote(c.name)))
		}
		forms := make([]string, len(ids))
		for i, id := range ids {
			forms[i] = *p.account.written(value{text: id})
		}
		among, args := s.server.among(account, p.account, forms)
		query := "SELECT " + strings.Join(cols, ", ") + " FROM " + p.held.name + " AS t WHERE " + among
		if lock && n == 0 {
			query += " FOR UPDATE"
		}
		err := s.tx.each(ctx, query, args, func(texts []*string) error { return p.take(texts, out, s.strays) })
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
