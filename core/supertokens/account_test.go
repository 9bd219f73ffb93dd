package supertokens

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// asked counts the queries of one question after the other.
type asked struct {
	RowSource
	queries int
	tables  []string
}

func (a *asked) Rows(ctx context.Context, q RowQuery, row func([][]byte) error) error {
	a.queries++
	a.tables = append(a.tables, q.From.r.name)
	return a.RowSource.Rows(ctx, q, row)
}

// since returns what was asked since the last time.
func (a *asked) since() (n int) {
	n, a.queries, a.tables = a.queries, 0, nil
	return n
}

// tablesOf finds the tables over a connection that the test has to itself.
func tablesOf(t *testing.T, dsn string, o Options) (*Tables, *asked) {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	tables, err := FindTables(t.Context(), conn, o)
	if err != nil {
		t.Fatal(err)
	}
	return tables, &asked{RowSource: PostgresRows(conn)}
}

// accountsOf knows from a whole reading whose an id is.
type accountsOf struct {
	users              []canonical.User
	internal, external map[string][]string // ids of logins to those of accounts
}

func byID(users []canonical.User) accountsOf {
	out := accountsOf{users, map[string][]string{}, map[string][]string{}}
	add := func(to map[string][]string, id, account string) {
		if !slices.Contains(to[id], account) {
			to[id] = append(to[id], account)
		}
	}
	for _, u := range users {
		add(out.internal, u.InternalID, u.InternalID)
		if u.ID != u.InternalID {
			add(out.external, u.ID, u.InternalID)
		}
		for _, l := range u.Logins {
			add(out.internal, l.ID, u.InternalID)
			if l.VisibleID != l.ID {
				add(out.external, l.VisibleID, u.InternalID)
			}
		}
	}
	return out
}

// shown lists the accounts that show an id.
func (a accountsOf) shown(id string) []string {
	out := slices.Concat(a.internal[id], a.external[id])
	slices.Sort(out)
	return slices.Compact(out)
}

// Bounds of queries. Who is asked at every hand-over, the others are not.
const (
	mostForWho        = 4
	mostForWhoWithout = 5 // a list of users
	mostForAccount    = 22
	mostForPassword   = 7
	mostForPassword12 = 14 // which has two places for tenants
)

// compareAccounts reads every account alone, by every id that it has, and compares
// it with a whole reading: bytes, and warnings without their order.
func compareAccounts(t *testing.T, dsn string, o Options, except ...string) (compared int) {
	t.Helper()
	o.URL = canonical.NewSecret(dsn)
	_, users, source, _ := export(t, o)
	tables, rows := tablesOf(t, dsn, o)
	all := byID(users)
	who := mostForWho
	if !source.Layout().Generation.multiApp() {
		who = mostForWhoWithout
	}
	for n, u := range users {
		want := described(t, u, except)
		// Each id finds it; the whole account is read by one of them, in turn.
		var ids []ID
		for _, l := range u.Logins {
			ids = append(ids, InternalID(l.ID), VisibleID(l.VisibleID), InternalID(l.ID+"   "))
		}
		ids = append(ids, InternalID(u.InternalID), VisibleID(u.ID))
		for i, id := range ids {
			shared := !id.internal && len(all.shown(id.text)) > 1
			rows.since()
			found, err := tables.Who(t.Context(), rows, id)
			if n := rows.since(); n > who {
				t.Errorf("%q took %d queries, want at most %d", id.text, n, who)
			}
			switch {
			case shared:
				if !errors.Is(err, ErrSharedID) {
					t.Errorf("%q is of %v; found %+v, %v", id.text, all.shown(id.text), found, err)
				}
				continue
			case err != nil || found.InternalID != u.InternalID || found.ID != u.ID:
				t.Errorf("%q: found %+v, %v; want %s (%s)", id.text, found, err, u.ID, u.InternalID)
			}
			if i != n%len(ids) {
				continue
			}
			got, err := tables.Account(t.Context(), rows, id)
			if n := rows.since(); n > mostForAccount {
				t.Errorf("account %s took %d queries, want at most %d", u.ID, n, mostForAccount)
			}
			if err != nil {
				t.Errorf("account %s by %q: %v", u.ID, id.text, err)
				continue
			}
			if diff := gocmp.Diff(want, described(t, got, except)); diff != "" {
				t.Errorf("account %s by %q (-whole reading +alone):\n%s", u.ID, id.text, diff)
			}
			compared++
		}
	}
	for _, id := range []ID{VisibleID(""), VisibleID("nobody"), VisibleID("nobody "), InternalID("nobody"), VisibleID("a\x00b"), VisibleID("\xff"), VisibleID(strings.Repeat("a", 1<<16))} {
		if _, err := tables.Account(t.Context(), rows, id); !errors.Is(err, ErrNoUser) || errors.Is(err, ErrSharedID) {
			t.Errorf("%q: %v", id.text, err)
		}
	}
	return compared
}

