package pgdump

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// The layout of the custom format is that of pg_dump's own reader and writer,
// src/bin/pg_dump/pg_backup_archiver.c and pg_backup_custom.c in PostgreSQL 18.
const (
	magic = "PGDMP"

	minArchive = 12 // 1.12, PostgreSQL 9.0
	maxArchive = 16 // 1.16, PostgreSQL 17 and 18

	formatCustom    = 1
	formatDirectory = 5

	blockData  = 1
	blockBlobs = 3

	// maxDefinition bounds the statements that are kept for parsing. A table of
	// 1600 columns with long defaults stays far below.
	maxDefinition = 16 << 20
)

// customIndex reads a custom-format file from the header to the last block.
type customIndex struct {
	*window
	path    string
	version int // the minor number; the major is 1
	intSize int
	offSize int
	parser  *parser
	copied  *copyStatement  // from the COPY statement parsed last
	expect  map[int]*toData // by dump id, what the table of contents promises
}

// toData is a promised block of data.
type toData struct {
	table    TableName
	isTable  bool // not large objects
	inserts  bool // made with --inserts
	columns  []string
	off, end int64 // of the chunks, once found
}

// errCut is how the low-level readers report the end of the file.
var errCut = errors.New("cut")

func (a *Archive) indexCustom(ctx context.Context, cat *catalog) error {
	a.info.Format = Custom
	x := &customIndex{
		window: a.window(ctx, int64(len(magic))),
		path:   a.path,
		expect: make(map[int]*toData),
	}
	x.parser = &parser{path: a.path, binary: true, cat: cat, sink: x}

	order, err := x.contents(&a.info)
	if err == nil {
		a.info.Encoding = x.parser.encoding
		err = x.blocks()
	}
	switch {
	case x.err != nil:
		return x.err
	case errors.Is(err, errCut):
		return &SyntaxError{Path: a.path, Offset: a.info.Size, Msg: "the file ends in the middle of the archive", Hint: hintCut}
	case err != nil:
		return err
	}
	for _, id := range order {
		d := x.expect[id]
		if d.off == 0 {
			e := &SyntaxError{Path: a.path, Offset: a.info.Size, Msg: "the data is missing at the end of the file", Hint: hintCut}
			if d.isTable {
				e.Table = d.table.String()
			}
			return e
		}
		if d.isTable {
			t := cat.entry(d.table)
			t.segments = append(t.segments, segment{off: d.off, size: d.end - d.off, columns: d.columns, inserts: d.inserts})
		}
	}
	inflate, err := decompressor(a.info.Compression)
	if err != nil {
		return &SyntaxError{Path: a.path, Msg: err.Error(), Hint: "convert the file without a database: pg_restore --file=dump.sql ARCHIVE; or run pg_dump again with --compress=gzip"}
	}
	lengthSize := 1 + x.intSize
	a.read = func(r io.Reader) (io.ReadCloser, error) {
		return inflate(bufio.NewReader(&chunkReader{r: bufio.NewReaderSize(r, 64<<10), head: make([]byte, lengthSize)}))
	}
	return nil
}

// contents reads the header and the table of contents and returns the ids of
// the entries with data in their order.
func (x *customIndex) contents(info *Info) ([]int, error) {
	var head [6]byte // major, minor, revision, size of integers, of offsets, format
	for i := range head {
		var err error
		if head[i], err = x.byte(); err != nil {
			return nil, err
		}
	}
	x.version, x.intSize, x.offSize = int(head[1]), int(head[3]), int(head[4])
	info.ArchiveVersion = fmt.Sprintf("%d.%d", head[0], head[1])
	switch {
	case head[0] != 1 || x.version < minArchive || x.version > maxArchive:
		return nil, x.fail("archive version "+info.ArchiveVersion+" is not among those known here, 1.12 to 1.16",
			"convert the file with the pg_restore of the PostgreSQL version that wrote it: pg_restore --file=dump.sql ARCHIVE")
	case x.intSize < 1 || x.intSize > 8 || x.offSize < 1 || x.offSize > 8:
		return nil, x.fail("the archive header makes no sense", hintDamaged)
	case head[5] == formatDirectory:
		return nil, x.fail("this is the table of contents of a directory-format dump", hintPlain)
	case head[5] != formatCustom:
		return nil, x.fail("this is not a custom-format archive", hintPlain)
	}
	if err := x.header(info); err != nil {
		return nil, err
	}
	count, err := x.int()
	if err != nil {
		return nil, err
	}
	if count < 0 {
		return nil, x.fail("the table of contents makes no sense", hintDamaged)
	}
	var order []int
	for range count {
		id, hasData, err := x.entry()
		if err != nil {
			return nil, err
		}
		if hasData {
			order = append(order, id)
		}
	}
	return order, nil
}

