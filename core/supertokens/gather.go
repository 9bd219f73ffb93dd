package supertokens

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"
)

// gatherer gathers the rows of some users, each once, where a whole reading has those of
// a range.
type gatherer struct {
	t    *Tables
	from RowSource
	rr   *rangeRows
	// loaded are the ids that each table has been asked for.
	loaded map[TableName]map[string]bool
	// mapped are the rows of the mapping by external id that have been looked up, nil
	// where there is none.
	mapped map[string][][]byte
}

// keepMapping keeps a row of the mapping by its external id.
func (g *gatherer) keepMapping(v [][]byte) error {
	g.mapped[string(v[1])] = cloneRow(v)
	return nil
}

// lookUpExternal finds out who is mapped to external ids, exactly these.
func (g *gatherer) lookUpExternal(ctx context.Context, ids []string) error {
	r := g.t.reader(UserIDMapping)
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { _, known := g.mapped[id]; return known })
	if r == nil || len(ids) == 0 {
		return nil
	}
	for _, id := range ids {
		g.mapped[id] = nil
	}
	return g.rows(ctx, r, "external_user_id", ids, g.keepMapping)
}

// loadUsers loads what says that users exist, and which accounts they are of.
func (g *gatherer) loadUsers(ctx context.Context, ids []string) error {
	if g.t.layout.Generation.multiApp() {
		return g.load(ctx, g.t.reader(Spine), ids)
	}
	for _, r := range g.t.readers {
		missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return g.rr.users[id] != nil })
		if r.role == roleRecipe && len(missing) > 0 {
			if err := g.load(ctx, r, missing); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadMembers loads all logins of an account, and the account's own row. It needs an
// index that core 7.0.13 made; before, the database reads the list of users.
func (g *gatherer) loadMembers(ctx context.Context, account string) error {
	if !g.t.layout.Generation.links() {
		return nil
	}
	r := g.t.reader(Spine)
	err := g.rows(ctx, r, "primary_or_recipe_user_id", []string{account}, func(v [][]byte) error {
		g.mark(r, trimPadding(v[0]))
		_, err := g.rr.add(r, v, false)
		return err
	})
	if err != nil {
		return err
	}
	return g.load(ctx, r, []string{account})
}

// loadAll loads tables, in the order that joining needs.
func (g *gatherer) loadAll(ctx context.Context, ids []string, want func(*tableSpec) bool) error {
	for _, r := range g.t.readers {
		if want(r.tableSpec) {
			if err := g.load(ctx, r, ids); err != nil {
				return err
			}
		}
	}
	return nil
}

// load reads the rows of users from one table, each once.
func (g *gatherer) load(ctx context.Context, r *tableReader, ids []string) error {
	if r == nil {
		return nil
	}
	if r.role == roleMapping {
		if err := g.addMappings(r, ids); err != nil {
			return err
		}
	}
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return g.loaded[r.name][id] })
	for _, id := range ids {
		g.mark(r, id)
	}
	if len(ids) == 0 {
		return nil
	}
	if r.eitherID {
		return g.loadByID(ctx, r, ids)
	}
	return g.rows(ctx, r, r.key, ids, func(v [][]byte) error {
		_, err := g.rr.add(r, v, false)
		return err
	})
}

// addMappings adds those rows of the mapping that have been looked up already.
func (g *gatherer) addMappings(r *tableReader, ids []string) error {
	for _, v := range g.mapped {
		if v == nil {
			continue
		}
		id := trimPadding(v[0])
		if !slices.Contains(ids, id) || g.rr.users[id] == nil {
			continue
		}
		g.mark(r, id)
		if _, err := g.rr.add(r, cloneRow(v), false); err != nil {
			return err
		}
	}
	return nil
}

// loadByID reads a table that may name users by either of their ids.
func (g *gatherer) loadByID(ctx context.Context, r *tableReader, ids []string) error {
	keys := slices.Clone(ids)
	for _, id := range ids {
		u := g.rr.users[id]
		if u != nil && u.external != nil {
			keys = append(keys, *u.external)
		}
		if n := paddedWidth - utf8.RuneCountInString(id); n > 0 && !r.pads { // read out of a padded column once
			keys = append(keys, id+strings.Repeat(" ", n))
		}
	}
	var found [][][]byte
	var padded []string
	err := g.rows(ctx, r, r.key, keys, func(v [][]byte) error {
		found = append(found, cloneRow(v))
		if len(trimKey(v[0])) < len(v[0]) {
			padded = append(padded, string(v[0]))
		}
		return nil
	})
	if err == nil {
		err = g.lookUpExternal(ctx, padded)
	}
	if err != nil {
		return err
	}
	for _, v := range found {
		if _, err := g.rr.add(r, v, g.isAnothers(r, v[0])); err != nil {
			return err
		}
	}
	return nil
}

// isAnothers reports whether the id in a row is the external one of a user who is not
// among those that are joined.
func (g *gatherer) isAnothers(r *tableReader, stored []byte) bool {
	v := g.mapped[string(stored)]
	if v == nil && r.pads {
		v = g.mapped[trimPadding(stored)]
	}
	return v != nil && g.rr.byExternal[string(v[1])] == nil
}

// loadTaken finds the external ids of others that are internal ids here.
func (g *gatherer) loadTaken(ctx context.Context, r *tableReader, ids []string) error {
	if err := g.lookUpExternal(ctx, ids); err != nil {
		return err
	}
	for _, id := range ids {
		if v := g.mapped[id]; v != nil {
			if _, err := g.rr.add(r, cloneRow(v), true); err != nil {
				return err
			}
		}
	}
	return nil
}

// rows asks for rows by one column, as a reader wants them.
func (g *gatherer) rows(ctx context.Context, r *tableReader, column string, values []string, row func([][]byte) error) error {
	return g.from.Rows(ctx, g.t.query(r.rel, r.columns, RowMatch{column, values}), row)
}

func (g *gatherer) mark(r *tableReader, id string) {
	if g.loaded[r.name] == nil {
		g.loaded[r.name] = map[string]bool{}
	}
	g.loaded[r.name][id] = true
}

// idsOf are the internal ids of all users that are joined.
func idsOf(rr *rangeRows) []string {
	out := make([]string, 0, len(rr.users))
	for id := range rr.users {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// cloneRow keeps a row beyond the call that gave it.
func cloneRow(v [][]byte) [][]byte {
	out := make([][]byte, len(v))
	for i := range v {
		out[i] = slices.Clone(v[i])
	}
	return out
}
