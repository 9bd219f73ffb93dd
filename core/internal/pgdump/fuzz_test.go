package pgdump

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/internal/dumpfile"
)

// tiny buffers bound the memory and put a border into every construct.
var tiny = sizes{window: 128, row: 16, maxRow: 1 << 20}

func FuzzOpenPlain(f *testing.F) {
	f.Add(wrap(""))
	f.Add(wrap("CREATE TABLE s.t (a integer DEFAULT ARRAY[1, 2], \"b\"\"\" text) PARTITION BY LIST (a);\nCOPY s.t (a, \"b\"\"\") FROM stdin;\n1\t\\N\n\\.\nALTER TABLE ONLY s.p ATTACH PARTITION s.t DEFAULT;\n"))
	f.Add(strings.ReplaceAll(wrap("COPY s.t (a) FROM stdin;\n\\x41\\101\\\\\n\\.\n"), "\n", "\r\n"))
	f.Add(wrap("SET search_path = a, pg_catalog;\nCREATE TABLE t PARTITION OF u FOR VALUES IN (1);\nCREATE FUNCTION f() BEGIN ATOMIC CASE END; END;\nSELECT pg_catalog.set_config('search_path', 'x', false);\n/* /* */ */ DO $a$ $b$ $a$; COMMENT ON x IS E'\\'';\n"))
	f.Add(wrap("CREATE TABLE s.c () INHERITS (s.c, s.d);\nCOPY s.c FROM stdin;\n\n\\.\n\\connect x\n"))
	f.Add(wrap("CREATE TABLE s.t (a text);\nINSERT INTO s.t (a) OVERRIDING SYSTEM VALUE VALUES\n\t(E'\\\\'),\n\t(NULL) ON CONFLICT DO NOTHING;\nINSERT INTO s.t DEFAULT VALUES;\n"))
	f.Fuzz(func(t *testing.T, text string) {
		if strings.HasPrefix(text, magic) || isTar([]byte(text)) || dumpfile.PackedWith([]byte(text)) != "" {
			return // the other targets
		}
		a, err := loadSized(t, "fuzz.sql", text, tiny)
		b, err2 := loadText(t, "fuzz.sql", text)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("the size of buffers changes the result: %v, %v", err, err2)
		}
		if err != nil {
			if err.Error() != err2.Error() {
				t.Fatalf("the size of buffers changes the error:\n%v\n%v", err, err2)
			}
			checkSyntaxError(t, err, text)
			return
		}
		got, err := readAll(t, a)
		want, err2 := readAll(t, b)
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (err2 == nil) {
			t.Fatalf("the size of buffers changes the rows: %v, %v\n%s", err, err2, diff)
		}
		if err != nil {
			checkSyntaxError(t, err, text)
			return
		}
		// A cut is noticed, or nothing was lost.
		c, err := loadText(t, "fuzz.sql", text[:len(text)*3/4])
		if err == nil {
			if diff := cmp.Diff(want, mustReadAll(t, c)); diff != "" {
				t.Fatalf("a cut dump reads differently:\n%s", diff)
			}
		}
	})
}

func checkSyntaxError(t *testing.T, err error, text string) {
	t.Helper()
	var e *SyntaxError
	if !errors.As(err, &e) {
		t.Fatalf("%v is no syntax error", err)
	}
	if e.Offset < 0 || e.Offset > int64(len(text)) {
		t.Fatalf("%v: byte %d is not in the file", err, e.Offset)
	}
	if e.Line > 0 && e.Line != 1+strings.Count(text[:e.Offset], "\n") {
		t.Fatalf("%v: byte %d is on another line", err, e.Offset)
	}
}

