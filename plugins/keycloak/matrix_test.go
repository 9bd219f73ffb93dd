//go:build unix && matrix

package keycloak

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// TestServerOnPostgres repeats the widest test on the database that operators use:
// H2 counts lengths and locks rows in its own way.
func TestServerOnPostgres(t *testing.T) {
	t.Parallel()
	opts := withJar
	dsn := postgres.Start(t).CreateDatabase(t, postgres.Database{})
	opts.Postgres = dsn
	s := keycloak.Start(t, opts)
	for i, w := range ways {
		testWhole(t, s, w, 1000+i*400_000)
	}
	testAlike(t, s, func(ids []string) any { return rowsOf(t, dsn, ids) })
	testDeletesTogether(t, s, func(ids []string) map[string]int {
		left := map[string]int{}
		for table, rows := range rowsIn(t, dsn, ids) {
			left[table] = len(rows)
		}
		return left
	})
}

// rowsOf returns the rows of accounts that are there.
func rowsOf(t *testing.T, dsn string, ids []string) map[string][]any {
	t.Helper()
	out := rowsIn(t, dsn, ids)
	for _, table := range []string{"user_entity", "user_attribute", "credential", "user_role_mapping", "user_group_membership", "user_required_action", "federated_identity"} {
		if len(out[table]) == 0 {
			t.Errorf("no rows in %s", table)
		}
	}
	return out
}

// rowsIn returns the rows of accounts in all tables, but for what chance and the clock put
// in.
func rowsIn(t *testing.T, dsn string, ids []string) map[string][]any {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	texts := func(query string, args ...any) []string {
		t.Helper()
		found, err := conn.Query(t.Context(), query, args...)
		if err != nil {
			t.Fatal(err)
		}
		all, err := pgx.CollectRows(found, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	out := map[string][]any{}
	for _, column := range texts(`select table_name || ' ' || column_name from information_schema.columns
		where table_schema = 'public' and (column_name = 'user_id' or table_name = 'user_entity' and column_name = 'id')`) {
		table, name, _ := strings.Cut(column, " ")
		for _, row := range texts("select row_to_json(t)::text from "+table+" t where "+name+" = any($1)", ids) {
			var values map[string]any
			if err := json.Unmarshal([]byte(row), &values); err != nil {
				t.Fatal(err)
			}
			switch {
			case table == "user_attribute":
				delete(values, "id")
			case table == "user_entity":
				delete(values, "last_modified_timestamp")
				if values["email"] == nil {
					delete(values, "email_constraint")
				}
			}
			out[table] = append(out[table], values)
		}
		inOrder(out[table])
	}
	return out
}
