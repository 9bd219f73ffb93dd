//go:build unix

package e2e_test

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// guillotine passes connections to a database on. At one COMMIT, counted from the first, it
// kills the victim: before the COMMIT arrives, or after it has been sent on. Its answer never arrives.
type guillotine struct {
	to      string
	at      int32
	after   bool
	victim  atomic.Pointer[os.Process]
	commits atomic.Int32
	fell    atomic.Bool
}

func (g *guillotine) listen(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	g.to = u.Host
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.pass(c)
		}
	}()
	u.Host = l.Addr().String()
	return u.String()
}

func (g *guillotine) pass(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", g.to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var cut atomic.Bool
	go func() {
		defer func() { _ = client.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil || cut.Load() {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		commit := bytes.Contains(buf[:n], []byte("commit\x00")) || bytes.HasSuffix(buf[:n], []byte("\x03COMMIT")) // of PostgreSQL and of MariaDB
		if commit && g.commits.Add(1) == g.at {
			cut.Store(true)
			if g.after {
				_, _ = server.Write(buf[:n])
			}
			g.fell.Store(true)
			_ = g.victim.Load().Kill()
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestSQLCrash kills a run at every COMMIT, before it and after it. The next run leads to
// the same rows as one that nobody has killed, and an undo instead leaves nothing behind.
func TestSQLCrash(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "kills runs")
	for kind, open := range map[string]func(*testing.T) *sqlSite{"PostgreSQL": onPostgres, "MariaDB": onMariaDB} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			crash(t, open)
		})
	}
}

// ownTablesOn are the statements of the example in the language of a database.
func ownTablesOn(s *sqlSite, ddl string) string {
	if !s.mariadb {
		return ddl
	}
	return strings.NewReplacer(
		"timestamptz NOT NULL DEFAULT now()", "datetime(3) NOT NULL DEFAULT now(3)", " text", " varchar(255)", "CREATE UNIQUE INDEX ON people (lower(email))", "CREATE UNIQUE INDEX addresses ON people (email)",
	).Replace(ddl)
}

func crash(t *testing.T, open func(*testing.T) *sqlSite) {
	t.Helper()
	raw, err := os.ReadFile("../../configs/own-tables.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dump, err := filepath.Abs(fixture.Dump(t, "core-3.3.0"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(raw), "url: ${env:SUPERTOKENS_DATABASE_URL}", "dump: "+dump, 1)
	all := func(t *testing.T, s *sqlSite) string {
		t.Helper()
		return s.rows(t, "people", "social_logins", "person_roles")
	}
	fresh := func(t *testing.T) (s *sqlSite, config string) {
		t.Helper()
		s = open(t)
		s.exec(t, ownTablesOn(s, commented(t, string(raw))))
		config = filepath.Join(t.TempDir(), "own.yaml")
		writeFile(t, config, text)
		return s, config
	}
	whole, config := fresh(t)
	empty := all(t, whole)
	counter := &guillotine{}
	through := counter.listen(t, whole.dsn)
	if r := runStetl(t, []string{"APP_DATABASE_URL=" + through}, "run", "--config", config, "-q"); r.code != exitDone && r.code != exitRejects {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	want, commits := all(t, whole), counter.commits.Load()
	if want == empty || commits == 0 {
		t.Fatalf("%d COMMITs, and nobody was loaded", commits)
	}
	for at := int32(1); at <= commits; at++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d after=%v", at, after), func(t *testing.T) {
				t.Parallel()
				s, config := fresh(t)
				g := &guillotine{at: at, after: after}
				env := []string{"APP_DATABASE_URL=" + g.listen(t, s.dsn)}
				for _, next := range []string{"undo", "run"} {
					g.commits.Store(0)
					g.fell.Store(false)
					cmd := command(t.Context(), t, env, "run", "--config", config, "-q")
					if err := cmd.Start(); err != nil {
						t.Fatal(err)
					}
					g.victim.Store(cmd.Process) // long before it has asked the database for anything
					if err := cmd.Wait(); err == nil || !g.fell.Load() {
						t.Errorf("the run was not killed: %v", err)
					}
					g.commits.Store(commits) // it falls no more
					switch next {
					case "undo":
						r := runStetl(t, env, "undo", "--config", config, "--yes")
						if left := all(t, s); r.code != exitDone || left != empty {
							t.Errorf("undo: exit %d, and it leaves:\n%.2000s\n%s", r.code, left, r.stderr)
						}
					case "run":
						r := runStetl(t, env, "run", "--config", config, "-q")
						if got := all(t, s); got != want {
							t.Errorf("the next run: exit %d, and the rows are others than those of a run that nobody has killed\n%s", r.code, r.stderr)
						}
						if r := runStetl(t, env, "verify", "--config", config); r.code != exitDone {
							t.Errorf("verify: exit %d\n%s%s", r.code, r.stdout, r.stderr)
						}
					}
				}
			})
		}
	}
}
