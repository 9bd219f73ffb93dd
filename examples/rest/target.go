package main

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// target is Acme. Besides Load, which every target has, it can check, plan, undo and
// try logins: each of these is one more method.
type target struct {
	api   *api
	judge reconcile.Judge
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

// wantedOf is the same as the host's rules want it: what Acme shows, and what it only takes.
func wantedOf(u *sdk.User) reconcile.Wanted {
	return reconcile.Wanted{
		Fields:  fields(wanted(u)),
		Secrets: []reconcile.Secret{{Field: "password", Feature: sdk.PartPassword, Value: u.Password.Encode()}},
	}
}

// decide says what is to be done with u, without doing it. It is all of Plan and the
// first half of Load, so that what is planned is what happens. The account is nil when
// there is none.
func (t *target) decide(ctx context.Context, u *sdk.User) (reconcile.Verdict, *account, error) {
	if problem := invalid(u); problem != "" {
		return reconcile.Verdict{Outcome: sdk.Outcome{SourceID: u.SourceID, Action: sdk.Rejected, Code: codeInvalidUser, Detail: problem}}, nil, nil
	}
	have, err := t.find(ctx, u)
	if err != nil {
		return reconcile.Verdict{}, nil, err
	}
	if have != nil {
		return t.judge.Found(u, wantedOf(u), reconcile.Held{ID: have.ID, Fields: fields(have), Marked: have.ExternalID == u.ID}), have, nil
	}
	// Acme would refuse a name that somebody has. A plan is to know that, too.
	holder, err := t.api.search(ctx, "username", u.Username)
	if err == nil && holder != nil {
		return reconcile.Verdict{Outcome: t.judge.Conflict(u, sdk.CodeUsernameConflict, "the user name", holder.ID)}, nil, nil
	}
	return t.judge.Absent(u), nil, err
}

// find looks for the account of u: by the id that an earlier run has noted, whatever its
// name has become since, or by the id that applications have stored.
func (t *target) find(ctx context.Context, u *sdk.User) (have *account, err error) {
	if u.Prior.TargetID != "" {
		have, err = t.api.get(ctx, u.Prior.TargetID)
	}
	if have == nil && err == nil {
		have, err = t.api.search(ctx, "external_id", u.ID)
	}
	return have, err
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
		v, _, err := t.decide(ctx, &users[i])
		if err != nil {
			return err // whoever has no outcome yet is undecided
		}
		out.Report(sdk.Change{Outcome: v.Outcome, Fields: v.Fields})
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
	v, have, err := t.decide(ctx, u)
	o := v.Outcome
	if err != nil || o.Action != sdk.Created && o.Action != sdk.Updated {
		return o, err
	}
	want, open := wanted(u), v.Unsent()
	var kept account
	if have == nil {
		err = t.api.call(ctx, http.MethodPost, "/users", want, &kept)
	} else {
		if !v.Send["password"] {
			want.PasswordHash = "" // the one that is there stays, and may be the person's own by now
		} else if want.PasswordHash == "" {
			open["password"] = true
			o.Losses = append(o.Losses, sdk.PartLoss{Feature: sdk.PartPassword, Code: sdk.CodePartRefused, Detail: "Acme cannot take a password away"})
		}
		if o.Before, err = preImage(have); err != nil {
			return o, err
		}
		err = t.api.call(ctx, http.MethodPut, "/users/"+url.PathEscape(have.ID), want, &kept)
	}
	if err != nil {
		return t.refused(ctx, u, err, have == nil), nil
	}
	if v.Resumed {
		o.Before, o.Changed = nil, nil // an interrupted load has made it
	}
	o.TargetID, o.State = kept.ID, t.judge.Left(wantedOf(u), fields(&kept), open)
	return o, nil
}

// refused turns an error of one write into an outcome: this user's, and nobody else's.
// absent says that there was no account before.
func (t *target) refused(ctx context.Context, u *sdk.User, err error, absent bool) sdk.Outcome {
	o := sdk.Outcome{SourceID: u.SourceID, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: err.Error()}
	no, answered := err.(*refusal) //nolint:errorlint // call never wraps it
	switch {
	case !answered && httpx.Uncertain(err), answered && no.Status >= http.StatusInternalServerError:
		// It may have been done. Nobody guesses: look.
		have, lookErr := t.api.search(ctx, "external_id", u.ID)
		if lookErr == nil && have != nil && absent {
			return sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, TargetID: have.ID, State: t.judge.Left(wantedOf(u), fields(have), nil)}
		}
		o.Action, o.Code = sdk.InDoubt, sdk.CodeUnknownAnswer
	case !answered || no.Status == http.StatusTooManyRequests:
		o.Action, o.Code = sdk.InDoubt, sdk.CodeUnknownAnswer
	case no.Code == "username_taken":
		o.Code, o.Hint = sdk.CodeUsernameConflict, "rename one of the two"
	}
	return o
}

// undoing is how many accounts are taken back at the same time.
const undoing = 4

// isRefusal says that Acme has answered about one account: others are not concerned.
func isRefusal(err error) bool {
	no, ok := err.(*refusal) //nolint:errorlint // call never wraps it
	return ok && no.Status < http.StatusInternalServerError && no.Status != http.StatusUnauthorized && no.Status != http.StatusTooManyRequests
}

// Undo implements [sdk.Undoer].
func (t *target) Undo(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	return reconcile.TakeBack(ctx, undoing, accounts, out, t.undo, isRefusal)
}

// UndoInDoubt implements [sdk.DoubtUndoer]: Acme keeps the id that a load gives, which
// proves whose an account is.
func (t *target) UndoInDoubt(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	return reconcile.TakeBack(ctx, undoing, accounts, out, func(ctx context.Context, a sdk.Account) (sdk.Outcome, error) {
		have, err := t.api.search(ctx, "external_id", a.ID)
		if err != nil || have == nil {
			return sdk.Outcome{Action: sdk.Unchanged}, err
		}
		return sdk.Outcome{TargetID: have.ID, Action: sdk.Deleted}, t.api.remove(ctx, have.ID)
	}, isRefusal)
}

func (t *target) undo(ctx context.Context, a sdk.Account) (sdk.Outcome, error) {
	have, err := t.api.get(ctx, a.TargetID)
	if err != nil || have == nil {
		return sdk.Outcome{Action: sdk.Unchanged}, err // gone already: nothing to do
	}
	if a.State != nil && !reconcile.ParseState(a.State).Untouched(t.judge.Fingerprints, fields(have)) {
		return sdk.Outcome{Action: sdk.Skipped, Code: sdk.CodeMoved}, nil
	}
	if a.Before == nil {
		return sdk.Outcome{Action: sdk.Deleted}, t.api.remove(ctx, a.TargetID)
	}
	before, err := fromPreImage(a.Before)
	if err != nil {
		return sdk.Outcome{}, err
	}
	return sdk.Outcome{Action: sdk.Updated}, t.api.call(ctx, http.MethodPut, "/users/"+url.PathEscape(a.TargetID), before, nil)
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
