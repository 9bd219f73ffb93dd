package pgdump

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

// TestFixturesAgree reads the same database from both formats.
func TestFixturesAgree(t *testing.T) {
	t.Parallel()
	plain := mustReadAll(t, openFile(t, "core-10.1.4.sql"))
	custom := mustReadAll(t, openFile(t, "core-10.1.4.dump"))
	if diff := cmp.Diff(plain, custom); diff != "" {
		t.Errorf("plain and custom differ (-plain +custom):\n%s", diff)
	}
}

// TestFixtureRows compares with a reader that knows nothing of SQL: these
// files have no line that only looks like COPY.
func TestFixtureRows(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core-10.1.4.sql", "core-3.16.2-prefixed.sql"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := map[string][][]any{}
			var table string
			lines := bufio.NewScanner(bytes.NewReader(readFile(t, name)))
			lines.Buffer(nil, 1<<20)
			unescape := strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\r`, "\r", `\b`, "\b", `\f`, "\f", `\v`, "\v")
			for lines.Scan() {
				line := lines.Text()
				switch {
				case line == `\.`:
					table = ""
				case table != "":
					row := []any{}
					for f := range strings.SplitSeq(line, "\t") {
						if f == `\N` {
							row = append(row, nil)
						} else {
							row = append(row, unescape.Replace(f))
						}
					}
					want[table] = append(want[table], row)
				case strings.HasPrefix(line, "COPY "):
					table = strings.Fields(line)[1]
					want[table] = [][]any{}
				}
			}
			got := mustReadAll(t, openFile(t, name))
			if diff := cmp.Diff(want, got.Rows); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInfo(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]Info{
		"core-10.1.4.sql":       {Format: Plain, ServerVersion: "15.18", DumpVersion: "15.18", Encoding: "UTF8"},
		"core-9.3.0.dump":       {Format: Custom, ArchiveVersion: "1.14", Compression: "gzip", Database: "fx_a_core_9_3_0", ServerVersion: "15.18 (Debian 15.18-0+deb12u1)", DumpVersion: "15.18 (Debian 15.18-0+deb12u1)", Encoding: "UTF8"},
		"odd-16.dump":           {Format: Custom, ArchiveVersion: "1.15", Compression: "gzip", Database: "odd", ServerVersion: "15.18 (Debian 15.18-0+deb12u1)", DumpVersion: "16.14", Encoding: "UTF8"},
		"odd-18-zstd.dump":      {Format: Custom, ArchiveVersion: "1.16", Compression: "zstd", Database: "odd", ServerVersion: "18.6", DumpVersion: "18.6", Encoding: "UTF8"},
		"odd-18-lz4.dump":       {Format: Custom, ArchiveVersion: "1.16", Compression: "lz4", Database: "odd", ServerVersion: "18.6", DumpVersion: "18.6", Encoding: "UTF8"},
		"odd-18.tar":            {Format: Tar, ArchiveVersion: "1.16", Compression: "none", Database: "odd", ServerVersion: "18.6", DumpVersion: "18.6", Encoding: "UTF8"},
		"odd-18.sql.gz":         {Format: Plain, Packed: "gzip", ServerVersion: "18.6", DumpVersion: "18.6", Encoding: "UTF8"},
		"odd-15-none.dump":      {Format: Custom, ArchiveVersion: "1.14", Compression: "none", Database: "odd", ServerVersion: "15.18 (Debian 15.18-0+deb12u1)", DumpVersion: "15.18 (Debian 15.18-0+deb12u1)", Encoding: "UTF8"},
		"odd-15-verbose.sql":    {Format: Plain, ServerVersion: "15.18 (Debian 15.18-0+deb12u1)", DumpVersion: "15.18 (Debian 15.18-0+deb12u1)", Encoding: "UTF8"},
		"odd-15-data.sql":       {Format: Plain, ServerVersion: "15.18 (Debian 15.18-0+deb12u1)", DumpVersion: "15.18 (Debian 15.18-0+deb12u1)", Encoding: "UTF8"},
		"odd-18-pipe-none.dump": {Format: Custom, ArchiveVersion: "1.16", Compression: "none", Database: "odd", ServerVersion: "18.4", DumpVersion: "18.4", Encoding: "UTF8"},
	} {
		want.Size = int64(len(readFile(t, name)))
		got := openFile(t, name).Info()
		if (got.Format == Plain) != got.Made.IsZero() || !got.Made.IsZero() && (got.Made.Year() < 2025 || got.Made.Year() > 2030) {
			t.Errorf("%s was made at %s", name, got.Made)
		}
		got.Made = time.Time{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// oddRows is what odd-source.sql puts into its tables, written down by hand.
func oddRows() map[string][][]any {
	none := func(n int) []any { return make([]any, n) }
	row := func(parts ...[]any) (r []any) {
		for _, p := range parts {
			r = append(r, p...)
		}
		return r
	}
	return map[string][][]any{
		`"Odd Schema"."Mixed ""Case"".table"`: {{"1", "x", `\`, "", nil, nil}, row([]any{"2"}, none(5))},
		"login.empty_table":                   {},
		"login.nocols":                        {{}, {}},
		"login.unlogged":                      {{"7"}},
		"public.base":                         {{"1", "base"}, {"2", "child"}}, // with those of its heir, less a column
		"public.child":                        {{"2", "child", "00000000-0000-0000-0000-000000000001"}},
		"public.commented":                    {{"1", "2"}, {"2", "4"}, {"3", "6"}},
		"public.part":                         {{"1", "eu", "e1"}, {"4", "sub", "s1"}, {"2", "us", "u1"}, {"3", "us", nil}}, // that of its partitions
		"public.part_sub":                     {{"4", "sub", "s1"}},
		"public.part_eu":                      {{"1", "eu", "e1"}},
		"public.part_sub_1":                   {{"4", "sub", "s1"}},
		"public.part_us":                      {{"u1", "us", "2"}, {nil, "us", "3"}},
		"public.plain": {
			{
				"1", "plain@example.com", "x" + strings.Repeat(" ", 35), nil, "3.00", "2024-01-02 03:04:05.678+00", nil, nil,
				`\x00ff5c`, `{"k": "v\\w"}`, `{a,NULL,"b c"}`, "101", nil, "z", "it's; (fine)", nil, "f", "t", "", "a",
			},
			row([]any{"2", "tab\there", strings.Repeat(" ", 36), "line1\nline2\r\nline3", "3.00"}, none(11), []any{"f", nil, `back\slash`, `\N`}),
			row([]any{"3", `\.`, nil, "\\.\n\\.", "3.00"}, none(11), []any{"f", nil, "\b\f\v", "COPY public.x (a) FROM stdin;"}),
			row([]any{"4", "ünïcödé 🎉 e\u0301", nil, "\x01\x7f", "3.00"}, none(11), []any{"f", nil, "-- PostgreSQL database dump complete", `\.`}),
		},
		"public.typed": {{"1", "y"}},
	}
}

func TestOddDumps(t *testing.T) {
	t.Parallel()
	columns := func(pairs ...string) (list []Column) {
		for p := range slices.Chunk(pairs, 2) {
			list = append(list, Column{p[0], p[1]})
		}
		return list
	}
	part := TableName{"public", "part"}
	usual := columns("k", "integer", "region", "text", "v", "text")
	tables := []Table{
		{Schema: "Odd Schema", Name: `Mixed "Case".table`, HasData: true, Columns: columns("Id", "integer", "a.b", "text", "select", "text", "ünï", "text", "tab\tle", "text", "new\nline", "text")},
		{Schema: "login", Name: "empty_table", HasData: true, Columns: columns("a", "integer", "b", "text")},
		{Schema: "login", Name: "nocols", HasData: true},
		{Schema: "login", Name: "unlogged", HasData: true, Columns: columns("a", "integer")},
		{Schema: "public", Name: "base", HasData: true, Columns: columns("a", "integer", "b", "text")},
		{Schema: "public", Name: "child", HasData: true, Parent: TableName{"public", "base"}, Columns: columns("a", "integer", "b", "text", "c", "uuid")},
		{Schema: "public", Name: "commented", HasData: true, Columns: columns("a", "integer", "b", "integer")},
		{Schema: "public", Name: "part", HasData: true, Columns: usual},
		{Schema: "public", Name: "part_eu", HasData: true, Parent: part, Columns: usual},
		{Schema: "public", Name: "part_sub", HasData: true, Parent: part, Columns: usual},
		{Schema: "public", Name: "part_sub_1", HasData: true, Parent: TableName{"public", "part_sub"}, Columns: usual},
		{Schema: "public", Name: "part_us", HasData: true, Parent: part, Columns: columns("v", "text", "region", "text", "k", "integer")},
		{Schema: "public", Name: "plain", HasData: true, Columns: columns(
			"id", "bigint", "email", "character varying(256)", "fixed", "character(36)", "t", "text", "n", "numeric(10,2)",
			"ts", "timestamp(3) with time zone", "tsn", "timestamp without time zone", "d", "double precision", "b", "bytea",
			"j", "jsonb", "arr", "text[]", "bits", "bit varying(5)", "iv", "interval day to second(3)", "c", `"char"`,
			"mood", `public."Mood Type"`, "moods", `public."Mood Type"[]`, "vb", "boolean", "exclude", "boolean", "col", "text", "after_gen", "text",
		), Constraints: []string{"plain_pkey"}},
		{Schema: "public", Name: "typed", HasData: true, Columns: columns("x", "", "y", "")},
	}
	dataOnly := func(list []Table) (r []Table) { // which does not tell what is a part of what
		for _, x := range list {
			if x.HasData && x.Name != "part" && x.Name != "part_sub" {
				x.Parent, x.Constraints = TableName{}, nil
				x.Columns = append([]Column(nil), x.Columns...)
				for i := range x.Columns {
					x.Columns[i].Type = ""
				}
				r = append(r, x)
			}
		}
		return r
	}
	schemaOnly := func(list []Table) (r []Table) {
		for _, x := range list {
			x.HasData = false
			if x.Name == "typed" {
				x.Columns = nil
			}
			r = append(r, x)
		}
		return r
	}
	// The partitions' data is loaded through the root.
	viaRoot := func(list []Table) (r []Table) {
		for _, x := range list {
			if strings.HasPrefix(x.Name, "part") {
				x.HasData = x.Name == "part"
			}
			r = append(r, x)
		}
		return r
	}
	rootRows := oddRows()
	for _, s := range []string{"eu", "sub", "sub_1", "us"} {
		delete(rootRows, "public.part_"+s)
	}
	dataRows := oddRows()
	delete(dataRows, "public.part")
	delete(dataRows, "public.part_sub")
	dataRows["public.base"] = [][]any{{"1", "base"}}

	for _, tt := range []struct {
		file string
		want content
	}{
		{"odd-15.sql", content{tables, oddRows()}},
		{"odd-15.dump", content{tables, oddRows()}},
		{"odd-15-none.dump", content{tables, oddRows()}},
		{"odd-15-pipe.dump", content{tables, oddRows()}},
		{"odd-15-create.sql", content{tables, oddRows()}},
		{"odd-15-quoted.sql", content{tables, oddRows()}},
		{"odd-15-verbose.sql", content{tables, oddRows()}},
		{"odd-16.dump", content{tables, oddRows()}},
		{"odd-18.sql", content{tables, oddRows()}},
		{"odd-18.dump", content{tables, oddRows()}},
		{"odd-18-pipe-none.dump", content{tables, oddRows()}},
		{"odd-18-zstd.dump", content{tables, oddRows()}},
		{"odd-18-lz4.dump", content{tables, oddRows()}},
		{"odd-15-appended.dump", content{tables, oddRows()}},
		{"odd-16-redirected.dump", content{tables, oddRows()}},
		{"odd-15.dir", content{tables, oddRows()}},
		{"odd-16-none.dir", content{tables, oddRows()}},
		{"odd-18-lz4.dir", content{tables, oddRows()}},
		{"odd-18-zstd.dir", content{tables, oddRows()}},
		{"odd-15.tar", content{tables, oddRows()}},
		{"odd-18.tar", content{tables, oddRows()}},
		{"odd-18.sql.gz", content{tables, oddRows()}},
		{"odd-18.sql.lz4", content{tables, oddRows()}},
		{"odd-18.sql.zst", content{tables, oddRows()}},
		{"odd-15-root.sql", content{viaRoot(tables), rootRows}},
		{"odd-15-root.dump", content{viaRoot(tables), rootRows}},
		{"odd-15-data.sql", content{dataOnly(tables), dataRows}},
		{"odd-15-data.dump", content{dataOnly(tables), dataRows}},
		{"odd-15-schema.sql", content{schemaOnly(tables), map[string][][]any{}}},
		{"odd-15-schema.dump", content{schemaOnly(tables), map[string][][]any{}}},
	} {
		t.Run(tt.file, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, mustReadAll(t, openFile(t, tt.file))); diff != "" {
				t.Errorf("content differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOddInserts reads the same rows from INSERT statements, except those of a table
// whose columns only its type names.
func TestOddInserts(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"odd-15-inserts.sql", "odd-15-inserts.dump", "odd-15-inserts.dir"} {
		a, got := openFile(t, file), map[string][][]any{}
		for _, x := range a.Tables() {
			rows, err := readRows(t, a, x)
			if x.Name == "typed" {
				if err == nil {
					t.Errorf("%s: columns that nobody names were read", file)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", file, err)
			}
			got[TableName{x.Schema, x.Name}.String()] = rows
		}
		want := oddRows()
		delete(want, "public.typed")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

// TestWindows converts a dump the way tools of Windows do.
func TestWindows(t *testing.T) {
	t.Parallel()
	unix := wrap("CREATE TABLE public.t (\n    a integer,\n    b text\n);\n\nCOPY public.t (a, b) FROM stdin;\n1\tx\\r\\n\n2\t\n\\.\n\nCOPY public.t2 (a) FROM stdin;\n\\.\n")
	want := mustReadAll(t, mustLoad(t, unix))
	for name, text := range map[string]string{
		"CRLF":         strings.ReplaceAll(unix, "\n", "\r\n"),
		"BOM":          "\ufeff" + unix,
		"CRLF and BOM": "\ufeff" + strings.ReplaceAll(unix, "\n", "\r\n"),
	} {
		if diff := cmp.Diff(want, mustReadAll(t, mustLoad(t, text))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestOpenRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	directory := filepath.Join(dir, "directory")
	if err := os.Mkdir(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	custom := smallArchive(14, 0).bytes(t)
	tocDat := bytes.Clone(custom)
	tocDat[formatAt] = formatTar
	future := bytes.Clone(custom)
	future[6] = 17
	ancient := bytes.Clone(custom)
	ancient[6] = 10
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty.sql":         {nil, "the file is empty; "},
		"dump.sql.gz":       {[]byte("\x1f\x8b\x08\x00"), "the file is packed with gzip and ends too early; the packed file is cut off or damaged"},
		"dump.sql.zst":      {[]byte("\x28\xb5\x2f\xfd\x00"), "the file is packed with zstd and ends too early"},
		"dump.sql.lz4":      {[]byte("\x04\x22\x4d\x18\x00"), "the file is packed with lz4 and ends too early"},
		"twice.gz":          {pack(t, "gzip", string(pack(t, "zstd", wrap("")))), "the file is packed with gzip, and what is in it is packed with zstd; unpack it once"},
		"empty.gz":          {pack(t, "gzip", ""), "the file is empty"},
		"two.gz":            {slices.Concat(pack(t, "gzip", wrap("")), pack(t, "gzip", wrap(""))), "a second dump begins in the same file"},
		"gzip and more":     {append(pack(t, "gzip", wrap("")), "more and more and more"...), "the file is packed with gzip and cannot be unpacked: gzip: invalid header"},
		"dump.sql.xz":       {[]byte("\xfd7zXZ\x00"), "the file is compressed with xz; unpack it first"},
		"dump.sql.bz2":      {[]byte("BZh91AY"), "the file is compressed with bzip2; unpack it first"},
		"dump.zip":          {[]byte("PK\x03\x04"), "the file is compressed with zip; unpack it first"},
		"other.tar":         {tarFile(t, "", map[string][]byte{"readme": nil}), "this is a tar file without the table of contents of a dump; name the dump itself"},
		"powershell.sql":    {[]byte("\xff\xfe-\x00-\x00"), "the file is UTF-16, as PowerShell's > writes it"},
		"toc.dat":           {tocDat, "this is the table of contents of a directory-format dump; name the directory that it lies in"},
		"future.dump":       {future, "archive version 1.17 is not among those known here, 1.12 to 1.16"},
		"ancient.dump":      {ancient, "archive version 1.10 is not among those known here"},
		"notes.txt":         {[]byte("Dear operator,\nit's done;\n"), `the line "-- PostgreSQL database dump" is missing at the beginning`},
		"users.csv":         {[]byte("id,name\n1,\"x\"\n"), `the line "-- PostgreSQL database dump" is missing at the beginning`},
		"tail.sql":          {[]byte(wrap("")[40:]), `the line "-- PostgreSQL database dump" is missing at the beginning`},
		"random.bin":        {[]byte("\x00\x01\x02\xfe\x80'"), `the line "-- PostgreSQL database dump" is missing at the beginning`},
		"only-comments.sql": {[]byte("-- nothing\n"), `the line "-- PostgreSQL database dump" is missing at the beginning`},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, tt.data, 0o600); err != nil {
			t.Fatal(err)
		}
		checkRefused(t, path, tt.want)
	}
	checkRefused(t, directory, "this is a directory, not a dump; name the dump file itself, or a directory that pg_dump --format=directory made")
	checkRefused(t, os.DevNull, "this is not a regular file")
	if _, err := Open(t.Context(), filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func checkRefused(t *testing.T, path, want string) {
	t.Helper()
	a, err := Open(t.Context(), path)
	if err == nil {
		_ = a.Close()
		t.Errorf("%s was opened", path)
		return
	}
	var syntax *SyntaxError
	if !errors.As(err, &syntax) || syntax.Hint == "" || syntax.Path != path {
		t.Errorf("%s: not a syntax error with path and hint: %#v", path, err)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v\nwant %s", path, err, want)
	}
}

func TestConcurrentRows(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "reads a large dump")
	for _, name := range []string{"core-10.1.4.sql", "core-10.1.4.dump", "odd-15.dir", "odd-18-lz4.dir", "odd-18-zstd.dir", "odd-18.tar", "odd-18.sql.gz", "odd-18-lz4.dump"} {
		a := openFile(t, name)
		want := mustReadAll(t, a)
		var wg sync.WaitGroup
		for range 3 {
			for _, table := range a.Tables() {
				wg.Go(func() {
					rows, err := readRows(t, a, table)
					if err != nil {
						t.Error(err)
					}
					if diff := cmp.Diff(want.Rows[TableName{table.Schema, table.Name}.String()], rows); diff != "" {
						t.Errorf("%s %s (-want +got):\n%s", name, table.Name, diff)
					}
				})
			}
		}
		wg.Wait()
	}
}

func TestRowsWithoutData(t *testing.T) {
	t.Parallel()
	a := openFile(t, "odd-15-schema.sql")
	for _, table := range append(a.Tables(), Table{Schema: "no", Name: "such"}) {
		if _, err := a.Rows(t.Context(), table); !errors.Is(err, ErrNoData) {
			t.Errorf("%s: %v, want ErrNoData", table.Name, err)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	a := mustLoad(t, wrap("COPY public.t (a) FROM stdin;\n"+strings.Repeat("row\n", defaultSizes.row)+"\\.\n"))
	r, err := a.Rows(ctx, a.Tables()[0])
	if err != nil {
		t.Fatal(err)
	}
	if !r.Next() {
		t.Fatal(r.Err())
	}
	cancel(cause)
	for r.Next() {
		continue
	}
	if !errors.Is(r.Err(), cause) {
		t.Errorf("rows: %v, want %v", r.Err(), cause)
	}
	if r.Row() >= int64(defaultSizes.row) {
		t.Error("all rows were read")
	}
	for _, name := range []string{"odd-15.sql", "odd-15.dump"} {
		if _, err := Open(ctx, testFile(name)); !errors.Is(err, cause) {
			t.Errorf("open %s: %v, want %v", name, err, cause)
		}
	}
}

func TestCloseEarly(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core-10.1.4.sql", "core-10.1.4.dump", "odd-18-zstd.dump", "odd-18-lz4.dump", "odd-15.dir", "odd-18.tar", "odd-18.sql.zst"} {
		a, err := Open(t.Context(), testFile(name))
		if err != nil {
			t.Fatal(err)
		}
		var table Table
		for _, table = range a.Tables() {
			if table.HasData && len(table.Columns) > 1 {
				break
			}
		}
		open := func() *Rows {
			r, err := a.Rows(t.Context(), table)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		r := open()
		if !r.Next() || r.Close() != nil || r.Next() || r.Err() != nil || r.Close() != nil {
			t.Errorf("%s: closing rows early: %v", name, r.Err())
		}
		r = open()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if name == "core-10.1.4.sql" && (r.Next() || !errors.Is(r.Err(), os.ErrClosed)) {
			t.Errorf("%s: rows of a closed dump: %v", name, r.Err())
		}
		_ = r.Close()
	}
}

// TestFileShrinks cuts the file while it is open.
func TestFileShrinks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"odd-15.sql", "odd-15.dump", "odd-15-none.dump", "odd-18-zstd.dump"} {
		data := readFile(t, name)
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		last := TableName{"public", "typed"}
		for n := a.data[last].segments[0].size - 1; n >= 0; n-- {
			if err := os.Truncate(path, a.data[last].segments[0].off+n); err != nil {
				t.Fatal(err)
			}
			rows, err := readRows(t, a, Table{Schema: last.Schema, Name: last.Name})
			if err == nil && !cmp.Equal(rows, oddRows()[last.String()]) {
				t.Errorf("%s: %d bytes of the data read as %v", name, n, rows)
			}
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestConstantMemory reads 8 MB of rows with a handful of allocations.
//
//nolint:paralleltest // allocations are counted for the whole process
func TestConstantMemory(t *testing.T) {
	a := openLarge(t, 8<<20)
	for _, table := range a.Tables() {
		if n := testing.AllocsPerRun(1, func() { drain(t, a, table) }); n > 20 {
			t.Errorf("%s: %v allocations", table.Name, n)
		}
	}
}
