package pgdump

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/stetl/stetl/core/internal/dumpfile"
)

const (
	tocFile     = "toc.dat"
	restoreFile = "restore.sql" // the plain dump, COPY aside, that pg_dump puts into a tar archive
)

// members are the files of a dump that has one for each table.
type members interface {
	// find returns where a file is, and false when there is none of that name.
	find(name string) (segment, bool, error)
	// tail returns the last bytes of a file, at most n.
	tail(s segment, n int64) ([]byte, error)
}

// suffixes that pg_dump gives to the names of compressed files, by method.
var suffixes = []struct{ suffix, method string }{{"", "none"}, {".gz", "gzip"}, {".lz4", "lz4"}, {".zst", "zstd"}}

// indexMembers reads the table of contents and makes sure that the files it
// promises are there. toc is a window on it.
func (a *Archive) indexMembers(toc *window, name string, m members, cat *catalog) error {
	x := newTOC(toc, name, cat)
	if !x.atMagic() && x.err == nil {
		return x.fail("this is not the table of contents of a dump", hintCut)
	}
	err := x.begin(&a.info)
	if err == nil && x.places {
		err = x.fail("this is the table of contents of a custom-format archive", hintDamaged)
	}
	if err == nil {
		err = x.contents()
	}
	a.info.Encoding = x.parser.encoding
	if err != nil || x.err != nil {
		return x.explain(err)
	}
	if x.offset() < x.size {
		return x.fail("more follows behind the table of contents", hintDamaged)
	}
	for i, d := range x.order {
		if !d.isTable {
			continue // large objects are not read
		}
		s, err := a.member(m, d)
		if err != nil {
			return err
		}
		s.seq, s.columns, s.inserts = i, d.columns, d.inserts
		t := cat.entry(d.table)
		t.segments = append(t.segments, s)
	}
	a.read = func(s segment, r io.Reader) (io.ReadCloser, error) {
		if s.method == "none" {
			return io.NopCloser(r), nil
		}
		return dumpfile.Decompress(s.method, bufio.NewReaderSize(r, 64<<10))
	}
	return nil
}

// member finds the file with the data of an entry.
func (a *Archive) member(m members, d *toData) (segment, error) {
	if d.member == "" || d.member != path.Base(d.member) || strings.ContainsAny(d.member, "\x00\\") {
		return segment{}, d.missing(a.path, 0, "the table of contents does not name the file with the data", hintDamaged)
	}
	for _, c := range suffixes {
		s, ok, err := m.find(d.member + c.suffix)
		if err != nil {
			return segment{}, err
		}
		if !ok {
			continue
		}
		s.method = c.method
		if c.method != "none" { // a cut is found by decompressing
			return s, nil
		}
		end, err := m.tail(s, 16)
		if err != nil {
			return segment{}, err
		}
		if !ended(end, d.inserts) {
			return segment{}, d.missing(s.path(a.path), s.off+s.size, "the data has no end", hintCut)
		}
		return s, nil
	}
	return segment{}, d.missing(a.path, 0, "the file "+d.member+" with the data is missing", "copy the whole dump again, or run pg_dump again")
}

// ended reports whether the last bytes of uncompressed data are those that pg_dump ends
// it with: the marker behind COPY text, an empty line behind INSERT statements.
func ended(tail []byte, inserts bool) bool {
	if inserts {
		return bytes.HasSuffix(tail, []byte("\n\n"))
	}
	text := bytes.TrimRight(tail, "\r\n")
	return len(text) < len(tail) && (string(text) == `\.` || bytes.HasSuffix(text, endOfData))
}

// path is where the segment's bytes are, for errors.
func (s segment) path(dump string) string {
	if s.file == "" {
		return dump
	}
	return filepath.Join(dump, s.file)
}

// raw opens the bytes of a segment.
func (a *Archive) raw(s segment) (io.ReadCloser, error) {
	if s.file == "" {
		return io.NopCloser(io.NewSectionReader(a.r, s.off, s.size)), nil
	}
	f, err := a.root.Open(s.file)
	if err != nil {
		return nil, err
	}
	return sectionOf{io.NewSectionReader(f, 0, s.size), f}, nil
}

type sectionOf struct {
	io.Reader
	io.Closer
}

// directory is a dump in directory format. Its files cannot be outside of it,
// whatever the table of contents says.
type directory struct{ root *os.Root }

func (d directory) find(name string) (segment, bool, error) {
	st, err := d.root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return segment{}, false, nil
	case err != nil:
		return segment{}, false, fmt.Errorf("open dump: %w", err)
	case !st.Mode().IsRegular():
		return segment{}, false, &SyntaxError{Path: filepath.Join(d.root.Name(), name), Msg: "this is not a regular file", Hint: "copy the whole dump again, or run pg_dump again"}
	}
	return segment{file: name, size: st.Size()}, true, nil
}

func (d directory) tail(s segment, n int64) ([]byte, error) {
	f, err := d.root.Open(s.file)
	if err != nil {
		return nil, fmt.Errorf("open dump: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	return tail(f, s, n)
}

// tail reads the end of a segment.
func tail(r io.ReaderAt, s segment, n int64) ([]byte, error) {
	b := make([]byte, min(n, s.size))
	if _, err := r.ReadAt(b, s.off+s.size-int64(len(b))); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read dump: %w", err)
	}
	return b, nil
}

// openDirectory opens a dump in directory format.
func openDirectory(ctx context.Context, dir string, buffers sizes) (*Archive, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open dump: %w", err)
	}
	a := &Archive{path: dir, root: root, close: root.Close, sizes: buffers, info: Info{Format: Directory}}
	if err := a.loadDirectory(ctx); err != nil {
		_ = root.Close() // the error of the dump is what counts
		return nil, err
	}
	return a, nil
}

