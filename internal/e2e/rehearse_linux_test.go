package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/pty"
	"github.com/stetl/stetl/plugins/keycloak/provider"
)

// person follows a page on a terminal: one command after the other, as they are printed.
type person struct {
	folder string
	env    []string
}

// does types a command and answers what it asks.
func (p *person) does(t *testing.T, command string, answers ...[2]string) (code int, shown string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	cmd.Dir, cmd.Env = p.folder, append(os.Environ(), p.env...)
	ownTemp(t, cmd)
	terminal := pty.Start(t, 80, cmd)
	for _, a := range answers {
		terminal.Expect(a[0])
		terminal.Type(a[1] + "\n")
	}
	return terminal.Wait(), terminal.Text()
}

// TestRehearsalOnAServer does the parts of the page about rehearsals that need servers,
// with a Keycloak that is prepared and a SuperTokens of invented people.
func TestRehearsalOnAServer(t *testing.T) {
	t.Parallel()
	server := keycloak.Shared(t, keycloak.Options{Providers: map[string][]byte{provider.FileName: provider.Jar()}})
	realm(t, server, "rehearsal", "rehearsal-only")
	p := &person{folder: t.TempDir(), env: []string{"PATH=" + filepath.Dir(stetl(t)) + ":" + os.Getenv("PATH"), "TERM=xterm"}}
	if code, shown := p.does(t, "stetl generate --accounts 400 --seed 23 --out people.sql"); code != exitDone {
		t.Fatalf("exit %d\n%s", code, shown)
	}
	source := postgres.Start(t).RestorePlain(t, filepath.Join(p.folder, "people.sql"), postgres.Database{})
	writeFile(t, filepath.Join(p.folder, "docker-compose.yml"), "services:\n  core:\n    environment:\n      POSTGRESQL_CONNECTION_URI: \""+source+"\"\n")
	values := map[string]string{"POSTGRESQL_CONNECTION_URI": source, "KEYCLOAK_CLIENT_SECRET": "rehearsal-only"}

	page, err := os.ReadFile("../../docs/rehearse.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "\n## 2. ")
	text, _, _ = strings.Cut(text, "\n## Staging")
	printed := shellIn(text)
	steps := []struct {
		command string
		answers [][2]string
		code    int
		shows   string
	}{
		{"stetl init --from docker-compose.yml --target keycloak", [][2]string{
			{"Realm: ", "rehearsal"}, {"Address of Keycloak: ", server.URL()}, {"Client: ", "stetl"},
		}, exitDone, "Then: stetl check"},
		{"stetl check --config stetl.yaml", nil, exitDone, "keycloak."},
		{"stetl plan --config stetl.yaml --html plan.html", nil, exitRejects, "map.duplicate_"},
		{"stetl run --config stetl.yaml --sample 50", [][2]string{{"Write to the target? [y/N]", "y"}}, exitDone, "Proven"},
		{"stetl verify --config stetl.yaml", nil, exitDone, "accounts compared in"},
		{"stetl run --config stetl.yaml", nil, exitRejects, "Done: 400 accounts in"},
		{"stetl verify --all --config stetl.yaml", nil, exitDifferences, "accounts compared in"},
		{"stetl run --config stetl.yaml", nil, exitRejects, "Done: 400 accounts in"},
		{"stetl undo --config stetl.yaml", [][2]string{{"Take them back?", "y"}}, exitDone, "deleted"},
	}
	// The last one stands in a sentence.
	var commands []string
	for _, step := range steps {
		commands = append(commands, step.command)
	}
	last := len(commands) - 1
	if have, want := strings.Join(printed, ""), strings.Join(commands[:last], "\n")+"\n"; have != want || !strings.Contains(text, "`"+commands[last]+"`") {
		t.Fatalf("the page has\n%s, and the test does\n%s", have, want)
	}
	// What init asks to export is there for the commands after it.
	asked := regexp.MustCompile(`export (\w+)=…`)
	for _, step := range steps {
		code, shown := p.does(t, step.command, step.answers...)
		t.Logf("$ %s\n%s", step.command, shown)
		if code != step.code || !strings.Contains(shown, step.shows) {
			t.Fatalf("%s: exit %d, want %d and %q", step.command, code, step.code, step.shows)
		}
		for _, m := range asked.FindAllStringSubmatch(shown, -1) {
			if values[m[1]] == "" {
				t.Fatalf("%s is to be exported, and the page does not say what it is", m[1])
			}
			p.env = append(p.env, m[1]+"="+values[m[1]])
		}
	}
	if n := count(t, server, "rehearsal"); n != 0 {
		t.Errorf("%d users are in the realm after undo", n)
	}
	if _, err := os.Stat(filepath.Join(p.folder, "plan.html")); err != nil {
		t.Error(err)
	}
}
