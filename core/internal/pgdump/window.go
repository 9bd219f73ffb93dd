package pgdump

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// window is a sliding view of a file that knows where it stands. Looking
// ahead is for a few bytes; anything long is consumed on the way.
type window struct {
	ctx      context.Context // of the one pass that the window lives for
	r        io.ReaderAt     // nil when buf is all there is
	size     int64           // of the file
	buf      []byte
	pos, end int   // buf[pos:end] is unread
	base     int64 // offset in the file of buf[0]
	mark     int   // newlines before buf[mark] are in line
	line     int   // of buf[mark], counted from 1
	err      error // why reading stopped, apart from the end of the file
}

// window returns a window on the file that begins at off.
func (a *Archive) window(ctx context.Context, off int64) *window {
	size := min(int64(a.sizes.window), max(1, a.size))
	return &window{ctx: ctx, r: a.r, size: a.size, base: off, line: 1, buf: make([]byte, size)}
}

// textWindow is a window on text that lies at off in the file.
func textWindow(text string, off int64) *window {
	return &window{buf: []byte(text), end: len(text), base: off, line: 1}
}

// offset is the position in the file of the next byte.
func (w *window) offset() int64 { return w.base + int64(w.pos) }

// place is the position of the next byte and its line.
func (w *window) place() (int64, int) {
	w.line += bytes.Count(w.buf[w.mark:w.pos], []byte{'\n'})
	w.mark = w.pos
	return w.offset(), w.line
}

// fill reads more bytes behind the unread ones and reports whether there were any.
func (w *window) fill() bool {
	if w.r == nil || w.err != nil {
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
	if n == 0 && err != nil && !errors.Is(err, io.EOF) {
		w.err = fmt.Errorf("read dump: %w", err)
	}
	return n > 0
}

// peek returns the byte i places ahead, and false behind the end of the file.
func (w *window) peek(i int) (byte, bool) {
	for w.end-w.pos <= i {
		if !w.fill() {
			return 0, false
		}
	}
	return w.buf[w.pos+i], true
}

// at reports whether the byte i places ahead is c.
func (w *window) at(i int, c byte) bool {
	b, ok := w.peek(i)
	return ok && b == c
}

// seek moves to the next occurrence of pattern, which stays unread. At the end
// of the file it reports false.
func (w *window) seek(pattern []byte) bool {
	for {
		if i := bytes.Index(w.buf[w.pos:w.end], pattern); i >= 0 {
			w.pos += i
			return true
		}
		w.pos = max(w.pos, w.end-len(pattern)+1)
		if !w.fill() {
			w.pos = w.end
			return false
		}
	}
}

// skip moves n bytes ahead without reading what the buffer does not hold. It
// reports false when the file is shorter. Lines are not counted.
func (w *window) skip(n int64) bool {
	if n < 0 || n > w.size-w.offset() {
		return false
	}
	if n <= int64(w.end-w.pos) {
		w.pos += int(n)
	} else {
		w.base = w.offset() + n
		w.pos, w.end = 0, 0
	}
	w.mark = w.pos
	return true
}
