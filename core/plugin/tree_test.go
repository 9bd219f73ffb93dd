//go:build unix

package plugin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/diag"
)

// inFolder makes a plugin that is a folder: the launcher starts this test binary, which a
// copy beside it is a link to nothing but.
func inFolder(t *testing.T, launcher string) Location {
	t.Helper()
	root := filepath.Join(t.TempDir(), Prefix+"good")
	files := map[string]string{Prefix + "good": launcher, "lib/app.py": "print(1)\n", "lib/data/empty": "", "lib/__pycache__/app.pyc": "x"}
	for name, content := range files {
		at := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(content), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("app.py", filepath.Join(root, "lib", "main.py")); err != nil {
		t.Fatal(err)
	}
	loc, err := Find("good", Options{Dir: filepath.Dir(root)})
	if err != nil || loc.Root != root || loc.Path != filepath.Join(root, Prefix+"good") {
		t.Fatalf("%+v, %v", loc, err)
	}
	if same, err := Find("good", Options{Path: loc.Path}); err != nil || same.Root != loc.Root || same.Path != loc.Path {
		t.Errorf("by its launcher: %+v, %v", same, err)
	}
	return loc
}

func sum(t *testing.T, loc Location) string {
	t.Helper()
	sum, err := Checksum(loc)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// Every file of the folder counts, and what an interpreter leaves behind does not.
func TestChecksumOfAFolder(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(root string) error{
		"a file that changed": func(root string) error {
			return os.WriteFile(filepath.Join(root, "lib/app.py"), []byte("print(2)\n"), 0o755)
		},
		"a file more":            func(root string) error { return os.WriteFile(filepath.Join(root, "sitecustomize.py"), nil, 0o644) },
		"a file less":            func(root string) error { return os.Remove(filepath.Join(root, "lib/data/empty")) },
		"a file that may be run": func(root string) error { return os.Chmod(filepath.Join(root, "lib/app.py"), 0o644) },
		"a link to somewhere else": func(root string) error {
			link := filepath.Join(root, "lib/main.py")
			return errors.Join(os.Remove(link), os.Symlink("data/empty", link))
		},
	} {
		loc := inFolder(t, "#!/bin/sh\n")
		before := sum(t, loc)
		if err := os.WriteFile(filepath.Join(loc.Root, "lib/__pycache__/more.pyc"), []byte("y"), 0o644); err != nil {
			t.Fatal(err)
		}
		if sum(t, loc) != before {
			t.Error("what an interpreter leaves behind counts")
		}
		if err := change(loc.Root); err != nil {
			t.Fatal(err)
		}
		if sum(t, loc) == before {
			t.Errorf("%s changes nothing", what)
		}
	}
}

// What runs is a copy of all that was verified.
func TestFolderRunsAsVerified(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	loc := inFolder(t, "#!/bin/sh\ntest -f \"$(dirname \"$0\")/lib/main.py\" || exit 9\nexec \"$(dirname \"$0\")/program\" plugin-serve good\n")
	raw, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(filepath.Join(loc.Root, "program"), raw, 0o755)
	}
	if err == nil {
		err = Pinnable(loc)
	}
	if err != nil {
		t.Fatal(err)
	}
	l := NewLock("")
	l.Pin("good", "1.2.3", sum(t, loc))
	c, err := Launch(t.Context(), loc, Options{Lock: l})
	if err != nil {
		t.Fatal(err)
	}
	running := c.process.cmd.Path
	if strings.HasPrefix(running, loc.Root) {
		t.Errorf("it runs %s", running)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(running), "lib", "__pycache__")); err == nil {
		t.Error("what was not verified is beside it")
	}
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(loc.Root, "lib", "app.py"), []byte("print(3)"), 0o755); err != nil {
		t.Fatal(err)
	}
	wrong, ok := errors.AsType[*Error](examine(t, loc, l))
	if !ok || wrong.Code != diag.PluginChecksum || !strings.Contains(wrong.Cause, loc.Root) {
		t.Errorf("after a change: %v", wrong)
	}
}

