package auth0

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// What one request takes.
const (
	roleBatch   = 50
	memberBatch = 10
)

// assignment is a user who is there and what belongs to it.
type assignment struct {
	id     string
	record *record
}

// incomplete is the outcome of an account that is there and lacks a part.
func incomplete(o sdk.Outcome, why error) sdk.Outcome {
	o.Action, o.Code, o.Detail, o.Hint = sdk.InDoubt, codeIncomplete, why.Error(), "run again: what is missing is added"
	return o
}

// memberIDs knows the ids of roles and organizations by name, and makes those that
// are missing, one at a time.
type memberIDs struct {
	mu            sync.Mutex
	roles         map[string]string
	organizations map[string]string
}

// assign gives users their roles and organizations, in as few requests as the
// endpoints allow. It returns what failed, by user id.
func (t *live) assign(ctx context.Context, users []assignment) map[string]error {
	failed := map[string]error{}
	byRole, byOrganization := map[string][]string{}, map[string][]string{}
	type seat struct{ organization, id string }
	seats := map[seat][]string{}
	for _, a := range users {
		for _, role := range a.record.roles {
			byRole[role] = append(byRole[role], a.id)
		}
		for organization, roles := range a.record.organizations {
			byOrganization[organization] = append(byOrganization[organization], a.id)
			if len(roles) > 0 {
				seats[seat{organization, a.id}] = roles
			}
		}
	}
	for _, role := range slices.Sorted(maps.Keys(byRole)) {
		id, err := t.roleID(ctx, role)
		for part := range slices.Chunk(byRole[role], roleBatch) {
			t.give(ctx, failed, part, err, "role "+role, t.api.URI("roles", id, "users"), "users")
		}
	}
	for _, organization := range slices.Sorted(maps.Keys(byOrganization)) {
		id, err := t.organizationID(ctx, organization)
		for part := range slices.Chunk(byOrganization[organization], memberBatch) {
			t.give(ctx, failed, part, err, "organization "+organization, t.api.URI("organizations", id, "members"), "members")
		}
	}
	for s, roles := range seats {
		if failed[s.id] != nil {
			continue
		}
		note(failed, []string{s.id}, t.seat(ctx, s.organization, s.id, roles), "the roles in organization "+s.organization)
	}
	return failed
}

// give adds users to what uri names, unless err is there already. A user whom the tenant
// does not know costs nobody else.
func (t *live) give(ctx context.Context, failed map[string]error, ids []string, err error, what, uri, key string) {
	if err == nil {
		err = t.api.Call(ctx, http.MethodPost, uri, map[string]any{key: ids}, nil)
		if tenant.Refused(err) && len(ids) > 1 {
			t.give(ctx, failed, ids[:len(ids)/2], nil, what, uri, key)
			t.give(ctx, failed, ids[len(ids)/2:], nil, what, uri, key)
			return
		}
	}
	note(failed, ids, err, what)
}

func note(failed map[string]error, ids []string, err error, what string) {
	if err == nil {
		return
	}
	for _, id := range ids {
		failed[id] = fmt.Errorf("%s could not be assigned: %w", what, err)
	}
}

// seat gives roles to a member of an organization.
func (t *live) seat(ctx context.Context, organization, user string, roles []string) error {
	id, err := t.organizationID(ctx, organization)
	if err != nil {
		return err
	}
	var ids []string
	for _, role := range roles {
		one, err := t.roleID(ctx, role)
		if err != nil {
			return err
		}
		ids = append(ids, one)
	}
	return t.api.Call(ctx, http.MethodPost, t.api.URI("organizations", id, "members", user, "roles"), map[string]any{"roles": ids}, nil)
}

type role struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

func (t *live) roleID(ctx context.Context, name string) (string, error) {
	m := &t.memberships
	m.mu.Lock()
	defer m.mu.Unlock()
	list := func() error {
		all, err := tenant.Pages[role](ctx, t.api, "roles")
		m.roles = map[string]string{}
		for _, r := range all {
			m.roles[r.Name] = r.ID
		}
		return err
	}
	if m.roles == nil {
		if err := list(); err != nil {
			m.roles = nil
			return "", err
		}
	}
	if id := m.roles[name]; id != "" {
		return id, nil
	}
	var made role
	err := t.api.Create(ctx, http.MethodPost, t.api.URI("roles"), map[string]any{"name": name, "description": madeBy}, &made)
	if err != nil { // there by now, or made by a request whose answer was lost
		if listErr := list(); listErr != nil {
			return "", listErr
		}
		if id := m.roles[name]; id != "" {
			return id, nil
		}
		return "", err
	}
	m.roles[name] = made.ID
	return made.ID, nil
}

