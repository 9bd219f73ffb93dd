package supertokens

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// twist restores a fixture and changes it.
func twist(t *testing.T, name, sql string) (dsn string) {
	t.Helper()
	dsn = fixture.Restore(t, name)
	postgres.Exec(t, dsn, sql)
	return dsn
}

// dumpOf runs pg_dump, which the server that is fetched comes without.
func dumpOf(t *testing.T, dsn string, args ...string) string {
	t.Helper()
	program, ok := postgres.Start(t).Bin("pg_dump")
	if !ok {
		testenv.Skip(t, "pg_dump", "the server that was fetched comes without it")
	}
	path := filepath.Join(t.TempDir(), "made.dump")
	cmd := exec.CommandContext(t.Context(), program, append(args, "--file", path, "--dbname", dsn)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("run pg_dump: %v\n%s", err, out)
	}
	return path
}

// read is [export] without secrets, by internal id.
func read(t *testing.T, o Options) (map[string]canonical.User, []Finding) {
	t.Helper()
	_, users, s, orphans := export(t, o)
	out := map[string]canonical.User{}
	for _, u := range users {
		out[u.InternalID] = u
	}
	return out, review(t, s, users, orphans)
}

func review(t *testing.T, s *Source, users []canonical.User, orphans []Orphan) []Finding {
	t.Helper()
	r := NewReview(s)
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := r.Add(Batch{Users: users, Orphans: orphans}); err != nil {
		t.Fatal(err)
	}
	found, err := r.Findings()
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func finding(findings []Finding, code string) Finding {
	for _, f := range findings {
		if f.Code == code {
			return f
		}
	}
	return Finding{}
}

// three returns three accounts with one login, no mapping and no metadata each,
// spread over the id space.
func three(t *testing.T, name string) [3]string {
	t.Helper()
	users, _ := read(t, Options{Dump: fixture.Dump(t, name)})
	var ids []string
	for id, u := range users {
		if len(u.Logins) == 1 && u.ID == id && u.Metadata == nil && len(u.Roles) == 0 && !u.Primary && u.Logins[0].Recipe == canonical.EmailPassword {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return [3]string{ids[0], ids[len(ids)/2], ids[len(ids)-1]}
}

func TestExternalIDsThatDifferInBlanks(t *testing.T) {
	t.Parallel()
	ids := three(t, "core-10.1.4")
	dsn := twist(t, "core-10.1.4", fmt.Sprintf(`
INSERT INTO userid_mapping (app_id, supertokens_user_id, external_user_id) VALUES ('public', '%s', 'ext'), ('public', '%s', 'ext ');
INSERT INTO user_metadata (app_id, user_id, user_metadata) VALUES ('public', 'ext', '{"of":"one"}'), ('public', 'ext ', '{"of":"two"}'), ('public', 'ext  ', '{"of":"nobody, but padded"}');`,
		ids[0], ids[2]))
	for _, size := range []int{0, 3} {
		users, _ := read(t, Options{URL: canonical.NewSecret(dsn), RangeSize: size})
		if got := string(users[ids[2]].Metadata); got != `{"of":"two"}` {
			t.Errorf("ranges of %d: metadata of %q is %s", size, users[ids[2]].ID, got)
		}
		if got := users[ids[0]]; got.ID != "ext" || string(got.Metadata) != `{"of":"one"}` {
			t.Errorf("ranges of %d: metadata of %q is %s", size, got.ID, got.Metadata)
		}
	}
}

// TestSharedVisibleID has the state that the core's own delete code names: one
// user's external id is another one's internal id.
func TestSharedVisibleID(t *testing.T) {
	t.Parallel()
	ids := three(t, "core-10.1.4")
	row := fmt.Sprintf(`INSERT INTO user_metadata (app_id, user_id, user_metadata) VALUES ('public', '%s', '{"of":"shared"}');`, ids[2])
	mapped := fmt.Sprintf(`INSERT INTO userid_mapping (app_id, supertokens_user_id, external_user_id) VALUES ('public', '%s', '%s');`, ids[0], ids[2])
	t.Run("both show it", func(t *testing.T) {
		t.Parallel()
		dsn := twist(t, "core-10.1.4", mapped+row)
		for _, size := range []int{0, 3} {
			users, findings := read(t, Options{URL: canonical.NewSecret(dsn), RangeSize: size})
			for _, id := range []string{ids[0], ids[2]} {
				if u := users[id]; u.ID != ids[2] || string(u.Metadata) != `{"of":"shared"}` {
					t.Errorf("user %s shows %s and has %s", id, u.ID, u.Metadata)
				}
			}
			if f := finding(findings, WarnSharedID); f.Count != 1 || !slices.Contains(f.Examples, ids[2]) || !strings.Contains(f.Detail, ids[0]) {
				t.Errorf("ranges of %d: finding %+v", size, f)
			}
		}
	})
	t.Run("the other one shows another", func(t *testing.T) {
		t.Parallel()
		dsn := twist(t, "core-10.1.4", mapped+row+fmt.Sprintf(
			`INSERT INTO userid_mapping (app_id, supertokens_user_id, external_user_id) VALUES ('public', '%s', 'third');`, ids[2]))
		for _, size := range []int{0, 3} {
			users, findings := read(t, Options{URL: canonical.NewSecret(dsn), RangeSize: size})
			if u := users[ids[0]]; u.ID != ids[2] || string(u.Metadata) != `{"of":"shared"}` {
				t.Errorf("user %s shows %s and has %s", ids[0], u.ID, u.Metadata)
			}
			if u := users[ids[2]]; u.ID != "third" || u.Metadata != nil {
				t.Errorf("user %s shows %s and has %s, which is another's", ids[2], u.ID, u.Metadata)
			}
			if f := finding(findings, WarnSharedID); f.Count != 1 {
				t.Errorf("finding %+v", f)
			}
		}
	})
}

// TestReversedColumns gives every table its columns in the opposite order.
func TestReversedColumns(t *testing.T) {
	t.Parallel()
	dsn := twist(t, "core-9.3.0", `
DO $$
DECLARE r record; list text;
BEGIN
  FOR r IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum DESC) INTO list FROM pg_attribute
      WHERE attrelid = ('public.' || quote_ident(r.tablename))::regclass AND attnum > 0 AND NOT attisdropped;
    EXECUTE format('CREATE TABLE reversed AS SELECT %s FROM %I; DROP TABLE %I CASCADE; ALTER TABLE reversed RENAME TO %I', list, r.tablename, r.tablename, r.tablename);
  END LOOP;
END $$`)
	want, _, _, _ := export(t, Options{Dump: fixture.Dump(t, "core-9.3.0")})
	got, _, _, _ := export(t, Options{URL: canonical.NewSecret(dsn)})
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("live (-as the core made it +reversed):\n%s", diff)
	}
	got, _, _, _ = export(t, Options{Dump: dumpOf(t, dsn)})
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("dump (-as the core made it +reversed):\n%s", diff)
	}
}

// TestPartitionedTable: rows in partitions are the table's, in a database and in a
// dump, whichever way they were dumped.
func TestPartitionedTable(t *testing.T) {
	t.Parallel()
	dsn := twist(t, "core-10.1.4", `
ALTER TABLE user_metadata RENAME TO whole;
CREATE TABLE user_metadata (LIKE whole) PARTITION BY HASH (user_id);
CREATE TABLE user_metadata_0 PARTITION OF user_metadata FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE user_metadata_1 PARTITION OF user_metadata FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO user_metadata SELECT * FROM whole;
DROP TABLE whole`)
	want, _, _, _ := export(t, Options{Dump: fixture.Dump(t, "core-10.1.4")})
	for name, o := range map[string]Options{
		"live": {URL: canonical.NewSecret(dsn)}, "plain": {Dump: dumpOf(t, dsn)}, "custom": {Dump: dumpOf(t, dsn, "--format=custom")},
		"through the root": {Dump: dumpOf(t, dsn, "--load-via-partition-root")},
	} {
		got, _, _, _ := export(t, o)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-whole +partitioned):\n%s", name, diff)
		}
	}
	if err := readError(t, Options{Dump: dumpOf(t, dsn, "--exclude-table-data=user_metadata_1")}); err == nil || !strings.Contains(err.Error(), "user_metadata") {
		t.Errorf("a partition left out: %v", err)
	}
}

