package sqltarget

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// texts reads a JSON list of texts.
func texts(list string) (out []string) {
	_ = json.Unmarshal([]byte(list), &out) // it was made as one
	return out
}

// pending is a row that is to be written, and whose it is.
type pending struct {
	*row
	account *account
}

// futures are rows that are to be written, for questions to the database.
type futures struct {
	table *table
	held  *heldTable
	rows  []pending
	fresh bool // none of them is there
	args  []any
}

// each asks a question: before and after stand around a query that gives the rows as they
// would be.
func (f *futures) each(ctx context.Context, s *auditor, before, after string, answer func([]*string) error) error {
	if f.args == nil {
		f.args = s.server.rows(f.table, f.rows)
	}
	return s.tx.each(ctx, before+"("+futureOf(s.server, f.table, f.held, f.fresh)+")"+after, f.args, answer)
}

// only are the same rows with some columns, and those that tell them apart: less travels,
// and less is read.
func (f *futures) only(names []string) *futures {
	t, h, rows := f.table, f.held, f.rows
	narrow, held := &table{Table: t.Table, at: t.at, key: t.key, account: t.account, id: t.id}, *h
	var kept []int
	for i, c := range t.columns {
		if c == t.account || slices.Contains(t.key, c) || slices.Contains(names, c.name) {
			narrow.columns, kept = append(narrow.columns, c), append(kept, i)
		}
	}
	held.columns = nil
	for _, c := range h.columns {
		if narrow.index(c.name) >= 0 || slices.Contains(names, c.name) {
			held.columns = append(held.columns, c)
		}
	}
	out := make([]pending, len(rows))
	for n, r := range rows {
		values := make([]value, len(kept))
		for i, at := range kept {
			values[i] = r.values[at]
		}
		out[n] = pending{&row{table: narrow, key: r.key, values: values}, r.account}
	}
	return &futures{table: narrow, held: &held, rows: out, fresh: f.fresh}
}

// plain says that the index is about columns alone, which rows are given or have by
// default, and names them.
func (u *uniqueIndex) plain(h *heldTable) bool {
	return u.predicate == "" && !slices.ContainsFunc(u.columns, func(name string) bool {
		c := h.column(name)
		return c == nil || c.generated != ""
	})
}

// futureOf is a query that gives rows as they would be in the table, with defaults and
// generated columns, and stetl_n for each. It writes nothing. What is not declared stays as
// it is in rows that are there; fresh says that there are none of these.
func futureOf(s syntax, t *table, h *heldTable, fresh bool) string {
	casts := []string{"w.stetl_n"}
	// otherwise is what a column has in a row that is there.
	otherwise := func(value, name string) string {
		if fresh {
			return value + " AS " + s.quote(name)
		}
		return fmt.Sprintf("CASE WHEN p.stetl_n IS NULL THEN %s ELSE p.%s END AS %s", value, s.quote(name), s.quote(name))
	}
	for i, c := range t.columns {
		value := c.held.cast(fmt.Sprintf("w.c%d", i))
		if c.once {
			casts = append(casts, otherwise(value, c.name))
			continue
		}
		casts = append(casts, value+" AS "+s.quote(c.name))
	}
	var made []string
	for _, c := range h.columns {
		switch {
		case t.index(c.name) >= 0:
		case c.generated != "":
			made = append(made, c.cast("("+c.generated+")")+" AS "+s.quote(c.name))
		default:
			value := "NULL"
			if c.defaults != "" {
				value = "(" + c.defaults + ")"
			}
			casts = append(casts, otherwise(c.cast(value), c.name))
		}
	}
	query := "SELECT " + strings.Join(casts, ", ") + " FROM " + s.given(t)
	if !fresh {
		query += " LEFT JOIN (SELECT 1 AS stetl_n, h.* FROM " + h.name + " AS h) AS p ON " + t.matching(s, "p")
	}
	if len(made) > 0 {
		query = "SELECT made.*, " + strings.Join(made, ", ") + " FROM (" + query + ") AS made"
	}
	return query
}

// auditor holds rows that are to be written against the rules of the database.
type auditor struct{ *session }