func (t *live) organizationID(ctx context.Context, name string) (string, error) {
	m := &t.memberships
	m.mu.Lock()
	defer m.mu.Unlock()
	if id := m.organizations[name]; id != "" {
		return id, nil
	}
	id, err := t.findOrganization(ctx, name)
	if err == nil && id == "" {
		var made organization
		err = t.api.Create(ctx, http.MethodPost, t.api.URI("organizations"), map[string]any{
			"name": name, "display_name": name, "metadata": map[string]string{madeByKey: madeBy},
		}, &made)
		if id = made.ID; err != nil { // there by now, or made by a request whose answer was lost
			found, findErr := t.findOrganization(ctx, name)
			if findErr == nil && found == "" {
				found, findErr = t.listedOrganization(ctx, name)
			}
			if findErr == nil && found != "" {
				id, err = found, nil
			}
		}
	}
	if err != nil {
		return "", err
	}
	if err := t.connect(ctx, id); err != nil {
		return "", err
	}
	if m.organizations == nil {
		m.organizations = map[string]string{}
	}
	m.organizations[name] = id
	return id, nil
}

// findOrganization returns the id of an organization, empty when there is none.
func (t *live) findOrganization(ctx context.Context, name string) (string, error) {
	var o organization
	if err := t.api.Get(ctx, &o, nil, "organizations", "name", name); tenant.Status(err) != http.StatusNotFound {
		return o.ID, err
	}
	return "", nil
}

// listedOrganization looks among all of them, empty when there is none.
func (t *live) listedOrganization(ctx context.Context, name string) (string, error) {
	all, err := tenant.Pages[organization](ctx, t.api, "organizations")
	for _, o := range all {
		if o.Name == name {
			return o.ID, nil
		}
	}
	return "", err
}

type organization struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// connect lets the members of an organization sign in through the connection.
func (t *live) connect(ctx context.Context, organization string) error {
	err := t.api.Call(ctx, http.MethodPost, t.api.URI("organizations", organization, "enabled_connections"),
		map[string]any{"connection_id": t.connection.ID, "assign_membership_on_login": false}, nil)
	switch {
	case tenant.Status(err) == http.StatusConflict: // enabled already
		return nil
	case !tenant.Refused(err):
		return err
	}
	enabled, listErr := tenant.Pages[enabledConnection](ctx, t.api, "organizations", organization, "enabled_connections")
	if listErr == nil && slices.ContainsFunc(enabled, func(c enabledConnection) bool { return c.ID == t.connection.ID }) {
		return nil
	}
	return err
}

type enabledConnection struct {
	ID string `json:"connection_id"`
}

// settleMemberships brings the memberships of an account up to date: adds what is
// wanted, and takes away what an earlier run gave and nobody wants any more.
func (t *live) settleMemberships(ctx context.Context, held *account, r *record) error {
	if err := t.assign(ctx, []assignment{{held.UserID, r}})[held.UserID]; err != nil {
		return err
	}
	var gone []string
	for _, role := range held.roles {
		if !slices.Contains(r.roles, role) {
			id, err := t.roleID(ctx, role)
			if err != nil {
				return err
			}
			gone = append(gone, id)
		}
	}
	if len(gone) > 0 {
		if err := t.api.Call(ctx, http.MethodDelete, t.api.URI("users", held.UserID, "roles"), map[string]any{"roles": gone}, nil); err != nil {
			return fmt.Errorf("take roles away: %w", err)
		}
	}
	for organization := range held.organizations {
		if _, wanted := r.organizations[organization]; wanted {
			continue
		}
		id, err := t.organizationID(ctx, organization)
		if err != nil {
			return err
		}
		if err := t.api.Call(ctx, http.MethodDelete, t.api.URI("organizations", id, "members"), map[string]any{"members": []string{held.UserID}}, nil); err != nil {
			return fmt.Errorf("leave organization %s: %w", organization, err)
		}
	}
	return nil
}
