package supertokens

import (
	"context"
	"errors"
	"fmt"
)

// Installation is one place in a source where tables of SuperTokens are.
type Installation struct {
	Schema      string `json:"schema"`
	TablePrefix string `json:"table_prefix"`
	// Generation is empty where it cannot be told, and Problem says why.
	Generation string `json:"generation,omitempty"`
	Apps       []App  `json:"apps"`
	Problem    string `json:"problem,omitempty"`
}

// Installations lists every installation that a source has and every app of each, with
// how many login methods there are. Where the source is, is returned with them. The
// options that choose among them narrow the list.
func Installations(ctx context.Context, o Options) (where string, list []Installation, err error) {
	st, err := openStore(ctx, o)
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	c, err := st.catalog(ctx)
	if err != nil {
		return "", nil, err
	}
	narrowed, c, err := o.narrow(c)
	if err != nil {
		return "", nil, err
	}
	found := installations(c)
	fitting, err := chosen(c, found, narrowed)
	if err != nil {
		return "", nil, err
	}
	if len(fitting) == 0 {
		return "", nil, notFound(c, narrowed, found)
	}
	kept, copies, err := withoutCopies(ctx, c, st, fitting)
	if err != nil {
		return "", nil, err
	}
	for _, i := range kept {
		list = append(list, i.describe(ctx, c, st, narrowed))
	}
	for _, i := range copies {
		for _, r := range i.tables {
			list = append(list, Installation{Schema: i.schema, TablePrefix: i.prefix, Apps: []App{}, Problem: aCopy(r)})
		}
	}
	return c.where, list, nil
}

// aCopy says of a table why it is no installation.
func aCopy(r *relation) string {
	return fmt.Sprintf("table %s is the only one of SuperTokens there, so it was taken for a copy and not read", r.qualified())
}

// describe looks into one installation. That something is wrong with it does not keep
// others from being listed.
func (i *installation) describe(ctx context.Context, c *catalog, from store, o Options) Installation {
	out := Installation{Schema: i.schema, TablePrefix: i.prefix, Apps: []App{}}
	l := i.layout()
	err := l.locate(ctx, c, from, o)
	if err == nil {
		_, err = judge(ctx, c, from, l)
	}
	if err == nil {
		out.Generation = l.Generation.String()
		out.Apps, err = readApps(ctx, from, l, true)
	}
	if err == nil && !l.Generation.multiApp() {
		out.Apps[0].Users, err = countLogins(ctx, from, l)
	}
	if err != nil {
		out.Problem = err.Error()
	}
	return out
}

// countLogins counts the rows of the recipe tables.
func countLogins(ctx context.Context, from rows, l *Layout) (n int, err error) {
	for i := range schema {
		if r := l.tables[schema[i].name]; r != nil && schema[i].role == roleRecipe {
			rows, err := from.countRows(ctx, r, "")
			if err != nil {
				return 0, err
			}
			n += rows
		}
	}
	return n, nil
}
