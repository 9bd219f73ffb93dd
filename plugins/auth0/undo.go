package auth0

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
	"github.com/stetl/stetl/plugins/auth0/internal/membership"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// tidyFor is how long one step of tidying up goes on before it says how far it is.
const tidyFor = 5 * time.Second

// Tidy implements [sdk.Tidier]: roles and organizations that loads have made go with the
// last who uses them.
func (t *live) Tidy(ctx context.Context) (removed, left int, err error) {
	if err := t.open(ctx); err != nil {
		return 0, 0, err
	}
	removed, left, err = t.janitor.Step(ctx, t.book, tidyFor)
	return removed, left, explain(err)
}

// Undo implements [sdk.Undoer].
func (t *live) Undo(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	r := &reversal{t}
	return explain(reconcile.TakeBack(ctx, lookups, accounts, out, r.takeBack, tenant.Refused))
}

// UndoInDoubt implements [sdk.DoubtUndoer]. What a load leaves in app_metadata is the proof
// that an account is of a load.
func (t *live) UndoInDoubt(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	r := &reversal{t}
	return explain(reconcile.TakeBack(ctx, lookups, accounts, out, r.find, tenant.Refused))
}

// find takes back an account of which nobody knows whether it is there: under the id that
// it was to have, in any of the connections that loads create users in.
func (t *reversal) find(ctx context.Context, a sdk.Account) (sdk.Outcome, error) {
	ids := []string{targetID(a.ID), targetID(strings.ToLower(a.ID)), connectionEmail + "|" + a.ID, connectionSMS + "|" + a.ID}
	if a.TargetID != "" {
		ids = []string{a.TargetID}
	}
	for _, id := range ids {
		found, err := t.directory.Read(ctx, id)
		switch {
		case err != nil:
			return sdk.Outcome{}, err
		case found == nil:
			continue
		case originOf(found).ID != a.ID, t.began.Older(found.CreatedAt.Time):
			return reconcile.Unproven(id), nil
		}
		return t.takeFound(ctx, a, id)
	}
	// A passwordless user may have an id that the tenant has chosen.
	marked, err := t.directory.Marked(ctx, metadataKey+".id", a.ID)
	if err != nil {
		return sdk.Outcome{}, err
	}
	for _, found := range marked {
		if originOf(found).ID == a.ID && !t.began.Older(found.CreatedAt.Time) {
			return t.takeFound(ctx, a, found.UserID)
		}
	}
	return sdk.Outcome{Action: sdk.Unchanged}, nil
}

func (t *reversal) takeFound(ctx context.Context, a sdk.Account, id string) (sdk.Outcome, error) {
	a.TargetID, a.State, a.Before = id, nil, nil
	o, err := t.takeBack(ctx, a)
	o.TargetID = id
	return o, err
}

// reversal gives one account back what it had.
type reversal struct{ *live }

func (t *reversal) takeBack(ctx context.Context, a sdk.Account) (sdk.Outcome, error) {
	found, err := t.directory.Read(ctx, a.TargetID)
	switch {
	case err != nil:
		return sdk.Outcome{}, err
	case found == nil:
		return sdk.Outcome{Action: sdk.Unchanged}, nil
	}
	ours := originOf(found)
	held := &account{found, t.book.ReadOne(ctx, membership.Ask{User: found.UserID, Noted: ours.noted()})}
	if held.has.Err != nil {
		return sdk.Outcome{}, held.has.Err
	}
	was, same := held, true
	if a.State != nil {
		was, same = t.asLeft(a, held)
	}
	if ours.ID == "" || !same {
		return sdk.Outcome{
			Action: sdk.Skipped, Code: sdk.CodeMoved, Detail: "the account was changed in the tenant after it was loaded", Hint: "delete it by hand if it is not wanted",
		}, nil
	}
	switch {
	case a.DryRun && !a.Disable && a.Before == nil:
		return sdk.Outcome{Action: sdk.Deleted}, nil
	case a.DryRun:
		return sdk.Outcome{Action: sdk.Updated}, nil
	case a.Disable:
		return t.block(ctx, a, was)
	}
	t.directory.Touched(a.TargetID)
	if a.Before == nil {
		err := t.api.Call(ctx, http.MethodDelete, t.api.URI("users", a.TargetID), nil, nil)
		if tenant.Status(err) == http.StatusNotFound { // an earlier attempt has done it
			err = nil
		}
		return sdk.Outcome{Action: sdk.Deleted}, err
	}
	var before preimage
	if err := json.Unmarshal(a.Before, &before); err != nil {
		return sdk.Outcome{}, fmt.Errorf("read the pre-image of user %s: %w", a.TargetID, err)
	}
	return sdk.Outcome{Action: sdk.Updated}, t.restore(ctx, held, &before)
}

