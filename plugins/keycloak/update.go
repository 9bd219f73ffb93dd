package keycloak

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// update brings an account up to date: only what differs is written, and what
// others have added stays.
func (t *live) update(ctx context.Context, r *openRealm, v *verdict) error {
	u, d := v.user, v.held
	before, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode the account %s: %w", d.ID, err)
	}
	body := *u
	body.Attributes = map[string][]string{}
	for name, values := range d.Attributes {
		if !ours(name) {
			body.Attributes[name] = values
		}
	}
	for name, values := range u.Attributes {
		body.Attributes[name] = values
	}
	if body.Credentials, err = t.newCredentials(ctx, v); err != nil {
		return err
	}
	// Those have calls of their own, and the ones here would be ignored.
	body.RealmRoles, body.Groups, body.FederatedIdentities, body.RequiredActions = nil, nil, nil, nil
	if err := t.api.write(ctx, http.MethodPut, t.api.realmPath("users", d.ID), body); err != nil {
		return err
	}
	if err := t.prepareMemberships(ctx, r, []*delivery{{verdict: *v}}); err != nil {
		return err
	}
	if err := t.setRoles(ctx, d, u.RealmRoles, r.mapper.defaultRole); err != nil {
		return err
	}
	mine := func(path string) bool { return strings.HasPrefix(path, tenantGroup("")) }
	if err := t.setGroups(ctx, d, u.Groups, mine); err != nil {
		return err
	}
	if err := t.setOrganizations(ctx, d.ID, d.Organizations, u.organizations, r.mine); err != nil {
		return err
	}
	var links []link
	for _, f := range u.FederatedIdentities {
		if r.shown(f.IdentityProvider) { // the server takes others only with a new account
			links = append(links, link{f.IdentityProvider, f.UserID, f.UserName})
		}
	}
	if err := t.setLinks(ctx, d, links, false); err != nil {
		return err
	}
	after, err := t.detail(ctx, r, d.ID, nil, nil)
	if err != nil {
		return err
	}
	if after == nil {
		return fmt.Errorf("the account %s has gone while it was updated", d.ID)
	}
	v.outcome.Before = before
	v.outcome.State = t.state(t.secrets(u), r.held(after))
	r.directory.add(&after.account)
	return nil
}

// newCredentials returns the credentials to send along, after removing those that
// they replace. A password that its owner has set in Keycloak is never replaced.
func (t *live) newCredentials(ctx context.Context, v *verdict) ([]credential, error) {
	hasPassword, replaceable := false, v.replace
	devices := map[string]string{} // label → id
	for _, c := range v.held.Credentials {
		switch c.Type {
		case "password":
			hasPassword = true
			replaceable = replaceable && c.UserLabel == passwordLabel
		case "otp":
			devices[c.UserLabel] = c.ID
		}
	}
	var out []credential
	for _, c := range v.user.Credentials {
		if c.Type == "password" {
			if !hasPassword || replaceable {
				c.ID = "" // with an id the server leaves one that is there alone
				out = append(out, c)
			}
			continue
		}
		id, there := devices[c.UserLabel]
		if there && v.replace && id == c.ID {
			if err := t.api.remove(ctx, "users", v.held.ID, "credentials", id); err != nil {
				return nil, err
			}
			there = false
		}
		if !there {
			out = append(out, c)
		}
	}
	return out, nil
}

// setRoles gives the account exactly these realm roles, and the default one.
func (t *live) setRoles(ctx context.Context, d *detail, want []string, always string) error {
	path := t.api.realmPath("users", d.ID, "role-mappings", "realm")
	var missing, surplus []role
	for _, x := range d.Roles {
		if !slices.Contains(want, x.Name) && x.Name != always {
			surplus = append(surplus, x)
		}
	}
	for _, name := range want {
		if slices.ContainsFunc(d.Roles, func(x role) bool { return x.Name == name }) {
			continue
		}
		x, err := t.api.role(ctx, name)
		if err != nil {
			return err
		}
		missing = append(missing, x)
	}
	if len(missing) > 0 {
		if err := t.api.write(ctx, http.MethodPost, path, missing); err != nil {
			return err
		}
	}
	if len(surplus) > 0 {
		return t.api.write(ctx, http.MethodDelete, path, surplus)
	}
	return nil
}

// setGroups has the account join groups, and leave those that ours says a load owns.
func (t *live) setGroups(ctx context.Context, d *detail, want []string, ours func(path string) bool) error {
	for _, path := range want {
		if slices.ContainsFunc(d.Groups, func(g group) bool { return g.Path == path }) {
			continue
		}
		id, err := t.api.groupID(ctx, splitPath(path)...)
		if err != nil {
			return err
		}
		if id == "" {
			return &statusError{method: http.MethodPut, path: path, status: http.StatusNotFound, message: "the group does not exist"}
		}
		if err := t.api.write(ctx, http.MethodPut, t.api.realmPath("users", d.ID, "groups", id), nil); err != nil {
			return err
		}
	}
	for _, g := range d.Groups {
		if ours(g.Path) && !slices.Contains(want, g.Path) {
			if err := t.api.remove(ctx, "users", d.ID, "groups", g.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// setLinks links identities; with exactly, all others are taken away.
func (t *live) setLinks(ctx context.Context, d *detail, want []link, exactly bool) error {
	have := map[string]string{}
	for _, l := range d.Links {
		have[l.Alias] = l.UserID
	}
	for _, l := range want {
		old, there := have[l.Alias]
		delete(have, l.Alias)
		if there && old == l.UserID {
			continue
		}
		if there {
			if err := t.api.remove(ctx, "users", d.ID, "federated-identity", l.Alias); err != nil {
				return err
			}
		}
		if err := t.api.write(ctx, http.MethodPost, t.api.realmPath("users", d.ID, "federated-identity", l.Alias), l); err != nil {
			return err
		}
	}
	if !exactly {
		return nil
	}
	for alias := range have {
		if err := t.api.remove(ctx, "users", d.ID, "federated-identity", alias); err != nil {
			return err
		}
	}
	return nil
}

// refusal is the outcome of a user that the server does not take as it is.
func refusal(source string, err error) sdk.Outcome {
	return sdk.Outcome{
		SourceID: source, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: err.Error(),
		Hint: "correct what it names, or look into the server's log",
	}
}
