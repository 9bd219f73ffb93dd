package auth0

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/directory"
	"github.com/stetl/stetl/plugins/auth0/internal/importjob"
	"github.com/stetl/stetl/plugins/auth0/internal/membership"
)

// The codes of a job's errors that mean more than "refused".
const (
	errorDuplicated = "DUPLICATED_USER"
	errorFactors    = "MFA_FACTORS_FAILED"
)

// settler turns the ends of jobs into outcomes. What a job does not tell is looked up.
type settler struct{ t *live }

func of(p *importjob.Item) matter { return p.Payload.(matter) } //nolint:forcetypeassert // nothing else is ever sent

// Here implements [importjob.Settler].
func (s *settler) Here(ctx context.Context, p *importjob.Item) (bool, error) {
	a, err := s.t.directory.Read(ctx, p.TargetID())
	return a != nil && of(p).record.marks(a), err
}

// Explain implements [importjob.Settler].
func (s *settler) Explain(err error) error { return explain(err) }

// Settle implements [importjob.Settler].
func (s *settler) Settle(ctx context.Context, e *importjob.Ending) ([]*importjob.Item, error) {
	if e.Upsert {
		return s.settleChanges(e), nil
	}
	var done, look []*importjob.Item
	refused, partial := 0, 0
	for _, p := range e.Load {
		said := e.Said[p]
		switch {
		case said == nil:
			done = append(done, p)
		case said.Has(errorFactors) && len(said.Errors) == 1:
			done = append(done, p) // everything else of the user is written
			partial++
		case said.Has(errorDuplicated):
			look = append(look, p)
			refused++
		default:
			refused++
			refuse(p, said)
		}
	}
	if !e.Plain(refused, partial) {
		for _, p := range done {
			p.Doubt = true
		}
		look, done = append(look, done...), nil
	}
	for _, p := range e.Load {
		if said := e.Said[p]; said == nil || !said.Has(errorDuplicated) { // else it was there before
			s.t.directory.Touched(p.TargetID())
		}
	}
	if err := s.learnCase(ctx, done); err != nil {
		return nil, err
	}
	there, missing, err := s.identify(ctx, look, e.Said)
	if err != nil {
		return nil, err
	}
	s.finish(ctx, append(done, there...), e.Said)
	return missing, nil
}

// settleChanges is about accounts that were there before: nobody can see whether a hash was
// replaced, so that the job's word counts. What it leaves open is sent again.
func (s *settler) settleChanges(e *importjob.Ending) (missing []*importjob.Item) {
	refused := 0
	for _, p := range e.Load {
		if said := e.Said[p]; said != nil {
			refused++
			refuse(p, said)
		}
	}
	for _, p := range e.Load {
		switch {
		case e.Said[p] != nil:
		case e.Plain(refused, 0):
			p.End(sdk.Outcome{SourceID: p.Source, Action: sdk.Updated})
		case e.Job.Status == importjob.Completed:
			p.End(sdk.Outcome{SourceID: p.Source, Action: sdk.InDoubt, Code: sdk.CodeUnknownAnswer, Detail: "the counts of the import differ from its results for the users"})
		default:
			missing = append(missing, p)
		}
	}
	return missing
}

// learnCase finds out, once, whether the tenant writes the ids of users in lower case,
// which the documentation leaves open, and follows it.
func (s *settler) learnCase(ctx context.Context, done []*importjob.Item) error {
	t := s.t
	t.opening.Lock()
	defer t.opening.Unlock()
	for _, p := range done {
		lower := strings.ToLower(p.ID)
		if lower == p.ID {
			continue
		}
		if !t.caseKnown {
			held, err := t.directory.Read(ctx, p.TargetID())
			if err != nil {
				return err
			}
			if held == nil {
				held, err = t.directory.Read(ctx, targetID(lower))
				if err != nil {
					return err
				}
				t.lowers = held != nil && of(p).record.marks(held)
			}
			t.caseKnown = true
		}
		if t.lowers {
			p.ID = lower
			r := of(p).record
			r.notes = append(r.notes, "the tenant keeps the id in lower case, as "+p.TargetID())
		}
	}
	return nil
}

// look looks for the users of items, and asks the tenant itself where what is known of
// it has none.
func (s *settler) look(ctx context.Context, matters []matter) ([]directory.Holders, error) {
	questions := questionsAbout(matters)
	found, err := s.t.directory.Find(ctx, questions)
	if err != nil {
		return nil, err
	}
	var absent []int
	for i, h := range found {
		if h.ID == nil && h.Email == nil && h.Err == nil {
			absent = append(absent, i)
		}
	}
	return found, s.t.directory.Lookup(ctx, questions, absent, found)
}

