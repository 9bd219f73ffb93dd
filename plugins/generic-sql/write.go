package sqltarget

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stetl/stetl/core/sdk"
)

// plainError is the text of an error without the address, which holds a password.
func plainError(err error) string {
	if e, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		if inner := e.Unwrap(); inner != nil {
			return inner.Error()
		}
		return "no connection"
	}
	return err.Error()
}

// mostTries bounds how often a batch is begun anew that the database gave up on, as of a
// deadlock.
const mostTries = 5

// Load implements [sdk.Target]: a batch is one transaction.
func (t *live) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	p, err := t.open(ctx)
	if err == nil {
		err = (&whereabouts{t.config, t.env}).keep(ctx)
	}
	if err != nil {
		unsent(users, out, err)
		return err
	}
	pointers := make([]*sdk.User, len(users))
	for i := range users {
		pointers[i] = &users[i]
	}
	for try := 1; ; try++ {
		all, err := (&loader{t, p}).load(ctx, pointers)
		switch {
		case err == nil:
			for _, a := range all {
				if a.writes() {
					a.claims = a.guarded // what only a declaration says must hold until the end of the run
				}
				p.claims.Release(a.claims...)
				out.Report(a.Outcome)
			}
			return nil
		case ctx.Err() == nil && try < mostTries && again(err):
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(try) * firstPause):
			}
			continue
		}
		if !errors.Is(err, errUnknown) { // the transaction has written nothing
			unsent(users, out, err)
		}
		return explain(err)
	}
}

// unsent says of users that nothing of them was written.
func unsent(users []sdk.User, out sdk.Outcomes, err error) {
	for i := range users {
		out.Report(sdk.Outcome{SourceID: users[i].SourceID, Action: sdk.InDoubt, Code: sdk.CodeNotSent, Detail: plainError(err)})
	}
}

const firstPause = 100 * time.Millisecond

// again says that the database gave up on a transaction for a reason that passes, and has
// done nothing.
func again(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40001" || e.Code == "40P01" || e.Code == "55P03") || lostConnection(err)
}

// loader loads batches into a database that is open.
type loader struct {
	*live
	place *place
}

// load is one try of one batch.
func (t *loader) load(ctx context.Context, users []*sdk.User) (all []*account, err error) {
	conn, err := t.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	defer func() {
		if err != nil && conn.Conn().IsClosed() && !errors.Is(err, errUnknown) {
			err = fmt.Errorf("%w: %w", errClosed, err)
		}
	}()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing after a commit
	// What is checked at the end of a transaction is checked with each row, so that it costs its account only.
	if _, err := tx.Exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE"); err != nil {
		return nil, err
	}
	s := &writer{&session{place: t.place, tx: tx}}
	all, err = s.decide(ctx, users, time.Now(), true)
	if err != nil {
		return nil, err
	}
	var writing []*account
	for _, a := range all {
		if a.writes() {
			writing = append(writing, a)
		}
	}
	if len(writing) == 0 {
		return all, nil
	}
	if err := s.before(ctx, writing); err != nil {
		return nil, err
	}
	if err := s.halve(ctx, writing, func(part []*account) error { return s.write(ctx, part) }); err != nil {
		return nil, err
	}
	writing = slices.DeleteFunc(writing, func(a *account) bool { return !a.writes() })
	if err := s.after(ctx, writing); err != nil {
		return nil, err
	}
	return all, t.commit(ctx, conn, s, writing)
}

// writer writes in one transaction.
type writer struct{ *session }

// write sends the rows of accounts: first what goes, so that what others want is free.
func (s *writer) write(ctx context.Context, accounts []*account) error {
	for _, t := range slices.Backward(s.model.tables) {
		if err := s.remove(ctx, t, rowsOf(t, accounts, func(a *account) []*row { return a.deletes })); err != nil {
			return err
		}
	}
	for _, t := range s.model.tables {
		if err := s.update(ctx, t, rowsOf(t, accounts, func(a *account) []*row { return a.updates })); err != nil {
			return err
		}
		if err := s.insert(ctx, t, rowsOf(t, accounts, func(a *account) []*row { return a.inserts })); err != nil {
			return err
		}
	}
	return nil
}

func rowsOf(t *table, accounts []*account, of func(*account) []*row) (out []pending) {
	for _, a := range accounts {
		for _, r := range of(a) {
			if r.table == t {
				out = append(out, pending{r, a})
			}
		}
	}
	return out
}

// insert copies rows into the table.
func (s *writer) insert(ctx context.Context, t *table, rows []pending) error {
	if len(rows) == 0 {
		return nil
	}
	var b bytes.Buffer
	for _, r := range rows {
		for i, c := range t.columns {
			if i > 0 {
				b.WriteByte('\t')
			}
			copyText(&b, c.held.written(r.values[i]))
		}
		b.WriteByte('\n')
	}
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = quoteName(c.name)
	}
	_, err := s.tx.Conn().PgConn().CopyFrom(ctx, &b, "COPY "+s.catalogue.of(t).name+" ("+strings.Join(names, ", ")+") FROM STDIN")
	return err
}

