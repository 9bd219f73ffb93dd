package pgdump

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// marked is what the tests of a dump's marks put behind its data, by the kind of entry that
// an archive has for it.
func marked() []archiveEntry {
	return []archiveEntry{
		{desc: "TABLE", schema: "s", tag: "users", defn: "CREATE TABLE s.users (\n    id character(36) NOT NULL,\n    email character varying(256),\n    joined bigint,\n    CONSTRAINT inline CHECK ((joined > 0))\n);\n"},
		{desc: "TABLE", schema: "s", tag: "Keys", defn: "CREATE TABLE s.\"Keys\" (\n    id text\n);\n"},
		{desc: "MATERIALIZED VIEW", schema: "s", tag: "mv", defn: "CREATE MATERIALIZED VIEW s.mv AS\n SELECT 1\n  WITH NO DATA;\n"},
		{desc: "VIEW", schema: "s", tag: "Seen; once", defn: "CREATE VIEW s.\"Seen; once\" WITH (security_barrier='true') AS\n SELECT users.id\n   FROM s.users;\n"},
		{desc: "VIEW", schema: "s", tag: "circle", defn: "CREATE VIEW s.circle AS\nSELECT\n    NULL::text AS id;\nCREATE OR REPLACE VIEW s.circle AS\n SELECT users.id\n   FROM s.users;\n"},
		{desc: "CONSTRAINT", schema: "s", tag: "users users_pkey", defn: "ALTER TABLE ONLY s.users\n    ADD CONSTRAINT users_pkey PRIMARY KEY (id);\n"},
		{desc: "CONSTRAINT", schema: "s", tag: "users One \"two\"", defn: "ALTER TABLE ONLY s.users\n    ADD CONSTRAINT \"One \"\"two\"\"\" UNIQUE (email);\n\nALTER TABLE s.users CLUSTER ON \"One \"\"two\"\"\";\n"},
		{desc: "CHECK CONSTRAINT", schema: "s", tag: "users late", defn: "ALTER TABLE s.users\n    ADD CONSTRAINT late CHECK ((joined > 1)) NOT VALID;\n"},
		{desc: "INDEX", schema: "s", tag: "by_time", defn: "CREATE INDEX by_time ON s.users USING btree (joined DESC) WHERE (email <> ');'::text);\n"},
		{desc: "INDEX", schema: "s", tag: "By mail", defn: "CREATE UNIQUE INDEX \"By mail\" ON ONLY s.users USING btree (lower((email)::text));\n"},
		{desc: "INDEX", schema: "s", tag: "mv_i", defn: "CREATE INDEX mv_i ON s.mv USING btree (a);\n"},
		{desc: "FK CONSTRAINT", schema: "s", tag: "Keys keys_fkey", defn: "ALTER TABLE ONLY s.\"Keys\"\n    ADD CONSTRAINT keys_fkey FOREIGN KEY (id) REFERENCES s.users(id) ON DELETE CASCADE;\n"},
		{desc: "ROW SECURITY", schema: "s", tag: "Keys", defn: "ALTER TABLE s.\"Keys\" ENABLE ROW LEVEL SECURITY;\n"},
		{desc: "TABLE DATA", schema: "s", tag: "users", copyStmt: "COPY s.users (id, email, joined) FROM stdin;\n", data: "u\ta@b.c\t1\n\\.\n\n\n"},
		{desc: "TABLE DATA", schema: "s", tag: "Keys", copyStmt: "COPY s.\"Keys\" (id) FROM stdin;\n", data: "\\.\n\n\n"},
	}
}

// plainDump is the plain dump of what an archive would hold.
func plainDump(entries []archiveEntry) string {
	body := ""
	for _, e := range entries {
		body += e.defn + e.copyStmt + e.data
	}
	return wrap(body)
}

