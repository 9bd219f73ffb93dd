package pgdump

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/stetl/stetl/core/internal/dumpfile"
)

// The layout of archives is that of pg_dump's own reader and writer,
// src/bin/pg_dump/pg_backup_archiver.c and its neighbours in PostgreSQL 18.
const (
	magic = "PGDMP"

	minArchive = 12 // 1.12, PostgreSQL 9.0
	maxArchive = 16 // 1.16, PostgreSQL 17 and 18

	formatAt        = 10 // byte of the header that has the format
	formatCustom    = 1
	formatTar       = 3 // also in the toc.dat of a directory, so that it may be packed with tar
	formatDirectory = 5

	// maxDefinition bounds the statements that are kept for parsing. A table of
	// 1600 columns with long defaults stays far below.
	maxDefinition = 16 << 20
)

// tocIndex reads the header and the table of contents of an archive.
type tocIndex struct {
	*window
	path    string
	version int // the minor number; the major is 1
	intSize int
	offSize int
	places  bool // entries tell where in the file their data is, not the name of a member
	parser  *parser
	copied  *copyStatement  // from the COPY statement parsed last
	expect  map[int]*toData // by dump id, what the table of contents promises
	order   []*toData       // the same in order
	spots   []spot
}

// spot is a stretch of the table of contents that is another one when it is written again.
type spot struct {
	at, size int64
	late     bool    // a definition that is made while it is written, which happens once
	data     *toData // else the place of this data; nil for none
}

// toData is a promised block of data.
type toData struct {
	table    TableName
	isTable  bool // not large objects
	inserts  bool // made with --inserts
	columns  []string
	member   string // name of the file that has it, in a directory or tar archive
	block    int64  // offset of the block in a custom archive
	off, end int64  // of the chunks, once found
}

// errCut is how the low-level readers report the end of the file.
var errCut = errors.New("cut")

func newTOC(w *window, path string, cat *catalog) *tocIndex {
	x := &tocIndex{window: w, path: path, expect: make(map[int]*toData)}
	x.parser = &parser{path: path, binary: true, cat: cat, sink: x}
	return x
}

// explain turns the error of reading an archive into the one that callers see.
func (x *tocIndex) explain(err error) error {
	switch {
	case x.err != nil:
		return x.err
	case errors.Is(err, errCut):
		return &SyntaxError{Path: x.path, Offset: x.size, Msg: "the file ends in the middle of the archive", Hint: hintCut}
	}
	return err
}

// missing is the error for data that was promised and is not there.
func (d *toData) missing(path string, off int64, msg, hint string) error {
	e := &SyntaxError{Path: path, Offset: off, Msg: msg, Hint: hint}
	if d.isTable {
		e.Table = d.table.String()
	}
	return e
}

// begin reads the header up to where the table of contents begins.
func (x *tocIndex) begin(info *Info) error {
	if !x.skip(int64(len(magic))) {
		return errCut
	}
	var head [6]byte // major, minor, revision, size of integers, of offsets, format
	for i := range head {
		var err error
		if head[i], err = x.byte(); err != nil {
			return err
		}
	}
	x.version, x.intSize, x.offSize = int(head[1]), int(head[3]), int(head[4])
	info.ArchiveVersion = fmt.Sprintf("%d.%d", head[0], head[1])
	switch {
	case head[0] != 1 || x.version < minArchive || x.version > maxArchive:
		return x.fail("archive version "+info.ArchiveVersion+" is not among those known here, 1.12 to 1.16",
			"convert the file with the pg_restore of the PostgreSQL version that wrote it: pg_restore --file=dump.sql ARCHIVE")
	case x.intSize < 1 || x.intSize > 8 || x.offSize < 1 || x.offSize > 8:
		return x.fail("the archive header makes no sense", hintDamaged)
	case head[5] != formatCustom && head[5] != formatTar && head[5] != formatDirectory:
		return x.fail("the archive is of an unknown format, number "+strconv.Itoa(int(head[5])), hintPlain)
	}
	x.places = head[5] == formatCustom
	return x.header(info)
}

// contents reads the table of contents.
func (x *tocIndex) contents() error {
	count, err := x.int()
	if err != nil {
		return err
	}
	if count < 0 {
		return x.fail("the table of contents makes no sense", hintDamaged)
	}
	for range count {
		if err := x.entry(); err != nil {
			return err
		}
	}
	return nil
}

func (x *tocIndex) header(info *Info) error {
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
	if method >= len(dumpfile.Methods) {
		return x.fail("the archive is compressed with an unknown method, number "+strconv.Itoa(method), hintPlain)
	}
	info.Compression = dumpfile.Methods[method]
	var at [7]int // as in C: second, minute, hour, day, month from 0, year from 1900, daylight saving
	for i := range at {
		if at[i], err = x.int(); err != nil {
			return err
		}
	}
	if at[5] > 0 {
		info.Made = time.Date(1900+at[5], time.Month(1+at[4]), at[3], at[2], at[1], at[0], 0, time.Local)
	}
	for _, s := range []*string{&info.Database, &info.ServerVersion, &info.DumpVersion} {
		if *s, err = x.str(maxToken); err != nil {
			return err
		}
	}
	return nil
}

// entry is one entry of the table of contents, as far as it matters.
type entry struct {
	id, dumper                        int
	tag, desc, schema, defn, copyStmt string
	defnAt, defnEnd, copyAt           int64
	member                            string
	place                             int64
}

