package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// What a run has rejected can be read as it was then, by whom it is for, also when the
// source has moved on, and the list says so.
func TestRejectsAsTheyWere(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "makes several runs")
	dump, err := os.ReadFile(filepath.Join(fixtures, "core-3.3.0.sql"))
	if err != nil {
		t.Fatal(err)
	}
	const stays, goes, address = "fc28af22-859f-41ce-8e6f-d375251a9a7c", "0d015872-0a93-4ac6-a229-e06686e1bb88", "goran.petrovic5709@mail.example.org"
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config, source := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "source.sql")
	write := func(recipients string) {
		t.Helper()
		writeFile(t, config, `
source: {dump: ./source.sql}
target: {plugin: keycloak, config: {mode: files, realm: old, out: ./out}}
`+recipients)
	}
	writeFile(t, source, string(dump))
	run := func() {
		t.Helper()
		if r := runStetl(t, nil, "run", "--config", config, "-q"); r.code != exitRejects {
			t.Fatalf("exit %d: %s", r.code, r.stderr)
		}
	}
	list := func(args ...string) (map[string]report.Reject, string) {
		t.Helper()
		r := runStetl(t, nil, append([]string{"rejects", "--config", config}, args...)...)
		got := map[string]report.Reject{}
		for line := range strings.Lines(r.stdout) {
			var one report.Reject
			if err := json.Unmarshal([]byte(line), &one); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			got[one.SourceID] = one
		}
		if ids := slices.Sorted(maps.Keys(got)); r.code != 0 || !slices.Equal(ids, []string{goes, stays}) {
			t.Fatalf("exit %d, rejects %v\n%s", r.code, ids, r.stderr)
		}
		return got, r.stderr
	}
	read := func(r report.Reject, key age.Identity) string {
		t.Helper()
		plain, err := age.Decrypt(bytes.NewReader(r.Payload), key)
		if err != nil {
			t.Fatalf("%s: %v", r.SourceID, err)
		}
		text, err := io.ReadAll(plain)
		if err != nil || !bytes.Contains(text, []byte(r.SourceID)) {
			t.Fatalf("%s: %s, %v", r.SourceID, text, err)
		}
		return string(text)
	}
	write("rejects: {recipients: [" + key.Recipient().String() + "]}\n")
	run()
	for id, r := range first(list("--recipient", other.Recipient().String())) {
		if r.PayloadOf != report.OfRejection || r.Changed || read(r, key) != read(r, other) {
			t.Errorf("%s: of %s, changed %v", id, r.PayloadOf, r.Changed)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, ".stetl", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		if raw, err := os.ReadFile(path); err != nil || bytes.Contains(raw, []byte(address)) {
			t.Errorf("%s: the account can be read, or %v", path, err)
		}
	}

	// One gets another address, one goes.
	var changed []string
	for line := range strings.Lines(string(dump)) {
		if strings.Contains(line, stays) {
			line = strings.ReplaceAll(line, address, "new@mail.example.org")
		}
		if !strings.Contains(line, goes) {
			changed = append(changed, line)
		}
	}
	writeFile(t, source, strings.Join(changed, ""))
	got, said := list()
	for id, r := range got {
		if r.PayloadOf != report.OfRejection || !r.Changed {
			t.Errorf("%s: of %s, changed %v", id, r.PayloadOf, r.Changed)
		}
	}
	if then := read(got[stays], key); !strings.Contains(then, address) || strings.Contains(then, "new@mail") || !strings.Contains(said, "2 accounts have changed") {
		t.Errorf("then: %s; said: %s", then, said)
	}

	// A run without recipients keeps nothing, so that only what is there now can be given.
	write("")
	writeFile(t, source, string(dump))
	if err := os.RemoveAll(filepath.Join(dir, ".stetl")); err != nil {
		t.Fatal(err)
	}
	run()
	got, said = list("--recipient", other.Recipient().String())
	if r := got[stays]; r.PayloadOf != report.OfNow || r.Changed || !strings.Contains(read(r, other), address) || !strings.Contains(said, "as they are in the source now") {
		t.Errorf("of %s, changed %v; said: %s", r.PayloadOf, r.Changed, said)
	}
}

// A key that is none is told before anything is read, not when it is needed.
func TestRunRefusesARecipientThatIsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "c.yaml")
	dump, err := filepath.Abs(filepath.Join(fixtures, "core-3.3.0.sql"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, "source: {dump: "+dump+"}\ntarget: {plugin: keycloak, config: {mode: files, realm: old, out: ./out}}\nrejects: {recipients: [age1nobody]}\n")
	r := runStetl(t, nil, "run", "--config", config)
	if _, err := os.Stat(filepath.Join(dir, "out")); r.code != exitUsage || err == nil {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
}

func first[A, B any](a A, _ B) A { return a }
