package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// target is Kratos.
type target struct{ decider }

// decider decides what is to be done.
type decider struct {
	mapper
	api   *api
	judge reconcile.Judge
}

// decision is what is to become of a user. Want is nil where that needs no writing, and have
// where there is no identity.
type decision struct {
	reconcile.Verdict
	user       *sdk.User
	have, want *identity
}

// decide says what is to be done with users, without doing it. It is all of Plan and the
// first half of Load, so that what is planned is what happens.
func (k *decider) decide(ctx context.Context, users []sdk.User) ([]*decision, error) {
	known, err := k.known(ctx, users)
	if err != nil {
		return nil, err
	}
	all := make([]*decision, len(users))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := range users {
		g.Go(func() (err error) {
			all[i], err = k.decideOne(ctx, &users[i], known[users[i].Prior.TargetID])
			return err
		})
	}
	return all, g.Wait()
}

// known are the identities that earlier runs have noted, whatever they are called by now.
func (k *decider) known(ctx context.Context, users []sdk.User) (map[string]*identity, error) {
	var ids []string
	for i := range users {
		if id := users[i].Prior.TargetID; id != "" {
			ids = append(ids, id)
		}
	}
	known := map[string]*identity{}
	if len(ids) == 0 {
		return known, nil // without ids, Kratos would list everybody
	}
	found, err := k.api.some(ctx, ids)
	for _, i := range found {
		known[i.ID] = i
	}
	return known, err
}

func (k *decider) decideOne(ctx context.Context, u *sdk.User, have *identity) (*decision, error) {
	d := &decision{user: u, have: have}
	if problem := invalid(u); problem != "" {
		d.Outcome = sdk.Outcome{SourceID: u.SourceID, Action: sdk.Rejected, Code: codeInvalidUser, Detail: problem}
		return d, nil
	}
	if have == nil {
		var err error
		if d.have, err = k.api.find(ctx, markOf(u.ID)); err != nil {
			return nil, err
		}
	}
	if d.have == nil {
		taken, err := k.conflict(ctx, u)
		if err != nil {
			return nil, err
		}
		if taken != nil {
			d.Outcome = *taken
			return d, nil
		}
		d.Verdict = k.judge.Absent(u)
	} else {
		d.Verdict = k.judge.Found(u, k.wantedOf(u, d.have), reconcile.Held{ID: d.have.ID, Fields: k.fields(d.have), Marked: d.have.marked()})
	}
	if d.Outcome.Action == sdk.Created || d.Outcome.Action == sdk.Updated {
		d.want = k.wanted(u, d.have)
	}
	if _, problem := k.hash(u.Password); problem != "" && d.Outcome.Action.MayLose() {
		d.Outcome.Losses = append(d.Outcome.Losses, sdk.PartLoss{Feature: sdk.PartPassword, Code: sdk.CodePartRefused, Detail: problem})
	}
	return d, nil
}

// conflict is the outcome of a user who is to sign in with what somebody else signs in with;
// nil when all is free.
func (k *decider) conflict(ctx context.Context, u *sdk.User) (*sdk.Outcome, error) {
	type want struct {
		value string
		code  sdk.Code
	}
	var wants []want
	if k.config.Traits.Email != "" {
		wants = append(wants, want{u.Email, sdk.CodeEmailConflict})
	}
	if k.config.Traits.Username != "" {
		wants = append(wants, want{u.Username, sdk.CodeUsernameConflict})
	}
	for _, link := range k.links(u) {
		wants = append(wants, want{link, sdk.CodeIdentityConflict})
	}
	for _, w := range wants {
		if w.value == "" {
			continue
		}
		holder, err := k.api.find(ctx, w.value)
		if err != nil {
			return nil, err
		}
		if holder != nil && holder.ID != u.Prior.TargetID && !slices.Contains(holder.links(), markOf(u.ID)) {
			o := k.judge.Conflict(u, w.code, w.value, holder.ID)
			return &o, nil
		}
	}
	return nil, nil //nolint:nilnil // nothing is an answer
}

// invalid knows the rules of Kratos that can be told without asking.
func invalid(u *sdk.User) string {
	switch {
	case u.ID == "":
		return "without an id, the account could not be found again"
	case len(u.ID) > longestID:
		return "the id is too long"
	case strings.ContainsRune(u.ID, 0):
		return "the id has letters that no database holds"
	}
	return ""
}

// Plan implements [sdk.Planner]. It sends nothing but GET requests.
func (t *target) Plan(ctx context.Context, users []sdk.User, out sdk.Changes) error {
	all, err := t.decide(ctx, users)
	if err != nil {
		return err
	}
	for _, d := range all {
		out.Report(sdk.Change{Outcome: d.Outcome, Fields: d.Fields})
	}
	return nil
}

// Load implements [sdk.Target].
func (t *target) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	all, err := t.decide(ctx, users)
	if err != nil {
		return err
	}
	l := &loader{&t.decider, out}
	var batch []creation
	for _, d := range all {
		switch {
		case d.want == nil:
			out.Report(d.Outcome)
		case d.have == nil:
			hash, _ := t.hash(d.user.Password)
			batch = append(batch, creation{d, hash})
		case ctx.Err() != nil:
			return context.Cause(ctx) // the batch was taken back
		default:
			out.Report(l.update(ctx, d))
		}
	}
	return l.create(ctx, batch)
}

// loader does what was decided.
type loader struct {
	*decider
	out sdk.Outcomes
}