// TestEveryKindOfDump reads what pg_dump makes of one database with each option
// that changes the file.
func TestEveryKindOfDump(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-10.1.4")
	want, _, _, _ := export(t, Options{URL: canonical.NewSecret(dsn)})
	for name, tt := range map[string]struct {
		args []string
		says string // of the error; empty when the file is to be read
	}{
		"plain":                 {},
		"custom":                {args: []string{"--format=custom"}},
		"custom, packed":        {args: []string{"--format=custom", "--compress=9"}},
		"custom, not packed":    {args: []string{"--format=custom", "--compress=0"}},
		"with CREATE DATABASE":  {args: []string{"--create", "--clean", "--if-exists"}},
		"everything quoted":     {args: []string{"--quote-all-identifiers"}},
		"data only":             {args: []string{"--data-only"}},
		"data only, custom":     {args: []string{"--data-only", "--format=custom"}},
		"no owner, no comments": {args: []string{"--no-owner", "--no-privileges", "--no-comments"}},
		"INSERT":                {args: []string{"--inserts"}},
		"INSERT with columns":   {args: []string{"--column-inserts", "--quote-all-identifiers", "--on-conflict-do-nothing"}},
		"INSERT, many rows":     {args: []string{"--rows-per-insert=7"}},
		"INSERT, custom":        {args: []string{"--inserts", "--format=custom"}},
		"INSERT, data":          {args: []string{"--column-inserts", "--data-only"}},
		"INSERT, no names":      {args: []string{"--inserts", "--data-only"}, says: "without --inserts"},
		"INSERT, custom, data":  {args: []string{"--column-inserts", "--format=custom", "--data-only"}, says: "without --inserts"},
		"tar":                   {args: []string{"--format=tar"}},
		"tar, INSERT":           {args: []string{"--format=tar", "--inserts"}},
		"directory":             {args: []string{"--format=directory"}},
		"directory, not packed": {args: []string{"--format=directory", "--compress=0"}},
		"directory, INSERT":     {args: []string{"--format=directory", "--column-inserts"}},
		"gzipped":               {args: []string{"--compress=5"}},
		"gzipped, INSERT":       {args: []string{"--compress=5", "--inserts"}},
		"definitions only":      {args: []string{"--schema-only"}, says: "--schema-only"},
		"users left out":        {args: []string{"--exclude-table-data=thirdparty_users"}, says: "thirdparty_users"},
		"a table left out":      {args: []string{"--exclude-table=userid_mapping"}, says: `"userid_mapping" is missing`},
		"another encoding":      {args: []string{"--encoding=LATIN1", "--schema-only"}, says: "--encoding=UTF8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{Dump: dumpOf(t, dsn, tt.args...), Audit: true}
			if tt.says == "" {
				got, _, _, _ := export(t, o)
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Errorf("(-live +dump):\n%s", diff)
				}
				return
			}
			if err := readError(t, o); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want %q in it", err, tt.says)
			}
		})
	}
	t.Run("sessions left out", func(t *testing.T) {
		t.Parallel()
		o := Options{Dump: dumpOf(t, dsn, "--exclude-table-data=session_info", "--exclude-table-data=bulk_import_users"), Audit: true}
		got, _, s, _ := export(t, o)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("(-live +dump):\n%s", diff)
		}
		if f := finding(s.Findings(), WarnTableNotRead); f.Count != 2 {
			t.Errorf("findings %+v", s.Findings())
		}
	})
}

