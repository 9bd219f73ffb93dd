package supertokens

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// memory is a source in memory, from which tables and rows can be taken.
type memory struct {
	of   *catalog
	rows map[*relation][][][]byte
	// without hides tables, drop rows of those that are left.
	without map[*relation]bool
	drop    func(r *relation, row int) bool
}

var loaded sync.Map // by the paths of dumps

// inMemory loads a fixture once.
func inMemory(t *testing.T, name string) *memory {
	t.Helper()
	return loadedFrom(t, fixture.Dump(t, name))
}

// loadedFrom loads a dump once.
func loadedFrom(t *testing.T, path string) *memory {
	t.Helper()
	load := func() (*memory, error) {
		d, err := openStore(context.Background(), Options{Dump: path})
		if err != nil {
			return nil, err
		}
		defer func() { _ = d.close() }()
		m := &memory{rows: map[*relation][][][]byte{}}
		if m.of, err = d.catalog(context.Background()); err != nil {
			return nil, err
		}
		for _, r := range m.of.tables {
			err := d.scan(context.Background(), r, "", r.columns, func(v [][]byte) error {
				row := make([][]byte, len(v))
				for i := range v {
					row[i] = slices.Clone(v[i])
				}
				m.rows[r] = append(m.rows[r], row)
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		return m, nil
	}
	once, _ := loaded.LoadOrStore(path, sync.OnceValues(load))
	m, err := once.(func() (*memory, error))()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *memory) catalog(context.Context) (*catalog, error) { return m.listed(), nil }

func (m *memory) listed() *catalog {
	out := *m.of
	out.tables = slices.DeleteFunc(slices.Clone(m.of.tables), func(r *relation) bool { return m.without[r] })
	return &out
}

func (m *memory) scan(_ context.Context, r *relation, app string, columns []string, row func([][]byte) error) error {
	out := make([][]byte, len(columns))
	at := slices.Index(r.columns, appColumn)
	for n, v := range m.rows[r] {
		if m.drop != nil && m.drop(r, n) || app != "" && at >= 0 && string(v[at]) != app {
			continue
		}
		for i, c := range columns {
			out[i] = nil
			if p := slices.Index(r.columns, c); p >= 0 {
				out[i] = v[p]
			}
		}
		if err := row(out); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) countBy(ctx context.Context, r *relation, column string) (map[string]int, error) {
	out := map[string]int{}
	err := m.scan(ctx, r, "", []string{column}, func(v [][]byte) error {
		out[string(v[0])]++
		return nil
	})
	return out, err
}

func (m *memory) memberships(ctx context.Context, r *relation, app string) (memberships, error) {
	return sumMemberships(ctx, m, r, app)
}

func (m *memory) countRows(ctx context.Context, r *relation, app string) (n int, err error) {
	err = m.scan(ctx, r, app, nil, func([][]byte) error {
		n++
		return nil
	})
	return n, err
}

func (m *memory) hasRows(ctx context.Context, r *relation) (bool, error) {
	n, err := m.countRows(ctx, r, "")
	return n > 0, err
}

func (m *memory) close() error { return nil }

// hide is the same source without tables.
func (m *memory) hide(tables ...*relation) *memory {
	out := *m
	out.without = map[*relation]bool{}
	for _, r := range tables {
		out.without[r] = true
	}
	return &out
}

// accountsOf reads an app.
func (m *memory) accountsOf(t *testing.T, app string) ([]string, error) {
	t.Helper()
	s, err := openIn(t.Context(), m, Options{App: app})
	if err != nil {
		return nil, err
	}
	var lines []string
	err = s.Read(t.Context(), func(b Batch) error {
		for i := range b.Users {
			line, err := b.Users[i].RevealJSON()
			if err != nil {
				return err
			}
			lines = append(lines, string(line))
		}
		return nil
	})
	return lines, errors.Join(err, s.Close())
}

// coreNames are the core's names of tables of a fixture.
func coreNames(t *testing.T, m *memory) map[*relation]TableName {
	t.Helper()
	l, err := find(t.Context(), m.of, m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[*relation]TableName{}
	for name, r := range l.tables {
		out[r] = name
	}
	return out
}

// TestTablesLeftOut takes every table away, every pair of them, and triples: what is
// left is refused, with the name of a table that is missing, or gives the same accounts.
// The race detector sees a part of the pairs and triples; "make test-work" tries all.
func TestTablesLeftOut(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "reads each source once for every part of it")
	for _, name := range fixture.Names(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leaveTablesOut(t, inMemory(t, name), readTruth(t, name), 500)
		})
	}
}

// leaveTablesOut reads a source without each table, each pair of them, and so many triples.
func leaveTablesOut(t *testing.T, m *memory, tr truth, triples int) {
	t.Helper()
	names := coreNames(t, m)
	want := map[string][]string{}
	for _, app := range tr.Apps {
		lines, err := m.accountsOf(t, app.AppID)
		if err != nil {
			t.Fatalf("whole: %v", err)
		}
		want[app.AppID] = lines
	}
	refused, same := 0, 0
	try := func(gone ...*relation) {
		var missing []string
		for _, r := range gone {
			missing = append(missing, string(names[r]))
		}
		part := m.hide(gone...)
		for app, whole := range want {
			got, err := part.accountsOf(t, app)
			switch {
			case err == nil && slices.Equal(whole, got):
				same++
			case err == nil:
				t.Errorf("without %v, app %s (-whole +part):\n%.1500s", missing, app, gocmp.Diff(whole, got))
			case !slices.ContainsFunc(missing, func(table string) bool { return table != "" && strings.Contains(err.Error(), table) }):
				t.Errorf("without %v, app %s: the error names none of them: %v", missing, app, err)
			default:
				refused++
			}
			if t.Failed() {
				return
			}
		}
	}
	all := m.of.tables
	random := rand.New(rand.NewPCG(16, uint64(len(all))))
	few := func() bool { return testenv.Raced && random.IntN(20) > 0 }
	for i := range all {
		try(all[i])
		for j := range i {
			if !few() && !t.Failed() {
				try(all[i], all[j])
			}
		}
	}
	for range triples {
		order := random.Perm(len(all))
		if !few() && !t.Failed() && len(all) > 3 {
			try(all[order[0]], all[order[1]], all[order[2]])
		}
	}
	t.Logf("%d tables: %d times refused, %d times the same accounts", len(all), refused, same)
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// provenTables are those whose rows other tables prove.
var provenTables = []TableName{Spine, EmailPasswordUsers, ThirdPartyUsers, PasswordlessUsers, WebAuthnUsers, UserIndex}

// TestRowsLeftOut takes rows away at random from tables that others refer to: what is
// left is refused, or gives the same accounts.
func TestRowsLeftOut(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "reads each source once for every row of it")
	for _, name := range fixture.Names(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := inMemory(t, name)
			names := coreNames(t, m)
			whole, err := m.accountsOf(t, "public")
			if err != nil {
				t.Fatal(err)
			}
			refused := 0
			for r, table := range names {
				if !slices.Contains(provenTables, table) {
					continue
				}
				for n, v := range m.rows[r] {
					if testenv.Raced && n%10 > 0 {
						continue
					}
					if at := slices.Index(r.columns, appColumn); at >= 0 && string(v[at]) != "public" {
						continue
					}
					part := *m
					part.drop = func(of *relation, row int) bool { return of == r && row == n }
					got, err := part.accountsOf(t, "public")
					switch {
					case err == nil && slices.Equal(whole, got):
					case err == nil && generationWithoutList(t, m):
						// Nothing else names a user of these cores.
					case err == nil:
						t.Fatalf("without row %d of %s (-whole +part):\n%.1500s", n, table, gocmp.Diff(whole, got))
					case errors.As(err, new(*IncompleteError)):
						refused++
					default:
						t.Fatalf("without row %d of %s: %v", n, table, err)
					}
				}
			}
			t.Logf("refused %d times", refused)
			if refused == 0 {
				t.Error("nothing was refused")
			}
		})
	}
}

