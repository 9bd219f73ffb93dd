package auth0

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// Undo implements [sdk.Undoer].
func (t *live) Undo(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for _, a := range accounts {
		g.Go(func() error {
			o, err := t.takeBack(ctx, a)
			if tenant.Refused(err) {
				o, err = sdk.Outcome{Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: err.Error(), Hint: "take the account back by hand"}, nil
			}
			if err != nil {
				return explain(err)
			}
			o.SourceID, o.TargetID = a.SourceID, a.TargetID
			out.Report(o)
			return nil
		})
	}
	return g.Wait()
}

func (t *live) takeBack(ctx context.Context, a sdk.Account) (sdk.Outcome, error) {
	held, err := t.read(ctx, a.TargetID)
	switch {
	case err != nil:
		return sdk.Outcome{}, err
	case held == nil:
		return sdk.Outcome{Action: sdk.Unchanged}, nil
	}
	if err := t.complete(ctx, held, nil); err != nil {
		return sdk.Outcome{}, err
	}
	last, _ := sent(a.State)
	if held.origin().ID == "" || (a.State != nil && !bytes.Equal(a.State, t.state(last, held.fields()))) {
		return sdk.Outcome{
			Action: sdk.Skipped, Code: sdk.CodeMoved, Detail: "the account was changed in the tenant after it was loaded", Hint: "delete it by hand if it should go",
		}, nil
	}
	t.directory.touched(a.TargetID)
	t.undone.note(held)
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
func (t *live) restore(ctx context.Context, held *account, before *preimage) error {
	b := &before.Account
	now, was := held.fields(), b.fields()
	body := map[string]any{}
	for name, field := range map[string]struct{ key, value string }{
		fieldEmail: {"email", b.Email}, fieldUsername: {"username", b.Username}, fieldPhone: {"phone_number", b.PhoneNumber},
		fieldGiven: {"given_name", b.GivenName}, fieldFamily: {"family_name", b.FamilyName},
	} {
		if now[name] == was[name] {
			continue
		}
		if body[field.key] = any(field.value); field.value == "" {
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
		body["connection"] = t.config.Connection
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
		if err := t.api.Call(ctx, http.MethodPatch, t.api.URI("users", held.UserID), body, nil); err != nil {
			return err
		}
	}
	if slices.Equal(held.roles, before.Roles) && memberText(held.organizations) == memberText(before.Organizations) {
		return nil
	}
	return t.settleMemberships(ctx, held, &record{roles: before.Roles, organizations: before.Organizations})
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
