package keycloak

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/stetl/stetl/core/sdk"
)

// memberships are the roles, groups and organizations of a realm as far as a load has
// asked for them. One creator is at work at a time. It is safe for concurrent use.
type memberships struct {
	api         *api
	tenancy     bool // tenants are organizations
	defaultRole string
	powers      *powers
	defined     *sdk.DefinedRoles

	creating sync.Mutex
	roles    map[string]roleFacts // nil until asked for; without an id those made here
	groups   map[string]bool
	ids      map[string]string // of groups, by path

	mu     sync.Mutex
	byName map[string]organization // nil until asked for
}

// showsClients reports whether the server shows the roles of clients.
func (m *memberships) showsClients(ctx context.Context) (bool, error) {
	m.creating.Lock()
	defer m.creating.Unlock()
	return m.powers.shows(ctx)
}

// prepare creates the roles, groups and organizations that users need. The server would
// create a missing role by itself, but two parallel batches that do so collide; and a
// missing group costs the whole batch.
func (m *memberships) prepare(ctx context.Context, users []*representation) error {
	m.creating.Lock()
	defer m.creating.Unlock()
	if err := m.list(ctx); err != nil {
		return err
	}
	for _, u := range users {
		for _, role := range u.RealmRoles {
			if _, there := m.roles[role]; there {
				continue
			}
			// A refusal is left to the import, where it costs those users only.
			allows, _ := m.defined.Allows(role)
			if err := m.api.createRole(ctx, role, allows); err != nil && !refused(err) {
				return fmt.Errorf("create role %s: %w", role, err)
			}
			m.roles[role] = roleFacts{Name: role}
		}
		for _, group := range u.Groups {
			if m.groups[group] {
				continue
			}
			if err := m.ensureGroup(ctx, strings.TrimPrefix(group, tenantGroup(""))); err != nil && !refused(err) {
				return fmt.Errorf("create group %s: %w", group, err)
			}
			m.groups[group] = true
		}
		for _, name := range u.organizations {
			if err := m.ensureOrganization(ctx, name); err != nil && !refused(err) {
				return fmt.Errorf("create organization %s: %w", name, err)
			}
		}
	}
	return nil
}

func (m *memberships) ensureGroup(ctx context.Context, tenant string) error {
	if id, err := m.api.groupID(ctx, tenantParent, tenant); id != "" || err != nil {
		return err
	}
	parent, err := m.api.groupID(ctx, tenantParent)
	if err != nil {
		return err
	}
	if parent == "" {
		if err := m.api.createGroup(ctx, "", tenantParent); err != nil {
			return err
		}
		if parent, err = m.api.groupID(ctx, tenantParent); err != nil {
			return err
		}
	}
	return m.api.createGroup(ctx, parent, tenant)
}

// role is one as mappings want it.
func (m *memberships) role(ctx context.Context, name string) (role, error) {
	m.creating.Lock()
	defer m.creating.Unlock()
	if known := m.roles[name]; known.ID != "" {
		return role{known.ID, name}, nil
	}
	x, err := m.api.role(ctx, name)
	if err == nil && m.roles != nil {
		m.roles[name] = roleFacts{ID: x.ID, Name: name}
	}
	return x, err
}

// group is the id of the group at a path.
func (m *memberships) group(ctx context.Context, path string) (string, error) {
	m.creating.Lock()
	defer m.creating.Unlock()
	if id := m.ids[path]; id != "" {
		return id, nil
	}
	id, err := m.api.groupID(ctx, splitPath(path)...)
	if err == nil && id == "" {
		err = &statusError{method: http.MethodPut, path: path, status: http.StatusNotFound, message: "the group does not exist"}
	}
	if err == nil {
		if m.ids == nil {
			m.ids = map[string]string{}
		}
		m.ids[path] = id
	}
	return id, err
}

// organizations are those of the realm by name, read once. The map never changes: a
// new one takes its place.
func (m *memberships) organizations(ctx context.Context) (map[string]organization, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName != nil {
		return m.byName, nil
	}
	all, err := m.api.organizations(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the organizations of realm %s: %w", m.api.realm, err)
	}
	m.byName = map[string]organization{}
	for _, o := range all {
		m.byName[o.Name] = o
	}
	return m.byName, nil
}

// ensureOrganization creates the organization of a tenant where it is missing. Callers
// hold m.creating.
func (m *memberships) ensureOrganization(ctx context.Context, name string) error {
	known, err := m.organizations(ctx)
	if err != nil {
		return err
	}
	if _, there := known[name]; there {
		return nil
	}
	err = m.api.create(ctx, m.api.realmPath("organizations"), map[string]any{
		"name": name, "alias": name, "enabled": true, "attributes": madeByUs,
		// The server wants one. Nobody can have an address there (RFC 2606), so it
		// takes nobody in by itself.
		"domains": []any{map[string]any{"name": domainLabel(name) + "." + domainLabel(m.api.realm) + ".invalid", "verified": false}},
	})
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.byName = nil // with the new one's id
	m.mu.Unlock()
	_, err = m.organizations(ctx)
	return err
}

// domainLabel is a name as a part of a domain: one that is too long, or has characters
// that domains have not, gets a digest in its place.
func domainLabel(name string) string {
	if len(name) <= 63 && domainPart.MatchString(name) {
		return name
	}
	return "t-" + uuid.NewSHA1(credentialSpace, []byte(name)).String()
}

var domainPart = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`)

// setOrganizations has an account join organizations, and leave those that mine says
// are a load's.
func (m *memberships) setOrganizations(ctx context.Context, id string, held []organization, want []string, mine func(name string) bool) error {
	if !m.tenancy {
		return nil
	}
	known, err := m.organizations(ctx)
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
		if err := m.api.create(ctx, m.api.realmPath("organizations", o.ID, "members"), json.RawMessage(text(id))); err != nil {
			return err
		}
	}
	for _, o := range held {
		if mine(o.Name) && !slices.Contains(want, o.Name) {
			if err := m.api.remove(ctx, "organizations", o.ID, "members", id); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownOrganization reports whether a load has created the organization.
func (m *memberships) ownOrganization(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byName[name].ours()
}
