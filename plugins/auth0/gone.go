package auth0

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
	"github.com/stetl/stetl/plugins/auth0/internal/membership"
)

// asLeft says whether an account is as the host says, and returns it as it was. One that was
// about to be blocked, and of which no answer came, may be so already.
func (t *reversal) asLeft(a sdk.Account, held *account) (*account, bool) {
	last, fp := reconcile.ParseState(a.State), t.env.Fingerprints
	if last.Untouched(fp, fields(held.Account, held.has.Set)) {
		return held, true
	}
	if !a.Disable || !a.InDoubt || !held.Blocked {
		return held, false
	}
	on := *held.Account
	on.Blocked = false
	return &account{&on, held.has}, last.Untouched(fp, fields(&on, held.has.Set))
}

// block has nobody sign in with an account any more. Was is the account as it was. To give
// free what others want, it gets an address and a name that nobody has.
func (t *reversal) block(ctx context.Context, a sdk.Account, was *account) (sdk.Outcome, error) {
	if a.Release && was.PhoneNumber != "" && was.Email == "" {
		return sdk.Outcome{
			Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: "a user of a phone number cannot give the number free", Hint: "delete it by hand, then run again",
		}, nil
	}
	before, err := json.Marshal(preimage{Account: *was.Account, Roles: was.has.Roles, Organizations: was.has.Organizations})
	if err != nil {
		return sdk.Outcome{}, fmt.Errorf("encode user %s: %w", was.UserID, err)
	}
	bodies := []map[string]any{{"blocked": true}}
	if a.Release {
		connection := cmp.Or(was.Connection(), t.config.Connection)
		unique := fmt.Sprintf("%x", sha256.Sum256([]byte(was.UserID)))
		bodies = append(bodies, map[string]any{
			"email": unique[:32] + "@gone.invalid", "email_verified": false, "verify_email": false, "connection": connection,
		})
		if was.Username != "" {
			bodies = append(bodies, map[string]any{"username": "gone-" + unique[:10], "connection": connection}) // no longer than any tenant allows
		}
	}
	t.directory.Touched(was.UserID)
	for _, body := range bodies { // a tenant takes no address and name at once
		if err := t.api.Call(ctx, http.MethodPatch, t.api.URI("users", was.UserID), body, nil); err != nil {
			return sdk.Outcome{}, err
		}
	}
	found, err := t.directory.Read(ctx, was.UserID)
	switch {
	case err != nil:
		return sdk.Outcome{}, err
	case found == nil:
		return sdk.Outcome{Action: sdk.Unchanged}, nil // somebody was faster
	case !found.Blocked:
		return sdk.Outcome{Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: "the tenant has accepted it and not done it", Hint: "block it by hand"}, nil
	}
	ours := originOf(found)
	has := t.book.ReadOne(ctx, membership.Ask{User: found.UserID, Noted: ours.noted()})
	if has.Err != nil {
		return sdk.Outcome{}, has.Err
	}
	state := reconcile.ParseState(a.State).Showing(t.env.Fingerprints, fields(found, has.Set))
	return sdk.Outcome{Action: sdk.Updated, State: state, Before: before}, nil
}
