package supertokens

import (
	"errors"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/canonical"
)

// TestViewInPlaceOfATable is named for what it is: it may leave rows out, so it is not
// read, and the table is not called missing.
func TestViewInPlaceOfATable(t *testing.T) {
	t.Parallel()
	replace := func(table, kind, name string) string {
		return "ALTER TABLE " + table + " RENAME TO " + name + "; CREATE " + kind + " " + table + " AS SELECT * FROM " + name + ";"
	}
	for name, tt := range map[string]struct {
		fixture, sql string
		o            Options
		table        TableName
		is           error
		says         []string
	}{
		"a table that has one name": {
			fixture: "core-9.3.0", sql: replace("userid_mapping", "VIEW", "mapping_data"), table: UserIDMapping,
			says: []string{"public.userid_mapping is a view", "give that name to the table itself"},
		},
		"whose content is stored": {
			fixture: "core-9.3.0", sql: replace("userid_mapping", "MATERIALIZED VIEW", "mapping_data"), table: UserIDMapping,
			says: []string{"public.userid_mapping is a"},
		},
		// What is left proves no core that makes this table; the view does.
		"beside older tables": {
			fixture: "core-3.3.0", sql: "CREATE VIEW userid_mapping AS SELECT user_id AS supertokens_user_id, user_id AS external_user_id FROM emailpassword_users", table: UserIDMapping,
			says: []string{"public.userid_mapping is a view"},
		},
		"one that is told": {
			fixture: "core-9.3.0", sql: "CREATE VIEW people AS SELECT * FROM thirdparty_users", o: Options{Tables: map[string]string{"thirdparty_users": "people"}},
			says: []string{"source.tables.thirdparty_users", "public.people is a view", "name the table behind it"},
		},
		"all of them": {
			fixture: "core-9.3.0", is: ErrNotSuperTokens, o: Options{Schema: "shown"},
			sql:  "CREATE SCHEMA shown; CREATE VIEW shown.emailpassword_users AS SELECT * FROM public.emailpassword_users; CREATE VIEW shown.app_id_to_user_id AS SELECT * FROM public.app_id_to_user_id",
			says: []string{"is a view", `"" in schema "public"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := twist(t, tt.fixture, tt.sql)
			live, dump := tt.o, tt.o
			live.URL, dump.Dump = canonical.NewSecret(dsn), dumpOf(t, dsn)
			for kind, o := range map[string]Options{"live": live, "dump": dump} {
				err := readError(t, o)
				if err == nil || tt.is != nil && !errors.Is(err, tt.is) || strings.Contains(err.Error(), "missing") {
					t.Errorf("%s: %v", kind, err)
					continue
				}
				if gap, ok := errors.AsType[*IncompleteError](err); ok != (tt.table != "") || ok && gap.Gaps[0].Table != tt.table {
					t.Errorf("%s: %v", kind, err)
				}
				for _, s := range tt.says {
					if !strings.Contains(err.Error(), s) {
						t.Errorf("%s: %q is not in %v", kind, s, err)
					}
				}
			}
		})
	}
}

// TestViewsOfAnApplication are no matter of a source, whatever they are called.
func TestViewsOfAnApplication(t *testing.T) {
	t.Parallel()
	dsn := twist(t, "core-3.3.0", `CREATE VIEW roles AS SELECT 1 AS id; CREATE VIEW user_roles AS SELECT 1 AS id;
		CREATE VIEW my_users AS SELECT * FROM emailpassword_users; CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM emailpassword_users`)
	if users, _ := read(t, Options{URL: canonical.NewSecret(dsn)}); len(users) == 0 {
		t.Error("nobody was read")
	}
}

// TestNeedOfAView: those who read single tables are told as well.
func TestNeedOfAView(t *testing.T) {
	t.Parallel()
	dsn := twist(t, "core-9.3.0", "ALTER TABLE jwt_signing_keys RENAME TO keys_data; CREATE VIEW jwt_signing_keys AS SELECT * FROM keys_data")
	tables, _ := tablesOf(t, dsn, Options{})
	if _, err := tables.Need(JWTSigningKeys); err == nil || !strings.Contains(err.Error(), "public.jwt_signing_keys is a view") {
		t.Errorf("error %v", err)
	}
}
