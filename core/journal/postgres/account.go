package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

// scope is the part of a journal that belongs to one app of a source and one target.
type scope struct {
	j      *Journal
	id     int64
	name   string
	writer *writer // nil when only reading
	// marked says that there were marks when the scope was looked at, which count as doubts.
	marked bool
}

func (s *scope) write(sent marks, do func(*batch)) error {
	if s.writer == nil {
		return journal.ErrReadOnly
	}
	return s.writer.write(sent, do)
}

func (s *scope) rows(ctx context.Context, scan func(pgx.Rows) error, sql string, args ...any) error {
	if err := s.j.db.rows(ctx, scan, sql, args...); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	return nil
}

// first reads the first row of a query; false when there is none.
func (s *scope) first(ctx context.Context, into []any, sql string, args ...any) (bool, error) {
	err := s.j.db.row(ctx, into, sql, args...)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the journal: %w", err)
	}
	return true, nil
}

// look finds out whether a run is at work, or was killed.
func (s *scope) look(ctx context.Context) error {
	_, err := s.first(ctx, []any{&s.marked}, `SELECT EXISTS (SELECT FROM stetl.sent WHERE scope = $1)`, s.id)
	return err
}

// outcomes are where a run notes what it sends and what becomes of it.
type outcomes struct{ *scope }

// Mark implements [journal.Outcomes].
func (s outcomes) Mark(run int64, entries []journal.Entry) (number int64, err error) {
	if s.writer == nil {
		return 0, journal.ErrReadOnly
	}
	m := marksOf(run, entries, func(*journal.Entry) bool { return true })
	number = s.writer.next()
	return number, s.write(m, func(b *batch) { markAgain(b, s.id, number, m) })
}

// marksOf are the wanted of the entries.
func marksOf(run int64, entries []journal.Entry, wanted func(*journal.Entry) bool) marks {
	m := marks{run: run, sources: []string{}, visible: []string{}, classes: []string{}} // nil would be NULL
	for i := range entries {
		e := &entries[i]
		if !wanted(e) {
			continue
		}
		m.sources, m.visible, m.classes = append(m.sources, enc(e.SourceID)), append(m.visible, enc(e.VisibleID)), append(m.classes, enc(string(e.Class)))
	}
	return m
}

