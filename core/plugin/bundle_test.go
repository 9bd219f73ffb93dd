package plugin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBundle(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	var packed []Packed
	for _, name := range []string{"acme", "other"} {
		path := filepath.Join(from, "built-"+name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n# "+name), 0o700); err != nil {
			t.Fatal(err)
		}
		packed = append(packed, Packed{Path: path, Name: name, Version: "1.2.3"})
	}
	var bundle bytes.Buffer
	if err := WriteBundle(&bundle, packed); err != nil {
		t.Fatal(err)
	}
	lock := NewLock(filepath.Join(to, LockName))
	done, err := InstallBundle(bytes.NewReader(bundle.Bytes()), to, lock, nil)
	if err != nil || len(done) != 2 {
		t.Fatalf("%v, %+v", err, done)
	}
	if err := lock.Write(); err != nil {
		t.Fatal(err)
	}
	written, err := ReadLock(filepath.Join(to, LockName))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range done {
		info, err := os.Stat(p.Path)
		if err != nil || info.Mode().Perm() != 0o755 || p.Path != filepath.Join(to, Prefix+p.Name) {
			t.Errorf("%s: %v, %v", p.Path, info, err)
		}
		sum, err := checksumOf(p.Path)
		if err != nil || written.verify(Location{Name: p.Name, Path: p.Path}, sum) != nil {
			t.Errorf("%s is not accepted: %v", p.Name, err)
		}
	}
	if err := WriteBundle(&bytes.Buffer{}, append(packed, packed[0])); err == nil {
		t.Error("a bundle with two plugins of one name")
	}
}

// What is wrong with a bundle leaves nothing behind.
func TestBadBundles(t *testing.T) {
	t.Parallel()
	type entry struct {
		name, content string
		kind          byte
	}
	content := "#!/bin/sh"
	lock := func(name, sum string) entry {
		return entry{name: LockName, content: `{"plugins": {"` + name + `": {"version": "1", "sha256": {"` + Platform() + `": ["` + sum + `"]}}}}`}
	}
	good := sumOf([]byte(content))
	program := entry{name: Prefix + "acme", content: content}
	for name, tt := range map[string]struct {
		entries []entry
		want    string
	}{
		"no lock":           {[]entry{program}, "instead of stetl.lock"},
		"a lock of nothing": {[]entry{lock("acme", good)}, "does not carry plugin acme"},
		"not named":         {[]entry{lock("other", good), program}, "no part of a plugin that its stetl.lock names"},
		"another content":   {[]entry{lock("acme", sumOf([]byte("else"))), program}, "what it carries has sha256"},
		"twice":             {[]entry{lock("acme", good), program, program}, "there twice"},
		"a link":            {[]entry{lock("acme", good), {name: program.name, kind: tar.TypeSymlink}}, "no part of a plugin"},
		"out of the folder": {[]entry{lock("acme", good), {name: "../" + program.name, content: content}}, "no part of a plugin"},
		"a name that leads out": {
			[]entry{lock("x/../../evil", good), {name: Prefix + "x/../../evil", content: content}}, "no part of a plugin",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var raw bytes.Buffer
			zipped := gzip.NewWriter(&raw)
			out := tar.NewWriter(zipped)
			for _, e := range tt.entries {
				h := &tar.Header{Name: e.name, Mode: 0o755, Size: int64(len(e.content)), Typeflag: e.kind}
				if e.kind == tar.TypeSymlink {
					h.Linkname = "/bin/sh"
				}
				if err := out.WriteHeader(h); err != nil {
					t.Fatal(err)
				}
				if _, err := out.Write([]byte(e.content)); err != nil {
					t.Fatal(err)
				}
			}
			if err := out.Close(); err != nil {
				t.Fatal(err)
			}
			if err := zipped.Close(); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			l := NewLock(filepath.Join(dir, LockName))
			_, err := InstallBundle(&raw, dir, l, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 || len(l.Plugins) != 0 {
				t.Errorf("left behind: %v, %v", left, l.Plugins)
			}
		})
	}
	if _, err := InstallBundle(strings.NewReader("no archive"), t.TempDir(), NewLock(""), nil); err == nil {
		t.Error("something that is no archive was installed")
	}
}
