package supertokens

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

func TestToldPrefix(t *testing.T) {
	t.Parallel()
	c := fixtureCatalog(t, "core-3.16.2-prefixed") // schema login, prefix auth
	double := inSchema(c, "login", "")
	for _, r := range double.tables {
		r.name = strings.Replace(r.name, "auth_", "auth__", 1)
	}
	social := map[string]string{"thirdparty_users": "social_logins"}
	for name, tt := range map[string]struct {
		catalog *catalog
		prefix  string
		want    string
		says    string
	}{
		"as it is":                   {catalog: c, prefix: "auth", want: "auth"},
		"with the underscore":        {catalog: c, prefix: "auth_", want: "auth"},
		"with the underscore, twice": {catalog: double, prefix: "auth_", want: "auth_"},
		"none":                       {catalog: c, prefix: "", says: `"auth" in schema "login"`},
		"another":                    {catalog: c, prefix: "app", says: `"auth" in schema "login"`},
	} {
		l, err := look(t, tt.catalog, Options{TablePrefix: &tt.prefix, Tables: social})
		switch {
		case tt.says != "" && (!errors.Is(err, ErrNotSuperTokens) || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%s: %v", name, err)
		case tt.says == "" && (err != nil || l.TablePrefix != tt.want):
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
}

// TestToldTables: a table that is told must be of its kind.
func TestToldTables(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ fixture, table, told, says string }{
		"tokens as verified addresses": {"core-5.0.0", "emailverification_verified_emails", "emailverification_tokens", "the core's own table emailverification_tokens"},
		"administrators as users":      {"core-5.0.0", "emailpassword_users", "dashboard_users", "the core's own table dashboard_users"},
		"sessions as users":            {"core-9.3.0", "emailpassword_users", "session_info", "session_info"},
		"a table that is not there":    {"core-9.3.0", "thirdparty_users", "friends", "no such table"},
	} {
		_, err := look(t, fixtureCatalog(t, tt.fixture), Options{Tables: map[string]string{tt.table: tt.told}})
		if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "source.tables."+tt.table) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := fixtureCatalog(t, "core-5.0.0")
	c.tables = append(c.tables, &relation{schema: "public", name: "old tokens", readable: true, columns: []string{"user_id", "email", "token", "token_expiry"}})
	if _, err := look(t, c, Options{Tables: map[string]string{"emailverification_verified_emails": "old tokens"}}); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("a table with other columns: %v", err)
	}
}

// TestApplicationsTablesBeside: tables of an application that are called like the core's
// are told apart by their columns.
func TestApplicationsTablesBeside(t *testing.T) {
	t.Parallel()
	for name, table := range map[string]*relation{
		"roles of its own":        {name: "roles", columns: []string{"id", "name"}, types: []string{"integer", "text"}},
		"roles by another type":   {name: "roles", columns: []string{"role"}, types: []string{"text"}},
		"user_roles":              {name: "user_roles", columns: []string{"user_id", "role_id"}, types: []string{"uuid", "integer"}},
		"user_roles, nearly":      {name: "user_roles", columns: []string{"user_id", "role"}, types: []string{"uuid", "text"}},
		"user_metadata":           {name: "user_metadata", columns: []string{"user_id", "user_metadata"}, types: []string{"uuid", "jsonb"}},
		"user_metadata, with key": {name: "user_metadata", columns: []string{"user_id", "key", "value"}, types: []string{"uuid", "text", "text"}},
		"tenants":                 {name: "tenants", columns: []string{"app_id", "tenant_id", "name"}, types: []string{"integer", "integer", "text"}},
		"subscribers":             {name: "subscribers", columns: []string{"user_id", "email"}, types: []string{"uuid", "text"}},
	} {
		for _, f := range []string{"core-3.0.1", "core-3.3.0", "core-5.0.0", "core-10.1.4"} {
			c := fixtureCatalog(t, f)
			want, err := look(t, c, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if c.find("public", table.name) != nil {
				continue // this core has one itself
			}
			own := *table
			own.schema, own.readable = "public", true
			c.tables = append(c.tables, &own)
			got, err := look(t, c, Options{})
			if err != nil || got.Generation != want.Generation || slices.Contains(values(got.tables), &own) {
				t.Errorf("%s beside %s: %v, %v", name, f, got, err)
			}
		}
	}
}

func values(m map[TableName]*relation) (out []*relation) {
	for _, r := range m {
		out = append(out, r)
	}
	return out
}

// TestTwoInstallations stop the program and are listed with how many rows they have.
func TestTwoInstallations(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		catalog *catalog
		says    []string
	}{
		"another schema": {merge(fixtureCatalog(t, "core-9.3.0"), inSchema(fixtureCatalog(t, "core-5.0.0"), "old", "")), []string{`schema "old"`, `schema "public"`, "rows)"}},
		"another prefix": {merge(fixtureCatalog(t, "core-9.3.0"), inSchema(fixtureCatalog(t, "core-5.0.0"), "public", "old_")), []string{`table_prefix "old"`, `table_prefix ""`}},
		"another prefix without a users table": {
			merge(fixtureCatalog(t, "core-9.3.0"), without(inSchema(fixtureCatalog(t, "core-5.0.0"), "public", "old_"), "old_emailpassword_users")),
			[]string{`table_prefix "old"`},
		},
		"a renamed users table": {
			merge(fixtureCatalog(t, "core-9.3.0"), rename(onlyOne(fixtureCatalog(t, "core-9.3.0"), "emailpassword_users"), "emailpassword_users", "people")),
			[]string{"people", "emailpassword_users", "source.tables.emailpassword_users"},
		},
	} {
		_, err := look(t, tt.catalog, Options{})
		if !errors.Is(err, ErrAmbiguous) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, s := range tt.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %q is not in %v", name, s, err)
			}
		}
	}
}

