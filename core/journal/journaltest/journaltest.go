package journaltest

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stetl/stetl/core/journal"
)

// Place is where one journal is kept. All functions but Recorded and Fail open, or end, what
// is there.
type Place struct {
	// Open opens the journal for a run, and makes it if there is none, with the key where that
	// is not nil.
	Open func(ctx context.Context, key []byte) (journal.Journal, error)
	// Read opens it for looking.
	Read func(ctx context.Context) (journal.Journal, error)
	// Crash ends a journal as the death of its process would, and lets the next one in.
	Crash func(journal.Journal) error
	// Recorded is everything that is kept, as somebody sees it who has stolen it without a key.
	Recorded func() ([]byte, error)
	// Fail has the open journal refuse writes sooner or later, as a full disk does, until heal
	// is called. Crash comes between the two.
	Fail func(journal.Journal) (heal func() error, err error)
}

// Run holds a kind of journal to what journals promise.
func Run(t *testing.T, newPlace func(t *testing.T) Place) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, p *place)
	}{
		{"outcomes replace marks", outcomesReplaceMarks},
		{"crash at every record", crashAtEveryRecord},
		{"reader sees marks of a killed run", readerSeesMarks},
		{"answers and order", answersAndOrder},
		{"last of an account counts", lastCounts},
		{"reading ends with its context", readingEnds},
		{"reading can be left", readingCanBeLeft},
		{"readers beside the writer", besideTheWriter},
		{"writers share", writersShare},
		{"scopes are apart", scopesAreApart},
		{"survives closing", survivesClosing},
		{"first pre-image stays", firstPreImageStays},
		{"contents are encrypted", contentsAreEncrypted},
		{"one run at a time", oneRunAtATime},
		{"who looks cannot write", whoLooksCannotWrite},
		{"reading wants a journal", readingWantsAJournal},
		{"key of a plan", keyOfAPlan},
		{"errors while recording", errorsWhileRecording},
		{"closed", closed},
		{"settings of whole runs", settings},
		{"runs come newest first", newestFirst},
		{"doubt", doubt},
		{"disabled accounts", disabledAccounts},
		{"reasons", reasons},
		{"payloads go with their reason", payloads},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, &place{Place: newPlace(t)})
		})
	}
}

// place opens journals that the end of the test closes.
type place struct{ Place }

func (p *place) open(t *testing.T) journal.Journal {
	t.Helper()
	j, err := p.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return j
}

// start opens the journal for a run and returns the scope of most cases.
func (p *place) start(t *testing.T) (journal.Journal, *journal.Scope) {
	t.Helper()
	j := p.open(t)
	return j, scope(t, j, "here")
}

func (p *place) read(t *testing.T) journal.Journal {
	t.Helper()
	j, err := p.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// crash ends the journal without a word, and opens it as the next process would.
func (p *place) crash(t *testing.T, j journal.Journal) (journal.Journal, *journal.Scope) {
	t.Helper()
	if err := p.Crash(j); err != nil {
		t.Fatal(err)
	}
	return p.start(t)
}

func scope(t *testing.T, j journal.Journal, destination string) *journal.Scope {
	t.Helper()
	s, err := j.Scope(t.Context(), "public", destination)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func entries(t *testing.T, s *journal.Scope) []journal.Entry {
	t.Helper()
	var out []journal.Entry
	for e, err := range s.Accounts(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func record(t *testing.T, s *journal.Scope, all ...journal.Entry) {
	t.Helper()
	if err := s.Record(0, all); err != nil {
		t.Fatal(err)
	}
}

func saved(t *testing.T, s *journal.Scope) map[string][]byte {
	t.Helper()
	all, err := s.Plugin.Saved(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var ignoreTime = cmpopts.IgnoreFields(journal.Entry{}, "At")

func equal(t *testing.T, what string, want, got any, o ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, o...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func readingWantsAJournal(t *testing.T, p *place) {
	if _, err := p.Read(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	p.start(t)
	p.read(t)
}

// A journal can be made with the key of a plan that is older than itself, and is not taken
// for one that such a plan was made with when it was not.
func keyOfAPlan(t *testing.T, p *place) {
	key := journal.NewKey()
	for range 2 {
		j, err := p.Open(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "key", key, j.FingerprintKey())
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Open(t.Context(), journal.NewKey()); !errors.Is(err, journal.ErrOtherKey) {
		t.Errorf("another key: %v", err)
	}
	p.start(t) // nobody is kept out by it
	equal(t, "key of a reader", key, p.read(t).FingerprintKey())
}

func oneRunAtATime(t *testing.T, p *place) {
	j, s := p.start(t)
	second, err := p.Open(t.Context(), nil)
	if err == nil { // a kind may keep out others from a scope only
		_, err = second.Scope(t.Context(), "public", "here")
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	}
	if !errors.Is(err, journal.ErrLocked) {
		t.Errorf("second run: %v", err)
	}
	record(t, s, journal.Entry{SourceID: "x"}) // the first goes on
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	p.start(t)
}

func whoLooksCannotWrite(t *testing.T, p *place) {
	_, s := p.start(t)
	record(t, s, journal.Entry{SourceID: "x"})
	r := scope(t, p.read(t), "here")
	_, beginErr := r.Runs.Begin(journal.Run{})
	_, markErr := r.Mark(1, []journal.Entry{{SourceID: "x"}})
	for what, err := range map[string]error{
		"mark": markErr, "record": r.Record(0, []journal.Entry{{SourceID: "y"}}), "forget": r.Forget([]string{"x"}), "clear": r.Clear(),
		"begin": beginErr, "save": r.Plugin.Save(t.Context(), "a", []byte("b")), "reasons": r.Rejects.KeepReasons(map[string]journal.Reason{"x": {}}),
		"payloads": r.Rejects.KeepPayloads(nil), "doubt": r.Runs.Doubt(1),
	} {
		if !errors.Is(err, journal.ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := len(entries(t, s)); n != 1 {
		t.Errorf("%d accounts", n)
	}
	// A scope of which nothing is known is empty, and is not made.
	if got := entries(t, scope(t, p.read(t), "nowhere")); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func closed(t *testing.T, p *place) {
	j, s := p.start(t)
	record(t, s, journal.Entry{SourceID: "a"})
	for range 2 {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Record(0, []journal.Entry{{SourceID: "b"}}); err == nil {
		t.Error("a closed journal is written")
	}
	if _, _, err := s.Get(t.Context(), "a"); err == nil {
		t.Error("a closed journal is read")
	}
}
