//go:build unix

package testenv_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

// outcome runs f as a test of its own and tells how it ended.
type outcome struct {
	testing.TB
	failed, skipped string
}

func (o *outcome) Helper()      {}
func (o *outcome) Name() string { return "TestX" }
func (o *outcome) Fatalf(format string, _ ...any) {
	o.failed = format
	panic(o)
}

func (o *outcome) Skipf(format string, _ ...any) {
	o.skipped = format
	panic(o)
}

func run(f func(testing.TB)) (o *outcome) {
	o = &outcome{}
	defer func() { _ = recover() }()
	f(o)
	return o
}

func TestSkipLeavesALine(t *testing.T) {
	t.Setenv("CI", "")
	log := filepath.Join(t.TempDir(), "skips")
	t.Setenv("STETL_SKIP_LOG", log)
	for range 2 {
		if o := run(func(tb testing.TB) { testenv.Skip(tb, "a server", "none\nfound") }); o.skipped == "" {
			t.Fatal("test was not skipped")
		}
	}
	got, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat("TestX: a server: none found\n", 2); string(got) != want {
		t.Errorf("skip log holds %q, want %q", got, want)
	}
}

func TestSkipFailsWhenNobodyWouldSeeIt(t *testing.T) {
	t.Setenv("CI", "true")
	if o := run(func(tb testing.TB) { testenv.Skip(tb, "a server", "none found") }); o.failed == "" {
		t.Error("CI=true: test did not fail")
	}
	t.Setenv("CI", "")
	t.Setenv("STETL_SKIP_LOG", filepath.Join(t.TempDir(), "missing", "skips"))
	if o := run(func(tb testing.TB) { testenv.Skip(tb, "a server", "none found") }); o.failed == "" {
		t.Error("unwritable log: test did not fail")
	}
}

func TestCachedBuildsOnce(t *testing.T) {
	t.Setenv("STETL_TEST_CACHE", t.TempDir())
	var builds atomic.Int32
	build := func(dir string) error {
		builds.Add(1)
		return os.WriteFile(filepath.Join(dir, "content"), []byte("x"), 0o600)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dir, err := testenv.Cached("thing", build)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(dir, "content")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := builds.Load(); n != 1 {
		t.Errorf("built %d times, want once", n)
	}
}

func TestCachedStartsAfreshAfterAFailure(t *testing.T) {
	t.Setenv("STETL_TEST_CACHE", t.TempDir())
	broken := errors.New("broken")
	_, err := testenv.Cached("thing", func(dir string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o600), broken)
	})
	if !errors.Is(err, broken) {
		t.Fatalf("error is %v, want the one of the build", err)
	}
	dir, err := testenv.Cached("thing", func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "half")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("rest of the failed build is still there (%v)", err)
	}
}

func TestCachedRefusesARelativeFolder(t *testing.T) {
	t.Setenv("STETL_TEST_CACHE", "cache")
	if _, err := testenv.Cached("thing", func(string) error { return nil }); err == nil {
		t.Error("a relative cache folder was accepted")
	}
}
