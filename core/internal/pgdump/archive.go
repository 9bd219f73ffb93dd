package pgdump

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/internal/dumpfile"
)

// Format is the file format of a dump.
type Format string

// The formats that [Open] accepts.
const (
	Plain     Format = "plain"
	Custom    Format = "custom"
	Directory Format = "directory"
	Tar       Format = "tar"
)

// Info describes a dump as a whole. Fields that the dump does not state are
// empty.
type Info struct {
	Format         Format
	Packed         string // "gzip", "lz4" or "zstd" when the file was packed as a whole; else empty
	ArchiveVersion string // "1.14"; not in the plain format
	Compression    string // of the tables: "none", "gzip", "lz4" or "zstd"; not in the plain format
	Database       string // not in the plain format
	ServerVersion  string // as pg_dump writes it: "15.18 (Debian 15.18-0+deb12u1)"
	DumpVersion    string // version of the pg_dump program
	Encoding       string // client encoding: "UTF8" or "SQL_ASCII"
	Size           int64  // of the file as it is stored, in bytes; of a directory, its tables and their list
	// Made is when the dump was begun, by the clock of the machine that made it and taken for
	// one of this machine's zone; zero in the plain format.
	Made time.Time
}

// TableName is the name of a table without any quoting.
type TableName struct{ Schema, Name string }

// String renders the name as SQL writes it, quoted where needed; empty for none.
func (n TableName) String() string {
	if n == (TableName{}) {
		return ""
	}
	return quoteIdent(n.Schema) + "." + quoteIdent(n.Name)
}

// Table is a table that the dump defines or has data for.
type Table struct {
	Schema, Name string

	// Columns are the stored columns, in the order of [Rows.Values]; generated
	// columns have no data in a dump and are left out. Where the dump holds
	// neither data nor a column list (a table of a composite type), it is empty.
	Columns []Column

	// HasData reports whether the dump has a data section for the table, which
	// may hold zero rows. It is false in a schema-only dump and for tables named
	// by --exclude-table-data. A table has the data of its partitions and of those that
	// inherit from it as well, and none when one of them has none.
	HasData bool

	// Parent is the table that this one is a partition of, or inherits from, if the
	// dump tells. The rows are rows of the parent as well.
	Parent TableName

	// Indexes are the names of the table's indexes, Constraints those of its
	// constraints other than foreign keys. All are unqualified, without quoting and
	// sorted, and come from the part of the dump behind the data: a CHECK in the
	// definition of the table is not among them, and without [Archive.HasPostData]
	// there are none.
	Indexes, Constraints, ForeignKeys []string

	// RowSecurity reports whether the table has row-level security enabled.
	RowSecurity bool
}

// Column is a column of a table.
type Column struct {
	Name string
	Type string // as pg_dump writes it, "character varying(128)", without needless quotes; empty when the dump does not tell
}

// Archive is an opened dump. Its methods may be called concurrently, except
// that Close must come last.
type Archive struct {
	path   string
	r      io.ReaderAt // the dump, unpacked; nil in the directory format
	size   int64       // of what r reads
	root   *os.Root    // of the directory format
	close  func() error
	sizes  sizes
	info   Info
	tables []Table
	views  []TableName
	data   map[TableName]tableData

	rowSecurity, postData bool

	read func(segment, io.Reader) (io.ReadCloser, error) // from the bytes of a segment to COPY text
}

// sizes of buffers, which tests make small.
type sizes struct {
	window int // for indexing, at least 128
	row    int // for reading rows, to begin with

	// maxRow bounds the memory that one row may take, so that a damaged or
	// hostile file cannot take it all. PostgreSQL's own limit is 1 GiB.
	maxRow int
}

var defaultSizes = sizes{window: 1 << 20, row: 256 << 10, maxRow: 256 << 20}

// tableData says where the rows of one table lie.
type tableData struct {
	columns  []Column
	segments []segment
}

// segment is a stretch of a file that ends with the end-of-data marker, or holds
// nothing but INSERT statements. A
// table that is partitioned, or that others inherit from, has more than one.
type segment struct {
	file      string // in a directory; empty for the dump itself
	method    string // how it is compressed; empty in the plain format
	off, size int64
	seq       int      // number in a directory, where all begin at 0
	line      int      // line of the first row, 0 outside the plain format
	crlf      bool     // lines end in CR LF
	inserts   bool     // INSERT statements instead of COPY text; ends with a semicolon
	columns   []string // order of the fields in this segment
	perm      []int    // field number of each table column; nil when the orders agree
	heir      bool     // of a table that inherits from this one, and may have more columns
}

