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
			Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: "a user of a phone number cannot give up the number", Hint: "delete it by hand, then run again",
		}, nil
	}
	before, err := json.Marshal(preimage{Account: *was.Account, Roles: was.has.Roles, Organizations: was.has.Organizations})
	if err != nil {
		return sdk.Outcome{}, fmt.Errorf("encode user %s: %w", was.UserID, err)
	}
	body := map[string]any{"blocked": true}
	if a.Release {
		unique := fmt.Sprintf("%x", sha256.Sum256([]byte(was.UserID)))
		body["email"], body["email_verified"], body["verify_email"] = unique[:32]+"@gone.invalid", false, false
		body["connection"] = cmp.Or(was.Connection(), t.config.Connection)
		if was.Username != "" {
			body["username"] = "gone-" + unique[:10] // no longer than any tenant allows
		}
	}
	t.directory.Touched(was.UserID)
	for _, part := range apart(body) {
		if err := t.api.Call(ctx, http.MethodPatch, t.api.URI("users", was.UserID), part, nil); err != nil {
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
		return sdk.Outcome{Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: "the tenant has confirmed the change, but has not made it", Hint: "block it by hand"}, nil
	}
	ours := originOf(found)
	has := t.book.ReadOne(ctx, membership.Ask{User: found.UserID, Noted: ours.noted()})
	if has.Err != nil {
		return sdk.Outcome{}, has.Err
	}
	state := reconcile.ParseState(a.State).Showing(t.env.Fingerprints, fields(found, has.Set))
	return sdk.Outcome{Action: sdk.Updated, State: state, Before: before}, nil
}
