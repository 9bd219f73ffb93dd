package keycloak

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
)

func openFiles(t *testing.T, out string, perFile int) *files {
	t.Helper()
	target, err := newTarget(Config{Mode: "files", Realm: "customers", Out: out, BatchSize: perFile}, sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return target.(*files)
}

// write is a whole run, its users split into batches of three.
func write(t *testing.T, out string, users []sdk.User, perFile, batch int) *book {
	t.Helper()
	target := openFiles(t, out, perFile)
	b := newBook(t)
	for users := range slices.Chunk(users, batch) {
		if err := target.Load(t.Context(), users, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := target.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// tree reads every file below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func names(files map[string]string) []string { return slices.Sorted(maps.Keys(files)) }

func TestFiles(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "a", "out")
	users := people(1, 6)
	users = append(users, everything(), person(3), person(8, func(u *sdk.User) { u.ID = strings.Repeat("x", 128) }))
	users[6].SourceID, users[6].ID = "ada", "ada-id"
	users[7].SourceID = "double"
	got := write(t, out, users, 3, 4)
	if d := cmp.Diff(map[sdk.Action]int{sdk.Created: 7, sdk.Rejected: 2}, got.Counts()); d != "" {
		t.Error(d)
	}
	if o := got.Of("double"); o != "rejected load.id_conflict" {
		t.Error(o)
	}
	files := tree(t, out)
	want := []string{"customers-realm.json", "customers-users-0.json", "customers-users-1.json", "customers-users-2.json", "stetl-manifest.json"}
	if d := cmp.Diff(want, names(files)); d != "" {
		t.Fatal(d)
	}
	var ids []string
	for _, name := range want[1:4] {
		var content struct {
			Realm string      `json:"realm"`
			Users []*fakeUser `json:"users"`
		}
		if err := strictly([]byte(files[name]), &content); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if content.Realm != "customers" {
			t.Errorf("%s: realm %q", name, content.Realm)
		}
		for _, u := range content.Users {
			ids = append(ids, u.ID)
		}
	}
	if len(ids) != 7 || ids[6] != "ada-id" {
		t.Errorf("ids %v", ids)
	}
	if d := cmp.Diff(`{
  "tool": "stetl",
  "realm": "customers",
  "complete": true,
  "users": 7,
  "files": [
    "customers-users-0.json",
    "customers-users-1.json",
    "customers-users-2.json",
    "customers-realm.json"
  ]
}
`, files["stetl-manifest.json"]); d != "" {
		t.Error(d)
	}
	realm := files["customers-realm.json"]
	for _, part := range []string{`"realm": "customers"`, `"enabled": true`, `"name": "rôle spécial"`, `"name": "tenants"`, `"name": "eu"`, `ADMIN_EDIT`} {
		if !strings.Contains(realm, part) {
			t.Errorf("the realm file lacks %s:\n%s", part, realm)
		}
	}
	if strings.Contains(realm, "default-roles-") {
		t.Error("the realm file defines the role that comes with the realm")
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v %v", info.Mode(), err)
	}
	for name := range files {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestFilesAreDeterministic(t *testing.T) {
	t.Parallel()
	users := append(people(1, 20), everything())
	users[20].ID, users[20].SourceID = "ada-id", "ada"
	a, b := t.TempDir(), t.TempDir()
	write(t, a, users, 8, 3)
	write(t, b, users, 8, 7) // how the host cuts batches must not show
	write(t, b, users, 8, 21)
	if d := cmp.Diff(tree(t, a), tree(t, b)); d != "" {
		t.Error(d)
	}
}

func TestFilesOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	if err := os.WriteFile(filepath.Join(out, "README"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, out, people(1, 9), 2, 3)
	before := tree(t, out)

	// A run that does not get to its end leaves everything as it was.
	broken := openFiles(t, out, 2)
	load(t, broken, people(1, 3))
	if err := broken.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, tree(t, out)); d != "" {
		t.Error(d)
	}
	// One that was killed leaves its hidden folder, which the next one clears.
	load(t, openFiles(t, out, 2), people(1, 3))
	visible := tree(t, out)
	maps.DeleteFunc(visible, func(name, _ string) bool { return strings.HasPrefix(name, ".stetl-staging") })
	if d := cmp.Diff(before, visible); d != "" {
		t.Error(d)
	}
	// A run without users says nothing about them.
	if err := openFiles(t, out, 2).Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, out, people(1, 3), 2, 3)
	want := []string{"README", "customers-realm.json", "customers-users-0.json", "customers-users-1.json", "stetl-manifest.json"}
	if d := cmp.Diff(want, names(tree(t, out))); d != "" {
		t.Error(d)
	}
}

// Whatever step a commit dies at, a folder with a realm file is complete, and
// the next run puts it in order.
func TestFilesInterruptedCommit(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	write(t, out, people(1, 9), 2, 3)
	target := openFiles(t, out, 2)
	load(t, target, people(1, 5))
	if err := target.closeCurrent(); err != nil {
		t.Fatal(err)
	}
	// The second move will fail.
	if err := os.Remove(filepath.Join(out, ".stetl-staging", "customers-users-1.json")); err != nil {
		t.Fatal(err)
	}
	err := target.Finish(t.Context())
	if err == nil || !strings.Contains(err.Error(), string(codeOutUnwritable)) {
		t.Fatalf("finish: %v", err)
	}
	if _, err := os.Stat(filepath.Join(out, "customers-realm.json")); err == nil {
		t.Error("a mixture can be imported")
	}
	write(t, out, people(1, 5), 2, 3)
	clean := t.TempDir()
	write(t, clean, people(1, 5), 2, 3)
	if d := cmp.Diff(tree(t, clean), tree(t, out)); d != "" {
		t.Error(d)
	}
}

func TestFilesThatAreNotOurs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file, content string
		want                []string // of Check
		refuses             bool
	}{
		{"users", "customers-users-7.json", `{}`, []string{"error keycloak.out_foreign_files"}, true},
		{"users of another realm", "other-users-0.json", `{}`, nil, false},
		{"something else", "customers-users-x.json", `{}`, nil, false},
		{"a realm file", "customers-realm.json", `{"realm":"customers"}`, []string{"warning keycloak.realm_file_kept"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out := t.TempDir()
			if err := os.WriteFile(filepath.Join(out, tt.file), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			target := openFiles(t, out, 2)
			if d := cmp.Diff(tt.want, codes(target.Check(t.Context(), sdk.Needs{}))); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff([]string{tt.file}, names(tree(t, out))); d != "" {
				t.Errorf("check wrote: %s", d)
			}
			err := target.Load(t.Context(), people(1, 3), newBook(t))
			if (err != nil) != tt.refuses {
				t.Fatalf("load: %v", err)
			}
			if !tt.refuses {
				if err := target.Finish(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if got := tree(t, out)[tt.file]; got != tt.content {
				t.Errorf("%s has become %s", tt.file, got)
			}
		})
	}
}

func TestFilesPlan(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	target := openFiles(t, out, 2)
	users := append(people(1, 3), person(9, func(u *sdk.User) { u.Email = "user2@example.com" }))
	planned := plan(t, target, users)
	if _, err := os.Stat(out); err == nil {
		t.Error("the plan wrote")
	}
	loaded := load(t, target, users)
	if d := cmp.Diff(planned.ByID, loaded.ByID); d != "" {
		t.Error(d)
	}
	if o := loaded.Of("source-9"); o != "rejected load.email_conflict" {
		t.Error(o)
	}
}

func TestRelaxedProfileIsJSON(t *testing.T) {
	t.Parallel()
	var p userProfile
	if err := json.Unmarshal([]byte(relaxedProfile), &p); err != nil {
		t.Fatal(err)
	}
	for _, a := range p.Attributes {
		if a.Required != nil {
			t.Errorf("%s is required", a.Name)
		}
	}
	if len(p.Attributes) != 4 || p.Unmanaged != "ADMIN_EDIT" {
		t.Errorf("%+v", p)
	}
}