// Open recognises the format of the file or directory at path by its content, indexes it
// and verifies that it is complete. It reads a plain dump once from end to end, of archives
// the table of contents and what tells the length of the tables; that a compressed file of a
// directory was cut is found by [Rows]. A dump that is packed as a whole is
// unpacked into an encrypted temporary file without a name, about as large as the packed one. A
// file that is not a usable dump gives a [*SyntaxError] that names the remedy; for one of
// MySQL or MariaDB it wraps [ErrMySQL].
func Open(ctx context.Context, path string) (*Archive, error) {
	// Before opening, which would block on a named pipe without a writer.
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open dump: %w", err)
	}
	switch {
	case st.IsDir():
		if has(path, tocFile) {
			return openDirectory(ctx, path, defaultSizes)
		}
		if has(path, "@.json") {
			return nil, mysqlError(path)
		}
		return nil, &SyntaxError{Path: path, Msg: "this is a directory, not a dump", Hint: "name the dump file itself, or a directory that pg_dump --format=directory made (it has a file toc.dat)"}
	case !st.Mode().IsRegular():
		return nil, &SyntaxError{Path: path, Msg: "this is not a regular file", Hint: "save the output of pg_dump in a file: tables are read in any order, which a pipe does not allow"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open dump: %w", err)
	}
	a, err := load(ctx, path, f, st.Size(), defaultSizes)
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	unpacked := a.close
	a.close = func() error { return errors.Join(unpacked(), f.Close()) }
	return a, nil
}

func has(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// load is Open for a file of which size bytes count.
func load(ctx context.Context, path string, r io.ReaderAt, size int64, buffers sizes) (*Archive, error) {
	a := &Archive{path: path, r: r, size: size, sizes: buffers, info: Info{Size: size}, close: func() error { return nil }}
	head, err := a.head()
	if err != nil {
		return nil, err
	}
	if method := dumpfile.PackedWith(head); method != "" {
		s, err := dumpfile.Unpack(ctx, a.path, a.r, a.size, method)
		if err != nil {
			return nil, err
		}
		a.r, a.size, a.close, a.info.Packed = s, s.Size(), s.Close, method
		if head, err = a.head(); err != nil {
			return nil, errors.Join(err, a.close())
		}
	}
	if err := a.index(ctx, head); err != nil {
		_ = a.close() // the error of the dump is what counts
		return nil, err
	}
	return a, nil
}

// head reads what the format is recognised by.
func (a *Archive) head() ([]byte, error) {
	head := make([]byte, min(512, a.size))
	n, err := a.r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read dump: %w", err)
	}
	return head[:n], nil
}

// index reads the catalogue of a file that begins with head.
func (a *Archive) index(ctx context.Context, head []byte) error {
	if err := a.refuse(head); err != nil {
		return err
	}
	cat := newCatalog()
	var err error
	switch {
	case bytes.HasPrefix(head, []byte(magic)):
		err = a.indexCustom(ctx, cat)
	case isTar(head):
		err = a.indexTar(ctx, cat)
	default:
		err = a.indexPlain(ctx, cat, int64(len(head)-len(bytes.TrimPrefix(head, []byte("\ufeff")))))
	}
	if err != nil {
		return err
	}
	return a.finish(cat)
}

