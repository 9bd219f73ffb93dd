//go:build unix

package e2e_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// computer has a folder and a home of its own, and nothing of the others but the configuration.
type computer struct {
	dir, config string
	env         []string
}

func newComputer(t *testing.T, config string, env ...string) computer {
	t.Helper()
	m := computer{dir: t.TempDir(), env: env}
	m.config = filepath.Join(m.dir, "stetl.yaml")
	writeFile(t, m.config, config)
	m.env = append(m.env, "HOME="+m.dir, "XDG_CACHE_HOME="+m.dir, "XDG_CONFIG_HOME="+m.dir)
	return m
}

// does runs a command that is to end with a code.
func (m computer) does(t *testing.T, code int, args ...string) ran {
	t.Helper()
	r := runStetl(t, m.env, append(args, "--config", m.config)...)
	if r.code != code {
		t.Fatalf("%v: exit %d, want %d\n%.3000s\n%.3000s", args, r.code, code, r.stdout, r.stderr)
	}
	return r
}

// runs runs, and returns what became of the accounts.
func (m computer) runs(t *testing.T) runReport {
	t.Helper()
	return runStetl(t, m.env, "run", "--json", "--config", m.config).report(t)
}

// A run on one machine, with the journal in PostgreSQL, is known on another one: what reads a
// journal, and what takes back, works there with the address and the secret alone.
func TestJournalFromAnyMachine(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "needs PostgreSQL")
	raw, err := os.ReadFile("../../configs/own-tables.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dump, err := filepath.Abs(fixture.Dump(t, "core-9.3.0"))
	if err != nil {
		t.Fatal(err)
	}
	server := postgres.Start(t)
	app, shared := server.CreateDatabase(t, postgres.Database{}), server.CreateDatabase(t, postgres.Database{})
	postgres.Exec(t, app, commented(t, string(raw)))
	text := strings.Replace(string(raw), "url: ${env:SUPERTOKENS_DATABASE_URL}", "dump: "+dump, 1)
	const address, key = "STETL_JOURNAL_URL", "STETL_JOURNAL_KEY=bm90IGEgc2VjcmV0LCBvbmx5IGZvciB0ZXN0cyBvZiBzdGV0bA=="
	config := text + "\njournal: ${env:" + address + "}\n"
	env := []string{"APP_DATABASE_URL=" + app, address + "=" + shared}
	people := func() int { return postgres.Value[int](t, app, `SELECT count(*) FROM people`) }

	keyless := newComputer(t, config, env...)
	keyless.env = append(keyless.env, "STETL_JOURNAL_KEY=")
	if r := keyless.does(t, exitRefused, "run"); !strings.Contains(r.stderr, "journal.key") || !strings.Contains(r.stderr, "openssl rand -base64 32") {
		t.Errorf("without a key: %s", r.stderr)
	}
	a, b := newComputer(t, config, append(env, key)...), newComputer(t, config, append(env, key)...)
	if r := b.does(t, exitRefused, "report"); !strings.Contains(r.stderr, "no run has been made yet") {
		t.Errorf("before any run: %s", r.stderr)
	}
	loaded := a.runs(t).Summary
	if loaded.Created == 0 || people() != loaded.Created {
		t.Fatalf("%+v, and %d people", loaded, people())
	}
	stranger := newComputer(t, config, append(env, strings.Replace(key, "bm90", "b3Ro", 1))...)
	if r := stranger.does(t, exitRefused, "report"); !strings.Contains(r.stderr, "another journal_key") {
		t.Errorf("with another key: %s", r.stderr)
	}

	if r := b.does(t, exitDone, "report"); !strings.Contains(r.stdout, "Run 1, done") {
		t.Errorf("report: %s", r.stdout)
	}
	ids := strings.Split(strings.TrimSpace(b.does(t, exitDone, "idmap").stdout), "\n")
	if len(ids) != loaded.Created+1 {
		t.Errorf("idmap: %d lines for %d accounts", len(ids), loaded.Created)
	}
	one, _, _ := strings.Cut(ids[1], ",")
	if r := b.does(t, exitDone, "explain", one, "--json"); !strings.Contains(r.stdout, `"outcome":"created","origin":"made","run":1`) {
		t.Errorf("explain: %s", r.stdout)
	}
	b.does(t, exitDone, "rejects")
	b.does(t, exitDone, "verify", "--json")
	if again := b.runs(t).Summary; again.Created+again.Updated != 0 || again.Unchanged != loaded.Created {
		t.Errorf("a second run, on the other machine: %+v after %+v", again, loaded)
	}

	// Into a folder, and back into another database.
	folder, copied := filepath.Join(b.dir, "folder"), server.CreateDatabase(t, postgres.Database{})
	b.env = append(b.env, "COPY_URL="+copied)
	for _, args := range [][]string{{"--from", "env:" + address, "--to", folder}, {"--from", folder, "--to", "env:COPY_URL"}} {
		if r := runStetl(t, b.env, append([]string{"journal", "copy"}, args...)...); r.code != exitDone || !strings.Contains(r.stdout, "and 2 runs of 1 pairs") {
			t.Fatalf("copy %v: exit %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	if r := runStetl(t, b.env, "journal", "copy", "--from", folder, "--to", "env:COPY_URL"); r.code != exitRefused || !strings.Contains(r.stderr, "not empty") {
		t.Errorf("a second copy: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := runStetl(t, b.env, "journal", "copy", "--from", folder, "--to", copied); r.code != exitUsage || strings.Contains(r.stderr, copied) {
		t.Errorf("an address on the command line: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	for _, place := range []string{folder, "${env:COPY_URL}"} {
		c := newComputer(t, text+"\njournal: "+place+"\n", append(env, key, "COPY_URL="+copied)...)
		if again := c.runs(t).Summary; again.Created+again.Updated != 0 || again.Unchanged != loaded.Created {
			t.Errorf("with the copy in %s: %+v", place, again)
		}
	}

	b.does(t, exitDone, "undo", "--yes")
	if n := people(); n != 0 {
		t.Errorf("after undo on the other machine: %d people", n)
	}
	err = filepath.WalkDir(a.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(path, "postgres:") || d != nil && d.Name() == "journal.db" {
			t.Errorf("there is %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