func FuzzOpenCustom(f *testing.F) {
	for _, minor := range []int{12, 14, 15, 16} {
		for method := range dumpfile.Methods {
			if method < 2 || minor >= 15 {
				a := smallArchive(minor, method)
				f.Add(a.bytes(f))
				a.again = true
				f.Add(a.bytes(f))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.HasPrefix(data, []byte(magic)) {
			checkBuffers(t, data)
		}
	})
}

func FuzzOpenTar(f *testing.F) {
	for _, minor := range []int{12, 14, 16} {
		for method := range dumpfile.Methods {
			if method < 2 || minor >= 15 {
				f.Add(tarFile(f, "", smallArchive(minor, method).members(f)))
			}
		}
	}
	f.Add(tarFile(f, "./a/b/", smallArchive(16, 1).members(f)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if isTar(data) {
			checkBuffers(t, data)
		}
	})
}

func FuzzOpenPacked(f *testing.F) {
	for _, method := range dumpfile.Methods[1:] {
		f.Add(pack(f, method, wrap("COPY s.t (a) FROM stdin;\n"+strings.Repeat("row\n", 100)+"\\.\n")))
		f.Add(pack(f, method, string(smallArchive(16, 0).bytes(f))))
	}
	f.Add(pack(f, "gzip", string(pack(f, "gzip", wrap("")))))
	f.Fuzz(func(t *testing.T, data []byte) {
		if dumpfile.PackedWith(data) != "" && len(data) < 1<<16 {
			checkBuffers(t, data)
		}
	})
}

// checkBuffers opens a dump with tiny buffers and with those of every day: neither the
// verdict nor the rows may differ.
func checkBuffers(t *testing.T, data []byte) {
	t.Helper()
	a, err := loadSized(t, "fuzz.dump", data, tiny)
	b, err2 := loadText(t, "fuzz.dump", data)
	if (err == nil) != (err2 == nil) {
		t.Fatalf("the size of buffers changes the result: %v, %v", err, err2)
	}
	if err != nil {
		if dumpfile.PackedWith(data) == "" { // else places are in what was unpacked
			checkSyntaxError(t, err, string(data))
		}
		return
	}
	got, err := readAll(t, a)
	want, err2 := readAll(t, b)
	if err == nil && err2 == nil {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("the size of buffers changes the rows:\n%s", diff)
		}
	}
}

func FuzzDecodeRow(f *testing.F) {
	for _, s := range []string{"", `\N`, `a\tb\n\\`, `\101\x41\x4\8\377`, `\`, `\.`, `\x`, `\x4g\0`} {
		f.Add([]byte(s), uint8(1))
	}
	for _, s := range []string{"\t", `\N` + "\t" + `\\N`, "é\t\xff"} {
		f.Add([]byte(s), uint8(2))
	}
	f.Fuzz(func(t *testing.T, line []byte, columns uint8) {
		line = append([]byte{}, bytes.ReplaceAll(line, []byte{'\n'}, nil)...) // never nil
		fields := make([][]byte, columns)
		n, at, msg := splitRow(bytes.Clone(line), fields)
		if msg != "" {
			if at > len(line) || n >= len(fields) {
				t.Fatalf("error %q in byte %d of field %d", msg, at, n)
			}
			return
		}
		want := bytes.Split(line, []byte{'\t'})
		if len(line) == 0 && columns == 0 {
			want = nil
		}
		if n != len(want) {
			t.Fatalf("%q has %d fields, not %d", line, len(want), n)
		}
		if n > len(fields) {
			return
		}
		for i, raw := range want {
			got := fields[i]
			decoded, null := decodeSlowly(string(raw))
			if null != (got == nil) || decoded != string(got) {
				t.Fatalf("%q: field %d is %q (NULL %t), want %q (NULL %t)", line, i, got, got == nil, decoded, null)
			}
			if utf8.Valid(line) && !utf8.Valid(got) {
				t.Fatalf("%q: field %d is not UTF-8", line, i)
			}
		}
		// What COPY TO would write for the values reads the same.
		var encoded []string
		for _, v := range fields[:n] {
			if v == nil {
				encoded = append(encoded, `\N`)
				continue
			}
			encoded = append(encoded, strings.NewReplacer(`\`, `\\`, "\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\v", `\v`).Replace(string(v)))
		}
		again := make([][]byte, n)
		if m, _, msg := splitRow([]byte(strings.Join(encoded, "\t")), again); m != n || msg != "" {
			t.Fatalf("%q: written again it has %d fields: %s", line, m, msg)
		}
		if diff := cmp.Diff(fields[:n], again); diff != "" {
			t.Fatalf("%q reads differently when written again:\n%s", line, diff)
		}
	})
}

// decodeSlowly decodes a field of COPY text byte by byte, from the manual.
func decodeSlowly(s string) (decoded string, null bool) {
	if s == `\N` {
		return "", true
	}
	const octal, hex = "01234567", "0123456789abcdef"
	number := func(digits string, limit int) (v int, ok bool) {
		for n := 0; n < limit && s != ""; n++ {
			d := strings.Index(digits, strings.ToLower(s[:1]))
			if d < 0 {
				break
			}
			v, ok, s = v*len(digits)+d, true, s[1:]
		}
		return v, ok
	}
	var b []byte
	for s != "" {
		c := s[0]
		s = s[1:]
		if c != '\\' {
			b = append(b, c)
			continue
		}
		if v, ok := number(octal, 3); ok {
			b = append(b, byte(v&0xff))
			continue
		}
		c = s[0]
		s = s[1:]
		if c == 'x' {
			if v, ok := number(hex, 2); ok {
				c = byte(v & 0xff)
			}
		} else if i := strings.IndexByte("bfnrtv", c); i >= 0 {
			c = "\b\f\n\r\t\v"[i]
		}
		b = append(b, c)
	}
	return string(b), false
}
