//go:build unix

package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// guardScript reads "<process group>", later perhaps "gone" once that has
// exited by itself (its number may by then belong to somebody else), until
// nobody holds its standard input open for writing any more. A group killed
// outright is not waited for: where process 1 does not reap, it would seem to
// live on.
//
// A shared server ([Share]) that has started stays until the run ends that
// descriptor 3 stands for. Then nobody finds it any more, and who found it
// before is waited for.
const guardScript = `
group=
listen() {
	while read -r word; do
		case $word in
		gone) group= ;;
		*) group=$word ;;
		esac
	done
}
listen
if [ -e "$2/` + stateName + `" ]; then
	[ -z "$3" ] || cat <&3 >/dev/null
	rm -f -- "$2/` + usersName + `"
	listen
fi
if [ -n "$group" ]; then
	kill -s "$1" -- "-$group" 2>/dev/null
	tries=0
	while [ "$1" != KILL ] && [ $tries -lt 500 ] && kill -s 0 -- "-$group" 2>/dev/null; do
		sleep 0.02
		tries=$((tries + 1))
	done
	kill -s KILL -- "-$group" 2>/dev/null
fi
rm -rf -- "$2"
`

// Process is a running server. Its methods may be called concurrently.
type Process struct {
	pid  int
	done chan struct{}
	err  error // set before done is closed
	stop func() error
}

// Start runs cmd as the leader of a process group of its own. When the process
// ends, by [Process.Stop] or with the test process, the group gets the signal
// ("QUIT", "TERM", "KILL"; after ten seconds KILL in any case), and dir, the
// server's private folder, is removed. Start removes dir also when it fails.
//
// cmd must not write to the test's own output: go test waits for whoever holds
// that open.
func Start(cmd *exec.Cmd, signal, dir string) (*Process, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make guard pipe: %w", err), os.RemoveAll(dir))
	}
	return start(cmd, signal, dir, in, out, nil)
}

// start takes the two ends of what tells the guard that the server is not wanted
// any more, and what it waits for then.
func start(cmd *exec.Cmd, signal, dir string, in, out, run *os.File) (*Process, error) {
	args := []string{"-c", guardScript, "guard", signal, dir}
	if run != nil {
		args = append(args, "with a run")
	}
	guard := exec.Command("/bin/sh", args...) //nolint:noctx // outlives every context
	guard.Dir = "/"
	guard.Env = []string{"PATH=" + os.Getenv("PATH")}
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // spared by Ctrl-C
	guard.Stdin = in
	if run != nil {
		guard.ExtraFiles = []*os.File{run}
	}
	err := guard.Start()
	_ = in.Close() // the guard has its own
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start guard of %s: %w", cmd.Path, err), out.Close(), os.RemoveAll(dir))
	}
	p := &Process{done: make(chan struct{})}
	p.stop = sync.OnceValue(func() error {
		return errors.Join(out.Close(), guard.Wait())
	})

	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", cmd.Path, err), p.stop())
	}
	p.pid = cmd.Process.Pid
	_, guardErr := fmt.Fprintln(out, p.pid)
	go func() {
		p.err = cmd.Wait()
		_, _ = fmt.Fprintln(out, "gone") // fails once Stop closed the pipe: then the guard has done its work
		close(p.done)
	}()
	if guardErr != nil {
		return nil, errors.Join(fmt.Errorf("tell guard of %s: %w", cmd.Path, guardErr), cmd.Process.Kill(), p.Stop())
	}
	return p, nil
}

// Done is closed when the process has exited.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the process exited; nil for status 0. Call it after Done.
func (p *Process) Err() error { return p.err }

// Signal sends the signal to the process group, for instance to let a server
// end in an orderly way. It does nothing when the process has exited.
func (p *Process) Signal(signal syscall.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
		return syscall.Kill(-p.pid, signal)
	}
}

// Stop ends the process, waits for it and removes its folder. Later calls
// return what the first one did.
func (p *Process) Stop() error {
	err := p.stop()
	<-p.done
	return err
}

// staleAfter spares folders that a starting process has made but not yet locked.
const staleAfter = time.Hour

// TempDir makes a private folder with a short path (unix sockets allow about
// 100 bytes) under os.TempDir(). Folders of the same prefix whose process has
// died together with its guard are removed on the way.
func TempDir(prefix string) (string, error) {
	sweep(prefix)
	dir, err := os.MkdirTemp("", prefix+"-")
	if err != nil {
		return "", fmt.Errorf("make server folder: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return "", errors.Join(fmt.Errorf("lock server folder: %w", err), os.Remove(dir))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return "", errors.Join(fmt.Errorf("lock server folder: %w", err), f.Close(), os.Remove(dir))
	}
	hold(f)
	return dir, nil
}

// held keeps files of this process from the garbage collector, which would close
// them. The kernel does when the process ends.
var held struct {
	sync.Mutex
	files []*os.File
}

func hold(f *os.File) {
	held.Lock()
	defer held.Unlock()
	held.files = append(held.files, f)
}

// sweep is a courtesy: whatever it cannot open, lock or remove is left alone.
func sweep(prefix string) {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"-*"))
	for _, dir := range left {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < staleAfter {
			continue
		}
		f, err := os.Open(dir)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = f.Close()
	}
}

// Tail returns the last lines of the file, for the message of a failing test.
func Tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
