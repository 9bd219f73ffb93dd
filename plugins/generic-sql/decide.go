package sqltarget

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// session is one transaction on its way.
type session struct {
	*place
	tx     tx
	depth  int            // of savepoints
	strays map[string]int // rows of accounts that are of no declaration
}

// decide says what is to become of each user. It only reads, and is the whole difference
// between a plan and a load. Rows that cannot even be looked at cost their account only.
func (s *session) decide(ctx context.Context, users []*sdk.User, now time.Time, lock bool) ([]*account, error) {
	all := make([]*account, len(users))
	var open []*account
	for i, u := range users {
		all[i] = build(s.model, u, now)
		if !all[i].rejected() {
			open = append(open, all[i])
		}
	}
	err := s.halve(ctx, open, func(part []*account) error { return s.look(ctx, part, lock) })
	return all, err
}

// look compares accounts with what is there.
func (s *session) look(ctx context.Context, accounts []*account, lock bool) error {
	ids := make([]string, len(accounts))
	for i, a := range accounts {
		ids[i] = a.id
	}
	held, err := s.read(ctx, ids, lock)
	if err != nil {
		return err
	}
	doubtful := map[string]bool{}
	for _, a := range accounts {
		if a.user.Prior.InDoubt {
			doubtful[a.id] = true
		}
	}
	marked, err := s.made(ctx, doubtful, held)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		a.held, a.marked = held[a.id], marked[a.id]
		s.weigh(a)
	}
	return (&auditor{s}).constrain(ctx, accounts)
}

// weigh judges one account and notes what is to be written.
func (s *session) weigh(a *account) {
	a.inserts, a.updates, a.deletes = nil, nil, nil // of a look that was given up
	there := slices.ContainsFunc(a.held, func(r *row) bool { return r.table == s.model.accounts() })
	if !there {
		a.Verdict = s.judge.Absent(a.user)
	} else {
		a.Verdict = s.judge.Found(a.user, s.wantedWith(a), s.heldOf(a))
	}
	s.present(a)
	a.Outcome.TargetID = a.id
	if !there && a.Outcome.Action != sdk.Created {
		a.Outcome.TargetID = ""
	}
	if a.Outcome.Action.MayLose() {
		a.Outcome.Losses = append(a.Outcome.Losses, a.losses...)
	}
	if a.writes() {
		a.operations(s.place)
	}
}

// ours says that a run has left this row: it is its to change and to take away.
func (p *place) ours(a *account, r *row) bool {
	last := reconcile.ParseState(a.user.Prior.State)
	return slices.ContainsFunc(r.table.key, func(c *column) bool { return last.Recorded(p.judge.Fingerprints, r.field(c)) })
}

// chosen says that the person has another password by now than a run has left.
func (p *place) chosen(a *account, r *row, i int) bool {
	last := reconcile.ParseState(a.user.Prior.State)
	c := r.table.columns[i]
	return c.personal && !r.values[i].null && !last.IsZero() && !last.Holds(p.judge.Fingerprints, r.field(c), r.values[i].text)
}

// kept says that a row that is not wanted is not to go either: no run has made it, or the
// person has chosen the password in it.
func (p *place) kept(a *account, r *row) bool {
	if r.table == p.model.accounts() {
		return true
	}
	if !p.ours(a, r) {
		return true
	}
	for i := range r.table.columns {
		if p.chosen(a, r, i) {
			return true
		}
	}
	return false
}

func wantedRow(rows []*row, like *row) *row {
	at := slices.IndexFunc(rows, func(r *row) bool { return r.table == like.table && r.key == like.key })
	if at < 0 {
		return nil
	}
	return rows[at]
}

// wantedWith is what is wanted, and the passwords that are there and are not.
func (p *place) wantedWith(a *account) reconcile.Wanted {
	w := a.want
	for _, r := range a.held {
		if wantedRow(a.wanted, r) != nil {
			continue
		}
		for _, c := range r.table.columns {
			if c.personal {
				w.Secrets = append(slices.Clip(w.Secrets), reconcile.Secret{Field: r.field(c), Feature: sdk.PartPassword})
			}
		}
	}
	return w
}

// heldOf tells the rules of all targets what is there.
func (p *place) heldOf(a *account) reconcile.Held {
	h := reconcile.Held{
		ID: a.id, Fields: shown(a.held), Answerable: map[string]string{}, Marked: a.marked,
		Personal: map[string]bool{}, Equal: map[string]bool{},
	}
	for _, w := range a.wanted {
		if wantedRow(a.held, w) == nil {
			for _, c := range w.table.columns {
				if c.personal {
					h.Equal[w.field(c)] = false // there is none
				}
			}
		}
	}
	for _, r := range a.held {
		w := wantedRow(a.wanted, r)
		if w == nil && p.kept(a, r) {
			for i, c := range r.table.columns {
				if c.personal {
					h.Personal[r.field(c)], h.Equal[r.field(c)] = true, r.values[i].null
				}
			}
			continue
		}
		for i, c := range r.table.columns {
			switch {
			case c.personal:
				h.Equal[r.field(c)] = w != nil && w.values[i].is(r.values[i])
				h.Personal[r.field(c)] = p.chosen(a, r, i)
			case c.compared():
				h.Answerable[r.field(c)] = r.values[i].text
			}
		}
	}
	return h
}

