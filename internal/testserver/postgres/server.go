//go:build unix

package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

const (
	superuser = "stetl"
	// startTimeout only ends tests whose server hangs; a healthy one takes a second or two.
	startTimeout = 2 * time.Minute
)

// Server is a running PostgreSQL cluster. Its methods may be called
// concurrently.
type Server struct {
	bin      string
	dir      string // private folder, with the data and the unix socket
	port     int
	password string
	durable  bool
	process  *proc.Process
}

// shared is the server of this process. It is not stopped: the guard of its
// process does that when the test process ends.
var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Start returns the server of this test process and starts it at the first
// call. It skips the test (see [testenv.Skip]) where PostgreSQL is neither
// installed nor can be fetched.
func Start(tb testing.TB) *Server {
	tb.Helper()
	testenv.Slow(tb, "needs PostgreSQL")
	shared.once.Do(func() {
		defer testenv.Wait(tb, "PostgreSQL")()
		shared.server, shared.err = startShared()
	})
	if errors.Is(shared.err, errMissing) {
		testenv.Skip(tb, "PostgreSQL", shared.err.Error())
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.server
}

// StartOther starts a server beside that of [Start], for one test.
func StartOther(tb testing.TB) *Server {
	tb.Helper()
	return other(tb, false)
}

// StartDurable starts a server beside that of [Start] that loses nothing, for a measurement:
// every commit waits for the disk.
func StartDurable(tb testing.TB) *Server {
	tb.Helper()
	return other(tb, true)
}

func other(tb testing.TB, durable bool) *Server {
	tb.Helper()
	s, err := start(Start(tb).bin, durable)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.process.Stop(); err != nil {
			tb.Errorf("stop the other server: %v", err)
		}
	})
	return s
}

var errMissing = errors.New("no PostgreSQL server is installed")

func startShared() (*Server, error) {
	bin, ok := installed()
	if !ok {
		var err error
		if bin, err = fetched(); err != nil {
			return nil, fmt.Errorf("%w, and none could be had: %w", errMissing, err)
		}
	}
	s, err := start(bin, false)
	for range 2 {
		if !errors.Is(err, errPortTaken) {
			break
		}
		s, err = start(bin, false)
	}
	return s, err
}

// errPortTaken means that another process was quicker to use a free port.
var errPortTaken = errors.New("port is taken")

// start runs a new cluster with the programs in the bin folder.
func start(bin string, durable bool) (*Server, error) {
	dir, err := proc.TempDir("stetl-postgres")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, password: rand.Text(), durable: durable}
	if err := s.init(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.run(); err != nil {
		return nil, err
	}
	return s, nil
}

// init makes the cluster's data folder.
func (s *Server) init() error {
	owner, err := serverUser()
	if err != nil {
		return err
	}
	if owner != nil && !readableBy(s.bin) {
		if s.bin, err = copyInstallation(s.bin, s.dir); err != nil {
			return err
		}
	}
	passwordFile := filepath.Join(s.dir, "password")
	if err := os.WriteFile(passwordFile, []byte(s.password), 0o600); err != nil {
		return fmt.Errorf("write password file: %w", err)
	}
	if owner != nil {
		for _, path := range []string{s.dir, passwordFile} {
			if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
				return fmt.Errorf("give server folder to its user: %w", err)
			}
		}
	}
	cmd, err := s.command("initdb", "--pgdata", s.data(), "--username", superuser, "--pwfile", passwordFile,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb: %w\n%s", err, out)
	}
	return nil
}

// run starts the server process and waits until it answers.
func (s *Server) run() error {
	var err error
	if s.port, err = proc.FreePort(); err != nil {
		return errors.Join(err, os.RemoveAll(s.dir))
	}
	args := []string{
		"-D", s.data(), "-k", s.dir, "-h", "127.0.0.1", "-p", strconv.Itoa(s.port),
		"-c", "max_wal_size=4GB", "-c", "autovacuum=off", "-c", "max_connections=200", "-c", "log_min_messages=warning",
	}
	if !s.durable {
		args = append(args, "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	}
	cmd, err := s.command("postgres", args...)
	if err != nil {
		return errors.Join(err, os.RemoveAll(s.dir))
	}
	logPath := filepath.Join(s.dir, "log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return errors.Join(fmt.Errorf("open server log: %w", err), os.RemoveAll(s.dir))
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	// SIGQUIT is PostgreSQL's immediate shutdown. SIGKILL would leave shared memory behind.
	if s.process, err = proc.Start(cmd, "QUIT", s.dir); err != nil {
		return err
	}
	if err := s.waitReady(); err != nil {
		tail := proc.Tail(logPath, 20)
		if strings.Contains(tail, "could not bind") {
			err = errors.Join(errPortTaken, err)
		}
		return errors.Join(fmt.Errorf("start PostgreSQL: %w\n%s", err, tail), s.process.Stop())
	}
	return nil
}

func (s *Server) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("server ended: %w", errors.Join(s.process.Err(), err))
		case <-ctx.Done():
			return fmt.Errorf("no answer within %v: %w", startTimeout, err)
		case <-retry.C:
		}
	}
}

// command prepares one of PostgreSQL's programs to run as the server's user.
func (s *Server) command(name string, args ...string) (*exec.Cmd, error) {
	owner, err := serverUser()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(s.bin, name), args...) //nolint:noctx // the guard of proc ends it
	cmd.Dir = s.dir
	// English messages, and none of the PG* variables that may be set.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TZ=UTC", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	return cmd, nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Bin returns the path of a program of the server's own version, such as psql
// or pg_dump. A fetched PostgreSQL has none of them.
func (s *Server) Bin(name string) (path string, ok bool) {
	path = filepath.Join(s.bin, name)
	_, err := os.Stat(path)
	return path, err == nil
}

// DSN returns the connection URL of a database over TCP on the loopback
// interface, as superuser and with a password.
func (s *Server) DSN(database string) string {
	dsn := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return dsn.String()
}

// SocketDSN is [Server.DSN] over the unix socket.
func (s *Server) SocketDSN(database string) string {
	dsn := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.password),
		Path:     "/" + database,
		RawQuery: url.Values{"host": {s.dir}, "port": {strconv.Itoa(s.port)}}.Encode(),
	}
	return dsn.String()
}

// serverUser returns whom to run PostgreSQL as where this process is root,
// which PostgreSQL refuses; nil elsewhere.
func serverUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nil credential: no change of user
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, fmt.Errorf("read ids of user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("find a user to run PostgreSQL as: there is neither postgres nor nobody, and root is refused")
}

// readableBy tells whether everybody can reach the folder, as the folders of a
// distribution are and root's own cache is not.
func readableBy(dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// copyInstallation copies the PostgreSQL of that bin folder into dir and
// returns its new bin folder.
func copyInstallation(bin, dir string) (string, error) {
	to := filepath.Join(dir, "postgresql")
	if err := os.CopyFS(to, os.DirFS(filepath.Dir(bin))); err != nil {
		return "", fmt.Errorf("copy PostgreSQL to where its user can read it: %w", err)
	}
	return filepath.Join(to, "bin"), nil
}
