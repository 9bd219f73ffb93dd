package pgdump

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/internal/dumpfile"
)

func smallContent() content {
	rows := [][]any{}
	for range 40 {
		rows = append(rows, []any{"line"})
	}
	return content{
		[]Table{
			{Schema: "public", Name: "a", HasData: true, Columns: []Column{{"id", "integer"}, {"v", "character varying(64)"}}, Indexes: []string{"i"}},
			{Schema: "public", Name: "b", HasData: true, Columns: []Column{{"v", "text"}}},
		},
		map[string][][]any{"public.a": {{"1", "x"}, {"2", nil}, {"3", "drei"}}, "public.b": rows},
	}
}

func TestArchiveVersions(t *testing.T) {
	t.Parallel()
	for minor := minArchive; minor <= maxArchive; minor++ {
		for method := range dumpfile.Methods {
			if method > 1 && minor < 15 {
				continue
			}
			f := smallArchive(minor, method)
			dumps := map[string][]byte{"custom": f.bytes(t)}
			f.piped = true
			dumps["piped"] = f.bytes(t)
			f.again = true
			dumps["appended"] = f.bytes(t)
			dumps["tar"] = tarFile(t, "", f.members(t))
			dumps["tar of a directory"] = tarFile(t, "./dump/", f.members(t))
			for name, data := range dumps {
				a := mustLoad(t, data)
				if diff := cmp.Diff(smallContent(), mustReadAll(t, a)); diff != "" {
					t.Errorf("version 1.%d, method %d, %s (-want +got):\n%s", minor, method, name, diff)
				}
				if got, want := a.Info().ArchiveVersion, fmt.Sprintf("1.%d", minor); got != want {
					t.Errorf("version %s, want %s", got, want)
				}
			}
		}
	}
}

// TestArchiveOfVersion10 has names without a schema, which the entry gives.
func TestArchiveOfVersion10(t *testing.T) {
	t.Parallel()
	f := archiveFile{minor: 12, entries: []archiveEntry{
		{desc: "TABLE", schema: "login", tag: "users", defn: "CREATE TABLE users (\n    id integer\n);\n"},
		{desc: "TABLE DATA", schema: "login", tag: "users", copyStmt: "COPY users (id) FROM stdin;\n", data: "1\n\\.\n\n\n"},
	}}
	want := content{
		[]Table{{Schema: "login", Name: "users", HasData: true, Columns: []Column{{"id", "integer"}}}},
		map[string][][]any{"login.users": {{"1"}}},
	}
	if diff := cmp.Diff(want, mustReadAll(t, mustLoad(t, f.bytes(t)))); diff != "" {
		t.Errorf("content differs (-want +got):\n%s", diff)
	}
}

func TestCustomCut(t *testing.T) {
	t.Parallel()
	for _, f := range []archiveFile{smallArchive(12, 0), smallArchive(14, 1), smallArchive(16, 2), smallArchive(16, 3)} {
		data := f.bytes(t)
		checkCuts(t, data, 1, len(data))
	}
}

// TestCustomDamage changes every byte: nothing may panic or hang, and where
// the data is protected by a checksum, wrong rows must not come out.
func TestCustomDamage(t *testing.T) {
	t.Parallel()
	data := smallArchive(14, 1).bytes(t)
	// The table of contents has no checksum: names and types may come out changed.
	contents := bytes.Index(data, []byte{blockBlobs, 0, 6, 0, 0, 0})
	for i := range data {
		b := bytes.Clone(data)
		b[i] ^= 1 << (i % 8)
		a, err := loadSized(t, "damaged.dump", b, sizes{window: 1 << 12, row: 1 << 12, maxRow: 1 << 20})
		if err != nil {
			continue
		}
		got, err := readAll(t, a)
		if err == nil && i > contents {
			if diff := cmp.Diff(smallContent().Rows, got.Rows); diff != "" {
				t.Errorf("byte %d (-want +got):\n%s", i, diff)
			}
		}
	}
}

