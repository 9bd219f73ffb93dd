package pgdump

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

// TestPlainTables reads definitions and data in all the ways that the versions
// of pg_dump write them.
func TestPlainTables(t *testing.T) {
	t.Parallel()
	cols := func(pairs ...string) (list []Column) {
		for p := range slices.Chunk(pairs, 2) {
			list = append(list, Column{p[0], p[1]})
		}
		return list
	}
	for _, tt := range []struct {
		name, body string
		want       content
	}{
		{
			"search path of version 10 and older",
			"SET search_path = login, pg_catalog;\n\nCREATE TABLE users (\n    id character(36) NOT NULL\n);\n\n\nALTER TABLE login.users OWNER TO postgres;\n\n" +
				"SET search_path = \"My Schema\", pg_catalog;\n\nCREATE TABLE t (\n    a integer\n);\n\nSET search_path = login, pg_catalog;\n\n" +
				"COPY users (id) FROM stdin;\nx\n\\.\n\n\nSET search_path = \"My Schema\", pg_catalog;\n\nCOPY t (a) FROM stdin;\n1\n\\.\n",
			content{
				[]Table{{Schema: "My Schema", Name: "t", HasData: true, Columns: cols("a", "integer")}, {Schema: "login", Name: "users", HasData: true, Columns: cols("id", "character(36)")}},
				map[string][][]any{"login.users": {{"x"}}, `"My Schema".t`: {{"1"}}},
			},
		},
		{
			"search path by set_config",
			"SELECT pg_catalog.set_config('search_path', '\"$user\", \"A b\", public', false);\nCREATE TABLE t (a integer);\n",
			content{[]Table{{Schema: "A b", Name: "t", Columns: cols("a", "integer")}}, map[string][][]any{}},
		},
		{
			"unquoted names fold to lower case",
			"CREATE TABLE Public.Users (Id INTEGER, \"Id\" text);\ncopy PUBLIC.USERS (ID, \"Id\") from STDIN ;\n1\t2\n\\.\n",
			content{[]Table{{Schema: "public", Name: "users", HasData: true, Columns: cols("id", "INTEGER", "Id", "text")}}, map[string][][]any{"public.users": {{"1", "2"}}}},
		},
		{
			"column list left out",
			"CREATE TABLE s.p (a integer, b text);\nCREATE TABLE s.c (g integer GENERATED ALWAYS AS ((a + 1)) STORED, c uuid, a integer) INHERITS (s.p);\nCOPY s.c FROM stdin;\n1\tx\ty\n\\.\n",
			content{
				[]Table{{Schema: "s", Name: "c", HasData: true, Parent: TableName{"s", "p"}, Columns: cols("a", "integer", "b", "text", "c", "uuid")}, {Schema: "s", Name: "p", Columns: cols("a", "integer", "b", "text")}},
				map[string][][]any{"s.c": {{"1", "x", "y"}}},
			},
		},
		{
			"partitions of version 10",
			"CREATE TABLE s.p (a integer, b text) PARTITION BY LIST (a);\nCREATE TABLE s.c PARTITION OF s.p (\n    b DEFAULT 'x, y)'::text,\n    CONSTRAINT k CHECK ((a > 0))\n)\nFOR VALUES IN (1);\nCOPY s.c (a, b) FROM stdin;\n1\tx\n\\.\n",
			content{
				[]Table{{Schema: "s", Name: "c", HasData: true, Parent: TableName{"s", "p"}, Columns: cols("a", "integer", "b", "text")}, {Schema: "s", Name: "p", HasData: true, Columns: cols("a", "integer", "b", "text")}},
				map[string][][]any{"s.c": {{"1", "x"}}, "s.p": {{"1", "x"}}},
			},
		},
		{
			"a partition without data",
			"CREATE TABLE s.p (a integer) PARTITION BY LIST (a);\nCREATE TABLE s.c PARTITION OF s.p FOR VALUES IN (1);\nCREATE TABLE s.d PARTITION OF s.p FOR VALUES IN (2);\nCOPY s.c (a) FROM stdin;\n1\n\\.\n",
			content{
				[]Table{
					{Schema: "s", Name: "c", HasData: true, Parent: TableName{"s", "p"}, Columns: cols("a", "integer")},
					{Schema: "s", Name: "d", Parent: TableName{"s", "p"}, Columns: cols("a", "integer")},
					{Schema: "s", Name: "p", Columns: cols("a", "integer")},
				},
				map[string][][]any{"s.c": {{"1"}}},
			},
		},
		{
			"partitions of each other",
			"ALTER TABLE ONLY s.p ATTACH PARTITION s.c DEFAULT;\nALTER TABLE ONLY s.c ATTACH PARTITION s.p DEFAULT;\nCREATE TABLE s.c (a integer);\nCREATE TABLE s.p (a integer);\n",
			content{
				[]Table{{Schema: "s", Name: "c", Parent: TableName{"s", "p"}, Columns: cols("a", "integer")}, {Schema: "s", Name: "p", Parent: TableName{"s", "c"}, Columns: cols("a", "integer")}},
				map[string][][]any{},
			},
		},
		{
			"attached before it is created",
			"ALTER TABLE ONLY s.p ATTACH PARTITION s.c DEFAULT;\nCREATE TABLE s.c (a integer);\n",
			content{[]Table{{Schema: "s", Name: "c", Parent: TableName{"s", "p"}, Columns: cols("a", "integer")}}, map[string][][]any{}},
		},
		{
			"column definitions",
			"CREATE UNLOGGED TABLE IF NOT EXISTS s.t (\n    a timestamp(3) without time zone DEFAULT '2000-01-01 00:00:00'::timestamp without time zone NOT NULL,\n" +
				"    b integer GENERATED ALWAYS AS IDENTITY (START WITH 1),\n    c bigint GENERATED ALWAYS AS ((a * 2)),\n    d text COLLATE pg_catalog.\"C\" COMPRESSION lz4 STORAGE EXTENDED,\n" +
				"    storage public.storage NOT NULL,\n    exclude \"char\",\n    e numeric(10,2)[] DEFAULT ARRAY[(1)::numeric, 2.5],\n    f character varying(64) DEFAULT 'a,b)(''--'::character varying,\n" +
				"    g text DEFAULT E'\\',\\'' CONSTRAINT nn NOT NULL,\n    h text DEFAULT $$,)$$,\n    i \"Odd.Schema\".\"Odd Type\",\n    j interval day to second(3) /* , x text */ NULL, -- , y text\n" +
				"    CONSTRAINT x CHECK ((a <> ');'::text)),\n    EXCLUDE USING gist (a WITH =),\n    NOT NULL b,\n    PRIMARY KEY (a, b WITHOUT OVERLAPS),\n    FOREIGN KEY (a) REFERENCES s.u(a),\n    UNIQUE (a)\n)\nWITH (fillfactor='70');\n",
			content{[]Table{{Schema: "s", Name: "t", Columns: cols("a", "timestamp(3) without time zone", "b", "integer", "d", "text", "storage", "public.storage", "exclude", `"char"`,
				"e", "numeric(10,2)[]", "f", "character varying(64)", "g", "text", "h", "text", "i", `"Odd.Schema"."Odd Type"`, "j", "interval day to second(3)")}}, map[string][][]any{}},
		},
		{
			"look-alikes",
			"CREATE DATABASE x;\n\\connect x\nCREATE FUNCTION s.f() RETURNS void LANGUAGE sql AS $_x$\nCOPY s.no (a) FROM stdin;\n1\n\\.\nCREATE TABLE s.no1 (a integer);\nINSERT INTO s.no VALUES (1);\n$x$ $_$ $_x $_x$;\n" +
				"CREATE FUNCTION s.begin() RETURNS integer LANGUAGE sql\n    BEGIN ATOMIC\n INSERT INTO s.no VALUES (CASE WHEN true THEN 1 END);\n CREATE TABLE s.no2 (a integer);\nEND;\n" +
				"CREATE RULE r AS ON DELETE TO s.t DO ALSO (INSERT INTO s.no VALUES (1); CREATE TABLE s.no3 (a integer););\n" +
				"COMMENT ON SCHEMA s IS '\n-- PostgreSQL database dump complete\nCOPY s.no (a) FROM stdin;\n\\.\n';\n/* nested /* COPY s.no (a) FROM stdin; */\nCREATE TABLE s.no4 (a integer); */\n" +
				"-- CREATE TABLE s.no5 (a integer);\nCOMMENT ON SCHEMA s IS E'it\\'s; COPY s.no (a) FROM stdin;\\\\';\nCOMMENT ON COLUMN s.\"a;b\"\"c\".d IS NULL;\n" +
				"CREATE TABLE s.yes (a$b$ integer);\nALTER TABLE s.a$b$c OWNER TO x;\n\\restrict k\n\\unrestrict k\n",
			content{[]Table{{Schema: "s", Name: "yes", Columns: cols("a$b$", "integer")}}, map[string][][]any{}},
		},
		{
			"old string escapes",
			"SET standard_conforming_strings = off;\nCOMMENT ON SCHEMA s IS 'it\\'s; CREATE TABLE s.no (a integer);';\nCREATE TABLE s.t (a integer);\n",
			content{[]Table{{Schema: "s", Name: "t", Columns: cols("a", "integer")}}, map[string][][]any{}},
		},
		{
			"values",
			"COPY s.t (a, b, c) FROM stdin;\n" + `\N` + "\t\t" + `\\N` + "\n" + `\b\f\n\r\t\v\\` + "\t" + `x\\.` + "\t" + `\101\x41\u00e9\q` + "\n\t\t\n" + `\\\\` + "\t" + `\x4` + "\t" + `\303\251` + "\n\\.\n",
			content{
				[]Table{{Schema: "s", Name: "t", HasData: true, Columns: cols("a", "", "b", "", "c", "")}},
				map[string][][]any{"s.t": {{nil, "", `\N`}, {"\b\f\n\r\t\v\\", `x\.`, "AAu00e9q"}, {"", "", ""}, {`\\`, "\x04", "é"}}},
			},
		},
		{
			"data of a file with one table of one column",
			"COPY s.t (a) FROM stdin;\n\n\\N\n \n\\.\n",
			content{[]Table{{Schema: "s", Name: "t", HasData: true, Columns: cols("a", "")}}, map[string][][]any{"s.t": {{""}, {nil}, {" "}}}},
		},
		{
			"several data sections of one table",
			"COPY s.t (a, b, c) FROM stdin;\n1\t2\t3\n\\.\nCOPY s.t (c, a, b) FROM stdin;\n6\t4\t5\n\\.\nCOPY s.t (a, b, c) FROM stdin;\n\\.\n",
			content{[]Table{{Schema: "s", Name: "t", HasData: true, Columns: cols("a", "", "b", "", "c", "")}}, map[string][][]any{"s.t": {{"1", "2", "3"}, {"4", "5", "6"}}}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, mustReadAll(t, mustLoad(t, wrap(tt.body)))); diff != "" {
				t.Errorf("content differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPlainErrors looks at the whole message: it must name the line, the place
// and the remedy, and no data.
func TestPlainErrors(t *testing.T) {
	t.Parallel()
	const first = 12 // line of the body in wrap
	at := func(line int, rest string) string { return fmt.Sprintf("test.sql:%d: ", first+line-1) + rest }
	for _, tt := range []struct{ name, text, want string }{
		{"encoding", wrap("SET client_encoding = 'LATIN1';\n"), at(1, `the dump is in the encoding "LATIN1", not in UTF-8 (byte %); run pg_dump again with --encoding=UTF8`)},
		{"encoding by set_config", wrap("SELECT pg_catalog.set_config('client_encoding', 'WIN1252', false);\n"), at(1, `the dump is in the encoding "WIN1252", not in UTF-8 (byte %); run pg_dump again with --encoding=UTF8`)},
		{"unterminated data", "-- PostgreSQL database dump\nCOPY public.t (a) FROM stdin;\n1\n2\n", "test.sql:5: table public.t: the file ends inside the data of the table (byte %); the file seems to be cut off: copy it again"},
		{"no trailer", "-- PostgreSQL database dump\nCREATE TABLE public.t (a integer);\n", `test.sql:3: the line "-- PostgreSQL database dump complete" is missing at the end (byte %); the file seems to be cut off`},
		{"cut in a string", "-- PostgreSQL database dump\nCOMMENT ON x IS 'a\n", "test.sql:3: the file ends inside a quoted string (byte %); the file seems to be cut off"},
		{"cut in an identifier", "-- PostgreSQL database dump\nCREATE TABLE \"a\n", "test.sql:3: the file ends inside a quoted identifier (byte %)"},
		{"cut in a body", "-- PostgreSQL database dump\nDO $x$ a $x\n", "test.sql:3: the file ends inside a dollar-quoted string (byte %)"},
		{"cut in a comment", "-- PostgreSQL database dump\n/* a\n", "test.sql:3: the file ends inside a comment (byte %)"},
		{"cut in a column list", "-- PostgreSQL database dump\nCREATE TABLE public.t (a integer,\n", "test.sql:3: the file ends inside a column list (byte %)"},
		{"cut in a type", "-- PostgreSQL database dump\nCREATE TABLE public.t (a integer\n", "test.sql:3: the file ends inside a column type (byte %)"},
		{"cut in COPY", "-- PostgreSQL database dump\nCOPY public.t (a) FROM\n", "test.sql:3: the file ends inside a COPY statement (byte %)"},
		{"cut in a statement", "-- PostgreSQL database dump\nGRANT x\n", "test.sql:3: the file ends inside a statement (byte %)"},
		{"two dumps", wrap("") + wrap(""), "test.sql:18: a second dump begins in the same file (byte %); dump the one database that is needed"},
		{"statement after the end", wrap("") + "SET x = 1;\n", "test.sql:17: more follows behind the end of the dump (byte %); dump the one database"},
		{"pg_dumpall", "--\n-- PostgreSQL database cluster dump\n--\n", "test.sql:2: this is the output of pg_dumpall, which holds several databases (byte %); dump the one database that is needed: pg_dump --file=dump.sql DATABASE"},
		{"two databases", wrap("COPY public.t (a) FROM stdin;\n\\.\n\\connect other\n"), at(3, "the file holds more than one database (byte %); dump the one database")},
		{"two databases without data", wrap("CREATE TABLE s.t (a integer);\n\\connect other\n"), at(2, "the file holds more than one database (byte %); dump the one database")},
		{"stray marker", wrap("SET x = 1;\n\\.\n"), at(2, "an end-of-data marker without data before it (byte %); the file is damaged")},
		{"COPY line lost", wrap("1\tsecret\n\\N\tx\n\\.\nSET x = 1;\n"), at(2, "data or a psql command in the middle of a statement (byte %); the file is damaged")},
		{"psql command", wrap("\\copy t from 'x'\n"), at(1, "a psql command that pg_dump does not write (byte %); use a dump that pg_dump wrote, unchanged")},
		{"data elsewhere", wrap("COPY public.t (a) FROM '/tmp/x';\n"), at(1, "table public.t: the rows are in another file (byte %); use a dump")},
		{"COPY with options", wrap("COPY public.t (a) FROM stdin WITH (FORMAT csv);\n"), at(1, "table public.t: COPY with options is not what pg_dump writes (byte %); use a dump")},
		{"object ids", wrap("COPY public.t (a) WITH OIDS FROM stdin;\n"), at(1, "table public.t: the rows carry object ids (byte %); run pg_dump again without --oids")},
		{"text behind COPY", wrap("COPY public.t (a) FROM stdin; x\n"), at(1, "table public.t: text behind a COPY statement (byte %); the file is damaged")},
		{"no schema", wrap("CREATE TABLE t (a integer);\n"), at(1, "the table t is named without a schema, and the search path is empty (byte %)")},
		{"defined twice", wrap("CREATE TABLE s.t (a integer);\nCREATE TABLE s.t (a integer);\n"), at(2, "table s.t: the table is defined twice (byte %)")},
		{"nonsense", wrap("COPY 'x' (a) FROM stdin;\n"), at(1, "a COPY statement is not as pg_dump writes it (byte %)")},
		{"other columns", wrap("COPY s.t (a) FROM stdin;\n\\.\nCOPY s.t (b) FROM stdin;\n\\.\n"), at(4, "table s.t: the COPY statement before this data does not name the columns of the table, each once (byte %)")},
		{"a column twice", wrap("COPY s.t (a, a) FROM stdin;\n\\.\n"), at(2, "table s.t: the COPY statement before this data does not name the columns of the table, each once (byte %)")},
		{"too many columns", wrap("CREATE TABLE s.t (" + strings.Repeat("a integer,", 2000) + "b integer);\n"), at(1, "a column list is not as pg_dump writes it (byte %)")},
		{"marker with something behind", wrap("COPY s.t (a) FROM stdin;\n\\.x\n\\.\n"), at(2, "table s.t: an end-of-data marker that does not stand alone on its line (byte %)")},
		// The rest shows when the rows are read.
		{"too few fields", wrap("COPY s.t (a, b) FROM stdin;\n1\t2\nsecret\n\\.\n"), at(3, "table s.t, row 2: the row has 1 fields, the table 2 columns (byte %); the file is damaged")},
		{"too many fields", wrap("COPY s.t (a, b) FROM stdin;\n1\tsecret\t3\t4\n\\.\n"), at(2, "table s.t, row 1: the row has 4 fields, the table 2 columns (byte %)")},
		{"empty line", wrap("COPY s.t (a, b) FROM stdin;\n\n\\.\n"), at(2, "table s.t, row 1: the row has 1 fields, the table 2 columns (byte %)")},
		{"fields without columns", wrap("CREATE TABLE s.t ();\nCOPY s.t  FROM stdin;\nx\n\\.\n"), at(3, "table s.t, row 1: the row has 1 fields, the table 0 columns (byte %)")},
		{"invalid UTF-8", wrap("COPY s.t (a, \"B b\") FROM stdin;\n1\tx\n2\tsecr\xe9t\n\\.\n"), at(3, `table s.t, row 2, column "B b": the text is not valid UTF-8 (byte %); the file is damaged`)},
		{"invalid UTF-8 of SQL_ASCII", wrap("SET client_encoding = 'SQL_ASCII';\nCOPY s.t (a) FROM stdin;\n\xe9\n\\.\n"), at(3, `table s.t, row 1, column "a": the text is not valid UTF-8 (byte %); the database has the encoding SQL_ASCII, which takes any bytes: correct the value there`)},
		{"UTF-8 split by escapes", wrap("COPY s.t (a) FROM stdin;\nx\\303\\.\n\\.\n"), at(2, `table s.t, row 1, column "a": an end-of-data marker inside a row (byte %)`)},
		{"half a character by number", wrap("COPY s.t (a) FROM stdin;\nx\\303\n\\.\n"), at(2, `table s.t, row 1, column "a": the text is not valid UTF-8 (byte %)`)},
		{"NUL by number", wrap("COPY s.t (a) FROM stdin;\n\\0\n\\.\n"), at(2, `table s.t, row 1, column "a": the text is not valid UTF-8 (byte %)`)},
		{"NUL", wrap("COPY s.t (a, b) FROM stdin;\n1\t2\n1\t\x00\n\\.\n"), at(3, `table s.t, row 2, column "b": a NUL byte, which text cannot have (byte %); the file is damaged`)},
		{"some lines converted", wrap("COPY s.t (a) FROM stdin;\n1\n2\r\n\\.\n"), at(3, `table s.t, row 2, column "a": a carriage return that is not escaped: line ends were changed (byte %)`)},
		{"some lines not converted", wrap("COPY s.t (a) FROM stdin;\r\n1\r\n2\n\\.\n"), at(3, "table s.t, row 2: lines end sometimes with and sometimes without a carriage return (byte %)")},
		{"single backslash", wrap("COPY s.t (a, b) FROM stdin;\n1\tx\\\n\\.\n"), at(2, `table s.t, row 1, column "b": a field ends with a single backslash (byte %)`)},
		{"escaped tab", wrap("COPY s.t (a, b) FROM stdin;\n1\\\tx\n\\.\n"), at(2, `table s.t, row 1, column "a": a field ends with a single backslash (byte %)`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, err := loadText(t, "test.sql", tt.text)
			if err == nil {
				_, err = readAll(t, a)
			}
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("error %v, want a syntax error", err)
			}
			want, rest, _ := strings.Cut(tt.want, "%")
			if got := err.Error(); !strings.HasPrefix(got, want) || !strings.Contains(got, rest) {
				t.Errorf("error\n%v\nwant\n%s", err, tt.want)
			}
			if strings.Contains(err.Error(), "secr") {
				t.Errorf("the error shows data: %v", err)
			}
			if syntax.Offset > int64(len(tt.text)) || 1+strings.Count(tt.text[:syntax.Offset], "\n") != syntax.Line {
				t.Errorf("byte %d is not on line %d", syntax.Offset, syntax.Line)
			}
		})
	}
}

// TestInserts reads rows that pg_dump --inserts and its kin write.
func TestInserts(t *testing.T) {
	t.Parallel()
	const table = "CREATE TABLE public.t (\n    id bigint,\n    \"V\"\"\" text,\n    g integer GENERATED ALWAYS AS (1) STORED,\n    ok boolean\n);\n"
	const users = "CREATE TABLE public.u (\n    id bigint\n);\n"
	for name, tt := range map[string]struct {
		text, says string
		want       [][]any
	}{
		"values": {
			text: table + "INSERT INTO public.t VALUES (-1, 'it''s\ta\r\nline \\N \\. ;--', DEFAULT, true);\n" +
				"INSERT INTO public.t VALUES (1.5e+10, NULL, DEFAULT, false) ON CONFLICT DO NOTHING;\nINSERT INTO public.t VALUES (3, '', DEFAULT, NULL);\n",
			want: [][]any{{"-1", "it's\ta\r\nline \\N \\. ;--", "t"}, {"1.5e+10", nil, "f"}, {"3", "", nil}},
		},
		"many rows": {
			text: table + "INSERT INTO public.t (id, \"V\"\"\", ok) OVERRIDING SYSTEM VALUE VALUES\n\t(1, E'a\\\\b''', true),\n\t(2, B'01', false);\n",
			want: [][]any{{"1", `a\b'`, "t"}, {"2", "01", "f"}},
		},
		"tables in turns": {
			text: table + users + "INSERT INTO public.t VALUES (1, 'a', DEFAULT, NULL);\nINSERT INTO public.u VALUES (9);\n-- INSERT INTO public.t\nINSERT INTO public.t VALUES (2, 'b', DEFAULT, NULL);\n",
			want: [][]any{{"1", "a", nil}, {"2", "b", nil}},
		},
		"no definition": {text: "INSERT INTO public.t (id, v) VALUES (1, 'a');\n", want: [][]any{{"1", "a"}}},
		"no names":      {text: "INSERT INTO public.t VALUES (1, 'secret');\n", says: "do not name their columns"},
		"a call":        {text: table + "INSERT INTO public.t VALUES (1, now(), DEFAULT, true);\n", says: "not as pg_dump writes it"},
		"a query":       {text: table + "INSERT INTO public.t SELECT 'secret';\n", says: "not as pg_dump writes it"},
		"too few":       {text: table + "INSERT INTO public.t VALUES (1);\n", says: "row 1: the row has 1 fields, the table 3 columns"},
		"changed":       {text: table + "INSERT INTO public.t VALUES (1, 'a\r\nsecret', DEFAULT, true);\r\nINSERT INTO public.t VALUES (2, '', DEFAULT, true);\r\n", says: "line ends were changed"},
		"cut":           {text: table + "INSERT INTO public.t VALUES (1, 'secret;\n", says: "the file ends inside a quoted string"},
	} {
		a, err := loadText(t, "test.sql", wrap(tt.text))
		var got content
		if err == nil {
			got, err = readAll(t, a)
		}
		if tt.says != "" {
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: error %v, want %q in it", name, err, tt.says)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got.Rows["public.t"]); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
		}
	}
}

// TestPlainCut cuts at every byte a dump that has everything: each cut is an
// error, or nothing but white space and comments was lost.
func TestPlainCut(t *testing.T) {
	t.Parallel()
	text := wrap("CREATE TABLE public.a (\n    id integer DEFAULT 'x;'::text,\n    v text\n);\n\n"+
		"CREATE FUNCTION public.f() RETURNS void AS $$ x; $$;\n/* c */\nCOMMENT ON TABLE \"public\".a IS E'it\\'s';\n\\restrict k\n\n"+
		"COPY public.a (id, v) FROM stdin;\n1\tx\n2\t\\N\n\\.\n\n\nCOPY public.b (v) FROM stdin;\n\\.\n\n\nCOPY public.a (v, id) FROM stdin;\ny\t3\n\\.\n\n\nGRANT ALL ON public.a TO x;\n") +
		"\\unrestrict k\n\n"
	for _, text := range []string{text, strings.ReplaceAll(text, "\n", "\r\n")} {
		checkCuts(t, []byte(text), 1, strings.Index(text, "dump complete")+len("dump complete"))
	}
}

// checkCuts cuts at every byte, or every step bytes, and expects an error for
// all cuts before needed and the whole content for those behind it.
func checkCuts(t *testing.T, data []byte, step, needed int) {
	t.Helper()
	want := mustReadAll(t, mustLoad(t, data))
	for n := 0; n < len(data); n += step {
		a, err := loadText(t, "cut.sql", data[:n])
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("cut at %d: %v is no syntax error", n, err)
			}
			if n >= needed {
				t.Fatalf("cut at %d, behind the end: %v", n, err)
			}
			continue
		}
		if n < needed {
			t.Fatalf("cut at %d of %d was not noticed", n, len(data))
		}
		if diff := cmp.Diff(want, mustReadAll(t, a)); diff != "" {
			t.Fatalf("cut at %d (-want +got):\n%s", n, diff)
		}
	}
}

func TestFixturesCut(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]int{"core-10.1.4.sql": 1999, "core-3.16.2-prefixed.sql": 499, "core-10.1.4.dump": 1999, "odd-15.dump": 29, "odd-18.sql": 29} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := readFile(t, name)
			needed := len(data)
			if i := strings.LastIndex(string(data), "dump complete"); i > 0 && strings.HasSuffix(name, ".sql") {
				needed = i + len("dump complete")
			}
			checkCuts(t, data, step, needed)
		})
	}
}

