//go:build unix

package testenv_test

import (
	"errors"
	"os"
	"os/exec"
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

func TestSkip(t *testing.T) {
	t.Setenv("CI", "")
	o := run(func(tb testing.TB) { testenv.Skip(tb, "a server", "none\nfound") })
	if !strings.HasPrefix(o.skipped, testenv.Needs) || strings.Contains(o.skipped, "\n") {
		t.Errorf("skipped with %q", o.skipped)
	}
	t.Setenv("CI", "true")
	if o := run(func(tb testing.TB) { testenv.Skip(tb, "a server", "none found") }); o.failed == "" {
		t.Error("CI=true: test did not fail")
	}
}

// A result with a skip is not taken for one of the next run: go test has read of a variable
// that changes.
func TestSkipIsNotRemembered(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestSkip$", "-test.testlogfile", log)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	read, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(read), "getenv "+testenv.Once+"\n") {
		t.Errorf("what the test has looked at:\n%s", read)
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
