package supertokens

import (
	"slices"
	"strings"
)

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
	columns      []column
	// readable is false when the role of the connection lacks SELECT.
	readable bool
}

type column struct {
	name string
	// typ is PostgreSQL's own spelling, "character(36)"; empty when a dump
	// does not say.
	typ string
}

func (r *relation) qualified() string { return r.schema + "." + r.name }

func (r *relation) has(names ...string) bool {
	for _, n := range names {
		if r.column(n) == nil {
			return false
		}
	}
	return true
}

func (r *relation) column(name string) *column {
	for i := range r.columns {
		if r.columns[i].name == name {
			return &r.columns[i]
		}
	}
	return nil
}

func (r *relation) names() []string {
	out := make([]string, len(r.columns))
	for i, c := range r.columns {
		out[i] = c.name
	}
	return out
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

// blankPadded reports whether PostgreSQL compares the column as character(n),
// which decides the type a parameter must have for an index to be usable.
func (c column) blankPadded() bool {
	return strings.HasPrefix(c.typ, "character(") || strings.HasPrefix(c.typ, "bpchar") || c.typ == "character"
}
