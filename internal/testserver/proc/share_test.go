//go:build unix

package proc_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stetl/stetl/internal/testserver/proc"
)

// The processes of one run have one server, which ends with the last of them.
func TestSharedServerEndsWithItsLastUser(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("STETL_TEST_CACHE", t.TempDir())
	t.Setenv("STETL_TEST_RUN", "")
	alive, inherited := lifeline(t)
	first := startUser(t, "share", inherited)
	second := startUser(t, "share", inherited)
	if first.dir != second.dir {
		t.Errorf("two servers: %s, %s", first.dir, second.dir)
	}
	first.kill()
	third := startUser(t, "share", inherited) // whoever started it is no more
	if third.dir != first.dir {
		t.Errorf("another server: %s, not %s", third.dir, first.dir)
	}
	second.kill()
	third.there()
	third.kill()
	third.gone(alive, inherited)
}

// Between two packages of a run nobody uses a server, which the second finds.
func TestSharedServerStaysForItsRun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("STETL_TEST_CACHE", t.TempDir())
	run := filepath.Join(t.TempDir(), "run")
	if err := syscall.Mkfifo(run, 0o600); err != nil {
		t.Fatal(err)
	}
	going, err := os.OpenFile(run, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("STETL_TEST_RUN", run)
	alive, inherited := lifeline(t)
	first := startUser(t, "share", inherited)
	first.kill()
	second := startUser(t, "share", inherited)
	if second.dir != first.dir {
		t.Errorf("another server: %s, not %s", second.dir, first.dir)
	}
	second.kill()
	if err := going.Close(); err != nil {
		t.Fatal(err)
	}
	second.gone(alive, inherited)
}

// What does not start leaves nothing, and does not keep the next from trying.
func TestSharedServerThatDoesNotStart(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("STETL_TEST_CACHE", t.TempDir())
	broken := errors.New("broken")
	for name, begin := range map[string]func(*proc.Starting) (string, error){
		"before the process": func(*proc.Starting) (string, error) { return "", broken },
		"after it": func(s *proc.Starting) (string, error) {
			_, err := s.Start(exec.CommandContext(t.Context(), "sleep", "600"), "KILL")
			return "", errors.Join(err, broken)
		},
	} {
		if _, err := proc.Share("broken", begin); !errors.Is(err, broken) {
			t.Errorf("%s: error is %v, want the one of the start", name, err)
		}
		if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}