// readError opens and reads, and returns what went wrong.
func readError(t *testing.T, o Options) error {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		return err
	}
	err = s.Read(t.Context(), func(Batch) error { return nil })
	return errors.Join(err, s.Close())
}

func TestMissingColumn(t *testing.T) {
	t.Parallel()
	for table, column := range map[string]string{
		"emailpassword_users": "password_hash", "userid_mapping": "external_user_id", "user_metadata": "user_metadata",
		"totp_user_devices": "secret_key", "all_auth_recipe_users": "tenant_id", "app_id_to_user_id": "is_linked_or_is_a_primary_user",
	} {
		c := fixtureCatalog(t, "core-9.3.0")
		r := c.find("public", table)
		r.columns = slices.DeleteFunc(r.columns, func(c string) bool { return c == column })
		if _, err := look(t, c, Options{}); err == nil {
			t.Errorf("%s without %s was accepted", table, column)
		}
	}
}

// TestAnApplicationsTable: tables of an application that look a little like the
// core's are not taken for them.
func TestAnApplicationsTable(t *testing.T) {
	t.Parallel()
	newsletter := &relation{schema: "public", name: "newsletter", readable: true, columns: []string{"user_id", "email", "weekly"}}
	pairs := &relation{
		schema: "public", name: "pairs", readable: true,
		columns: []string{"user_id", "email"}, types: []string{"varchar(128)", "varchar(256)"},
	}
	c := fixtureCatalog(t, "core-3.0.1")
	c.tables = append(c.tables, newsletter)
	l, err := look(t, c, Options{})
	if err != nil || l.Generation.String() != "G1a" || l.tables[VerifiedEmails] != nil {
		t.Errorf("generation %v, error %v", l, err)
	}
	c = rename(fixtureCatalog(t, "core-5.0.0"), "emailverification_verified_emails", "proofs")
	c.tables = append(c.tables, pairs)
	if _, err = look(t, c, Options{}); !errors.Is(err, ErrAmbiguous) || !strings.Contains(err.Error(), "source.tables.emailverification_verified_emails") {
		t.Errorf("two candidates: %v", err)
	}
	if _, err = look(t, c, Options{Tables: map[string]string{"emailverification_verified_emails": "proofs"}}); err != nil {
		t.Errorf("two candidates, one told: %v", err)
	}
}