// A launcher whose checksum would say nothing is refused, with the reason.
func TestUnpinnable(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "app.py")
	venv := t.TempDir()
	if err := errors.Join(os.WriteFile(outside, nil, 0o600), os.WriteFile(filepath.Join(venv, "pyvenv.cfg"), nil, 0o600), os.Mkdir(filepath.Join(venv, "bin"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for want, prepare := range map[string]func() Location{
		"a script": func() Location {
			loc := inFolder(t, "#!/bin/sh\n")
			loc.Root = ""
			return loc
		},
		"names its folder": func() Location {
			loc := inFolder(t, "#!/bin/sh\n")
			if err := os.WriteFile(loc.Path, []byte("#!/bin/sh\nexec "+loc.Root+"/venv/bin/python\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			return loc
		},
		"names " + outside:    func() Location { return inFolder(t, "#!/bin/sh\nexec /usr/bin/python3 '"+outside+"'\n") },
		"virtual environment": func() Location { return inFolder(t, "#!"+venv+"/bin/python3\n") },
		"outside of the folder": func() Location {
			loc := inFolder(t, "#!/bin/sh\n")
			if err := os.Symlink(outside, filepath.Join(loc.Root, "lib", "link.py")); err != nil {
				t.Fatal(err)
			}
			return loc
		},
	} {
		wrong, ok := errors.AsType[*Error](Pinnable(prepare()))
		if !ok || wrong.Code != diag.PluginUnpinnable || !strings.Contains(wrong.Cause, want) || !strings.Contains(wrong.Fix, "a folder stetl-plugin-good") {
			t.Errorf("%s: %v", want, wrong)
		}
	}
	if err := Pinnable(inFolder(t, "#!/usr/bin/env python3\nimport sys # see /usr/bin/env and /no/such/file\n")); err != nil {
		t.Errorf("a good one: %v", err)
	}
}

func TestBundleOfAFolder(t *testing.T) {
	t.Parallel()
	loc := inFolder(t, "#!/bin/sh\n")
	var bundle bytes.Buffer
	if err := WriteBundle(&bundle, []Packed{{Path: loc.Path, Root: loc.Root, Name: "good", Version: "1"}}); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "not", "there")
	lock := NewLock(filepath.Join(t.TempDir(), LockName))
	for range 2 { // the second one takes the place of the first
		done, err := InstallBundle(bytes.NewReader(bundle.Bytes()), to, lock, func(Installed, Locked) error { return errors.New("asked for nothing") })
		if err != nil || len(done) != 1 || done[0].SHA256 != sum(t, loc) {
			t.Fatalf("%v, %+v", err, done)
		}
	}
	installed, err := Find("good", Options{Dir: to})
	if err != nil || installed.Root == "" || lock.verify(installed, sum(t, installed)) != nil {
		t.Errorf("%+v, %v", installed, err)
	}
	if left, _ := filepath.Glob(filepath.Join(to, ".stetl-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	// Another pin is replaced only when somebody says so.
	lock.Pin("good", "0", strings.Repeat("0", 64))
	no := errors.New("no")
	if _, err := InstallBundle(bytes.NewReader(bundle.Bytes()), to, lock, func(Installed, Locked) error { return no }); !errors.Is(err, no) || lock.Plugins["good"].Version != "0" {
		t.Errorf("%v, %+v", err, lock.Plugins)
	}
}

// Nothing of a bundle lands outside of its folder.
func TestBundleLeadsNowhere(t *testing.T) {
	t.Parallel()
	index := `{"plugins": {"good": {"version": "1", "sha256": {"` + Platform() + `": ["x"]}}}}`
	for _, h := range []tar.Header{
		{Name: Prefix + "good/../../escaped", Typeflag: tar.TypeReg},
		{Name: Prefix + "good//etc/escaped", Typeflag: tar.TypeReg},
		{Name: Prefix + "good/link", Typeflag: tar.TypeSymlink, Linkname: "../../escaped"},
		{Name: Prefix + "good/link", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		{Name: Prefix + "good/hard", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"},
	} {
		var raw bytes.Buffer
		zipped := gzip.NewWriter(&raw)
		out := tar.NewWriter(zipped)
		err := out.WriteHeader(&tar.Header{Name: LockName, Size: int64(len(index)), Mode: 0o644})
		if err == nil {
			_, err = out.Write([]byte(index))
		}
		if err = errors.Join(err, out.WriteHeader(&h), out.Close(), zipped.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := InstallBundle(&raw, t.TempDir(), NewLock(""), nil); err == nil || !strings.Contains(err.Error(), "no part of a plugin") {
			t.Errorf("%s to %s: %v", h.Name, h.Linkname, err)
		}
	}
}
