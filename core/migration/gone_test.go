//go:build unix

package migration_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/policy"
	"github.com/stetl/stetl/core/supertokens"
)

// followGone has runs switch accounts off.
const followGone = toFolder + "policies: {gone: disable}\nlimits: {gone: 10}\n"

// someone is a person of the dump who is loaded and has nothing but rows of its own.
func someone(t *testing.T, p place) string {
	t.Helper()
	ids, err := p.past(t).IDMap(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(p.file("source.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range ids.Pairs {
		if pair.SourceID == pair.VisibleID && countOf(string(raw), pair.SourceID) == 4 {
			return pair.SourceID
		}
	}
	t.Fatal("nobody has so few rows")
	return ""
}

// countOf is how many lines have a text.
func countOf(text, part string) (lines int) {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, part) {
			lines++
		}
	}
	return lines
}

// A dump without somebody, which is newer than the last run, shows that the person has
// gone; each of these does not.
func TestGoneIsProven(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		sections string // in the place of the usual ones
		change   func(t *testing.T, p place)
		options  migration.Options
		run      migration.RunOptions
		code     diag.Code
		kept     bool // the code is of the account
	}{
		"it is":             {},
		"a gap is accepted": {options: migration.Options{Accept: []supertokens.GapCode{supertokens.GapTable}}, code: diag.GoneIncomplete},
		"an older dump": {change: func(t *testing.T, p place) {
			t.Helper()
			old := time.Now().Add(-time.Hour)
			if err := os.Chtimes(p.file("source.sql"), old, old); err != nil {
				t.Fatal(err)
			}
		}, code: diag.GoneOlderDump},
		"a sample":       {run: migration.RunOptions{Choice: migration.Choice{Flags: []string{"--sample 5"}, Sample: 5}}, code: diag.GonePart},
		"another filter": {sections: followGone + "mapping: {filter: 'true'}\n", code: diag.GoneOtherReading, kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, followGone)
			p.run(t, migration.Options{}, migration.RunOptions{})
			id := someone(t, p)
			p.without(t, id)
			if tt.sections != "" {
				p.configure(t, tt.sections)
			}
			if tt.change != nil {
				tt.change(t, p)
			}
			for _, dry := range []bool{true, false} {
				tt.run.DryRun, tt.options.ReadOnly = dry, dry
				g := p.run(t, tt.options, tt.run).Result.Gone
				switch {
				case tt.code == "":
					if g.Disabled != 1 || g.Policy != policy.GoneDisable {
						t.Errorf("dry %v: %+v", dry, g)
					}
				case g.Disabled != 0 || tt.kept && g.Kept[tt.code] != 1 || !tt.kept && g.Withheld != tt.code:
					t.Errorf("dry %v: %+v, want %s", dry, g, tt.code)
				}
			}
		})
	}
}

// An undo of what was switched off says first whom it brings back, and does.
func TestGoneComeBackByAnUndo(t *testing.T) {
	t.Parallel()
	p := newPlace(t, followGone)
	p.run(t, migration.Options{}, migration.RunOptions{})
	p.without(t, someone(t, p))
	if g := p.run(t, migration.Options{}, migration.RunOptions{}).Result.Gone; g.Disabled != 1 {
		t.Fatalf("%+v", g)
	}
	for _, dry := range []bool{true, false} {
		m := p.open(t, migration.Options{})
		r, err := m.Undo(context.Background(), migration.UndoOptions{Gone: true, DryRun: dry})
		if err != nil || r.Result.Restored != 1 || len(r.Kept) != 0 {
			t.Errorf("dry %v: %+v, %v", dry, r, err)
		}
		closed(t, m)
	}
	if count, err := p.open(t, migration.Options{}).CountUndo(t.Context()); err != nil || count.Disabled != 0 {
		t.Errorf("%+v, %v", count, err)
	}
}
