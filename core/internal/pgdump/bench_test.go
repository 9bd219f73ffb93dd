package pgdump

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/internal/dumpfile"
)

// writeLarge writes a plain dump of about size bytes with two tables: short
// rows of ids and hashes, and rows of JSON with escapes and NULLs.
func writeLarge(tb testing.TB, size int64) string {
	tb.Helper()
	f, err := os.CreateTemp(tb.TempDir(), "*.sql")
	if err != nil {
		tb.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	var n int64
	write := func(format string, args ...any) {
		c, _ := fmt.Fprintf(w, format, args...)
		n += int64(c)
	}
	write("--\n-- PostgreSQL database dump\n--\n\nSET client_encoding = 'UTF8';\n\n")
	write("COPY public.users (app_id, user_id, email, password_hash, time_joined) FROM stdin;\n")
	for i := 0; n < size/2; i++ {
		write("public\t%08x-4c5a-4b5e-9f3d-0242ac120002\tperson.%d@example.com\t$2a$11$%053d\t17000000%05d\n", i, i, i, i%100000)
	}
	write("\\.\n\nCOPY public.meta (user_id, data, note, info) FROM stdin;\n")
	for i := 0; n < size; i++ {
		write("%08x-4c5a-4b5e-9f3d-0242ac120002\t{\"name\": \"Zoë\", \"text\": \"a\\\\nb\", \"n\": %d, \"list\": [1, 2, 3, 4, 5, 6]}\t\\N\t\\N\n", i, i)
	}
	write("\\.\n\n--\n-- PostgreSQL database dump complete\n--\n\n")
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
	return f.Name()
}

func openLarge(tb testing.TB, size int64) *Archive {
	tb.Helper()
	a, err := Open(tb.Context(), writeLarge(tb, size))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = a.Close() })
	return a
}

func BenchmarkOpenPlain(b *testing.B) {
	path := writeLarge(b, 256<<20)
	b.SetBytes(256 << 20)
	b.ReportAllocs()
	for b.Loop() {
		a, err := Open(b.Context(), path)
		if err != nil {
			b.Fatal(err)
		}
		_ = a.Close()
	}
}

func BenchmarkRowsPlain(b *testing.B) {
	a := openLarge(b, 64<<20)
	for _, t := range a.Tables() {
		b.Run(t.Name, func(b *testing.B) {
			b.SetBytes(32 << 20)
			b.ReportAllocs()
			for b.Loop() {
				drain(b, a, t)
			}
		})
	}
}

// BenchmarkPacked counts the bytes of the plain dump, not of the packed file.
func BenchmarkPacked(b *testing.B) {
	text, err := os.ReadFile(writeLarge(b, 64<<20))
	if err != nil {
		b.Fatal(err)
	}
	for _, method := range dumpfile.Methods[1:] {
		path := filepath.Join(b.TempDir(), "dump")
		if err := os.WriteFile(path, pack(b, method, string(text)), 0o600); err != nil {
			b.Fatal(err)
		}
		a, err := Open(b.Context(), path)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(method+"/open", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				again, err := Open(b.Context(), path)
				if err != nil {
					b.Fatal(err)
				}
				_ = again.Close()
			}
		})
		b.Run(method+"/rows", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				for _, t := range a.Tables() {
					drain(b, a, t)
				}
			}
		})
		_ = a.Close()
	}
}

// BenchmarkRowsCustom counts the bytes of the COPY text, not of the file.
func BenchmarkRowsCustom(b *testing.B) {
	text, err := os.ReadFile(writeLarge(b, 64<<20))
	if err != nil {
		b.Fatal(err)
	}
	_, data, _ := strings.Cut(string(text), "FROM stdin;\n")
	data, _, _ = strings.Cut(data, "\\.\n")
	data += "\\.\n\n\n"
	for method, name := range dumpfile.Methods {
		f := archiveFile{minor: 16, method: method, entries: []archiveEntry{{
			desc: "TABLE DATA", schema: "public", tag: "users", data: data,
			copyStmt: "COPY public.users (app_id, user_id, email, password_hash, time_joined) FROM stdin;\n",
		}}}
		a := mustLoad(b, f.bytes(b))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				drain(b, a, a.Tables()[0])
			}
		})
	}
}

func drain(tb testing.TB, a *Archive, t Table) {
	tb.Helper()
	r, err := a.Rows(tb.Context(), t)
	if err != nil {
		tb.Fatal(err)
	}
	for r.Next() {
		continue
	}
	if err := r.Err(); err != nil {
		tb.Fatal(err)
	}
	if err := r.Close(); err != nil {
		tb.Fatal(err)
	}
}