func onlyOne(c *catalog, name string) *catalog {
	return &catalog{where: c.where, tables: []*relation{c.find("public", name)}}
}

// TestEmptyApp: the chosen app has nobody, and another has.
func TestEmptyApp(t *testing.T) {
	t.Parallel()
	m := *inMemory(t, "core-9.3.0")
	m.drop = func(r *relation, row int) bool {
		at := slices.Index(r.columns, appColumn)
		return at >= 0 && string(m.rows[r][row][at]) == "public" && r.name != "apps" && r.name != "tenants"
	}
	_, err := m.accountsOf(t, "public")
	gap, ok := errors.AsType[*IncompleteError](err)
	if !ok || gap.Gaps[0].Code != GapEmptyApp || !strings.Contains(err.Error(), "shop") {
		t.Errorf("error %v", err)
	}
	if lines, err := m.accountsOf(t, "shop"); err != nil || len(lines) == 0 {
		t.Errorf("%d accounts of the other app, %v", len(lines), err)
	}
	s, err := openIn(t.Context(), &m, Options{App: "public", AcceptIncomplete: []GapCode{GapEmptyApp}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if c, _ := s.Completeness(); c.Whole {
		t.Error("what was accepted counts as whole")
	}
}

// FuzzFind puts real tables into schemas, under prefixes and under other names, beside
// tables of an application: whatever is found is of one place, and complete or refused.
func FuzzFind(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 4))
		all := fixture.Names(t)
		m := inMemory(t, all[random.IntN(len(all))])
		c := &catalog{where: "here"}
		place := func() (schema, prefix string) {
			return []string{"public", "login", "old"}[random.IntN(3)], []string{"", "auth_", "a_b_", "roles_"}[random.IntN(4)]
		}
		sch, prefix := place()
		for _, r := range m.of.tables {
			moved := *r
			moved.schema, moved.name = sch, prefix+r.name
			switch random.IntN(40) {
			case 0:
				continue
			case 1:
				moved.name = "other " + r.name
			case 2:
				moved.schema, moved.name = place()
				moved.name += r.name
			case 3:
				moved.columns, moved.types = slices.Clone(r.columns[1:]), nil
			}
			c.tables = append(c.tables, &moved)
		}
		random.Shuffle(len(c.tables), func(i, j int) { c.tables[i], c.tables[j] = c.tables[j], c.tables[i] })
		l, gaps, err := detect(t.Context(), c, content{}, Options{})
		if err != nil || len(gaps) > 0 {
			return
		}
		for name, r := range l.tables {
			if r.schema != l.Schema || r.name != l.called(name) && l.Renamed[string(name)] != r.name {
				t.Errorf("seed %d: %s is %s.%s in schema %q under prefix %q", seed, name, r.schema, r.name, l.Schema, l.TablePrefix)
			}
			if !specOf(name).fits(r) {
				t.Errorf("seed %d: %s has not the columns of %s", seed, r.name, name)
			}
		}
		again, _, err := detect(t.Context(), c, content{}, Options{Schema: l.Schema, TablePrefix: &l.TablePrefix, Tables: l.Renamed})
		if err != nil {
			t.Errorf("seed %d: what was found cannot be told: %v", seed, err)
			return
		}
		if diff := gocmp.Diff(l.Renamed, again.Renamed); diff != "" || again.Generation != l.Generation {
			t.Errorf("seed %d: told, it is another one: %s", seed, diff)
		}
	})
}

