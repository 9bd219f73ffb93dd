package pgdump

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/stetl/stetl/core/internal/dumpfile"
)

// wrap makes a plain dump of its body.
func wrap(body string) string {
	return "--\n-- PostgreSQL database dump\n--\n\n" +
		"-- Dumped from database version 15.1\n-- Dumped by pg_dump version 16.2\n\n" +
		"SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n" +
		"SELECT pg_catalog.set_config('search_path', '', false);\n\n" + body +
		"\n--\n-- PostgreSQL database dump complete\n--\n\n"
}

func loadText[T string | []byte](tb testing.TB, name string, text T) (*Archive, error) {
	tb.Helper()
	return loadSized(tb, name, text, defaultSizes)
}

func loadSized[T string | []byte](tb testing.TB, name string, text T, buffers sizes) (*Archive, error) {
	tb.Helper()
	a, err := load(tb.Context(), name, bytes.NewReader([]byte(text)), int64(len(text)), buffers)
	if err == nil {
		tb.Cleanup(func() { _ = a.Close() })
	}
	return a, err
}

func mustLoad[T string | []byte](tb testing.TB, text T) *Archive {
	tb.Helper()
	a, err := loadText(tb, "test.sql", text)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// testFile is a file of testdata, or a dump of SuperTokens among those of the project.
func testFile(name string) string {
	if strings.HasPrefix(name, "core-") {
		return filepath.Join("../../../testdata/supertokens", name)
	}
	return filepath.Join("testdata", name)
}

func openFile(tb testing.TB, name string) *Archive {
	tb.Helper()
	a, err := Open(tb.Context(), testFile(name))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := a.Close(); err != nil {
			tb.Error(err)
		}
	})
	return a
}

