package auth0

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
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
		if err := f.Load(t.Context(), part, outcomes{b}); err != nil {
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
		if b.count(sdk.Created) != 4_001 || b.count(sdk.Skipped) != 1 {
			t.Errorf("created %d, skipped %d", b.count(sdk.Created), b.count(sdk.Skipped))
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
		if len(content) > budget-fileFraming || (i < len(names)-1 && len(content) < budget*98/100) {
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
	if err := f.Load(t.Context(), people(1, 1), outcomes{newBook(t)}); err == nil {
		t.Error("loaded into a folder with a stranger's files")
	}
}

// TestSameIdentifiersAreKeptApart: two users with one identifier in one file would
// cost one of them, and nobody could say which.
func TestSameIdentifiersAreKeptApart(t *testing.T) {
	t.Parallel()
	b := write(t, filepath.Join(t.TempDir(), "out"), []sdk.User{
		person(1), person(2, func(u *sdk.User) { u.Email = "USER1@example.com" }), person(3, func(u *sdk.User) { u.ID = person(1).ID }),
	})
	if b.byID["source-2"].Code != codeEmailConflict || b.byID["source-3"].Code != codeIDConflict || b.count(sdk.Created) != 1 {
		t.Errorf("%+v", b.byID)
	}
}