// constrain rejects the accounts whose rows the database would not take.
func (s *auditor) constrain(ctx context.Context, accounts []*account) error {
	for _, t := range s.model.tables {
		h := s.catalogue.of(t)
		var rows []pending
		fresh := true
		for _, a := range accounts {
			if !a.writes() {
				continue
			}
			fresh = fresh && len(a.updates) == 0
			for _, r := range slices.Concat(a.inserts, a.updates) {
				if r.table == t {
					rows = append(rows, pending{r, a})
				}
			}
		}
		if len(rows) == 0 {
			continue
		}
		all := &futures{table: t, held: h, rows: rows, fresh: fresh}
		if err := s.checks(ctx, all); err != nil {
			return err
		}
		if err := s.references(ctx, all); err != nil {
			return err
		}
		for _, u := range s.catalogue.unique(t) {
			if t == s.model.accounts() && len(u.columns) == 1 && u.columns[0] == t.account.name && !t.account.held.folds {
				continue // it was looked for
			}
			if !u.concerns(t, h) {
				continue
			}
			about := all
			if u.plain(h) {
				about = all.only(u.columns)
			}
			if err := s.unique(ctx, about, u); err != nil {
				return err
			}
		}
	}
	for _, a := range accounts {
		if a.rejected() { // what it would have taken is free for others
			s.claims.Release(a.claims...)
			a.claims, a.guarded = nil, nil
		}
	}
	return nil
}

func (s *auditor) checks(ctx context.Context, all *futures) error {
	t, h, rows := all.table, all.held, all.rows
	if len(h.checks) == 0 {
		return s.casts(ctx, all)
	}
	var broken []string
	for _, c := range h.checks {
		broken = append(broken, "CASE WHEN NOT ("+c.expr+") THEN "+s.server.text(c.name)+" END")
	}
	query := "SELECT stetl_n, coalesce(" + strings.Join(append(broken, "''"), ", ") + ") FROM "
	return all.each(ctx, s, query, " AS "+s.server.quote("row"), func(texts []*string) error {
		n, err := numbered(texts[0], rows)
		if name := textOf(texts[1]); err == nil && name != "" {
			rows[n].account.reject(codeConstraint, fmt.Sprintf("the check constraint %s of the table %s does not allow it", name, t.Name), "")
		}
		return err
	})
}

