package sqlite

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
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

// scope is the part of a journal that belongs to one app of a source and one
// target.
type scope struct {
	j  *Journal
	id int64
}

// Scope implements [journal.Journal].
func (j *Journal) Scope(ctx context.Context, app, destination string) (*journal.Scope, error) {
	s, err := j.scope(ctx, app+"\n"+destination)
	if err != nil {
		return nil, err
	}
	r := runs{s}
	return &journal.Scope{Outcomes: s, Listing: s, Finder: s, Runs: journal.Runs{RunWriter: r, RunReader: r, Pace: r}, Rejects: rejects{s}, Plugin: saved{s}}, nil
}

func (j *Journal) scope(ctx context.Context, name string) (*scope, error) {
	s := &scope{j: j}
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
	return s, err
}

// mark is what is noted of an account before it is sent.
type mark struct {
	SourceID  string          `json:"s"`
	VisibleID string          `json:"v"`
	Class     pluginapi.Class `json:"c"`
}

// Mark implements [journal.Outcomes].
func (s *scope) Mark(run int64, entries []journal.Entry) (batch int64, err error) {
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

// Record implements [journal.Outcomes].
func (s *scope) Record(batch int64, entries []journal.Entry) error {
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
func keepImage(w *writer, scope int64, e *journal.Entry, sealed []byte) error {
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
func (s *scope) sealed(entries []journal.Entry) ([][]byte, error) {
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

func (s *scope) upsert(w *writer, entries []journal.Entry, now int64) error {
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

// Forget implements [journal.Outcomes].
func (s *scope) Forget(sourceIDs []string) error {
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

// Clear implements [journal.Outcomes].
func (s *scope) Clear() error {
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

// Known implements [journal.Listing].
func (s *scope) Known(ctx context.Context) iter.Seq2[journal.Known, error] {
	const inTarget, inDoubt = 1, 2
	const columns = `source_id, digest, (` + journal.SQLInTarget + `) + 2 * in_doubt`
	return func(yield func(journal.Known, error) bool) {
		var digest []byte
		each(ctx, s, columns, func(row *sqlite.Stmt) (k journal.Known) {
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
func each[T any](ctx context.Context, s *scope, columns string, scan func(*sqlite.Stmt) T) iter.Seq2[T, error] {
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

// Accounts implements [journal.Listing].
func (s *scope) Accounts(ctx context.Context) iter.Seq2[journal.Entry, error] {
	return each(ctx, s, columns, scan)
}

// Get implements [journal.Finder].
func (s *scope) Get(ctx context.Context, sourceID string) (journal.Entry, bool, error) {
	return s.one(ctx, `source_id = ?2`, sourceID)
}

// Account implements [journal.Finder].
func (s *scope) Account(ctx context.Context, id string) (journal.Entry, bool, error) {
	return s.one(ctx, `(source_id = ?2 OR visible_id = ?2 OR target_id = ?2) ORDER BY source_id <> ?2, visible_id <> ?2 LIMIT 1`, id)
}

// one returns the first account that the condition about ?2 is true of.
func (s *scope) one(ctx context.Context, condition, id string) (e journal.Entry, found bool, err error) {
	found, err = s.j.first(ctx, func(row *sqlite.Stmt) { e = scan(row) },
		`SELECT `+columns+` FROM `+s.j.accounts+` WHERE scope = ?1 AND `+condition, s.id, id)
	return e, found, err
}

// Before implements [journal.Finder].
func (s *scope) Before(ctx context.Context, sourceID string) ([]byte, error) {
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
func scan(row *sqlite.Stmt) journal.Entry {
	e := journal.Entry{
		SourceID: row.ColumnText(0), VisibleID: row.ColumnText(1), TargetID: row.ColumnText(2),
		Action: pluginapi.Action(row.ColumnText(3)), Code: diag.Code(row.ColumnText(4)), Class: pluginapi.Class(row.ColumnText(5)),
		Digest: blob(row, 6), State: blob(row, 7), SignIn: row.ColumnText(8), Origin: journal.Origin(row.ColumnText(9)), InDoubt: row.ColumnBool(10), Run: row.ColumnInt64(11),
		At: time.UnixMilli(row.ColumnInt64(12)),
	}
	if at := row.ColumnInt64(13); at != 0 {
		e.DisabledAt = time.UnixMilli(at)
	}
	return e
}