// copyText writes a value in the text form of COPY.
func copyText(b *bytes.Buffer, v *string) {
	if v == nil {
		b.WriteString(`\N`)
		return
	}
	for i := range len(*v) {
		switch c := (*v)[i]; c {
		case '\\':
			b.WriteString(`\\`)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		default:
			b.WriteByte(c)
		}
	}
}

// matching is the condition that a row x of the table is the one of the parameters.
func (t *table) matching(x string) string {
	var on []string
	for _, c := range append([]*column{t.account}, t.key...) {
		if c == t.account && len(on) > 0 {
			continue
		}
		on = append(on, fmt.Sprintf("%s.%s = w.c%d::%s", x, quoteName(c.name), t.index(c.name), c.held.typ))
	}
	return strings.Join(on, " AND ")
}

// given are the rows of the parameters, as w.
func (t *table) given() string {
	names, unnest := []string{"n"}, []string{"$1::int[]"}
	for i := range t.columns {
		names, unnest = append(names, fmt.Sprintf("c%d", i)), append(unnest, fmt.Sprintf("$%d::text[]", i+2))
	}
	return "unnest(" + strings.Join(unnest, ", ") + ") AS w(" + strings.Join(names, ", ") + ")"
}

// update changes rows in one statement.
func (s *writer) update(ctx context.Context, t *table, rows []pending) error {
	var set []string
	for i, c := range t.columns {
		if c.compared() && c != t.account && !slices.Contains(t.key, c) {
			set = append(set, fmt.Sprintf("%s = w.c%d::%s", quoteName(c.name), i, c.held.typ))
		}
	}
	if len(rows) == 0 || len(set) == 0 {
		return nil
	}
	_, err := s.tx.Exec(ctx, "UPDATE "+s.catalogue.of(t).name+" AS x SET "+strings.Join(set, ", ")+" FROM "+t.given()+" WHERE "+t.matching("x"), params(t, rows)...)
	return err
}

// remove deletes rows in one statement.
func (s *writer) remove(ctx context.Context, t *table, rows []pending) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := s.tx.Exec(ctx, "DELETE FROM "+s.catalogue.of(t).name+" AS x USING "+t.given()+" WHERE "+t.matching("x"), params(t, rows)...)
	return err
}

// after reads back what was written and notes the state that was left.
func (s *writer) after(ctx context.Context, accounts []*account) error {
	var ids []string
	for _, a := range accounts {
		ids = append(ids, *s.model.accounts().account.held.written(value{text: a.id}))
	}
	held, err := s.read(ctx, ids, false)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		open := a.Unsent()
		fields := shown(held[a.id])
		a.Outcome.State = s.judge.Left(s.wantedWith(a), fields, open)
		if a.Resumed {
			a.Outcome.Before, a.Outcome.Changed = nil, nil // an interrupted load has made it
		}
	}
	return nil
}

// commit ends the transaction. Where the answer is lost, the database is asked what became
// of it.
func (t *loader) commit(ctx context.Context, conn *pgxpool.Conn, s *writer, accounts []*account) error {
	var made []string
	for _, a := range accounts {
		if a.Outcome.Action == sdk.Created {
			made = append(made, a.id)
		}
	}
	var id string
	if err := s.tx.QueryRow(ctx, "SELECT txid_current()::text").Scan(&id); err != nil {
		return err
	}
	key := ""
	if len(made) > 0 {
		raw, err := json.Marshal(note{Transaction: id, Accounts: made})
		if err != nil {
			return err
		}
		if key, err = t.notes.take(ctx); err != nil {
			return err
		}
		if err := t.env.Journal.Put(ctx, key, raw); err != nil {
			return err
		}
	}
	err := s.tx.Commit(ctx)
	if err != nil {
		if _, answered := errors.AsType[*pgconn.PgError](err); !answered || conn.Conn().IsClosed() {
			err = became(ctx, t.pool, id, err)
		}
	}
	if key != "" && !errors.Is(err, errUnknown) {
		t.notes.settled(key)
	}
	return err
}

var errUnknown = errors.New("the answer to COMMIT was lost, and nobody knows whether the batch was written")

// became asks what became of a transaction: nil when it was committed.
func became(ctx context.Context, pool *pgxpool.Pool, id string, lost error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for {
		status, err := transactionStatus(ctx, pool, id)
		switch {
		case err == nil && status == "committed":
			return nil
		case err == nil && status == "aborted":
			return lost
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errUnknown, lost)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
