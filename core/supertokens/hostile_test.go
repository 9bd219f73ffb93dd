package supertokens

import (
	"errors"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// TestGhostWithoutLogins: unlinking the last login of an account whose own login was
// deleted leaves a row in the list of users that nothing belongs to. The core does so.
func TestGhostWithoutLogins(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core-7.0.18", "core-10.1.4", "modelled-12.0-migrated"} {
		ghost := ""
		users, _ := read(t, Options{Dump: fixture.Dump(t, name)})
		for id, u := range users {
			if u.GhostPrimary {
				ghost = id
			}
		}
		dsn := twist(t, name, `
UPDATE app_id_to_user_id SET primary_or_recipe_user_id = user_id, is_linked_or_is_a_primary_user = false
WHERE primary_or_recipe_user_id = '`+ghost+`' AND user_id <> '`+ghost+`'`)
		got, findings := read(t, Options{URL: canonical.NewSecret(dsn)})
		if len(got[ghost].Logins) != 0 || len(got) != len(users)+len(users[ghost].Logins) {
			t.Errorf("%s: %d accounts of %d, the ghost has %d logins", name, len(got), len(users), len(got[ghost].Logins))
		}
		if f := finding(findings, WarnNoLogin); f.Count != 1 {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestPartsOfTables: rows may lie in tables that inherit from the core's, or in partitions
// that are called like it. They are read once, live and from a dump.
func TestPartsOfTables(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"core-3.3.0": `
CREATE TABLE archive (since date) INHERITS (thirdparty_users);
WITH old AS (DELETE FROM thirdparty_users WHERE user_id < '8' RETURNING *) INSERT INTO archive SELECT * FROM old;
CREATE TABLE emailpassword_users_old () INHERITS (emailpassword_users);
WITH old AS (DELETE FROM emailpassword_users WHERE user_id < '8' RETURNING *) INSERT INTO emailpassword_users_old SELECT * FROM old;`,
		"core-9.3.0": `
ALTER TABLE emailpassword_users RENAME TO whole;
CREATE TABLE emailpassword_users (LIKE whole) PARTITION BY HASH (user_id);
CREATE TABLE p0_emailpassword_users PARTITION OF emailpassword_users FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE emailpassword_users_p1 PARTITION OF emailpassword_users FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO emailpassword_users SELECT * FROM whole;
DROP TABLE whole;`,
	} {
		want, _, _, _ := export(t, Options{Dump: fixture.Dump(t, name)})
		dsn := fixture.Restore(t, name)
		postgres.Exec(t, dsn, sql)
		for how, o := range map[string]Options{
			"live": {URL: canonical.NewSecret(dsn)}, "plain": {Dump: dumpOf(t, dsn)}, "custom": {Dump: dumpOf(t, dsn, "--format=custom")},
			"INSERT": {Dump: dumpOf(t, dsn, "--inserts")},
		} {
			got, _, _, _ := export(t, o)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s (-whole +in parts):\n%.2000s", name, how, diff)
			}
		}
	}
}

// renamedTo gives tables of a catalog other names, in the manner of an operator who
// renamed them one by one.
func renamedTo(c *catalog, prefix string) (*catalog, map[string]string) {
	told := map[string]string{}
	for _, name := range RenamableTables() {
		c = rename(c, name, prefix+name)
		told[name] = prefix + name
	}
	return c, told
}

// TestRenamedToOnePrefix: the tables that can be renamed were, all to names with the
// same beginning. They are no installation of their own once they are told.
func TestRenamedToOnePrefix(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core-5.0.0", "core-9.3.0"} {
		c, told := renamedTo(fixtureCatalog(t, name), "st_")
		l, err := look(t, c, Options{Tables: told})
		if err != nil || l.TablePrefix != "" || len(l.Renamed) != len(told) {
			t.Errorf("%s, all told: %+v, %v", name, l, err)
		}
		if _, err = look(t, c, Options{}); !errors.Is(err, ErrAmbiguous) || !strings.Contains(err.Error(), "source.tables") {
			t.Errorf("%s, nothing told: %v", name, err)
		}
	}
}

// TestToldTableOfAnother: a table that another installation owns is not mixed in.
func TestToldTableOfAnother(t *testing.T) {
	t.Parallel()
	prefixed := func(name, prefix string) *catalog {
		c := fixtureCatalog(t, name)
		for _, r := range c.tables {
			r.name = prefix + r.name
		}
		return c
	}
	for _, tt := range []struct{ other, table, told string }{
		{"core-3.16.2", "thirdparty_users", "b_thirdparty_users"},
		{"core-3.3.0", "emailverification_verified_emails", "b_emailverification_verified_emails"},
		{"core-5.0.0", "emailpassword_users", "b_dashboard_users"},
	} {
		c := merge(prefixed("core-3.3.0", "a_"), prefixed(tt.other, "b_"))
		o := Options{TablePrefix: ptr("a"), Tables: map[string]string{tt.table: tt.told}}
		if _, err := look(t, c, o); err == nil || !strings.Contains(err.Error(), tt.told) || !strings.Contains(err.Error(), `"b"`) {
			t.Errorf("%s: %v", tt.told, err)
		}
		if _, err := look(t, c, Options{TablePrefix: ptr("a")}); err != nil {
			t.Errorf("nothing told: %v", err)
		}
	}
}