// restore gives an account back what the tenant had shown of it. A password that was
// replaced cannot come back, since nobody can read hashes.
func (t *reversal) restore(ctx context.Context, held *account, before *preimage) error {
	b, belonged := &before.Account, membership.Set{Roles: before.Roles, Organizations: before.Organizations}
	now, was := fields(held.Account, held.has.Set), fields(b, belonged)
	body := map[string]any{}
	for name, field := range map[string]struct{ key, value string }{
		fieldEmail: {"email", b.Email}, fieldUsername: {"username", b.Username}, fieldPhone: {"phone_number", b.PhoneNumber},
		fieldGiven: {"given_name", b.GivenName}, fieldFamily: {"family_name", b.FamilyName},
	} {
		if now[name] == was[name] {
			continue
		}
		body[field.key] = any(field.value)
		if field.value == "" {
			body[field.key] = nil
		}
	}
	if held.Name != b.Name && b.Name != "" {
		body["name"] = b.Name
	}
	if held.EmailVerified != b.EmailVerified || body["email"] != nil {
		body["email_verified"] = b.EmailVerified
	}
	if body["email"] != nil {
		body["verify_email"] = false
	}
	if body["email"] != nil || body["username"] != nil || body["phone_number"] != nil {
		body["connection"] = cmp.Or(held.Connection(), t.config.Connection)
	}
	if held.Blocked != b.Blocked {
		body["blocked"] = b.Blocked
	}
	if metadata := difference(held.AppMetadata, b.AppMetadata); len(metadata) > 0 {
		body["app_metadata"] = metadata
	}
	if metadata := difference(held.UserMetadata, b.UserMetadata); len(metadata) > 0 {
		body["user_metadata"] = metadata
	}
	if len(body) > 0 {
		for _, part := range apart(body) {
			if err := t.api.Call(ctx, http.MethodPatch, t.api.URI("users", held.UserID), part, nil); err != nil {
				return err
			}
		}
	}
	var failed []membership.Failure
	if surplus := held.has.Without(belonged); !surplus.Empty() {
		failed = t.book.Take(ctx, held.UserID, surplus, belonged)
	}
	if missing := belonged.Without(held.has.Set); !missing.Empty() {
		failed = append(failed, t.book.Give(ctx, []membership.Grant{{User: held.UserID, Set: missing}})[held.UserID]...)
	}
	var errs error
	for _, f := range failed {
		errs = errors.Join(errs, fmt.Errorf("%s %w", f.Name(), f.Err))
	}
	return errs
}

// difference is a merge that turns now into was: all of was, and null for what it
// does not have.
func difference(now, was map[string]json.RawMessage) map[string]any {
	out, same := map[string]any{}, len(now) == len(was)
	for key, value := range was {
		out[key] = value
		same = same && normal(now[key]) == normal(value)
	}
	for key := range now {
		if _, ok := was[key]; !ok {
			out[key] = nil
			same = false
		}
	}
	if same {
		return nil
	}
	return out
}
