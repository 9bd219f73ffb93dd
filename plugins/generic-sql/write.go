package sqltarget

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

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
		err = (&whereabouts{t.config, t.server, t.env}).keep(ctx)
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

// loader loads batches into a database that is open.
type loader struct {
	*live
	place *place
}

// load is one try of one batch.
func (t *loader) load(ctx context.Context, users []*sdk.User) (all []*account, err error) {
	tx, err := t.server.begin(ctx, writing)
	if err != nil {
		return nil, err
	}
	defer tx.close(ctx)
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
	left, err := s.after(ctx, writing)
	if err != nil {
		return nil, err
	}
	return all, s.end(ctx, writing, left)
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

// insert makes rows in as few statements as it takes.
func (s *writer) insert(ctx context.Context, t *table, rows []pending) error {
	if len(rows) == 0 {
		return nil
	}
	return s.tx.insert(ctx, s.catalogue.of(t), t, rows)
}

// names are those of the columns of a declaration, for a statement.
func (t *table) names(s syntax) string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = s.quote(c.name)
	}
	return strings.Join(names, ", ")
}

// matching is the condition that a row x of the table is the one that is given.
func (t *table) matching(s syntax, x string) string {
	var on []string
	for _, c := range append([]*column{t.account}, t.key...) {
		if c == t.account && len(on) > 0 {
			continue
		}
		name, given := x+"."+s.quote(c.name), fmt.Sprintf("w.c%d", t.index(c.name))
		on = append(on, name+" = "+c.held.cast(given))
		if c.held.exact != nil {
			on = append(on, c.held.exact(name)+" = "+given)
		}
	}
	return strings.Join(on, " AND ")
}

// update changes rows in one statement.
func (s *writer) update(ctx context.Context, t *table, rows []pending) error {
	return s.assign(ctx, t, rows, func(c *column) bool { return c.compared() && c != t.account && !slices.Contains(t.key, c) })
}

// assign changes some columns of rows in one statement.
func (s *writer) assign(ctx context.Context, t *table, rows []pending, columns func(*column) bool) error {
	var set []string
	for i, c := range t.columns {
		if columns(c) {
			set = append(set, s.server.quote(c.name)+" = "+c.held.store(fmt.Sprintf("w.c%d", i)))
		}
	}
	if len(rows) == 0 || len(set) == 0 {
		return nil
	}
	return s.tx.exec(ctx, s.server.updating(s.catalogue.of(t).name, s.server.given(t), t.matching(s.server, "x"), set), s.server.rows(t, rows)...)
}

// remove deletes rows in one statement.
func (s *writer) remove(ctx context.Context, t *table, rows []pending) error {
	if len(rows) == 0 {
		return nil
	}
	return s.tx.exec(ctx, s.server.removing(s.catalogue.of(t).name, s.server.given(t), t.matching(s.server, "x")), s.server.rows(t, rows)...)
}

// after reads back what was written and notes the state that was left.
func (s *writer) after(ctx context.Context, accounts []*account) (map[string][]*row, error) {
	var ids []string
	for _, a := range accounts {
		if !s.asWritten(a) {
			ids = append(ids, a.id)
		}
	}
	held, err := s.read(ctx, ids, false)
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		if s.asWritten(a) {
			held[a.id] = a.wanted
		}
		open := a.Unsent()
		fields := shown(held[a.id])
		a.Outcome.State = s.judge.Left(s.wantedWith(a), fields, open)
		if a.Resumed {
			a.Outcome.Before, a.Outcome.Changed = nil, nil // an interrupted load has made it
		}
	}
	return held, nil
}

// asWritten says that the rows of an account are those that were written: it is new,
// nothing changes rows on their way in, and all values have one form only.
func (s *writer) asWritten(a *account) bool {
	return a.Outcome.Action == sdk.Created && len(a.held) == 0 && !slices.ContainsFunc(a.wanted, func(r *row) bool { return !s.faithful[r.table] })
}

// end commits, with a note of the accounts that the transaction makes.
func (s *writer) end(ctx context.Context, accounts []*account, left map[string][]*row) error {
	before := map[string][]*row{}
	var ids []string
	for _, a := range accounts {
		ids = append(ids, a.id)
		before[a.id] = a.held
	}
	e, err := s.ends(ctx, ids, before, func() (map[string][]*row, error) { return left, nil })
	if err != nil {
		return err
	}
	n := note{Transaction: e.transaction}
	for _, a := range accounts {
		if a.Outcome.Action != sdk.Created {
			continue
		}
		n.Accounts = append(n.Accounts, a.id)
		if e.transaction == "" {
			n.Left = append(n.Left, e.after[a.id])
		}
	}
	key := ""
	if len(n.Accounts) > 0 {
		if key, err = s.notes.keep(ctx, n); err != nil {
			return err
		}
	}
	err = s.commit(ctx, e)
	if key != "" && !errors.Is(err, errUnknown) {
		s.notes.settled(key)
	}
	return err
}
