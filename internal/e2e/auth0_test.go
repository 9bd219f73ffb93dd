package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/engine"
	auth0 "github.com/stetl/stetl/internal/testserver/auth0"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// auth0Config writes a configuration for a tenant and returns it with the
// environment of the command.
func auth0Config(t *testing.T, server *auth0.Server, dump, more string) (config string, env []string) {
	t.Helper()
	dump, err := filepath.Abs(filepath.Join(fixtures, dump))
	if err != nil {
		t.Fatal(err)
	}
	config = filepath.Join(t.TempDir(), "auth0.yaml")
	writeFile(t, config, `
source: {dump: "${env:DUMP}"}
target:
  plugin: auth0
  config:
    domain: tenant.eu.auth0.test
    api_url: "${env:API_URL}"
    client_id: stetl
    client_secret: "${env:SECRET}"
    connection: Username-Password-Authentication
    poll_interval: 100ms
`+more)
	return config, []string{"DUMP=" + dump, "API_URL=" + server.URL, "SECRET=client-secret-of-the-tenant"}
}

// movable says what becomes of an account of a fixture: carried with its password,
// deferred, or neither.
func movable(a *account) bool {
	format, _ := carried(a)
	return slices.Contains([]string{"bcrypt", "argon2id", "argon2i"}, format)
}

// carried is the hash of an account that moves, as Auth0 takes it: it knows bcrypt's
// other labels by no name of theirs.
func carried(a *account) (format, hash string) {
	best := -1
	for i, l := range a.Logins {
		if l.Hash != nil && (best < 0 || l.RecipeUserID == a.InternalID) {
			best = i
		}
	}
	if best < 0 {
		return "", ""
	}
	return a.Logins[best].Format, strings.NewReplacer("$2y$", "$2b$", "$2x$", "$2a$").Replace(*a.Logins[best].Hash)
}

// TestAuth0 moves every fixture into a tenant: outcomes, passwords, and that a second
// run uploads nothing.
func TestAuth0(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "moves every fixture")
	dumps, err := filepath.Glob(filepath.Join(fixtures, "*.sql"))
	if err != nil || len(dumps) < 10 {
		t.Fatalf("%v, %v", dumps, err)
	}
	for _, dump := range dumps {
		fixture := strings.TrimSuffix(filepath.Base(dump), ".sql")
		t.Run(fixture, func(t *testing.T) {
			t.Parallel()
			server := auth0.Start(t, auth0.Options{})
			more := ""
			if canary := fixture == "core-9.3.0"; canary {
				more = "    canary_client_id: stetl\n    canary_client_secret: \"${env:SECRET}\"\n"
			}
			config, env := auth0Config(t, server, fixture+".sql", more)
			planned := runStetl(t, env, "run", "--config", config, "--dry-run", "--json").report(t)
			if n := server.Writes(); n != 0 {
				t.Errorf("the dry run made %d writes", n)
			}
			first := runStetl(t, env, "run", "--config", config, "--json")
			loaded := first.report(t)
			if loaded.Summary != planned.Summary {
				t.Errorf("the run did %+v, the dry run said %+v", loaded.Summary, planned.Summary)
			}
			if len(loaded.Canaries) == 0 || slices.ContainsFunc(loaded.Canaries, func(p engine.Proof) bool { return p.Proven != (more != "") || p.Unasked != (more == "") }) {
				t.Errorf("canaries: %+v", loaded.Canaries)
			}
			accounts := readAccounts(t, fixture)
			if s := loaded.Summary; s.Read != len(accounts) || s.Accounted() != len(accounts) || s.InDoubt > 0 {
				t.Errorf("exit %d, summary %+v, the record has %d accounts\n%s", first.code, s, len(accounts), first.stderr)
			}
			checkAuth0(t, server, accounts, loaded)
			imports := server.Imports()
			again := runStetl(t, env, "run", "--config", config, "--json").report(t)
			if again.Summary.Created != 0 || again.Summary.Unchanged != loaded.Summary.Created || (more == "" && server.Imports() != imports) {
				t.Errorf("the second run did %+v after %+v with %d jobs", again.Summary, loaded.Summary, server.Imports()-imports)
			}
			if r := runStetl(t, env, "verify", "--config", config, "--json"); r.code != exitDone {
				t.Errorf("verify: exit %d\n%.3000s\n%s", r.code, r.stdout, r.stderr)
			}
			if r := runStetl(t, env, "undo", "--config", config, "--yes", "--json"); r.code != exitDone || len(server.Users()) != 0 {
				t.Errorf("undo: exit %d, %d users left\n%s\n%s", r.code, len(server.Users()), r.stdout, r.stderr)
			}
		})
	}
}

