package migration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/supertokens"
)

// readingSettings digests what decides which accounts the source has: whoever is not among
// those of another choice is not known to have gone.
func readingSettings(cfg *Config) []byte {
	spec, _ := mappingSpec(cfg.Config) // checked when it was compiled
	s := cfg.Source
	raw, _ := json.Marshal([]any{s.App, s.Schema, s.TablePrefix, s.Tables, s.MigrationMode, s.LeftUnderInternalID, spec.Filter}) // made of text only
	if cfg.share != nil {
		raw = append(raw, cfg.share.choice()...)
	}
	sum := sha256.Sum256(raw)
	return sum[:16]
}

// lastReading stands for the last run in [engine.Departures].
const lastReading = 0

// departures is what is known of the reading, for people who have gone; nil where nobody
// follows them.
func departures(ctx context.Context, m *Migration) (*engine.Departures, error) {
	scope := m.journal.scope
	if scope == nil || !m.cfg.Policies.Gone.Follows() {
		return nil, nil //nolint:nilnil // nobody follows
	}
	readings, err := scope.Runs.Readings(ctx)
	if err != nil {
		return nil, RefusedError{err}
	}
	last, ran, err := scope.Runs.Last(ctx, true)
	if err != nil {
		return nil, RefusedError{err}
	}
	now := readingSettings(m.cfg)
	return &engine.Departures{
		SameReading: func(run int64) bool {
			if run == lastReading && !ran {
				return true
			}
			if run == lastReading {
				run = last.ID
			}
			return bytes.Equal(readings[run], now)
		},
		Unproven: func() (diag.Code, string) {
			began := time.Time{}
			if ran {
				began = last.Began
			}
			return unproven(m, began)
		},
	}, nil
}

// unproven says why a reading does not show who has gone: it is not whole, or older than
// what the last run has seen.
func unproven(m *Migration, last time.Time) (diag.Code, string) {
	complete, known := m.source.src.Completeness()
	made, dump := supertokens.Made(m.source.src)
	switch {
	case len(m.o.Accept) > 0:
		return diag.GoneIncomplete, "--accept-incomplete is set, and what is missing from the source may be there"
	case !known || !complete.Whole:
		return diag.GoneIncomplete, "the source is not proven to be whole"
	case dump && !made.After(last):
		return diag.GoneOlderDump, fmt.Sprintf("the dump is of %s, and the last run began at %s", made.Format(time.DateTime), last.Format(time.DateTime))
	}
	return "", ""
}
