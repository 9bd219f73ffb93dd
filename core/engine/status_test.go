package engine

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stetl/stetl/core/journal"
)

// The journal lends each digest until the next entry; parts hold all of theirs.
func TestPartsHoldWhatTheJournalLends(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	entries := func(n int, end error) func(func(journal.Known, error) bool) {
		return func(yield func(journal.Known, error) bool) {
			lent := make([]byte, 4)
			for i := range n {
				copy(lent, fmt.Sprintf("%04d", i))
				if !yield(journal.Known{SourceID: fmt.Sprintf("%04d", i), Digest: lent[:i%5]}, nil) {
					return
				}
			}
			if end != nil {
				yield(journal.Known{}, end)
			}
		}
	}
	for _, n := range []int{0, 1, 255, 256, 257, 600} {
		for _, end := range []error{nil, broken} {
			at, failed := 0, error(nil)
			for part, err := range inParts(entries(n, end)) {
				failed = err
				for _, k := range part {
					if id := fmt.Sprintf("%04d", at); k.SourceID != id || string(k.Digest) != id[:at%5] {
						t.Fatalf("entry %d of %d is %s with digest %q", at, n, k.SourceID, k.Digest)
					}
					at++
				}
			}
			if at != n || !errors.Is(failed, end) {
				t.Errorf("%d of %d entries, then %v", at, n, failed)
			}
		}
	}
	for range inParts(entries(600, broken)) { // whoever stops is asked nothing more
		break
	}
}
