package main

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"strconv"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// target is Acme. Besides Load, which every target has, it can check, plan, undo and
// try logins: each of these is one more method.
type target struct {
	api    *api
	prints sdk.Fingerprints
}

// Check implements [sdk.Checker]: everything that would fail for every user.
func (t *target) Check(ctx context.Context, _ sdk.Needs) sdk.Diagnostics {
	err := t.api.call(ctx, http.MethodGet, "/users?external_id=-", nil, nil)
	switch {
	case err == nil:
		return nil
	case isStatus(err, http.StatusUnauthorized):
		return sdk.Diagnostics{{Code: codeLoginRefused, Path: "/token", Summary: "Acme refuses the token", Hint: "make one with the right to manage users"}}
	}
	return sdk.Diagnostics{{Code: codeUnreachable, Path: "/url", Summary: "Acme cannot be asked: " + err.Error(), Hint: "check the address"}}
}

// fields is what is compared between what Acme has and what it should have.
func fields(a *account) map[string]string {
	return map[string]string{
		"username": a.Username, "email": a.Email, "email_verified": strconv.FormatBool(a.EmailVerified),
		"given_name": a.GivenName, "family_name": a.FamilyName, "disabled": strconv.FormatBool(a.Disabled),
	}
}

// wanted is the account that u should become.
func wanted(u *sdk.User) *account {
	return &account{
		ExternalID: u.ID, Username: u.Username, Email: u.Email, EmailVerified: u.EmailVerified != nil && *u.EmailVerified,
		GivenName: u.GivenName, FamilyName: u.FamilyName, Disabled: !u.Enabled, PasswordHash: u.Password.Encode(),
	}
}

// decide says what is to be done with u, without doing it. It is all of Plan and the
// first half of Load, so that what is planned is what happens.
func (t *target) decide(ctx context.Context, u *sdk.User) (sdk.Change, *account, error) {
	c := sdk.Change{Outcome: sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created}}
	if problem := invalid(u); problem != "" {
		c.Action, c.Code, c.Detail = sdk.Rejected, codeInvalidUser, problem
		return c, nil, nil
	}
	have, err := t.api.find(ctx, u.ID)
	if err != nil || have == nil {
		return c, nil, err
	}
	now, want := fields(have), fields(wanted(u))
	c.TargetID, c.State = have.ID, t.prints.State(now)
	c.Fields = t.prints.Diff(u.Prior.State, now, want, func(_, value string) string { return value })
	switch {
	case len(c.Fields) == 0:
		c.Action, c.Fields = sdk.Unchanged, nil
	case u.Existing != sdk.Update:
		c.Action, c.Code, c.Hint = sdk.Skipped, sdk.CodeExistsDiffers, "change or delete the account in Acme"
	case u.Expect != nil && !bytes.Equal(u.Expect, c.State):
		c.Action, c.Code = sdk.Rejected, sdk.CodeMoved
	default:
		c.Action = sdk.Updated
	}
	return c, have, nil
}

// invalid knows the rules of Acme that can be told without asking.
func invalid(u *sdk.User) string {
	switch {
	case u.ID == "":
		return "Acme needs an id"
	case len(u.ID) > 64:
		return "the id has more than 64 letters"
	case u.Username == "":
		return "Acme needs a user name"
	case len(u.GivenName) > 255 || len(u.FamilyName) > 255:
		return "a name has more than 255 letters"
	case u.Password.Scheme != "" && u.Password.Scheme != sdk.Bcrypt:
		return "Acme knows no other hashes than bcrypt"
	}
	return ""
}

// Plan implements [sdk.Planner]. It sends nothing but GET requests.
func (t *target) Plan(ctx context.Context, users []sdk.User, out sdk.Changes) error {
	for i := range users {
		c, _, err := t.decide(ctx, &users[i])
		if err != nil {
			return err // whoever has no outcome yet is undecided
		}
		out.Report(c)
	}
	return nil
}