// TestEverythingRenamed renames all tables that can be, behind a prefix and in a
// schema with capital letters, and tells nothing.
func TestEverythingRenamed(t *testing.T) {
	t.Parallel()
	sql := `ALTER SCHEMA public RENAME TO "Login"; SET search_path = "Login";`
	c := fixtureCatalog(t, "core-9.3.0")
	for _, r := range c.tables {
		to := "auth_" + r.name
		if slices.Contains(RenamableTables(), r.name) {
			to = "my " + r.name[:7] + " No. " + fmt.Sprint(slices.Index(RenamableTables(), r.name))
		}
		sql += fmt.Sprintf("ALTER TABLE %q RENAME TO %q;", r.name, to)
	}
	dsn := twist(t, "core-9.3.0", sql)
	want, _, _, _ := export(t, Options{Dump: fixture.Dump(t, "core-9.3.0")})
	for name, o := range map[string]Options{
		"nothing told": {},
		"schema told":  {Schema: "Login"},
		"prefix told":  {TablePrefix: ptr("auth")},
	} {
		o.URL = canonical.NewSecret(dsn)
		got, _, s, _ := export(t, o)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-before +renamed):\n%s", name, diff)
		}
		if len(s.Layout().Renamed) != len(RenamableTables()) || s.Layout().TablePrefix != "auth" {
			t.Errorf("%s: prefix %q, renamed %v", name, s.Layout().TablePrefix, s.Layout().Renamed)
		}
	}
}

// TestOldTablesDropped takes away the five tables that core 12 will drop.
func TestOldTablesDropped(t *testing.T) {
	t.Parallel()
	dsn := twist(t, "modelled-12.0-migrated", `DROP TABLE all_auth_recipe_users, emailpassword_user_to_tenant, thirdparty_user_to_tenant, passwordless_user_to_tenant, webauthn_user_to_tenant CASCADE`)
	checkTruth(t, readTruth(t, "modelled-12.0-migrated"), func() Options { return Options{URL: canonical.NewSecret(dsn)} })
}

