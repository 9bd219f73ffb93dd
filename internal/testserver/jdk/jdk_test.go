package jdk_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stetl/stetl/internal/testserver/jdk"
)

// install makes a folder that looks like a Java installation.
func install(t *testing.T, release string, programs ...string) string {
	t.Helper()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "release"), []byte(release), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		if err := os.WriteFile(filepath.Join(home, "bin", p), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

func TestMajor(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		release string
		want    int
		ok      bool
	}{
		{"IMPLEMENTOR=\"Debian\"\nJAVA_VERSION=\"17.0.15\"\n", 17, true},
		{"JAVA_VERSION=\"25\"\n", 25, true},
		{"JAVA_VERSION=\"1.8.0_432\"\n", 8, true},
		{"JAVA_RUNTIME_VERSION=\"17\"\n", 0, false},
		{"", 0, false},
	} {
		got, ok := jdk.Major(install(t, test.release))
		if got != test.want || ok != test.ok {
			t.Errorf("Major of %q is %d, %t, want %d, %t", test.release, got, ok, test.want, test.ok)
		}
	}
	if _, ok := jdk.Major(t.TempDir()); ok {
		t.Error("an empty folder passes as a Java installation")
	}
}

func TestHome(t *testing.T) {
	const version = `JAVA_VERSION="999.1"` // none that is installed
	t.Setenv("JAVA_HOME", install(t, version, "java"))
	if _, err := jdk.Home("javac", 999); !errors.Is(err, jdk.ErrNotFound) {
		t.Errorf("without javac: error is %v, want ErrNotFound", err)
	}
	if _, err := jdk.Home("java", 998); !errors.Is(err, jdk.ErrNotFound) {
		t.Errorf("other version: error is %v, want ErrNotFound", err)
	}
	if home, err := jdk.Home("java", 998, 999); err != nil || home != os.Getenv("JAVA_HOME") {
		t.Errorf("JAVA_HOME: got %q, %v", home, err)
	}

	onPath := install(t, version, "java")
	t.Setenv("JAVA_HOME", "")
	bin := t.TempDir()
	if err := os.Symlink(filepath.Join(onPath, "bin", "java"), filepath.Join(bin, "java")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	onPath, err := filepath.EvalSymlinks(onPath)
	if err != nil {
		t.Fatal(err)
	}
	if home, err := jdk.Home("java", 999); err != nil || home != onPath {
		t.Errorf("PATH: got %q, %v, want %q", home, err, onPath)
	}
	if err := jdk.Maven(t.Context(), t.TempDir(), onPath, "--version"); !errors.Is(err, jdk.ErrNotFound) {
		t.Errorf("Maven: error is %v, want ErrNotFound", err)
	}
}