func readFile(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(testFile(name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// content is everything that a dump tells.
type content struct {
	Tables []Table
	Rows   map[string][][]any // by table; nil is NULL, anything else a string
}

func readRows(tb testing.TB, a *Archive, t Table) ([][]any, error) {
	tb.Helper()
	r, err := a.Rows(tb.Context(), t)
	if err != nil {
		return nil, err
	}
	rows := [][]any{}
	for r.Next() {
		if r.Row() != int64(len(rows)+1) {
			tb.Errorf("row number %d, want %d", r.Row(), len(rows)+1)
		}
		row := make([]any, len(r.Values()))
		for i, v := range r.Values() {
			if v != nil {
				row[i] = string(v)
			}
		}
		rows = append(rows, row)
	}
	return rows, errors.Join(r.Err(), r.Close())
}

func readAll(tb testing.TB, a *Archive) (content, error) {
	tb.Helper()
	c := content{Tables: a.Tables(), Rows: map[string][][]any{}}
	for _, t := range c.Tables {
		if !t.HasData {
			continue
		}
		rows, err := readRows(tb, a, t)
		if err != nil {
			return c, err
		}
		c.Rows[TableName{t.Schema, t.Name}.String()] = rows
	}
	return c, nil
}

func mustReadAll(tb testing.TB, a *Archive) content {
	tb.Helper()
	c, err := readAll(tb, a)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// archiveFile writes archives of any version. Versions up to 1.14
// were checked with pg_restore 15, later ones with pg_restore 18.
type archiveFile struct {
	minor   int
	method  int // as in the header of 1.15
	piped   bool
	again   bool // the table of contents is written a second time, at the end
	entries []archiveEntry
}

type archiveEntry struct {
	desc, schema, tag, defn, copyStmt string
	data                              string   // COPY text, for TABLE DATA
	blobs                             []string // for BLOBS
}

func (e archiveEntry) hasData() bool { return e.desc == "TABLE DATA" || e.desc == "BLOBS" }

// header is what comes before the table of contents.
func (f archiveFile) header(format byte) []byte {
	b := []byte(magic)
	b = append(b, 1, byte(f.minor&0xff), 0, 4, 8, format)
	if f.minor >= 15 {
		b = append(b, byte(f.method&0xff))
	} else {
		b = appendInt(b, -f.method)
	}
	for _, n := range []int{1, 2, 3, 4, 5, 126, 0} {
		b = appendInt(b, n)
	}
	for _, s := range []string{"db", "15.1", "15.1"} {
		b = appendStr(b, s)
	}
	return b
}

// contents is the table of contents. place gives what an entry says about its data. At the
// end of the file statistics are not written again.
func (f archiveFile) contents(atEnd bool, place func(i int, e archiveEntry) []byte) []byte {
	b := appendInt(nil, len(f.entries))
	for i, e := range f.entries {
		b = appendInt(b, i+1)
		b = appendInt(b, map[bool]int{true: 1}[e.hasData()])
		for _, s := range []string{"1259", "1000", e.tag, e.desc} {
			b = appendStr(b, s)
		}
		b = appendInt(b, 2)
		if e.desc != "STATISTICS DATA" || !atEnd {
			b = appendStr(b, e.defn)
		}
		for _, s := range []string{"", e.copyStmt, e.schema, ""} {
			b = appendStr(b, s)
		}
		if f.minor >= 14 {
			b = appendStr(b, "heap")
		}
		if f.minor >= 16 {
			b = appendInt(b, 'r')
		}
		for _, s := range []string{"owner", "false", "1"} {
			b = appendStr(b, s)
		}
		b = appendInt(b, -1)
		b = append(b, place(i, e)...)
	}
	return b
}

func (f archiveFile) bytes(tb testing.TB) []byte {
	tb.Helper()
	places := make(map[int]int)
	place := func(i int, e archiveEntry) []byte {
		at, known := places[i]
		switch {
		case !e.hasData():
			return append([]byte{placeNoData}, make([]byte, 8)...)
		case known:
			return binary.LittleEndian.AppendUint64([]byte{placeSet}, uint64(at))
		}
		return append([]byte{1}, make([]byte, 8)...)
	}
	b := f.header(formatCustom)
	start := len(b)
	b = append(b, f.contents(false, place)...)
	for i, e := range f.entries {
		if !e.hasData() {
			continue
		}
		places[i] = len(b)
		if e.desc == "TABLE DATA" {
			b = append(b, blockData)
			b = appendInt(b, i+1)
			b = f.appendStream(tb, b, e.data)
			continue
		}
		b = append(b, blockBlobs)
		b = appendInt(b, i+1)
		for n, blob := range e.blobs {
			b = appendInt(b, 1000+n)
			b = f.appendStream(tb, b, blob)
		}
		b = appendInt(b, 0)
	}
	switch contents := f.contents(f.again, place); {
	case f.again:
		b = append(b, contents...)
	case !f.piped:
		copy(b[start:], contents)
	}
	return b
}

// members are the files of the archive in directory format, by name.
func (f archiveFile) members(tb testing.TB) map[string][]byte {
	tb.Helper()
	files := make(map[string][]byte)
	files[tocFile] = append(f.header(formatTar), f.contents(false, func(i int, e archiveEntry) []byte {
		name := ""
		if e.hasData() {
			name = strconv.Itoa(i+1) + ".dat"
			files[name+suffixes[f.method].suffix] = pack(tb, dumpfile.Methods[f.method], e.data)
		}
		return appendStr(nil, name)
	})...)
	return files
}

// tarFile packs files with tar, in the order of their names from the last to the first, so that toc.dat comes early.
func tarFile(tb testing.TB, dir string, files map[string][]byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(files))) {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: dir + name, Size: int64(len(files[name])), Mode: 0o600, Format: tar.FormatUSTAR})
		if err == nil {
			_, err = w.Write(files[name])
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// pack compresses a file.
func pack(tb testing.TB, method, text string) []byte {
	tb.Helper()
	var z bytes.Buffer
	var w io.WriteCloser
	var err error
	switch method {
	case "gzip":
		w = gzip.NewWriter(&z)
	case "lz4":
		small := lz4.NewWriter(&z)
		w, err = small, small.Apply(lz4.BlockSizeOption(lz4.Block64Kb)) // as pg_dump
	case "zstd":
		w, err = zstd.NewWriter(&z, zstd.WithEncoderConcurrency(1))
	default:
		return []byte(text)
	}
	if err == nil {
		_, err = w.Write([]byte(text))
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		tb.Fatal(err)
	}
	return z.Bytes()
}

// appendStream compresses text and cuts it into chunks, of a few bytes unless
// there is much of it.
func (f archiveFile) appendStream(tb testing.TB, b []byte, text string) []byte {
	tb.Helper()
	var z bytes.Buffer
	if f.method == 1 { // gzip in name only
		w := zlib.NewWriter(&z)
		_, err := w.Write([]byte(text))
		if err := errors.Join(err, w.Close()); err != nil {
			tb.Fatal(err)
		}
	} else {
		z.Write(pack(tb, dumpfile.Methods[f.method], text))
	}
	size := 37
	if z.Len() > 1<<20 {
		size = 4096 // as pg_dump 15
	}
	for z.Len() > 0 {
		chunk := z.Next(size)
		b = appendInt(b, len(chunk))
		b = append(b, chunk...)
	}
	return appendInt(b, 0)
}

func appendInt(b []byte, n int) []byte {
	sign := byte(0)
	if n < 0 {
		sign, n = 1, -n
	}
	return append(b, sign, byte(n&0xff), byte(n>>8&0xff), byte(n>>16&0xff), byte(n>>24&0xff))
}

func appendStr(b []byte, s string) []byte { return append(appendInt(b, len(s)), s...) }

// smallArchive has every kind of entry that matters.
func smallArchive(minor, method int) archiveFile {
	return archiveFile{minor: minor, method: method, entries: []archiveEntry{
		{desc: "ENCODING", tag: "ENCODING", defn: "SET client_encoding = 'UTF8';\n"},
		{desc: "STDSTRINGS", tag: "STDSTRINGS", defn: "SET standard_conforming_strings = 'on';\n"},
		{desc: "FUNCTION", schema: "public", tag: "f()", defn: "CREATE FUNCTION public.f() AS $$ COPY $$;\n"},
		{desc: "TABLE", schema: "public", tag: "a", defn: "CREATE TABLE public.a (\n    id integer NOT NULL,\n    v character varying(64)\n);\n"},
		{desc: "TABLE", schema: "public", tag: "b", defn: "CREATE TABLE public.b (\n    v text\n);\n"},
		{desc: "BLOBS", tag: "BLOBS", blobs: []string{"one", ""}},
		{desc: "TABLE DATA", schema: "public", tag: "a", copyStmt: "COPY public.a (id, v) FROM stdin;\n", data: "1\tx\n2\t\\N\n3\tdrei\n\\.\n\n\n"},
		{desc: "TABLE DATA", schema: "public", tag: "b", copyStmt: "COPY public.b (v) FROM stdin;\n", data: strings.Repeat("line\n", 40) + "\\.\n\n\n"},
		{desc: "INDEX", schema: "public", tag: "i", defn: "CREATE INDEX i ON public.a (id);\n"},
	}}
}
