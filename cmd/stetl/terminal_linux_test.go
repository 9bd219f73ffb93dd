package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stetl/stetl/internal/testserver/pty"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// live writes a configuration of a target that is live, and files one that is not.
func onTerminal(t *testing.T, target string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	dump, err := filepath.Abs("../../testdata/supertokens/core-10.1.4.sql")
	if err != nil {
		t.Fatal(err)
	}
	text := "source: {dump: \"" + dump + "\", app: public}\ntarget: " + target + "\n"
	if err := os.WriteFile(filepath.Join(dir, configName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func liveTarget(t *testing.T) string {
	t.Helper()
	acme, err := exec.LookPath("stetl-plugin-acme")
	if err != nil {
		t.Fatal(err)
	}
	return `{plugin: acme, path: "` + acme + `", config: {dir: ./people}}`
}

const filesTarget = `{plugin: keycloak, config: {mode: files, realm: r, out: ./out}}`

func stetlIn(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "stetl", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	return cmd
}

func accountsIn(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "people", "accounts", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// A person is asked before the first write of a first run, and nobody else ever is.
func TestFirstRunAsks(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "makes several runs")
	const question = "Write to the target? [y/N]"
	dir := onTerminal(t, liveTarget(t))

	p := pty.Start(t, 80, stetlIn(t, dir, "run"))
	p.Expect(question)
	if n := accountsIn(t, dir); n != 0 {
		t.Errorf("%d accounts were written before the answer", n)
	}
	p.Type("n\n")
	if code := p.Wait(); code != exitUsage || accountsIn(t, dir) != 0 || !strings.Contains(p.Text(), "nothing was done") {
		t.Errorf("no: exit %d, %d accounts\n%s", code, accountsIn(t, dir), p.Text())
	}

	p = pty.Start(t, 80, stetlIn(t, dir, "run", "--dry-run"))
	if code := p.Wait(); code != exitRejects || strings.Contains(p.Text(), question) {
		t.Errorf("a dry run: exit %d\n%s", code, p.Text())
	}

	p = pty.Start(t, 80, stetlIn(t, dir, "run"))
	p.Expect(question)
	p.Type("y\n")
	if code := p.Wait(); code != exitRejects || accountsIn(t, dir) == 0 {
		t.Errorf("yes: exit %d, %d accounts\n%s", code, accountsIn(t, dir), p.Text())
	}

	p = pty.Start(t, 80, stetlIn(t, dir, "run"))
	if code := p.Wait(); code != exitRejects || strings.Contains(p.Text(), question) {
		t.Errorf("a second run: exit %d\n%s", code, p.Text())
	}

	p = pty.Start(t, 80, stetlIn(t, onTerminal(t, liveTarget(t)), "run", "--yes"))
	if code := p.Wait(); code != exitRejects || strings.Contains(p.Text(), question) {
		t.Errorf("--yes: exit %d\n%s", code, p.Text())
	}

	p = pty.Start(t, 80, stetlIn(t, onTerminal(t, filesTarget), "run"))
	if code := p.Wait(); code != exitRejects || strings.Contains(p.Text(), question) {
		t.Errorf("files: exit %d\n%s", code, p.Text())
	}

	// One of the two streams is a script's.
	for name, change := range map[string]func(*exec.Cmd){
		"standard input": func(c *exec.Cmd) { c.Stdin = strings.NewReader("") },
		"standard error": func(c *exec.Cmd) { c.Stderr = &strings.Builder{} },
	} {
		dir := onTerminal(t, liveTarget(t))
		cmd := stetlIn(t, dir, "run")
		change(cmd)
		p := pty.Start(t, 80, cmd)
		if code := p.Wait(); code != exitRejects || accountsIn(t, dir) == 0 || strings.Contains(p.Text(), question) {
			t.Errorf("%s is no terminal: exit %d\n%s", name, code, p.Text())
		}
	}
}

// On a terminal init asks what --set would say, never for a secret, and an empty line
// takes what is in brackets.
func TestInitAsks(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "starts a plugin")
	dump, err := filepath.Abs("../../testdata/supertokens/core-10.1.4.sql")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := pty.Start(t, 80, stetlIn(t, dir, "init", "--dump", dump))
	for _, dialogue := range [][2]string{
		{"Where do the users go? One of auth0, generic-scim, generic-sql, keycloak", "keycloak"},
		{"Realm: name of the realm that receives the users\n  [${env:KEYCLOAK_REALM}]\n  > ", "customers: eu"},
		{"Address of Keycloak: base URL of the server", ""},
		{"Client: confidential client whose service account has manage-realm,\nmanage-users, view-users", "stetl"},
	} {
		p.Expect(dialogue[0])
		p.Type(dialogue[1] + "\n")
	}
	code := p.Wait()
	text, err := os.ReadFile(filepath.Join(dir, configName))
	if err != nil || code != exitDone {
		t.Fatalf("exit %d, %v\n%s", code, err, p.Text())
	}
	for _, want := range []string{
		"\n    realm: \"customers: eu\"\n", "\n    url: ${env:KEYCLOAK_URL}\n", "\n    client_id: stetl\n", "\n    client_secret: ${env:KEYCLOAK_CLIENT_SECRET}\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the file lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(p.Text(), "Secret of the client") || strings.Contains(p.Text(), "live: ") {
		t.Errorf("asked for a secret, or said what only the program reads:\n%s", p.Text())
	}
	for _, want := range []string{"wrote stetl.yaml", "export KEYCLOAK_URL=…", "export KEYCLOAK_CLIENT_SECRET=…"} {
		if !strings.Contains(p.Text(), want) {
			t.Errorf("not shown: %q\n%s", want, p.Text())
		}
	}

	// Who has answered with flags is asked for nothing else but what is left.
	p = pty.Start(t, 80, stetlIn(t, dir, "init", "--dump", dump, "--target", "keycloak", "--set", "mode=files", "--set", "realm=customers", "--out", "files.yaml"))
	p.Expect("Folder: folder to write\n  [${env:KEYCLOAK_OUT}]\n  > ")
	p.Type("./out\n")
	if code := p.Wait(); code != exitDone || strings.Contains(p.Text(), "Realm:") || !strings.Contains(p.Text(), "stetl check accepts it. Next: stetl run --dry-run -c files.yaml") {
		t.Errorf("exit %d\n%s", code, p.Text())
	}

	// A file that is there is not asked about, and stays.
	p = pty.Start(t, 80, stetlIn(t, dir, "init", "--dump", dump))
	if code := p.Wait(); code != exitUsage || !strings.Contains(p.Text(), "--force replaces it") {
		t.Errorf("exit %d\n%s", code, p.Text())
	}
	if again, err := os.ReadFile(filepath.Join(dir, configName)); err != nil || string(again) != string(text) {
		t.Errorf("the file was changed: %v", err)
	}
}

var escapes = regexp.MustCompile("\r?\x1b\\[[0-9;]*[A-Za-z]")

// What commands print fits terminals of 80 and of 200 columns.
func TestReportsFitTheTerminal(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "makes several runs")
	dir := onTerminal(t, liveTarget(t))
	if r := stetlIn(t, dir, "run", "-q"); r.Run() == nil {
		t.Fatal("this fixture has rejects")
	}
	for _, columns := range []uint16{80, 200} {
		for _, args := range [][]string{
			{"inspect"},
			{"inspect", "--list"},
			{"check"},
			{"plan"},
			{"plan", "--full", "--detail", "users"},
			{"run", "-q"},
			{"verify"},
			{"report"},
			{"explain", "anna.kovacs7311@users.example.net"},
			{"explain", "load.exists_differs"},
			{"plugin", "list"},
			{"--help"},
		} {
			p := pty.Start(t, columns, stetlIn(t, dir, args...))
			code := p.Wait()
			if code != exitDone && code != exitRejects && code != exitDifferences {
				t.Errorf("%v: exit %d\n%s", args, code, p.Text())
			}
			for line := range strings.Lines(escapes.ReplaceAllString(p.Text(), "")) {
				line = strings.TrimRight(line, "\n")
				// A word that is longer cannot be helped.
				if n := utf8.RuneCountInString(line); n > int(columns) && strings.Contains(strings.TrimSpace(line), " ") {
					t.Errorf("%v has a line of %d columns at %d: %s", args, n, columns, line)
				}
			}
		}
	}
}

// Colours are for terminals, and go when they are not wanted.
func TestColours(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "starts terminals")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configName), []byte("source: {dump: no.sql}\ntarget: {plugin: keycloak, config: {mode: files, relm: r}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args, env []string
		want      bool
	}{
		"a terminal":   {nil, nil, true},
		"--no-color":   {[]string{"--no-color"}, nil, false},
		"NO_COLOR":     {nil, []string{"NO_COLOR=1"}, false},
		"a dumb one":   {nil, []string{"TERM=dumb"}, false},
		"json records": {[]string{"--log-format", "json"}, nil, false},
	} {
		cmd := stetlIn(t, dir, append([]string{"check"}, tt.args...)...)
		cmd.Env = append(cmd.Env, tt.env...)
		p := pty.Start(t, 80, cmd)
		if code := p.Wait(); code != exitUsage || strings.Contains(p.Text(), "\x1b[1;31m") != tt.want {
			t.Errorf("%s: exit %d\n%q", name, code, p.Text())
		}
	}
}
