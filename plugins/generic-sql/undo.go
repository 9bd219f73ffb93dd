package sqltarget

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// preImage is how the rows of an account were before an update.
type preImage struct {
	// Added are rows that the update has made, Changed those that it has changed and
	// Removed those that it has taken away, whole.
	Added   []oldRow `json:"added,omitempty"`
	Changed []oldRow `json:"changed,omitempty"`
	Removed []oldRow `json:"removed,omitempty"`
}

// oldRow is a row as it was. A nil value is NULL.
type oldRow struct {
	Table string             `json:"table"`
	Key   map[string]*string `json:"key"`
	Old   map[string]*string `json:"old,omitempty"`
}

func (r *row) old(columns func(*column) bool) map[string]*string {
	out := map[string]*string{}
	for i, c := range r.table.columns {
		if columns(c) {
			out[c.name] = c.held.written(r.values[i])
		}
	}
	return out
}

func (t *table) isKey(c *column) bool { return c == t.account || slices.Contains(t.key, c) }

// before notes the pre-images of updates.
func (s *writer) before(ctx context.Context, accounts []*account) error {
	for _, a := range accounts {
		if a.Outcome.Action != sdk.Updated {
			continue
		}
		var p preImage
		for _, r := range a.inserts {
			p.Added = append(p.Added, oldRow{Table: r.table.Name, Key: r.old(r.table.isKey)})
		}
		for _, r := range a.updates {
			h := wantedRow(a.held, r)
			p.Changed = append(p.Changed, oldRow{
				Table: r.table.Name, Key: r.old(r.table.isKey),
				Old: h.old(func(c *column) bool { return c.compared() && !r.table.isKey(c) }),
			})
		}
		for _, r := range a.deletes {
			whole, err := s.whole(ctx, r)
			if err != nil {
				return err
			}
			p.Removed = append(p.Removed, oldRow{Table: r.table.Name, Key: r.old(r.table.isKey), Old: whole})
		}
		var err error
		if a.Outcome.Before, err = json.Marshal(p); err != nil {
			return err
		}
	}
	return nil
}

// whole reads every column of a row, also those that nobody has declared.
func (s *writer) whole(ctx context.Context, r *row) (map[string]*string, error) {
	h := s.catalogue.of(r.table)
	var names, shown []string
	for _, c := range h.columns {
		if c.generated == "" {
			names, shown = append(names, c.name), append(shown, c.whole("t."+s.server.quote(c.name)))
		}
	}
	where, args := keyed(s.server, h, r.old(r.table.isKey), 1)
	out := map[string]*string{}
	err := s.tx.each(ctx, "SELECT "+strings.Join(shown, ", ")+" FROM "+h.name+" AS t WHERE "+where, args, func(texts []*string) error {
		for i, name := range names {
			out[name] = texts[i]
		}
		return nil
	})
	return out, err
}

// keyed is a condition for one row, with its parameters from a number on.
func keyed(s syntax, h *heldTable, key map[string]*string, from int) (string, []any) {
	var on []string
	var args []any
	for _, name := range sortedKeys(key) {
		c := h.column(name)
		on = append(on, s.same(s.quote(name), s.param(from+len(args), c)))
		args = append(args, key[name])
		if c.exact != nil {
			on = append(on, s.same(c.exact(s.quote(name)), s.param(from+len(args), c)))
			args = append(args, key[name])
		}
	}
	return strings.Join(on, " AND "), args
}

// taking is an account on its way back.
type taking struct {
	sdk.Account
	outcome sdk.Outcome
	held    []*row
	strays  int
}

// Undo implements [sdk.Undoer].
func (t *live) Undo(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	return undo(ctx, t, accounts, out, false)
}

// UndoInDoubt implements [sdk.DoubtUndoer]. What proves that a run has made an account is
// the transaction that did, of which the database knows that it was committed.
func (t *live) UndoInDoubt(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	return undo(ctx, t, accounts, out, true)
}

// undo takes accounts back in one transaction.
func undo(ctx context.Context, t *live, accounts []sdk.Account, out sdk.Outcomes, doubtful bool) error {
	p, err := t.open(ctx)
	if err != nil {
		return err
	}
	if d := (&whereabouts{t.config, t.server, t.env}).other(); d != nil {
		return sdk.Diagnostics{*d}.Err()
	}
	all := make([]*taking, len(accounts))
	for i, a := range accounts {
		all[i] = &taking{Account: a, outcome: sdk.Outcome{SourceID: a.SourceID, TargetID: a.TargetID}}
		if doubtful && a.TargetID == "" {
			all[i].TargetID = a.ID
		}
	}
	why, looking := writing, !slices.ContainsFunc(accounts, func(a sdk.Account) bool { return !a.DryRun })
	if looking {
		why = reading
	}
	tx, err := t.server.begin(ctx, why)
	if err != nil {
		return explain(err)
	}
	defer tx.close(ctx)
	s := &remover{&writer{&session{place: p, tx: tx}}}
	if err := s.takeBack(ctx, all, doubtful, !looking); err != nil {
		return explain(err)
	}
	if looking {
		for _, a := range all {
			out.Report(a.outcome)
		}
		return nil
	}
	if err := s.finish(ctx, all); err != nil {
		return explain(err)
	}
	for _, a := range all {
		out.Report(a.outcome)
	}
	return nil
}