// checkAuth0 compares a tenant with a fixture's record.
func checkAuth0(t *testing.T, server *auth0.Server, accounts []account, loaded runReport) {
	t.Helper()
	users := server.Users()
	if len(users) != loaded.Summary.Created {
		t.Errorf("%d users in the tenant, %d were created", len(users), loaded.Summary.Created)
	}
	reasons := map[string]string{}
	for _, c := range loaded.Changes {
		reasons[c.SourceID] = string(c.Code)
	}
	const most = 1 // of a kind; what the tenant has stored is compared for all
	tried := map[string]int{}
	var verifying errgroup.Group
	verifying.SetLimit(runtime.GOMAXPROCS(0))
	for i := range accounts {
		a := &accounts[i]
		id := "auth0|" + strings.TrimPrefix(a.VisibleID, "auth0|") // some applications came from Auth0 before
		_, there := users[id]
		reason := reasons[a.InternalID]
		switch {
		case movable(a) && !there && !slices.Contains([]string{"map.duplicate_username", "map.duplicate_email", "load.id_invalid", "load.email_missing", "load.email_invalid", "load.email_conflict"}, reason):
			t.Errorf("account %s is not there: %s", a.InternalID, reason)
		case !movable(a) && there:
			t.Errorf("account %s is there without its password", a.InternalID)
		case !there && reason == "":
			t.Errorf("account %s is neither there nor explained", a.InternalID)
		case there && reason != "":
			t.Errorf("account %s is there and was said to be %s", a.InternalID, reason)
		}
		format, hash := carried(a)
		if !there {
			continue
		}
		if got := server.StoredHash(id); got != hash {
			t.Errorf("account %s: its hash has become %q", a.InternalID, got)
		}
		password, known := a.password()
		if !known {
			tried["whose text is not recorded"]++
			continue
		}
		if tried[format]++; tried[format] > most {
			continue
		}
		wrong := tried[format] == 1
		verifying.Go(func() error {
			if wrong && server.VerifyPassword(id, "x"+password) || !server.VerifyPassword(id, password) {
				t.Errorf("account %s: the old password does not work, or another one does", a.InternalID)
			}
			return nil
		})
	}
	_ = verifying.Wait() // it only reports
	for _, j := range server.Jobs() {
		if err := auth0.ValidateFile(j.Raw); err != nil || j.Mail || j.Size > 500_000 {
			t.Errorf("job %s with %d bytes, mail %v: %v", j.ID, j.Size, j.Mail, err)
		}
	}
	if n := server.MostActive(); n > 2 {
		t.Errorf("%d jobs at once", n)
	}
	t.Logf("%d created, hashes compared: %v, passwords tried of each: %d at most", loaded.Summary.Created, tried, most)
}

// TestAuth0Crash kills host and plugin at many moments of a run; the runs after that
// leave every user there once.
func TestAuth0Crash(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "kills runs")
	server := auth0.Start(t, auth0.Options{JobTime: func(int) time.Duration { return 400 * time.Millisecond }})
	config, env := auth0Config(t, server, "core-10.1.4.sql", "")
	for n := range 16 {
		if !killStetl(t, env, time.Duration(150+120*n)*time.Millisecond, "run", "--config", config, "--json") {
			break // it was done before
		}
	}
	last := runStetl(t, env, "run", "--config", config, "--json").report(t)
	want := last.Summary.Created + last.Summary.Unchanged
	if users := server.Users(); len(users) != want || last.Summary.InDoubt != 0 || want < 70 {
		t.Errorf("%d users in the tenant, the last run did %+v", len(users), last.Summary)
	}
	seen := map[string]bool{}
	for _, u := range server.Users() {
		if seen[u.Email] || strings.HasPrefix(u.Email, "stetl-canary") {
			t.Errorf("user %s is there twice or should not be", u.ID)
		}
		seen[u.Email] = true
	}
	if r := runStetl(t, env, "verify", "--config", config, "--json"); r.code != exitDone {
		t.Errorf("verify: exit %d\n%.3000s", r.code, r.stdout)
	}
}

