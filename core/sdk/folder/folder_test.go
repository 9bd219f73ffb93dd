package folder

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a"), "old")
	put(t, filepath.Join(dir, "b"), "old")
	put(t, filepath.Join(dir, "theirs"), "theirs")
	put(t, filepath.Join(dir, Staging, "b"), "new")
	put(t, filepath.Join(dir, Staging, "c"), "new")
	type told struct {
		Files    []string
		Complete bool
	}
	var notes []told
	err := Replace(dir, []string{"a", "b"}, []string{"b", "c"}, func(files []string, complete bool) error {
		notes = append(notes, told{files, complete})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]told{{[]string{"a", "b", "c"}, false}, {[]string{"b", "c"}, true}}, notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = string(content)
	}
	if diff := cmp.Diff(map[string]string{"b": "new", "c": "new", "theirs": "theirs"}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// Nothing changes before it is written down, and nothing outside is touched.
func TestReplaceRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside")
	inside := filepath.Join(dir, "out")
	put(t, outside, "theirs")
	put(t, filepath.Join(inside, "a"), "old")
	full := errors.New("disk full")
	if err := Replace(inside, []string{"a"}, nil, func([]string, bool) error { return full }); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
	for _, names := range [][]string{{"../outside"}, {outside}, {""}, {".."}, {"sub/a"}} {
		if err := Replace(inside, names, nil, func([]string, bool) error { return nil }); err == nil {
			t.Errorf("%q was taken for a file of the folder", names)
		}
	}
	for _, path := range []string{outside, filepath.Join(inside, "a")} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestWritable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file"), "")
	if err := Writable(filepath.Join(dir, "to", "be", "made")); err != nil {
		t.Error(err)
	}
	if err := Writable(filepath.Join(dir, "file")); err == nil {
		t.Error("a file was taken for a folder")
	}
}
