package proc

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FreePort returns a port of the loopback interface that was free a moment ago.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // immediate
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("find a free port: listener has address %v", l.Addr())
	}
	return addr.Port, nil
}

// Serve starts a server for a test, which ends it, and waits until the server has written a
// line that begins with prefix, which it returns. folder begins the name of the folder for
// its log, the end of which a test that fails shows.
func Serve(tb testing.TB, folder string, cmd *exec.Cmd, prefix string, patience time.Duration) string {
	tb.Helper()
	dir, err := TempDir(folder)
	if err != nil {
		tb.Fatal(err)
	}
	logPath := filepath.Join(dir, "log")
	log, err := os.Create(logPath)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	p, err := Start(cmd, "TERM", dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the server's log ends with:\n%s", Tail(logPath, 30))
		}
		if err := p.Stop(); err != nil {
			tb.Errorf("stop the server: %v", err)
		}
	})
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if line := lineOf(logPath, prefix); line != "" {
			return line
		}
		select {
		case <-p.Done():
			tb.Fatalf("the server has ended:\n%s", Tail(logPath, 30))
		default:
		}
	}
	tb.Fatalf("the server does not start:\n%s", Tail(logPath, 30))
	return ""
}

func lineOf(path, prefix string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), prefix) {
			return s.Text()
		}
	}
	return ""
}
