package mysqldump

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/stetl/stetl/core/internal/dumpfile"
)

// Info describes a dump as a whole. Fields that the dump does not state are empty.
type Info struct {
	Packed  string // "gzip", "lz4" or "zstd" when the file was packed as a whole
	Program string // "MySQL dump 10.13  Distrib 8.4.3, for Linux (x86_64)"
	Server  string // version of the server
	// Filtered says that the dump was made with --where, so that rows are missing.
	Filtered bool
	// Made is when the dump was completed, by the clock of the machine that made it and taken
	// for one of this machine's zone; zero where it does not say.
	Made time.Time
}

// Dump is an opened dump. Its methods may be called concurrently, except that Close
// must come last.
type Dump struct {
	path   string
	r      io.ReaderAt // the dump, unpacked
	size   int64
	close  func() error
	sizes  sizes
	info   Info
	tables []Table
	views  []TableName
	data   map[TableName]*entry
}

// sizes of buffers, which tests make small.
type sizes struct {
	window, row int
	// maxRow bounds the memory that one row may take, so that a damaged or hostile file
	// cannot take it all. The server's own limit is 1 GiB.
	maxRow int
}

var defaultSizes = sizes{window: 1 << 20, row: 256 << 10, maxRow: 256 << 20}

// headSize is how much of a file its kind is recognised by.
const headSize = 4 << 10

// Recognise reports whether the file at path is a dump of MySQL or MariaDB, by how it
// begins, packed or not. What cannot be read is none.
func Recognise(path string) bool {
	st, err := os.Stat(path) // before opening, which would block on a named pipe
	if err != nil || !st.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // nothing was written
	head, err := beginning(f)
	if err != nil {
		return false
	}
	if method := dumpfile.PackedWith(head); method != "" {
		packed, err := dumpfile.Decompress(method, bufio.NewReader(io.MultiReader(bytes.NewReader(head), f)))
		if err != nil {
			return false
		}
		defer func() { _ = packed.Close() }()
		if head, err = beginning(packed); err != nil {
			return false
		}
	}
	return dumpfile.IsMySQL(head)
}

// beginning reads the head of a file, as far as there is one.
func beginning(r io.Reader) ([]byte, error) {
	head := make([]byte, headSize)
	n, err := io.ReadFull(r, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head[:n], err
}

// Open indexes the dump at path and verifies that it is complete. A dump that is packed as
// a whole is unpacked into an encrypted temporary file without a name, about as large as
// the packed one. A file that is not a usable dump gives a [*SyntaxError] that names the
// remedy.
func Open(ctx context.Context, path string) (*Dump, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open dump: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open dump: %w", err), f.Close())
	}
	d, err := load(ctx, path, f, st.Size(), defaultSizes)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	unpacked := d.close
	d.close = func() error { return errors.Join(unpacked(), f.Close()) }
	return d, nil
}

// load is Open for a file of which size bytes count.
func load(ctx context.Context, path string, r io.ReaderAt, size int64, buffers sizes) (*Dump, error) {
	d := &Dump{path: path, r: r, size: size, sizes: buffers, close: func() error { return nil }, data: map[TableName]*entry{}}
	head, err := beginning(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, fmt.Errorf("read dump: %w", err)
	}
	method := dumpfile.PackedWith(head)
	if method != "" {
		s, err := dumpfile.Unpack(ctx, path, r, size, method)
		if err != nil {
			return nil, err
		}
		d.r, d.size, d.close = s, s.Size(), s.Close
	}
	if err := d.index(ctx); err != nil {
		return nil, errors.Join(d.inFile(err), d.close())
	}
	d.info.Packed = method
	return d, nil
}

// inFile says of an error which file it is about.
func (d *Dump) inFile(err error) error {
	if e, ok := errors.AsType[*SyntaxError](err); ok {
		e.Path = d.path
	}
	return err
}

// byteOrderMark is what editors on Windows put first.
const byteOrderMark = "\ufeff"

func (d *Dump) index(ctx context.Context) error {
	w := newWindow(ctx, d.r, 0, d.size, 1, d.sizes.window)
	p := &parser{lexer: lexer{window: w, delimiter: usualDelimiter}, entries: d.data}
	p.comment = p.remarked
	w.peek(len(byteOrderMark) - 1)
	if bytes.HasPrefix(w.buf[:w.end], []byte(byteOrderMark)) {
		w.pos += len(byteOrderMark)
	}
	if err := p.run(); err != nil {
		return err
	}
	d.info = p.info
	for name, e := range d.data {
		t := e.finish()
		if len(t.Columns) == 0 && t.HasRows {
			columns, err := d.named(ctx, e)
			if err != nil {
				return inTable(err, name)
			}
			t.Columns, e.all = columns, columns
		}
		e.table = t
		d.tables = append(d.tables, t)
	}
	byName := func(x, y TableName) int {
		return cmp.Or(cmp.Compare(x.Database, y.Database), cmp.Compare(x.Name, y.Name))
	}
	slices.SortFunc(d.tables, func(x, y Table) int { return byName(x.TableName, y.TableName) })
	d.views = p.views
	slices.SortFunc(d.views, byName)
	return nil
}

// Info describes the dump as a whole.
func (d *Dump) Info() Info { return d.info }

// Tables lists all tables, sorted by database and name. What the list holds must not be
// changed.
func (d *Dump) Tables() []Table { return slices.Clone(d.tables) }

// Views lists all views, sorted by database and name.
func (d *Dump) Views() []TableName { return slices.Clone(d.views) }

// Close gives up the file.
func (d *Dump) Close() error { return d.close() }