// TestMisfit: a table of the right name says in what it differs.
func TestMisfit(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*relation){
		"no column user_metadata": func(r *relation) {
			r.columns, r.types = []string{"app_id", "user_id", "data"}, []string{"varchar(64)", "varchar(128)", "text"}
		},
		"user_metadata is of type jsonb, where cores have text": func(r *relation) {
			r.types = slices.Clone(r.types)
			r.types[slices.Index(r.columns, "user_metadata")] = "jsonb"
		},
	} {
		c := fixtureCatalog(t, "core-9.3.0")
		change(c.find("public", "user_metadata"))
		if _, err := look(t, c, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	_, err := look(t, without(fixtureCatalog(t, "core-9.3.0"), "app_id_to_user_id"), Options{})
	if gap, ok := errors.AsType[*IncompleteError](err); !ok || gap.Readable() {
		t.Errorf("without the list of users: %v", err)
	}
}

// TestCopyOfATable: a copy of one table stops nobody, if it can be nothing but a copy.
func TestCopyOfATable(t *testing.T) {
	t.Parallel()
	// beside is a fixture with a table of another one, under another name.
	beside := func(main, other, table, schema, name string) *catalog {
		c, r := fixtureCatalog(t, main), *fixtureCatalog(t, other).find("public", table)
		r.schema, r.name = schema, name
		c.tables = append(c.tables, &r)
		return c
	}
	more := func(c *catalog, of, table, name string) *catalog {
		r := *fixtureCatalog(t, of).find("public", table)
		r.name = name
		c.tables = append(c.tables, &r)
		return c
	}
	const users, backup = "emailpassword_users", "backup_emailpassword_users"
	for name, tt := range map[string]struct {
		catalog *catalog
		empty   []string
		copy    bool
	}{
		"a copy":                           {beside("core-9.3.0", "core-9.3.0", users, "public", backup), nil, true},
		"of an older core":                 {beside("core-9.3.0", "core-5.0.0", users, "public", backup), nil, true},
		"of another table":                 {beside("core-9.3.0", "core-9.3.0", "app_id_to_user_id", "public", "old_app_id_to_user_id"), nil, true},
		"in another schema":                {beside("core-9.3.0", "core-9.3.0", users, "backup", users), nil, true},
		"both without rows":                {beside("core-9.3.0", "core-9.3.0", users, "public", backup), []string{users, backup}, true},
		"with rows that the table has not": {beside("core-9.3.0", "core-9.3.0", users, "public", backup), []string{users}, false},
		"beside another table of its own":  {more(beside("core-9.3.0", "core-9.3.0", users, "public", backup), "core-9.3.0", "thirdparty_users", "backup_thirdparty_users"), nil, false},
		"renamed from the table itself":    {without(beside("core-9.3.0", "core-9.3.0", users, "public", backup), users), nil, false},
		// All that core 3.0 makes could be there under other names.
		"beside what may be the rest of it": {
			more(more(more(beside("core-9.3.0", "core-3.0.1", users, "public", backup), "core-3.0.1", "key_value", "kv"), "core-3.0.1", "session_info", "si"),
				"core-3.0.1", "emailpassword_pswd_reset_tokens", "rt"),
			nil, false,
		},
	} {
		rows := content{empty: map[*relation]bool{}}
		for _, r := range tt.catalog.tables {
			rows.empty[r] = slices.Contains(tt.empty, r.name)
		}
		l, _, err := detect(t.Context(), tt.catalog, rows, Options{})
		switch {
		case tt.copy && (err != nil || l.TablePrefix != "" || l.Schema != "public" || len(l.copies) != 1):
			t.Errorf("%s: %+v, %v", name, l, err)
		case !tt.copy && err == nil && len(l.copies) > 0:
			t.Errorf("%s: taken for a copy", name)
		}
		if !tt.copy && name != "renamed from the table itself" && !errors.Is(err, ErrAmbiguous) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCopyIsListed: whoever keeps a copy reads the installation, and is told of the copy.
func TestCopyIsListed(t *testing.T) {
	t.Parallel()
	o := Options{URL: canonical.NewSecret(twist(t, "core-9.3.0", "CREATE TABLE backup_emailpassword_users AS SELECT * FROM emailpassword_users"))}
	if users, findings := read(t, o); len(users) == 0 || finding(findings, WarnTableCopy).Examples[0] != "public.backup_emailpassword_users" {
		t.Errorf("%d users, %v", len(users), findings)
	}
	_, list, err := Installations(t.Context(), o)
	if err != nil || len(list) != 2 || list[0].Problem != "" || list[1].TablePrefix != "backup" || !strings.Contains(list[1].Problem, "backup_emailpassword_users") {
		t.Errorf("%+v, %v", list, err)
	}
	o.TablePrefix = ptr("backup") // what is told counts
	if err := readError(t, o); err == nil || !strings.Contains(err.Error(), "backup_emailpassword_users") {
		t.Errorf("told: %v", err)
	}
}
