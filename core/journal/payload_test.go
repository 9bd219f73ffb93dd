package journal

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/pluginapi"
)

// A rejected account is kept until it is loaded, for its own target.
func TestPayloadsGoWithTheirReason(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	s, other := scope(t, j, "here"), scope(t, j, "elsewhere")
	rejected := func(ids ...string) {
		t.Helper()
		var all []Entry
		for _, id := range ids {
			all = append(all, Entry{SourceID: id, Action: pluginapi.Rejected})
		}
		for _, s := range []*Scope{s, other} {
			if err := s.Record(0, all); err != nil {
				t.Fatal(err)
			}
		}
	}
	rejected("a", "b")
	for _, version := range []byte{1, 2} {
		if err := s.Rejects.KeepPayloads(map[string]Payload{"a": {[]byte{version}, []byte{version, 7}}, "b": {[]byte{version}, []byte{version}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Record(0, []Entry{{SourceID: "b", Action: pluginapi.Created, TargetID: "tb"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Rejects.KeepPayloads(nil); err != nil {
		t.Fatal(err)
	}
	got, ok, err := s.Rejects.Payload(t.Context(), "a")
	if diff := cmp.Diff(Payload{[]byte{2}, []byte{2, 7}}, got); err != nil || !ok || diff != "" {
		t.Errorf("%v, %v\n%s", ok, err, diff)
	}
	for id, scope := range map[string]*Scope{"b": s, "a": other} {
		if _, ok, err := scope.Rejects.Payload(t.Context(), id); ok || err != nil {
			t.Errorf("%s is kept: %v, %v", id, ok, err)
		}
	}
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := s.Rejects.Payload(t.Context(), "a"); ok {
		t.Error("a payload outlives Clear")
	}
}
