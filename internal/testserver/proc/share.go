//go:build unix

package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

// In the folder of a shared server:
const (
	usersName = "shared.users" // a pipe that everybody who uses the server holds open
	stateName = "shared.state" // what it takes to use it, once it has started
)

// Starting is a server that [Share] wants to be started.
type Starting struct {
	// Dir is its folder. What was made there goes when it ends.
	Dir string

	in, out, run *os.File
	process      *Process
}

// Start is the function of the same name for a shared server, in its folder.
func (s *Starting) Start(cmd *exec.Cmd, signal string) (*Process, error) {
	p, err := start(cmd, signal, s.Dir, s.in, s.out, s.run)
	s.process = p
	return p, err
}

// Share has one server of that name run for all test processes of one run. The
// first that asks has it started, and gives what others need to know to use it:
// state, which all get. The server ends with the last process that has asked for
// it, however that ends, and not before the run does.
//
// A run is that of tools/test.sh, which [testenv.Run] names, or else of one
// "go test": tests of another run have the same names for what they make, and so
// have servers of their own.
func Share[State any](name string, begin func(*Starting) (State, error)) (State, error) {
	var none State
	unlock, err := testenv.Lock(name + ".start")
	if err != nil {
		return none, err
	}
	defer unlock()
	run := testenv.Run()
	id := filepath.Base(run)
	if run == "" {
		id = strconv.Itoa(os.Getppid()) // the process of go test
	}
	for n := 1; ; n++ {
		dir := filepath.Join(os.TempDir(), fmt.Sprintf("stetl-shared-%s-%s-%d", name, id, n))
		err := os.Mkdir(dir, 0o700)
		if err == nil {
			return lead(dir, run, begin)
		}
		if !errors.Is(err, fs.ErrExist) {
			return none, fmt.Errorf("make server folder: %w", err)
		}
		if state, ok := join[State](dir); ok {
			return state, nil
		}
	}
}

// join uses the server of a folder, unless it is one that ends.
func join[State any](dir string) (state State, ok bool) {
	users, err := openPipe(filepath.Join(dir, usersName), os.O_WRONLY)
	if err != nil {
		return state, false
	}
	b, err := os.ReadFile(filepath.Join(dir, stateName))
	if err != nil || json.Unmarshal(b, &state) != nil {
		_ = users.Close()
		return state, false
	}
	hold(users)
	return state, true
}

// lead starts the server of a new folder.
func lead[State any](dir, run string, begin func(*Starting) (State, error)) (State, error) {
	var none State
	s := &Starting{Dir: dir}
	if err := s.open(run); err != nil {
		return none, errors.Join(fmt.Errorf("prepare shared server: %w", err), os.RemoveAll(dir))
	}
	state, err := begin(s)
	if s.run != nil {
		_ = s.run.Close() // the guard has its own
	}
	if err == nil {
		err = s.announce(state)
	}
	if err != nil {
		if s.process != nil {
			return none, errors.Join(err, s.process.Stop())
		}
		return none, errors.Join(err, s.in.Close(), s.out.Close(), os.RemoveAll(dir))
	}
	hold(s.out)
	return state, nil
}

// open makes the pipe of the users, and opens what tells of the end of the run.
func (s *Starting) open(run string) error {
	users := filepath.Join(s.Dir, usersName)
	err := syscall.Mkfifo(users, 0o600)
	if err != nil {
		return err
	}
	if s.in, err = openPipe(users, os.O_RDONLY); err != nil {
		return err
	}
	if s.out, err = openPipe(users, os.O_WRONLY); err != nil {
		return errors.Join(err, s.in.Close())
	}
	if run == "" {
		return nil
	}
	if s.run, err = openPipe(run, os.O_RDONLY); err != nil {
		return errors.Join(err, s.in.Close(), s.out.Close())
	}
	return nil
}

// openPipe opens an end of a pipe without waiting for the other one, which reading
// and writing then do.
func openPipe(path string, mode int) (*os.File, error) {
	fd, err := syscall.Open(path, mode|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		return nil, errors.Join(err, syscall.Close(fd))
	}
	return os.NewFile(uintptr(fd), path), nil
}

// announce lets others find the server.
func (s *Starting) announce(state any) error {
	b, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.Dir, stateName), b, 0o600)
}
