package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/stetl/stetl/core/pluginapi"
)

func TestReasonsAreKeptEncrypted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Scope(t.Context(), "public", "idp")
	if err != nil {
		t.Fatal(err)
	}
	other, err := j.Scope(t.Context(), "public", "another")
	if err != nil {
		t.Fatal(err)
	}
	words := Reason{Detail: "User exists with same email ada@example.org", Hint: "merge", Losses: []pluginapi.PartLoss{{Feature: pluginapi.CarriesRoles, Code: "acme.no_role", Attribute: "admin"}}, Run: 2}
	for _, reasons := range []map[string]Reason{{"a": {Detail: "old"}}, {"a": words, "b": words}} {
		if err := s.Rejects.KeepReasons(reasons); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"a", "b"} {
		if got, ok, err := s.Rejects.Reason(t.Context(), id); err != nil || !ok || !reflect.DeepEqual(got, words) {
			t.Errorf("%s: %+v, %v, %v", id, got, ok, err)
		}
	}
	if _, ok, err := other.Rejects.Reason(t.Context(), "a"); ok || err != nil {
		t.Errorf("another target knows it: %v, %v", ok, err)
	}
	if err := s.Record(0, []Entry{{SourceID: "a", Action: pluginapi.Rejected}}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, fileName+"*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		if raw, err := os.ReadFile(path); err != nil || bytes.Contains(raw, []byte("ada@example.org")) {
			t.Errorf("%s: the reason can be read, or %v", filepath.Base(path), err)
		}
	}
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := s.Rejects.Reason(t.Context(), "a"); ok {
		t.Error("a reason outlives Clear")
	}
	if _, ok, _ := s.Get(t.Context(), "a"); ok {
		t.Error("an account outlives Clear")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRunsAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	j, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	s, err := j.Scope(t.Context(), "public", "idp")
	if err != nil {
		t.Fatal(err)
	}
	var ids []int64
	for range 3 {
		id, err := s.Runs.Begin(Run{Source: "s", Target: "t", Settings: []byte("x"), Began: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := s.Runs.End(ids[1], time.Now(), map[string]int{"read": 1}); err != nil {
		t.Fatal(err)
	}
	runs, err := s.Runs.List(t.Context(), 2)
	if err != nil || len(runs) != 2 || runs[0].ID != ids[2] || !runs[0].Ended.IsZero() || runs[1].Ended.IsZero() || string(runs[1].Result) != `{"read":1}` {
		t.Errorf("%+v, %v", runs, err)
	}
}
