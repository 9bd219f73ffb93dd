package auth0

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

func (t *live) updateAndReport(ctx context.Context, u *sdk.User, v verdict, out sdk.Outcomes) error {
	o, err := t.update(ctx, u, v)
	if tenant.Refused(err) {
		o, err = sdk.Outcome{
			SourceID: u.SourceID, TargetID: v.held.UserID, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: err.Error(), Hint: "correct what it names",
		}, nil
	}
	if err == nil {
		if v.resume {
			o.Before, o.Changed = nil, nil // it was made by a load, not changed by one
		}
		out.Report(o)
	}
	return err
}

// update brings an account up to date: only what differs is written, and what
// others have added stays.
func (t *live) update(ctx context.Context, u *sdk.User, v verdict) (sdk.Outcome, error) {
	r, held := v.record, v.held
	before, err := json.Marshal(preimage{*held, held.roles, held.organizations})
	if err != nil {
		return v.outcome, fmt.Errorf("encode the account %s: %w", held.UserID, err)
	}
	now := held
	if body := t.patch(r, held, v.outcome.Changed); len(body) > 0 {
		t.directory.touched(held.UserID)
		now = &account{}
		if err := t.api.Call(ctx, http.MethodPatch, t.api.URI("users", held.UserID), body, now); err != nil {
			return v.outcome, err
		}
	}
	if slices.Contains(v.outcome.Changed, fieldRoles) || slices.Contains(v.outcome.Changed, fieldOrganizations) {
		if err := t.settleMemberships(ctx, held, r); err != nil {
			return incomplete(v.outcome, err), nil
		}
	}
	now.roles, now.organizations = slices.Sorted(slices.Values(r.roles)), r.organizations
	secret, _ := sent(v.outcome.State)
	if v.rehash {
		kept, err := t.rehash(ctx, u, v)
		if err != nil {
			return v.outcome, err
		}
		if kept == nil {
			secret = t.secret(r)
		} else {
			v.outcome = t.keptPassword(v, *kept)
		}
	}
	v.outcome.State, v.outcome.Before, v.outcome.TargetID = t.state(secret, now.fields()), before, held.UserID
	return v.outcome, nil
}

// keptPassword is the outcome of an update that could change all but the password.
func (t *live) keptPassword(v verdict, why sdk.Outcome) sdk.Outcome {
	o := v.outcome
	o.Changed = slices.DeleteFunc(o.Changed, func(name string) bool { return name == fieldPassword })
	o.Detail, o.Hint = why.Detail, why.Hint
	if len(o.Changed) == 0 {
		o.Action, o.Code = sdk.Skipped, codePasswordKept
	}
	return o
}

// rehash replaces the hash of an account that nobody has signed in to, by an upsert.
// It replaces metadata as well, so that all of it is sent. A nil outcome is success.
func (t *live) rehash(ctx context.Context, u *sdk.User, v verdict) (*sdk.Outcome, error) {
	kept := &sdk.Outcome{
		Action: sdk.Skipped, Code: codePasswordKept,
		Detail: "the password has changed in SuperTokens, and Auth0 replaces imported hashes of the custom kind only",
		Hint:   "the user signs in with the former password or resets it",
	}
	r := *v.record
	if r.CustomPasswordHash == nil || r.Email == "" {
		return kept, nil
	}
	r.AppMetadata = maps.Clone(v.held.AppMetadata)
	if r.AppMetadata == nil {
		r.AppMetadata = map[string]json.RawMessage{}
	}
	maps.Copy(r.AppMetadata, v.record.AppMetadata)
	user := maps.Clone(v.held.UserMetadata)
	if len(r.UserMetadata) > 0 {
		fresh := map[string]json.RawMessage{}
		if err := json.Unmarshal(r.UserMetadata, &fresh); err != nil {
			return nil, err
		}
		if user == nil {
			user = map[string]json.RawMessage{}
		}
		maps.Copy(user, fresh)
	}
	r.MFAFactors = nil
	var err error
	if len(user) > 0 {
		if r.UserMetadata, err = json.Marshal(user); err != nil {
			return nil, err
		}
	}
	if r.body, err = json.Marshal(&r.importUser); err != nil {
		return nil, err
	}
	if len(r.body) > t.room-2 {
		return kept, nil
	}
	got := &single{}
	p := newParcel(ctx, u, &r, got)
	if err := t.freight.acquire(ctx); err != nil {
		return nil, err
	}
	if err := t.send(ctx, []*parcel{p}, true); err != nil {
		return nil, err
	}
	if err := <-p.done; err != nil {
		return nil, err
	}
	if got.o.Action == sdk.Updated {
		return nil, nil //nolint:nilnil // no objection
	}
	if got.o.Code == codePasswordKept || got.o.Code == sdk.CodeTargetRefused {
		return &got.o, nil
	}
	return nil, fmt.Errorf("replace the password of user %s: %s: %s", v.held.UserID, got.o.Code, got.o.Detail)
}

// single keeps one outcome.
type single struct{ o sdk.Outcome }

// Report implements [sdk.Outcomes].
func (s *single) Report(o sdk.Outcome) { s.o = o }

// patch is the body of a change. The tenant merges the top level of metadata, and
// what others keep there is sent along in case it does not.
func (t *live) patch(r *record, held *account, changed []string) map[string]any {
	body := map[string]any{}
	text := func(value string) any {
		if value == "" {
			return nil
		}
		return value
	}
	for _, name := range changed {
		switch name {
		case fieldEmail:
			body["email"], body["email_verified"], body["verify_email"], body["connection"] = r.Email, r.EmailVerified, false, t.connectionOf(r)
		case fieldVerified:
			body["email_verified"] = r.EmailVerified
		case fieldUsername:
			body["username"], body["connection"] = r.Username, t.connectionOf(r)
		case fieldPhone, fieldPhoneVerified:
			body["phone_number"], body["phone_verified"], body["connection"] = r.PhoneNumber, r.PhoneVerified, t.connectionOf(r)
		case fieldGiven:
			body["given_name"] = text(r.GivenName)
		case fieldFamily:
			body["family_name"] = text(r.FamilyName)
		case fieldName:
			body["name"] = r.Name
		case fieldBlocked:
			body["blocked"] = r.Blocked
		case fieldOrigin:
			merged := maps.Clone(held.AppMetadata)
			if merged == nil {
				merged = map[string]json.RawMessage{}
			}
			maps.Copy(merged, r.AppMetadata)
			body["app_metadata"] = merged
		}
		if strings.HasPrefix(name, prefixUserMetadata) {
			merged := maps.Clone(held.UserMetadata)
			if merged == nil {
				merged = map[string]json.RawMessage{}
			}
			var fresh map[string]json.RawMessage
			_ = json.Unmarshal(r.UserMetadata, &fresh) // an object, see place
			maps.Copy(merged, fresh)
			body["user_metadata"] = merged
		}
	}
	return body
}

// preimage is an account before an update.
type preimage struct {
	Account       account             `json:"account"`
	Roles         []string            `json:"roles,omitempty"`
	Organizations map[string][]string `json:"organizations,omitempty"`
}
