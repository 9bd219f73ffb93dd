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
	"github.com/stetl/stetl/internal/testserver/postgres"
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
		if bytes.Contains(buf[:n], []byte("commit\x00")) && g.commits.Add(1) == g.at {
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
	raw, err := os.ReadFile("../../configs/own-tables.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dump, err := filepath.Abs(fixture.Dump(t, "core-3.3.0"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(raw), "url: ${env:SUPERTOKENS_DATABASE_URL}", "dump: "+dump, 1)
	const all = `SELECT coalesce(string_agg(t::text, E'\n' ORDER BY t::text), '') FROM (SELECT p::text FROM people p UNION ALL SELECT s::text FROM social_logins s UNION ALL SELECT r::text FROM person_roles r) AS t`
	fresh := func(t *testing.T) (dsn, config string) {
		t.Helper()
		dsn = postgres.Start(t).CreateDatabase(t, postgres.Database{})
		postgres.Exec(t, dsn, commented(t, string(raw)))
		config = filepath.Join(t.TempDir(), "own.yaml")
		writeFile(t, config, text)
		return dsn, config
	}
	whole, config := fresh(t)
	counter := &guillotine{}
	through := counter.listen(t, whole)
	if r := runStetl(t, []string{"APP_DATABASE_URL=" + through}, "run", "--config", config, "-q"); r.code != exitDone && r.code != exitRejects {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	want, commits := postgres.Value[string](t, whole, all), counter.commits.Load()
	if want == "" || commits < 2 {
		t.Fatalf("%d COMMITs, and nobody was loaded", commits)
	}
	for at := int32(1); at <= commits; at++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d after=%v", at, after), func(t *testing.T) {
				t.Parallel()
				dsn, config := fresh(t)
				g := &guillotine{at: at, after: after}
				env := []string{"APP_DATABASE_URL=" + g.listen(t, dsn)}
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
						if left := postgres.Value[string](t, dsn, all); r.code != exitDone || left != "" {
							t.Errorf("undo: exit %d, and it leaves:\n%.2000s\n%s", r.code, left, r.stderr)
						}
					case "run":
						r := runStetl(t, env, "run", "--config", config, "-q")
						if got := postgres.Value[string](t, dsn, all); got != want {
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
