package reconcile

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stetl/stetl/core/sdk"
)

// Beginning is when loads into a target began, as far as the journal knows. An account that
// is older is of none of them, whatever mark it carries: somebody else has made it, or loads
// whose journal is lost. It is safe for concurrent use.
type Beginning struct {
	journal sdk.Journal

	mu sync.Mutex
	at time.Time
}

// beginningKey is the journal's. ClockError is how wrong the clock of a target may be.
const (
	beginningKey = "loads_began"
	ClockError   = 15 * time.Minute
)

// NewBeginning reads what earlier runs have noted.
func NewBeginning(j sdk.Journal) *Beginning {
	b := &Beginning{journal: j}
	if j == nil {
		return b
	}
	if raw, ok := j.Get(beginningKey); ok && b.at.UnmarshalText(raw) != nil {
		b.at = time.Time{} // unknown, as without a note
	}
	return b
}

// Note notes the time, durably, before the first load writes anything.
func (b *Beginning) Note(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.journal == nil || !b.at.IsZero() {
		return nil
	}
	now := time.Now().UTC()
	raw, err := now.MarshalText()
	if err == nil {
		err = b.journal.Put(ctx, beginningKey, raw)
	}
	if err != nil {
		return fmt.Errorf("note when loads began: %w", err)
	}
	b.at = now
	return nil
}

// Older reports whether an account was there before. It is false where either time is
// unknown.
func (b *Beginning) Older(created time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !created.IsZero() && !b.at.IsZero() && created.Before(b.at.Add(-ClockError))
}
