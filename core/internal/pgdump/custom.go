package pgdump

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/stetl/stetl/core/internal/dumpfile"
)

const (
	blockData  = 1
	blockBlobs = 3

	// States of a place in the table of contents.
	placeSet    = 2
	placeNoData = 3
)

// customIndex reads a custom-format file from the header to the last block.
type customIndex struct {
	*tocIndex
	tocAt, tocEnd int64
	found         int // blocks of data
}

func (a *Archive) indexCustom(ctx context.Context, cat *catalog) error {
	a.info.Format = Custom
	x := &customIndex{tocIndex: newTOC(a.window(ctx, 0), a.path, cat)}
	err := x.begin(&a.info)
	if err == nil {
		x.tocAt = x.offset()
		err = x.contents()
	}
	a.info.Encoding = x.parser.encoding
	if err == nil {
		x.tocEnd = x.offset()
		err = x.blocks()
	}
	if err != nil || x.err != nil {
		return x.explain(err)
	}
	for _, d := range x.order {
		if d.block == 0 {
			return d.missing(a.path, a.size, "the data is missing at the end of the file", hintCut)
		}
		if d.isTable {
			t := cat.entry(d.table)
			t.segments = append(t.segments, segment{off: d.off, size: d.end - d.off, columns: d.columns, inserts: d.inserts, method: a.info.Compression})
		}
	}
	lengthSize := 1 + x.intSize
	a.read = func(s segment, r io.Reader) (io.ReadCloser, error) {
		chunks := &chunkReader{r: bufio.NewReaderSize(r, 64<<10), head: make([]byte, lengthSize)}
		return dumpfile.Inflate(s.method, bufio.NewReader(chunks))
	}
	return nil
}

// blocks walks all blocks of data to the end of the file. Their places in the
// table of contents are not used: pg_dump cannot fill them in when it writes
// to a pipe, and a place proves nothing about what lies there.
func (x *customIndex) blocks() error {
	for x.offset() < x.size {
		at := x.offset()
		if x.found == len(x.order) {
			return x.trailer()
		}
		kind, err := x.byte()
		if err != nil {
			return err
		}
		id, err := x.int()
		if err != nil {
			return err
		}
		d := x.expect[id]
		if d == nil || d.block != 0 || kind != blockData && (kind != blockBlobs || d.isTable) {
			return &SyntaxError{Path: x.path, Offset: at, Msg: "a block of data does not match the table of contents", Hint: hintDamaged}
		}
		d.block, d.off = at, x.offset()
		x.found++
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

// trailer reads what follows the last block: nothing, or the table of contents again, this
// time with the places of the blocks. When all data is out pg_dump goes back and writes it a
// second time over the first. In a file that is open for appending that lands at the
// end; since PostgreSQL 16 pg_dump opens its standard output in this way itself. The two
// differ in the places; and statistics, which pg_dump steps over the second time, are missing.
func (x *customIndex) trailer() error {
	at := x.offset()
	if x.atMagic() {
		return x.secondDump()
	}
	size := x.tocEnd - x.tocAt
	for _, s := range x.spots {
		if s.late {
			size -= s.size
		}
	}
	if err := x.compare(at); err != nil {
		return x.differs(at, err)
	}
	switch {
	case !x.skip(size):
		return errCut
	case x.atMagic():
		return x.secondDump()
	case x.offset() < x.size:
		return x.fail(moreBehind, hintDamaged)
	}
	return nil
}

func (x *customIndex) secondDump() error {
	return x.fail("a second dump begins in the same file", hintOneDB)
}

const moreBehind = "more follows behind the last block of data"

// compare compares the table of contents with what begins at the given place.
func (x *customIndex) compare(at int64) error {
	c := comparison{
		a: bufio.NewReader(io.NewSectionReader(x.r, x.tocAt, x.tocEnd-x.tocAt)),
		b: bufio.NewReader(io.NewSectionReader(x.r, at, x.size-at)),
	}
	done := x.tocAt
	for _, s := range x.spots {
		if err := c.same(s.at - done); err != nil {
			return err
		}
		if err := c.spot(s); err != nil {
			return err
		}
		done = s.at + s.size
	}
	return c.same(x.tocEnd - done)
}

// differs explains why the second table of contents is not the first one.
func (x *customIndex) differs(at int64, err error) error {
	switch {
	case errors.Is(err, errOther):
		return &SyntaxError{Path: x.path, Offset: at, Msg: moreBehind, Hint: hintDamaged}
	case errors.Is(err, errPlace):
		return &SyntaxError{Path: x.path, Offset: at, Msg: "the second table of contents tells another place of the data", Hint: hintDamaged}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errCut
	}
	return fmt.Errorf("read dump: %w", err)
}

// lies reports whether the place, as the table of contents has it, is that of the data.
func (d *toData) lies(place []byte) bool {
	var off uint64
	for i, c := range place[1:] {
		off |= uint64(c) << (8 * i)
	}
	if d == nil {
		return place[0] == placeNoData && off == 0
	}
	return place[0] == placeSet && off == uint64(d.block) //nolint:gosec // offsets are positive
}

// comparison reads two streams side by side.
type comparison struct{ a, b *bufio.Reader }

var (
	errOther = errors.New("other bytes")
	errPlace = errors.New("another place")
)

// spot reads what may differ.
func (c comparison) spot(s spot) error {
	if s.late {
		for left := s.size; left > 0; {
			n, err := c.a.Discard(int(min(left, 1<<20)))
			if err != nil {
				return err
			}
			left -= int64(n)
		}
		return nil
	}
	place, err := c.b.Peek(int(s.size))
	if err != nil {
		return err
	}
	if !s.data.lies(place) {
		return errPlace
	}
	_, err = c.a.Discard(int(s.size))
	_, err2 := c.b.Discard(int(s.size))
	return errors.Join(err, err2)
}

// same reads n bytes of both, which have to be equal.
func (c comparison) same(n int64) error {
	for n > 0 {
		step := int(min(n, int64(c.a.Size())))
		want, err := c.a.Peek(step)
		if err != nil {
			return err
		}
		got, err := c.b.Peek(step)
		if !bytes.HasPrefix(want, got) {
			return errOther
		}
		if err != nil {
			return err
		}
		_, err = c.a.Discard(step)
		_, err2 := c.b.Discard(step)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		n -= int64(step)
	}
	return nil
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
