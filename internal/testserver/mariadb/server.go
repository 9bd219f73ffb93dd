//go:build unix

package mariadb

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

const (
	superuser = "stetl"
	// startTimeout only ends tests whose server hangs; a healthy one takes a few seconds.
	startTimeout = 2 * time.Minute
)

// Server is a running MariaDB. Its methods may be called concurrently.
type Server struct {
	dir      string // private folder, with the data and the unix socket
	port     int
	password string
	programs installation
	process  *proc.Process
}

// shared is the server of this process. It is not stopped: the guard of its process does
// that when the test process ends.
var shared struct {
	once    sync.Once
	server  *Server
	missing error
	err     error
}

// Start returns the server of this test process and starts it at the first call. It skips
// the test (see [testenv.Skip]) where MariaDB is neither installed nor can be fetched.
func Start(tb testing.TB) *Server {
	tb.Helper()
	testenv.Slow(tb, "needs MariaDB")
	shared.once.Do(func() {
		defer testenv.Wait(tb, "MariaDB")()
		var programs installation
		if programs, shared.missing = find(tb); shared.missing == nil {
			shared.server, shared.err = start(programs)
		}
	})
	if shared.missing != nil {
		testenv.Skip(tb, "MariaDB", shared.missing.Error())
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.server
}

// tables are the scripts that a new server is made from.
func tables() []string {
	return []string{"mariadb_system_tables.sql", "mariadb_performance_tables.sql", "mariadb_system_tables_data.sql"}
}

// start runs a new server.
func start(programs installation) (*Server, error) {
	dir, err := proc.TempDir("stetl-mariadb")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, password: rand.Text(), programs: programs}
	if err := initialize(s); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if s.port, err = proc.FreePort(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := certify(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open server log: %w", err), os.RemoveAll(dir))
	}
	defer func() { _ = log.Close() }()
	cmd := command(s, "--port="+strconv.Itoa(s.port), "--bind-address=127.0.0.1", "--init-file="+s.path("init.sql"),
		"--max-connections=200", "--max-allowed-packet=256M",
		"--ssl-ca="+s.path(authority), "--ssl-cert="+s.path("server.pem"), "--ssl-key="+s.path("server.key"))
	cmd.Stdout, cmd.Stderr = log, log
	if s.process, err = proc.Start(cmd, "KILL", dir); err != nil { // nothing has to survive
		return nil, err
	}
	if err := waitReady(s); err != nil {
		return nil, errors.Join(fmt.Errorf("start MariaDB: %w\n%s", err, proc.Tail(s.path("log"), 20)), s.process.Stop())
	}
	return s, nil
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// initialize makes the server's data folder, and what it runs first.
func initialize(s *Server) error {
	user := superuser + "@'%' IDENTIFIED BY '" + s.password + "'"
	first := "CREATE USER " + user + ";\nGRANT ALL ON *.* TO " + superuser + "@'%' WITH GRANT OPTION;\n"
	if err := errors.Join(os.Mkdir(s.path("data"), 0o700), os.WriteFile(s.path("init.sql"), []byte(first), 0o600)); err != nil {
		return fmt.Errorf("make a server: %w", err)
	}
	cmd, err := bootstrap(s)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make a server: %w\n%s", err, out)
	}
	return nil
}

// bootstrap prepares the server to make its own tables.
func bootstrap(s *Server) (*exec.Cmd, error) {
	if s.programs.mysql {
		return command(s, "--initialize-insecure"), nil
	}
	script := []byte("CREATE DATABASE mysql;\nUSE mysql;\n")
	for _, name := range tables() {
		b, err := os.ReadFile(filepath.Join(s.programs.share, name))
		if err != nil {
			return nil, fmt.Errorf("make a server: %w", err)
		}
		script = append(append(script, b...), '\n')
	}
	cmd := command(s, "--bootstrap")
	cmd.Stdin = bytes.NewReader(script)
	return cmd, nil
}

// command prepares the server to run with options that tests want: small, and without
// regard for what survives a crash.
func command(s *Server, args ...string) *exec.Cmd {
	args = append([]string{
		"--no-defaults", "--datadir=" + s.path("data"), "--socket=" + s.path("socket"), "--pid-file=" + s.path("pid"),
		"--lc-messages-dir=" + s.programs.share, "--character-sets-dir=" + filepath.Join(s.programs.share, "charsets"),
		"--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--loose-innodb-log-file-size=32M", "--loose-innodb-redo-log-capacity=32M", "--skip-log-bin",
		"--skip-name-resolve", "--innodb-doublewrite=0", "--innodb-file-per-table=0",
		// what only one of the two knows
		"--loose-innodb-flush-method=nosync", "--loose-sync-frm=0", "--loose-skip-log-error", "--loose-mysqlx=0", "--secure-file-priv=",
	}, args...)
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	cmd := s.programs.command(context.Background(), s.programs.server, args...) // the guard of proc ends it
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TZ=UTC", "LC_ALL=C"}
	if s.programs.libs != "" && s.programs.loader == "" {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+s.programs.libs)
	}
	return cmd
}