// shown is everything that a state covers: whatever of it changes, somebody has touched
// the account.
func shown(rows []*row) map[string]string {
	out := map[string]string{}
	for _, r := range rows {
		for i, c := range r.table.columns {
			if c.compared() {
				out[r.fields()[i]] = r.values[i].text
			}
		}
	}
	return out
}

// operations are the rows to insert, to change and to remove.
func (a *account) operations(p *place) {
	for _, w := range a.wanted {
		h := wantedRow(a.held, w)
		switch {
		case h == nil:
			a.inserts = append(a.inserts, w)
		case a.differs(w, h):
			a.updates = append(a.updates, w)
		}
	}
	for _, h := range a.held {
		if wantedRow(a.wanted, h) == nil && !p.kept(a, h) {
			a.deletes = append(a.deletes, h)
		}
	}
}

// differs says that a row is to be written. A password that the person has chosen stays
// in it.
func (a *account) differs(w, h *row) bool {
	differs := false
	for i, c := range w.table.columns {
		switch {
		case c.personal && !a.Send[w.field(c)]:
			w.values[i] = h.values[i]
		case c.once:
			w.values[i] = h.values[i]
		default:
			differs = differs || !w.values[i].is(h.values[i])
		}
	}
	return differs
}

var rowKey = regexp.MustCompile("\x00[^\x00]*\x00")

// plainName is the name of a field without the key of its row.
func plainName(field string) string { return rowKey.ReplaceAllLiteralString(field, ".") }

// present renders a verdict for people: without the keys of rows, and secrets as
// fingerprints.
func (p *place) present(a *account) {
	o := &a.Outcome
	o.Detail = plainName(o.Detail)
	for i := range a.Fields {
		f := &a.Fields[i]
		f.Field = plainName(f.Field)
		if !p.secret[f.Field] {
			continue
		}
		for _, v := range []*string{&f.Old, &f.New} {
			if *v != "" && *v != sdk.UnreadValue {
				*v = p.judge.Fingerprints.Of(*v)
			}
		}
	}
	for i, name := range o.Changed {
		o.Changed[i] = plainName(name)
	}
	slices.Sort(o.Changed)
	o.Changed = slices.Compact(o.Changed)
}

// behind does something behind a savepoint, to which the transaction goes back when the
// database refuses it.
func (s *session) behind(ctx context.Context, do func() error) (*refusal, error) {
	s.depth++
	name := fmt.Sprintf("stetl_%d", s.depth)
	defer func() { s.depth-- }()
	if err := s.tx.exec(ctx, "SAVEPOINT "+name); err != nil {
		return nil, err
	}
	err := do()
	if err == nil {
		return nil, s.tx.exec(ctx, "RELEASE SAVEPOINT "+name)
	}
	refused, ok := dataError(err)
	if !ok {
		return nil, err
	}
	return refused, s.tx.exec(ctx, "ROLLBACK TO SAVEPOINT "+name)
}

// halve does something with accounts in one go. What the database refuses is tried in
// halves, until it is one account's.
func (s *session) halve(ctx context.Context, accounts []*account, do func([]*account) error) error {
	if len(accounts) == 0 {
		return nil
	}
	refused, err := s.behind(ctx, func() error { return do(accounts) })
	if err != nil || refused == nil {
		return err
	}
	if len(accounts) == 1 {
		accounts[0].refusedBy(refused)
		return nil
	}
	half := len(accounts) / 2
	if err := s.halve(ctx, accounts[:half], do); err != nil {
		return err
	}
	return s.halve(ctx, accounts[half:], do)
}

// refusedBy rejects the account with the database's words, without the row that it quotes.
func (a *account) refusedBy(r *refusal) {
	code, detail := codeConstraint, r.text
	switch r.kind {
	case refusedTaken:
		code = sdk.CodeIDConflict
		detail = "another row has the same value, which " + r.name + " does not allow"
	case refusedLength:
		code = sdk.CodeFieldTooLong
	case refusedForm:
		detail = "a value has a form that its column does not take (" + r.text + ")"
	case refusedOther:
	}
	if r.table != "" {
		detail = fmt.Sprintf("%s: %s", r.table, detail)
	}
	a.reject(code, detail, "")
}