func TestMigrationModeThatIsNone(t *testing.T) {
	t.Parallel()
	o := Options{Dump: fixture.Dump(t, "modelled-12.0-legacy"), MigrationMode: "MIGRATE"}
	if err := readError(t, o); err == nil || !strings.Contains(err.Error(), "DUAL_WRITE_READ_OLD") {
		t.Errorf("error %v", err)
	}
}

// TestIndexAndUsersDisagree: in core 3.5 to 5.0 the index of users can lack some. That
// it lists one whose row is gone proves that a row is missing.
func TestIndexAndUsersDisagree(t *testing.T) {
	t.Parallel()
	ids := three(t, "core-5.0.0")
	dsn := twist(t, "core-5.0.0", fmt.Sprintf("DELETE FROM all_auth_recipe_users WHERE user_id = '%s';", ids[0]))
	users, _ := read(t, Options{URL: canonical.NewSecret(dsn)})
	if len(users[ids[0]].Logins) != 1 {
		t.Errorf("a user without an index row: %v", users[ids[0]])
	}
	postgres.Exec(t, dsn, fmt.Sprintf("DELETE FROM emailpassword_users WHERE user_id = '%s';", ids[1]))
	err := readError(t, Options{URL: canonical.NewSecret(dsn)})
	gap, ok := errors.AsType[*IncompleteError](err)
	if !ok || len(gap.Gaps) != 1 || gap.Gaps[0].Code != GapRows || gap.Gaps[0].Table != EmailPasswordUsers || !strings.Contains(err.Error(), ids[1]) {
		t.Errorf("a row of the index without a user: %v", err)
	}
	users, findings := read(t, Options{URL: canonical.NewSecret(dsn), AcceptIncomplete: []GapCode{GapRows}})
	if _, there := users[ids[1]]; there || len(users) == 0 {
		t.Errorf("accepted: %d users, the one without a row among them: %t", len(users), there)
	}
	if f := finding(findings, WarnIncomplete); f.Count != 1 || !strings.Contains(f.Detail, string(GapRows)) {
		t.Errorf("accepted: %+v", findings)
	}
}

// TestDatabaseOfAnyBytes: bytes that are not text stop a reading of either kind.
func TestDatabaseOfAnyBytes(t *testing.T) {
	t.Parallel()
	server := postgres.Start(t)
	postgres.Exec(t, server.DSN("postgres"), "CREATE DATABASE any_bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
	dsn := server.DSN("any_bytes")
	t.Cleanup(func() { postgres.Exec(t, server.DSN("postgres"), "DROP DATABASE any_bytes WITH (FORCE)") })
	postgres.Exec(t, dsn, `
CREATE TABLE emailpassword_users (user_id char(36) NOT NULL, email varchar(256) NOT NULL, password_hash varchar(128) NOT NULL, time_joined bigint NOT NULL);
CREATE TABLE emailpassword_pswd_reset_tokens (user_id char(36) NOT NULL, token varchar(128) NOT NULL, token_expiry bigint NOT NULL);
CREATE TABLE key_value (name varchar(128) PRIMARY KEY, value text, created_at_time bigint);
CREATE TABLE session_info (session_handle varchar(255) PRIMARY KEY, user_id varchar(128) NOT NULL, refresh_token_hash_2 varchar(128) NOT NULL,
	session_data text, expires_at bigint NOT NULL, created_at_time bigint NOT NULL, jwt_user_payload text);
INSERT INTO emailpassword_users VALUES ('11111111-1111-4111-8111-111111111111', 'plain@example.com', 'x', 1600000000000);`)
	if users, _ := read(t, Options{URL: canonical.NewSecret(dsn)}); len(users) != 1 {
		t.Errorf("%d users", len(users))
	}
	postgres.Exec(t, dsn, `INSERT INTO emailpassword_users VALUES ('22222222-2222-4222-8222-222222222222', E'caf\xe9@example.com', 'x', 1600000000000);`)
	if err := readError(t, Options{URL: canonical.NewSecret(dsn)}); err == nil || !strings.Contains(err.Error(), "emailpassword_users of database any_bytes") {
		t.Errorf("live: %v", err)
	}
	if err := readError(t, Options{Dump: dumpOf(t, dsn)}); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("dump: %v", err)
	}
}

