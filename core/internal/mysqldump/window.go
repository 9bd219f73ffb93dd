package mysqldump

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// window is a sliding view of a dump that knows where it stands.
type window struct {
	ctx      context.Context // of the one pass that the window lives for
	r        io.ReaderAt
	size     int64 // how far to read
	buf      []byte
	pos, end int   // buf[pos:end] is unread
	base     int64 // offset in the dump of buf[0]
	mark     int   // newlines before buf[mark] are in line
	line     int   // of buf[mark], counted from 1
	err      error // why reading stopped, apart from the end
}

// minWindow is how far ahead a lexer looks.
const minWindow = 64

func newWindow(ctx context.Context, r io.ReaderAt, from, to int64, line, size int) *window {
	return &window{ctx: ctx, r: r, size: to, base: from, line: line, buf: make([]byte, max(minWindow, min(int64(size), to-from)))}
}

// place is the position of the next byte and its line.
func (w *window) place() (off int64, line int) {
	w.line += bytes.Count(w.buf[w.mark:w.pos], []byte{'\n'})
	w.mark = w.pos
	return w.base + int64(w.pos), w.line
}

// fill reads more bytes behind the unread ones and reports whether there were any.
func (w *window) fill() bool {
	if w.err != nil {
		return false
	}
	if w.err = context.Cause(w.ctx); w.err != nil {
		return false
	}
	w.place()
	w.end = copy(w.buf, w.buf[w.pos:w.end])
	w.base += int64(w.pos)
	w.pos, w.mark = 0, 0
	want := min(int64(len(w.buf)-w.end), w.size-w.base-int64(w.end))
	if want <= 0 {
		return false
	}
	n, err := w.r.ReadAt(w.buf[w.end:w.end+int(want)], w.base+int64(w.end))
	w.end += n
	if err != nil && (n == 0 || !errors.Is(err, io.EOF)) {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // it was longer when it was opened
		}
		w.err = fmt.Errorf("read dump: %w", err)
	}
	return n > 0
}

// peek returns the byte i places ahead, which is within [minWindow], and 0 behind the
// end.
func (w *window) peek(i int) byte {
	for w.end-w.pos <= i {
		if !w.fill() {
			return 0
		}
	}
	return w.buf[w.pos+i]
}

// atEnd reports whether nothing is left.
func (w *window) atEnd() bool { return w.pos == w.end && !w.fill() }

// until moves to the next byte of which stop is true, and gives what it passes to
// take, piece by piece. It reports false at the end.
func (w *window) until(stop *[256]bool, take func([]byte)) bool {
	for {
		piece := w.buf[w.pos:w.end]
		for i, c := range piece {
			if stop[c] {
				if take != nil {
					take(piece[:i])
				}
				w.pos += i
				return true
			}
		}
		if take != nil {
			take(piece)
		}
		w.pos = w.end
		if !w.fill() {
			return false
		}
	}
}

func bytesOf(text string) *[256]bool {
	var set [256]bool
	for _, c := range []byte(text) {
		set[c] = true
	}
	return &set
}
