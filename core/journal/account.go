package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/target"
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
	Action target.Action
	Code   diag.Code
	Class  target.Class
	// Digest is that of the user as it was last sent.
	Digest []byte
	// State is what the target said it was left in.
	State  []byte
	Origin Origin
	// Pending says that something was sent and no answer is recorded.
	Pending bool
	Run     int64
	At      time.Time
	// Before is the pre-image of an update. It is written encrypted and not read
	// back by [Scope.Accounts]; see [Scope.Before].
	Before []byte
}

// Scope is the part of a journal that belongs to one app of a source and one
// target.
type Scope struct {
	j  *Journal
	id int64
}

// Scope returns the part for an app of the source and a target, each named in a
// way that stays the same from run to run.
func (j *Journal) Scope(ctx context.Context, app, destination string) (*Scope, error) {
	name := app + "\n" + destination
	s := &Scope{j: j}
	read := func() error {
		return j.db.QueryRowContext(ctx, `SELECT id FROM scope WHERE name = ?`, name).Scan(&s.id)
	}
	err := read()
	if errors.Is(err, sql.ErrNoRows) {
		if j.writer == nil { // nothing belongs to it so far
			return s, nil
		}
		err = j.writer.write(func(ctx context.Context, w *writer) error {
			_, err := w.exec(ctx, `INSERT INTO scope (name) VALUES (?)`, name)
			return err
		})
		if err == nil {
			err = read()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return s, nil
}

// mark is what is noted of an account before it is sent.
type mark struct {
	SourceID  string       `json:"s"`
	VisibleID string       `json:"v"`
	Class     target.Class `json:"c"`
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
	err = s.j.writer.write(func(ctx context.Context, w *writer) error {
		result, err := w.exec(ctx, `INSERT INTO sent (scope, run, at, accounts) VALUES (?, ?, ?, ?)`, s.id, run, time.Now().UnixMilli(), raw)
		if err != nil {
			return err
		}
		batch, err = result.LastInsertId()
		return err
	})
	return batch, err
}

// marked are the accounts of the marks, in the shape of the table of accounts.
const marked = `SELECT sent.scope AS scope, json_extract(value, '$.s') AS source_id, json_extract(value, '$.v') AS visible_id, '' AS target_id, 'in_doubt' AS action,
		'' AS code, json_extract(value, '$.c') AS class, NULL AS digest, NULL AS state, '' AS origin, 1 AS in_doubt, sent.run AS run, sent.at AS at
	FROM sent, json_each(CAST(sent.accounts AS TEXT))`

// recovered is the table of accounts as [Journal.recover] would leave it, for those
// who may not write.
const recovered = `(SELECT scope, source_id, visible_id, target_id, action, code, class, digest, state, origin,
		in_doubt OR (scope, source_id) IN (SELECT scope, source_id FROM (` + marked + `)) AS in_doubt, run, at FROM account
	UNION ALL SELECT * FROM (` + marked + `) AS m WHERE NOT EXISTS (SELECT 1 FROM account AS a WHERE a.scope = m.scope AND a.source_id = m.source_id))`

// recover turns the marks of a process that was killed into accounts in doubt.
func (j *Journal) recover() error {
	const query = `INSERT INTO account (scope, source_id, visible_id, target_id, action, code, class, digest, state, origin, in_doubt, run, at)
		` + marked + ` WHERE true ON CONFLICT DO UPDATE SET in_doubt = 1, run = excluded.run, at = excluded.at`
	return j.writer.write(func(ctx context.Context, w *writer) error {
		if _, err := w.exec(ctx, query); err != nil {
			return err
		}
		_, err := w.exec(ctx, `DELETE FROM sent`)
		return err
	})
}

// Record makes the outcomes of a batch durable; batch is 0 for outcomes of
// accounts that were not sent. Entries replace what is known of their accounts; a
// pre-image that is already there stays, because it is the one from before the
// first update.
func (s *Scope) Record(batch int64, entries []Entry) error {
	now := time.Now().UnixMilli()
	before := make([][]byte, len(entries))
	for i := range entries { // before the transaction: it takes its time
		if entries[i].Before != nil {
			sealed, err := s.j.seal.encrypt(s.j.dir, entries[i].Before)
			if err != nil {
				return fmt.Errorf("encrypt the pre-image of account %s: %w", entries[i].SourceID, err)
			}
			before[i] = sealed
		}
	}
	return s.j.writer.write(func(ctx context.Context, w *writer) error {
		for chunk := range slices.Chunk(entries, rowsAtOnce) {
			if err := s.upsert(ctx, w, chunk, now); err != nil {
				return err
			}
		}
		for i := range entries {
			if before[i] == nil {
				continue
			}
			if _, err := w.exec(ctx, `INSERT INTO preimage VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, s.id, entries[i].SourceID, before[i]); err != nil {
				return err
			}
		}
		if batch == 0 {
			return nil
		}
		_, err := w.exec(ctx, `DELETE FROM sent WHERE id = ?`, batch)
		return err
	})
}

// rowsAtOnce bounds the rows of one statement; entering a statement costs more
// than a row does.
const rowsAtOnce = 32

func (s *Scope) upsert(ctx context.Context, w *writer, entries []Entry, now int64) error {
	const row = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	query := `INSERT INTO account (scope, source_id, visible_id, target_id, action, code, class, digest, state, origin, in_doubt, run, at)
		VALUES ` + strings.Repeat(row+", ", len(entries)-1) + row + `
		ON CONFLICT DO UPDATE SET visible_id = excluded.visible_id, target_id = excluded.target_id, action = excluded.action,
			code = excluded.code, class = excluded.class, digest = excluded.digest, state = excluded.state, origin = excluded.origin,
			in_doubt = excluded.in_doubt, run = excluded.run, at = excluded.at`
	args := make([]any, 0, len(entries)*13)
	for i := range entries {
		e := &entries[i]
		args = append(args, s.id, e.SourceID, e.VisibleID, e.TargetID, string(e.Action), string(e.Code), string(e.Class),
			e.Digest, e.State, string(e.Origin), e.Pending, e.Run, now)
	}
	_, err := w.exec(ctx, query, args...)
	return err
}

// Forget removes accounts: an undo has taken them back.
func (s *Scope) Forget(sourceIDs []string) error {
	return s.j.writer.write(func(ctx context.Context, w *writer) error {
		for _, id := range sourceIDs {
			if _, err := w.exec(ctx, `DELETE FROM account WHERE scope = ? AND source_id = ?`, s.id, id); err != nil {
				return err
			}
			if _, err := w.exec(ctx, `DELETE FROM preimage WHERE scope = ? AND source_id = ?`, s.id, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// Known is what a later run wants to know of every account.
type Known struct {
	SourceID string
	// Digest is that of the user as it was last sent.
	Digest []byte
	// Loaded says that a run has brought the account into the target, or has found it
	// there.
	Loaded bool
	// Pending says that something was sent and no answer is recorded.
	Pending bool
}

// Known returns of an entry what [Scope.Known] yields.
func (e *Entry) Known() Known {
	done := e.Action == target.Created || e.Action == target.Updated || e.Action == target.Unchanged
	return Known{SourceID: e.SourceID, Digest: e.Digest, Loaded: e.Origin != Unclear || e.TargetID != "" && done, Pending: e.Pending}
}

// Known yields every account that [Scope.Accounts] does, in the same order: that of
// the bytes of their source ids.
func (s *Scope) Known(ctx context.Context) iter.Seq2[Known, error] {
	// What nearly every account is comes first: SQLite evaluates all of an OR.
	const loaded, pending = 1, 2
	const columns = `source_id, digest,
		CASE WHEN origin <> '' THEN 1 WHEN target_id = '' THEN 0 ELSE action IN ('created', 'updated', 'unchanged') END + 2 * in_doubt`
	return each(ctx, s, columns, func(row *sql.Rows) (k Known, err error) {
		var is int
		err = row.Scan(&k.SourceID, &k.Digest, &is)
		k.Loaded, k.Pending = is&loaded != 0, is&pending != 0
		return k, err
	})
}

// each yields what scan makes of columns of every account, and stops at the first
// error.
func each[T any](ctx context.Context, s *Scope, columns string, scan func(*sql.Rows) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		// With a context that can end, the driver takes locks for each row.
		rows, err := s.j.db.QueryContext(context.WithoutCancel(ctx), `SELECT `+columns+` FROM `+s.j.accounts+` WHERE scope = ? ORDER BY source_id`, s.id) //nolint:gosec // constants of this package
		if err != nil {
			yield(none, fmt.Errorf("read the journal: %w", err))
			return
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			if err := ctx.Err(); err != nil {
				yield(none, fmt.Errorf("read the journal: %w", err))
				return
			}
			v, err := scan(rows)
			if err != nil {
				yield(none, fmt.Errorf("read the journal: %w", err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(none, fmt.Errorf("read the journal: %w", err))
		}
	}
}

const columns = `source_id, visible_id, target_id, action, code, class, digest, state, origin, in_doubt, run, at`

// Accounts yields every account that has an outcome or was in doubt when the
// journal was opened, ordered by source id, and stops at the first error. In a
// journal that is opened for looking only, those are in doubt too that a run which
// was at work then, or was killed, had sent. The slices of an entry are its own.
func (s *Scope) Accounts(ctx context.Context) iter.Seq2[Entry, error] {
	return each(ctx, s, columns, func(rows *sql.Rows) (Entry, error) { return scan(rows) })
}

// Get returns what is known of the account with this source id; false when
// nothing is.
func (s *Scope) Get(ctx context.Context, sourceID string) (Entry, bool, error) {
	return one(s.j.db.QueryRowContext(ctx, `SELECT `+columns+` FROM `+s.j.accounts+` WHERE scope = ? AND source_id = ?`, s.id, sourceID))
}

// Account returns what is known of the account that has this source id, visible
// id or target id; false when nothing is. It looks at every account.
func (s *Scope) Account(ctx context.Context, id string) (Entry, bool, error) {
	return one(s.j.db.QueryRowContext(ctx, `SELECT `+columns+` FROM `+s.j.accounts+` WHERE scope = ?1 AND (source_id = ?2 OR visible_id = ?2 OR target_id = ?2)
		ORDER BY source_id <> ?2, visible_id <> ?2 LIMIT 1`, s.id, id))
}

func one(row *sql.Row) (Entry, bool, error) {
	e, err := scan(row)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Entry{}, false, nil
	case err != nil:
		return Entry{}, false, fmt.Errorf("read the journal: %w", err)
	}
	return e, true, nil
}

// Before returns the decrypted pre-image of an account, nil when there is none.
func (s *Scope) Before(ctx context.Context, sourceID string) ([]byte, error) {
	var sealed []byte
	err := s.j.db.QueryRowContext(ctx, `SELECT encrypted FROM preimage WHERE scope = ? AND source_id = ?`, s.id, sourceID).Scan(&sealed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	clearText, err := s.j.seal.decrypt(s.j.dir, sealed)
	if err != nil {
		return nil, fmt.Errorf("decrypt the pre-image of account %s: %w", sourceID, err)
	}
	return clearText, nil
}

func scan(row interface{ Scan(...any) error }) (Entry, error) {
	var e Entry
	var at int64
	err := row.Scan(&e.SourceID, &e.VisibleID, &e.TargetID, &e.Action, &e.Code, &e.Class, &e.Digest, &e.State, &e.Origin, &e.Pending, &e.Run, &at)
	e.At = time.UnixMilli(at)
	return e, err
}

// Saved implements the memory of plugins: it returns what earlier runs saved.
func (s *Scope) Saved(ctx context.Context) (saved map[string][]byte, err error) {
	rows, err := s.j.db.QueryContext(ctx, `SELECT key, value FROM saved WHERE scope = ?`, s.id)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	saved = map[string][]byte{}
	for rows.Next() {
		var key string
		var value []byte
		if err := rows.Scan(&key, &value); err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		saved[key] = value
	}
	return saved, rows.Err()
}

// Save implements the memory of plugins: the value is durable when it returns
// nil. A nil value removes the key.
func (s *Scope) Save(_ context.Context, key string, value []byte) error {
	return s.j.writer.write(func(ctx context.Context, w *writer) error {
		if value == nil {
			_, err := w.exec(ctx, `DELETE FROM saved WHERE scope = ? AND key = ?`, s.id, key)
			return err
		}
		_, err := w.exec(ctx, `INSERT INTO saved VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`, s.id, key, value)
		return err
	})
}
