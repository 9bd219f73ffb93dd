package members

import (
	"encoding/json"
	"maps"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string]string{
		``:           {},
		`null`:       {},
		`"a text"`:   {},
		`[{"a": 1}]`: {},
		` { } `:      {},
		`{"a": {"b": [1, "}"]}, "c\u0065\n" :  "x\"y" ,"": null}`: {"a": `{"b": [1, "}"]}`, "ce\n": `"x\"y"`, "": "null"},
		`{"a": 1, "a": 2}`: {"a": "2"},
	} {
		if diff := cmp.Diff(want, maps.Collect(Of(json.RawMessage(text)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// FuzzOf holds Of to what the standard library reads.
func FuzzOf(f *testing.F) {
	f.Add(`{"first_name": "Ada", "\u00e9": {"a": [1e9, true, null]}, "a\\": "\\\""}`)
	f.Add(`{"a":1,"a":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var want map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &want) != nil {
			want = nil
		}
		got := map[string]json.RawMessage{}
		for name, value := range Of(json.RawMessage(text)) {
			got[name] = json.RawMessage(value)
		}
		if !json.Valid([]byte(text)) || !utf8.ValidString(text) {
			return // metadata is valid or carried as a text; here it must only not break
		}
		for name, value := range want {
			if string(got[name]) != string(value) {
				t.Errorf("%q of %q is %q, want %q", name, text, got[name], value)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d members of %q, want %d", len(got), text, len(want))
		}
	})
}