// TestAuth0LostJournal: the journal is gone, and at the source two people have changed
// their passwords since. Nobody is taken for equal of whom nobody can tell, and taking over
// brings the new passwords.
func TestAuth0LostJournal(t *testing.T) {
	t.Parallel()
	const fixture = "core-10.1.4"
	server := auth0.Start(t, auth0.Options{})
	config, env := auth0Config(t, server, fixture+".sql", "")
	created := runStetl(t, env, "run", "--config", config, "--json").report(t).Summary.Created
	if err := os.RemoveAll(filepath.Join(filepath.Dir(config), ".stetl")); err != nil {
		t.Fatal(err)
	}
	dump, err := os.ReadFile(strings.TrimPrefix(env[0], "DUMP="))
	if err != nil {
		t.Fatal(err)
	}
	var hashes []string // of the shape that an import can replace
	changed := map[string]string{}
	accounts := readAccounts(t, fixture)
	for i := range accounts {
		format, hash := carried(&accounts[i])
		if format == "bcrypt" && strings.HasPrefix(hash, "$2a$") && !strings.HasPrefix(hash, "$2a$10$") && strings.Count(string(dump), hash) == 1 {
			if hashes = append(hashes, hash); len(hashes) == 2 {
				break
			}
			changed["auth0|"+accounts[i].VisibleID] = ""
		}
	}
	if len(hashes) < 2 {
		t.Fatal("the fixture has no two such hashes")
	}
	for id := range changed {
		changed[id] = hashes[1]
	}
	writeFile(t, filepath.Join(filepath.Dir(config), "dump.sql"), strings.Replace(string(dump), hashes[0], hashes[1], 1))
	env[0] = "DUMP=" + filepath.Join(filepath.Dir(config), "dump.sql")
	check := func(what string, r ran, unchanged, updated, unread int) {
		t.Helper()
		var result struct {
			Summary struct{ Unchanged, Updated int } `json:"summary"`
			Match   int                              `json:"match"`
			Unread  int                              `json:"unread"`
		}
		if err := json.Unmarshal([]byte(r.stdout), &result); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, r.stderr)
		}
		if s := result.Summary; max(s.Unchanged, result.Match) != unchanged || s.Updated != updated || result.Unread != unread {
			t.Errorf("%s: %d unchanged, %d match, %d updated, %d of whom nobody can tell; want %d, %d, %d", what, s.Unchanged, result.Match, s.Updated, result.Unread, unchanged, updated, unread)
		}
	}
	check("the run after", runStetl(t, env, "run", "--config", config, "--json"), created, 0, created)
	check("verify", runStetl(t, env, "verify", "--config", config, "--json"), 0, 0, created)
	for id, hash := range changed {
		if server.StoredHash(id) == hash {
			t.Errorf("the password of %s was sent to an account that is not to be taken over", id)
		}
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, string(text)+"policies: {existing: adopt}\n")
	jobs := server.Imports()
	r := runStetl(t, env, "run", "--config", config, "--json")
	if s := r.report(t).Summary; s.Updated < created/2 || s.Updated+s.Unchanged != created || server.Imports()-jobs > 3 {
		t.Errorf("taking over: exit %d, %+v, %d jobs", r.code, s, server.Imports()-jobs)
	}
	for id, hash := range changed {
		if got := server.StoredHash(id); got != hash {
			t.Errorf("the password of %s has not arrived", id)
		}
	}
}

