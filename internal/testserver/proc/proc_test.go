//go:build unix

package proc_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/proc"
)

// helperEnv makes this test binary play a test process that owns a server.
const helperEnv = "STETL_PROC_TEST_HELPER"

func TestMain(m *testing.M) {
	if signal := os.Getenv(helperEnv); signal != "" {
		helper(signal)
	}
	m.Run()
}

// helper starts a server with a child of its own, or shares one, prints its folder,
// and waits to be killed.
func helper(how string) {
	command := func() *exec.Cmd { return exec.Command("/bin/sh", "-c", "sleep 600 & wait") }
	var dir string
	var err error
	if how == "share" {
		dir, err = proc.Share("proc-test", func(s *proc.Starting) (string, error) {
			_, err := s.Start(command(), "KILL")
			return s.Dir, err
		})
	} else if dir, err = proc.TempDir("stetl-proc-test"); err == nil {
		_, err = proc.Start(command(), how, dir)
	}
	if err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintln(os.Stdout, dir)
	time.Sleep(time.Hour) // select {} is a deadlock in a process that only joins
}

// user is a helper that runs.
type user struct {
	t   *testing.T
	cmd *exec.Cmd
	dir string // of its server
}

// startUser starts a helper. The write end passes to everything that it starts.
func startUser(t *testing.T, how string, inherited *os.File) *user {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+how)
	cmd.ExtraFiles = []*os.File{nil, inherited} // what is 3, guards may have replaced
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	u := &user{t, cmd, strings.TrimSpace(line)}
	u.there()
	return u
}

func (u *user) there() {
	u.t.Helper()
	if _, err := os.Stat(u.dir); err != nil {
		u.t.Fatal(err)
	}
}

func (u *user) kill() {
	u.t.Helper()
	if err := u.cmd.Process.Kill(); err != nil {
		u.t.Fatal(err)
	}
	_ = u.cmd.Wait() // killed
}

// lifeline returns a pipe: the end of file of its read end tells that all have gone
// who have inherited the other: helpers, servers, their children and the guards.
func lifeline(t *testing.T) (alive, inherited *os.File) {
	t.Helper()
	alive, inherited, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return alive, inherited
}

// gone waits until all who have inherited the lifeline have ended.
func (u *user) gone(alive, inherited *os.File) {
	u.t.Helper()
	if err := inherited.Close(); err != nil {
		u.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, alive); err != nil {
		u.t.Fatal(err)
	}
	if _, err := os.Stat(u.dir); !errors.Is(err, os.ErrNotExist) {
		u.t.Errorf("folder of the server is still there (%v)", err)
	}
}

func TestNothingOutlivesAKilledTest(t *testing.T) {
	for _, signal := range []string{"KILL", "TERM"} {
		t.Run(signal, func(t *testing.T) {
			t.Parallel()
			alive, inherited := lifeline(t)
			u := startUser(t, signal, inherited)
			u.kill()
			u.gone(alive, inherited)
		})
	}
}

func serverDir(t *testing.T) string {
	t.Helper()
	dir, err := proc.TempDir("stetl-proc-test")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestStopEndsServerAndFolder(t *testing.T) {
	t.Parallel()
	dir := serverDir(t)
	p, err := proc.Start(exec.CommandContext(t.Context(), "sleep", "600"), "TERM", dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	<-p.Done()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder of the server is still there (%v)", err)
	}
}

func TestFolderOfACrashedServerStaysUntilStop(t *testing.T) {
	t.Parallel()
	dir := serverDir(t)
	p, err := proc.Start(exec.CommandContext(t.Context(), "sh", "-c", "exit 3"), "TERM", dir)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if exit, ok := errors.AsType[*exec.ExitError](p.Err()); !ok || exit.ExitCode() != 3 {
		t.Errorf("exit is %v, want status 3", p.Err())
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("folder is gone before its log could be read: %v", err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder of the server is still there (%v)", err)
	}
}

func TestSignalReachesTheWholeGroup(t *testing.T) {
	t.Parallel()
	dir := serverDir(t)
	// sh ends only when its child has: both have to get the signal.
	p, err := proc.Start(exec.CommandContext(t.Context(), "sh", "-c", "trap : TERM; sleep 600; exit 4"), "KILL", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	for done := false; !done; { // until sh has set its trap and started its child
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.Done():
			done = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("signal after exit: %v", err)
	}
}

func TestStartFailureLeavesNoFolder(t *testing.T) {
	t.Parallel()
	dir := serverDir(t)
	if _, err := proc.Start(exec.CommandContext(t.Context(), "/no/such/server"), "TERM", dir); err == nil {
		t.Fatal("started a program that does not exist")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder of the server is still there (%v)", err)
	}
}

func TestTempDirSweepsWhatNobodyHolds(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	held, err := proc.TempDir("sweep")
	if err != nil {
		t.Fatal(err)
	}
	stale, fresh := filepath.Join(tmp, "sweep-1"), filepath.Join(tmp, "sweep-2")
	for _, dir := range []string{stale, fresh} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, dir := range []string{held, stale} {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := proc.TempDir("sweep"); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{held: true, stale: false, fresh: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s exists: %t, want %t", filepath.Base(dir), err == nil, want)
		}
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("a\nb\nc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := proc.Tail(path, 2); got != "b\nc" {
		t.Errorf("tail is %q", got)
	}
	if got := proc.Tail(path, 9); got != "a\nb\nc" {
		t.Errorf("tail is %q", got)
	}
}