// casts sees whether values of types that this program does not know have their form.
func (s *auditor) casts(ctx context.Context, all *futures) error {
	var unknown []string
	for _, c := range all.table.columns {
		if !c.held.known {
			unknown = append(unknown, "max(length("+c.held.show("r."+s.server.quote(c.name))+"))")
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return all.each(ctx, s, "SELECT "+strings.Join(unknown, ", ")+" FROM ", " AS r", func([]*string) error { return nil })
}

// numbered reads the number of a row.
func numbered(text *string, rows []pending) (int, error) {
	n, err := strconv.Atoi(textOf(text))
	if err == nil && (n < 0 || n >= len(rows)) {
		err = fmt.Errorf("the database answers for row %d of %d", n, len(rows))
	}
	return n, err
}

// references rejects who refers to a row that is not there and that the account itself
// does not bring.
func (s *auditor) references(ctx context.Context, all *futures) error {
	t, rows := all.table, all.rows
	for _, f := range all.held.refers {
		var columns []*column
		for _, name := range f.columns {
			if at := t.index(name); at >= 0 {
				columns = append(columns, t.columns[at])
			}
		}
		first := s.catalogue.of(s.model.accounts())
		own := len(columns) == 1 && columns[0] == t.account && f.to == first.id && f.refs[0] == s.model.accounts().account.name
		if len(columns) < len(f.columns) || own {
			continue
		}
		var here, there []string
		for i, c := range columns {
			here = append(here, "r."+s.server.quote(c.name)+" IS NOT NULL")
			there = append(there, "x."+s.server.quote(f.refs[i])+" = r."+s.server.quote(c.name))
		}
		missing := " AS r WHERE " + strings.Join(here, " AND ") + " AND NOT EXISTS (SELECT 1 FROM " + f.toName + " AS x WHERE " + strings.Join(there, " AND ") + ")"
		err := all.only(f.columns).each(ctx, s, "SELECT stetl_n FROM ", missing, func(texts []*string) error {
			n, err := numbered(texts[0], rows)
			if err != nil {
				return err
			}
			if !s.brings(rows[n].account, &f, rows[n].row, columns) {
				rows[n].account.reject(codeConstraint, fmt.Sprintf("%s.%s refers to a row of %s that does not exist", t.Name, strings.Join(f.columns, ", "), f.toName), "create that row first")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// brings says that a row of the account itself is the one that is referred to.
func (s *auditor) brings(a *account, f *reference, from *row, columns []*column) bool {
	return slices.ContainsFunc(a.wanted, func(r *row) bool {
		if s.catalogue.of(r.table).id != f.to {
			return false
		}
		for i, name := range f.refs {
			at := r.table.index(name)
			if at < 0 || r.values[at] != from.values[from.table.index(columns[i].name)] {
				return false
			}
		}
		return true
	})
}

// unique rejects who wants what another row has: one of the database, or one of this run.
func (s *auditor) unique(ctx context.Context, all *futures, u *uniqueIndex) error {
	t, h, rows := all.table, all.held, all.rows
	var values, parts, same []string
	for i, e := range u.exprs {
		values = append(values, fmt.Sprintf("(%s) AS stetl_e%d", e, i))
		parts = append(parts, u.claimed(h, i, fmt.Sprintf("r.stetl_e%d", i)))
		mine, theirs := fmt.Sprintf("r.stetl_e%d", i), fmt.Sprintf("x.stetl_e%d", i)
		if u.nullsEqual {
			same = append(same, s.server.same(theirs, mine))
			continue
		}
		same = append(same, theirs+" = "+mine)
	}
	list := strings.Join(values, ", ")
	where := ""
	if u.predicate != "" {
		where = " WHERE " + u.predicate
	}
	owner := s.server.quote(t.account.name)
	var mine []string
	for _, c := range append([]*column{t.account}, t.key...) {
		name := s.server.quote(c.name)
		mine = append(mine, s.server.same(c.held.exactly("x."+name), c.held.exactly("r."+name)))
	}
	query := "SELECT r.stetl_n, " + t.account.held.show("x."+owner) + ", " + strings.Join(parts, ", ") + " FROM (SELECT f.*, " + list + " FROM "
	others := " AS f" + where + ") AS r" +
		" LEFT JOIN (SELECT f.*, " + list + " FROM " + h.name + " AS f" + where + ") AS x ON " + strings.Join(same, " AND ") + " AND NOT (" + strings.Join(mine, " AND ") + ") ORDER BY r.stetl_n" // the first one gets it
	code, what := u.about(t)
	return all.each(ctx, s, query, others, func(texts []*string) error {
		n, err := numbered(texts[0], rows)
		if err != nil {
			return err
		}
		holder, parts := texts[1], texts[2:]
		a := rows[n].account
		if a.rejected() {
			return nil
		}
		if holder != nil {
			o := s.judge.Conflict(a.user, code, what, *holder)
			a.reject(o.Code, o.Detail, o.Hint)
			a.Outcome.Holder = o.Holder
			return nil
		}
		claim, ok := u.claim(parts)
		if !ok {
			return nil
		}
		claim.Code, claim.Kind = code, what+" ("+u.name+" of "+t.Name+")"
		if o := s.claims.Take(a.user, claim); o != nil {
			a.reject(o.Code, o.Detail, o.Hint)
			return nil
		}
		a.claims = append(a.claims, claim)
		if !u.declaration {
			a.guarded = append(a.guarded, claim)
		}
		return nil
	})
}

// claimed gives the i-th value of the index as a text that is the same for equal values.
func (u *uniqueIndex) claimed(h *heldTable, i int, expr string) string {
	if c := h.column(u.columns[i]); c != nil {
		return c.claimed(expr)
	}
	return h.claimed(expr)
}

// claim is what a row takes for itself; false when it takes nothing, as it has no value.
func (u *uniqueIndex) claim(parts []*string) (reconcile.Claim, bool) {
	var out []string
	for _, p := range parts {
		switch {
		case p != nil:
			out = append(out, *p)
		case u.nullsEqual:
			out = append(out, "\x00")
		default:
			return reconcile.Claim{}, false
		}
	}
	return reconcile.Claim{Value: strings.Join(out, "\x00") + "\x00"}, true
}

// about says what of an account a unique index is about.
func (u *uniqueIndex) about(t *table) (sdk.Code, string) {
	uses := func(field string) bool {
		return slices.ContainsFunc(t.columns, func(c *column) bool { return slices.Contains(c.source.uses, field) && u.names(c) })
	}
	switch {
	case uses("email"):
		return sdk.CodeEmailConflict, "the e-mail address"
	case uses("username"):
		return sdk.CodeUsernameConflict, "the user name"
	case t.Per == perIdentity || t.Per == perLogin:
		return sdk.CodeIdentityConflict, "the identity"
	case uses("phone"):
		return codeConstraint, "the phone number"
	case uses("id"):
		return sdk.CodeIDConflict, "the id"
	}
	return codeConstraint, cmp.Or(strings.Join(u.exprs, ", "), u.name)
}

// concerns says that something that is written may be in the index.
func (u *uniqueIndex) concerns(t *table, h *heldTable) bool {
	return slices.ContainsFunc(t.columns, u.names) ||
		slices.ContainsFunc(h.columns, func(c *heldColumn) bool { return c.generated != "" && u.names(&column{name: c.name}) })
}

// names says that the index is about a column.
func (u *uniqueIndex) names(c *column) bool {
	for i, e := range u.exprs {
		if u.columns[i] == c.name || u.columns[i] == "" && regexp.MustCompile(`(^|\W)`+regexp.QuoteMeta(c.name)+`(\W|$)`).MatchString(e) {
			return true
		}
	}
	return false
}