// TestAuth0ReadOnly: a plan needs a token that may read, and a run says what it lacks. The
// tenant in another spelling is no other target.
func TestAuth0ReadOnly(t *testing.T) {
	t.Parallel()
	server := auth0.Start(t, auth0.Options{Scopes: []string{"read:users", "read:connections"}})
	config, env := auth0Config(t, server, "core-3.3.0.sql", "")
	if r := runStetl(t, env, "run", "--config", config, "--dry-run", "--json"); r.report(t).Summary.Created == 0 || server.Writes() != 0 {
		t.Errorf("plan: exit %d, %d writes\n%s", r.code, server.Writes(), r.stderr)
	}
	if r := runStetl(t, env, "run", "--config", config); r.code != exitRefused && r.code != exitUsage || !strings.Contains(r.stdout+r.stderr, "create:users read:users update:users") {
		t.Errorf("run: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	server = auth0.Start(t, auth0.Options{})
	config, env = auth0Config(t, server, "core-3.3.0.sql", "")
	first := runStetl(t, env, "run", "--config", config, "--json").report(t).Summary
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, strings.NewReplacer("domain: tenant", "domain: https://Tenant", "api_url: \"${env:API_URL}\"", "api_url: \"${env:API_URL}/\"").Replace(string(text)))
	if again := runStetl(t, env, "run", "--config", config, "--json").report(t).Summary; again.Unchanged != first.Created || again.Created > 0 {
		t.Errorf("in another spelling: %+v after %+v", again, first)
	}
	if r := runStetl(t, env, "undo", "--config", config, "--yes", "--json"); r.code != exitDone || len(server.Users()) != 0 {
		t.Errorf("undo in another spelling: exit %d, %d users left", r.code, len(server.Users()))
	}
}

// TestAuth0Files: what mode files writes is what the endpoint takes.
func TestAuth0Files(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dump, err := filepath.Abs(filepath.Join(fixtures, "core-10.1.4.dump"))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "files.yaml")
	writeFile(t, config, "source: {dump: \"${env:DUMP}\"}\ntarget: {plugin: auth0, config: {mode: files, out: ./out}}\n")
	loaded := runStetl(t, []string{"DUMP=" + dump}, "run", "--config", config, "--json").report(t)
	if loaded.Summary.Created < 70 {
		t.Errorf("%+v", loaded.Summary)
	}
	content, err := os.ReadFile(filepath.Join(dir, "out", "users-00001.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := auth0.ValidateFile(content); err != nil {
		t.Error(err)
	}
	if n := strings.Count(string(content), `"user_id":"`); n < loaded.Summary.Created {
		t.Errorf("%d users in the file, %d were written", n, loaded.Summary.Created)
	}
}

// TestAuth0Example runs the example as it is, but for where it reads from and that the
// tenant is a model.
func TestAuth0Example(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "makes several runs")
	example, err := os.ReadFile("../../configs/auth0.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dump, err := filepath.Abs(filepath.Join(fixtures, "core-3.3.0.sql"))
	if err != nil {
		t.Fatal(err)
	}
	server := auth0.Start(t, auth0.Options{})
	text := strings.Replace(string(example), "url: ${env:SUPERTOKENS_DATABASE_URL}", "dump: "+dump, 1)
	text = strings.Replace(text, "    client_id:", "    api_url: "+server.URL+"\n    client_id:", 1)
	config := filepath.Join(t.TempDir(), "auth0.yaml")
	writeFile(t, config, text)
	env := []string{"AUTH0_DOMAIN=tenant.eu.auth0.test", "AUTH0_CLIENT_ID=stetl", "AUTH0_CLIENT_SECRET=client-secret-of-the-tenant"}
	r := runStetl(t, env, "run", "--config", config, "--json")
	if s := r.report(t).Summary; s.Created == 0 || len(server.Users()) != s.Created {
		t.Errorf("exit %d, %+v, %d users\n%s", r.code, s, len(server.Users()), r.stderr)
	}
	side, err := os.ReadFile(filepath.Join(filepath.Dir(config), "auth0-deferred.jsonl"))
	if err != nil || !strings.Contains(string(side), `"provider":`) {
		t.Errorf("the side file: %v\n%.300s", err, side)
	}
	// The same file in its other mode.
	text = strings.NewReplacer("# mode: files", "mode: files", "# out: ./out/auth0", "out: ./out").Replace(text)
	writeFile(t, config, text)
	if s := runStetl(t, env, "run", "--config", config, "--json").report(t).Summary; s.Created == 0 {
		t.Errorf("files: %+v", s)
	}
}

// killStetl ends a command without a warning after some time; false when it was
// over before.
func killStetl(t *testing.T, env []string, after time.Duration, args ...string) bool {
	t.Helper()
	cmd := command(t.Context(), t, env, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // killed or not, see below
	return !timer.Stop()
}