// described is an account as its bytes and its warnings.
func described(t *testing.T, u canonical.User, except []string) []string {
	t.Helper()
	line, err := u.RevealJSON()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, w := range u.Warnings {
		if !slices.Contains(except, w.Code) {
			out = append(out, w.Code+" "+w.Detail)
		}
	}
	slices.Sort(out)
	return append([]string{string(line)}, out...)
}

// TestAccountEqualsReading: an account that is read alone is the one of a whole
// reading, in every fixture and app.
func TestAccountEqualsReading(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.Names(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := fixture.Restore(t, name)
			for _, app := range readTruth(t, name).Apps {
				// Which place counts for tenants is told by all accounts together.
				except := []string{WarnOldTableStale}
				if compareAccounts(t, dsn, Options{App: app.AppID}, except...) == 0 && app.AppID == "public" {
					t.Error("nothing was compared")
				}
			}
		})
	}
}

// TestAccountOfTwistedStates does the same for states that cores leave behind, or
// stumble over.
func TestAccountOfTwistedStates(t *testing.T) {
	t.Parallel()
	ids := three(t, "core-10.1.4")
	verified := func(under string) string {
		return fmt.Sprintf(`INSERT INTO emailverification_verified_emails (app_id, user_id, email)
			SELECT app_id, '%s', email FROM emailpassword_users WHERE user_id = '%s' ON CONFLICT DO NOTHING;`, under, ids[0])
	}
	mapping := func(internal, external string) string {
		return fmt.Sprintf(`INSERT INTO userid_mapping (app_id, supertokens_user_id, external_user_id) VALUES ('public', '%s', '%s');`, internal, external)
	}
	metadata := func(under string) string {
		return fmt.Sprintf(`INSERT INTO user_metadata (app_id, user_id, user_metadata) VALUES ('public', '%s', '{"of":"%s"}') ON CONFLICT DO NOTHING;`, under, under)
	}
	link := func(login, to string) string {
		return fmt.Sprintf(`UPDATE app_id_to_user_id SET primary_or_recipe_user_id = '%[2]s', is_linked_or_is_a_primary_user = true WHERE user_id IN ('%[1]s', '%[2]s');
			UPDATE all_auth_recipe_users SET primary_or_recipe_user_id = '%[2]s', is_linked_or_is_a_primary_user = true WHERE user_id IN ('%[1]s', '%[2]s');`, login, to)
	}
	chars := `DELETE FROM emailverification_verified_emails WHERE length(user_id) > 36; DELETE FROM user_metadata WHERE length(user_id) > 36;
		ALTER TABLE emailverification_verified_emails ALTER user_id TYPE char(36); ALTER TABLE user_metadata ALTER user_id TYPE char(36);`
	for name, c := range map[string]struct {
		fixture, sql string
		o            Options
	}{
		"forced mapping":            {sql: verified(ids[0]) + metadata(ids[0]) + mapping(ids[0], "forced")},
		"forced mapping, taken":     {sql: metadata(ids[0]) + mapping(ids[0], "forced"), o: Options{TakeLeft: true}},
		"twins":                     {sql: mapping(ids[0], "twin") + mapping(ids[2], "twin ") + metadata("twin") + metadata("twin ") + metadata("twin  ") + verified("twin")},
		"twins in padded columns":   {sql: chars + mapping(ids[0], "twin") + mapping(ids[2], fmt.Sprintf("%-36s", "twin")) + metadata("twin") + verified("twin")},
		"one in a padded column":    {sql: chars + mapping(ids[0], "twin") + metadata("twin") + verified("twin")},
		"ends in a blank, padded":   {sql: chars + mapping(ids[0], "twin ") + metadata("twin") + verified("twin")},
		"shared id":                 {sql: mapping(ids[0], ids[2]) + metadata(ids[2])},
		"shared id, mapped itself":  {sql: mapping(ids[0], ids[2]) + mapping(ids[2], "third") + metadata(ids[2]) + verified(ids[2])},
		"mapped to itself":          {sql: mapping(ids[0], ids[0]) + metadata(ids[0]) + verified(ids[0])},
		"a blank after another's":   {sql: mapping(ids[0], ids[2]+" ") + metadata(ids[2]) + metadata(ids[2]+" ")},
		"linked across ranges":      {sql: link(ids[2], ids[0]) + mapping(ids[2], "linked") + metadata("linked") + verified("linked"), o: Options{RangeSize: 3}},
		"linked, and shown the id":  {sql: link(ids[2], ids[0]) + mapping(ids[2], ids[0]) + metadata(ids[0]) + verified(ids[0])},
		"ghost primary":             {sql: link(ids[2], ids[0]) + mapping(ids[0], "ghost") + metadata("ghost") + `DELETE FROM all_auth_recipe_users WHERE user_id = '` + ids[0] + `'; DELETE FROM emailpassword_users WHERE user_id = '` + ids[0] + `';`},
		"left under internal id":    {sql: metadata(ids[1]) + mapping(ids[1], "left")},
		"shared, TOTP by internal":  {fixture: "core-7.0.18", sql: caseSQL(t, "s1-shared-id.sql")},
		"residue of another script": {sql: caseSQL(t, "s2-vendor-mysql-script-residue.sql")},
		"a short internal id": {fixture: "core-5.0.0", sql: `INSERT INTO emailpassword_users (user_id, email, password_hash, time_joined) VALUES ('short', 'short@example.com', 'x', 1600000000000);
			INSERT INTO user_metadata (user_id, user_metadata) VALUES ('` + fmt.Sprintf("%-36s", "short") + `', '{"padded":true}');
			INSERT INTO emailverification_verified_emails (user_id, email) VALUES ('short', 'short@example.com');`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.fixture == "" {
				c.fixture = "core-10.1.4"
			}
			if compareAccounts(t, twist(t, c.fixture, c.sql), c.o) == 0 {
				t.Error("nothing was compared")
			}
		})
	}
}