// identify says what the accounts are that a job met, or has made: it ends items, and
// returns those whose account is there as it was sent, and those who have none.
func (s *settler) identify(ctx context.Context, look []*importjob.Item, said map[*importjob.Item]*importjob.UserError) (there, missing []*importjob.Item, err error) {
	var matters []matter
	for _, p := range look {
		matters = append(matters, of(p))
	}
	found, err := s.look(ctx, matters)
	if err != nil {
		return nil, nil, err
	}
	var rest []*importjob.Item
	var left []matter
	var holders []directory.Holders
	for i, p := range look {
		h := found[i]
		earlier := matters[i].user.Prior.InDoubt && said[p] != nil // what another process has sent has arrived late
		if p.Doubt && !earlier && h.ID != nil && h.ID.In(s.t.config.Connection) && matters[i].record.marks(h.ID) {
			p.ID = strings.TrimPrefix(h.ID.UserID, IDPrefix)
			there = append(there, p) // it was not there before the request whose answer was lost
			continue
		}
		rest, left, holders = append(rest, p), append(left, matters[i]), append(holders, h)
	}
	verdicts, err := s.t.judgeAll(ctx, left, holders)
	if err != nil {
		return nil, nil, err
	}
	var changes []*change
	byID := map[string]*importjob.Item{}
	for i, v := range verdicts {
		p := rest[i]
		switch e := said[p]; {
		case v.writes():
			changes = append(changes, &change{t: s.t, u: left[i].user, v: v})
			byID[p.Source] = p
		case v.Outcome.Action == sdk.InDoubt: // it was sent
			v.Outcome.Code, v.Outcome.Hint = sdk.CodeUnknownAnswer, "run again: the user is looked up first"
			p.End(v.Outcome)
		case v.Outcome.Action == sdk.Created && e != nil && e.Has(errorDuplicated):
			p.End(sdk.Outcome{
				SourceID: p.Source, Action: sdk.Rejected, Code: codeGhostUser, Detail: "Auth0 says that the user exists, but does not show it: " + e.Text(),
				Hint: fmt.Sprintf("delete what is left of it with DELETE /api/v2/connections/%s/users?email=…, then run again", s.t.connection.ID),
			})
		case v.Outcome.Action == sdk.Created:
			missing = append(missing, p)
		default:
			p.End(v.Outcome)
		}
	}
	return there, missing, s.t.change(ctx, changes, func(o sdk.Outcome) { byID[o.SourceID].End(o) })
}

// refuse reports what the tenant has against a user, without the hash that it may
// quote.
func refuse(p *importjob.Item, e *importjob.UserError) {
	o := sdk.Outcome{SourceID: p.Source, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: of(p).record.hide(e.Text()), Hint: "correct what it names"}
	switch {
	case strings.Contains(o.Detail, "already has password hash defined"):
		o.Code, o.Hint = codePasswordKept, "the user signs in with the old password or resets it"
	case strings.Contains(strings.ToLower(strings.ReplaceAll(o.Detail, "_", "")), "passwordhash"):
		o.Code, o.Hint = sdk.CodeHashUnsupported, "report it: a hash was sent that the tenant does not accept"
	}
	p.End(o)
}

// hide takes secrets of the user out of what a tenant says.
func (r *record) hide(text string) string {
	secrets := []string{r.password.secret()}
	for _, f := range r.MFAFactors {
		secrets = append(secrets, f.TOTP.Secret)
	}
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "*****")
		}
	}
	return text
}

// finish completes users who are in the tenant: what a job cannot carry follows.
func (s *settler) finish(ctx context.Context, done []*importjob.Item, said map[*importjob.Item]*importjob.UserError) {
	made := make([]newcomer, len(done))
	for i, p := range done {
		e := said[p]
		made[i] = newcomer{matter: of(p), id: p.TargetID(), bare: e != nil && e.Has(errorFactors)}
	}
	for i, o := range s.t.complete(ctx, made) {
		done[i].End(o)
	}
}

// newcomer is a user whose account has just been made.
type newcomer struct {
	matter
	id   string
	bare bool // without the authenticator
}

// complete gives new accounts what is not made with them, and says what became of each.
func (t *live) complete(ctx context.Context, made []newcomer) []sdk.Outcome {
	var grants []membership.Grant
	for _, n := range made {
		if !n.record.belongs.Empty() {
			grants = append(grants, membership.Grant{User: n.id, Set: n.record.belongs})
		}
	}
	failed := t.book.Give(ctx, grants)
	out := make([]sdk.Outcome, len(made))
	for i, n := range made {
		r, open := n.record, map[string]bool{}
		o := sdk.Outcome{SourceID: r.source, Action: sdk.Created, TargetID: n.id, Detail: joinNotes(r.notes), Losses: slices.Concat(r.losses, losses(failed[n.id]))}
		w, has := r.wanted(), r.belongs
		for _, f := range failed[n.id] {
			has, open[fieldGrants] = has.Drop(f.Part), true
		}
		shown := fields(r.account(), has)
		if open[fieldGrants] { // so that the next look finds a difference
			w.Fields = maps.Clone(w.Fields)
			delete(w.Fields, fieldRoles)
			delete(w.Fields, fieldOrganizations)
		}
		for _, f := range r.MFAFactors {
			if !n.bare {
				break
			}
			if _, err := t.factors.enrol(ctx, n.id, f.TOTP.Secret); err != nil {
				lost := factorLoss(err, "the authenticator cannot be enrolled")
				lost.Detail = r.hide(lost.Detail)
				o.Losses, open[fieldTOTP] = append(o.Losses, *lost), true
			}
		}
		o.State = t.judge.Left(w, shown, open)
		out[i] = o
	}
	return out
}
