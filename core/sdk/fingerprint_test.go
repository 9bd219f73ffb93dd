package sdk

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testKey = bytes.Repeat([]byte{7}, 32)

func TestState(t *testing.T) {
	t.Parallel()
	f := newFingerprints(testKey)
	state := f.State(map[string]string{"email": "a@x", "name": "A", "phone": ""})
	if !bytes.Equal(state, f.State(map[string]string{"name": "A", "email": "a@x"})) {
		t.Error("an empty field, or the order, changes the state")
	}
	if bytes.Equal(state, f.State(map[string]string{"name": "A", "email": "b@x"})) {
		t.Error("another value gives the same state")
	}
	if bytes.Equal(state, newFingerprints(nil).State(map[string]string{"name": "A", "email": "a@x"})) {
		t.Error("the state does not depend on the key")
	}
	for _, tc := range []struct {
		field, now string
		want       bool
	}{
		{"email", "a@x", false},
		{"email", "b@x", true},
		{"email", "", true},
		{"phone", "", false},
		{"phone", "+1", true},
	} {
		if got := f.Drifted(state, tc.field, tc.now); got != tc.want {
			t.Errorf("%s now %q: drifted %v", tc.field, tc.now, got)
		}
	}
	if f.Drifted(nil, "email", "b@x") {
		t.Error("drift without a state to compare with")
	}
}

func TestStateOfManyFieldsStaysSmall(t *testing.T) {
	t.Parallel()
	f := newFingerprints(testKey)
	fields := map[string]string{}
	for i := range 5000 {
		fields[fmt.Sprint(i)] = "v"
	}
	state := f.State(fields)
	if len(state) > maxState {
		t.Errorf("%d bytes", len(state))
	}
	fields["0"] = "w"
	if bytes.Equal(state, f.State(fields)) {
		t.Error("a change among many fields does not show")
	}
	if f.Drifted(state, "0", "w") {
		t.Error("a state of many fields cannot know about one of them")
	}
	for i := range 4660 {
		delete(fields, fmt.Sprint(340+i))
	}
	fields["0"] = "v"
	if !f.Drifted(f.State(fields), "0", "w") || f.Drifted(f.State(fields), "0", "v") {
		t.Errorf("of %d fields, none is remembered by itself", len(fields))
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	f := newFingerprints(testKey)
	applied := map[string]string{"email": "a@x", "name": "A", "hash": "h1"}
	now := map[string]string{"email": "a@x", "name": "Z", "hash": "h1", "extra": "e"}
	want := map[string]string{"email": "b@x", "name": "A", "hash": "h2", "extra": "e"}
	got := f.Diff(f.State(applied), now, want, func(field, value string) string {
		if field == "hash" {
			return "secret"
		}
		return value
	})
	expect := []FieldChange{
		{Field: "email", Old: "a@x", New: "b@x"},
		{Field: "hash", Old: "secret", New: "secret"},
		{Field: "name", Old: "Z", New: "A", Drift: true},
	}
	if diff := cmp.Diff(expect, got); diff != "" {
		t.Errorf("diff (-want +got):\n%s", diff)
	}
}