func generationWithoutList(t *testing.T, m *memory) bool {
	t.Helper()
	l, err := lookInto(t, m.of, m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return !l.Generation.indexesUsers()
}

// TestPartsOfADump: dumps of a few tables of core 5.0 are refused, and the message names
// what is missing and what proves it.
func TestPartsOfADump(t *testing.T) {
	t.Parallel()
	for name, says := range map[string][]string{
		"s1-partial-g2-one-table.sql":   {"thirdparty_users", "core 4.0"},
		"s1-partial-g2-four-tables.sql": {"userid_mapping"},
		"s1-partial-g2-five-tables.sql": {"userid_mapping", "user_metadata"},
	} {
		err := readError(t, Options{Dump: cases + "/" + name})
		if !errors.As(err, new(*IncompleteError)) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, s := range says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %q is not in %v", name, s, err)
			}
		}
	}
}

// TestReservationTablesLeftOut: core 12 without its new tables is refused once it has
// filled them, and is one of core 11 where only the columns have been added.
func TestReservationTablesLeftOut(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"modelled-12.0-migrated": "", "modelled-12.0-legacy": "G4"} {
		m := inMemory(t, name)
		var gone []*relation
		for _, r := range m.of.tables {
			if slices.Contains([]string{"recipe_user_account_infos", "recipe_user_tenants", "primary_user_tenants"}, r.name) {
				gone = append(gone, r)
			}
		}
		l, err := lookInto(t, m.hide(gone...).listed(), m.hide(gone...), Options{})
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), string(RecipeUserTenants))):
			t.Errorf("%s: %v", name, err)
		case want != "" && (err != nil || l.Generation.String() != want):
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
}