// remover takes accounts back in one transaction.
type remover struct{ *writer }

// finish commits.
func (s *remover) finish(ctx context.Context, all []*taking) error {
	before := map[string][]*row{}
	var ids []string
	for _, a := range all {
		if a.outcome.Action == sdk.Deleted || a.outcome.Action == sdk.Updated {
			ids = append(ids, a.TargetID)
			before[a.TargetID] = a.held
		}
	}
	e, err := s.ends(ctx, ids, before, func() (map[string][]*row, error) { return s.read(ctx, ids, false) })
	if err != nil {
		return err
	}
	return s.commit(ctx, e)
}

// takeBack works on accounts that are as they were left.
func (s *remover) takeBack(ctx context.Context, all []*taking, doubtful, lock bool) error {
	key := s.model.accounts().account.held
	var ids []string
	for _, a := range all {
		id, err := parse(key.kind, key.digits, a.TargetID)
		if err == nil && !strings.ContainsRune(id.text, 0) {
			a.TargetID = id.text
			ids = append(ids, id.text)
		}
	}
	held, err := s.read(ctx, ids, lock)
	if err != nil {
		return err
	}
	proven := map[string]bool{}
	if doubtful {
		wanted := map[string]bool{}
		for _, id := range ids {
			wanted[id] = true
		}
		if proven, err = s.made(ctx, wanted, held); err != nil {
			return err
		}
	}
	var removing []*taking
	for _, a := range all {
		a.held, a.strays = held[a.TargetID], s.strays[a.TargetID]
		there := slices.ContainsFunc(a.held, func(r *row) bool { return r.table == s.model.accounts() })
		o := &a.outcome
		switch {
		case !there && (a.Before == nil || a.DryRun):
			o.Action = sdk.Unchanged // gone already
		case doubtful && !proven[a.TargetID]:
			*o = reconcile.Unproven(a.TargetID)
			o.SourceID = a.SourceID
		case a.State != nil && !s.untouched(a):
			o.Action, o.Code = sdk.Skipped, sdk.CodeMoved
			o.Detail, o.Hint = "the account was changed in the database after it was loaded", "delete it by hand if it is not wanted"
		case a.Disable && a.DryRun, a.Before != nil && a.DryRun:
			o.Action = sdk.Updated
		case a.Disable:
			if err := s.disabled(ctx, a); err != nil {
				return err
			}
		case a.Before == nil:
			o.TargetID = a.TargetID
			removing = append(removing, a)
		default:
			if err := s.restored(ctx, a); err != nil {
				return err
			}
		}
	}
	return s.removed(ctx, removing)
}

// restored gives one account its pre-image back. What the database has against it is the
// account's outcome.
func (s *remover) restored(ctx context.Context, a *taking) error {
	var p preImage
	if err := json.Unmarshal(a.Before, &p); err != nil {
		return fmt.Errorf("read the pre-image of account %s: %w", a.TargetID, err)
	}
	a.outcome.Action = sdk.Updated
	return s.attempt(ctx, a, func() error {
		for _, r := range slices.Backward(p.Added) {
			h := s.catalogue.tables[r.Table]
			where, args := keyed(s.server, h, r.Key, 1)
			if err := s.tx.exec(ctx, "DELETE FROM "+h.name+" WHERE "+where, args...); err != nil {
				return err
			}
		}
		for _, r := range p.Changed {
			h := s.catalogue.tables[r.Table]
			var set []string
			var values []any
			for _, name := range sortedKeys(r.Old) {
				values = append(values, r.Old[name])
				set = append(set, s.server.quote(name)+" = "+s.server.param(len(values), h.column(name)))
			}
			where, args := keyed(s.server, h, r.Key, len(values)+1)
			if len(set) == 0 {
				continue
			}
			if err := s.tx.exec(ctx, "UPDATE "+h.name+" SET "+strings.Join(set, ", ")+" WHERE "+where, append(values, args...)...); err != nil {
				return err
			}
		}
		for _, r := range p.Removed {
			h := s.catalogue.tables[r.Table]
			var names, places []string
			var values []any
			for _, name := range sortedKeys(r.Old) {
				values = append(values, r.Old[name])
				names, places = append(names, s.server.quote(name)), append(places, s.server.param(len(values), h.column(name)))
			}
			if err := s.tx.exec(ctx, "INSERT INTO "+h.name+" ("+strings.Join(names, ", ")+")"+h.overriding+" VALUES ("+strings.Join(places, ", ")+")", values...); err != nil {
				return err
			}
		}
		return nil
	})
}