func TestCustomErrors(t *testing.T) {
	t.Parallel()
	table := archiveEntry{desc: "TABLE", schema: "s", tag: "t", defn: "CREATE TABLE s.t (\n    a text\n);\n"}
	data := func(text string) archiveEntry {
		return archiveEntry{desc: "TABLE DATA", schema: "s", tag: "t", copyStmt: "COPY s.t (a) FROM stdin;\n", data: text}
	}
	inserted := func(text string) archiveEntry {
		return archiveEntry{desc: "TABLE DATA", schema: "s", tag: "t", data: text}
	}
	archive := func(method int, entries ...archiveEntry) []byte {
		return archiveFile{minor: 16, method: method, entries: entries}.bytes(t)
	}
	good := archive(0, table, data("x\n\\.\n\n\n"))
	block := bytes.Index(good, []byte{blockData, 0, 2, 0, 0, 0, 0, 7})
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"no data block", good[:block], "table s.t: the data is missing at the end of the file (byte "},
		{"block twice", slices.Concat(good, good[block:]), "more follows behind the last block of data (byte "},
		{"block twice, another missing", func() []byte {
			two := archive(0, table, data("x\n\\.\n\n\n"), data("y\n\\.\n\n\n"))
			return slices.Concat(two[:len(two)-23], two[len(two)-46:len(two)-23])
		}(), "a block of data does not match the table of contents (byte "},
		{"block of nobody", slices.Concat(good[:block], []byte{blockData, 0, 9, 0, 0, 0}), "a block of data does not match the table of contents (byte "},
		{"block of unknown kind", slices.Concat(good[:block], []byte{7}, good[block+1:]), "a block of data does not match the table of contents (byte "},
		{"negative chunk", slices.Concat(good[:block], []byte{blockData, 0, 2, 0, 0, 0, 1, 6, 0, 0, 0}), "a chunk of data has a negative length (byte "},
		{"chunk behind the end", slices.Concat(good[:block], []byte{blockData, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f}), "the file ends in the middle of the archive (byte "},
		{"bad sign", slices.Concat(good[:block], []byte{blockData, 2, 2, 0, 0, 0}), "an integer makes no sense (byte "},
		{"trailing byte", slices.Concat(good, []byte{blockData}), "more follows behind the last block of data (byte "},
		{"first byte of a block", slices.Concat(good[:block], []byte{blockData}), "the file ends in the middle of the archive (byte "},
		{"INSERT without a definition", archive(0, inserted("INSERT INTO s.t VALUES ('secret');\n")), "table s.t: the rows are INSERT statements that do not name their columns, and the table's definition is not in the file (byte "},
		{"INSERT, two values", archive(0, table, inserted("INSERT INTO s.t VALUES ('x');\nINSERT INTO s.t VALUES ('secret', 1);\n")), "table s.t, row 2: the row has 2 fields, the table 1 columns (byte "},
		{"INSERT, cut", archive(0, table, inserted("INSERT INTO s.t VALUES ('secr")), "table s.t: cannot read the data: an INSERT statement is not as pg_dump writes it (byte "},
		{"INSERT, other columns", archive(0, table, inserted("INSERT INTO s.t (b) VALUES ('secret');\n")), "table s.t: cannot read the data: an INSERT statement names other columns than the table has (byte "},
		{"INSERT, UTF-8", archive(1, table, inserted("INSERT INTO s.t VALUES ('secr\xe9t');\n")), `table s.t, row 1, column "a": the text is not valid UTF-8 (byte `},
		{"no COPY", archive(0, table, archiveEntry{desc: "TABLE DATA", schema: "s", tag: "t", copyStmt: "SET x = 1;\n"}), "table s.t: the COPY statement is missing (byte "},
		{"bad COPY", archive(0, table, archiveEntry{desc: "TABLE DATA", schema: "s", tag: "t", copyStmt: "COPY s.t (a"}), "the file ends inside a COPY statement (byte "},
		{"psql command", archive(0, archiveEntry{desc: "TABLE", defn: "\\connect x\n"}), "a psql command in the table of contents (byte "},
		{"encoding", archive(0, archiveEntry{desc: "ENCODING", tag: "ENCODING", defn: "SET client_encoding = 'LATIN1';\n"}), `the dump is in the encoding "LATIN1", not in UTF-8 (byte `},
		{"end marker missing", archive(0, table, data("x\n")), "table s.t, row 1: the data ends without an end-of-data marker (byte "},
		{"no data at all", archive(0, table, data("")), "table s.t: the data ends without an end-of-data marker (byte "},
		{"data behind the marker", archive(0, table, data("x\n\\.\nsecret\n")), "table s.t, row 1: data behind the end-of-data marker (byte "},
		{"end marker missing, gzip", archive(1, table, data("x\n")), "table s.t, row 1: the data ends without an end-of-data marker (byte "},
		{"fields", archive(3, table, data("x\nsecret\ty\n\\.\n\n\n")), "table s.t, row 2: the row has 2 fields, the table 1 columns (byte "},
		{"UTF-8", archive(1, table, data("x\nsecr\xe9t\n\\.\n\n\n")), `table s.t, row 2, column "a": the text is not valid UTF-8 (byte `},
		{"not compressed", slices.Concat(archive(1, table)[:11], []byte{1}, good[12:]), "table s.t: cannot read the data: decompress: zlib: invalid header"},
		{"unknown method", slices.Concat(good[:11], []byte{4}, good[12:]), "the archive is compressed with an unknown method, number 4 (byte "},
		{"unknown format", slices.Concat(good[:10], []byte{4}, good[11:]), "the archive is of an unknown format, number 4 (byte "},
		{"format of a directory", slices.Concat(good[:10], []byte{3}, good[11:]), "this is the table of contents of a directory-format dump"},
		{"another dump behind it", slices.Concat(good, good), "a second dump begins in the same file (byte "},
		{"more behind it", slices.Concat(good, []byte("secret")), "more follows behind the last block of data (byte "},

		{"size of integers", slices.Concat(good[:8], []byte{9}, good[9:]), "the archive header makes no sense (byte "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, err := loadText(t, "test.dump", tt.data)
			if err == nil {
				_, err = readAll(t, a)
			}
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Hint == "" || syntax.Line != 0 {
				t.Fatalf("error %v, want a syntax error with a hint and without a line", err)
			}
			if !strings.HasPrefix(err.Error(), "test.dump: "+tt.want) {
				t.Errorf("error\n%v\nwant\ntest.dump: %s…", err, tt.want)
			}
			if strings.Contains(err.Error(), "secr") {
				t.Errorf("the error shows data: %v", err)
			}
		})
	}
}