// parsed reports whether the statement of such an entry is looked into.
func parsed(desc string) bool {
	switch desc {
	case "TABLE", "FOREIGN TABLE", "TABLE ATTACH", "ENCODING", "STDSTRINGS",
		"INDEX", "CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "ROW SECURITY":
		return true
	}
	return false
}

// readEntry reads one entry of the table of contents.
func (x *tocIndex) readEntry() (e entry, err error) {
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

	number(&e.id)
	number(&e.dumper)
	skip() // oid of the catalogue table
	skip() // oid of the object
	text(&e.tag, maxToken)
	text(&e.desc, maxToken)
	number(new(int)) // section
	wanted := 0
	if parsed(e.desc) {
		wanted = maxDefinition
	}
	e.defnAt = x.afterInt()
	text(&e.defn, wanted)
	e.defnEnd = x.offset()
	skip() // DROP statement
	e.copyAt = x.afterInt()
	text(&e.copyStmt, maxDefinition)
	text(&e.schema, maxToken)
	skip() // tablespace
	if x.version >= 14 {
		skip() // access method
	}
	if x.version >= 16 {
		number(new(int)) // kind of relation
	}
	skip() // owner
	skip() // WITH OIDS
	for err == nil {
		var more bool
		if more, err = x.skipStr(); !more { // what the entry depends on
			break
		}
	}
	e.place = x.offset()
	switch {
	case !x.places:
		text(&e.member, maxToken)
	case err == nil && !x.skip(int64(1+x.offSize)): // blocks are found by walking
		err = errCut
	}
	return e, err
}

// entry takes note of the next entry.
func (x *tocIndex) entry() error {
	e, err := x.readEntry()
	if err != nil {
		return err
	}
	if parsed(e.desc) {
		if err := x.parse(e.defn, e.defnAt, e.schema); err != nil {
			return err
		}
	}
	if e.desc == "VIEW" || e.desc == "MATERIALIZED VIEW" {
		x.parser.cat.views = append(x.parser.cat.views, TableName{e.schema, e.tag})
	}
	if e.desc == "STATISTICS DATA" { // since PostgreSQL 18
		at := e.defnAt - int64(1+x.intSize)
		x.spots = append(x.spots, spot{at: at, size: e.defnEnd - at, late: true})
	}
	if e.dumper == 0 {
		x.spots = append(x.spots, spot{at: e.place, size: int64(1 + x.offSize)})
		return nil
	}
	if x.expect[e.id] != nil {
		return x.fail("the table of contents has two entries with the same number", hintDamaged)
	}
	d := &toData{member: e.member}
	x.expect[e.id] = d
	x.order = append(x.order, d)
	x.spots = append(x.spots, spot{at: e.place, size: int64(1 + x.offSize), data: d})
	if e.desc != "TABLE DATA" {
		return nil
	}
	name := TableName{e.schema, e.tag}
	d.isTable, d.table = true, name
	if e.copyStmt == "" {
		d.inserts = true
		return nil
	}
	x.copied = nil
	if err := x.parse(e.copyStmt, e.copyAt, e.schema); err != nil {
		return err
	}
	if x.copied == nil {
		return &SyntaxError{Path: x.path, Offset: e.copyAt, Table: name.String(), Msg: "the COPY statement is missing", Hint: hintDamaged}
	}
	// With --load-via-partition-root this is not the table of the entry.
	d.table, d.columns = x.copied.table, x.copied.columns
	return nil
}

// parse runs the SQL of an entry through the parser.
func (x *tocIndex) parse(sql string, off int64, schema string) error {
	x.parser.window = textWindow(sql, off)
	x.parser.haveAhead = false
	x.parser.schema = schema
	return x.parser.run()
}

func (x *tocIndex) comment(token) error   { return nil }
func (x *tocIndex) statement(token) error { return nil }

func (x *tocIndex) meta(t token, _ string) error {
	return x.parser.errorAt(t, "a psql command in the table of contents", hintDamaged)
}

func (x *tocIndex) inserted(t token, _ copyStatement) error {
	return x.parser.errorAt(t, "an INSERT statement in the table of contents", hintDamaged)
}

func (x *tocIndex) copyFrom(c copyStatement) error {
	x.copied = &c
	return nil
}

// atMagic reports whether an archive begins here.
func (x *tocIndex) atMagic() bool {
	_, ok := x.peek(len(magic) - 1)
	return ok && bytes.HasPrefix(x.buf[x.pos:x.end], []byte(magic))
}

func (x *tocIndex) fail(msg, hint string) error {
	return &SyntaxError{Path: x.path, Offset: x.offset(), Msg: msg, Hint: hint}
}

func (x *tocIndex) byte() (byte, error) {
	b, ok := x.peek(0)
	if !ok {
		return 0, errCut
	}
	x.pos++
	return b, nil
}

// int reads a sign byte and a little-endian magnitude.
func (x *tocIndex) int() (int, error) {
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
func (x *tocIndex) afterInt() int64 { return x.offset() + int64(1+x.intSize) }

// str reads a string, empty for NULL. With limit 0 it is skipped, a longer one
// than the limit is an error.
func (x *tocIndex) str(limit int) (string, error) {
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
func (x *tocIndex) skipStr() (bool, error) {
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
