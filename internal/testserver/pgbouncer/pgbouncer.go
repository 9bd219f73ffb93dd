//go:build linux

// Package pgbouncer starts a pooler before a PostgreSQL, for tests.
package pgbouncer

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// installed returns the path of the program and of its libraries: the one that
// is installed, else one of Debian's packages, unpacked in the test cache.
func installed(t testing.TB) (program, libraries string) {
	t.Helper()
	if path, err := exec.LookPath("pgbouncer"); err == nil {
		return path, ""
	}
	dir, err := testenv.Cached("pgbouncer", func(dir string) error {
		defer testenv.Wait(t, "a build of PgBouncer")()
		const script = `apt-get download pgbouncer libevent-2.1-7 libc-ares2 && for f in *.deb; do dpkg -x "$f" . || exit 1; done && rm ./*.deb`
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("fetch Debian's package: %w\n%s", err, out)
		}
		return nil
	})
	if err != nil {
		testenv.Skip(t, "pgbouncer", err.Error())
	}
	found, err := filepath.Glob(filepath.Join(dir, "usr/lib/*/libevent-2.1.so.7"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no libraries in %s: %v", dir, err)
	}
	return filepath.Join(dir, "usr/sbin/pgbouncer"), filepath.Dir(found[0])
}

// Start puts PgBouncer before a database, with one of its modes, and returns the URL through
// it. The test is skipped where there is none.
func Start(t testing.TB, dsn, mode string) string {
	t.Helper()
	program, libraries := installed(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	config := filepath.Join(t.TempDir(), "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
pooled = host=%s port=%s dbname=%s user=%s password='%s'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = 3
`, u.Hostname(), u.Port(), strings.TrimPrefix(u.Path, "/"), u.User.Username(), password, port, mode)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{config}
	if os.Geteuid() == 0 {
		args = []string{"--user", "nobody", config} // it refuses to run as root
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...) // ended below, when connections are closed
	if libraries != "" {
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries)
	}
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("PgBouncer said:\n%s", log.String())
		}
	})
	host := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", host)
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("PgBouncer does not listen: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	u.Host, u.Path = host, "/pooled"
	return u.String()
}