// TestForeignEncodings reads what pg_dump made of databases that are not UTF-8.
func TestForeignEncodings(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"latin1.sql":     `testdata/latin1.sql:13: the dump is in the encoding "LATIN1", not in UTF-8 (byte 332); run pg_dump again with --encoding=UTF8`,
		"latin1.dump":    `testdata/latin1.dump: the dump is in the encoding "LATIN1", not in UTF-8 (byte 198); run pg_dump again with --encoding=UTF8`,
		"sql-ascii.sql":  `testdata/sql-ascii.sql:43: table public.t, row 2, column "b": the text is not valid UTF-8 (byte 927); the database has the encoding SQL_ASCII, which takes any bytes: correct the value there and run pg_dump again`,
		"sql-ascii.dump": `testdata/sql-ascii.dump: table public.t, row 2, column "b": the text is not valid UTF-8 (byte 1234); the database has the encoding SQL_ASCII, which takes any bytes: correct the value there and run pg_dump again`,
	} {
		a, err := Open(t.Context(), "testdata/"+name)
		if err == nil {
			_, err = readAll(t, a)
			err = errors.Join(err, a.Close())
		}
		if err == nil || err.Error() != want {
			t.Errorf("%s: error\n%v\nwant\n%s", name, err, want)
		}
	}
}

// TestRowLimit feeds an endless line that compresses to almost nothing.
func TestRowLimit(t *testing.T) {
	t.Parallel()
	f := archiveFile{minor: 16, method: 3, entries: []archiveEntry{
		{desc: "TABLE DATA", schema: "s", tag: "t", copyStmt: "COPY s.t (a) FROM stdin;\n", data: strings.Repeat("x", 1<<20) + "\n\\.\n"},
	}}
	a, err := loadSized(t, "test.dump", f.bytes(t), sizes{window: 128, row: 128, maxRow: 1 << 20})
	if err == nil {
		_, err = readAll(t, a)
	}
	if err == nil || !strings.Contains(err.Error(), "table s.t, row 1: the row is longer than 1 MiB") {
		t.Errorf("error %v", err)
	}
}