// TestWarningsOfOldRows covers what only rows of old cores have.
func TestWarningsOfOldRows(t *testing.T) {
	t.Parallel()
	ids := three(t, "core-10.1.4")
	dsn := twist(t, "core-10.1.4", fmt.Sprintf(`
UPDATE emailpassword_users SET time_joined = 0 WHERE user_id = '%s';
UPDATE emailpassword_users SET time_joined = 1600000000 WHERE user_id = '%s';
UPDATE emailpassword_users SET time_joined = 1600000000000000 WHERE user_id = '%s';
INSERT INTO user_metadata (app_id, user_id, user_metadata) VALUES ('public', '%s', '{"deep": {"list": [1, "%s"]}}');
UPDATE passwordless_users SET phone_number = '+36 20 123-4567' WHERE app_id = 'public' AND user_id = (SELECT min(user_id) FROM passwordless_users WHERE app_id = 'public' AND phone_number IS NOT NULL);`,
		ids[0], ids[1], ids[2], ids[0], latin1("Ελλάδα")))
	users, findings := read(t, Options{URL: canonical.NewSecret(dsn)})
	if !users[ids[0]].TimeJoined.IsZero() {
		t.Errorf("a time of 0 became %s", users[ids[0]].TimeJoined)
	}
	for code, ids := range map[string][]string{
		WarnTimeUnknown: {ids[0]}, WarnTimeImplausible: {ids[1], ids[2]}, WarnDoubleEncoded: {ids[0]},
	} {
		f := finding(findings, code)
		for _, id := range ids {
			if !slices.Contains(f.Examples, id) {
				t.Errorf("%s is missing for %s: %+v", code, id, f)
			}
		}
	}
	if f := finding(findings, WarnPhoneNotNormal); f.Count != 1 {
		t.Errorf("%s: %+v", WarnPhoneNotNormal, f)
	}
}

// latin1 is what becomes of text whose bytes are read as Latin-1.
func latin1(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		b.WriteRune(rune(c))
	}
	return b.String()
}

func TestDoubleEncoded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"plain": false, "Árvíztűrő": false, "ÁÉ": false, latin1("Árvíztűrő"): true, latin1("Ελλάδα"): true, latin1("שלום"): true,
		latin1("日本"): true, latin1("😀"): true, latin1("Привет"): true, "日本": false, "naïve": false, "Ã": false,
	} {
		for _, ascii := range []bool{false, true} {
			value, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			if ascii {
				value = []byte(escaped(text))
			}
			for _, stored := range []string{`{"k":%s}`, `{"a":1,"k":{"b":[%s]}}`} {
				if got := doubleEncoded(fmt.Appendf(nil, stored, value)) == "k"; got != want {
					t.Errorf("%q (escaped %t) in %s: %t", text, ascii, stored, got)
				}
			}
		}
	}
}

// escaped is a JSON string in ASCII.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r > 0xffff {
			return `"` + text + `"`
		}
		fmt.Fprintf(&b, `\u%04x`, r)
	}
	return `"` + b.String() + `"`
}

// TestRowSecurity: a policy that hides rows from the role is an error, not a
// shorter list of users.
func TestRowSecurity(t *testing.T) {
	t.Parallel()
	dsn := twist(t, "core-10.1.4", `
DO $$ BEGIN CREATE ROLE stetl_limited LOGIN PASSWORD 'limited'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT USAGE ON SCHEMA public TO stetl_limited;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO stetl_limited;
ALTER TABLE thirdparty_users ENABLE ROW LEVEL SECURITY;
CREATE POLICY google_only ON thirdparty_users FOR SELECT TO stetl_limited USING (third_party_id = 'google');`)
	t.Cleanup(func() { postgres.Exec(t, dsn, "DROP OWNED BY stetl_limited; DROP ROLE stetl_limited") })
	if err := readError(t, Options{URL: canonical.NewSecret(as(t, dsn, "stetl_limited", "limited"))}); err == nil || !strings.Contains(err.Error(), "thirdparty_users") {
		t.Errorf("error %v", err)
	}
}
