package pgdump

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"unicode/utf8"
)

const notUTF8 = "the text is not valid UTF-8"

// Rows streams the rows of one table. It is not safe for concurrent use, but
// any number may be open at once.
type Rows struct {
	ctx    context.Context // of this iteration
	a      *Archive
	name   TableName
	data   tableData
	seg    segment // being read
	nextAt int     // index of the segment after it
	src    io.ReadCloser

	buf      []byte
	pos, end int   // buf[pos:end] is unread
	start    int   // of the current line in buf
	base     int64 // offset in the segment's text of buf[0]
	bad      int   // index in buf of the first byte that text cannot have, -1 if none
	eof      bool

	row, segRow int64 // number of the current row in the table and the segment
	fields      [][]byte
	values      [][]byte
	err         error
	done        bool
}

// Rows starts to stream the rows of a table in the order of the dump. The
// context ends the stream when it is cancelled. For a table without data the
// error is [ErrNoData]. What Open cannot know without decoding all data (wrong
// numbers of fields, text that is not UTF-8, checksums) ends the stream with an
// error, so the rows count only once Err has been asked.
func (a *Archive) Rows(ctx context.Context, t Table) (*Rows, error) {
	name := TableName{t.Schema, t.Name}
	data, ok := a.data[name]
	if !ok {
		return nil, fmt.Errorf("read table %s: %w", name, ErrNoData)
	}
	r := &Rows{
		ctx: ctx, a: a, name: name, data: data,
		buf:    make([]byte, a.sizes.row),
		fields: make([][]byte, len(data.columns)),
	}
	if err := r.openSegment(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// HasRows reports whether the table has any row at all, without an error for
// one without data. In a plain dump the index knows; an archive has to decompress
// the beginning of the table, at most 256 KiB in which the first row fits.
func (a *Archive) HasRows(ctx context.Context, t Table) (has bool, err error) {
	data, ok := a.data[TableName{t.Schema, t.Name}]
	if !ok {
		return false, nil
	}
	if a.info.Format == Plain {
		return slices.ContainsFunc(data.segments, segment.hasLines), nil
	}
	r, err := a.Rows(ctx, t)
	if err != nil {
		return false, err
	}
	has = r.Next()
	return has, errors.Join(r.Err(), r.Close())
}

// hasLines reports whether there is more in a segment of a plain dump than its end.
func (s segment) hasLines() bool {
	if s.inserts {
		return s.size > 0
	}
	return s.size > int64(len(`\.`))
}

// openSegment turns to the next segment.
func (r *Rows) openSegment() error {
	if r.src != nil {
		if err := r.src.Close(); err != nil {
			return r.wrap(err)
		}
	}
	r.seg = r.data.segments[r.nextAt]
	r.nextAt++
	r.pos, r.end, r.base, r.bad, r.eof, r.segRow = 0, 0, 0, -1, false, 0
	if len(r.fields) != len(r.seg.columns) {
		r.fields = make([][]byte, len(r.seg.columns))
	}
	r.values = r.fields
	if r.seg.perm != nil {
		r.values = make([][]byte, len(r.data.columns))
	}
	raw, err := r.a.raw(r.seg)
	if err != nil {
		return r.wrap(err)
	}
	src, err := r.a.read(r.seg, raw)
	if err != nil {
		return errors.Join(r.unreadable(err), raw.Close())
	}
	src = both{src, raw}
	if r.seg.inserts {
		src = copyText(src, r.seg.columns)
	}
	r.src = src
	return nil
}

// both closes a stream and what is under it.
type both struct {
	io.ReadCloser
	under io.Closer
}

// Close closes the two.
func (b both) Close() error { return errors.Join(b.ReadCloser.Close(), b.under.Close()) }

func (r *Rows) wrap(err error) error { return fmt.Errorf("read table %s: %w", r.name, err) }

// Next goes to the next row. It returns false at the end and on an error,
// which Err tells apart.
func (r *Rows) Next() bool {
	if r.done {
		return false
	}
	for {
		line, ok := r.readLine()
		if !ok {
			return r.stop(r.err)
		}
		if len(line) == 2 && line[0] == '\\' && line[1] == '.' {
			if err := r.endSegment(); err != nil {
				return r.stop(err)
			}
			if r.nextAt == len(r.data.segments) {
				return r.stop(nil)
			}
			if err := r.openSegment(); err != nil {
				return r.stop(err)
			}
			continue
		}
		r.row++
		r.segRow++
		if !utf8.Valid(line) {
			return r.stop(r.invalidUTF8(line))
		}
		n, at, msg := splitRow(line, r.fields)
		switch {
		case msg != "":
			hint := hintDamaged
			if msg == notUTF8 {
				hint = r.hintUTF8()
			}
			return r.stop(r.failRow(at, n, msg, hint))
		case n != len(r.fields):
			return r.stop(r.failRow(0, -1, fmt.Sprintf("the row has %d fields, the table %d columns", n, len(r.fields)), hintDamaged))
		}
		for i, at := range r.seg.perm {
			r.values[i] = r.fields[at]
		}
		return true
	}
}

func (r *Rows) stop(err error) bool {
	r.done, r.err = true, err
	clear(r.values)
	return false
}

// readLine returns the next line without its end; a false return has set err.
func (r *Rows) readLine() ([]byte, bool) {
	scanned := 0
	for {
		if i := bytes.IndexByte(r.buf[r.pos+scanned:r.end], '\n'); i >= 0 {
			i += scanned
			if r.bad >= 0 && r.bad < r.pos+i {
				r.err = r.badByte(i)
				return nil, false
			}
			line := r.buf[r.pos : r.pos+i]
			r.start = r.pos
			r.pos += i + 1
			if r.seg.crlf {
				return r.trimCR(line)
			}
			return line, true
		}
		scanned = r.end - r.pos
		if r.eof {
			// Only the end marker may lack its newline: the segment of a plain
			// dump ends right behind it.
			line := r.buf[r.pos:r.end]
			if len(line) == 2 && line[0] == '\\' && line[1] == '.' {
				r.pos = r.end
				return line, true
			}
			r.err = r.fail("the data ends without an end-of-data marker", hintCut)
			return nil, false
		}
		if err := r.fill(); err != nil {
			r.err = err
			return nil, false
		}
	}
}

// trimCR removes the CR of a file that was converted to the line ends of
// Windows. One that is part of a value is written as \r.
func (r *Rows) trimCR(line []byte) ([]byte, bool) {
	line, ok := bytes.CutSuffix(line, []byte{'\r'})
	if !ok || bytes.IndexByte(line, '\r') >= 0 {
		r.row++
		r.segRow++
		r.err = r.failRow(0, -1, "lines end sometimes with and sometimes without a carriage return", hintDamaged)
		return nil, false
	}
	return line, true
}

// fill reads more text behind the unread part of the buffer.
func (r *Rows) fill() error {
	if err := context.Cause(r.ctx); err != nil {
		return r.wrap(err)
	}
	if r.pos > 0 {
		r.end = copy(r.buf, r.buf[r.pos:r.end])
		r.base += int64(r.pos)
		if r.bad >= 0 {
			r.bad -= r.pos
		}
		r.pos = 0
	}
	if r.end == len(r.buf) {
		if len(r.buf) >= r.a.sizes.maxRow {
			r.row++
			return r.fail(fmt.Sprintf("the row is longer than %d MiB", r.a.sizes.maxRow>>20), hintDamaged)
		}
		r.buf = slices.Grow(r.buf, len(r.buf))[:2*len(r.buf)]
	}
	n, err := r.src.Read(r.buf[r.end:])
	fresh := r.buf[r.end : r.end+n]
	if r.bad < 0 {
		bad := bytes.IndexByte(fresh, 0)
		if !r.seg.crlf {
			if i := bytes.IndexByte(fresh, '\r'); i >= 0 && (bad < 0 || i < bad) {
				bad = i
			}
		}
		if bad >= 0 {
			r.bad = r.end + bad
		}
	}
	r.end += n
	switch {
	case errors.Is(err, io.EOF):
		r.eof = true
	case err != nil:
		return r.unreadable(err)
	}
	return nil
}

// unreadable explains why a stream could not be read: by the file system or
// for what is in it.
func (r *Rows) unreadable(err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return r.wrap(err)
	}
	e := r.fail("cannot read the data: "+err.Error(), hintDamaged)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		e.Msg, e.Hint = "the data ends too early", hintCut
	}
	e.Cause = err
	return e
}

