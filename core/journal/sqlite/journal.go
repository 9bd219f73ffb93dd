package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	"zombiezen.com/go/sqlite"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
)

// The files in the folder of a journal.
const (
	fileName = "journal.db"
	lockName = "journal.lock"
	keyName  = "preimages.key"

	ignoreName = ".gitignore"
)

// version is that of the tables. A newer one is refused, as its meaning is unknown.
const version = 3

// upgrades lead from each earlier version to the next one.
var upgrades = []string{
	`ALTER TABLE account ADD COLUMN sign_in TEXT NOT NULL DEFAULT ''`,
	`ALTER TABLE account ADD COLUMN disabled_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN reading BLOB`,
}

const tables = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE scope (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE run (
	id INTEGER PRIMARY KEY, scope INTEGER NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL, program TEXT NOT NULL,
	settings BLOB NOT NULL, began INTEGER NOT NULL, ended INTEGER, result BLOB, reading BLOB
);
CREATE TABLE sent (id INTEGER PRIMARY KEY, scope INTEGER NOT NULL, run INTEGER NOT NULL, at INTEGER NOT NULL, accounts BLOB NOT NULL);
CREATE TABLE account (
	scope INTEGER NOT NULL, source_id TEXT NOT NULL, visible_id TEXT NOT NULL, target_id TEXT NOT NULL,
	action TEXT NOT NULL, code TEXT NOT NULL, class TEXT NOT NULL, digest BLOB, state BLOB, sign_in TEXT NOT NULL,
	origin TEXT NOT NULL, in_doubt INTEGER NOT NULL, run INTEGER NOT NULL, at INTEGER NOT NULL,
	disabled_at INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (scope, source_id)
) WITHOUT ROWID;
CREATE TABLE preimage (
	scope INTEGER NOT NULL, source_id TEXT NOT NULL, encrypted BLOB NOT NULL, PRIMARY KEY (scope, source_id)
) WITHOUT ROWID;
CREATE TABLE saved (scope INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
CREATE TABLE sample (run INTEGER NOT NULL, at INTEGER NOT NULL, done INTEGER NOT NULL);
CREATE TABLE payload (
	scope INTEGER NOT NULL, source_id TEXT NOT NULL, digest BLOB NOT NULL, encrypted BLOB NOT NULL, PRIMARY KEY (scope, source_id)
) WITHOUT ROWID;
CREATE TABLE reason (
	scope INTEGER NOT NULL, source_id TEXT NOT NULL, encrypted BLOB NOT NULL, PRIMARY KEY (scope, source_id)
) WITHOUT ROWID;
`

// Journal is one open file. All methods are safe for concurrent use.
type Journal struct {
	dir     string
	lock    *flock.Flock // nil when only reading
	key     []byte
	readers *readers // nil when it could not be opened
	writer  *writer  // nil when only reading
	seal    sealer
	// accounts is what is read of them: the table, or what recover would make of it.
	accounts string
}

// Open opens the journal in dir for a run, making folder (0700) and file (0600)
// first if need be, and keeps other runs out until Close. The error matches
// [journal.ErrLocked] when one is at work.
func Open(ctx context.Context, dir string) (*Journal, error) { return OpenKeyed(ctx, dir, nil) }

// OpenKeyed is [Open] with the key that a journal which is yet to be made gets; nil
// has one chosen at random. The error matches [journal.ErrOtherKey] when there is a journal
// with another key.
func OpenKeyed(ctx context.Context, dir string, key []byte) (_ *Journal, err error) {
	if err := makeFolder(dir); err != nil {
		return nil, fmt.Errorf("make the journal's folder: %w", err)
	}
	lock := flock.New(filepath.Join(dir, lockName), flock.SetPermissions(0o600))
	got, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the journal: %w", err)
	}
	if !got {
		return nil, fmt.Errorf("%w: %s%s", journal.ErrLocked, dir, holder(dir))
	}
	j := &Journal{dir: dir, lock: lock, key: key, accounts: "account"}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Close())
		}
	}()
	host, _ := os.Hostname() // for people only
	if err := os.WriteFile(filepath.Join(dir, lockName), fmt.Appendf(nil, "%d %s\n", os.Getpid(), host), 0o600); err != nil {
		return nil, fmt.Errorf("lock the journal: %w", err)
	}
	// SQLite would make the file readable for everybody.
	path := filepath.Join(dir, fileName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	if err := j.open(ctx, path, false); err != nil {
		return nil, err
	}
	return j, nil
}

// makeFolder makes the folder, unless it is there. A new one keeps itself out of version
// control: it holds a key, and belongs to one place. One that somebody else has made can
// hold other things, and is left as it is.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ignoreName), []byte("*\n"), 0o600)
}

// Read opens the journal in dir for looking only, beside a run that may be
// writing it. The error matches [fs.ErrNotExist] when there is none.
func Read(ctx context.Context, dir string) (_ *Journal, err error) {
	path := filepath.Join(dir, fileName)
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no journal in %s yet: %w", dir, fs.ErrNotExist)
		}
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	j := &Journal{dir: dir, accounts: "account"}
	if err := j.open(ctx, path, true); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// holder says who has the lock, as far as its file tells.
func holder(dir string) string {
	content, err := os.ReadFile(filepath.Join(dir, lockName))
	pid, host, ok := strings.Cut(strings.TrimSpace(string(content)), " ")
	if err != nil || !ok {
		return ""
	}
	return fmt.Sprintf(" (process %s on %s)", pid, host)
}

func (j *Journal) open(ctx context.Context, path string, readOnly bool) error {
	j.readers = &readers{path: path, readOnly: readOnly}
	var have int
	if _, err := j.readers.first(ctx, func(row *sqlite.Stmt) { have = row.ColumnInt(0) }, "PRAGMA user_version"); err != nil {
		return fmt.Errorf("open the journal %s: %w", path, err)
	}
	if err := readable(have, path, readOnly); err != nil {
		return err
	}
	if !readOnly {
		c, err := connect(path, readOnly)
		if err != nil {
			return fmt.Errorf("open the journal %s: %w", path, err)
		}
		j.writer = newWriter(c)
	}
	if have < version {
		if err := j.upgrade(have); err != nil {
			return fmt.Errorf("make the tables of the journal %s: %w", path, err)
		}
	}
	wanted := j.key
	found, err := j.readers.first(ctx, func(row *sqlite.Stmt) { j.key = blob(row, 0) }, "SELECT value FROM meta WHERE key = 'fingerprint_key'")
	if err == nil && !found {
		err = errors.New("it has no key")
	}
	if err != nil {
		return fmt.Errorf("read the journal %s: %w", path, err)
	}
	part, err := j.readers.first(ctx, func(*sqlite.Stmt) {}, "SELECT 1 FROM meta WHERE key = 'copying'")
	if err != nil {
		return fmt.Errorf("read the journal %s: %w", path, err)
	}
	if part {
		return &journal.Error{Code: diag.JournalIncomplete, Text: fmt.Sprintf("the journal %s is a copy that has not come to its end", path)}
	}
	if wanted != nil && !bytes.Equal(wanted, j.key) {
		return fmt.Errorf("%w: %s", journal.ErrOtherKey, path)
	}
	if !readOnly {
		return j.recover()
	}
	marks, err := j.readers.first(ctx, func(*sqlite.Stmt) {}, "SELECT 1 FROM sent")
	if err != nil {
		return fmt.Errorf("read the journal %s: %w", path, err)
	}
	if marks {
		j.accounts = recovered
	}
	return nil
}

// readable says whether tables of that version can be read, or else made readable.
func readable(have int, path string, readOnly bool) error {
	switch {
	case have > version:
		return fmt.Errorf("the journal %s was written by a newer version of this program; use that one", path)
	case have == 0 && readOnly:
		return fmt.Errorf("the journal %s is empty: %w", path, fs.ErrNotExist)
	case have < version && readOnly:
		return fmt.Errorf("the journal %s was written by an older version of this program; a run of this version updates it", path)
	}
	return nil
}

func (j *Journal) create() error {
	key := j.key
	if key == nil {
		key = journal.NewKey()
	}
	return j.writer.write(func(w *writer) error {
		if err := w.script(tables); err != nil {
			return err
		}
		if err := w.exec("INSERT INTO meta VALUES ('fingerprint_key', ?)", key); err != nil {
			return err
		}
		return w.exec(fmt.Sprintf("PRAGMA user_version = %d", version))
	})
}

// upgrade makes the tables of this version out of those of an earlier one, or of none.
func (j *Journal) upgrade(have int) error {
	if have == 0 {
		return j.create()
	}
	return j.writer.write(func(w *writer) error {
		for _, query := range upgrades[have-1:] {
			if err := w.script(query); err != nil {
				return err
			}
		}
		return w.exec(fmt.Sprintf("PRAGMA user_version = %d", version))
	})
}

// FingerprintKey implements [journal.Journal].
func (j *Journal) FingerprintKey() []byte { return j.key }

// Dir is the folder.
func (j *Journal) Dir() string { return j.dir }

// Close writes out what is queued and lets other runs in.
func (j *Journal) Close() error {
	var errs []error
	if j.writer != nil {
		errs = append(errs, j.writer.close())
	}
	if j.readers != nil {
		errs = append(errs, j.readers.close())
	}
	if j.lock != nil {
		errs = append(errs, j.lock.Unlock())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the journal: %w", err)
	}
	return nil
}