func (x *customIndex) header(info *Info) error {
	var method int
	var err error
	if x.version >= 15 {
		var b byte
		b, err = x.byte()
		method = int(b)
	} else {
		// The level, negative for the default. Zlib was the only method.
		if method, err = x.int(); err == nil && method != 0 {
			method = 1
		}
	}
	if err != nil {
		return err
	}
	methods := []string{"none", "gzip", "lz4", "zstd"}
	if method >= len(methods) {
		return x.fail("the archive is compressed with an unknown method, number "+strconv.Itoa(method), hintPlain)
	}
	info.Compression = methods[method]
	for range 7 { // time of the dump
		if _, err := x.int(); err != nil {
			return err
		}
	}
	for _, s := range []*string{&info.Database, &info.ServerVersion, &info.DumpVersion} {
		if *s, err = x.str(maxToken); err != nil {
			return err
		}
	}
	return nil
}

// entry reads one entry of the table of contents.
func (x *customIndex) entry() (id int, hasData bool, err error) {
	var ignored, dumper int
	var tag, desc, schema string
	var defn, copyStmt string
	var defnAt, copyAt int64

	number := func(n *int) {
		if err == nil {
			*n, err = x.int()
		}
	}
	text := func(s *string, limit int) {
		if err == nil {
			*s, err = x.str(limit)
		}
	}
	skip := func() { text(new(string), 0) }

	number(&id)
	number(&dumper)
	skip() // oid of the catalogue table
	skip() // oid of the object
	text(&tag, maxToken)
	text(&desc, maxToken)
	number(&ignored) // section
	wanted := 0
	switch desc {
	case "TABLE", "FOREIGN TABLE", "TABLE ATTACH", "ENCODING", "STDSTRINGS",
		"INDEX", "CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "ROW SECURITY":
		wanted = maxDefinition
	}
	defnAt = x.afterInt()
	text(&defn, wanted)
	skip() // DROP statement
	copyAt = x.afterInt()
	text(&copyStmt, maxDefinition)
	text(&schema, maxToken)
	skip() // tablespace
	if x.version >= 14 {
		skip() // access method
	}
	if x.version >= 16 {
		number(&ignored) // kind of relation
	}
	skip() // owner
	skip() // WITH OIDS
	for err == nil {
		var more bool
		if more, err = x.skipStr(); !more { // what the entry depends on
			break
		}
	}
	if err == nil && !x.skip(int64(1+x.offSize)) { // place of the data: blocks are found by walking
		err = errCut
	}
	if err != nil {
		return 0, false, err
	}

	if wanted > 0 {
		if err := x.parse(defn, defnAt, schema); err != nil {
			return 0, false, err
		}
	}
	if dumper == 0 {
		return id, false, nil
	}
	if x.expect[id] != nil {
		return 0, false, x.fail("the table of contents has two entries with the same number", hintDamaged)
	}
	d := &toData{}
	x.expect[id] = d
	if desc != "TABLE DATA" {
		return id, true, nil
	}
	name := TableName{schema, tag}
	if copyStmt == "" {
		d.isTable, d.inserts, d.table = true, true, name
		return id, true, nil
	}
	x.copied = nil
	if err := x.parse(copyStmt, copyAt, schema); err != nil {
		return 0, false, err
	}
	if x.copied == nil {
		return 0, false, &SyntaxError{Path: x.path, Offset: copyAt, Table: name.String(), Msg: "the COPY statement is missing", Hint: hintDamaged}
	}
	// With --load-via-partition-root this is not the table of the entry.
	d.isTable, d.table, d.columns = true, x.copied.table, x.copied.columns
	return id, true, nil
}

// parse runs the SQL of an entry through the parser.
func (x *customIndex) parse(sql string, off int64, schema string) error {
	x.parser.window = textWindow(sql, off)
	x.parser.haveAhead = false
	x.parser.schema = schema
	return x.parser.run()
}

func (x *customIndex) comment(token) error   { return nil }
func (x *customIndex) statement(token) error { return nil }

func (x *customIndex) meta(t token, _ string) error {
	return x.parser.errorAt(t, "a psql command in the table of contents", hintDamaged)
}

func (x *customIndex) inserted(t token, _ copyStatement) error {
	return x.parser.errorAt(t, "an INSERT statement in the table of contents", hintDamaged)
}

func (x *customIndex) copyFrom(c copyStatement) error {
	x.copied = &c
	return nil
}

// blocks walks all blocks of data to the end of the file. Their places in the
// table of contents are not used: pg_dump cannot fill them in when it writes
// to a pipe, and a place proves nothing about what lies there.
func (x *customIndex) blocks() error {
	for x.offset() < x.size {
		at := x.offset()
		kind, err := x.byte()
		if err != nil {
			return err
		}
		id, err := x.int()
		if err != nil {
			return err
		}
		d := x.expect[id]
		if d == nil || d.off != 0 || kind != blockData && (kind != blockBlobs || d.isTable) {
			return &SyntaxError{Path: x.path, Offset: at, Msg: "a block of data does not match the table of contents", Hint: hintDamaged}
		}
		d.off = x.offset()
		if kind == blockData {
			err = x.chunks()
		} else {
			err = x.blobs()
		}
		if err != nil {
			return err
		}
		d.end = x.offset()
	}
	return nil
}