// endSegment verifies that nothing but line ends follows the end marker, which
// also makes a compressed stream check its checksum.
func (r *Rows) endSegment() error {
	for {
		for _, c := range r.buf[r.pos:r.end] {
			if c != '\n' && c != '\r' {
				return r.fail("data behind the end-of-data marker", hintDamaged)
			}
		}
		r.pos = r.end
		if r.eof {
			return nil
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
}

// fail makes an error for what comes next.
func (r *Rows) fail(msg, hint string) *SyntaxError {
	e := &SyntaxError{Path: r.seg.path(r.a.path), Offset: r.seg.off, Table: r.name.String(), Row: r.row, Msg: msg, Hint: hint}
	if r.seg.line > 0 {
		e.Line = r.seg.line + int(r.segRow)
		e.Offset += r.base + int64(r.pos)
	}
	return e
}

// failRow makes an error for byte at of the current row, in the given field if
// that is not -1.
func (r *Rows) failRow(at, field int, msg, hint string) *SyntaxError {
	e := r.fail(msg, hint)
	if r.seg.line > 0 {
		e.Line--
		e.Offset = r.seg.off + r.base + int64(r.start+at)
	}
	if field >= 0 && field < len(r.seg.columns) {
		e.Column = r.seg.columns[field]
	}
	return e
}

func (r *Rows) invalidUTF8(line []byte) error {
	at, field := 0, 0
	for at < len(line) {
		c, size := utf8.DecodeRune(line[at:])
		if c == utf8.RuneError && size == 1 {
			break
		}
		if c == '\t' {
			field++
		}
		at += size
	}
	return r.failRow(at, field, notUTF8, r.hintUTF8())
}

// hintUTF8 depends on who let the bytes in.
func (r *Rows) hintUTF8() string {
	switch r.a.info.Encoding {
	case "UTF8": // PostgreSQL would not have stored it
		return hintDamaged
	case "SQL_ASCII":
		return "the database has the encoding SQL_ASCII, which takes any bytes: correct the value there and run pg_dump again"
	}
	return hintUTF8
}

// badByte explains a byte that pg_dump never writes, in the line of n bytes
// that comes next.
func (r *Rows) badByte(n int) error {
	line := r.buf[r.pos : r.pos+n]
	at := r.bad - r.pos
	field := bytes.Count(line[:at], []byte{'\t'})
	msg := "a NUL byte, which text cannot have"
	if line[at] == '\r' {
		msg = "a carriage return that is not escaped: line ends were changed"
	}
	r.row++
	r.segRow++
	r.start = r.pos
	return r.failRow(at, field, msg, hintDamaged)
}

// Values returns the fields of the current row in the order of the table's
// columns, decoded; nil is NULL. The slices are valid until the next call of
// Next. They may be changed.
func (r *Rows) Values() [][]byte { return r.values }

// Row is the number of the current row in its table, counted from 1.
func (r *Rows) Row() int64 { return r.row }

// Err returns what ended the rows early, nil at their proper end.
func (r *Rows) Err() error { return r.err }

// Close releases what the stream holds. Closing early is not an error.
func (r *Rows) Close() error {
	r.done = true
	if r.src == nil {
		return nil
	}
	err := r.src.Close()
	r.src = nil
	if err != nil {
		return r.wrap(err)
	}
	return nil
}

// splitRow cuts a line of COPY text into fields and decodes them in place. It
// returns the number of fields in the line, of which no more are stored than
// there is room for. With a message the line is wrong at byte at, in field n.
func splitRow(line []byte, fields [][]byte) (n, at int, msg string) {
	if len(line) == 0 && len(fields) == 0 {
		return 0, 0, ""
	}
	escaped := bytes.IndexByte(line, '\\') >= 0
	for start := 0; ; n++ {
		size := bytes.IndexByte(line[start:], '\t')
		last := size < 0
		if last {
			size = len(line) - start
		}
		if n >= len(fields) {
			return n + 1 + bytes.Count(line[start:], []byte{'\t'}), 0, ""
		}
		field := line[start : start+size : start+size]
		if escaped {
			if size == 2 && field[0] == '\\' && field[1] == 'N' {
				field = nil
			} else if i := bytes.IndexByte(field, '\\'); i >= 0 {
				var bad int
				if field, bad, msg = unescape(field, i); msg != "" {
					return n, start + bad, msg
				}
			}
		}
		fields[n] = field
		if last {
			return n + 1, 0, ""
		}
		start += size + 1
	}
}

// unescape decodes a field in place, the first backslash of which is at i.
func unescape(f []byte, i int) (_ []byte, at int, msg string) {
	w := i
	coded := false // bytes were given by number: only now can they be checked
	for i < len(f) {
		if f[i] != '\\' {
			n := bytes.IndexByte(f[i:], '\\')
			if n < 0 {
				n = len(f) - i
			}
			copy(f[w:], f[i:i+n])
			w += n
			i += n
			continue
		}
		at = i
		i++
		if i == len(f) {
			return nil, at, "a field ends with a single backslash"
		}
		c := f[i]
		i++
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'v':
			c = '\v'
		case '.':
			return nil, at, "an end-of-data marker inside a row"
		case '0', '1', '2', '3', '4', '5', '6', '7':
			coded = true
			c -= '0'
			for n := 1; n < 3 && i < len(f) && '0' <= f[i] && f[i] <= '7'; n++ {
				c = c<<3 | (f[i] - '0')
				i++
			}
		case 'x':
			v, n := byte(0), 0
			for n < 2 && i < len(f) {
				d, ok := hexDigit(f[i])
				if !ok {
					break
				}
				v = v<<4 | d
				n++
				i++
			}
			if n > 0 {
				coded = true
				c = v
			}
		}
		f[w] = c
		w++
	}
	f = f[:w:w]
	if coded && (bytes.IndexByte(f, 0) >= 0 || !utf8.Valid(f)) {
		return nil, at, notUTF8
	}
	return f, 0, ""
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
