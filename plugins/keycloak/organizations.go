package keycloak

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// organization is one as far as a load uses it.
type organization struct {
	ID         string              `json:"id"`
	Name       string              `json:"name"`
	Attributes map[string][]string `json:"attributes,omitempty"`
}

// ours reports whether a load has created it, and so may take members away.
func (o organization) ours() bool { return slices.Equal(o.Attributes[madeBy], madeByUs[madeBy]) }

// organizations are those of the realm by name, read once. The map never changes: a
// new one takes its place.
func (t *live) organizations(ctx context.Context) (map[string]organization, error) {
	t.organizing.Lock()
	defer t.organizing.Unlock()
	if t.byName != nil {
		return t.byName, nil
	}
	all, err := t.api.organizations(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the organizations of realm %s: %w", t.config.Realm, err)
	}
	t.byName = map[string]organization{}
	for _, o := range all {
		t.byName[o.Name] = o
	}
	return t.byName, nil
}

// organizations lists the realm's, with attributes.
func (a *api) organizations(ctx context.Context) ([]organization, error) {
	var all []organization
	for {
		var page []organization
		err := a.read(ctx, a.realmPath("organizations"), url.Values{
			"first": {fmt.Sprint(len(all))}, "max": {fmt.Sprint(rosterPage)}, "briefRepresentation": {"false"},
		}, &page)
		if err != nil {
			return nil, err
		}
		if all = append(all, page...); len(page) < rosterPage {
			break
		}
	}
	for i := range all {
		if len(all[i].Attributes) > 0 {
			continue
		}
		// 26.0 shows attributes to those only who ask for one organization.
		err := a.read(ctx, a.realmPath("organizations", all[i].ID), nil, &all[i])
		if err != nil && status(err) != http.StatusNotFound {
			return nil, err
		}
	}
	return all, nil
}

// ensureOrganization creates the organization of a tenant where it is missing. Callers
// hold t.memberships.
func (t *live) ensureOrganization(ctx context.Context, name string) error {
	known, err := t.organizations(ctx)
	if err != nil {
		return err
	}
	if _, there := known[name]; there {
		return nil
	}
	err = t.api.create(ctx, t.api.realmPath("organizations"), map[string]any{
		"name": name, "alias": name, "enabled": true, "attributes": madeByUs,
		// The server wants one. Nobody can have an address there (RFC 2606), so it
		// takes nobody in by itself.
		"domains": []any{map[string]any{"name": name + "." + t.config.Realm + ".invalid", "verified": false}},
	})
	if err != nil {
		return err
	}
	t.organizing.Lock()
	t.byName = nil // with the new one's id
	t.organizing.Unlock()
	_, err = t.organizations(ctx)
	return err
}

// setOrganizations has an account join organizations, and leave those that mine says
// are a load's.
func (t *live) setOrganizations(ctx context.Context, id string, held []organization, want []string, mine func(organization) bool) error {
	if t.config.Tenants != tenantsAsOrganizations {
		return nil
	}
	known, err := t.organizations(ctx)
	if err != nil {
		return err
	}
	for _, name := range want {
		if slices.ContainsFunc(held, func(o organization) bool { return o.Name == name }) {
			continue
		}
		o, there := known[name]
		if !there {
			return &statusError{method: http.MethodPost, path: "/organizations/" + name, status: http.StatusNotFound, message: "the organization does not exist"}
		}
		// One that is a member already is answered with a conflict, which is as good.
		if err := t.api.create(ctx, t.api.realmPath("organizations", o.ID, "members"), json.RawMessage(text(id))); err != nil {
			return err
		}
	}
	for _, o := range held {
		if mine(o) && !slices.Contains(want, o.Name) {
			if err := t.api.remove(ctx, "organizations", o.ID, "members", id); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownOrganization reports whether a load has created the organization.
func (t *live) ownOrganization(ctx context.Context) (func(organization) bool, error) {
	if t.config.Tenants != tenantsAsOrganizations {
		return func(organization) bool { return false }, nil
	}
	if _, err := t.organizations(ctx); err != nil {
		return nil, err
	}
	return func(o organization) bool {
		t.organizing.Lock()
		defer t.organizing.Unlock()
		return t.byName[o.Name].ours()
	}, nil
}

// tidyOrganizations removes those that a load has created and that are empty.
func (t *live) tidyOrganizations(ctx context.Context) error {
	if t.config.Tenants != tenantsAsOrganizations {
		return nil
	}
	all, err := t.api.organizations(ctx)
	if err != nil {
		return err
	}
	for _, o := range all {
		if !o.ours() {
			continue
		}
		if _, err := t.removeEmpty(ctx, []string{"organizations", o.ID, "members"}, []string{"organizations", o.ID}); err != nil {
			return err
		}
	}
	return nil
}