// TestSmallBuffers reads everything through buffers of all kinds of sizes, so
// that their borders fall everywhere.
func TestSmallBuffers(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "reads every dump in small pieces")
	crlf := strings.ReplaceAll(string(readFile(t, "odd-15.sql")), "\n", "\r\n")
	files := map[string][]byte{"odd-15.sql in CRLF": []byte(crlf)}
	for _, name := range []string{"odd-15.sql", "odd-18.sql", "odd-15-root.sql", "odd-15.dump", "odd-18-pipe-none.dump", "odd-18-zstd.dump"} {
		files[name] = readFile(t, name)
	}
	for name, data := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := mustReadAll(t, mustLoad(t, data))
			for n := range 60 {
				a, err := loadSized(t, name, data, sizes{window: 128 + 3*n, row: 1 + n, maxRow: 1 << 20})
				if err != nil {
					t.Fatalf("size %d: %v", n, err)
				}
				if diff := cmp.Diff(want, mustReadAll(t, a)); diff != "" {
					t.Fatalf("size %d (-want +got):\n%s", n, diff)
				}
			}
		})
	}
}

func TestTableNameString(t *testing.T) {
	t.Parallel()
	for want, name := range map[string]TableName{
		"public.users":   {"public", "users"},
		`"Public"."a b"`: {"Public", "a b"},
		`a1."1a"`:        {"a1", "1a"},
		`"a""b"."é"`:     {`a"b`, "é"},
		"":               {},
	} {
		if got := name.String(); got != want {
			t.Errorf("%q.%q: %s, want %s", name.Schema, name.Name, got, want)
		}
	}
}
