package pgdump

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
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
	return load(tb.Context(), name, bytes.NewReader([]byte(text)), int64(len(text)), buffers)
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

// archiveFile writes custom-format files of any version. Versions up to 1.14
// were checked with pg_restore 15, later ones with pg_restore 18.
type archiveFile struct {
	minor   int
	method  int // as in the header of 1.15
	piped   bool
	entries []archiveEntry
}

type archiveEntry struct {
	desc, schema, tag, defn, copyStmt string
	data                              string   // COPY text, for TABLE DATA
	blobs                             []string // for BLOBS
}

func (f archiveFile) bytes(tb testing.TB) []byte {
	tb.Helper()
	b := []byte(magic)
	b = append(b, 1, byte(f.minor&0xff), 0, 4, 8, 1)
	if f.minor >= 15 {
		b = append(b, byte(f.method&0xff))
	} else {
		b = appendInt(b, -f.method)
	}
	for _, n := range []int{1, 2, 3, 4, 5, 126, 0} {
		b = appendInt(b, n)
	}
	b = appendStr(b, "db")
	b = appendStr(b, "15.1")
	b = appendStr(b, "15.1")
	b = appendInt(b, len(f.entries))
	places := make([]int, len(f.entries))
	for i, e := range f.entries {
		hasData := e.desc == "TABLE DATA" || e.desc == "BLOBS"
		b = appendInt(b, i+1)
		b = appendInt(b, map[bool]int{true: 1}[hasData])
		b = appendStr(b, "1259")
		b = appendStr(b, "1000")
		b = appendStr(b, e.tag)
		b = appendStr(b, e.desc)
		b = appendInt(b, 2)
		b = appendStr(b, e.defn)
		b = appendStr(b, "")
		b = appendStr(b, e.copyStmt)
		b = appendStr(b, e.schema)
		b = appendStr(b, "")
		if f.minor >= 14 {
			b = appendStr(b, "heap")
		}
		if f.minor >= 16 {
			b = appendInt(b, 'r')
		}
		b = appendStr(b, "owner")
		b = appendStr(b, "false")
		b = appendStr(b, "1")
		b = appendInt(b, -1)
		places[i] = len(b)
		b = append(b, map[bool]byte{true: 1, false: 3}[hasData])
		b = append(b, make([]byte, 8)...)
	}
	for i, e := range f.entries {
		if e.desc != "TABLE DATA" && e.desc != "BLOBS" {
			continue
		}
		if !f.piped {
			b[places[i]] = 2
			binary.LittleEndian.PutUint64(b[places[i]+1:], uint64(len(b)))
		}
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
	return b
}

// appendStream compresses text and cuts it into chunks, of a few bytes unless
// there is much of it.
func (f archiveFile) appendStream(tb testing.TB, b []byte, text string) []byte {
	tb.Helper()
	var z bytes.Buffer
	var err error
	switch f.method {
	case 1:
		w := zlib.NewWriter(&z)
		_, err = w.Write([]byte(text))
		err = errors.Join(err, w.Close())
	case 3:
		var w *zstd.Encoder
		if w, err = zstd.NewWriter(&z, zstd.WithEncoderConcurrency(1)); err == nil {
			_, err = w.Write([]byte(text))
			err = errors.Join(err, w.Close())
		}
	default:
		z.WriteString(text)
	}
	if err != nil {
		tb.Fatal(err)
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
