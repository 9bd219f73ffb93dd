package supertokens

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/canonical"
)

// TestModeIsJudgedAlike: what a run refuses of a migration mode, those who ask for single
// accounts refuse as well, with the same figures.
func TestModeIsJudgedAlike(t *testing.T) {
	t.Parallel()
	const migrated, legacy = "modelled-12.0-migrated", "modelled-12.0-legacy"
	for name, tt := range map[string]struct{ fixture, sql string }{
		"migrated":           {migrated, untold},
		"legacy":             {legacy, untold},
		"core 10":            {"core-10.1.4", ""},
		"drifted":            {migrated, untold + driftSQL},
		"one not backfilled": {migrated, untold + `UPDATE app_id_to_user_id SET time_joined = 0 WHERE user_id = (SELECT max(user_id) FROM emailpassword_users WHERE app_id = 'public')`},
		"not one":            {migrated, untold + `UPDATE app_id_to_user_id SET time_joined = 0`},
		"rows of nobody": {legacy, untold + `SET session_replication_role = replica;
			DELETE FROM app_id_to_user_id WHERE user_id = (SELECT max(user_id) FROM emailpassword_users WHERE app_id = 'public');
			DELETE FROM emailpassword_users WHERE user_id = (SELECT min(user_id) FROM emailpassword_users WHERE app_id = 'public');
			INSERT INTO recipe_user_tenants (app_id, recipe_user_id, tenant_id, recipe_id, account_info_type, account_info_value, third_party_id, third_party_user_id) VALUES ('public', 'nobody', 'public', 'emailpassword', 'email', 'x@example.org', '', '');
			DELETE FROM thirdparty_users WHERE user_id = (SELECT min(user_id) FROM thirdparty_users WHERE app_id = 'public');
			DELETE FROM app_id_to_user_id WHERE app_id = 'public' AND recipe_id = 'thirdparty' AND user_id NOT IN (SELECT user_id FROM thirdparty_users)`},
		"stored against them": {migrated, `UPDATE tenant_configs SET core_config = '{"migration_mode":"LEGACY"}' WHERE tenant_id = 'public'`},
		"old tables dropped":  {migrated, untold + `DROP TABLE all_auth_recipe_users, emailpassword_user_to_tenant, thirdparty_user_to_tenant, passwordless_user_to_tenant, webauthn_user_to_tenant CASCADE`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := twist(t, tt.fixture, tt.sql)
			conn, err := pgx.Connect(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close(t.Context()) })
			refused := 0
			for _, mode := range append(migrationModes(), "") {
				o := Options{URL: canonical.NewSecret(dsn), MigrationMode: mode}
				s, err := Open(t.Context(), o)
				want := modeGap(err)
				tables, findErr := FindTables(t.Context(), conn, o)
				if findErr != nil {
					t.Fatal(findErr)
				}
				if got := modeGap(CheckMode(t.Context(), tables, conn)); got != want {
					t.Errorf("mode %q\n got %s\nwant %s", mode, got, want)
				}
				if want != "" {
					refused++
					o.AcceptIncomplete = []GapCode{GapMode}
					if tables, err = FindTables(t.Context(), conn, o); err == nil {
						err = CheckMode(t.Context(), tables, conn)
					}
					if err != nil {
						t.Errorf("mode %q, accepted: %v", mode, err)
					}
				}
				if s == nil {
					continue
				}
				if tables.layout.Generation.tenantsMigrate() {
					got, err := countMembership(t.Context(), tables, conn)
					want, wantErr := s.compareMembership(t.Context())
					if err := errors.Join(err, wantErr); err != nil || got != want {
						t.Errorf("counted %+v, want %+v, %v", got, want, err)
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if refused == 0 && name != "old tables dropped" {
				t.Error("no mode is refused")
			}
		})
	}
}

// modeGap is what an error says about the migration mode.
func modeGap(err error) string {
	e, ok := errors.AsType[*IncompleteError](err)
	if !ok {
		return ""
	}
	for _, g := range e.Gaps {
		if g.Code == GapMode {
			return g.Detail
		}
	}
	return ""
}
