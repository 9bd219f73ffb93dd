package auth0

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
	"github.com/stetl/stetl/plugins/auth0/internal/directory"
	"github.com/stetl/stetl/plugins/auth0/internal/membership"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// verdict is what is to become of one user. Created and not resumed means: send it.
type verdict struct {
	reconcile.Verdict
	record *record // nil when mapping rejected the user
	wanted reconcile.Wanted
	held   *account // nil when there is none
}

// writes says that something is to be written to an account that is there.
func (v *verdict) writes() bool {
	return v.held != nil && (v.Resumed || v.Outcome.Action == sdk.Updated)
}

// matter is a user whose account is to be judged.
type matter struct {
	user   *sdk.User
	record *record
}

// rolesOf are the roles that any of the users has, in order.
func rolesOf(users []sdk.User) []string {
	all := map[string]bool{}
	for i := range users {
		for _, roles := range users[i].Roles {
			for _, role := range roles {
				all[role] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// decide says what is to become of users, in order. It only reads. With ask, those
// who were never sent are looked up as well; a load lets the import find out.
func (t *live) decide(ctx context.Context, users []sdk.User, c *reconcile.Claims, ask bool) ([]verdict, error) {
	out := make([]verdict, len(users))
	mapper := t.mapper
	if mapper.assignRoles {
		var err error
		if mapper.powers, err = t.book.Powers(ctx, rolesOf(users)); err != nil && !tenant.Hidden(err) { // hidden ones cannot be given either
			return nil, explain(fmt.Errorf("read what roles of the tenant allow: %w", err))
		}
	}
	var matters []matter
	var at []int
	for i := range users {
		u := &users[i]
		r, refused := mapper.user(u)
		if refused == nil {
			refused = c.Take(u, r.claims()...)
		}
		switch {
		case refused != nil:
			out[i].Outcome = *refused
		case !ask && !t.shared && u.Existing != sdk.Update && u.Prior.TargetID == "" && !u.Prior.InDoubt && !r.alone:
			out[i] = absent(t, matter{u, r})
		default:
			matters, at = append(matters, matter{u, r}), append(at, i)
		}
	}
	if len(matters) == 0 {
		return out, nil
	}
	found, err := t.directory.Find(ctx, questionsAbout(matters))
	if err != nil {
		return nil, explain(err)
	}
	verdicts, err := t.judgeAll(ctx, matters, found)
	for j, v := range verdicts {
		out[at[j]] = v
	}
	return out, explain(err)
}

func questionsAbout(matters []matter) []directory.Question {
	out := make([]directory.Question, len(matters))
	for i, m := range matters {
		out[i] = directory.Question{
			Known: m.user.Prior.TargetID, ID: m.record.targetID(), Email: m.record.Email, Connection: m.record.connection,
			Ours: m.record.marks,
		}
	}
	return out
}

// marks says that an account carries the user's mark.
func (r *record) marks(a *directory.Account) bool {
	o := originOf(a)
	return o.ID == r.visible
}

// judgeAll decides what becomes of users, given the accounts in their way, whose
// memberships are read.
func (t *live) judgeAll(ctx context.Context, matters []matter, found []directory.Holders) ([]verdict, error) {
	out := make([]verdict, len(matters))
	var asks []membership.Ask
	var at []int
	for i, m := range matters {
		held, refused := t.holder(m, found[i])
		switch {
		case refused != nil:
			out[i].Outcome = *refused
		case held == nil:
			out[i] = absent(t, m)
		default:
			out[i].held = &account{Account: held}
			o := originOf(held)
			asks, at = append(asks, membership.Ask{User: held.UserID, Noted: o.noted(), Wants: m.record.belongs}), append(at, i)
		}
	}
	answers, err := t.book.Read(ctx, asks)
	if err != nil {
		return out, err
	}
	for j, has := range answers {
		i := at[j]
		if has.Err != nil {
			out[i] = verdict{Verdict: reconcile.Verdict{Outcome: unknown(matters[i].user, has.Err)}}
			continue
		}
		out[i].held.has = has
		out[i] = t.found(matters[i], out[i].held)
	}
	return out, nil
}

// unknown is the outcome of a user who could not be looked up. Nothing was sent.
func unknown(u *sdk.User, err error) sdk.Outcome {
	return sdk.Outcome{SourceID: u.SourceID, Action: sdk.InDoubt, Code: sdk.CodeNotSent, Detail: err.Error(), Hint: "run again"}
}

// holder is the account that is the user's, nil when there is none, or says why it cannot
// be.
func (t *live) holder(m matter, h directory.Holders) (*directory.Account, *sdk.Outcome) {
	no := func(code sdk.Code, what, id string) (*directory.Account, *sdk.Outcome) {
		o := t.judge.Conflict(m.user, code, what, id)
		return nil, &o
	}
	connection := m.record.connection
	switch {
	case h.Err != nil:
		o := unknown(m.user, h.Err)
		return nil, &o
	case h.ID != nil && !h.Known && !h.ID.In(connection):
		return no(sdk.CodeIDConflict, "the id", h.ID.UserID+" of connection "+h.ID.Connection())
	case h.ID == nil && h.Email != nil && connection == t.config.Connection:
		return no(sdk.CodeEmailConflict, "the e-mail address", h.Email.UserID)
	case h.ID == nil:
		return h.Email, nil // a passwordless user gets the id that Auth0 chooses
	}
	return h.ID, nil
}

// absent decides about a user who has no account.
func absent(t *live, m matter) verdict {
	v := verdict{record: m.record, wanted: m.record.wanted(), Verdict: t.judge.Absent(m.user)}
	if v.Outcome.Action == sdk.Created {
		v.Outcome.TargetID, v.Outcome.Detail, v.Outcome.Losses = m.record.targetID(), joinNotes(m.record.notes), m.record.losses
	}
	return v
}

// found decides about an account that is the user's.
func (t *live) found(m matter, held *account) verdict {
	r := m.record
	v := verdict{record: r, wanted: r.wanted(), held: held}
	sent := m.user.Prior.InDoubt && t.queue.Sent(r.body)
	known := reconcile.ParseState(m.user.Prior.State).KnowsSecrets()
	h := reconcile.Held{
		ID: held.UserID, Fields: fields(held.Account, held.has.Set), Marked: r.marks(held.Account),
		Older: t.began.Older(held.CreatedAt.Time),
		// Once its owner has signed in, the password is Auth0's. It replaces no hash of its
		// own kind either.
		Personal: map[string]bool{fieldPassword: held.LoginsCount > 0 || known && !r.replaceable()},
		Equal:    map[string]bool{},
	}
	if sent { // by this process
		h.Equal[fieldPassword], h.Equal[fieldTOTP] = true, true
	}
	if !held.has.Believed { // grants were read, and stand among the fields
		h.Equal[fieldGrants] = true
	}
	o := originOf(held.Account)
	h.Answerable = o.answerable(h.Fields, v.wanted.Fields)
	v.Verdict = t.judge.Found(m.user, v.wanted, h)
	if v.Send[fieldPassword] && !r.replaceable() {
		v.withhold(fieldPassword, sdk.PartLoss{Feature: sdk.PartPassword, Code: sdk.CodeUnread, Detail: "Auth0 replaces no hash of this kind"})
	}
	if o := &v.Outcome; o.Action.MayLose() {
		o.Losses = append(o.Losses, r.losses...)
		if v.Resumed {
			o.Detail = joinNotes(r.notes)
		}
	}
	return v
}

// withhold takes a part out of what is to be sent.
func (v *verdict) withhold(field string, why sdk.PartLoss) {
	delete(v.Send, field)
	v.Fields = slices.DeleteFunc(v.Fields, func(f sdk.FieldChange) bool { return f.Field == field })
	v.Outcome.Changed = slices.DeleteFunc(v.Outcome.Changed, func(name string) bool { return name == field })
	v.Outcome.Losses = append(v.Outcome.Losses, why)
	if len(v.Fields) == 0 {
		v.Outcome.Action, v.Resumed = sdk.Unchanged, false
	}
}
