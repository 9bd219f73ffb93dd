package supertokens

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/testserver/fixture"
)

// content is what a test says about the rows of tables: all have some but these.
type content struct{ empty map[*relation]bool }

func (c content) hasRows(_ context.Context, r *relation) (bool, error) { return !c.empty[r], nil }

func (c content) countRows(_ context.Context, r *relation, _ string) (int, error) {
	return count01(!c.empty[r]), nil
}

func (c content) scan(_ context.Context, r *relation, _ string, columns []string, row func([][]byte) error) error {
	if c.empty[r] {
		return nil
	}
	v := make([][]byte, len(columns))
	for i := range v {
		v[i] = []byte("1")
	}
	return row(v)
}

// look detects what is in a catalog whose tables have rows.
func look(t *testing.T, c *catalog, o Options) (*Layout, error) { return lookInto(t, c, content{}, o) }

func lookInto(t *testing.T, c *catalog, rows rows, o Options) (*Layout, error) {
	t.Helper()
	l, gaps, err := detect(t.Context(), c, rows, o)
	if err == nil && len(gaps) > 0 {
		err = &IncompleteError{Gaps: gaps}
	}
	return l, err
}

// fixtureCatalog is the catalog of a real database.
func fixtureCatalog(t *testing.T, name string) *catalog {
	t.Helper()
	d, err := openDump(t.Context(), fixture.Dump(t, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.close() })
	c, err := d.catalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// merge adds the tables of b that a does not have, as a newer core does when it
// is started once on an older database.
func merge(a, b *catalog) *catalog {
	out := &catalog{where: a.where, tables: append([]*relation{}, a.tables...)}
	for _, r := range b.tables {
		if out.find(r.schema, r.name) == nil {
			left := *r
			left.empty = true
			out.tables = append(out.tables, &left)
		}
	}
	return out
}

func inSchema(c *catalog, schema, prefix string) *catalog {
	out := &catalog{where: c.where}
	for _, r := range c.tables {
		renamed := *r
		renamed.schema, renamed.name = schema, prefix+r.name
		out.tables = append(out.tables, &renamed)
	}
	return out
}

func without(c *catalog, names ...string) *catalog {
	out := &catalog{where: c.where}
next:
	for _, r := range c.tables {
		for _, n := range names {
			if r.name == n {
				continue next
			}
		}
		out.tables = append(out.tables, r)
	}
	return out
}

func rename(c *catalog, from, to string) *catalog {
	out := &catalog{where: c.where}
	for _, r := range c.tables {
		renamed := *r
		if r.name == from {
			renamed.name = to
		}
		out.tables = append(out.tables, &renamed)
	}
	return out
}

func TestDetect(t *testing.T) {
	t.Parallel()
	g1c, g2, g3, g4, g4ep := fixtureCatalog(t, "core-3.3.0"), fixtureCatalog(t, "core-5.0.0"), fixtureCatalog(t, "core-6.0.13"), fixtureCatalog(t, "core-9.3.0"), fixtureCatalog(t, "core-10.1.4")
	none, auth := "", "auth"
	tests := map[string]struct {
		catalog *catalog
		options Options
		want    string
		prefix  string
		err     error
		says    string
	}{
		"a newer core was started once on 5.0": {catalog: merge(g2, g4), want: "G2"},
		"6.0 was started once on 5.0":          {catalog: merge(g2, g3), want: "G2"},
		"3.16 serves a 3.3 database":           {catalog: merge(g1c, fixtureCatalog(t, "core-3.16.2")), want: "G2"},
		"10.1 was started on 9.3":              {catalog: merge(g4, g4ep), want: "G4"},
		"leftovers of 3.1 in an upgraded one":  {catalog: merge(g2, fixtureCatalog(t, "core-3.1.0")), want: "G2"},
		"prefix and schema are found":          {catalog: inSchema(g4, "login", "auth_"), want: "G4", prefix: "auth"},
		"a prefix in mixed case, as configured": {
			catalog: inSchema(g4, "login", "auth_"), options: Options{Schema: "Login", TablePrefix: ptr("Auth")}, want: "G4", prefix: "auth",
		},
		"two schemas":            {catalog: merge(g4, inSchema(g2, "old", "")), err: ErrAmbiguous, says: `schema "old"`},
		"two schemas, one named": {catalog: merge(g4, inSchema(g2, "old", "")), options: Options{Schema: "old"}, want: "G2"},
		"two prefixes":           {catalog: merge(g4, inSchema(g2, "public", "auth_")), err: ErrAmbiguous, says: `table_prefix "auth"`},
		"two prefixes, one named": {
			catalog: merge(g4, inSchema(g2, "public", "auth_")), options: Options{TablePrefix: &auth}, want: "G2", prefix: "auth",
		},
		"two prefixes, the one without": {
			catalog: merge(g4, inSchema(g2, "public", "auth_")), options: Options{TablePrefix: &none}, want: "G4",
		},
		"users table renamed and told": {
			catalog: rename(g4, "emailpassword_users", "people"), options: Options{Tables: map[string]string{"emailpassword_users": "People"}}, want: "G4",
		},
		"users table renamed and found":        {catalog: rename(g4, "emailpassword_users", "people"), want: "G4"},
		"verified table renamed and found":     {catalog: rename(g2, "emailverification_verified_emails", "proofs"), want: "G2"},
		"a told table that is not there":       {catalog: g4, options: Options{Tables: map[string]string{"thirdparty_users": "friends"}}, says: "no such table"},
		"a table with users is missing":        {catalog: without(g4, "thirdparty_users"), says: `table "thirdparty_users" is missing`},
		"the spine is missing":                 {catalog: without(g4, "app_id_to_user_id"), says: `"app_id_to_user_id" is missing`},
		"the metadata is missing":              {catalog: without(g4, "user_metadata"), says: `"user_metadata" is missing`},
		"only dashboard users look like users": {catalog: &catalog{where: "x", tables: []*relation{g4.find("public", "dashboard_users")}}, says: "emailpassword_users"},
		"sessions only": {
			catalog: &catalog{where: "x", tables: []*relation{g1c.find("public", "session_info"), g1c.find("public", "key_value")}}, err: ErrNotSuperTokens, says: "sessions only",
		},
		"nothing at all":            {catalog: &catalog{where: "x"}, err: ErrNotSuperTokens},
		"a prefix that is not used": {catalog: g4, options: Options{TablePrefix: ptr("nope")}, err: ErrNotSuperTokens, says: `the prefixes found there: "" in schema "public"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := look(t, tt.catalog, tt.options)
			if tt.err != nil || tt.says != "" {
				if err == nil || (tt.err != nil && !errors.Is(err, tt.err)) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("error %v, want %v with %q", err, tt.err, tt.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if l.Generation.String() != tt.want || l.TablePrefix != tt.prefix {
				t.Errorf("generation %s, prefix %q, want %s and %q", l.Generation, l.TablePrefix, tt.want, tt.prefix)
			}
		})
	}
}
