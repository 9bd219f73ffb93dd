package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"zombiezen.com/go/sqlite"

	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/journal/journaltest"
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

func part(t testing.TB, j *Journal, destination string) *journal.Scope {
	t.Helper()
	s, err := j.Scope(context.Background(), "public", destination)
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

func TestOnlyItsOwnerCanRead(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "deep", "er")
	j := open(t, dir)
	const secret = "ada@example.org and her hash"
	if err := part(t, j, "here").Record(0, []journal.Entry{{SourceID: "x", Before: []byte(secret)}}); err != nil {
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
	if !errors.Is(err, journal.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("second open: %v", err)
	}
	r, err := Read(t.Context(), dir)
	if err != nil {
		t.Fatalf("reading beside a run: %v", err)
	}
	if err := part(t, r, "here").Record(0, []journal.Entry{{SourceID: "x"}}); err == nil {
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
	s := part(t, j, "idp")
	if err := s.Record(0, []journal.Entry{{SourceID: "a", VisibleID: "a", Action: pluginapi.Created, Origin: journal.Made, SignIn: "email"}}); err != nil {
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
		e, found, err := part(t, j, "idp").Get(t.Context(), "a")
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
	s := part(t, j, "here")
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
			if err := s.Record(0, []journal.Entry{{SourceID: fmt.Sprint(i)}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(entries(t, s)); n != 180 {
		t.Errorf("%d accounts, want 180", n)
	}
}

// BenchmarkRecord prints outcomes per second, each durable when it is confirmed.
func BenchmarkRecord(b *testing.B) {
	journaltest.BenchmarkRecord(b, part(b, open(b, b.TempDir()), "here"))
}

// BenchmarkKnown prints what reading an account costs a second run.
func BenchmarkKnown(b *testing.B) {
	journaltest.BenchmarkKnown(b, part(b, open(b, b.TempDir()), "here"))
}

// A journal in a folder is what a journal has to be.
func TestJournal(t *testing.T) {
	t.Parallel()
	journaltest.Run(t, func(t *testing.T) journaltest.Place {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "journal")
		return journaltest.Place{
			Open:  func(ctx context.Context, key []byte) (journal.Journal, error) { return OpenKeyed(ctx, dir, key) },
			Read:  func(ctx context.Context) (journal.Journal, error) { return Read(ctx, dir) },
			Crash: journal.Journal.Close, // which writes nothing that was not asked for
			Recorded: func() (all []byte, err error) {
				files, err := filepath.Glob(filepath.Join(dir, fileName+"*"))
				for _, path := range files {
					raw, readErr := os.ReadFile(path)
					all, err = append(all, raw...), errors.Join(err, readErr)
				}
				return all, err
			},
			// SQLite fails in the same way for want of pages as for want of disk.
			Fail: func(j journal.Journal) (func() error, error) {
				file, ok := j.(*Journal)
				if !ok {
					return nil, errors.New("not a file")
				}
				return func() error { return nil }, file.writer.write(func(w *writer) error { return w.exec("PRAGMA max_page_count = 60") })
			},
		}
	})
}

// change does to a journal what this package never does.
func change(t *testing.T, j *Journal, query string) {
	t.Helper()
	if err := j.writer.write(func(w *writer) error { return w.exec(query) }); err != nil {
		t.Fatal(err)
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
