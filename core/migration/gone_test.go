//go:build unix

package migration_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
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
	raw := read(t, p.file("source.sql"))
	for _, pair := range ids.Pairs {
		if pair.SourceID == pair.VisibleID && countOf(raw, pair.SourceID) == 4 {
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

// part is a run about a part of the accounts.
func part(c migration.Choice) migration.RunOptions {
	c.Flags = []string{"--some-of-them"}
	return migration.RunOptions{Choice: c}
}

// renamed gives tables of the dump other names.
func renamed(from, to string) func(*testing.T, place) {
	return func(t *testing.T, p place) {
		t.Helper()
		put(t, p.file("source.sql"), strings.ReplaceAll(read(t, p.file("source.sql")), from, to))
	}
}

// A dump without somebody, which is newer than the last run, shows that the person has
// gone; each of these does not.
func TestGoneIsProven(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		source   string // in the place of the usual one
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
		"a sample":        {run: part(migration.Choice{Sample: 5}), code: diag.GonePart},
		"a tenant":        {run: part(migration.Choice{Tenants: []string{"public"}}), code: diag.GonePart},
		"some people":     {run: part(migration.Choice{IDs: []engine.Named{{ID: "9c7c2c25-df4c-4478-ba2d-76c763d33eef"}}}), code: diag.GonePart},
		"only rejects":    {run: part(migration.Choice{OnlyRejects: true}), code: diag.GonePart},
		"another filter":  {sections: followGone + "mapping: {filter: 'true'}\n", code: diag.GoneOtherReading, kept: true},
		"another prefix":  {change: renamed("public.", "public.auth_"), source: "table_prefix: auth", code: diag.GoneOtherReading, kept: true},
		"another schema":  {change: renamed("public.", "people."), source: "schema: people", code: diag.GoneOtherReading, kept: true},
		"another name":    {change: renamed("public.emailpassword_users ", "public.people "), source: "tables: {emailpassword_users: people}", code: diag.GoneOtherReading, kept: true},
		"another mapping": {source: "left_under_internal_id: take", code: diag.GoneOtherReading, kept: true},
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
			if tt.source != "" {
				put(t, p.path, "source: {dump: ./source.sql, "+tt.source+"}\n"+followGone)
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

// Whoever is in one app is nobody who has gone from another one.
func TestGoneOfAnotherApp(t *testing.T) {
	t.Parallel()
	const many = toFolder + "policies: {gone: disable}\nlimits: {gone: 1000}\n"
	p := newPlace(t, many)
	if s := p.run(t, migration.Options{}, migration.RunOptions{}).Result.Summary; s.Created < 50 {
		t.Fatalf("%+v", s)
	}
	put(t, p.file("source.sql"), "\n"+read(t, p.file("source.sql"))) // a newer one
	put(t, p.path, "source: {dump: ./source.sql, app: shop}\n"+many)
	for range 2 {
		r := p.run(t, migration.Options{}, migration.RunOptions{}).Result
		if r.Gone.People != 0 || r.Gone.Disabled != 0 || r.Summary.Read == 0 {
			t.Errorf("%+v, %+v", r.Gone, r.Summary)
		}
	}
}

// A dump that is cut off shows nobody who has gone.
func TestGoneOfACutDump(t *testing.T) {
	t.Parallel()
	p := newPlace(t, followGone)
	p.run(t, migration.Options{}, migration.RunOptions{})
	raw := read(t, p.file("source.sql"))
	put(t, p.file("source.sql"), raw[:strings.LastIndex(raw, "\\.")])
	m := p.open(t, migration.Options{})
	if r, err := m.Run(t.Context(), migration.RunOptions{}); err == nil {
		t.Errorf("it was read: %+v", r.Result)
	}
	if did := read(t, p.file("accounts/requests.log")); strings.Contains(did, "switch off") || !strings.Contains(did, "created") {
		t.Errorf("the target has seen:\n%s", did)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
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
