// Package pty runs programs on a terminal of any width.
package pty

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

// Terminal is one on which a program runs.
type Terminal struct {
	t     *testing.T
	host  *os.File
	ended chan error
	read  chan struct{}

	mu    sync.Mutex
	shown bytes.Buffer
}

// Start runs cmd on a terminal with so many columns. Streams that cmd has already are left
// as they are.
func Start(t *testing.T, columns uint16, cmd *exec.Cmd) *Terminal {
	t.Helper()
	host, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		testenv.Skip(t, "a terminal", err.Error())
	}
	if err := unix.IoctlSetPointerInt(int(host.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(host.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: columns}); err != nil {
		t.Fatal(err)
	}
	if cmd.Stdin == nil {
		cmd.Stdin = tty
	}
	if cmd.Stdout == nil {
		cmd.Stdout = tty
	}
	if cmd.Stderr == nil {
		cmd.Stderr = tty
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close() // the program has it
	p := &Terminal{t: t, host: host, ended: make(chan error, 1), read: make(chan struct{})}
	go func() {
		defer close(p.read)
		buf := make([]byte, 4096)
		for {
			n, err := host.Read(buf)
			p.mu.Lock()
			p.shown.Write(buf[:n])
			p.mu.Unlock()
			if err != nil { // EIO is the end
				return
			}
		}
	}()
	go func() { p.ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = host.Close() })
	return p
}

// Text is what has been shown so far, with line ends as in files.
func (p *Terminal) Text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.ReplaceAll(p.shown.String(), "\r\n", "\n")
}

// patience is how long anything may take.
const patience = 2 * time.Minute

// Expect waits until a text is shown.
func (p *Terminal) Expect(text string) {
	p.t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(p.Text(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("%q was never shown:\n%s", text, p.Text())
		}
		select {
		case err := <-p.ended:
			p.ended <- err
			<-p.read
			if !strings.Contains(p.Text(), text) {
				p.t.Fatalf("the program ended (%v) before it showed %q:\n%s", err, text, p.Text())
			}
			return
		default:
		}
	}
}

// Type types a text.
func (p *Terminal) Type(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.host, text); err != nil {
		p.t.Fatal(err)
	}
}

// Wait returns the exit code, once the program has ended.
func (p *Terminal) Wait() int {
	p.t.Helper()
	select {
	case err := <-p.ended:
		<-p.read
		var exit *exec.ExitError
		switch {
		case err == nil:
			return 0
		case errors.As(err, &exit):
			return exit.ExitCode()
		}
		p.t.Fatal(err)
	case <-time.After(patience):
		p.t.Fatalf("the program does not end:\n%s", p.Text())
	}
	return -1
}
