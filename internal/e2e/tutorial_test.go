//go:build unix

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/proc"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// shellBlocks are the commands of a page, in its order.
func shellBlocks(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	blocks := shellIn(string(text))
	if len(blocks) < 3 {
		t.Fatalf("%s: only %d blocks of commands found", page, len(blocks))
	}
	return blocks
}

func shellIn(text string) (blocks []string) {
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// follow runs every command of a page as a reader would who follows nothing else, with
// the variables that the page asks for.
func follow(t *testing.T, page string, env ...string) (output string) {
	t.Helper()
	return execute(t, page, shellBlocks(t, page), "../..", env...)
}

// execute runs commands of a page in a folder.
func execute(t *testing.T, page string, blocks []string, dir string, env ...string) (output string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "set -e\n"+strings.Join(blocks, ""))
	cmd.Dir = dir
	// Everything that is needed was needed to build stetl.
	cmd.Env = append(append(os.Environ(), "WORK="+t.TempDir(), "GOPROXY=off", "GOFLAGS="), env...)
	ownTemp(t, cmd)
	// What a failing script leaves running must not outlive the test.
	cmd.SysProcAttr, cmd.WaitDelay = &syscall.SysProcAttr{Setpgid: true}, 5*time.Second
	out, err := cmd.CombinedOutput()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err != nil {
		t.Fatalf("%s: %v\n%s", page, err, out)
	}
	return string(out)
}

// TestTutorial follows the tutorial, from a fresh checkout to the switch and back.
func TestTutorial(t *testing.T) {
	t.Parallel()
	home, java := keycloak.Distribution(t)
	server := postgres.Start(t)
	psql, ok := server.Bin("psql")
	if !ok {
		testenv.Skip(t, "psql", "the PostgreSQL of the tests is a server alone")
	}
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	out := follow(
		t, "tutorial.md",
		"SUPERTOKENS_DATABASE_URL="+server.CreateDatabase(t, postgres.Database{}),
		"KEYCLOAK_HOME="+home, "JAVA_HOME="+java, "KC_HTTP_HOST=127.0.0.1", "KC_HTTP_PORT="+strconv.Itoa(port),
		"JAVA_OPTS_APPEND=-XX:TieredStopAtLevel=1 -Xmx1g", "PATH="+strings.TrimSuffix(psql, "psql")+":"+os.Getenv("PATH"),
	)
	for _, want := range []string{
		"url: ${env:POSTGRESQL_CONNECTION_URI}", "client_secret: ${env:KEYCLOAK_CLIENT_SECRET}", // the configuration of init
		"Exit code 4: not everybody would be loaded", // the first plan
		"Of 125 accounts: 106 created, 10 unchanged, 9 skipped.",
		"the old password works",
		"Of 125 accounts: 1 updated, 115 unchanged, 9 skipped.", // the delta
		"116 accounts compared", "14 sessions of 13 users revoked", "undo.signed_in",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}

// TestAgentsPage does a rehearsal from the page for coding agents alone.
func TestAgentsPage(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "runs the program")
	if _, err := exec.LookPath("jq"); err != nil {
		testenv.Skip(t, "jq", err.Error())
	}
	dump, err := filepath.Abs(filepath.Join(fixtures, "core-10.1.4.sql"))
	if err != nil {
		t.Fatal(err)
	}
	out := follow(t, "agents.md", "DUMP="+dump, "PATH="+filepath.Dir(stetl(t))+":"+os.Getenv("PATH"))
	for _, want := range []string{
		`"generation": "G4"`, `"accounts": 125`, `"code": "other_apps"`,
		`"read": 125`, `"rejected": 10`, `"hash_carried": 78`, `"stranded": 7`, "6 map.duplicate_username", "3 load.id_invalid", "the id is longer than the target can hold",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}

// TestRehearsePage does the part of the page about rehearsals that needs no server; the
// others are in TestRehearsalOnAServer.
func TestRehearsePage(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "runs the program")
	page, err := os.ReadFile("../../docs/rehearse.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, begins := strings.Cut(string(page), "\n## 1. ")
	text, _, ends := strings.Cut(text, "\n## 2. ")
	blocks := shellIn(text)
	if !begins || !ends || len(blocks) != 2 {
		t.Fatalf("%d blocks of commands in the first part", len(blocks))
	}
	out := execute(t, "rehearse.md", blocks, t.TempDir(), "PATH="+filepath.Dir(stetl(t))+":"+os.Getenv("PATH"))
	for _, want := range []string{
		"wrote supertokens.dump: 2,000 accounts, generation G4", "stetl check accepts it. Next: stetl run --dry-run -c rehearsal.yaml",
		"Done: ", "Next: stetl rejects", `"code":"map.duplicate_`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}

// TestRealmIsPreparedAlike: what the page about the realm has people do is what the
// tutorial does, which is tried.
func TestRealmIsPreparedAlike(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/keycloak-realm.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range shellBlocks(t, "tutorial.md") {
		if strings.HasPrefix(block, "kcadm()") && strings.Contains(string(page), "```sh\n"+block+"```") {
			return
		}
	}
	t.Error("the commands of keycloak-realm.md are not those of the tutorial")
}

// TestWriteAPlugin follows the page for authors of plugins.
func TestWriteAPlugin(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "builds a plugin")
	out := follow(t, "write-a-plugin.md")
	for _, want := range []string{
		"the kit has found it", "--- FAIL: TestConformance/leave", "starts, answers and ends as it should", "0 broken", "sha256",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}
