package auth0

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
)

// The codes of a job's errors that mean more than "refused".
const (
	errorDuplicated = "DUPLICATED_USER"
	errorFactors    = "MFA_FACTORS_FAILED"
)

// settle turns the end of a job into outcomes. What it does not tell is looked up.
func (t *live) settle(ctx context.Context, load []*parcel, upsert bool, job *importJob, errs []userError) error {
	said := assignErrors(load, errs)
	var done, look []*parcel
	refused, partial := 0, 0
	for _, p := range load {
		e := said[p]
		switch {
		case e == nil:
			done = append(done, p)
		case e.has(errorFactors) && len(e.Errors) == 1:
			done = append(done, p) // everything else of the user is written
			partial++
		case e.has(errorDuplicated):
			look = append(look, p)
			refused++
		default:
			refused++
			t.refuse(p, e)
		}
	}
	// Silence counts as success only where the sums say so.
	if s := job.Summary; job.Status != statusCompleted || s == nil || !s.plain(len(load), refused, partial, upsert) {
		for _, p := range done {
			p.doubt = true
		}
		look, done = append(look, done...), nil
	}
	for _, p := range load {
		if e := said[p]; e == nil || !e.has(errorDuplicated) { // else it was there before
			t.directory.touched(p.targetID())
		}
	}
	found, err := t.lookAll(ctx, look)
	if err != nil {
		return err
	}
	if err := t.learnCase(ctx, done); err != nil {
		return err
	}
	var again []*parcel
	for i, p := range look {
		switch o := t.identify(p, found[i], said[p]); {
		case o == nil:
			done = append(done, p)
		case o.Action == sdk.Created: // not there
			again = append(again, p)
		default:
			p.report(*o)
		}
	}
	t.finish(ctx, done, upsert, said)
	return t.again(ctx, again, load, upsert, job, said)
}

// assignErrors joins what a job says with the users it was about.
func assignErrors(load []*parcel, errs []userError) map[*parcel]*userError {
	byID, byEmail := map[string]*userError{}, map[string]*userError{}
	for i := range errs {
		e := &errs[i]
		id, email := strings.TrimPrefix(e.User.UserID, IDPrefix), strings.ToLower(e.User.Email)
		if same := byID[id]; id != "" && same != nil {
			same.Errors = append(same.Errors, e.Errors...)
			continue
		}
		byID[id] = e
		if email != "" {
			byEmail[email] = e
		}
	}
	said := map[*parcel]*userError{}
	for _, p := range load {
		if e := byID[p.UserID]; e != nil {
			said[p] = e
		} else if e := byEmail[p.Email]; p.Email != "" && e != nil {
			said[p] = e
		}
	}
	return said
}

// plain reports whether the sums of a job agree with the errors that it lists. A user
// who lacks a part may be among the failed ones or not.
func (s *jobSummary) plain(sent, refused, partial int, upsert bool) bool {
	if s.Total != sent || (s.Failed != refused && s.Failed != refused+partial) || s.Inserted+s.Updated+s.Failed != s.Total {
		return false
	}
	return upsert || s.Updated == 0
}

// learnCase finds out, once, whether the tenant writes the ids of users in lower case,
// which the documentation leaves open, and follows it.
func (t *live) learnCase(ctx context.Context, done []*parcel) error {
	t.opening.Lock()
	defer t.opening.Unlock()
	for _, p := range done {
		lower := strings.ToLower(p.UserID)
		if lower == p.UserID {
			continue
		}
		if !t.caseKnown {
			held, err := t.read(ctx, p.targetID())
			if err != nil {
				return err
			}
			if held == nil {
				held, err = t.read(ctx, targetID(lower))
				if err != nil {
					return err
				}
				t.lowers = held != nil && held.origin().ID == p.user.ID
			}
			t.caseKnown = true
		}
		if t.lowers {
			p.UserID = lower
			p.notes = append(p.notes, "the tenant keeps the id in lower case, as "+p.targetID())
		}
	}
	return nil
}

// lookAll looks for the users of parcels, and asks the tenant itself where what is
// known of it has none.
func (t *live) lookAll(ctx context.Context, look []*parcel) ([]holders, error) {
	users, known := make([]*record, len(look)), make([]string, len(look))
	for i, p := range look {
		users[i] = p.record
	}
	out, err := t.directory.find(ctx, users, known)
	if err != nil {
		return nil, err
	}
	g, asking := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for i, p := range look {
		if out[i].id != nil || out[i].email != nil {
			continue
		}
		g.Go(func() (err error) {
			if out[i], err = t.lookup(asking, p.record, ""); err == nil && out[i].id != nil {
				err = t.complete(asking, out[i].id, p.record)
			}
			return err
		})
	}
	return out, g.Wait()
}