// refuse recognises what people hand in instead of a dump that can be read.
func (a *Archive) refuse(head []byte) error {
	fail := func(msg, hint string) error { return &SyntaxError{Path: a.path, Msg: msg, Hint: hint} }
	if len(head) == 0 {
		return fail("the file is empty", hintCut)
	}
	if method := dumpfile.PackedWith(head); method != "" {
		return fail("the file is packed with "+a.info.Packed+", and what is in it is packed with "+method, "unpack it once")
	}
	for _, c := range []struct{ magic, what, tool string }{
		{"\xfd7zXZ\x00", "xz", "xz --decompress --keep"},
		{"BZh", "bzip2", "bunzip2 --keep"},
		{"PK\x03\x04", "zip", "unzip"},
	} {
		if strings.HasPrefix(string(head), c.magic) {
			return fail("the file is compressed with "+c.what, "unpack it first: "+c.tool+" FILE")
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return fail("the file is UTF-16, as PowerShell's > writes it, and no longer what pg_dump produced",
			"run pg_dump again with --file=dump.sql instead of redirecting its output")
	case dumpfile.IsMySQL(head):
		return mysqlError(a.path)
	case bytes.HasPrefix(head, []byte(magic)) && len(head) > formatAt && (head[formatAt] == formatTar || head[formatAt] == formatDirectory):
		return fail("this is the table of contents of a directory-format dump", "name the directory that it lies in")
	}
	return nil
}

// finish turns the catalogue into what callers see.
func (a *Archive) finish(cat *catalog) error {
	a.data = make(map[TableName]tableData)
	for name, e := range cat.tables {
		segments, complete := cat.data(name)
		t := Table{Schema: name.Schema, Name: name.Name, Parent: e.parent, HasData: complete}
		if t.Parent == (TableName{}) && len(e.inherits) > 0 {
			t.Parent = e.inherits[0]
		}
		names := cat.stored(name)
		if at := slices.IndexFunc(segments, func(s segment) bool { return !s.heir && len(s.columns) > 0 }); at >= 0 {
			names = segments[at].columns
		}
		for i := range segments {
			s := &segments[i]
			if s.inserts && len(s.columns) == 0 && !e.defined {
				return &SyntaxError{
					Path: a.path, Offset: s.off, Table: name.String(),
					Msg: "the rows are INSERT statements that do not name their columns, and the table's definition is not in the file", Hint: hintCopy,
				}
			}
			var ok bool
			if s.perm, ok = permutation(names, s.columns); !ok || len(names) < len(s.columns) && !s.heir {
				return &SyntaxError{
					Path: a.path, Line: s.line, Offset: s.off, Table: name.String(),
					Msg: "the COPY statement before this data does not name the columns of the table, each once", Hint: hintDamaged,
				}
			}
		}
		for _, c := range names {
			t.Columns = append(t.Columns, Column{Name: c, Type: cat.typeOf(name, c)})
		}
		cat.marks[name].describe(&t)
		a.tables = append(a.tables, t)
		if t.HasData {
			a.data[name] = tableData{columns: t.Columns, segments: segments}
		}
	}
	a.rowSecurity = cat.rowSecurity
	a.postData = cat.postData()
	slices.SortFunc(cat.views, func(x, y TableName) int {
		return cmp.Or(cmp.Compare(x.Schema, y.Schema), cmp.Compare(x.Name, y.Name))
	})
	a.views = slices.Compact(cat.views) // one of a circle is made twice
	slices.SortFunc(a.tables, func(x, y Table) int {
		return cmp.Or(cmp.Compare(x.Schema, y.Schema), cmp.Compare(x.Name, y.Name))
	})
	return nil
}

// permutation tells for each of want at which place of have it is; nil when
// the two are equal. It reports false when one is missing or have has one twice.
func permutation(want, have []string) ([]int, bool) {
	at := make(map[string]int, len(have))
	for i, c := range have {
		at[c] = i
	}
	if len(want) > len(have) || len(at) != len(have) {
		return nil, false
	}
	if slices.Equal(want, have) {
		return nil, true
	}
	perm := make([]int, len(want))
	for i, c := range want {
		p, ok := at[c]
		if !ok {
			return nil, false
		}
		perm[i] = p
	}
	return perm, true
}

// Info describes the dump as a whole.
func (a *Archive) Info() Info { return a.info }

// Tables lists all tables, sorted by schema and name. The list is a copy down
// to the columns and names, which must not be changed.
func (a *Archive) Tables() []Table { return slices.Clone(a.tables) }

// Views lists all views of a dump, also those whose content is stored, sorted by schema
// and name.
func Views(a *Archive) []TableName { return slices.Clone(a.views) }

// HasPostData reports whether the dump has the section behind the data: whether
// it names an index or a constraint of any table. Where it does not, as with
// --section=pre-data or --data-only, a missing name proves nothing.
func (a *Archive) HasPostData() bool { return a.postData }

// RowSecurity reports whether the dump says that it was made with
// --enable-row-security, so that rows may be hidden from it. Only the plain
// format says so: an archive does not tell, see [Table.RowSecurity] for where it matters.
func (a *Archive) RowSecurity() bool { return a.rowSecurity }

// Close releases the file. Rows that are still open fail from then on.
func (a *Archive) Close() error {
	if err := a.close(); err != nil {
		return fmt.Errorf("close dump: %w", err)
	}
	return nil
}
