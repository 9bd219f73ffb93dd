package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// reversal takes back what loads have done.
type reversal struct{ *server }

// Undo implements [sdk.Undoer].
func (t *live) Undo(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	opened, err := t.forUndo(ctx)
	if err != nil {
		return explain(err)
	}
	s := reversal{opened}
	if s.facts.groups != "" {
		if err := s.seeGroups(ctx, accounts); err != nil {
			return explain(err)
		}
	}
	if s.config.Undo == "deactivate" || s.off.any() {
		made := slices.DeleteFunc(slices.Clone(accounts), func(a sdk.Account) bool { return a.Before != nil || a.Disable || a.DryRun }) // others are given back what they were
		if err := s.off.add(ctx, made); err != nil {
			return err
		}
	}
	var mu sync.Mutex
	var gone []sdk.Account
	err = reconcile.TakeBack(ctx, maxParallel, accounts, out, func(ctx context.Context, a sdk.Account) (sdk.Outcome, error) {
		o, err := s.takeBack(ctx, a)
		if err == nil && o.Action == sdk.Deleted && !a.DryRun {
			mu.Lock()
			defer mu.Unlock()
			gone = append(gone, a)
		}
		return o, err
	}, refused)
	if s.facts.groups == "" {
		return explain(err)
	}
	return explain(errors.Join(err, s.leaveGroups(ctx, gone)))
}

// UndoInDoubt implements [sdk.DoubtUndoer]. The externalId is the proof that an account is
// of a load.
func (t *live) UndoInDoubt(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	return explain(reconcile.TakeBack(ctx, maxParallel, accounts, out, reversal{s}.takeBackInDoubt, refused))
}

// leaveOwn takes an account of which no state is known out of the groups that loads have
// made, and out of those that it says it is in: many servers list who is gone.
func (s reversal) leaveOwn(ctx context.Context, held resource) error {
	if s.facts.groups == "" {
		return nil
	}
	own, err := s.groups.own(ctx)
	if err != nil {
		return err
	}
	for _, said := range elements(held.get("groups")) {
		o, _ := objectOf(said)
		g, err := s.groups.get(ctx, o.text("display"))
		if err != nil {
			return err
		}
		if g != nil && g.id == o.text("value") && !slices.Contains(own, g) {
			own = append(own, g)
		}
	}
	for _, g := range own {
		there, known, err := s.groups.has(ctx, g, held.id())
		if err == nil && there && known {
			err = s.groups.leave(ctx, g, held.id())
		}
		if err != nil && !refused(err) && !errors.Is(err, errStillMember) {
			return err
		}
	}
	return nil
}

func (s reversal) takeBackInDoubt(ctx context.Context, a sdk.Account) (sdk.Outcome, error) {
	// As name an id that nobody signs in with: the search is by externalId.
	want := &desired{body: resource{"externalId": a.ID, "userName": a.ID}}
	h, err := s.finder.find(ctx, want, &sdk.User{ID: a.ID}, false)
	sure := false
	if err == nil && h.held == nil {
		sure, err = s.finder.marks(ctx, s.learned)
	}
	switch {
	case err != nil:
		return sdk.Outcome{}, err
	case h.held == nil && !sure:
		return sdk.Outcome{
			Action: sdk.Skipped, Code: sdk.CodeUndoInDoubt, Detail: "accounts of this server cannot be found by externalId, so that nobody knows whether a run has left one",
			Hint: "look for the user name at the provider and delete the account by hand if it should go",
		}, nil
	case h.held == nil:
		return sdk.Outcome{Action: sdk.Unchanged}, nil
	case !h.mine, h.several, s.began.Older(createdAt(h.held)):
		return reconcile.Unproven(h.held.id()), nil
	}
	if err := s.leaveOwn(ctx, h.held); err != nil {
		return sdk.Outcome{}, err
	}
	o, err := s.remove(ctx, h.held)
	o.TargetID = h.held.id()
	return o, err
}

