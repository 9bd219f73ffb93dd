package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// Origin says how an account of the target came to be in the journal.
type Origin string

// The origins.
const (
	// Unclear: nothing is known to be there, or nobody knows whose it is.
	Unclear Origin = ""
	// Made: a run created it, so an undo may delete it.
	Made Origin = "made"
	// Adopted: it was there before and a run has updated it, so an undo puts its
	// pre-image back.
	Adopted Origin = "adopted"
	// Found: it was there before, and equal. It is not ours to touch.
	Found Origin = "found"
)

// Entry is what the journal knows of one account.
type Entry struct {
	SourceID  string // the source's internal id
	VisibleID string // the id applications have stored
	TargetID  string
	// Action and Code are the last outcome; a first mark has InDoubt.
	Action pluginapi.Action
	Code   diag.Code
	Class  pluginapi.Class
	// Digest is that of the user as it was last sent.
	Digest []byte
	// SignIn is what the account brings to sign in with, as [signin.Account] writes it: that
	// of the user as it was last given to the target.
	SignIn string
	// State is what the target said it was left in.
	State  []byte
	Origin Origin
	// InDoubt says that something was sent and no answer is recorded. What else the entry
	// says is from before.
	InDoubt bool
	Run     int64
	At      time.Time
	// DisabledAt is when a run has switched the account off, as its person had gone from the
	// source; zero where none has, or it is on again.
	DisabledAt time.Time
	// Before is the pre-image of an update. It is written encrypted and not read
	// back by [Scope.Accounts]; see [Scope.Before]. An empty one, which is not nil, takes
	// away the one that is there.
	Before []byte
	// Anew has Before take the place of a pre-image that is there.
	Anew bool
}

// Scope is the part of a journal that belongs to one app of a source and one
// target.
type Scope struct {
	*scoped
	// Runs are the runs that have written.
	Runs *Runs
	// Rejects are what is kept of accounts that were not loaded, or not as a whole.
	Rejects *Rejects
	// Plugin is what the plugin of the target keeps from run to run.
	Plugin *Saved
}

// scoped is where everything of a scope is.
type scoped struct {
	j  *Journal
	id int64
}

// Scope returns the part for an app of the source and a target, each named in a
// way that stays the same from run to run.
func (j *Journal) Scope(ctx context.Context, app, destination string) (*Scope, error) {
	name := app + "\n" + destination
	s := &scoped{j: j}
	read := func() (found bool, err error) {
		return j.first(ctx, func(row *sqlite.Stmt) { s.id = row.ColumnInt64(0) }, `SELECT id FROM scope WHERE name = ?`, name)
	}
	found, err := read()
	if err == nil && !found && j.writer != nil { // else nothing belongs to it so far
		err = j.writer.write(func(w *writer) error {
			return w.exec(`INSERT INTO scope (name) VALUES (?)`, name)
		})
		if err == nil {
			_, err = read()
		}
	}
	if err != nil {
		return nil, err
	}
	return &Scope{s, &Runs{s}, &Rejects{s}, &Saved{s}}, nil
}

// mark is what is noted of an account before it is sent.
type mark struct {
	SourceID  string          `json:"s"`
	VisibleID string          `json:"v"`
	Class     pluginapi.Class `json:"c"`
}

// Mark makes it durable that accounts are about to be sent: until [Scope.Record]
// is called with the number it returns, they are in doubt. Of the entries,
// SourceID, VisibleID and Class count.
func (s *Scope) Mark(run int64, entries []Entry) (batch int64, err error) {
	marks := make([]mark, len(entries))
	for i := range entries {
		marks[i] = mark{entries[i].SourceID, entries[i].VisibleID, entries[i].Class}
	}
	raw, err := json.Marshal(marks)
	if err != nil {
		return 0, fmt.Errorf("encode the marks of a batch: %w", err)
	}
	err = s.j.writer.write(func(w *writer) error {
		err := w.exec(`INSERT INTO sent (scope, run, at, accounts) VALUES (?, ?, ?, ?)`, s.id, run, time.Now().UnixMilli(), raw)
		if err != nil {
			return err
		}
		batch = w.conn.LastInsertRowID()
		return nil
	})
	return batch, err
}

// marked are the accounts of the marks, in the shape of the table of accounts.
const marked = `SELECT sent.scope AS scope, json_extract(value, '$.s') AS source_id, json_extract(value, '$.v') AS visible_id, '' AS target_id, 'in_doubt' AS action,
		'' AS code, json_extract(value, '$.c') AS class, NULL AS digest, NULL AS state, '' AS sign_in, '' AS origin, 1 AS in_doubt, sent.run AS run, sent.at AS at, 0 AS disabled_at
	FROM sent, json_each(CAST(sent.accounts AS TEXT))`

