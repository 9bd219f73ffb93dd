package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"zombiezen.com/go/sqlite"

	"github.com/stetl/stetl/core/pluginapi"
)

func open(t testing.TB, dir string) *Journal {
	t.Helper()
	j, err := Open(context.Background(), dir)
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

func scope(t testing.TB, j *Journal, destination string) *Scope {
	t.Helper()
	s, err := j.Scope(context.Background(), "public", destination)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reopen closes the journal without any outcome for what was marked, and opens it
// as the next process would.
func reopen(t *testing.T, j *Journal) (*Journal, *Scope) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, j.Dir())
	return j, scope(t, j, "here")
}

func entries(t *testing.T, s *Scope) []Entry {
	t.Helper()
	var out []Entry
	for e, err := range s.Accounts(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

var ignoreTime = cmpopts.IgnoreFields(Entry{}, "At")

func TestOutcomesReplaceMarks(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	s := scope(t, j, "here")
	if _, err := s.Mark(1, []Entry{{SourceID: "b", VisibleID: "v\"b", Class: pluginapi.NoPassword}, {SourceID: "a", VisibleID: "va"}}); err != nil {
		t.Fatal(err)
	}
	j, s = reopen(t, j)
	got := entries(t, s)
	if len(got) != 2 || got[1].VisibleID != "v\"b" || got[1].Class != pluginapi.NoPassword || got[1].Run != 1 {
		t.Fatalf("after a crash: %+v", got)
	}
	for _, e := range got {
		if !e.InDoubt || e.Action != pluginapi.InDoubt || e.Digest != nil {
			t.Errorf("after a crash: %+v", e)
		}
	}
	done := Entry{
		SourceID: "a", VisibleID: "va", TargetID: "ta", Action: pluginapi.Created, Class: pluginapi.HashCarried,
		Digest: []byte{1}, State: []byte{2}, Origin: Made, Run: 1,
	}
	batch, err := s.Mark(1, []Entry{done})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Record(batch, []Entry{done}); err != nil {
		t.Fatal(err)
	}
	j, s = reopen(t, j)
	got = entries(t, s)
	if diff := cmp.Diff(done, got[0], ignoreTime); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	if !got[1].InDoubt {
		t.Error("the other account is no longer pending")
	}
	// A second mark keeps what is known from before.
	if _, err := s.Mark(2, []Entry{{SourceID: "a", VisibleID: "va"}}); err != nil {
		t.Fatal(err)
	}
	_, s = reopen(t, j)
	again := entries(t, s)[0]
	if !again.InDoubt || again.Origin != Made || string(again.State) != "\x02" || again.TargetID != "ta" || again.Run != 2 {
		t.Errorf("after the second mark: %+v", again)
	}
	for _, id := range []string{"a", "va", "ta"} {
		if e, ok, err := s.Account(t.Context(), id); err != nil || !ok || e.SourceID != "a" {
			t.Errorf("account by %s: %+v, %v, %v", id, e, ok, err)
		}
	}
	if _, ok, err := s.Account(t.Context(), "nobody"); ok || err != nil {
		t.Errorf("nobody: %v, %v", ok, err)
	}
	if err := s.Forget([]string{"a"}); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, s); len(got) != 1 || got[0].SourceID != "b" {
		t.Errorf("after forgetting: %+v", got)
	}
}

// Who only looks sees what a killed run has sent as the next run will, and leaves the
// journal as it is.
func TestReaderSeesMarksOfAKilledRun(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	s := scope(t, j, "here")
	if err := s.Record(0, []Entry{
		{SourceID: "a", VisibleID: "va", TargetID: "ta", Action: pluginapi.Created, Origin: Made, Digest: []byte{1}, State: []byte{2}, Run: 1},
		{SourceID: "d", VisibleID: "vd", TargetID: "td", Action: pluginapi.Created, Origin: Made, Run: 1},
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"here", "elsewhere"} {
		if _, err := scope(t, j, name).Mark(2, []Entry{{SourceID: "c", VisibleID: "v\"" + name, Class: pluginapi.NoPassword}, {SourceID: "a", VisibleID: "va"}}); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := Read(t.Context(), j.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	looked := scope(t, reader, "here")
	seen := entries(t, looked)
	one, ok, err := looked.Get(t.Context(), "c")
	if err != nil || !ok || !one.InDoubt || one.VisibleID != "v\"here" {
		t.Errorf("get: %+v, %v, %v", one, ok, err)
	}
	if found, ok, err := looked.Account(t.Context(), "v\"here"); err != nil || !ok || found.SourceID != "c" {
		t.Errorf("by visible id: %+v, %v, %v", found, ok, err)
	}
	_, s = reopen(t, j) // takes the marks in
	later := entries(t, s)
	for i := range later { // of one that had an outcome, the run and time of the mark count then
		if later[i].SourceID == "a" {
			later[i].Run, later[i].At = seen[i].Run, seen[i].At
		}
	}
	if diff := cmp.Diff(later, seen); diff != "" || len(seen) != 3 || !seen[0].InDoubt || seen[2].InDoubt {
		t.Errorf("what a reader sees (-next run +reader):\n%s", diff)
	}
}

// What an entry answers is the same whether the database or an entry says it, and comes in the
// order of bytes, in which sources are.
func TestAnswersOfEntryAndDatabase(t *testing.T) {
	t.Parallel()
	s := scope(t, open(t, t.TempDir()), "here")
	var all []Entry
	for i, id := range []string{"Z", "a", "\u00e9", "\U0001F600", "a\x00b"} {
		for _, action := range []pluginapi.Action{pluginapi.Created, pluginapi.Updated, pluginapi.Unchanged, pluginapi.Rejected, pluginapi.Skipped, pluginapi.InDoubt} {
			for _, targetID := range []string{"", "t"} {
				for _, origin := range []Origin{Unclear, Made, Adopted, Found} {
					all = append(all, Entry{
						SourceID: fmt.Sprintf("%s-%s-%s-%s", id, action, targetID, origin), TargetID: targetID, Action: action, Origin: origin,
						InDoubt: i%2 == 0, Digest: []byte(id),
					})
				}
			}
		}
	}
	if err := s.Record(0, all); err != nil {
		t.Fatal(err)
	}
	payloads, open := map[string]Payload{}, 0
	for _, e := range all {
		payloads[e.SourceID] = Payload{[]byte{1}, []byte{2}}
	}
	if err := s.Rejects.KeepPayloads(payloads); err != nil { // of those alone that are open
		t.Fatal(err)
	}
	for _, e := range all {
		_, kept, err := s.Rejects.Payload(t.Context(), e.SourceID)
		if err != nil || kept != e.Open() {
			t.Errorf("%s is open for an entry: %v, for the database: %v, %v", e.SourceID, e.Open(), kept, err)
		}
		if kept {
			open++
		}
	}
	if open == 0 || open == len(all) {
		t.Errorf("%d of %d are open", open, len(all))
	}
	slices.SortFunc(all, func(x, y Entry) int { return strings.Compare(x.SourceID, y.SourceID) })
	var want, got []Known
	for _, e := range all {
		want = append(want, e.Known())
	}
	for k, err := range s.Known(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		k.Digest = slices.Clone(k.Digest)
		got = append(got, k)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Who reads a journal can be stopped, though the database is not told.
func TestReadingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := scope(t, open(t, t.TempDir()), "here")
	if err := s.Record(0, []Entry{{SourceID: "a"}, {SourceID: "b"}, {SourceID: "c"}}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var read []string
	var failed error
	for k, err := range s.Known(ctx) {
		failed = err
		if err == nil {
			read = append(read, k.SourceID)
		}
		stop()
	}
	if !errors.Is(failed, context.Canceled) || len(read) != 1 {
		t.Errorf("%q were read after the context had ended, with %v", read, failed)
	}
}

func TestScopesAreApart(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	one, two := scope(t, j, "here"), scope(t, j, "there")
	if err := one.Record(0, []Entry{{SourceID: "a"}}); err != nil {
		t.Fatal(err)
	}
	if err := one.Plugin.Save(t.Context(), "job", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, two); len(got) != 0 || len(saved(t, two)) != 0 {
		t.Errorf("the other scope holds %+v, %v", got, saved(t, two))
	}
	if err := one.Plugin.Save(t.Context(), "job", nil); err != nil || len(saved(t, one)) != 0 {
		t.Errorf("removed: %v, %v", saved(t, one), err)
	}
}

func TestSurvivesClosing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	j := open(t, dir)
	key := j.FingerprintKey()
	if err := scope(t, j, "here").Record(0, []Entry{{SourceID: "x", Before: []byte("what it was")}}); err != nil {
		t.Fatal(err)
	}
	id, err := scope(t, j, "here").Runs.Begin(Run{Source: "s", Target: "t", Settings: []byte{9}, Began: time.UnixMilli(5)})
	if err != nil || id != 1 {
		t.Fatalf("begin: %d, %v", id, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir)
	s := scope(t, j, "here")
	if string(j.FingerprintKey()) != string(key) || len(key) != 32 {
		t.Error("the key has changed")
	}
	if before, err := s.Before(t.Context(), "x"); err != nil || string(before) != "what it was" {
		t.Errorf("pre-image %q, %v", before, err)
	}
	if _, ok, err := s.Runs.Last(t.Context(), false); ok || err != nil {
		t.Errorf("an unfinished run counts as finished: %v", err)
	}
	if r, ok, err := s.Runs.Last(t.Context(), true); !ok || err != nil || r.ID != 1 || !r.Ended.IsZero() {
		t.Errorf("unfinished run: %+v, %v", r, err)
	}
	if err := s.Runs.End(1, time.UnixMilli(9), map[string]int{"read": 1}); err != nil {
		t.Fatal(err)
	}
	r, ok, err := s.Runs.Last(t.Context(), false)
	if !ok || err != nil || string(r.Result) != `{"read":1}` || r.Ended.UnixMilli() != 9 {
		t.Errorf("finished run: %+v, %v", r, err)
	}
}

// The first pre-image is the one from before this program came.
func TestFirstPreImageStays(t *testing.T) {
	t.Parallel()
	s := scope(t, open(t, t.TempDir()), "here")
	for _, before := range []string{"first", "second"} {
		if err := s.Record(0, []Entry{{SourceID: "x", Before: []byte(before)}}); err != nil {
			t.Fatal(err)
		}
	}
	if before, err := s.Before(t.Context(), "x"); err != nil || string(before) != "first" {
		t.Errorf("pre-image %q, %v", before, err)
	}
	if before, err := s.Before(t.Context(), "y"); err != nil || before != nil {
		t.Errorf("pre-image of nobody %q, %v", before, err)
	}
}

func TestOnlyItsOwnerCanRead(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "deep", "er")
	j := open(t, dir)
	const secret = "ada@example.org and her hash"
	if err := scope(t, j, "here").Record(0, []Entry{{SourceID: "x", Before: []byte(secret)}}); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if !d.IsDir() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if strings.Contains(string(content), secret) {
				t.Errorf("%s holds a pre-image in the clear", path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What is confirmed is on the disk: every commit waits for it.
func TestCommitsWaitForTheDisk(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	err := j.writer.write(func(w *writer) error {
		for setting, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "busy_timeout": "10000", "cache_size": "-4000"} {
			var got string
			err := rows(w.conn, func(row *sqlite.Stmt) bool {
				got = row.ColumnText(0)
				return true
			}, "PRAGMA "+setting)
			if err != nil || got != want {
				t.Errorf("%s is %s, want %s; %v", setting, got, want, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOneRunAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir)
	_, err := Open(t.Context(), dir)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("second open: %v", err)
	}
	r, err := Read(t.Context(), dir)
	if err != nil {
		t.Fatalf("reading beside a run: %v", err)
	}
	if err := scope(t, r, "here").Record(0, []Entry{{SourceID: "x"}}); err == nil {
		t.Error("a journal opened for reading took a record")
	}
	if err := errors.Join(r.Close(), j.Close()); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestReadWantsAJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Read(t.Context(), dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("reading left %v behind", files)
	}
}

func TestNewerJournalIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir)
	change(t, j, "PRAGMA user_version = 99")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("error %v", err)
	}
}

// A journal of the first version is brought up to date by the next run, and says so to
// whoever only reads.
func TestOlderJournalIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir)
	s := scope(t, j, "idp")
	if err := s.Record(0, []Entry{{SourceID: "a", VisibleID: "a", Action: pluginapi.Created, Origin: Made, SignIn: "email"}}); err != nil {
		t.Fatal(err)
	}
	for _, column := range []string{"account DROP COLUMN sign_in", "account DROP COLUMN disabled_at", "run DROP COLUMN reading"} {
		change(t, j, "ALTER TABLE "+column)
	}
	change(t, j, "PRAGMA user_version = 1")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "older version") {
		t.Errorf("reading: %v", err)
	}
	for range 2 { // the second time there is nothing to do
		j = open(t, dir)
		e, found, err := scope(t, j, "idp").Get(t.Context(), "a")
		if err != nil || !found || e.Action != pluginapi.Created || e.SignIn != "" {
			t.Errorf("%+v, %v, %v", e, found, err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A job that fails must not take those down that share its transaction.
func TestFailureIsNotShared(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	s := scope(t, j, "here")
	var wg sync.WaitGroup
	bad := errors.New("bad job")
	for i := range 200 {
		wg.Go(func() {
			if i%10 == 0 {
				if err := j.writer.write(func(*writer) error { return bad }); !errors.Is(err, bad) {
					t.Errorf("bad job: %v", err)
				}
				return
			}
			if err := s.Record(0, []Entry{{SourceID: fmt.Sprint(i)}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(entries(t, s)); n != 180 {
		t.Errorf("%d accounts, want 180", n)
	}
}

// BenchmarkRecord prints outcomes per second, marked and recorded in batches of
// 200 from four goroutines, each durable when it returns.
func BenchmarkRecord(b *testing.B) {
	s := scope(b, open(b, b.TempDir()), "here")
	state := make([]byte, 181)
	batch := func(n int) []Entry {
		out := make([]Entry, 200)
		for i := range out {
			id := fmt.Sprintf("%08x-0000-4000-8000-%012x", n, i)
			out[i] = Entry{SourceID: id, VisibleID: id, TargetID: id, Action: pluginapi.Created, Class: pluginapi.HashCarried, Digest: state[:16], State: state, Origin: Made, Run: 1}
		}
		return out
	}
	work := make(chan int)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range work {
				entries := batch(n)
				sent, err := s.Mark(1, entries)
				if err := errors.Join(err, s.Record(sent, entries)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	n := 0
	for b.Loop() {
		work <- n
		n++
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64(n*200)/b.Elapsed().Seconds(), "outcomes/s")
}

// BenchmarkKnown prints what reading an account costs a second run.
func BenchmarkKnown(b *testing.B) {
	const accounts = 300_000
	s := scope(b, open(b, b.TempDir()), "here")
	ids := func(yield func(Entry) bool) {
		state := make([]byte, 181)
		for n := range accounts {
			id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", n)
			if !yield(Entry{SourceID: id, VisibleID: id, TargetID: id, Action: pluginapi.Created, Class: pluginapi.HashCarried, Digest: state[:16], State: state, Origin: Made, Run: 1}) {
				return
			}
		}
	}
	if err := s.Record(0, slices.Collect(ids)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for k, err := range s.Known(b.Context()) {
			if err != nil || !k.InTarget || len(k.Digest) != 16 {
				b.Fatal(k, err)
			}
			n++
		}
		if n != accounts {
			b.Fatalf("%d accounts, want %d", n, accounts)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*accounts), "ns/account")
}

// A journal can be made with the key of a plan that is older than itself, and is
// not taken for one that such a plan was made with when it was not.
func TestKeyOfAPlan(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	for range 2 {
		j, err := OpenKeyed(t.Context(), dir, key)
		if err != nil {
			t.Fatal(err)
		}
		if string(j.FingerprintKey()) != string(key) {
			t.Error("it has another key")
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenKeyed(t.Context(), dir, NewKey()); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another key: %v", err)
	}
}

// Only a run over all accounts that came to its end says what settings they are
// compared with.
func TestSettings(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	s := scope(t, j, "a")
	for _, run := range []struct {
		settings string
		result   any
		want     string
	}{
		{"one", map[string]string{}, "one"},
		{"two", nil, "one"}, // killed
		{"three", map[string]string{"error": "stopped"}, "one"},
		{"", map[string]string{}, "one"}, // restricted
		{"four", map[string]string{}, "four"},
	} {
		id, err := s.Runs.Begin(Run{Settings: []byte(run.settings), Began: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if run.result != nil {
			if err := s.Runs.End(id, time.Now(), run.result); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.Runs.Settings(t.Context()); err != nil || string(got) != run.want {
			t.Errorf("after %+v: %q, %v", run, got, err)
		}
	}
}

// A disk that is full loses nothing of what was confirmed, and the journal goes on
// once there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	s := scope(t, j, "a")
	// SQLite fails in the same way for want of pages as for want of disk.
	change(t, j, "PRAGMA max_page_count = 60")
	confirmed := 0
	var err error
	for err == nil {
		e := Entry{SourceID: fmt.Sprintf("u%05d", confirmed), Action: pluginapi.Created, State: make([]byte, 1000), Origin: Made}
		if err = s.Record(0, []Entry{e}); err == nil {
			confirmed++
		}
		if confirmed > 1000 {
			t.Fatal("the disk is never full")
		}
	}
	if !strings.Contains(err.Error(), "full") || confirmed == 0 {
		t.Errorf("after %d accounts: %v", confirmed, err)
	}
	j, _ = reopen(t, j)
	s = scope(t, j, "a")
	if got := entries(t, s); len(got) != confirmed {
		t.Errorf("%d accounts are left of %d that were confirmed", len(got), confirmed)
	}
	if err := s.Record(0, []Entry{{SourceID: "later", Action: pluginapi.Created}}); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// change does to a journal what this package never does.
func change(t *testing.T, j *Journal, query string) {
	t.Helper()
	if err := j.writer.write(func(w *writer) error { return w.exec(query) }); err != nil {
		t.Fatal(err)
	}
}

func saved(t *testing.T, s *Scope) map[string][]byte {
	t.Helper()
	all, err := s.Plugin.Saved(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// An account that was switched off keeps when, and what it was; what it was goes when it is
// on again.
func TestDisabledAccounts(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	defer func() { _ = j.Close() }()
	s := scope(t, j, "idp")
	at := time.UnixMilli(1_700_000_000_123)
	made := Entry{SourceID: "a", VisibleID: "a", TargetID: "t", Action: pluginapi.Created, Origin: Made}
	off := made
	off.DisabledAt, off.Before = at, []byte("before")
	again := off
	again.Before = []byte("later")
	anew := again
	anew.Before, anew.Anew = []byte("anew"), true
	on := made
	on.Before = []byte{}
	for _, step := range []struct {
		entry  Entry
		at     time.Time
		before string
	}{{made, time.Time{}, ""}, {off, at, "before"}, {again, at, "before"}, {anew, at, "anew"}, {on, time.Time{}, ""}, {again, at, "later"}} {
		if err := s.Record(0, []Entry{step.entry}); err != nil {
			t.Fatal(err)
		}
		e, _, err := s.Get(t.Context(), "a")
		before, beforeErr := s.Before(t.Context(), "a")
		if err != nil || beforeErr != nil || !e.DisabledAt.Equal(step.at) || string(before) != step.before {
			t.Errorf("%v, %q, %v, %v; want %v, %q", e.DisabledAt, before, err, beforeErr, step.at, step.before)
		}
	}
	run, err := s.Runs.Begin(Run{Settings: []byte("x"), Reading: []byte("r"), Began: at})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := s.Runs.Readings(t.Context()); err != nil || string(all[run]) != "r" {
		t.Errorf("%v, %v", all, err)
	}
}

// A journal keeps itself out of version control, and leaves a folder of somebody else's
// as it is.
func TestFolderIgnoresItself(t *testing.T) {
	t.Parallel()
	own, theirs := filepath.Join(t.TempDir(), "deep", ".stetl"), t.TempDir()
	open(t, own)
	open(t, theirs)
	if got, err := os.ReadFile(filepath.Join(own, ".gitignore")); err != nil || string(got) != "*\n" {
		t.Errorf("a new folder: %q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(theirs, ".gitignore")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that was there: %v", err)
	}
}