// Load implements [sdk.Target]: one outcome for each user, as soon as it is known.
func (t *target) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	for i := range users {
		if ctx.Err() != nil {
			return context.Cause(ctx) // the batch was taken back
		}
		o, err := t.load(ctx, &users[i])
		if err != nil {
			return err
		}
		out.Report(o)
	}
	return nil
}

func (t *target) load(ctx context.Context, u *sdk.User) (sdk.Outcome, error) {
	c, have, err := t.decide(ctx, u)
	if err != nil {
		return c.Outcome, err
	}
	want := wanted(u)
	var kept account
	switch c.Action {
	case sdk.Created:
		err = t.api.call(ctx, http.MethodPost, "/users", want, &kept)
	case sdk.Updated:
		for _, f := range c.Fields {
			c.Changed = append(c.Changed, f.Field)
		}
		if c.Before, err = preImage(have); err != nil {
			return c.Outcome, err
		}
		err = t.api.call(ctx, http.MethodPut, "/users/"+have.ID, want, &kept)
	default:
		return c.Outcome, nil
	}
	if err != nil {
		return t.refused(ctx, u, err), nil
	}
	c.TargetID, c.State = kept.ID, t.prints.State(fields(&kept))
	return c.Outcome, nil
}

// refused turns an error of one write into an outcome: this user's, and nobody else's.
func (t *target) refused(ctx context.Context, u *sdk.User, err error) sdk.Outcome {
	o := sdk.Outcome{SourceID: u.SourceID, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: err.Error()}
	no, answered := err.(*refusal) //nolint:errorlint // call never wraps it
	switch {
	case !answered && httpx.Uncertain(err), answered && no.Status >= http.StatusInternalServerError:
		// It may have been done. Nobody guesses: look.
		have, lookErr := t.api.find(ctx, u.ID)
		if lookErr == nil && have != nil && u.Existing != sdk.Update {
			return sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, TargetID: have.ID, State: t.prints.State(fields(have))}
		}
		o.Action, o.Code = sdk.InDoubt, sdk.CodeUnknownAnswer
	case !answered || no.Status == http.StatusTooManyRequests:
		o.Action, o.Code = sdk.InDoubt, sdk.CodeUnknownAnswer
	case no.Code == "username_taken":
		o.Code, o.Hint = sdk.CodeUsernameConflict, "rename one of the two"
	}
	return o
}

// Undo implements [sdk.Undoer].
func (t *target) Undo(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	for _, a := range accounts {
		o, err := t.undo(ctx, a)
		if err != nil {
			return err
		}
		out.Report(o)
	}
	return nil
}

func (t *target) undo(ctx context.Context, a sdk.Account) (sdk.Outcome, error) {
	o := sdk.Outcome{SourceID: a.SourceID, TargetID: a.TargetID, Action: sdk.Unchanged}
	have, err := t.api.get(ctx, a.TargetID)
	if err != nil || have == nil {
		return o, err // gone already: nothing to do
	}
	if a.State != nil && !bytes.Equal(a.State, t.prints.State(fields(have))) {
		o.Action, o.Code = sdk.Skipped, sdk.CodeMoved
		return o, nil
	}
	if a.Before == nil {
		o.Action = sdk.Deleted
		return o, t.api.call(ctx, http.MethodDelete, "/users/"+a.TargetID, nil, nil)
	}
	before, err := fromPreImage(a.Before)
	if err != nil {
		return o, err
	}
	o.Action = sdk.Updated
	return o, t.api.call(ctx, http.MethodPut, "/users/"+a.TargetID, before, nil)
}

// Login implements [sdk.Authenticator]: the host proves with it that old passwords
// work.
func (t *target) Login(ctx context.Context, l sdk.Login) (bool, error) {
	err := t.api.call(httpx.Retryable(ctx), http.MethodPost, "/login", map[string]string{"username": l.Username, "password": l.Password.Reveal()}, nil)
	if no, ok := err.(*refusal); ok && no.Status == http.StatusUnauthorized && cmp.Or(no.Code, "wrong_password") == "wrong_password" { //nolint:errorlint // call never wraps it
		return false, nil
	}
	return err == nil, err
}
