package pgdump

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/internal/dumpfile"
)

// TestSecondContents cuts and damages a table of contents at the end of the file.
func TestSecondContents(t *testing.T) {
	t.Parallel()
	f := smallArchive(16, 1)
	f.piped = true
	f.entries = append(f.entries, archiveEntry{desc: "STATISTICS DATA", schema: "public", tag: "a", defn: "SELECT * FROM pg_catalog.pg_restore_relation_stats();\n"})
	once := len(f.bytes(t)) // as a pipe gets it, which is all of the data
	f.again = true
	data := f.bytes(t)
	contents := len(data) - once
	for n := range contents {
		a, err := loadText(t, "cut.dump", data[:once+n])
		if n == 0 {
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(smallContent(), mustReadAll(t, a)); diff != "" {
				t.Errorf("without the second one (-want +got):\n%s", diff)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "the file ends in the middle of the archive") {
			t.Fatalf("cut at byte %d of the second one: %v", n, err)
		}
	}
	for n := range contents {
		b := bytes.Clone(data)
		b[once+n] ^= 1 << (n % 8)
		if _, err := loadText(t, "damaged.dump", b); err == nil {
			t.Errorf("byte %d of the second one was changed", n)
		}
	}
	for name, more := range map[string]string{
		"more follows behind the last block of data": "secret",
		"a second dump begins in the same file":      string(data),
	} {
		for _, end := range []int{once, len(data)} {
			_, err := loadText(t, "more.dump", slices.Concat(data[:end], []byte(more)))
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestSecondContentsBuffers puts borders of the buffers into the comparison.
func TestSecondContentsBuffers(t *testing.T) {
	t.Parallel()
	f := smallArchive(16, 0)
	f.piped, f.again = true, true
	f.entries = append(f.entries, archiveEntry{desc: "FUNCTION", schema: "s", tag: "long", defn: strings.Repeat("a function body, ", 1000)})
	a, err := loadSized(t, "test.dump", f.bytes(t), tiny)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(smallContent(), mustReadAll(t, a)); diff != "" {
		t.Errorf("content differs (-want +got):\n%s", diff)
	}
}

// TestStatistics reads an archive with statistics, which are only in the first one.
func TestStatistics(t *testing.T) {
	t.Parallel()
	got := mustReadAll(t, openFile(t, "odd-18-statistics.dump"))
	want := oddRows()["public.commented"]
	if diff := cmp.Diff(map[string][][]any{"public.commented": want}, got.Rows); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
}

// writeDirectory writes the files of a dump in directory format.
func writeDirectory(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// openAll opens a dump and reads it to the end.
func openAll(t *testing.T, path string) (content, error) {
	t.Helper()
	a, err := Open(t.Context(), path)
	if err != nil {
		return content{}, err
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	return readAll(t, a)
}

func TestDirectoryVersions(t *testing.T) {
	t.Parallel()
	for minor := minArchive; minor <= maxArchive; minor++ {
		for method := range dumpfile.Methods {
			got, err := openAll(t, writeDirectory(t, smallArchive(minor, method).members(t)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(smallContent(), got); diff != "" {
				t.Errorf("version 1.%d, method %d (-want +got):\n%s", minor, method, diff)
			}
		}
	}
}

// TestDirectoryCut cuts every file of a directory at every byte and takes away each.
func TestDirectoryCut(t *testing.T) {
	t.Parallel()
	inserts := smallArchive(16, 0)
	for i, e := range inserts.entries {
		switch {
		case e.desc == "TABLE DATA" && e.tag == "a":
			inserts.entries[i].copyStmt, inserts.entries[i].data = "", "INSERT INTO public.a VALUES (1, 'x');\nINSERT INTO public.a VALUES (2, NULL);\nINSERT INTO public.a VALUES (3, 'drei');\n\n\n"
		case e.desc == "TABLE DATA":
			inserts.entries[i].copyStmt, inserts.entries[i].data = "", strings.Repeat("INSERT INTO public.b VALUES ('line');\n", 40)+"\n\n"
		}
	}
	for name, f := range map[string]archiveFile{
		"none": smallArchive(16, 0), "gzip": smallArchive(16, 1), "lz4": smallArchive(16, 2), "zstd": smallArchive(16, 3), "inserts": inserts,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := f.members(t)
			delete(files, "6.dat"+suffixes[f.method].suffix) // of large objects, which nobody reads
			dir := writeDirectory(t, files)
			want := smallContent()
			for file, data := range files {
				path := filepath.Join(dir, file)
				for n := len(data); n >= -1; n-- {
					var err error
					if n >= 0 {
						err = os.Truncate(path, int64(n))
					} else {
						err = os.Remove(path)
					}
					if err != nil {
						t.Fatal(err)
					}
					got, err := openAll(t, dir)
					switch {
					case err == nil && !cmp.Equal(want, got):
						t.Fatalf("%s cut at %d of %d reads differently:\n%s", file, n, len(data), cmp.Diff(want, got))
					case err == nil && n < len(data)-2:
						t.Fatalf("%s cut at %d of %d was not noticed", file, n, len(data))
					case n == len(data) && err != nil:
						t.Fatal(err)
					}
					var syntax *SyntaxError
					if err != nil && (!errors.As(err, &syntax) || syntax.Hint == "") {
						t.Fatalf("%s cut at %d: %v is no syntax error with a hint", file, n, err)
					}
				}
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestDirectoryNames has a table of contents that points out of its directory.
func TestDirectoryNames(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "secret.dat")
	if err := os.WriteFile(outside, []byte("1\tsecret\n\\.\n\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{"../secret.dat", outside, "", ".", "..", "a/7.dat", `..\7.dat`, "7\x00dat"} {
		files := smallArchive(16, 0).members(t)
		toc := bytes.Replace(files[tocFile], appendStr(nil, "7.dat"), appendStr(nil, member), 1)
		files[tocFile] = toc
		if _, err := openAll(t, writeDirectory(t, files)); err == nil || strings.Contains(err.Error(), "secret\n") {
			t.Errorf("%q: %v", member, err)
		}
	}
	for name, replace := range map[string]func(path string) error{
		"link to outside": func(path string) error { return os.Symlink(outside, path) },
		"directory":       func(path string) error { return os.Mkdir(path, 0o700) },
		"pipe":            func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		dir := writeDirectory(t, smallArchive(16, 0).members(t))
		path := filepath.Join(dir, "7.dat")
		if err := errors.Join(os.Remove(path), replace(path)); err != nil {
			t.Fatal(err)
		}
		if _, err := openAll(t, dir); err == nil {
			t.Errorf("a %s was read", name)
		}
		toc := filepath.Join(dir, tocFile)
		if err := errors.Join(os.Remove(toc), replace(toc)); err != nil {
			t.Fatal(err)
		}
		if _, err := openAll(t, dir); err == nil {
			t.Errorf("a %s was read as the table of contents", name)
		}
	}
}

func TestDirectoryErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(files map[string][]byte)
		file   string
		want   string
	}{
		"other file": {func(f map[string][]byte) { f[tocFile] = []byte("notes") }, tocFile, "this is not the table of contents of a dump"},
		"custom":     {func(f map[string][]byte) { f[tocFile] = smallArchive(16, 0).bytes(t) }, tocFile, "this is the table of contents of a custom-format archive"},
		"more":       {func(f map[string][]byte) { f[tocFile] = append(f[tocFile], 0) }, tocFile, "more follows behind the table of contents"},
		"missing":    {func(f map[string][]byte) { delete(f, "8.dat") }, "", "table public.b: the file 8.dat with the data is missing"},
		"cut":        {func(f map[string][]byte) { f["8.dat"] = f["8.dat"][:100] }, "8.dat", "table public.b: the data has no end"},
		"more rows":  {func(f map[string][]byte) { f["8.dat"] = append(f["8.dat"], "secret\n\\.\n\n\n"...) }, "8.dat", "table public.b, row 40: data behind the end-of-data marker"},
		"fields":     {func(f map[string][]byte) { f["8.dat"] = []byte("secret\tx\n\\.\n\n\n") }, "8.dat", "table public.b, row 1: the row has 2 fields, the table 1 columns"},
		"not gzip": {func(f map[string][]byte) {
			f["8.dat.gz"] = f["8.dat"]
			delete(f, "8.dat")
		}, "8.dat.gz", "table public.b: cannot read the data: decompress: gzip: invalid header"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := smallArchive(16, 0).members(t)
			tt.change(files)
			dir := writeDirectory(t, files)
			_, err := openAll(t, dir)
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Hint == "" || syntax.Path != filepath.Join(dir, tt.file) {
				t.Fatalf("error %v, want a syntax error in %q with a hint", err, tt.file)
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

func TestTarCut(t *testing.T) {
	t.Parallel()
	for _, data := range [][]byte{
		tarFile(t, "", smallArchive(14, 0).members(t)),
		tarFile(t, "./dump/", smallArchive(16, 3).members(t)),
	} {
		checkCuts(t, data, 7, len(data))
	}
	data := readFile(t, "odd-18.tar")
	checkCuts(t, data, 512, len(data))
	checkCuts(t, data, 499, len(data))
}

func TestTarErrors(t *testing.T) {
	t.Parallel()
	files := smallArchive(16, 0).members(t)
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"two dumps": {func() []byte {
			two := map[string][]byte{}
			for name, data := range files {
				two["x/"+name], two["y/"+name] = data, data
			}
			return tarFile(t, "", two)
		}(), "the tar file holds more than one dump"},
		"table in another directory": {func() []byte {
			other := maps.Clone(files)
			other["x/8.dat"] = other["8.dat"]
			delete(other, "8.dat")
			return tarFile(t, "", other)
		}(), "table public.b: the file 8.dat with the data is missing"},
		"header": {func() []byte {
			b := tarFile(t, "", files)
			b[512*(bytes.LastIndex(b, []byte("8.dat"))/512)] ^= 1
			return b
		}(), "a header of the tar file makes no sense"},
	} {
		_, err := loadText(t, "test.tar", tt.data)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Hint == "" || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %s", name, err, tt.want)
		}
	}
}

// TestPacked packs dumps of every format as a whole.
func TestPacked(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"odd-18.sql", "odd-18.dump", "odd-18.tar", "core-10.1.4.sql"} {
		want := mustReadAll(t, openFile(t, name))
		for _, method := range dumpfile.Methods[1:] {
			path := filepath.Join(t.TempDir(), "dump") // recognised without a suffix
			data := pack(t, method, string(readFile(t, name)))
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, mustReadAll(t, a)); diff != "" {
				t.Errorf("%s packed with %s (-want +got):\n%s", name, method, diff)
			}
			if info := a.Info(); info.Packed != method || info.Size != int64(len(data)) {
				t.Errorf("%s packed with %s: %+v", name, method, info)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestPackedCut(t *testing.T) {
	t.Parallel()
	text := wrap("COPY public.t (a) FROM stdin;\n" + strings.Repeat("row\nanother\n", 100) + "\\.\n")
	for _, method := range dumpfile.Methods[1:] {
		data := pack(t, method, text)
		checkCuts(t, data, 1, len(data))
	}
}

// TestPackedDamage changes every byte: the checksums of gzip and zstd find it, or nothing is lost.
func TestPackedDamage(t *testing.T) {
	t.Parallel()
	text := wrap("COPY public.t (a) FROM stdin;\n" + strings.Repeat("row\nanother\n", 50) + "\\.\n")
	want := mustReadAll(t, mustLoad(t, text))
	for _, method := range []string{"gzip", "zstd"} {
		data := pack(t, method, text)
		for i := range data {
			b := bytes.Clone(data)
			b[i] ^= 1 << (i % 8)
			a, err := loadText(t, "damaged", b)
			if err != nil {
				continue
			}
			if got, err := readAll(t, a); err == nil && !cmp.Equal(want, got) {
				t.Errorf("%s, byte %d reads differently:\n%s", method, i, cmp.Diff(want, got))
			}
		}
	}
}

// TestPackedLeavesNothing looks for what unpacking leaves on the disk.
//
//nolint:paralleltest // sets an environment variable
func TestPackedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	a := openFile(t, "odd-18.sql.gz")
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files with a name: %v, %v", left, err)
	}
	if s, ok := a.r.(*dumpfile.Spool); !ok || s.Size() == 0 {
		t.Fatal("nothing was unpacked")
	}
	t.Setenv("TMPDIR", filepath.Join(dir, "missing"))
	if _, err := Open(t.Context(), testFile("odd-18.sql.gz")); err == nil || !strings.Contains(err.Error(), "set TMPDIR to a writable folder") {
		t.Errorf("without a folder for temporary files: %v", err)
	}
}

func TestCancelFormats(t *testing.T) {
	t.Parallel()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	for _, name := range []string{"odd-15.dir", "odd-18.tar", "odd-18.sql.gz", "odd-15-appended.dump"} {
		if _, err := Open(ctx, testFile(name)); !errors.Is(err, cause) {
			t.Errorf("open %s: %v, want %v", name, err, cause)
		}
	}
}

// TestMySQL recognises what the programs of MySQL and MariaDB write, packed or not.
func TestMySQL(t *testing.T) {
	t.Parallel()
	heads := []string{
		"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)\n",
		"-- MariaDB dump 10.19-11.4.2-MariaDB, for Linux (x86_64)\n",
		"-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n-- Host: localhost    Database: supertokens\n",
		"\n/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n", // --skip-comments
		"/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY */;\n",
		"-- Dump created by MySQL pump utility, version: 8.0.20, linux-glibc2.12 (x86_64)\n",
		"-- phpMyAdmin SQL Dump\n-- version 5.2.1\n",
		"DROP TABLE IF EXISTS `apps`;\nCREATE TABLE `apps` (\n",
		"INSERT INTO `apps` VALUES ('public',1795424259474);\n",
	}
	for _, head := range heads {
		text := head + "CREATE TABLE `users` (`id` int);\r\nINSERT INTO `users` VALUES (1,'secret');\n"
		for _, data := range [][]byte{[]byte(text), pack(t, "gzip", text)} {
			_, err := loadText(t, "dump.sql", data)
			var syntax *SyntaxError
			if !errors.Is(err, ErrMySQL) || !errors.As(err, &syntax) || syntax.Hint == "" || strings.Contains(err.Error(), "secret") {
				t.Errorf("%q: %v", head, err)
			}
		}
	}
	dir := writeDirectory(t, map[string][]byte{"@.json": nil}) // of MySQL Shell
	if _, err := Open(t.Context(), dir); !errors.Is(err, ErrMySQL) {
		t.Errorf("directory of MySQL Shell: %v", err)
	}
	for _, text := range []string{
		wrap("COMMENT ON SCHEMA s IS '\n-- MySQL dump 10.13\nCREATE TABLE `x`';\n"),
		"SELECT 1;\n",
		"-- notes about a MySQL dump\n",
	} {
		if _, err := loadText(t, "dump.sql", text); errors.Is(err, ErrMySQL) {
			t.Errorf("%q is taken for one of MySQL", text[:20])
		}
	}
}

// TestStripped takes the comments out of a dump, as some wrappers of pg_dump do.
func TestStripped(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"odd-18.sql", "core-10.1.4.sql", "odd-15-inserts.sql"} {
		var lines []string
		for line := range strings.Lines(string(readFile(t, name))) {
			if !strings.HasPrefix(line, "--") {
				lines = append(lines, line)
			}
		}
		_, err := loadText(t, "dump.sql", "SET session_replication_role = replica;\n"+strings.Join(lines, "")+"RESET ALL;\n")
		want := "dump.sql:1: the line \"-- PostgreSQL database dump\" is missing at the beginning: the comments of pg_dump were removed"
		if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "pg_dump --file=dump.sql DATABASE") || !strings.Contains(err.Error(), "use source.url") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