func waitReady(s *Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		err := s.exec(ctx, "", "DO 0")
		if err == nil {
			return nil
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

// Config is how the driver connects to a database as the superuser, over TCP.
func (s *Server) Config(database string) *mysql.Config {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.DBName = superuser, s.password, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), database
	return c
}

// Socket is the path of the unix socket.
func (s *Server) Socket() string { return s.path("socket") }

// exec runs statements, several of them in one text, in a connection of its own.
func (s *Server) exec(ctx context.Context, database, statements string) (err error) {
	c := s.Config(database)
	c.MultiStatements, c.MaxAllowedPacket = true, 0
	c.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, statements)
	return err
}

// Exec runs statements in a database, or in none.
func (s *Server) Exec(tb testing.TB, database, statements string) {
	tb.Helper()
	if err := s.exec(tb.Context(), database, statements); err != nil {
		tb.Fatalf("run statements on MariaDB: %v", err)
	}
}

// Knows reports whether the server has a collation: those of MySQL 8 are new to MariaDB.
func (s *Server) Knows(tb testing.TB, collation string) bool {
	tb.Helper()
	return s.exec(tb.Context(), "", "SET collation_connection = "+collation) == nil
}

// IsMySQL reports whether the server is MySQL.
func IsMySQL(s *Server) bool { return s.programs.mysql }

// Fit writes statements for MySQL where the server is one: it has no type for UUIDs.
func Fit(s *Server, statements string) string {
	if !IsMySQL(s) {
		return statements
	}
	return regexp.MustCompile(`\buuid\b([^(]|$)`).ReplaceAllString(statements, "char(36) CHARACTER SET ascii$1")
}

// KillUser ends all connections of a user.
func KillUser(tb testing.TB, s *Server, user string) {
	tb.Helper()
	db, err := sql.Open("mysql", s.Config("").FormatDSN())
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var ids string
	query := "SELECT coalesce(group_concat(id SEPARATOR ','), '') FROM information_schema.processlist WHERE user = ?"
	if err := db.QueryRowContext(tb.Context(), query, user).Scan(&ids); err != nil {
		tb.Fatalf("list the connections of %s: %v", user, err)
	}
	for id := range strings.SplitSeq(ids, ",") {
		if _, err := db.ExecContext(tb.Context(), "KILL "+id); id != "" && err != nil {
			tb.Fatalf("end a connection of %s: %v", user, err)
		}
	}
}

// Client prepares the server's own client to run in a database.
func (s *Server) Client(tb testing.TB, database string, args ...string) *exec.Cmd {
	tb.Helper()
	return program(tb, s, "", append([]string{"--database=" + database}, args...))
}

// Dump prepares the server's own program for dumps, with its options.
func (s *Server) Dump(tb testing.TB, database string, args ...string) *exec.Cmd {
	tb.Helper()
	return program(tb, s, "dump", append(args, database))
}

// program prepares one of the programs for users of the server: its client, or that for a
// purpose.
func program(tb testing.TB, s *Server, purpose string, args []string) *exec.Cmd {
	tb.Helper()
	name := "mysql" + purpose
	if !IsMySQL(s) {
		name = strings.TrimSuffix("mariadb-"+purpose, "-")
	}
	program := filepath.Join(s.programs.users, name)
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath(name); err != nil {
			testenv.Skip(tb, name, err.Error())
		}
	}
	cmd := s.programs.command(tb.Context(), program, append([]string{"--no-defaults", "--socket=" + s.Socket(), "--user=" + superuser}, args...)...)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+s.password)
	return cmd
}

var databases atomic.Int64

// CreateDatabase makes an empty database with a name of its own, and drops it at the end of
// the test. The options stand behind its name: "CHARACTER SET latin1".
func (s *Server) CreateDatabase(tb testing.TB, options string) (name string) {
	tb.Helper()
	name = fmt.Sprintf("test_%d", databases.Add(1))
	s.Exec(tb, "", strings.TrimSpace("CREATE DATABASE "+name+" "+options))
	tb.Cleanup(func() {
		// The context of the test has ended by now.
		if err := s.exec(context.WithoutCancel(tb.Context()), "", "DROP DATABASE "+name); err != nil {
			tb.Errorf("drop database: %v", err)
		}
	})
	return name
}
