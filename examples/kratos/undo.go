package main

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// atOnce is how many accounts an undo works on.
const atOnce = 8

// preImage is how an identity was, for an undo. The hash is in it where it is replaced.
func preImage(i *identity, withHash bool) ([]byte, error) {
	before := *i
	if !withHash {
		before.Credentials = map[string]credential{"oidc": i.Credentials["oidc"]}
	}
	return json.Marshal(before)
}

// Undo implements [sdk.Undoer].
func (t *target) Undo(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	return reconcile.TakeBack(ctx, atOnce, accounts, out, t.takeBack, func(err error) bool { return isStatus(err) })
}

func (t *target) takeBack(ctx context.Context, a sdk.Account) (sdk.Outcome, error) {
	have, err := t.api.get(ctx, a.TargetID)
	if err != nil || have == nil {
		return sdk.Outcome{Action: sdk.Unchanged}, err // gone already: nothing to do
	}
	if a.State != nil && !reconcile.ParseState(a.State).Untouched(t.judge.Fingerprints, t.fields(have)) {
		return sdk.Outcome{Action: sdk.Skipped, Code: sdk.CodeMoved}, nil
	}
	if a.Before == nil {
		return sdk.Outcome{Action: sdk.Deleted}, t.remove(ctx, have)
	}
	var before identity
	if err := json.Unmarshal(a.Before, &before); err != nil {
		return sdk.Outcome{}, err
	}
	_, err = t.api.change(ctx, have, &before, before.Credentials["password"].Config.Hash)
	return sdk.Outcome{Action: sdk.Updated}, err
}

// UndoInDoubt implements [sdk.DoubtUndoer]: the mark proves whose an identity is.
func (t *target) UndoInDoubt(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	return reconcile.TakeBack(ctx, atOnce, accounts, out, func(ctx context.Context, a sdk.Account) (sdk.Outcome, error) {
		have, err := t.api.find(ctx, markOf(a.ID))
		if err != nil || have == nil {
			return sdk.Outcome{Action: sdk.Unchanged}, err
		}
		return sdk.Outcome{Action: sdk.Deleted, TargetID: have.ID}, t.remove(ctx, have)
	}, func(err error) bool { return isStatus(err) })
}

func (t *target) remove(ctx context.Context, i *identity) error {
	return t.api.call(ctx, http.MethodDelete, item(i.ID), nil, nil)
}
