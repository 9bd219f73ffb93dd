package supertokens

import "slices"

// catalog is what a source says about its tables, before anything is known
// about SuperTokens: one entry per table of every schema that is not
// PostgreSQL's own.
type catalog struct {
	// where names the source in messages: "database app at host:5432" or the
	// dump's path. It never holds a password.
	where  string
	tables []*relation
}

// relation is one table as the source has it.
type relation struct {
	schema, name string
	columns      []string
	// readable is false when the role of the connection lacks SELECT.
	readable bool
	// empty is true when a dump defines the table and leaves its data out.
	empty bool
}

func (r *relation) qualified() string { return r.schema + "." + r.name }

func (r *relation) has(names ...string) bool {
	for _, n := range names {
		if !slices.Contains(r.columns, n) {
			return false
		}
	}
	return true
}

func (c *catalog) find(schema, name string) *relation {
	for _, r := range c.tables {
		if r.schema == schema && r.name == name {
			return r
		}
	}
	return nil
}

// schemas returns the distinct schema names, sorted.
func (c *catalog) schemas() []string {
	var out []string
	for _, r := range c.tables {
		out = append(out, r.schema)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
