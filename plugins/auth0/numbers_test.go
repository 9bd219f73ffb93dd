package auth0

import (
	"encoding/json"
	"testing"
)

// Whole numbers that a floating one does not hold are found at any depth, and no others.
func TestRounds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"":                                       false,
		`{"n": 1, "s": "9007199254740993"}`:      false,
		`{"n": 9007199254740992}`:                false,
		`{"n": 9007199254740993}`:                true,
		`{"a": [{"b": -9007199254740993}]}`:      true,
		`{"n": 9223372036854775807}`:             true,
		`{"n": 0.1, "m": 1e300, "z": 12345.678}`: false,
	} {
		if got := rounds(json.RawMessage(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
