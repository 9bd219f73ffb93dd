package sqltarget

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// untouched says that an account is as the host says. One that was about to be switched off,
// and of which no answer came, may be so already: then it is as it was before from here on.
func (s *remover) untouched(a *taking) bool {
	last, fp := reconcile.ParseState(a.State), s.judge.Fingerprints
	if last.Untouched(fp, shown(a.held)) {
		return true
	}
	if !a.Disable || !a.InDoubt {
		return false
	}
	was := make([]*row, len(a.held))
	for i, r := range a.held {
		on := *r
		on.values = slices.Clone(r.values)
		for n, c := range r.table.columns {
			if c.gone != nil && c.fixed {
				on.values[n] = c.constant
			}
		}
		was[i] = &on
	}
	if !last.Untouched(fp, shown(was)) {
		return false
	}
	a.held = was
	return true
}

// off is what a column gets when its account is switched off; false where it stays.
func (c *column) off(id string, release bool) (v value, changes bool, err error) {
	want := c.gone
	if want == nil && release {
		want = c.free
	}
	if want == nil {
		return null, false, nil
	}
	if text, ok := want.(string); ok {
		want = strings.ReplaceAll(text, "{id}", id)
	}
	v, err = canonicalOf(c.held.kind, c.held.digits, want)
	return v, true, err
}

// disabled switches one account off. What the database has against it is the account's
// outcome.
func (s *remover) disabled(ctx context.Context, a *taking) error {
	var before preImage
	released := false
	a.outcome.Action = sdk.Updated
	err := s.attempt(ctx, a, func() error {
		for _, r := range a.held {
			var set []string
			var values []any
			for _, c := range r.table.columns {
				v, changes, err := c.off(a.TargetID, a.Release)
				if err != nil {
					return fmt.Errorf("column %s of %s: %w", c.name, r.table.Name, err)
				}
				if !changes {
					continue
				}
				released = released || c.free != nil
				values = append(values, c.held.written(v))
				set = append(set, s.server.quote(c.name)+" = "+s.server.param(len(values), c.held))
			}
			key := r.old(r.table.isKey)
			before.Changed = append(before.Changed, oldRow{
				Table: r.table.Name, Key: key, // also of what another one may want later: this is kept once
				Old: r.old(func(c *column) bool { return c.gone != nil || c.free != nil }),
			})
			if len(set) == 0 {
				continue
			}
			h := s.catalogue.of(r.table)
			where, args := keyed(s.server, h, key, len(values)+1)
			if err := s.tx.exec(ctx, "UPDATE "+h.name+" SET "+strings.Join(set, ", ")+" WHERE "+where, append(values, args...)...); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err != nil || a.outcome.Action != sdk.Updated:
		return err
	case a.Release && !released:
		a.outcome.Action, a.outcome.Code = sdk.Rejected, sdk.CodeTargetRefused
		a.outcome.Detail, a.outcome.Hint = "no column of the account can be given up", "set free for such a column"
		return nil
	}
	held, err := s.read(ctx, []string{a.TargetID}, false)
	if err != nil {
		return err
	}
	a.outcome.State = reconcile.ParseState(a.State).Showing(s.judge.Fingerprints, shown(held[a.TargetID]))
	a.outcome.Before, err = json.Marshal(before)
	return err
}