// TestMigrationModeThatCannotBe: what is told contradicts the tables.
func TestMigrationModeThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ fixture, mode string }{
		{"modelled-12.0-legacy", "MIGRATED"},
		{"modelled-12.0-migrated", "LEGACY"},
		{"modelled-12.0-migrated", "DUAL_WRITE_READ_OLD"},
		{"core-10.1.4", "MIGRATED"},
	} {
		err := readError(t, Options{Dump: fixture.Dump(t, tt.fixture), MigrationMode: tt.mode})
		gap, ok := errors.AsType[*IncompleteError](err)
		if !ok || gap.Gaps[0].Code != GapMode || !strings.Contains(err.Error(), tt.mode) {
			t.Errorf("%s told to be %s: %v", tt.fixture, tt.mode, err)
		}
	}
}

// TestIndexLosesOneAndItsCopyAnother: the numbers of rows are the same, and the rows are
// not.
func TestIndexLosesOneAndItsCopyAnother(t *testing.T) {
	t.Parallel()
	const lost = "DELETE FROM all_auth_recipe_users WHERE app_id = 'public' AND user_id = (SELECT min(user_id) FROM emailpassword_user_to_tenant WHERE app_id = 'public');" +
		"DELETE FROM emailpassword_user_to_tenant WHERE app_id = 'public' AND user_id = (SELECT max(user_id) FROM emailpassword_user_to_tenant WHERE app_id = 'public');"
	dsn := twist(t, "core-9.3.0", "ALTER TABLE emailpassword_user_to_tenant DROP CONSTRAINT emailpassword_user_to_tenant_user_id_fkey;"+lost)
	for name, o := range map[string]Options{"live": {URL: canonical.NewSecret(dsn)}, "dump": {Dump: dumpOf(t, dsn)}} {
		err := readError(t, o)
		gap, ok := errors.AsType[*IncompleteError](err)
		if !ok || gap.Gaps[0].Table != UserIndex || gap.Gaps[0].Count == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCore10WithoutWebAuthn: the list of users names logins whose tables are all gone.
func TestCore10WithoutWebAuthn(t *testing.T) {
	t.Parallel()
	m := inMemory(t, "core-10.1.4")
	var gone []*relation
	for _, r := range m.of.tables {
		if strings.HasPrefix(r.name, "webauthn") {
			gone = append(gone, r)
		}
	}
	_, err := m.hide(gone...).accountsOf(t, "public")
	gap, ok := errors.AsType[*IncompleteError](err)
	if !ok || gap.Gaps[0].Code != GapTable || gap.Gaps[0].Table != WebAuthnUsers || gap.Gaps[0].Count != 3 {
		t.Errorf("error %v", err)
	}
}

// TestDumpUnderRowSecurity: the dump says itself that rows may be missing.
func TestDumpUnderRowSecurity(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(fixture.Dump(t, "core-10.1.4"))
	if err != nil {
		t.Fatal(err)
	}
	hidden := strings.Replace(string(raw), "SET row_security = off;", "SET row_security = on;", 1)
	path := filepath.Join(t.TempDir(), "hidden.sql")
	if hidden == string(raw) || os.WriteFile(path, []byte(hidden), 0o600) != nil {
		t.Fatal("no dump was made")
	}
	err = readError(t, Options{Dump: path})
	if gap, ok := errors.AsType[*IncompleteError](err); !ok || gap.Gaps[0].Code != GapRowSecurity || !strings.Contains(err.Error(), "--enable-row-security") {
		t.Errorf("error %v", err)
	}
	users, findings := read(t, Options{Dump: path, AcceptIncomplete: []GapCode{GapRowSecurity}})
	if len(users) == 0 || finding(findings, WarnIncomplete).Count != 1 {
		t.Errorf("accepted: %d users, %v", len(users), findings)
	}
}