// markAgain notes marks, also where that has been done.
func markAgain(b *batch, scope, number int64, m marks) {
	b.Queue(`INSERT INTO stetl.sent (scope, id, run, at, source_ids, visible_ids, classes) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		scope, number, m.run, time.Now().UnixMilli(), m.sources, m.differing(), m.classes)
}

// marked are the accounts of the marks, each once, in the shape of the table of accounts.
const marked = `SELECT DISTINCT ON (m.source_id) sent.scope, m.source_id COLLATE "C" AS source_id, coalesce(m.visible_id, m.source_id) AS visible_id, '' AS target_id, 'in_doubt' AS action, '' AS code, m.class,
		NULL::bytea AS digest, NULL::bytea AS state, '' AS sign_in, '' AS origin, true AS in_doubt, sent.run, sent.at, 0::bigint AS disabled_at
	FROM stetl.sent, unnest(source_ids, visible_ids, classes) AS m(source_id, visible_id, class) WHERE sent.scope = $1
	ORDER BY m.source_id, sent.at DESC, sent.id DESC`

// recovered is the table of accounts as [scope.recover] would leave it, for those who may not
// write.
const recovered = `(WITH m AS (` + marked + `)
	SELECT scope, source_id, visible_id, target_id, action, code, class, digest, state, sign_in, origin,
		in_doubt OR EXISTS (SELECT FROM m WHERE m.source_id = a.source_id) AS in_doubt, run, at, disabled_at FROM stetl.account AS a WHERE scope = $1
	UNION ALL SELECT * FROM m WHERE NOT EXISTS (SELECT FROM stetl.account AS a WHERE a.scope = m.scope AND a.source_id = m.source_id)) AS recovered`

// recover turns the marks of a run that was killed, or is held up, into accounts in doubt.
func (s *scope) recover() error {
	const query = `INSERT INTO stetl.account (scope, source_id, visible_id, target_id, action, code, class, digest, state, sign_in, origin, in_doubt, run, at, disabled_at)
		` + marked + ` ON CONFLICT (scope, source_id) DO UPDATE SET in_doubt = true, run = excluded.run, at = excluded.at`
	return s.write(marks{}, func(b *batch) {
		b.Queue(query, s.id)
		b.Queue(`DELETE FROM stetl.sent WHERE scope = $1`, s.id)
	})
}

// columns of accounts, as arrays: one statement for a batch.
type columns struct {
	source, visible, target, action, code, class, signIn, origin []string
	digest, state                                                [][]byte
	inDoubt                                                      []bool
	run, at, disabledAt                                          []int64
}

func (c *columns) add(e *journal.Entry, at int64) {
	c.source, c.visible, c.target = append(c.source, enc(e.SourceID)), append(c.visible, enc(e.VisibleID)), append(c.target, enc(e.TargetID))
	c.action, c.code, c.class = append(c.action, string(e.Action)), append(c.code, enc(string(e.Code))), append(c.class, enc(string(e.Class)))
	c.signIn, c.origin = append(c.signIn, enc(e.SignIn)), append(c.origin, string(e.Origin))
	c.digest, c.state = append(c.digest, e.Digest), append(c.state, e.State)
	c.inDoubt, c.run, c.at = append(c.inDoubt, e.InDoubt), append(c.run, e.Run), append(c.at, at)
	c.disabledAt = append(c.disabledAt, millis(e.DisabledAt))
}

func (c *columns) upsert(b *batch, scope int64) {
	b.Queue(`INSERT INTO stetl.account AS a (scope, source_id, visible_id, target_id, action, code, class, digest, state, sign_in, origin, in_doubt, run, at, disabled_at)
		SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::bytea[], $10::text[], $11::text[],
			$12::boolean[], $13::bigint[], $14::bigint[], $15::bigint[])
		ON CONFLICT (scope, source_id) DO UPDATE SET visible_id = excluded.visible_id, target_id = excluded.target_id, action = excluded.action,
			code = excluded.code, class = excluded.class, digest = excluded.digest, state = excluded.state, sign_in = excluded.sign_in, origin = excluded.origin,
			in_doubt = excluded.in_doubt, run = excluded.run, at = excluded.at, disabled_at = excluded.disabled_at`,
		scope, c.source, c.visible, c.target, c.action, c.code, c.class, c.digest, c.state, c.signIn, c.origin, c.inDoubt, c.run, c.at, c.disabledAt)
}

// millis is how times are kept; 0 is none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// once are the entries without those that a later one of the same account replaces.
func once(entries []journal.Entry) []*journal.Entry {
	at, out := make(map[string]int, len(entries)), make([]*journal.Entry, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		if n, twice := at[e.SourceID]; twice {
			out[n] = e
			continue
		}
		at[e.SourceID] = len(out)
		out = append(out, e)
	}
	return out
}

// rowsAtOnce bounds the rows of one statement.
const rowsAtOnce = 1000

// Record implements [journal.Outcomes].
func (s outcomes) Record(number int64, entries []journal.Entry) error {
	now := time.Now().UnixMilli()
	var parts []*columns
	for i, e := range once(entries) {
		if i%rowsAtOnce == 0 {
			parts = append(parts, &columns{})
		}
		parts[len(parts)-1].add(e, now)
	}
	images := s.images(entries)
	var run int64
	if len(entries) > 0 {
		run = entries[0].Run
	}
	// What the target may have got of them, should the server forget it.
	sent := marksOf(run, entries, func(e *journal.Entry) bool { return number != 0 || e.InDoubt || e.Ours() })
	return s.write(sent, func(b *batch) {
		for _, c := range parts {
			c.upsert(b, s.id)
		}
		for _, do := range images {
			do(b)
		}
		if number != 0 {
			b.Queue(`DELETE FROM stetl.sent WHERE scope = $1 AND id = $2`, s.id, number)
		}
	})
}

// images are the statements that write the pre-images of entries, or take them away.
func (s outcomes) images(entries []journal.Entry) (out []func(*batch)) {
	for i := range entries {
		e := &entries[i]
		id := enc(e.SourceID)
		var query string
		switch {
		case e.Before == nil:
			continue
		case len(e.Before) == 0:
			out = append(out, func(b *batch) {
				b.Queue(`DELETE FROM stetl.preimage WHERE scope = $1 AND source_id = $2`, s.id, id)
			})
			continue
		case e.Anew:
			query = `INSERT INTO stetl.preimage VALUES ($1, $2, $3) ON CONFLICT (scope, source_id) DO UPDATE SET encrypted = excluded.encrypted`
		default:
			query = `INSERT INTO stetl.preimage VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
		}
		sealed := s.j.keys.seal(kindImage, s.name, e.SourceID, e.Before)
		out = append(out, func(b *batch) { b.Queue(query, s.id, id, sealed) })
	}
	return out
}

// ofAccounts are the tables that have something of single accounts.
var ofAccounts = []string{"account", "preimage", "reason", "payload"}

// Forget implements [journal.Outcomes].
func (s outcomes) Forget(sourceIDs []string) error {
	ids := encAll(sourceIDs)
	return s.write(marks{}, func(b *batch) {
		for _, table := range ofAccounts {
			b.Queue(`DELETE FROM stetl.`+table+` WHERE scope = $1 AND source_id = ANY ($2::text[])`, s.id, ids)
		}
	})
}

// Clear implements [journal.Outcomes].
func (s outcomes) Clear() error {
	return s.write(marks{}, func(b *batch) {
		for _, table := range ofAccounts {
			b.Queue(`DELETE FROM stetl.`+table+` WHERE scope = $1`, s.id)
		}
	})
}

// listing yields all accounts.
type listing struct{ *scope }

// page is how many accounts are at hand of all that are read.
const page = 5000

// table is what is read of accounts.
func (s *scope) table() string {
	if s.marked {
		return recovered
	}
	return "stetl.account"
}