// untold takes the migration mode out of the database.
const untold = `UPDATE tenant_configs SET core_config = '{}';`

// driftSQL makes the two places for tenants of core 12 differ about one login.
const driftSQL = `
INSERT INTO tenants (app_id, tenant_id, created_at_time) VALUES ('public', 'drifted', 0);
INSERT INTO recipe_user_tenants (app_id, recipe_user_id, tenant_id, recipe_id, account_info_type, third_party_id, third_party_user_id, account_info_value)
	SELECT app_id, recipe_user_id, 'drifted', recipe_id, account_info_type, third_party_id, third_party_user_id, account_info_value
	FROM recipe_user_tenants WHERE recipe_id = 'emailpassword' ORDER BY recipe_user_id LIMIT 1;`

// TestAccountOfCore12 has both places for tenants, and every way in which a run
// learns which one counts.
func TestAccountOfCore12(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fixture, sql, mode string
		except             []string
	}{
		"migrated, told":        {fixture: "modelled-12.0-migrated", mode: "MIGRATED"},
		"migrated, inferred":    {fixture: "modelled-12.0-migrated", sql: untold, except: []string{WarnOldTableStale}},
		"old tables dropped":    {fixture: "modelled-12.0-migrated", sql: `DROP TABLE all_auth_recipe_users, emailpassword_user_to_tenant, thirdparty_user_to_tenant, passwordless_user_to_tenant, webauthn_user_to_tenant CASCADE`},
		"legacy":                {fixture: "modelled-12.0-legacy", except: []string{WarnOldTableStale}},
		"not backfilled to end": {fixture: "modelled-12.0-migrated", sql: untold + `UPDATE app_id_to_user_id SET time_joined = 0 WHERE user_id = (SELECT max(user_id) FROM emailpassword_users WHERE app_id = 'public')`, except: []string{WarnOldTableStale}},
		"stored":                {fixture: "modelled-12.0-migrated", except: []string{WarnOldTableStale}},
		// Without what is stored, a run infers the other place here.
		"stored, against the dates": {
			fixture: "modelled-12.0-migrated", except: []string{WarnOldTableStale},
			sql: `UPDATE tenant_configs SET core_config = '{"migration_mode":"DUAL_WRITE_READ_NEW"}' WHERE tenant_id = 'public'; UPDATE app_id_to_user_id SET time_joined = 0`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := twist(t, c.fixture, c.sql)
			if compareAccounts(t, dsn, Options{MigrationMode: c.mode}, c.except...) == 0 {
				t.Error("nothing was compared")
			}
			comparePasswords(t, dsn, Options{MigrationMode: c.mode})
		})
	}
}