// TestMarks reads types, indexes and constraints from all formats.
func TestMarks(t *testing.T) {
	t.Parallel()
	want := []Table{
		{
			Schema: "s", Name: "Keys", HasData: true, Columns: []Column{{"id", "text"}},
			ForeignKeys: []string{"keys_fkey"}, RowSecurity: true,
		},
		{
			Schema: "s", Name: "users", HasData: true,
			Columns: []Column{{"id", "character(36)"}, {"email", "character varying(256)"}, {"joined", "bigint"}},
			Indexes: []string{"By mail", "by_time"}, Constraints: []string{`One "two"`, "late", "users_pkey"},
		},
	}
	before := slices.DeleteFunc(marked(), func(e archiveEntry) bool {
		return slices.Contains([]string{"CONSTRAINT", "CHECK CONSTRAINT", "INDEX", "FK CONSTRAINT", "ROW SECURITY"}, e.desc)
	})
	for name, open := range map[string]func([]archiveEntry) *Archive{
		"plain":  func(e []archiveEntry) *Archive { return mustLoad(t, plainDump(e)) },
		"custom": func(e []archiveEntry) *Archive { return mustLoad(t, archiveFile{minor: 16, entries: e}.bytes(t)) },
		"tar": func(e []archiveEntry) *Archive {
			return mustLoad(t, tarFile(t, "", archiveFile{minor: 16, entries: e}.members(t)))
		},
	} {
		a := open(marked())
		if diff := cmp.Diff(want, a.Tables()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff([]TableName{{"s", "Seen; once"}, {"s", "circle"}, {"s", "mv"}}, Views(a)); diff != "" {
			t.Errorf("%s: views (-want +got):\n%s", name, diff)
		}
		if !a.HasPostData() {
			t.Errorf("%s: the post-data section was not seen", name)
		}
		a = open(before)
		if a.HasPostData() {
			t.Errorf("%s: a post-data section that is not there", name)
		}
		for _, table := range a.Tables() {
			if table.Indexes != nil || table.Constraints != nil || table.ForeignKeys != nil || table.RowSecurity {
				t.Errorf("%s: %s has marks from nowhere: %+v", name, table.Name, table)
			}
		}
	}
}

// TestFixtureMarks reads what pg_dump wrote: what only a younger core makes is there by name and type.
func TestFixtureMarks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core-10.1.4.sql", "core-10.1.4.dump"} {
		a := openFile(t, name)
		i := slices.IndexFunc(a.Tables(), func(x Table) bool { return x.Name == "all_auth_recipe_users" })
		if i < 0 || !a.HasPostData() {
			t.Fatalf("%s: the table or the post-data section is missing", name)
		}
		got := a.Tables()[i]
		if !slices.Contains(got.Columns, Column{"primary_or_recipe_user_id", "character(36)"}) ||
			!slices.Contains(got.Indexes, "all_auth_recipe_users_recipe_id_index") ||
			!slices.Contains(got.Constraints, "all_auth_recipe_users_pkey") ||
			!slices.Contains(got.ForeignKeys, "all_auth_recipe_users_user_id_fkey") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestRowSecurity(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"":                          false,
		"SET row_security = off;\n": false,
		"SET row_security = on;\n":  true,
		"SET row_security TO 'on';\nSET row_security = off;\n": true,
		"COMMENT ON TABLE t IS 'SET row_security = on;';\n":    false,
	} {
		if got := mustLoad(t, wrap(text)).RowSecurity(); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}

// TestTarRowSecurity reads what pg_dump makes of the option in the script that it puts into a tar archive.
func TestTarRowSecurity(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]bool{
		"--\n-- NOTE:\n--\n\nSET lock_timeout = 0;\nSET row_security = off;\n": false,
		"--\n-- NOTE:\n--\n\nSET lock_timeout = 0;\nSET row_security = on;\n":  true,
		"": false,
	} {
		files := smallArchive(16, 0).members(t)
		files[restoreFile] = []byte(script)
		if got := mustLoad(t, tarFile(t, "", files)).RowSecurity(); got != want {
			t.Errorf("%q: %t, want %t", script, got, want)
		}
	}
}

// TestHasRows compares with reading the rows, in every dump of the tests.
func TestHasRows(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"core-10.1.4.sql", "core-10.1.4.dump", "odd-15.sql", "odd-15.dump", "odd-15-schema.sql", "odd-15-root.dump",
		"odd-15-inserts.sql", "odd-15-inserts.dump", "odd-15-inserts.dir", "odd-16-none.dir", "odd-18.tar", "odd-18.sql.lz4",
	} {
		a := openFile(t, name)
		for _, table := range a.Tables() {
			if table.Name == "typed" {
				continue // its INSERT statements cannot be read
			}
			var rows [][]any
			var err error
			if table.HasData {
				if rows, err = readRows(t, a, table); err != nil {
					t.Fatal(err)
				}
			}
			has, err := a.HasRows(t.Context(), table)
			if err != nil || has != (len(rows) > 0) {
				t.Errorf("%s, %s: %t, %v, but there are %d rows", name, table.Name, has, err, len(rows))
			}
		}
	}
}