// identify says what an account is that a job met, or has made: nil for ours, and
// Created when there is none.
func (t *live) identify(p *parcel, h holders, e *userError) *sdk.Outcome {
	if p.doubt && h.id != nil && h.id.in(t.config.Connection) && h.id.origin().ID == p.user.ID {
		p.UserID = strings.TrimPrefix(h.id.UserID, IDPrefix)
		return nil // it was not there before the request whose answer was lost
	}
	v := t.judge(p.user, p.record, h)
	if v.outcome.Action == sdk.Created && e != nil && e.has(errorDuplicated) {
		return &sdk.Outcome{
			SourceID: p.source, Action: sdk.Rejected, Code: codeGhostUser, Detail: "Auth0 says that the user exists, and shows none: " + e.text(),
			Hint: fmt.Sprintf("delete what is left of it with DELETE /api/v2/connections/%s/users?email=…, then run again", t.connection.ID),
		}
	}
	return &v.outcome
}

// refuse reports what the tenant has against a user, without the hash that it may
// quote.
func (t *live) refuse(p *parcel, e *userError) {
	o := sdk.Outcome{SourceID: p.source, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: e.text(), Hint: "correct what it names"}
	if secret := p.password.secret(); secret != "" {
		o.Detail = strings.ReplaceAll(o.Detail, secret, "*****")
	}
	switch {
	case strings.Contains(o.Detail, "already has password hash defined"):
		o.Code, o.Hint = codePasswordKept, "the user signs in with the former password or resets it"
	case strings.Contains(strings.ToLower(strings.ReplaceAll(o.Detail, "_", "")), "passwordhash"):
		o.Code, o.Hint = sdk.CodeHashUnsupported, "report it: a hash was sent that the tenant does not take"
	}
	p.report(o)
}

// finish completes users who are in the tenant: what a job cannot carry follows.
func (t *live) finish(ctx context.Context, done []*parcel, upsert bool, said map[*parcel]*userError) {
	var users []assignment
	if !upsert {
		for _, p := range done {
			if len(p.roles) > 0 || len(p.organizations) > 0 {
				users = append(users, assignment{p.targetID(), p.record})
			}
		}
	}
	failed := t.assign(ctx, users)
	for _, p := range done {
		o := sdk.Outcome{SourceID: p.source, Action: sdk.Created, TargetID: p.targetID(), Detail: joinNotes(p.notes), State: t.state(t.secret(p.record), p.fields())}
		if upsert {
			o.Action, o.Detail, o.Changed = sdk.Updated, "", []string{fieldPassword}
		}
		if e := said[p]; e != nil && e.has(errorFactors) {
			if err := t.enrol(ctx, p); err != nil {
				p.notes = append(p.notes, "the authenticator could not be enrolled: "+err.Error())
				o.Detail = joinNotes(p.notes)
			}
		}
		if why := failed[p.targetID()]; why != nil {
			o = incomplete(o, why)
		}
		p.report(o)
	}
}

// enrol adds authenticators that an import has left out.
func (t *live) enrol(ctx context.Context, p *parcel) error {
	for _, f := range p.MFAFactors {
		err := t.api.Create(ctx, http.MethodPost, t.api.URI("users", p.targetID(), "authentication-methods"),
			map[string]any{"type": "totp", "name": "SuperTokens", "totp_secret": f.TOTP.Secret}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

// mostFailing is how many jobs may fail as a whole in a row: more than it takes to find
// one user among all of a job by halving it.
const mostFailing = 16

// again deals with users that a job should have made and has not.
func (t *live) again(ctx context.Context, missing, load []*parcel, upsert bool, job *importJob, said map[*parcel]*userError) error {
	if len(missing) < len(load) {
		t.failing.Store(0)
		t.worked.Store(true)
	}
	if len(missing) == 0 {
		return nil
	}
	if job.Status == statusUnclear || job.Status == statusGone {
		for _, p := range missing {
			p.report(sdk.Outcome{
				SourceID: p.source, Action: sdk.InDoubt, Code: sdk.CodeUnknownAnswer,
				Detail: "the user was sent, what became of the job is unknown, and the user is not there yet", Hint: "run again: it will be looked up first",
			})
		}
		return nil
	}
	alone := len(missing) == 1 && len(load) == 1
	if len(missing) == len(load) && (t.failing.Add(1) > mostFailing || alone && !t.worked.Load()) {
		failAll(missing, fmt.Errorf("import jobs fail one after the other, whoever is in them; the last one is %s: %s", job.Status, cmp.Or(job.Details, "it gives no reason")))
		return nil
	}
	if alone {
		p := missing[0]
		detail := "the job is " + job.Status
		if job.Details != "" {
			detail += ": " + job.Details
		}
		if e := said[p]; e != nil {
			detail = e.text()
		}
		p.report(sdk.Outcome{SourceID: p.source, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: detail, Hint: "look at the account in SuperTokens; the job said nothing more"})
		return nil
	}
	t.halves(ctx, missing, upsert)
	return nil
}