// chunks skips one stream: pieces with their length in front, ended by length 0.
func (x *customIndex) chunks() error {
	for {
		n, err := x.int()
		switch {
		case err != nil:
			return err
		case n == 0:
			return nil
		case n < 0:
			return x.fail("a chunk of data has a negative length", hintDamaged)
		case !x.skip(int64(n)):
			return errCut
		}
	}
}

// blobs skips large objects: a stream each with its number in front, ended by
// number 0.
func (x *customIndex) blobs() error {
	for {
		oid, err := x.int()
		if err != nil || oid == 0 {
			return err
		}
		if err := x.chunks(); err != nil {
			return err
		}
	}
}

func (x *customIndex) fail(msg, hint string) error {
	return &SyntaxError{Path: x.path, Offset: x.offset(), Msg: msg, Hint: hint}
}

func (x *customIndex) byte() (byte, error) {
	b, ok := x.peek(0)
	if !ok {
		return 0, errCut
	}
	x.pos++
	return b, nil
}

// int reads a sign byte and a little-endian magnitude.
func (x *customIndex) int() (int, error) {
	if _, ok := x.peek(x.intSize); !ok {
		return 0, errCut
	}
	n, ok := decodeInt(x.buf[x.pos : x.pos+1+x.intSize])
	if !ok {
		return 0, x.fail("an integer makes no sense", hintDamaged)
	}
	x.pos += 1 + x.intSize
	return n, nil
}

// afterInt is the offset behind the integer that comes next.
func (x *customIndex) afterInt() int64 { return x.offset() + int64(1+x.intSize) }

// str reads a string, empty for NULL. With limit 0 it is skipped, a longer one
// than the limit is an error.
func (x *customIndex) str(limit int) (string, error) {
	if limit == 0 {
		_, err := x.skipStr()
		return "", err
	}
	n, err := x.int()
	if err != nil || n <= 0 {
		return "", err
	}
	if int64(n) > x.size-x.offset() {
		return "", errCut
	}
	if n > limit {
		return "", x.fail("a text in the table of contents is too long", hintDamaged)
	}
	if n > len(x.buf) {
		b := make([]byte, n)
		if _, err := x.r.ReadAt(b, x.offset()); err != nil {
			return "", fmt.Errorf("read dump: %w", err)
		}
		x.skip(int64(n))
		return string(b), nil
	}
	if _, ok := x.peek(n - 1); !ok {
		return "", errCut
	}
	s := string(x.buf[x.pos : x.pos+n])
	x.pos += n
	return s, nil
}

// skipStr skips a string and reports whether it was one, not NULL.
func (x *customIndex) skipStr() (bool, error) {
	n, err := x.int()
	if err != nil || n < 0 {
		return false, err
	}
	if !x.skip(int64(n)) {
		return false, errCut
	}
	return true, nil
}

// decodeInt decodes a sign byte and a little-endian magnitude.
func decodeInt(b []byte) (int, bool) {
	var n uint64
	for i, c := range b[1:] {
		n |= uint64(c) << (8 * i)
	}
	if b[0] > 1 || n > 1<<31 { // pg_dump writes C ints
		return 0, false
	}
	if b[0] == 1 {
		return -int(n), true
	}
	return int(n), true
}

// chunkReader joins the pieces of one stream.
type chunkReader struct {
	r    *bufio.Reader
	head []byte // room for the length of a piece
	left int    // of the current piece
	done bool
}

func (c *chunkReader) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		if c.left > 0 {
			m, err = c.r.Read(p[n : n+min(len(p)-n, c.left)])
			n += m
			c.left -= m
			continue
		}
		if c.done {
			return n, io.EOF
		}
		if _, err = io.ReadFull(c.r, c.head); err != nil {
			break
		}
		var ok bool
		if c.left, ok = decodeInt(c.head); !ok || c.left < 0 {
			return n, errors.New("the file was changed after it was opened")
		}
		c.done = c.left == 0
	}
	return n, err
}

// decompressor returns how to read a stream that was compressed with method.
func decompressor(method string) (func(*bufio.Reader) (io.ReadCloser, error), error) {
	switch method {
	case "none":
		return func(r *bufio.Reader) (io.ReadCloser, error) { return io.NopCloser(r), nil }, nil
	case "gzip": // in name only: the streams are zlib
		return func(r *bufio.Reader) (io.ReadCloser, error) {
			z, err := zlib.NewReader(r)
			if err != nil {
				return nil, fmt.Errorf("decompress: %w", err)
			}
			return &whole{z, r}, nil
		}, nil
	case "zstd":
		return func(r *bufio.Reader) (io.ReadCloser, error) {
			// The window limit is that of pg_restore, whatever level pg_dump used.
			z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
			if err != nil {
				return nil, fmt.Errorf("decompress: %w", err)
			}
			return z.IOReadCloser(), nil
		}, nil
	}
	return nil, fmt.Errorf("the archive is compressed with %s, which this reader does not know", method)
}

// whole makes sure that a compressed stream is all there was in its chunks.
type whole struct {
	io.ReadCloser
	under *bufio.Reader
}

func (w *whole) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		if _, more := w.under.ReadByte(); more == nil {
			return n, errors.New("data behind the end of the compressed stream")
		}
	}
	return n, err
}