// recovered is the table of accounts as [Journal.recover] would leave it, for those
// who may not write.
const recovered = `(SELECT scope, source_id, visible_id, target_id, action, code, class, digest, state, sign_in, origin,
		in_doubt OR (scope, source_id) IN (SELECT scope, source_id FROM (` + marked + `)) AS in_doubt, run, at, disabled_at FROM account
	UNION ALL SELECT * FROM (` + marked + `) AS m WHERE NOT EXISTS (SELECT 1 FROM account AS a WHERE a.scope = m.scope AND a.source_id = m.source_id))`

// recover turns the marks of a process that was killed into accounts in doubt.
func (j *Journal) recover() error {
	const query = `INSERT INTO account (scope, source_id, visible_id, target_id, action, code, class, digest, state, sign_in, origin, in_doubt, run, at, disabled_at)
		` + marked + ` WHERE true ON CONFLICT DO UPDATE SET in_doubt = 1, run = excluded.run, at = excluded.at`
	return j.writer.write(func(w *writer) error {
		if err := w.exec(query); err != nil {
			return err
		}
		return w.exec(`DELETE FROM sent`)
	})
}

// Record makes the outcomes of a batch durable; batch is 0 for outcomes of
// accounts that were not sent. Entries replace what is known of their accounts; a
// pre-image that is already there stays, because it is the one from before the
// first update, unless the entry says Anew.
func (s *Scope) Record(batch int64, entries []Entry) error {
	now := time.Now().UnixMilli()
	before, err := s.sealed(entries) // before the transaction: it takes its time
	if err != nil {
		return err
	}
	return s.j.writer.write(func(w *writer) error {
		for chunk := range slices.Chunk(entries, rowsAtOnce) {
			if err := s.upsert(w, chunk, now); err != nil {
				return err
			}
		}
		for i := range entries {
			if err := keepImage(w, s.id, &entries[i], before[i]); err != nil {
				return err
			}
		}
		if batch == 0 {
			return nil
		}
		return w.exec(`DELETE FROM sent WHERE id = ?`, batch)
	})
}

