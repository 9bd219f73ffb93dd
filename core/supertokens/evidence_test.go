package supertokens

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

// releases are all that changed a table, oldest first.
func releases() []release {
	var out []release
	for i := range schema {
		t := &schema[i]
		out = append(out, t.since)
		for j := range t.columns {
			out = append(out, t.firstOf(&t.columns[j]))
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(r release) bool { return r < core(3, 0) })
}

// freshDatabase is what a release of the core makes in an empty database: upgraded, it
// is one of core 3.0 whose operator has run the statements of each upgrade and no more.
func freshDatabase(at release, upgraded bool) *catalog {
	c := &catalog{where: "core " + at.String()}
	for i := range schema {
		t := &schema[i]
		if t.since > at || t.until != 0 && t.until <= at && !upgraded || len(t.columns) == 0 {
			continue
		}
		r := &relation{schema: "public", name: string(t.name), readable: true}
		for j := range t.columns {
			column := &t.columns[j]
			gone := column.until != 0 && column.until <= at
			if t.firstOf(column) > at || gone && !upgraded || column.optional && upgraded {
				continue
			}
			typ := column.typ
			for _, w := range column.widths {
				if w.since <= at && !upgraded {
					typ = w.typ
				}
			}
			r.columns, r.types = append(r.columns, column.name), append(r.types, typ)
		}
		for _, x := range t.indexes {
			if x.since <= at && !upgraded {
				r.indexes = append(r.indexes, x.name)
			}
		}
		c.tables = append(c.tables, r)
	}
	return c
}

// TestEveryRelease: the database of any core, fresh or upgraded from the first one, is
// taken for what it is, and nothing is missed.
func TestEveryRelease(t *testing.T) {
	t.Parallel()
	for _, at := range releases() {
		for _, upgraded := range []bool{false, true} {
			c := freshDatabase(at, upgraded)
			l, err := look(t, c, Options{})
			if err != nil {
				t.Errorf("core %s, upgraded %t: %v", at, upgraded, err)
				continue
			}
			if !upgraded && l.Generation != generationOf(at) {
				t.Errorf("core %s: generation %s, want %s", at, l.Generation, generationOf(at))
			}
			// Empty tables of younger cores that could not start change nothing.
			if at < core(6, 0) {
				again, err := look(t, merge(c, freshDatabase(core(9, 3), false)), Options{})
				if err != nil || again.Generation != l.Generation {
					t.Errorf("core %s, upgraded %t, with leftovers of 9.3: %v, %v", at, upgraded, again, err)
				}
			}
		}
	}
}

// TestColumnsAreBound: what a reader asks for is a column of the table, and everything
// that is carried is read.
func TestColumnsAreBound(t *testing.T) {
	t.Parallel()
	for i := range schema {
		spec := &schema[i]
		if spec.readUser == nil && spec.readID == nil {
			if spec.key != "" || spec.attach != nil {
				t.Errorf("%s has a key or adds to accounts, and is not read", spec.name)
			}
			continue
		}
		b := &binding{columns: []string{spec.key}}
		if spec.readUser != nil {
			spec.readUser(b)
		} else {
			spec.readID(b)
		}
		for _, name := range b.columns {
			if spec.column(name) == nil {
				t.Errorf("%s has no column %s, and it is read", spec.name, name)
			}
		}
		for _, c := range spec.columns {
			if (c.fate == Carried || c.fate == Transformed) && c.name != appColumn && !slices.Contains(b.columns, c.name) {
				t.Errorf("column %s.%s is %s, and not read", spec.name, c.name, c.fate)
			}
		}
		if spec.attach != nil && (spec.leftover == nil || spec.owner == nil) {
			t.Errorf("%s adds to accounts; it must say whose id it has and what is left over", spec.name)
		}
		if spec.readID != nil && spec.owner == nil {
			t.Errorf("%s may lie under two ids and does not say which one counts", spec.name)
		}
	}
}

// TestNewGeneration adds a generation with a table of its own, as a new core would bring:
// every question is answered as for the generation before, and the table is read.
func TestNewGeneration(t *testing.T) { //nolint:paralleltest // it changes what all tests share
	const name = "modelled-12.0-migrated"
	before := inMemory(t, name)
	want, err := before.accountsOf(t, "public")
	if err != nil {
		t.Fatal(err)
	}
	oldSchema, oldGenerations := schema, generations
	t.Cleanup(func() { schema, generations = oldSchema, oldGenerations })
	generations = append(slices.Clone(generations), generations[0])
	generations[len(generations)-1].name, generations[len(generations)-1].since = "G6", core(13, 0)
	schema = append(slices.Clone(schema), tableSpec{
		name: "user_phones", role: roleAccount, since: core(13, 0), key: "user_id", owner: visible,
		columns: carried(appID, userID, "phone_number varchar(256)"),
		readID: func(b *binding) func(*idRows, [][]byte) error {
			phone := b.at("phone_number")
			return func(p *idRows, v [][]byte) error {
				p.metadata = append([]byte(nil), v[phone]...)
				return nil
			}
		},
		attach: func(_ *assembler, out *canonical.User, p *idRows) {
			if p.metadata != nil && !strings.HasPrefix(string(p.metadata), "{") {
				out.Metadata = p.metadata
			}
		},
		leftover: func(*idRows) int { return 0 },
	})
	after := *before
	phones := &relation{schema: "public", name: "user_phones", readable: true, columns: []string{"app_id", "user_id", "phone_number"}}
	all := *before.of
	all.tables = append(slices.Clone(all.tables), phones)
	after.of = &all
	got, err := after.accountsOf(t, "public")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(want, got) {
		t.Error("an empty table of a new generation changes accounts")
	}
	l, err := look(t, &all, Options{})
	if err != nil || l.Generation.String() != "G6" || !l.Generation.tenantsMigrate() || !l.Generation.links() {
		t.Errorf("generation %v, %v", l, err)
	}
	users, _ := read(t, Options{Dump: fixture.Dump(t, name)})
	rows := map[*relation][][][]byte{}
	for r, of := range before.rows {
		rows[r] = of
	}
	id := ""
	for _, u := range users {
		if u.ID != u.InternalID && u.Metadata == nil {
			id = u.ID
		}
	}
	rows[phones] = [][][]byte{{[]byte("public"), []byte(id), []byte(`"+1"`)}}
	after.rows = rows
	got, err = after.accountsOf(t, "public")
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for i := range got {
		if got[i] != want[i] {
			changed++
			if !strings.Contains(got[i], `"+1"`) {
				t.Errorf("another account has changed: %s", got[i])
			}
		}
	}
	if changed != 1 {
		t.Errorf("%d accounts have changed, want the one with a phone number", changed)
	}
	if _, err := after.hide(before.of.find("public", "user_metadata")).accountsOf(t, "public"); err == nil || !strings.Contains(err.Error(), "core 13.0") {
		t.Errorf("a part of the new generation: %v", err)
	}
	if got := fmt.Sprint(generationOf(core(13, 2))); got != "G6" {
		t.Errorf("core 13.2 is %s", got)
	}
}

func TestCores(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"G0": "core 1-2", "G1a": "core 3.0", "G1b": "core 3.1-3.2", "G1c": "core 3.3-3.4", "G2": "core 3.5-5",
		"G3": "core 6", "G4": "core 7-11", "G5": "core 12.0", "G5'": "core 12.1 and newer",
	} {
		var g Generation
		if err := g.UnmarshalText([]byte(name)); err != nil || g.Cores() != want {
			t.Errorf("%s is %q, %v; want %q", name, g.Cores(), err, want)
		}
	}
	if err := new(Generation).UnmarshalText([]byte("G9")); err == nil || !strings.Contains(err.Error(), "G1a") {
		t.Errorf("a generation that is none: %v", err)
	}
}