// each yields what scan makes of columns of every account, and stops at the first error.
// Between two pages nothing is held at the server, so that it does not matter how slowly the
// pages are read; an account that comes meanwhile may be among them or not.
func each[T any](ctx context.Context, s *scope, columns string, scan func(pgx.Rows, *T) (last string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		query := `SELECT ` + columns + ` FROM stetl.page($1, $2, $3) ORDER BY source_id`
		if s.marked {
			query = `SELECT ` + columns + ` FROM ` + recovered + ` WHERE scope = $1 AND source_id >= $2 COLLATE "C" ORDER BY source_id LIMIT $3`
		}
		next := ""
		for more := true; more; {
			all := make([]T, 0, 64)
			err := s.rows(ctx, func(rows pgx.Rows) error {
				var one T
				last, err := scan(rows, &one)
				if err == nil {
					all = append(all, one)
				}
				next = last + "\x01" // nothing comes between the two
				return err
			}, query, s.id, next, page)
			if err != nil {
				yield(none, err)
				return
			}
			if !give(ctx, all, yield) {
				return
			}
			more = len(all) == page
		}
	}
}

// give yields all of a page, until the context ends; false when that is enough.
func give[T any](ctx context.Context, all []T, yield func(T, error) bool) bool {
	for _, one := range all {
		if err := ctx.Err(); err != nil {
			var none T
			yield(none, err)
			return false
		}
		if !yield(one, nil) {
			return false
		}
	}
	return true
}

// Known implements [journal.Listing].
func (s listing) Known(ctx context.Context) iter.Seq2[journal.Known, error] {
	return each(ctx, s.scope, `source_id, digest, (`+journal.SQLInTarget+`), in_doubt`, func(rows pgx.Rows, k *journal.Known) (last string, err error) {
		err = rows.Scan(&last, &k.Digest, &k.InTarget, &k.InDoubt)
		k.SourceID = dec(last)
		return last, err
	})
}

const accountColumns = `source_id, visible_id, target_id, action, code, class, digest, state, sign_in, origin, in_doubt, run, at, disabled_at`

// Accounts implements [journal.Listing].
func (s listing) Accounts(ctx context.Context) iter.Seq2[journal.Entry, error] {
	return each(ctx, s.scope, accountColumns, func(rows pgx.Rows, e *journal.Entry) (last string, err error) {
		last, err = scan(rows, e)
		return last, err
	})
}

// row is one row of a result.
type row interface{ Scan(into ...any) error }

// scan reads the columns of an account.
func scan(r row, e *journal.Entry) (stored string, err error) {
	var action, code, class, origin string
	var at, disabledAt int64
	err = r.Scan(&stored, &e.VisibleID, &e.TargetID, &action, &code, &class, &e.Digest, &e.State, &e.SignIn, &origin, &e.InDoubt, &e.Run, &at, &disabledAt)
	e.SourceID, e.VisibleID, e.TargetID, e.SignIn = dec(stored), dec(e.VisibleID), dec(e.TargetID), dec(e.SignIn)
	e.Action, e.Code, e.Class, e.Origin = pluginapi.Action(action), diag.Code(dec(code)), pluginapi.Class(dec(class)), journal.Origin(origin)
	e.At = time.UnixMilli(at)
	if disabledAt != 0 {
		e.DisabledAt = time.UnixMilli(disabledAt)
	}
	return stored, err
}

// finder looks for single accounts.
type finder struct{ *scope }

// Get implements [journal.Finder].
func (s finder) Get(ctx context.Context, sourceID string) (journal.Entry, bool, error) {
	return s.one(ctx, `source_id = $2`, sourceID)
}

// Account implements [journal.Finder].
func (s finder) Account(ctx context.Context, id string) (journal.Entry, bool, error) {
	return s.one(ctx, `(source_id = $2 OR visible_id = $2 OR target_id = $2) ORDER BY source_id <> $2, visible_id <> $2 LIMIT 1`, id)
}

// one returns the first account that the condition about $2 is true of.
func (s finder) one(ctx context.Context, condition, id string) (e journal.Entry, found bool, err error) {
	err = s.rows(ctx, func(rows pgx.Rows) error {
		found = true
		_, err := scan(rows, &e)
		return err
	}, `SELECT `+accountColumns+` FROM `+s.table()+` WHERE scope = $1 AND `+condition, s.id, enc(id))
	return e, found, err
}

// Before implements [journal.Finder].
func (s finder) Before(ctx context.Context, sourceID string) ([]byte, error) {
	var sealed []byte
	found, err := s.first(ctx, []any{&sealed}, `SELECT encrypted FROM stetl.preimage WHERE scope = $1 AND source_id = $2`, s.id, enc(sourceID))
	if err != nil || !found {
		return nil, err
	}
	clearText, err := s.j.keys.open(kindImage, s.name, sourceID, sealed)
	if err != nil {
		return nil, fmt.Errorf("decrypt the pre-image of account %s: %w", strings.ToValidUTF8(sourceID, "?"), err)
	}
	return clearText, nil
}