// keepImage writes the pre-image of an entry, or takes it away.
func keepImage(w *writer, scope int64, e *Entry, sealed []byte) error {
	switch {
	case e.Before == nil:
		return nil
	case len(e.Before) == 0:
		return w.exec(`DELETE FROM preimage WHERE scope = ? AND source_id = ?`, scope, e.SourceID)
	case e.Anew:
		return w.exec(`INSERT OR REPLACE INTO preimage VALUES (?, ?, ?)`, scope, e.SourceID, sealed)
	}
	return w.exec(`INSERT INTO preimage VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, scope, e.SourceID, sealed)
}

// sealed are the pre-images of entries, encrypted.
func (s *Scope) sealed(entries []Entry) ([][]byte, error) {
	before := make([][]byte, len(entries))
	for i := range entries {
		if len(entries[i].Before) == 0 {
			continue
		}
		sealed, err := s.j.seal.encrypt(s.j.dir, entries[i].Before)
		if err != nil {
			return nil, fmt.Errorf("encrypt the pre-image of account %s: %w", entries[i].SourceID, err)
		}
		before[i] = sealed
	}
	return before, nil
}

// rowsAtOnce bounds the rows of one statement; entering a statement costs more
// than a row does.
const rowsAtOnce = 32

func (s *Scope) upsert(w *writer, entries []Entry, now int64) error {
	const row = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	query := `INSERT INTO account (scope, source_id, visible_id, target_id, action, code, class, digest, state, sign_in, origin, in_doubt, run, at, disabled_at)
		VALUES ` + strings.Repeat(row+", ", len(entries)-1) + row + `
		ON CONFLICT DO UPDATE SET visible_id = excluded.visible_id, target_id = excluded.target_id, action = excluded.action,
			code = excluded.code, class = excluded.class, digest = excluded.digest, state = excluded.state, sign_in = excluded.sign_in, origin = excluded.origin,
			in_doubt = excluded.in_doubt, run = excluded.run, at = excluded.at, disabled_at = excluded.disabled_at`
	args := make([]any, 0, len(entries)*15)
	for i := range entries {
		e := &entries[i]
		args = append(args, s.id, e.SourceID, e.VisibleID, e.TargetID, string(e.Action), string(e.Code), string(e.Class),
			e.Digest, e.State, e.SignIn, string(e.Origin), e.InDoubt, e.Run, now, millis(e.DisabledAt))
	}
	return w.exec(query, args...)
}

// millis is how times are kept; 0 is none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Forget removes accounts, with all that is known of them: an undo has taken them back, or
// they were never loaded and have gone from the source.
func (s *Scope) Forget(sourceIDs []string) error {
	return s.j.writer.write(func(w *writer) error {
		for _, id := range sourceIDs {
			for _, query := range []string{
				`DELETE FROM account WHERE scope = ? AND source_id = ?`, `DELETE FROM preimage WHERE scope = ? AND source_id = ?`,
				`DELETE FROM reason WHERE scope = ? AND source_id = ?`, `DELETE FROM payload WHERE scope = ? AND source_id = ?`,
			} {
				if err := w.exec(query, s.id, id); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Clear forgets every account: the target is about to be written anew.
func (s *Scope) Clear() error {
	return s.j.writer.write(func(w *writer) error {
		for _, query := range []string{
			`DELETE FROM account WHERE scope = ?`, `DELETE FROM preimage WHERE scope = ?`, `DELETE FROM reason WHERE scope = ?`,
			`DELETE FROM payload WHERE scope = ?`,
		} {
			if err := w.exec(query, s.id); err != nil {
				return err
			}
		}
		return nil
	})
}

// Known yields every account that [Scope.Accounts] does, in the same order: that of
// the bytes of their source ids.
func (s *Scope) Known(ctx context.Context) iter.Seq2[Known, error] {
	const inTarget, inDoubt = 1, 2
	const columns = `source_id, digest, (` + sqlInTarget + `) + 2 * in_doubt`
	return func(yield func(Known, error) bool) {
		var digest []byte
		each(ctx, s, columns, func(row *sqlite.Stmt) (k Known) {
			k.SourceID = row.ColumnText(0)
			if digest = blobInto(digest, row, 1); len(digest) > 0 {
				k.Digest = digest
			}
			is := row.ColumnInt(2)
			k.InTarget, k.InDoubt = is&inTarget != 0, is&inDoubt != 0
			return k
		})(yield)
	}
}

// each yields what scan makes of columns of every account, and stops at the first
// error.
func each[T any](ctx context.Context, s *Scope, columns string, scan func(*sqlite.Stmt) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		err := s.j.rows(ctx, func(row *sqlite.Stmt) bool { return yield(scan(row), nil) },
			`SELECT `+columns+` FROM `+s.j.accounts+` WHERE scope = ? ORDER BY source_id`, s.id)
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

const columns = `source_id, visible_id, target_id, action, code, class, digest, state, sign_in, origin, in_doubt, run, at, disabled_at`

// Accounts yields every account that has an outcome or was in doubt when the
// journal was opened, ordered by source id, and stops at the first error. In a
// journal that is opened for looking only, those are in doubt too that a run which
// was at work then, or was killed, had sent. The slices of an entry are its own.
func (s *Scope) Accounts(ctx context.Context) iter.Seq2[Entry, error] {
	return each(ctx, s, columns, scan)
}

// Get returns what is known of the account with this source id; false when
// nothing is.
func (s *Scope) Get(ctx context.Context, sourceID string) (Entry, bool, error) {
	return s.one(ctx, `source_id = ?2`, sourceID)
}

// Account returns what is known of the account that has this source id, visible
// id or target id; false when nothing is. It looks at every account.
func (s *Scope) Account(ctx context.Context, id string) (Entry, bool, error) {
	return s.one(ctx, `(source_id = ?2 OR visible_id = ?2 OR target_id = ?2) ORDER BY source_id <> ?2, visible_id <> ?2 LIMIT 1`, id)
}

// one returns the first account that the condition about ?2 is true of.
func (s *Scope) one(ctx context.Context, condition, id string) (e Entry, found bool, err error) {
	found, err = s.j.first(ctx, func(row *sqlite.Stmt) { e = scan(row) },
		`SELECT `+columns+` FROM `+s.j.accounts+` WHERE scope = ?1 AND `+condition, s.id, id)
	return e, found, err
}

// Before returns the decrypted pre-image of an account, nil when there is none.
func (s *Scope) Before(ctx context.Context, sourceID string) ([]byte, error) {
	var sealed []byte
	found, err := s.j.first(ctx, func(row *sqlite.Stmt) { sealed = blob(row, 0) },
		`SELECT encrypted FROM preimage WHERE scope = ? AND source_id = ?`, s.id, sourceID)
	if err != nil || !found {
		return nil, err
	}
	clearText, err := s.j.seal.decrypt(s.j.dir, sealed)
	if err != nil {
		return nil, fmt.Errorf("decrypt the pre-image of account %s: %w", sourceID, err)
	}
	return clearText, nil
}

// scan reads the columns of an account.
func scan(row *sqlite.Stmt) Entry {
	e := Entry{
		SourceID: row.ColumnText(0), VisibleID: row.ColumnText(1), TargetID: row.ColumnText(2),
		Action: pluginapi.Action(row.ColumnText(3)), Code: diag.Code(row.ColumnText(4)), Class: pluginapi.Class(row.ColumnText(5)),
		Digest: blob(row, 6), State: blob(row, 7), SignIn: row.ColumnText(8), Origin: Origin(row.ColumnText(9)), InDoubt: row.ColumnBool(10), Run: row.ColumnInt64(11),
		At: time.UnixMilli(row.ColumnInt64(12)),
	}
	if at := row.ColumnInt64(13); at != 0 {
		e.DisabledAt = time.UnixMilli(at)
	}
	return e
}
