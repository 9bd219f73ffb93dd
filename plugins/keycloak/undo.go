package keycloak

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// Undo implements [sdk.Undoer].
func (t *live) Undo(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	return takeAll(ctx, t, accounts, out, (*openRealm).takeBack)
}

// UndoInDoubt implements [sdk.DoubtUndoer]. An account has the id that it was to have; the
// id of a credential that only a load makes is the proof.
func (t *live) UndoInDoubt(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	accounts = slices.Clone(accounts)
	for i := range accounts {
		a := &accounts[i]
		a.TargetID, a.State, a.Before = cmp.Or(a.TargetID, a.ID), nil, nil
	}
	return takeAll(ctx, t, accounts, out, (*openRealm).takeBackInDoubt)
}

// takeAll takes accounts back side by side. What the server has against one of them is its
// outcome.
func takeAll(
	ctx context.Context, t *live, accounts []sdk.Account, out sdk.Outcomes, take func(*openRealm, context.Context, sdk.Account, *detail) (sdk.Outcome, error),
) error {
	r, err := t.open(ctx)
	if err != nil {
		return err
	}
	t.undone.Store(true)
	r.reader.wrote()
	defer r.reader.wrote()
	ids := map[string]bool{}
	for _, a := range accounts {
		if HoldsID(a.TargetID) {
			ids[a.TargetID] = true
		}
	}
	found, err := r.reader.some(ctx, slices.Sorted(maps.Keys(ids)), func(string) bool { return true }, nil)
	if err != nil {
		return explain(err)
	}
	return explain(reconcile.TakeBack(ctx, searches, accounts, out, func(ctx context.Context, a sdk.Account) (sdk.Outcome, error) {
		return take(r, ctx, a, found[a.TargetID])
	}, refused))
}

func (t *openRealm) takeBackInDoubt(ctx context.Context, a sdk.Account, d *detail) (sdk.Outcome, error) {
	if d != nil && !slices.ContainsFunc(d.Credentials, func(c heldCredential) bool { return ownCredential(d.ID, c.ID) }) {
		return reconcile.Unproven(d.ID), nil
	}
	return t.takeBack(ctx, a, d)
}

func (t *openRealm) takeBack(ctx context.Context, a sdk.Account, d *detail) (sdk.Outcome, error) {
	if d == nil {
		return sdk.Outcome{Action: sdk.Unchanged}, nil
	}
	if a.State != nil {
		why, err := t.touched(ctx, a, d)
		if err != nil {
			return sdk.Outcome{}, err
		}
		if why != "" {
			return sdk.Outcome{Action: sdk.Skipped, Code: sdk.CodeMoved, Detail: why, Hint: "delete it by hand if it should go"}, nil
		}
	}
	if a.Before == nil {
		return sdk.Outcome{Action: sdk.Deleted}, t.api.remove(ctx, "users", a.TargetID)
	}
	var before detail
	if err := json.Unmarshal(a.Before, &before); err != nil {
		return sdk.Outcome{}, fmt.Errorf("read the pre-image of account %s: %w", a.TargetID, err)
	}
	return sdk.Outcome{Action: sdk.Updated}, t.restore(ctx, d, &before)
}

// touched says what administrators, or the person, have done with an account since it was
// loaded; nothing where they have done nothing. What is no part of an account's former self
// counts only where the account would be deleted.
func (t *openRealm) touched(ctx context.Context, a sdk.Account, d *detail) (string, error) {
	last := reconcile.ParseState(a.State)
	if !last.Untouched(t.view.judge.Fingerprints, t.view.held(d, reconcile.Wanted{}, last).Fields) {
		return "the account was changed in the realm after it was loaded", nil
	}
	if a.Before != nil {
		return "", nil
	}
	if sees, err := t.members.showsClients(ctx); err != nil || !sees {
		return "nobody can tell which roles of clients the account has got: the client lacks view-clients", err
	}
	var mappings struct {
		Clients map[string]any `json:"clientMappings"`
	}
	var sessions, consents []any
	for _, part := range []struct {
		path string
		into any
	}{{"role-mappings", &mappings}, {"sessions", &sessions}, {"consents", &consents}} {
		err := t.api.read(ctx, t.api.realmPath("users", d.ID, part.path), nil, part.into)
		switch {
		case status(err) == http.StatusForbidden:
			return "nobody can tell what was done with the account: " + err.Error(), nil
		case err != nil && status(err) != http.StatusNotFound:
			return "", err
		}
	}
	switch {
	case len(mappings.Clients) > 0:
		return "somebody has given the account roles of " + joinList(slices.Sorted(maps.Keys(mappings.Clients))), nil
	case len(sessions) > 0:
		return "the person has signed in, and is", nil
	case len(consents) > 0:
		return "the person has let an application in", nil
	}
	return "", nil
}

