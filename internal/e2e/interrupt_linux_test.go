package e2e_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// directory is a small SCIM service whose creations a test can hold.
type directory struct {
	*httptest.Server

	mu      sync.Mutex
	users   map[string]map[string]any // by id
	created int
	changed int
	// arrived tells of creations that wait, and held lets them go when it is closed;
	// both are nil when none waits.
	arrived, held chan struct{}
}

func newDirectory(t *testing.T) *directory {
	t.Helper()
	d := &directory{users: map[string]map[string]any{}}
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, status int, body any) {
		w.Header().Set("Content-Type", "application/scim+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	mux.HandleFunc("GET /Users", func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		all := []any{}
		for _, u := range d.users {
			all = append(all, u)
		}
		reply(w, 200, map[string]any{"totalResults": len(all), "startIndex": 1, "itemsPerPage": len(all), "Resources": all})
	})
	mux.HandleFunc("POST /Users", func(w http.ResponseWriter, r *http.Request) {
		var u map[string]any
		if err := json.NewDecoder(r.Body).Decode(&u); err != nil {
			reply(w, 400, nil)
			return
		}
		d.mu.Lock()
		arrived, held := d.arrived, d.held
		d.mu.Unlock()
		if held != nil {
			select {
			case arrived <- struct{}{}:
			default:
			}
			<-held
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.created++
		u["id"] = fmt.Sprintf("id-%d", d.created)
		d.users[u["id"].(string)] = u
		reply(w, 201, u)
	})
	mux.HandleFunc("GET /Users/{id}", func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if u := d.users[r.PathValue("id")]; u != nil {
			reply(w, 200, u)
			return
		}
		reply(w, 404, nil)
	})
	mux.HandleFunc("PUT /Users/{id}", func(w http.ResponseWriter, r *http.Request) {
		var u map[string]any
		if err := json.NewDecoder(r.Body).Decode(&u); err != nil {
			reply(w, 400, nil)
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.changed++
		u["id"] = r.PathValue("id")
		d.users[r.PathValue("id")] = u
		reply(w, 200, u)
	})
	d.Server = httptest.NewServer(mux)
	t.Cleanup(d.Close)
	return d
}

// hold lets creations wait, and returns what tells of the first one and what ends it.
func (d *directory) hold() (arrived <-chan struct{}, release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	held := make(chan struct{})
	d.arrived, d.held = make(chan struct{}, 1), held
	return d.arrived, sync.OnceFunc(func() {
		d.mu.Lock()
		d.arrived, d.held = nil, nil
		d.mu.Unlock()
		close(held)
	})
}

// once checks that every person is in the directory, and none twice.
func (d *directory) once(t *testing.T, people int) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	names := map[any]bool{}
	for _, u := range d.users {
		names[u["externalId"]] = true
	}
	if len(names) != people || len(d.users) != people {
		t.Errorf("%d accounts of %d people in the directory, there are %d", len(d.users), len(names), people)
	}
}

// inDirectory is how many people of the source the directory takes.
const inDirectory = 104

func (d *directory) config(t *testing.T, more string) string {
	t.Helper()
	dump, err := filepath.Abs(filepath.Join(fixtures, "core-3.3.0.sql"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "c.yaml")
	d.rewrite(t, path, dump, more)
	return path
}

func (d *directory) rewrite(t *testing.T, path, dump, more string) {
	t.Helper()
	writeFile(t, path, `
source: {dump: "`+dump+`"}
target:
  plugin: generic-scim
  config: {url: "`+d.URL+`", auth: {type: none}, lookup: index, bulk: off, patch: off, etag: off, parallel: 4}
policies: {skip: [map.duplicate_username]}
`+more)
}

// begin starts a run; its standard error comes line by line.
func begin(t *testing.T, config string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := command(t.Context(), t, nil, "run", "--config", config, "-q")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // where the test has failed
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewScanner(stderr)
}

// rest has another run load who is not there yet, and nobody twice.
func (d *directory) rest(t *testing.T, config string) {
	t.Helper()
	if again := runStetl(t, nil, "run", "--config", config); again.code != 0 {
		t.Errorf("the next run: exit %d\n%s", again.code, again.stderr)
	}
	d.once(t, inDirectory)
}

func accountsByOutcome(t *testing.T, config string) map[string]int {
	t.Helper()
	r := runStetl(t, nil, "report", "--config", config, "--json")
	var got struct{ Accounts map[string]int }
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
	}
	return got.Accounts
}

