package sqltarget

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

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

// params are the values of rows, column by column, for unnest.
func params(t *table, rows []pending) []any {
	numbers := make([]int32, len(rows))
	for i := range rows {
		numbers[i] = int32(i)
	}
	out := []any{numbers}
	for i, c := range t.columns {
		list := make([]*string, len(rows))
		for n, r := range rows {
			list[n] = c.held.written(r.values[i])
		}
		out = append(out, list)
	}
	return out
}

// future is a query that gives rows as they would be in the table, with defaults and
// generated columns, and n for each. It writes nothing. What is not declared stays as it is
// in rows that are there; fresh says that there are none of these.
func future(t *table, h *heldTable, fresh bool) string {
	names, casts := []string{"n"}, []string{"w.n"}
	unnest := []string{"$1::int[]"}
	for i, c := range t.columns {
		names = append(names, fmt.Sprintf("c%d", i))
		unnest = append(unnest, fmt.Sprintf("$%d::text[]", i+2))
		value := fmt.Sprintf("w.c%d::%s", i, c.held.typ)
		if c.once && !fresh {
			value = fmt.Sprintf("CASE WHEN p.n IS NULL THEN %s ELSE p.%s END", value, quoteName(c.name))
		}
		casts = append(casts, value+" AS "+quoteName(c.name))
	}
	var made []string
	for _, c := range h.columns {
		switch {
		case t.index(c.name) >= 0:
		case c.generated != "":
			made = append(made, "("+c.generated+") AS "+quoteName(c.name))
		default:
			def := "NULL::" + c.typ
			if c.defaults != "" && !strings.Contains(c.defaults, "nextval") {
				def = "(" + c.defaults + ")::" + c.typ
			}
			if fresh {
				casts = append(casts, def+" AS "+quoteName(c.name))
				continue
			}
			casts = append(casts, fmt.Sprintf("CASE WHEN p.n IS NULL THEN %s ELSE p.%s END AS %s", def, quoteName(c.name), quoteName(c.name)))
		}
	}
	on := []string{fmt.Sprintf("p.%s = w.c%d::%s", quoteName(t.account.name), t.index(t.account.name), t.account.held.typ)}
	for _, k := range t.key {
		if k != t.account {
			on = append(on, fmt.Sprintf("p.%s = w.c%d::%s", quoteName(k.name), t.index(k.name), k.held.typ))
		}
	}
	query := "SELECT " + strings.Join(casts, ", ") + " FROM unnest(" + strings.Join(unnest, ", ") + ") AS w(" + strings.Join(names, ", ") + ")"
	if !fresh {
		query += " LEFT JOIN (SELECT 1 AS n, * FROM " + h.name + ") AS p ON " + strings.Join(on, " AND ")
	}
	if len(made) > 0 {
		query = "SELECT *, " + strings.Join(made, ", ") + " FROM (" + query + ") AS made"
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
		args := params(t, rows)
		future := future(t, h, fresh)
		if err := s.checks(ctx, t, h, future, rows, args); err != nil {
			return err
		}
		if err := s.references(ctx, t, h, future, rows, args); err != nil {
			return err
		}
		for _, u := range s.catalogue.unique(t) {
			if t == s.model.accounts() && len(u.columns) == 1 && u.columns[0] == t.account.name {
				continue // it was looked for
			}
			if !u.concerns(t, h) {
				continue
			}
			if err := s.unique(ctx, t, h, u, future, rows, args); err != nil {
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

func (s *auditor) checks(ctx context.Context, t *table, h *heldTable, future string, rows []pending, args []any) error {
	if len(h.checks) == 0 {
		return s.casts(ctx, t, future, args)
	}
	var broken []string
	for _, c := range h.checks {
		broken = append(broken, "CASE WHEN NOT ("+c.expr+") THEN "+quoteText(c.name)+" END")
	}
	query := "SELECT n, coalesce(" + strings.Join(append(broken, "''"), ", ") + ") FROM (" + future + ") AS " + quoteName("row")
	return s.each(ctx, query, args, func(r pgx.CollectableRow) error {
		var n int
		var name string
		if err := r.Scan(&n, &name); err != nil || name == "" {
			return err
		}
		rows[n].account.reject(codeConstraint, fmt.Sprintf("the check %s of the table %s does not allow it", name, t.Name), "")
		return nil
	})
}

// casts sees whether values of types that this program does not know have their form.
func (s *auditor) casts(ctx context.Context, t *table, future string, args []any) error {
	plain := !slices.ContainsFunc(t.columns, func(c *column) bool { return !c.held.known() })
	if plain {
		return nil
	}
	return s.each(ctx, "SELECT md5(r::text) FROM ("+future+") AS r", args, func(pgx.CollectableRow) error { return nil })
}

// known says that a value that was parsed is one of its type, whatever it is.
func (c *heldColumn) known() bool {
	switch c.typ {
	case "text", "character varying", "character", "boolean", "bigint", "timestamp with time zone", "timestamp without time zone", "date", "uuid", "bytea", "text[]", "character varying[]":
		return true
	}
	return len(c.enum) > 0
}

func quoteText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// references rejects who refers to a row that is not there and that the account itself
// does not bring.
func (s *auditor) references(ctx context.Context, t *table, h *heldTable, future string, rows []pending, args []any) error {
	for _, f := range h.refers {
		var columns []*column
		for _, name := range f.columns {
			if at := t.index(name); at >= 0 {
				columns = append(columns, t.columns[at])
			}
		}
		first := s.catalogue.of(s.model.accounts())
		own := len(columns) == 1 && columns[0] == t.account && f.to == first.oid && f.refs[0] == s.model.accounts().account.name
		if len(columns) < len(f.columns) || own {
			continue
		}
		var here, there []string
		for i, c := range columns {
			here = append(here, "r."+quoteName(c.name)+" IS NOT NULL")
			there = append(there, "x."+quoteName(f.refs[i])+" = r."+quoteName(c.name))
		}
		query := "SELECT n FROM (" + future + ") AS r WHERE " + strings.Join(here, " AND ") +
			" AND NOT EXISTS (SELECT 1 FROM " + f.toName + " AS x WHERE " + strings.Join(there, " AND ") + ")"
		err := s.each(ctx, query, args, func(r pgx.CollectableRow) error {
			var n int
			if err := r.Scan(&n); err != nil {
				return err
			}
			if !s.brings(rows[n].account, &f, rows[n].row, columns) {
				rows[n].account.reject(codeConstraint, fmt.Sprintf("%s.%s refers to a row of %s that is not there", t.Name, strings.Join(f.columns, ", "), f.toName), "create what it refers to first")
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
		if s.catalogue.of(r.table).oid != f.to {
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
func (s *auditor) unique(ctx context.Context, t *table, h *heldTable, u *uniqueIndex, future string, rows []pending, args []any) error {
	var values, parts, same []string
	for i, e := range u.exprs {
		values = append(values, fmt.Sprintf("(%s) AS e%d", e, i))
		parts = append(parts, fmt.Sprintf("(r.e%d)::text", i))
		same = append(same, fmt.Sprintf("x.e%d %s r.e%d", i, u.equals(), i))
	}
	list := strings.Join(values, ", ")
	where := ""
	if u.predicate != "" {
		where = " WHERE " + u.predicate
	}
	owner := quoteName(t.account.name)
	var mine []string
	for _, c := range append([]*column{t.account}, t.key...) {
		mine = append(mine, "x."+quoteName(c.name)+" IS NOT DISTINCT FROM r."+quoteName(c.name))
	}
	query := "SELECT r.n, ARRAY[" + strings.Join(parts, ", ") + "], x." + owner + "::text FROM (SELECT *, " + list + " FROM (" + future + ") AS f" + where + ") AS r" +
		" LEFT JOIN (SELECT *, " + list + " FROM " + h.name + " AS f" + where + ") AS x ON " + strings.Join(same, " AND ") + " AND NOT (" + strings.Join(mine, " AND ") + ") ORDER BY r.n" // the first one gets it
	code, what := u.about(t)
	return s.each(ctx, query, args, func(r pgx.CollectableRow) error {
		var n int
		var parts []*string
		var holder *string
		if err := r.Scan(&n, &parts, &holder); err != nil {
			return err
		}
		a := rows[n].account
		if a.rejected() {
			return nil
		}
		if holder != nil {
			o := s.judge.Conflict(a.user, code, what, *holder)
			a.reject(o.Code, o.Detail, o.Hint)
			return nil
		}
		claim, ok := u.claim(h, parts)
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

func (u *uniqueIndex) equals() string {
	if u.nullsEqual {
		return "IS NOT DISTINCT FROM"
	}
	return "="
}

// claim is what a row takes for itself; false when it takes nothing, as it has no value.
func (u *uniqueIndex) claim(h *heldTable, parts []*string) (reconcile.Claim, bool) {
	var out []string
	for i, p := range parts {
		if p == nil && !u.nullsEqual {
			return reconcile.Claim{}, false
		}
		text := "\x00"
		if p != nil {
			text = *p
			if c := h.column(u.columns[i]); c != nil && c.folds {
				text = strings.ToLower(text)
			}
		}
		out = append(out, text)
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

// each runs a query that only reads.
func (s *session) each(ctx context.Context, query string, args []any, f func(pgx.CollectableRow) error) error {
	rows, err := s.tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	_, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (struct{}, error) { return struct{}{}, f(r) })
	return err
}