// attempt does something for one account behind a savepoint.
func (s *remover) attempt(ctx context.Context, a *taking, do func() error) error {
	refused, err := s.behind(ctx, do)
	if err == nil && refused != nil {
		a.outcome.Action, a.outcome.Code, a.outcome.Detail = sdk.Rejected, sdk.CodeTargetRefused, refused.text
		a.outcome.Hint = "delete it by hand if it is not wanted"
	}
	return err
}

// removed deletes accounts to which nothing refers but what loads have made.
func (s *remover) removed(ctx context.Context, all []*taking) error {
	if len(all) == 0 {
		return nil
	}
	byID := map[string]*taking{}
	var ids []string
	for _, a := range all {
		byID[a.TargetID] = a
		if s.catalogue.blind {
			a.outcome.Action, a.outcome.Code = sdk.Skipped, codeReferenced
			a.outcome.Detail = "the role cannot see all tables that could refer to it"
			a.outcome.Hint = "grant it SELECT on the whole database, or delete the account by hand with all that belongs to it"
			continue
		}
		if a.strays > 0 {
			a.stays(s.catalogue.of(s.model.accounts()).plain, a.strays)
			continue
		}
		ids = append(ids, a.TargetID)
	}
	if len(ids) == 0 {
		return nil
	}
	for _, f := range s.catalogue.referrers {
		if s.catalogue.disposable[f.from] {
			continue
		}
		if err := s.referred(ctx, &f, ids, byID); err != nil {
			return err
		}
	}
	for _, a := range all {
		if a.outcome.Action != "" {
			continue
		}
		a.outcome.Action = sdk.Deleted // unless the database has a word against it
		if a.DryRun {
			continue
		}
		err := s.attempt(ctx, a, func() error { return s.erase(ctx, a) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *taking) stays(table string, rows int) {
	a.outcome.Action, a.outcome.Code = sdk.Skipped, codeReferenced
	a.outcome.Detail = fmt.Sprintf("%s has %d rows of this account that no run has made", table, rows)
	a.outcome.Hint = "if it is not wanted, delete the account by hand with everything that belongs to it"
}

// referred keeps the accounts to which rows of a table refer, whatever the foreign key
// would do with these rows.
func (s *remover) referred(ctx context.Context, f *reference, ids []string, byID map[string]*taking) error {
	for _, p := range s.places {
		if p.held.id != f.to {
			continue
		}
		on := f.joined(s.server, "f")
		account := "p." + s.server.quote(p.account.name)
		for _, from := range s.places {
			if from.held.id == f.from {
				theirs := from.account.exactly("f." + s.server.quote(from.account.name))
				on = append(on, "NOT ("+s.server.same(from.account.show(theirs), p.account.show(p.account.exactly(account)))+")")
			}
		}
		among, args := s.server.among(account, p.account, ids)
		query := "SELECT " + p.account.show(account) + ", count(*) FROM " + f.fromName + " AS f JOIN " + p.held.name + " AS p ON " + strings.Join(on, " AND ") + " WHERE " + among + " GROUP BY 1"
		err := s.tx.each(ctx, query, args, func(texts []*string) error {
			n, err := strconv.Atoi(textOf(texts[1]))
			if a := byID[textOf(texts[0])]; a != nil && a.outcome.Action == "" {
				a.stays(f.fromName, n)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("look for what refers to accounts in %s: %w", f.fromName, err)
		}
	}
	return nil
}

// joined are the conditions that a row of a foreign key refers to a row p.
func (f *reference) joined(s syntax, from string) (on []string) {
	for i, name := range f.columns {
		on = append(on, from+"."+s.quote(name)+" = p."+s.quote(f.refs[i]))
	}
	return on
}

// erase deletes the rows of one account: what may go with it, then its own.
func (s *remover) erase(ctx context.Context, a *taking) error {
	if err := s.without(ctx, a.TargetID, s.catalogue.disposable); err != nil {
		return err
	}
	for _, t := range slices.Backward(s.model.tables) {
		var rows []pending
		for _, r := range a.held {
			if r.table == t {
				rows = append(rows, pending{row: r})
			}
		}
		if err := s.remove(ctx, t, rows); err != nil {
			return err
		}
	}
	return nil
}