// The first signal has what is on its way finished and remembered, and the run goes on
// from there. While it is at work, no other run is.
func TestFirstSignalStopsSoftly(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "waits for signals")
	d := newDirectory(t)
	config := d.config(t, "")
	arrived, release := d.hold()
	defer release()
	cmd, said := begin(t, config)
	<-arrived
	if second := runStetl(t, nil, "run", "--config", config); second.code != exitRefused || !strings.Contains(second.stderr, "another run is using this journal") || !strings.Contains(second.stderr, fmt.Sprintf("process %d ", cmd.Process.Pid)) {
		t.Errorf("a second run: exit %d, %s", second.code, second.stderr)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if !said.Scan() || !strings.Contains(said.Text(), "finishing the requests that are under way") {
		t.Errorf("said: %s", said.Text())
	}
	release() // only now, as the signal has arrived
	rest := ""
	for said.Scan() {
		rest += said.Text() + "\n"
	}
	err := cmd.Wait()
	if cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("it ended with %v\n%s", err, rest)
	}
	after := accountsByOutcome(t, config)
	if d.created == 0 || after["created"] != d.created || after["in_doubt"] > 0 {
		t.Errorf("%d accounts were created, the journal has %v", d.created, after)
	}
	d.rest(t, config)
}

// The second signal ends it at once, whatever the target does, and the next run looks
// up what was on its way.
func TestSecondSignalEndsItAtOnce(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "waits for signals")
	d := newDirectory(t)
	config := d.config(t, "")
	arrived, release := d.hold()
	defer release()
	cmd, said := begin(t, config)
	<-arrived
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	said.Scan()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", err)
	}
	release()
	if plan := runStetl(t, nil, "plan", "--config", config, "--json"); plan.report(t).Summary.InDoubt+plan.report(t).Summary.Unchanged == 0 {
		t.Errorf("a plan knows nothing of what was on its way: %+v", plan.report(t).Summary)
	}
	d.rest(t, config)
}

// Another mapping has every account compared, and only those written that differ: a
// limit on updates does not count the others.
func TestOtherMappingComparesEverybody(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "makes several runs")
	d := newDirectory(t)
	config := d.config(t, "")
	if r := runStetl(t, nil, "run", "--config", config); r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, string(raw)+`
limits: {updates: 1}
mapping: {set: {given_name: {cel: 'email == "chidi.okafor2557@users.example.net" ? "Chidi" : given_name'}}}
`)
	r := runStetl(t, nil, "run", "--config", config, "--json")
	if s := r.report(t).Summary; r.code != 0 || s.Updated != 1 || s.Unchanged != inDirectory-1 || d.changed != 1 {
		t.Errorf("exit %d, %+v, %d written\n%s", r.code, s, d.changed, r.stderr)
	}
}

// A disk that is full when outcomes or the reasons of rejects are written stops the run,
// which says so, and goes on when there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "makes several runs")
	for _, table := range []string{"account", "reason", "payload"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			d := newDirectory(t)
			config := d.config(t, "rejects: {recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]}\n")
			if r := runStetl(t, nil, "run", "--config", config, "--user", "nobody"); r.code != exitUsage { // makes the journal
				t.Fatalf("exit %d\n%s", r.code, r.stderr)
			}
			on := func(query string) {
				t.Helper()
				db, err := sqlite.OpenConn(filepath.Join(filepath.Dir(config), ".stetl", "journal.db"), sqlite.OpenReadWrite)
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(sqlitex.ExecuteTransient(db, query, nil), db.Close()); err != nil {
					t.Fatal(err)
				}
			}
			on("CREATE TRIGGER full BEFORE INSERT ON " + table + " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END")
			r := runStetl(t, nil, "run", "--config", config)
			if r.code != exitRefused || !strings.Contains(r.stderr, "database or disk is full") {
				t.Errorf("exit %d\n%s", r.code, r.stderr)
			}
			on("DROP TRIGGER full")
			d.rest(t, config)
			list := runStetl(t, nil, "rejects", "--config", config)
			var one report.Reject
			if err := json.Unmarshal([]byte(strings.SplitAfter(list.stdout, "\n")[0]), &one); err != nil || one.Detail == "" || one.PayloadOf != report.OfRejection {
				t.Errorf("%+v, %v", one, err)
			}
		})
	}
	// The list itself, too.
	d := newDirectory(t)
	config := d.config(t, "")
	if r := runStetl(t, nil, "run", "--config", config); r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }()
	cmd := command(t.Context(), t, nil, "rejects", "--config", config)
	cmd.Stdout = full
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Run(); err == nil || !strings.Contains(said.String(), "no space left") {
		t.Errorf("the list on a full disk: %v, %s", err, said.String())
	}
}