// TestPasswordLoginsEqualReading: who has an address in a tenant is what a whole
// reading says.
func TestPasswordLoginsEqualReading(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.Names(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := fixture.Restore(t, name)
			for _, app := range readTruth(t, name).Apps {
				if comparePasswords(t, dsn, Options{App: app.AppID}) == 0 && app.AppID == "public" {
					t.Error("nothing was compared")
				}
			}
		})
	}
}

// comparePasswords looks every address with a password up in every tenant.
func comparePasswords(t *testing.T, dsn string, o Options) (compared int) {
	t.Helper()
	o.URL = canonical.NewSecret(dsn)
	_, users, source, _ := export(t, o)
	tables, rows := tablesOf(t, dsn, o)
	most := mostForPassword
	if source.Layout().Generation.tenantsMigrate() {
		most = mostForPassword12
	}
	want := map[[2]string][]string{}
	emails := map[string]bool{}
	tenants := map[string]bool{"elsewhere": true}
	for _, a := range source.Apps() {
		for _, tenant := range a.Tenants {
			tenants[tenant] = true
		}
	}
	line := func(w Who, l canonical.Login) string {
		return fmt.Sprintf("%s %s %s %v %q %v %t", w.ID, w.InternalID, w.LoginID, l.Tenants, l.Password.Encode(), *l.Email, l.Verified != nil && *l.Verified)
	}
	for _, u := range users {
		var own []string
		for _, l := range u.Logins {
			if l.Email != nil {
				emails[*l.Email] = true
			}
			if l.Recipe != canonical.EmailPassword {
				continue
			}
			text := line(Who{ID: u.ID, InternalID: u.InternalID, LoginID: l.ID}, l)
			own = append(own, text)
			for _, tenant := range l.Tenants {
				want[[2]string{tenant, *l.Email}] = append(want[[2]string{tenant, *l.Email}], text)
			}
			one, err := tables.PasswordLogin(t.Context(), rows, l.ID)
			if err != nil || line(one.Who, one.Login) != text {
				t.Errorf("login %s: %v, %v", l.ID, one, err)
			}
		}
		found, err := tables.PasswordLogins(t.Context(), rows, InternalID(u.InternalID))
		var got []string
		for _, f := range found {
			got = append(got, line(f.Who, f.Login))
		}
		if diff := gocmp.Diff(own, got); diff != "" || err != nil {
			t.Errorf("passwords of %s: %v (-want +got):\n%s", u.InternalID, err, diff)
		}
	}
	for _, email := range slices.Sorted(maps.Keys(emails)) {
		for tenant := range tenants {
			rows.since()
			found, err := tables.PasswordLoginsAt(t.Context(), rows, tenant, email)
			asked := rows.tables
			if rows.since() > most {
				t.Errorf("%s in %s took too many queries, of %v; want at most %d", email, tenant, asked, most)
			}
			var got []string
			for _, f := range found {
				got = append(got, line(f.Who, f.Login))
			}
			slices.Sort(got)
			slices.Sort(want[[2]string{tenant, email}])
			if diff := gocmp.Diff(want[[2]string{tenant, email}], got); diff != "" || err != nil {
				t.Errorf("%s in %s: %v (-want +got):\n%s", email, tenant, err, diff)
			}
			compared += len(got)
		}
	}
	return compared
}

// TestDriftingTenants: the moment the two places differ about a user, which one counts
// is asked of the database, and the answer is that of a run.
func TestDriftingTenants(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"modelled-12.0-migrated", "modelled-12.0-legacy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := twist(t, name, untold+driftSQL)
			comparePasswords(t, dsn, Options{})
			if compareAccounts(t, dsn, Options{}, WarnOldTableStale) == 0 {
				t.Error("nothing was compared")
			}
		})
	}
}

