package supertokens

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A dump is as old as it says, and no younger than its file.
func TestMadeAt(t *testing.T) {
	t.Parallel()
	written := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "dump.sql")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, written, written); err != nil {
		t.Fatal(err)
	}
	before, after := written.Add(-time.Hour), written.Add(time.Hour)
	for says, want := range map[time.Time]time.Time{{}: written, before: before, after: written} {
		if got := madeAt(path, says); !got.Equal(want) {
			t.Errorf("says %s: made at %s, want %s", says, got, want)
		}
	}
	if got := madeAt(path+".not", before); !got.Equal(before) {
		t.Errorf("without a file: made at %s", got)
	}
}
