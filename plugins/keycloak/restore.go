package keycloak

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// preImage is an account as it was before a load changed it, and what tells later whether
// its secrets are still those of then: the server never shows them.
type preImage struct {
	detail
	// Sent are the secrets that the first change replaced, Left is the state after it.
	Sent map[string]bool `json:"sent,omitempty"`
	Left []byte          `json:"left,omitempty"`
}

func parsePreImage(a sdk.Account) (*preImage, error) {
	before := &preImage{}
	if err := json.Unmarshal(a.Before, before); err != nil {
		return nil, fmt.Errorf("read the pre-image of account %s: %w", a.TargetID, err)
	}
	return before, nil
}

// lost are the parts of an account that it cannot get back: d is the account as it is.
func (p *preImage) lost(d *detail, last reconcile.State) (losses []sdk.PartLoss) {
	same := reconcile.ParseState(p.Left).SameSecrets(last)
	for _, was := range p.Credentials {
		l := sdk.PartLoss{Feature: sdk.CarriesTOTP, Code: sdk.CodeUndoPartLost, Attribute: was.UserLabel}
		field := fieldTOTP
		if was.Type == typePassword {
			field, l.Feature, l.Attribute = fieldPassword, sdk.PartPassword, ""
		}
		i := slices.IndexFunc(d.Credentials, func(c heldCredential) bool { return c.ID == was.ID })
		switch {
		case i < 0:
			l.Detail = "was removed by a run, and cannot be brought back"
		case field == fieldPassword && (d.Credentials[i].UserLabel != was.UserLabel || d.Credentials[i].CreatedDate != was.CreatedDate):
			l.Detail = sentByRun
		case field == fieldPassword && was.UserLabel != passwordLabel, field == fieldTOTP && !ownCredential(p.ID, was.ID):
			continue // no load has written it
		case p.Sent[field]:
			l.Detail = sentByRun
		case !same:
			l.Detail = "may be one that a later run has sent: the server does not show it"
		default:
			continue
		}
		losses = append(losses, l)
	}
	return losses
}

const sentByRun = "is the one that a run has sent: the server does not show the former one"

// restoration is an account that is to get its former self back.
type restoration struct {
	account sdk.Account
	held    *detail
	was     account // as it was found, before it stepped aside
	before  *preImage
}

// outcome is the one of an account that has its former self back.
func (r *restoration) outcome() sdk.Outcome {
	return sdk.Outcome{
		SourceID: r.account.SourceID, TargetID: r.account.TargetID, Action: sdk.Updated,
		Losses: r.before.lost(r.held, reconcile.ParseState(r.account.State)),
	}
}

// waiting are accounts that cannot get a name or an address back yet, because another
// account has it. It is safe for concurrent use.
type waiting struct {
	mu  sync.Mutex
	all []*restoration
}

func (w *waiting) add(r *restoration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, r)
}

// unlessWaiting passes on what is decided. An account that waits has no outcome yet.
type unlessWaiting struct{ sdk.Outcomes }

// Report implements [sdk.Outcomes].
func (o unlessWaiting) Report(x sdk.Outcome) {
	if x.Action != "" {
		o.Outcomes.Report(x)
	}
}

// giveBack gives an account its former self back, or has it wait for another one.
func (u *undoing) giveBack(ctx context.Context, a sdk.Account, d *detail) (sdk.Outcome, error) {
	before, err := parsePreImage(a)
	if err != nil {
		return sdk.Outcome{}, err
	}
	r := &restoration{a, d, d.account, before}
	err = u.restore(ctx, d, &before.detail)
	if status(err) == http.StatusConflict {
		u.waiting.add(r)
		return sdk.Outcome{}, nil
	}
	return r.outcome(), err
}

// restoreWaiting carries those that wait for each other: people who had exchanged their
// addresses get them back.
func (u *undoing) restoreWaiting(ctx context.Context, out sdk.Outcomes) error {
	refusals := map[*restoration]error{}
	e := reconcile.Exchange[*restoration]{
		Again: func(ctx context.Context, r *restoration) (bool, error) {
			err := u.restore(ctx, r.held, &r.before.detail)
			if status(err) == http.StatusConflict {
				refusals[r] = err
				return false, nil
			}
			delete(refusals, r)
			if err != nil && refused(err) {
				refusals[r] = err
				err = nil
			}
			return true, err
		},
		Wants: func(r, other *restoration) bool {
			return slices.ContainsFunc(identifiers, func(field string) bool {
				want := identifier(&r.before.account, field)
				return want != "" && (want == other.held.Email || want == other.held.Username)
			})
		},
		Aside: func(ctx context.Context, r *restoration) (bool, error) {
			aside := *r.held
			if aside.Email != r.before.Email {
				aside.Email = ""
			}
			if aside.Username != r.before.Username {
				aside.Username = "moving-" + uuid.NewString()
			}
			err := u.rename(ctx, r.held, aside.account)
			if err != nil && refused(err) {
				refusals[r] = err
				return false, nil
			}
			if err != nil {
				return false, err
			}
			r.held = &aside
			return true, nil
		},
		Back: func(ctx context.Context, r *restoration) error {
			err := u.rename(ctx, r.held, r.was)
			if err != nil && refused(err) {
				err = nil // it is named below
			}
			return err
		},
	}
	if err := e.Carry(ctx, u.waiting.all); err != nil {
		return err
	}
	for _, r := range u.waiting.all {
		o := r.outcome()
		if err := refusals[r]; err != nil {
			o = sdk.Outcome{SourceID: o.SourceID, TargetID: o.TargetID, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: err.Error(), Hint: "undo again; if it says the same then, change by hand what it names"}
		}
		out.Report(o)
	}
	return nil
}

// rename writes the account itself.
func (u *undoing) rename(ctx context.Context, d *detail, to account) error {
	e := &edit{api: u.api, members: u.members, view: &u.view, held: d}
	return e.put(ctx, to, nil)
}

// restore gives an account back what the server had shown of it before.
func (t *openRealm) restore(ctx context.Context, d, before *detail) error {
	e := &edit{api: t.api, members: t.members, view: &t.view, held: d}
	// First, since somebody else may have a name or an address: then nothing is to have changed.
	if err := e.put(ctx, before.account, nil); err != nil {
		return err
	}
	for _, c := range d.Credentials {
		if !slices.ContainsFunc(before.Credentials, func(o heldCredential) bool { return o.ID == c.ID }) {
			if err := t.api.remove(ctx, "users", d.ID, "credentials", c.ID); err != nil {
				return err
			}
		}
	}
	var names, paths, tenants []string
	for _, x := range before.Roles {
		names = append(names, x.Name)
	}
	if err := e.roles(ctx, names); err != nil {
		return err
	}
	for _, g := range before.Groups {
		paths = append(paths, g.Path)
	}
	if err := e.groups(ctx, paths, func(string) bool { return true }); err != nil {
		return err
	}
	for _, o := range before.Organizations {
		tenants = append(tenants, o.Name)
	}
	if err := t.members.setOrganizations(ctx, d.ID, d.Organizations, tenants, func(string) bool { return true }); err != nil {
		return err
	}
	for _, l := range before.Links {
		if !slices.Contains(d.Links, l) {
			if err := e.link(ctx, l.Alias, &l); err != nil {
				return err
			}
		}
	}
	for _, l := range d.Links {
		if !slices.ContainsFunc(before.Links, func(b link) bool { return b.Alias == l.Alias }) {
			if err := e.link(ctx, l.Alias, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
