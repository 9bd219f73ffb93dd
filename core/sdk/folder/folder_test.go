package folder

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
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

// tree is the files of dir, in folders below it too, and what they hold.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func open(dir string) *Folder {
	return &Folder{
		Dir: dir, Realm: "r", Users: regexp.MustCompile(`^users-[0-9]+$`),
		Unwritable: "acme.out_unwritable", ForeignFiles: "acme.out_foreign_files",
	}
}

// write is a whole run.
func write(t *testing.T, dir string, names ...string) {
	t.Helper()
	f := open(dir)
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := f.Write(name, []byte("users"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Commit(len(names)); err != nil {
		t.Fatal(err)
	}
}

const manifestOfTwo = `{
  "tool": "stetl",
  "realm": "r",
  "complete": true,
  "users": 2,
  "files": [
    "users-2",
    "users-3"
  ]
}
`

func TestFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "to", "be", "made")
	if l := open(dir).Check(); len(l) > 0 {
		t.Error(l)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("check made the folder")
	}
	write(t, dir, "users-1", "users-2")
	put(t, filepath.Join(dir, "theirs"), "theirs")
	want := map[string]string{"users-2": "users", "users-3": "users", "theirs": "theirs", manifestName: manifestOfTwo}
	write(t, dir, "users-2", "users-3")
	if d := cmp.Diff(want, tree(t, dir)); d != "" {
		t.Error(d)
	}

	// What is not committed leaves no trace, and neither does a run that began nothing.
	f := open(dir)
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Create("users-4"); err != nil {
		t.Fatal(err)
	}
	if err := f.Discard(); err != nil {
		t.Fatal(err)
	}
	if err := open(dir).Commit(0); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, tree(t, dir)); d != "" {
		t.Error(d)
	}
	for name, foreign := range map[string]bool{"theirs": true, "users-2": false, "users-4": false} {
		if got := f.Foreign(name); got != foreign {
			t.Errorf("%s is foreign: %v", name, got)
		}
	}
}

// Whatever moment a commit dies at, the manifest knows every file as stetl's, and
// says that they are not complete; the next run puts the folder in order.
func TestInterruptedCommit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "users-1", "users-2")
	f := open(dir)
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"users-2", "users-3"} {
		if err := f.Write(name, []byte("new"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(f.path("users-3")); err != nil { // the second move fails
		t.Fatal(err)
	}
	if err := f.Commit(2); err == nil || !strings.Contains(err.Error(), "acme.out_unwritable") {
		t.Fatalf("commit: %v", err)
	}
	if m := tree(t, dir)[manifestName]; !strings.Contains(m, `"complete": false`) || !strings.Contains(m, "users-1") || !strings.Contains(m, "users-3") {
		t.Errorf("the manifest:\n%s", m)
	}
	write(t, dir, "users-2", "users-3")
	if d := cmp.Diff(map[string]string{"users-2": "users", "users-3": "users", manifestName: manifestOfTwo}, tree(t, dir)); d != "" {
		t.Error(d)
	}
}

func TestInTheWay(t *testing.T) {
	t.Parallel()
	for name, file := range map[string][2]string{
		"users":               {"users-7", ""},
		"no manifest":         {manifestName, `{"files":["users-1"]}`},
		"of another realm":    {manifestName, `{"tool":"stetl","realm":"other"}`},
		"a file elsewhere":    {manifestName, `{"tool":"stetl","realm":"r","files":["../outside"]}`},
		"a file below":        {manifestName, `{"tool":"stetl","realm":"r","files":["sub/a"]}`},
		"the folder above":    {manifestName, `{"tool":"stetl","realm":"r","files":[".."]}`},
		"a file with no name": {manifestName, `{"tool":"stetl","realm":"r","files":[""]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			dir := filepath.Join(root, "out")
			put(t, filepath.Join(root, "outside"), "theirs")
			put(t, filepath.Join(dir, file[0]), file[1])
			before := tree(t, root)
			f := open(dir)
			if l := f.Check(); len(l) != 1 || l[0].Code != f.ForeignFiles || l[0].Severity != sdk.Error {
				t.Errorf("check: %v", l)
			}
			if err := f.Start(); err == nil || !strings.Contains(err.Error(), string(f.ForeignFiles)) {
				t.Errorf("start: %v", err)
			}
			if d := cmp.Diff(before, tree(t, root)); d != "" {
				t.Error(d)
			}
		})
	}
	// What comes while a run is on its way is not removed either.
	dir := t.TempDir()
	f := open(dir)
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "users-7"), "theirs")
	if err := f.Commit(0); err == nil || !strings.Contains(err.Error(), string(f.ForeignFiles)) {
		t.Errorf("commit: %v", err)
	}
}

func TestUnwritable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file"), "")
	for _, out := range []string{filepath.Join(dir, "file"), filepath.Join(dir, "file", "below")} {
		f := open(out)
		if l := f.Check(); len(l) != 1 || l[0].Code != f.Unwritable {
			t.Errorf("check of %s: %v", out, l)
		}
		if err := f.Start(); err == nil || !strings.Contains(err.Error(), string(f.Unwritable)) || f.Started() {
			t.Errorf("start in %s: %v", out, err)
		}
	}
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	if l := open(locked).Check(); os.Geteuid() != 0 && len(l) != 1 { // root may write everywhere
		t.Errorf("check of a folder for reading: %v", l)
	}
}
