package sqltarget

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// model is the declared tables, compiled.
type model struct {
	tables []*table
	fields map[string]bool // of the account, that some column uses
}

// table is one declaration. Several may be of one table of the database.
type table struct {
	Table
	at      int
	columns []*column
	key     []*column
	account *column // holds the id of the account
	when    *source
	id      string // tells its rows from those of other declarations, in names of fields
}

// column is one column of a declaration.
type column struct {
	name     string
	source   source
	constant value
	fixed    bool // it gets a constant
	once     bool
	secret   bool
	gone     any         // what it gets when the account is switched off, nil when it stays
	free     any         // what it gets then where another account wants its value
	personal bool        // it holds the password, which the person can choose anew at the target
	password bool        // it holds the password or says something about it
	held     *heldColumn // as the database has it; nil until the catalogue is read
}

// compared says that a difference in it is one of the account.
func (c *column) compared() bool { return !c.once }

func compile(declared []Table) (*model, sdk.Diagnostics) {
	m := &model{fields: map[string]bool{}}
	var l sdk.Diagnostics
	seen := map[string]int{}
	for n := range declared {
		t := &table{Table: declared[n], at: n}
		bad := func(summary string, steps ...string) {
			l.Add(sdk.Diagnostic{
				Code: sdk.CodeInvalidValue, Path: sdk.Pointer(append([]string{"tables", strconv.Itoa(n)}, steps...)...),
				Summary: fmt.Sprintf("table %s: %s", t.Name, summary),
			})
		}
		t.id = t.Name
		if t.Per != perAccount {
			t.id += "(" + t.Per + ")"
		}
		if seen[t.id]++; seen[t.id] > 1 {
			t.id += strconv.Itoa(seen[t.id])
		}
		if n == 0 && t.Per != perAccount {
			bad("the first table must be that of the accounts", "per")
		}
		if len(t.Key) == 0 || n == 0 && len(t.Key) != 1 {
			bad("it needs a key; in the first table this is one column, the id", "key")
			continue
		}
		t.compileColumns(bad)
		owner := t.Account
		if n == 0 && owner == "" {
			owner = t.Key[0]
		}
		for _, c := range t.columns {
			if c.name == owner {
				t.account = c
			}
			for _, f := range c.source.uses {
				m.fields[f] = true
			}
		}
		if t.account == nil {
			bad("account must name the column with the id of the account, and it must be one of the columns", "account")
		}
		for _, name := range t.Key {
			at := slices.IndexFunc(t.columns, func(c *column) bool { return c.name == name })
			if at < 0 || t.columns[at].once {
				bad(fmt.Sprintf("the key %s must be one of the columns, and must not have once", name), "key")
				continue
			}
			t.key = append(t.key, t.columns[at])
		}
		if t.When != "" {
			s, problem := compileCEL(t.When, t.Per)
			if problem != "" {
				bad(problem, "when")
			}
			t.when = &s
		}
		m.tables = append(m.tables, t)
	}
	return m, l
}

// hashes are the fields that hold one.
var hashes = regexp.MustCompile(`\b(password_hash|password\.hash|login\.hash)\b`)

func (t *table) compileColumns(bad func(summary string, steps ...string)) {
	for _, name := range sortedKeys(t.Columns) {
		declared := t.Columns[name]
		c := &column{name: name, once: declared.Once, secret: declared.Secret, gone: declared.Gone, free: declared.Free}
		var problem string
		if c.source, problem = compileColumn(&declared, t.Per); problem != "" {
			bad(problem, "columns", name)
			c.source = source{eval: func(*item) (any, error) { return nil, nil }}
		}
		c.fixed = declared.Value != nil
		text := declared.Field + " " + declared.Template + " " + declared.CEL
		c.personal, c.password = hashes.MatchString(text), ofPassword.MatchString(text)
		c.secret = c.secret || c.personal || strings.Contains(text, "authenticator.secret")
		if (c.gone != nil || c.free != nil) && (c.once || c.secret || t.Per != perAccount || slices.Contains(t.Key, name)) {
			bad("gone and free are only for columns of tables per account that are compared and are not a key", "columns", name)
		}
		t.columns = append(t.columns, c)
	}
}

// disables says that a column switches accounts off.
func (m *model) disables() bool {
	return slices.ContainsFunc(m.tables, func(t *table) bool {
		return slices.ContainsFunc(t.columns, func(c *column) bool { return c.gone != nil })
	})
}

// accounts is the table that has them.
func (m *model) accounts() *table { return m.tables[0] }

// passwords says that there is a place for hashes.
func (m *model) passwords() bool {
	return slices.ContainsFunc(m.tables, func(t *table) bool {
		return slices.ContainsFunc(t.columns, func(c *column) bool { return c.personal })
	})
}

// usernames says that a column holds the user name, and nothing else in its place.
func (m *model) usernames() bool {
	return slices.ContainsFunc(m.tables[0].columns, func(c *column) bool { return slices.Equal(c.source.uses, []string{"username"}) })
}

func (m *model) uses(field string) bool { return m.fields[field] }

// features are the parts of an account for which there is a place.
func (m *model) features() []sdk.Feature {
	out := []sdk.Feature{sdk.CarriesID}
	add := func(f sdk.Feature) {
		if f != "" && !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	for _, name := range sortedKeys(m.fields) {
		add(accountFields[name].feature)
	}
	for _, t := range m.tables {
		add(partFeatures[t.Per])
	}
	if m.fields["phone_verified"] && !m.fields["phone"] {
		out = slices.DeleteFunc(out, func(f sdk.Feature) bool { return f == sdk.CarriesPhone })
	}
	return out
}

// row is one row, wanted or held.
type row struct {
	table  *table
	key    string   // of its key columns, within the account
	values []value  // by column
	names  []string // of its fields, by column; see [row.fields]
}

// keyOf joins the key columns, so that no two keys look the same.
func (t *table) keyOf(values []value) string {
	var b strings.Builder
	for i, c := range t.columns {
		if slices.Contains(t.key, c) {
			b.WriteString(strconv.Quote(values[i].text))
		}
	}
	return b.String()
}

// at is the index of a column by its name, -1 where it is not declared.
func (t *table) index(name string) int {
	return slices.IndexFunc(t.columns, func(c *column) bool { return c.name == name })
}

// field is the name of a field of a row, for states and comparisons.
func (r *row) field(c *column) string { return r.table.id + "\x00" + r.key + "\x00" + c.name }

// fields are the names of all fields of a row, by column.
func (r *row) fields() []string {
	if r.names == nil {
		r.names = make([]string, len(r.table.columns))
		for i, c := range r.table.columns {
			r.names[i] = r.field(c)
		}
	}
	return r.names
}