// restore gives an account back what the server had shown of it before.
func (t *openRealm) restore(ctx context.Context, d, before *detail) error {
	for _, c := range d.Credentials {
		if !slices.ContainsFunc(before.Credentials, func(o heldCredential) bool { return o.ID == c.ID }) {
			if err := t.api.remove(ctx, "users", d.ID, "credentials", c.ID); err != nil {
				return err
			}
		}
	}
	e := &edit{api: t.api, members: t.members, view: &t.view, held: d}
	if err := e.put(ctx, before.account, nil); err != nil {
		return err
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

// madeBy marks roles and groups that a load has created. An undo takes away those
// that nobody has any more; they carry the mark themselves, so that no memory of
// ours can be wrong about them.
const madeBy = "createdBy"

var madeByUs = map[string][]string{madeBy: {"stetl"}}

// tidying takes away what a load has created and nobody has any more.
type tidying struct {
	api     *api
	tenancy bool
}

// tidy removes roles and tenant groups that a load has created and that are empty.
func (t *tidying) tidy(ctx context.Context) error {
	var roles []struct {
		Name       string              `json:"name"`
		Attributes map[string][]string `json:"attributes"`
	}
	err := t.api.read(ctx, t.api.realmPath("roles"), url.Values{"briefRepresentation": {"false"}, "max": {"10000"}}, &roles)
	if err != nil {
		return err
	}
	for _, x := range roles {
		if !slices.Equal(x.Attributes[madeBy], madeByUs[madeBy]) {
			continue
		}
		if _, err := t.removeEmpty(ctx, []string{"roles", x.Name, "users"}, []string{"roles", x.Name}); err != nil {
			return err
		}
	}
	if err := t.organizations(ctx); err != nil {
		return err
	}
	parent, err := t.api.groupID(ctx, tenantParent)
	if parent == "" || err != nil {
		return err
	}
	var children []struct {
		ID         string              `json:"id"`
		Attributes map[string][]string `json:"attributes"`
	}
	err = t.api.read(ctx, t.api.realmPath("groups", parent, "children"), url.Values{"briefRepresentation": {"false"}, "max": {"10000"}}, &children)
	if err != nil {
		return err
	}
	left := len(children)
	for _, g := range children {
		if !slices.Equal(g.Attributes[madeBy], madeByUs[madeBy]) {
			continue
		}
		removed, err := t.removeEmpty(ctx, []string{"groups", g.ID, "members"}, []string{"groups", g.ID})
		if err != nil {
			return err
		}
		if removed {
			left--
		}
	}
	if left > 0 {
		return nil
	}
	var self struct {
		Attributes map[string][]string `json:"attributes"`
	}
	if err := t.api.read(ctx, t.api.realmPath("groups", parent), nil, &self); err != nil || !slices.Equal(self.Attributes[madeBy], madeByUs[madeBy]) {
		return err
	}
	_, err = t.removeEmpty(ctx, []string{"groups", parent, "members"}, []string{"groups", parent})
	return err
}

// removeEmpty deletes what has no members, and reports whether it did.
func (t *tidying) removeEmpty(ctx context.Context, members, path []string) (bool, error) {
	var some []struct {
		ID string `json:"id"`
	}
	if err := t.api.read(ctx, t.api.realmPath(members...), url.Values{"max": {"1"}}, &some); err != nil || len(some) > 0 {
		return false, err
	}
	return true, t.api.remove(ctx, path...)
}
