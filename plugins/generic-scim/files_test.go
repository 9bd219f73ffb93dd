package scim

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
)

func writeFiles(t *testing.T, c Config, users []sdk.User) *book {
	t.Helper()
	c.Mode = modeFiles
	target, err := newTarget(c, sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	b := newBook(t)
	for part := range slices.Chunk(users, 3) {
		if err := target.Load(t.Context(), part, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := target.(sdk.Finisher).Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFilesHoldEveryUserTwice(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	b := writeFiles(t, Config{Out: out, BulkSize: 4}, people(1, 10))
	if got := b.Counts()[sdk.Created]; got != 10 {
		t.Fatalf("created %d", got)
	}
	lines, err := os.ReadFile(filepath.Join(out, usersName))
	if err != nil {
		t.Fatal(err)
	}
	var fromLines, fromBulk, ids []string
	for line := range bytes.Lines(lines) {
		r, err := decode(line)
		if err != nil {
			t.Fatal(err)
		}
		fromLines = append(fromLines, r.text("externalId"))
	}
	for _, name := range []string{"bulk-00001.json", "bulk-00002.json", "bulk-00003.json"} {
		raw, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		var request struct {
			Schemas    []string
			Operations []struct {
				Method, Path, BulkID string
				Data                 resource
			}
		}
		if err := json.Unmarshal(raw, &request); err != nil {
			t.Fatal(err)
		}
		if len(request.Operations) > 4 || request.Schemas[0] != messageBulk {
			t.Errorf("%s: %d operations, schemas %v", name, len(request.Operations), request.Schemas)
		}
		for _, o := range request.Operations {
			if o.Method != "POST" || o.Path != "/Users" {
				t.Errorf("operation %s %s", o.Method, o.Path)
			}
			fromBulk, ids = append(fromBulk, o.Data.text("externalId")), append(ids, o.BulkID)
		}
		if info, _ := os.Stat(filepath.Join(out, name)); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 10 || len(fromLines) != 10 || !slices.Equal(fromLines, fromBulk) {
		t.Errorf("bulk ids %v\nlines %v\nbulk %v", ids, fromLines, fromBulk)
	}
}

// A second run replaces what the first one wrote, and nothing else.
func TestFilesReplaceTheirOwn(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	writeFiles(t, Config{Out: out, BulkSize: 2}, people(1, 5))
	writeFiles(t, Config{Out: out, BulkSize: 2, Format: formatBulk}, people(1, 2))
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"bulk-00001.json", "stetl-manifest.json"}; !slices.Equal(names, want) {
		t.Errorf("the folder holds %v, want %v", names, want)
	}
	if err := os.WriteFile(filepath.Join(out, "bulk-00009.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	target := newFiles(Config{Mode: modeFiles, Out: out}.withDefaults())
	if err := target.Load(t.Context(), people(1, 1), newBook(t)); err == nil || !strings.Contains(err.Error(), string(codeOutForeignFiles)) {
		t.Errorf("a foreign file is no obstacle: %v", err)
	}
}

func TestFilesMemberships(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	u := person(1)
	u.Roles = map[string][]string{"public": {"admin"}, "eu": {"admin", "editor"}}
	writeFiles(t, Config{Out: out}, []sdk.User{u})
	got, err := os.ReadFile(filepath.Join(out, membershipsName))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"externalId":"` + u.ID + `","group":"admin"}` + "\n" + `{"externalId":"` + u.ID + `","group":"editor"}` + "\n"
	if string(got) != want {
		t.Errorf("memberships:\n%s\nwant:\n%s", got, want)
	}
}
