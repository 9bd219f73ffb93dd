package tenant

import (
	"encoding/json"
	"testing"
	"time"
)

// TestTime: whatever a server writes for a time, the rest of its answer is read.
func TestTime(t *testing.T) {
	t.Parallel()
	var got []struct {
		At   Time
		Name string
	}
	const answer = `[{"at":"2026-01-02T03:04:05.678Z","name":"a"},{"at":"yesterday","name":"b"},{"at":null,"name":"c"},{"name":"d"},{"at":7,"name":"e"}]`
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatal(err)
	}
	for i, one := range got {
		if one.Name == "" || one.At.IsZero() != (i > 0) {
			t.Errorf("%d: %+v", i, one)
		}
	}
	if want := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC); !got[0].At.Equal(want) {
		t.Errorf("%s, want %s", got[0].At, want)
	}
}