func (a *Archive) loadDirectory(ctx context.Context) error {
	name := filepath.Join(a.path, tocFile)
	d := directory{a.root}
	found, ok, err := d.find(tocFile)
	if err == nil && !ok {
		err = fmt.Errorf("open dump: %s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	toc, err := a.root.Open(tocFile)
	if err != nil {
		return fmt.Errorf("open dump: %w", err)
	}
	defer func() { _ = toc.Close() }() // nothing was written
	a.r, a.size = toc, found.size
	cat := newCatalog()
	if err := a.indexMembers(a.window(ctx, 0), name, d, cat); err != nil {
		return err
	}
	a.info.Size = a.size
	for _, e := range cat.tables {
		for _, s := range e.segments {
			a.info.Size += s.size
		}
	}
	a.r = nil
	return a.finish(cat)
}

// tarball is a dump in tar format, or one in directory format that was packed with tar.
type tarball struct {
	r     io.ReaderAt
	size  int64
	files map[string]segment // by path, those that hold tables
	dir   string             // where the table of contents is
}

func (t *tarball) find(name string) (segment, bool, error) {
	s, ok := t.files[path.Join(t.dir, name)]
	return s, ok, nil
}

func (t *tarball) tail(s segment, n int64) ([]byte, error) { return tail(t.r, s, n) }

// isTar reports whether a file that begins with head is a tar archive.
func isTar(head []byte) bool { return len(head) >= 262 && string(head[257:262]) == "ustar" }

func (a *Archive) indexTar(ctx context.Context, cat *catalog) error {
	a.info.Format = Tar
	t := &tarball{r: a.r, size: a.size, files: make(map[string]segment)}
	if err := t.list(ctx, a.path); err != nil {
		return err
	}
	toc, ok, _ := t.find(tocFile)
	if !ok {
		return &SyntaxError{Path: a.path, Msg: "this is a tar file without the table of contents of a dump", Hint: "name the dump itself: unpack the file first if a dump is in it"}
	}
	w := a.window(ctx, toc.off)
	w.size = toc.off + toc.size
	if err := a.indexMembers(w, a.path, t, cat); err != nil {
		return err
	}
	// Only here does an archive say so.
	begin, _, _ := t.find(restoreFile)
	head := make([]byte, min(begin.size, 16<<10))
	if _, err := a.r.ReadAt(head, begin.off); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read dump: %w", err)
	}
	cat.rowSecurity = bytes.Contains(head, []byte("\nSET row_security = on;\n"))
	return nil
}

const (
	// tarEnd are the two empty blocks at the end of a tar file.
	tarEnd = 2 * 512
	// maxMembers bounds the memory for a damaged or hostile file. Each is a table.
	maxMembers = 1 << 20
)

// list finds the files of a tar archive, up to the end that it must have.
func (t *tarball) list(ctx context.Context, name string) error {
	section := io.NewSectionReader(t.r, 0, t.size)
	for r := tar.NewReader(section); ; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		h, err := r.Next()
		at, _ := section.Seek(0, io.SeekCurrent) // cannot fail
		if err == nil {
			err = t.add(h, at)
		}
		switch {
		case errors.Is(err, io.EOF) && t.ends(at):
			return nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return &SyntaxError{Path: name, Offset: t.size, Msg: "the file ends in the middle of the archive", Hint: hintCut}
		case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong):
			return &SyntaxError{Path: name, Offset: at, Msg: "a header of the tar file makes no sense", Hint: hintDamaged}
		case errors.Is(err, errMembers):
			return &SyntaxError{Path: name, Offset: at, Msg: err.Error(), Hint: hintOneDB}
		case err != nil:
			return fmt.Errorf("read dump: %w", err)
		}
	}
}

// errMembers says that a tar file is not that of one dump.
var errMembers = errors.New("the tar file holds more than one dump")

// add takes note of a file whose content begins at off.
func (t *tarball) add(h *tar.Header, off int64) error {
	file := path.Clean(h.Name)
	base := path.Base(file)
	_, sparse := h.PAXRecords["GNU.sparse.major"]
	switch {
	case h.Size > t.size-off:
		return io.ErrUnexpectedEOF
	case h.Typeflag != tar.TypeReg || sparse:
		return nil
	case base == tocFile && t.dir != "":
		return errMembers
	case base == tocFile:
		t.dir = path.Dir(file)
	case base != restoreFile && !isDigit(base[0]): // of large objects there may be millions
		return nil
	}
	if len(t.files) == maxMembers {
		return errMembers
	}
	t.files[file] = segment{off: off, size: h.Size}
	return nil
}

// ends reports whether the end of a tar file lies before off.
func (t *tarball) ends(off int64) bool {
	b, err := tail(t.r, segment{size: off}, tarEnd)
	return err == nil && len(b) == tarEnd && len(bytes.Trim(b, "\x00")) == 0
}
