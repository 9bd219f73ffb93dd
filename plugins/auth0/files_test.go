package auth0

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/core/sdk"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
	"github.com/stetl/stetl/internal/testserver/testenv"
	"github.com/stetl/stetl/plugins/auth0/internal/importjob"
)

// write is a whole run in mode files.
func write(t *testing.T, out string, users []sdk.User) *book {
	t.Helper()
	target, err := newTarget(Config{Mode: modeFiles, Out: out}, sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	f := target.(*files)
	b := newBook(t)
	for part := range slices.Chunk(users, 500) {
		if err := f.Load(t.Context(), part, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFiles(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	users := append(people(1, 4_000), person(4_001, everything), person(4_002, func(u *sdk.User) {
		u.Class, u.Password, u.Identities = sdk.NoPassword, sdk.PasswordHash{}, []sdk.Identity{{Provider: "google", Subject: "sub-7"}}
	}))
	for range 2 { // the second run replaces the first
		b := write(t, out, users)
		if b.Counts()[sdk.Created] != 4_001 || b.Counts()[sdk.Skipped] != 1 {
			t.Errorf("created %d, skipped %d", b.Counts()[sdk.Created], b.Counts()[sdk.Skipped])
		}
	}
	names, err := filepath.Glob(filepath.Join(out, "users-*.json"))
	if err != nil || len(names) < 3 {
		t.Fatalf("%v, %v", names, err)
	}
	found := 0
	for i, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(content) > importjob.Budget-importjob.FileFraming || (i < len(names)-1 && len(content) < importjob.Budget*98/100) {
			t.Errorf("%s has %d bytes", name, len(content))
		}
		if err := simulator.ValidateFile(content); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var in []any
		if err := json.Unmarshal(content, &in); err != nil {
			t.Fatal(err)
		}
		found += len(in)
	}
	if found != 4_001 {
		t.Errorf("%d users in the files", found)
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v", e.Name(), info.Mode())
		}
	}
	side, err := os.ReadFile(filepath.Join(out, deferredName))
	if err != nil || !strings.Contains(string(side), `"identities":[{"provider":"google","user_id":"sub-7"}]`) {
		t.Errorf("%s, %v", side, err)
	}
	members, err := os.ReadFile(filepath.Join(out, membershipsName))
	if err != nil || !strings.Contains(string(members), `"acme"`) || !strings.Contains(string(members), `"admin"`) {
		t.Errorf("%s, %v", members, err)
	}
}

func TestFilesLeaveStrangersAlone(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	if err := os.WriteFile(filepath.Join(out, "users-00009.json"), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	target, err := newTarget(Config{Mode: modeFiles, Out: out}, sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	f := target.(*files)
	if l := f.Check(t.Context(), sdk.Needs{}); !l.HasErrors() || l[0].Code != codeOutForeignFiles {
		t.Errorf("%v", l)
	}
	if err := f.Load(t.Context(), people(1, 1), newBook(t)); err == nil {
		t.Error("loaded into a folder with a stranger's files")
	}
}

// upload runs the script of a folder against a tenant.
func upload(t *testing.T, out string, server *simulator.Server, token string) (said string, err error) {
	t.Helper()
	return script(t, out, scriptName, server, token)
}

// script runs one of the scripts of a folder.
func script(t *testing.T, out, name string, server *simulator.Server, token string) (said string, err error) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		testenv.Skip(t, "curl", err.Error())
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(out, name))
	cmd.Env = append(os.Environ(), "AUTH0_DOMAIN=tenant.eu.auth0.test", "AUTH0_CONNECTION_ID=con_0123456789abcdef",
		"AUTH0_API_URL="+server.URL, "AUTH0_WAIT=0.1", "AUTH0_TOKEN="+token)
	all, err := cmd.CombinedOutput()
	return string(all), err
}

// TestUploadScript runs the script as an operator does: other jobs are in the way at
// first, one user is refused, a job fails, and it goes on where it stopped.
func TestUploadScript(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	users := append(people(1, 60), person(61, func(u *sdk.User) { u.Email = "taken@example.com" }))
	for i := range users {
		users[i].Metadata = json.RawMessage(`"` + strings.Repeat("x", 9_000) + `"`)
	}
	write(t, out, users)
	server := simulator.Start(t, simulator.Options{Processing: true, Fails: func(n int) simulator.Failure {
		return map[int]simulator.Failure{1: simulator.Busy, 3: simulator.Unparsed}[n]
	}})
	server.Put(simulator.User{ID: "auth0|theirs", Email: "taken@example.com"})
	if said, err := upload(t, out, server, "wrong"); err == nil || !strings.Contains(said, "Invalid token") {
		t.Errorf("with a wrong token: %v\n%s", err, said)
	}
	if said, err := upload(t, out, server, server.Token()); err == nil || !strings.Contains(said, "users-00002.json: {") {
		t.Errorf("with a job that fails: %v\n%s", err, said)
	}
	said, err := upload(t, out, server, server.Token())
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || strings.Contains(said, "users-00001.json: job") || !strings.Contains(said, "All files are uploaded") {
		t.Errorf("again: %v\n%s", err, said)
	}
	if n := len(server.Users()); n != 61 || server.MostActive() != 1 {
		t.Errorf("%d users, %d jobs at once", n, server.MostActive())
	}
	for _, j := range server.Jobs() {
		if j.Mail || j.Upsert || j.Size > importjob.Budget || !strings.HasPrefix(j.ExternalID, "users-0000") {
			t.Errorf("%+v", j.ExternalID)
		}
	}
	refused, err := os.ReadFile(filepath.Join(out, "users-00002.json.errors"))
	if err != nil || !strings.Contains(string(refused), "DUPLICATED_USER") || !strings.Contains(string(refused), "taken@example.com") {
		t.Errorf("%.300s, %v", refused, err)
	}
	if said, err := upload(t, out, server, server.Token()); err != nil {
		t.Errorf("with nothing left: %v\n%s", err, said)
	}
}

// TestAssignScript gives memberships by script, as a load of the tenant would. Names have
// letters that shells and JSON take for others, the tenant is slow and has not got one of
// the users.
func TestAssignScript(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "makes many requests by curl")
	out := filepath.Join(t.TempDir(), "out")
	users := people(1, 62)
	for i := range users {
		u := &users[i]
		u.Tenants = []string{"acme", "be_ta-2", "public"}
		u.Roles = map[string][]string{"public": {"all", fmt.Sprintf("r%d", i%3)}}
		if i%8 == 5 || i == 1 {
			u.Roles["acme"] = []string{"it's \"<&>\" \\ $(x) é", "viewer"}
		}
		if i%4 == 0 {
			u.Roles["public"] = []string{"it's \"<&>\" \\ $(x) é"}
		}
	}
	users[1].ID = "a/b?c#d'e\"f%20&g"
	write(t, out, users)
	requests := 0
	server := simulator.Start(t, simulator.Options{EnabledAlready: 400, Instead: func(_, path string) int {
		requests++
		if strings.Contains(path, "/jobs") {
			return 0
		}
		return map[int]int{4: 429, 5: 502, 11: 429}[requests%20]
	}})
	server.PutRole("viewer")
	if said, err := upload(t, out, server, server.Token()); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if said, err := script(t, out, assignName, server, "wrong"); err == nil || !strings.Contains(said, "Invalid token") {
		t.Errorf("with a wrong token: %v\n%s", err, said)
	}
	if said, err := script(t, out, assignName, server, server.Token()); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	held := server.Users()
	for i := range users {
		u := &users[i]
		want := simulator.User{Roles: slices.Sorted(slices.Values(u.Roles["public"])), Organizations: map[string][]string{"acme": slices.Sorted(slices.Values(u.Roles["acme"])), "be_ta-2": {}}}
		if got := belongs(held["auth0|"+u.ID]); got != belongs(want) {
			t.Errorf("%s has %s, want %s", u.ID, got, belongs(want))
		}
	}
	writes := server.Writes()
	if said, err := script(t, out, assignName, server, server.Token()); err != nil || server.Writes() != writes {
		t.Errorf("with nothing left, %d requests: %v\n%s", server.Writes()-writes, err, said)
	}
	if err := os.Remove(filepath.Join(out, "assign.done")); err != nil {
		t.Fatal(err)
	}
	server.Remove("auth0|" + users[5].ID)
	said, err := script(t, out, assignName, server, server.Token())
	refused, readErr := os.ReadFile(filepath.Join(out, "assign.errors"))
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || readErr != nil || strings.Count(string(refused), users[5].ID) != 5 || strings.Count(string(refused), "\n") != 5 {
		t.Errorf("without one of the users: %v\n%s\n%s, %v", err, said, refused, readErr)
	}
}

// TestUploadScriptStops: a token that runs out while a job is watched ends the script.
func TestUploadScriptStops(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	write(t, out, people(1, 1))
	server := simulator.Start(t, simulator.Options{TokenLife: 2 * time.Second, JobTime: func(int) time.Duration { return time.Hour }})
	if said, err := upload(t, out, server, server.Token()); err == nil || !strings.Contains(said, "401") {
		t.Errorf("%v\n%s", err, said)
	}
	if err := os.Remove(filepath.Join(out, "stetl-manifest.json")); err != nil {
		t.Fatal(err)
	}
	if said, err := upload(t, out, server, server.Token()); err == nil || server.Imports() != 1 {
		t.Errorf("without a manifest: %v\n%s", err, said)
	}
}

// TestSameIdentifiersAreKeptApart: two users with one identifier in one file would
// cost one of them, and nobody could say which.
func TestSameIdentifiersAreKeptApart(t *testing.T) {
	t.Parallel()
	b := write(t, filepath.Join(t.TempDir(), "out"), []sdk.User{
		person(1), person(2, func(u *sdk.User) { u.Email = "USER1@example.com" }), person(3, func(u *sdk.User) { u.ID = person(1).ID }),
	})
	if b.ByID["source-2"].Code != sdk.CodeEmailConflict || b.ByID["source-3"].Code != sdk.CodeIDConflict || b.Counts()[sdk.Created] != 1 {
		t.Errorf("%+v", b.ByID)
	}
}