// leaveGroups takes deleted accounts out of the groups that loads have put them in.
func (s reversal) leaveGroups(ctx context.Context, gone []sdk.Account) error {
	names, err := s.groups.names(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		var ids []string
		for _, a := range gone {
			if reconcile.ParseState(a.State).Recorded(s.env.Fingerprints, groupPath(name)) {
				ids = append(ids, a.TargetID)
			}
		}
		if len(ids) == 0 {
			continue
		}
		g, err := s.groups.get(ctx, name)
		if err != nil {
			return err
		}
		if err := s.groups.leaveAll(ctx, g, ids); err != nil {
			return err
		}
	}
	return nil
}

// forUndo is open without a look at all accounts, which an undo has no need of.
func (t *live) forUndo(ctx context.Context) (*server, error) {
	t.opening.Lock()
	defer t.opening.Unlock()
	if t.server != nil {
		return t.server, nil
	}
	if t.undoing == nil {
		s, err := learn(ctx, t)
		if err != nil {
			return nil, err
		}
		t.undoing = s
	}
	return t.undoing, nil
}

// seeGroups finds out whether the server shows members at all, while there are some.
func (s reversal) seeGroups(ctx context.Context, accounts []sdk.Account) error {
	own, err := s.groups.own(ctx)
	if err != nil || len(accounts) == 0 {
		return err
	}
	for _, g := range own {
		if _, _, err := s.groups.has(ctx, g, accounts[0].TargetID); err != nil {
			return err
		}
	}
	return nil
}

func (s reversal) takeBack(ctx context.Context, a sdk.Account) (sdk.Outcome, error) {
	held, err := s.api.one(ctx, s.facts.users, a.TargetID)
	switch {
	case err != nil:
		return sdk.Outcome{}, err
	case held == nil:
		return sdk.Outcome{Action: sdk.Unchanged}, nil
	}
	was := held
	if a.State != nil {
		var same bool
		if was, same, err = s.asLeft(ctx, a, held); err != nil {
			return sdk.Outcome{}, err
		}
		if !same {
			return sdk.Outcome{
				Action: sdk.Skipped, Code: sdk.CodeMoved, Detail: "the account was changed at the provider after it was loaded",
				Hint: "delete it by hand if it is not wanted",
			}, nil
		}
	}
	switch {
	case a.DryRun && !a.Disable && a.Before == nil:
		return sdk.Outcome{Action: sdk.Deleted}, nil
	case a.DryRun:
		return sdk.Outcome{Action: sdk.Updated}, nil
	case a.Disable:
		return s.switchOff(ctx, a, held, was)
	}
	if a.Before != nil {
		var before preImage
		if err := json.Unmarshal(a.Before, &before); err != nil {
			return sdk.Outcome{}, fmt.Errorf("read the pre-image of account %s: %w", a.TargetID, err)
		}
		return sdk.Outcome{Action: sdk.Updated}, s.restore(ctx, held, before, a.State)
	}
	return s.remove(ctx, held)
}

// remove deletes an account, or switches it off where the provider or the operator
// wants it so.
func (s reversal) remove(ctx context.Context, held resource) (sdk.Outcome, error) {
	path, err := pathOf(s.facts.users, held.id())
	if err != nil {
		return sdk.Outcome{}, err
	}
	if s.config.Undo != "deactivate" {
		err := s.api.write(ctx, request{method: http.MethodDelete, path: path})
		if s.config.Undo == "delete" || (status(err) != http.StatusMethodNotAllowed && status(err) != http.StatusNotImplemented) {
			return sdk.Outcome{Action: sdk.Deleted}, err
		}
	}
	if err := s.off.add(ctx, []sdk.Account{{TargetID: held.id()}}); err != nil {
		return sdk.Outcome{}, err
	}
	want := resource{"active": false}
	err = s.write.rewrite(ctx, held, want, []reconcile.Difference{{Field: "active", Held: "true", Want: "false"}})
	return sdk.Outcome{Action: sdk.Deleted, Detail: "switched off, not deleted"}, err
}