// create makes identities. A request that Kratos refuses as a whole is halved, until who is
// to blame is alone.
func (l *loader) create(ctx context.Context, batch []creation) error {
	if len(batch) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // the batch was taken back
	}
	// Whatever becomes of the first attempt, the marks keep a second one from making anybody twice.
	results, err := l.api.create(httpx.Retryable(ctx), batch)
	switch {
	case isStatus(err, http.StatusUnauthorized, http.StatusForbidden):
		return err
	case isStatus(err) && len(batch) > 1:
		half := len(batch) / 2
		return errors.Join(l.create(ctx, batch[:half]), l.create(ctx, batch[half:]))
	case err != nil:
		results = slices.Repeat([]created{{err: err}}, len(batch))
	}
	made, err := l.made(ctx, results)
	if err != nil {
		return err
	}
	var again []creation
	for i, r := range results {
		if r.err == nil && made[r.id] == nil {
			again = append(again, batch[i])
		}
	}
	if len(again) == len(batch) {
		return errors.New("identities that were said to be made are not there")
	}
	for i, r := range results {
		if r.err == nil && made[r.id] != nil {
			l.out.Report(l.done(batch[i].decision, made[r.id]))
		}
	}
	err = l.create(ctx, again)
	for i, r := range results {
		if r.err != nil { // by now it can be told who has what it wants
			l.out.Report(l.notMade(ctx, batch[i].decision, r.err))
		}
	}
	return err
}

// made reads back what was made, which is not always what Kratos says: with somebody in a
// batch whose identifier is taken, 1.3 takes all of the batch back and names him alone.
func (l *loader) made(ctx context.Context, results []created) (map[string]*identity, error) {
	var ids []string
	for _, r := range results {
		if r.err == nil {
			ids = append(ids, r.id)
		}
	}
	made := map[string]*identity{}
	if len(ids) == 0 {
		return made, nil
	}
	found, err := l.api.some(ctx, ids)
	for _, i := range found {
		made[i.ID] = i
	}
	return made, err
}

// update changes an identity that is there.
func (l *loader) update(ctx context.Context, d *decision) sdk.Outcome {
	o, open, hash := d.Outcome, d.Unsent(), ""
	before, err := l.api.get(ctx, d.have.ID)
	if err != nil || before == nil {
		return l.undecided(o, err)
	}
	if d.Send["password"] {
		if hash, _ = l.hash(d.user.Password); hash == "" {
			open["password"] = true
			o.Losses = append(o.Losses, sdk.PartLoss{Feature: sdk.PartPassword, Code: sdk.CodePartRefused, Detail: "Kratos takes no password away"})
		}
	}
	if o.Before, err = preImage(before, hash != ""); err != nil {
		return l.undecided(o, err)
	}
	traced, trace := httpx.WithTrace(ctx)
	kept, err := l.api.change(traced, d.have, d.want, hash)
	switch {
	case err == nil && kept != nil:
	case trace.Doubtful() || !isStatus(err):
		return l.undecided(o, err)
	default:
		return l.refused(ctx, d, err)
	}
	o.State = l.judge.Left(l.wantedOf(d.user, d.have), l.fields(kept), open)
	if d.Resumed {
		o.Before, o.Changed = nil, nil // an interrupted load has made it
	}
	return o
}

// done is the outcome of somebody whose identity was made.
func (l *loader) done(d *decision, kept *identity) sdk.Outcome {
	o := d.Outcome
	o.TargetID, o.State = kept.ID, l.judge.Left(l.wantedOf(d.user, nil), l.fields(kept), nil)
	return o
}

// notMade turns an error into the outcome of somebody whose identity may have been made all
// the same. Nobody guesses: it is looked up.
func (l *loader) notMade(ctx context.Context, d *decision, why error) sdk.Outcome {
	have, err := l.api.find(ctx, markOf(d.user.ID))
	switch {
	case err != nil:
		return l.undecided(d.Outcome, why)
	case have != nil:
		return l.done(d, have)
	case !isStatus(why), isStatus(why, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout):
		return l.undecided(d.Outcome, why) // it may still be on its way
	}
	return l.refused(ctx, d, why)
}

// refused is the outcome of somebody to whom Kratos has said no: this user's, and nobody
// else's.
func (l *loader) refused(ctx context.Context, d *decision, why error) sdk.Outcome {
	if isStatus(why, http.StatusConflict) {
		if taken, err := l.conflict(ctx, d.user); err == nil && taken != nil {
			taken.TargetID = d.Outcome.TargetID
			return *taken
		}
	}
	return sdk.Outcome{SourceID: d.user.SourceID, TargetID: d.Outcome.TargetID, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: why.Error()}
}

// undecided is the outcome of somebody whom the next run looks up.
func (l *loader) undecided(o sdk.Outcome, why error) sdk.Outcome {
	detail := "the account has gone while it was changed"
	if why != nil {
		detail = why.Error()
	}
	return sdk.Outcome{SourceID: o.SourceID, TargetID: o.TargetID, Action: sdk.InDoubt, Code: sdk.CodeUnknownAnswer, Detail: detail}
}

// Login implements [sdk.Authenticator]: the host proves with it that old passwords work.
func (t *target) Login(ctx context.Context, l sdk.Login) (bool, error) {
	have, err := t.api.get(ctx, l.TargetID)
	if err != nil {
		return false, err
	}
	if have == nil || len(have.Credentials["password"].Identifiers) == 0 {
		return false, errors.New("there is no such account with a password")
	}
	return t.api.signIn(ctx, have.Credentials["password"].Identifiers[0], l.Password.Reveal())
}
