package supertokens

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// TestTablesOfTheSameShape: applications have tables of the very shape of the core's. Beside
// the first cores they prove nothing.
func TestTablesOfTheSameShape(t *testing.T) {
	t.Parallel()
	table := func(name string, columns ...string) *relation {
		r := &relation{schema: "public", name: name, readable: true}
		for i := 0; i < len(columns); i += 2 {
			r.columns, r.types = append(r.columns, columns[i]), append(r.types, columns[i+1])
		}
		return r
	}
	for name, generation := range map[string]string{"core-3.0.1": "G1a", "core-3.1.0": "G1b", "core-3.3.0": "G1c"} {
		c := fixtureCatalog(t, name)
		c.tables = append(c.tables,
			table("contacts", "user_id", "varchar(128)", "email", "varchar(256)"),
			table("roles", "role", "varchar(255)"),
			table("user_roles", "user_id", "varchar(128)", "role", "varchar(255)"),
			table("user_metadata", "user_id", "varchar(128)", "user_metadata", "text"))
		if l, err := look(t, c, Options{}); err != nil || l.Generation.String() != generation {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
}

// TestWhoseAuthenticators: cores 7 and 8 keep them under different ids, and make the same
// tables. Empty tables of younger cores say nothing about it.
func TestWhoseAuthenticators(t *testing.T) {
	t.Parallel()
	c := fixtureCatalog(t, "core-7.0.18")
	names := map[string]bool{}
	for _, r := range c.tables {
		names[r.name] = true
	}
	for _, r := range freshDatabase(core(11, 3), false).tables {
		if !names[r.name] {
			c.tables = append(c.tables, r)
		}
	}
	if l, err := look(t, c, Options{}); err != nil || keepsTOTPByVisibleID(l) {
		t.Errorf("core 7 with leftovers of core 11: %v, by visible id: %t", err, err == nil && keepsTOTPByVisibleID(l))
	}
	m := inMemory(t, "core-7.0.18")
	part := *m
	whole := *m.of
	whole.withoutIndexes = true
	part.of = &whole
	if _, err := part.accountsOf(t, "public"); err == nil || !strings.Contains(err.Error(), string(TOTPDevices)) {
		t.Errorf("without constraints: %v", err)
	}
	if _, err := m.accountsOf(t, "public"); err != nil {
		t.Errorf("with them: %v", err)
	}
}

// TestSections: what a dump leaves out is held against it only where it could prove
// something.
func TestSections(t *testing.T) {
	t.Parallel()
	for name, whole := range map[string]map[string]bool{
		"core-3.0.1":  {"definitions": false, "data": false},
		"core-3.3.0":  {"definitions": true, "data": false},
		"core-3.16.2": {"definitions": true, "data": true},
	} {
		for kind, want := range whole {
			c := fixtureCatalog(t, name)
			c.withoutIndexes = true
			for _, r := range c.tables {
				r.indexes = nil
				if kind == "data" {
					r.types = nil
				}
			}
			_, err := look(t, c, Options{})
			if (err == nil) != want {
				t.Errorf("%s, %s: %v", name, kind, err)
			}
		}
	}
}

// TestNobodyInATenant: that not one of several logins is in a tenant is no state of an
// installation, but a table without its rows.
func TestNobodyInATenant(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fixture, mode string
		empty         []TableName
		missing       TableName
	}{
		{"core-6.0.13", "", []TableName{UserIndex, EmailPasswordUserToTenant, "thirdparty_user_to_tenant", "passwordless_user_to_tenant"}, UserIndex},
		{"modelled-12.0-legacy", "", []TableName{UserIndex, EmailPasswordUserToTenant, "thirdparty_user_to_tenant", "passwordless_user_to_tenant", "webauthn_user_to_tenant"}, UserIndex},
		{"modelled-12.0-migrated", "", []TableName{UserIndex, RecipeUserTenants}, RecipeUserTenants},
		{"modelled-12.0-migrated", "LEGACY", []TableName{RecipeUserTenants}, RecipeUserTenants},
		{"modelled-12.0-legacy", "DUAL_WRITE_READ_NEW", nil, ""},
	} {
		m := *inMemory(t, tt.fixture)
		m.drop = func(r *relation, _ int) bool { return slices.Contains(tt.empty, TableName(r.name)) }
		s, err := openIn(t.Context(), &m, Options{MigrationMode: tt.mode})
		if err == nil {
			err = s.Read(t.Context(), func(Batch) error { return nil })
		}
		gap, ok := errors.AsType[*IncompleteError](err)
		if !ok || gap.Gaps[0].Table != tt.missing {
			t.Errorf("%s %s without rows of %v: %v", tt.fixture, tt.mode, tt.empty, err)
		}
	}
}

// TestRowSecurityAccepted: an operator may want what the role sees. Tables that say nothing
// of accounts are done without.
func TestRowSecurityAccepted(t *testing.T) {
	t.Parallel()
	dsn := twist(t, "core-10.1.4", `
DO $$ BEGIN CREATE ROLE stetl_partial LOGIN PASSWORD 'partial'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT USAGE ON SCHEMA public TO stetl_partial;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO stetl_partial;
REVOKE SELECT ON totp_users FROM stetl_partial;
ALTER TABLE dashboard_users ENABLE ROW LEVEL SECURITY;
ALTER TABLE emailpassword_user_to_tenant ENABLE ROW LEVEL SECURITY;`)
	t.Cleanup(func() { postgres.Exec(t, dsn, "DROP OWNED BY stetl_partial; DROP ROLE stetl_partial") })
	o := Options{URL: canonical.NewSecret(as(t, dsn, "stetl_partial", "partial"))}
	whole, _ := read(t, o)
	postgres.Exec(t, dsn, `
ALTER TABLE user_metadata ENABLE ROW LEVEL SECURITY;
CREATE POLICY early ON user_metadata FOR SELECT TO stetl_partial USING (user_id < '8')`)
	if err := readError(t, o); err == nil || !strings.Contains(err.Error(), "user_metadata") {
		t.Errorf("not accepted: %v", err)
	}
	o.AcceptIncomplete = []GapCode{GapRowSecurity}
	part, findings := read(t, o)
	if f := finding(findings, WarnIncomplete); len(part) != len(whole) || f.Count != 1 {
		t.Errorf("accepted: %d accounts of %d, %+v", len(part), len(whole), f)
	}
}

// TestNothingStored: NULL and an empty text where every core stores something are reported,
// and nobody is known by an empty id.
func TestNothingStored(t *testing.T) {
	t.Parallel()
	m := *inMemory(t, "core-10.1.4")
	m.rows = maps.Clone(m.rows)
	for _, r := range m.of.tables {
		at := slices.Index(r.columns, map[string]string{"userid_mapping": "external_user_id", "thirdparty_users": "email"}[r.name])
		if at < 0 {
			continue
		}
		rows := slices.Clone(m.rows[r])
		for i := range rows {
			rows[i] = slices.Clone(rows[i])
			rows[i][at] = nil
			if i%2 == 0 {
				rows[i][at] = []byte{}
			}
		}
		m.rows[r] = rows
	}
	s, err := openIn(t.Context(), &m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	social, reported := 0, 0
	err = s.Read(t.Context(), func(b Batch) error {
		for i := range b.Users {
			u := &b.Users[i]
			for _, l := range u.Logins {
				if l.Recipe == canonical.ThirdParty {
					social++
				}
			}
			for _, w := range u.Warnings {
				if w.Code == WarnPlaceholder {
					reported++
				}
			}
			if u.ID != u.InternalID {
				t.Errorf("%s is known as %q", u.InternalID, u.ID)
			}
		}
		return nil
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if social == 0 || reported < social {
		t.Errorf("%d reported, of at least %d", reported, social)
	}
}

// TestAppOnlyInTheList: the app that is asked for has nobody, and the one that has is in
// the list of users only.
func TestAppOnlyInTheList(t *testing.T) {
	t.Parallel()
	m := *inMemory(t, "core-9.3.0")
	m.rows = maps.Clone(m.rows)
	for _, r := range m.of.tables {
		at := slices.Index(r.columns, appColumn)
		var rows [][][]byte
		for _, row := range m.rows[r] {
			if at >= 0 && string(row[at]) != "public" {
				continue
			}
			row = slices.Clone(row)
			if at >= 0 && r.name != string(Apps) && r.name != string(Tenants) && r.name != string(TenantConfigs) {
				row[at] = []byte("unlisted")
			}
			rows = append(rows, row)
		}
		m.rows[r] = rows
	}
	_, err := openIn(t.Context(), &m, Options{})
	if gap, ok := errors.AsType[*IncompleteError](err); !ok || gap.Gaps[0].Code != GapEmptyApp || !strings.Contains(err.Error(), "unlisted") {
		t.Errorf("error %v", err)
	}
}

// TestVerificationNotMoved: a younger core was started on a database of core 3.1, whose
// verified addresses are in a column that it does not look at.
func TestVerificationNotMoved(t *testing.T) {
	t.Parallel()
	m := *inMemory(t, "core-3.1.0")
	all := *m.of
	m.of = &all
	names := map[string]bool{}
	for _, r := range all.tables {
		names[r.name] = true
	}
	for _, r := range freshDatabase(core(5, 0), false).tables {
		if !names[r.name] {
			all.tables = append(slices.Clone(all.tables), r)
		}
	}
	_, err := m.accountsOf(t, "public")
	if gap, ok := errors.AsType[*IncompleteError](err); !ok || gap.Gaps[0].Code != GapUpgrade || gap.Gaps[0].Count != 76 {
		t.Errorf("error %v", err)
	}
}