// TestAccountsOfWhatIsNotWhole: an account without the table that maps ids would be
// another one.
func TestAccountsOfWhatIsNotWhole(t *testing.T) {
	t.Parallel()
	dsn := twist(t, "core-9.3.0", `DROP TABLE userid_mapping`)
	_, users, _, _ := export(t, Options{Dump: fixture.Dump(t, "core-9.3.0")})
	tables, rows := tablesOf(t, dsn, Options{})
	_, err := tables.Who(t.Context(), rows, InternalID(users[0].InternalID))
	if gap, ok := errors.AsType[*IncompleteError](err); !ok || gap.Gaps[0].Table != UserIDMapping {
		t.Errorf("error %v", err)
	}
	tables, rows = tablesOf(t, dsn, Options{AcceptIncomplete: []GapCode{GapTable}})
	if u, err := tables.Who(t.Context(), rows, InternalID(users[0].InternalID)); err != nil || u.ID != users[0].InternalID {
		t.Errorf("accepted: %+v, %v", u, err)
	}
	postgres.Exec(t, dsn, `DO $$ BEGIN CREATE ROLE stetl_account LOGIN PASSWORD 'x'; EXCEPTION WHEN duplicate_object THEN NULL; END $$; GRANT SELECT ON apps TO stetl_account`)
	t.Cleanup(func() { postgres.Exec(t, dsn, "DROP OWNED BY stetl_account; DROP ROLE stetl_account") })
	tables, rows = tablesOf(t, as(t, dsn, "stetl_account", "x"), Options{AcceptIncomplete: []GapCode{GapTable}})
	if _, err := tables.Who(t.Context(), rows, InternalID(users[0].InternalID)); err == nil || !strings.Contains(err.Error(), `GRANT SELECT ON "public"."app_id_to_user_id"`) {
		t.Errorf("without a right: %v", err)
	}
}

// TestQueriesUseIndexes: with sequential scans forbidden as far as the database can,
// a plan that has one has no other way.
func TestQueriesUseIndexes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core-5.0.0", "core-10.1.4", "modelled-12.0-migrated"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := fixture.Restore(t, name)
			_, users, _, _ := export(t, Options{Dump: fixture.Dump(t, name)})
			tables, rows := tablesOf(t, dsn, Options{})
			conn, err := pgx.Connect(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
			if _, err := conn.Exec(t.Context(), "SET enable_seqscan = off"); err != nil {
				t.Fatal(err)
			}
			plans := &explained{asked: rows, conn: conn}
			for _, u := range users {
				if _, err := tables.Account(t.Context(), plans, VisibleID(u.ID)); err != nil {
					t.Fatal(err)
				}
				for _, l := range u.Logins {
					if l.Recipe != canonical.EmailPassword || len(l.Tenants) == 0 {
						continue
					}
					if _, err := tables.PasswordLoginsAt(t.Context(), plans, l.Tenants[0], *l.Email); err != nil {
						t.Fatal(err)
					}
				}
			}
			if plans.looked == 0 || len(plans.scans) > 0 {
				t.Errorf("%d plans, with sequential scans of %v", plans.looked, plans.scans)
			}
		})
	}
}

// explained looks at the plan of each kind of query once.
type explained struct {
	*asked
	conn   *pgx.Conn
	seen   map[string]bool
	looked int
	scans  []string
}

func (e *explained) Rows(ctx context.Context, q RowQuery, row func([][]byte) error) error {
	kind := q.From.r.name
	for _, w := range slices.Concat(q.Where, q.Either) {
		kind += " " + w.Column
	}
	if e.seen[kind] {
		return e.asked.Rows(ctx, q, row)
	}
	if e.seen == nil {
		e.seen = map[string]bool{}
	}
	e.seen[kind] = true
	e.looked++
	plan := ""
	err := postgresRows{explain{e.conn}}.Rows(ctx, q, func(v [][]byte) error {
		plan += string(v[0]) + "\n"
		return nil
	})
	if err != nil {
		return err
	}
	if strings.Contains(plan, "Seq Scan") {
		e.scans = append(e.scans, kind+":\n"+plan)
	}
	return e.asked.Rows(ctx, q, row)
}

// explain asks for the plan of a query in place of its rows.
type explain struct{ conn *pgx.Conn }

func (e explain) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return e.conn.Query(ctx, "EXPLAIN "+sql, args...)
}
