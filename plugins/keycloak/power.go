package keycloak

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// roleFacts are what the realm shows of a role.
type roleFacts struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Composite   bool   `json:"composite"`
	ClientRole  bool   `json:"clientRole"`
	ContainerID string `json:"containerId"`
}

// powers knows what roles and groups of a realm allow, so that nobody gets power by a
// name that a role or a tenant happens to have at the source. It asks for each once.
type powers struct {
	api      *api
	accepted func(name string) bool // a role, or the path of a group

	sees   *bool           // whether client roles are shown, nil until asked
	admin  map[string]bool // by client
	roles  map[string]power
	groups map[string]power
}

// power is what somebody gets with a role or a group beside the name.
type power struct {
	// administers is why it must be accepted by name, empty where it need not be.
	administers string
	// allows says that it has permissions of another kind.
	allows bool
}

func newPowers(a *api, c Config) *powers {
	return &powers{
		api: a, admin: map[string]bool{}, roles: map[string]power{}, groups: map[string]power{},
		accepted: func(name string) bool {
			return slices.Contains(c.AcceptRoles, name) || slices.Contains(c.AcceptGroups, name)
		},
	}
}

// builtIn are realm roles that servers make, with a meaning of their own.
var builtIn = []string{"offline_access", "uma_authorization", "create-realm"}

// administration are the roles of the clients that stand for the administration of a
// realm.
var administration = []string{
	"realm-admin", "create-client", "impersonation", "manage-authorization", "manage-clients", "manage-events", "manage-identity-providers",
	"manage-organizations", "manage-realm", "manage-users", "query-clients", "query-groups", "query-realms", "query-users", "view-authorization",
	"view-clients", "view-events", "view-identity-providers", "view-organizations", "view-realm", "view-system", "view-users",
}

// blind is what is said where the server hides the roles of clients: whatever is composed
// may be composed of them.
const blind = "nobody can tell whether it administers the realm, as the client may not see the roles of clients (view-clients)"

// shows reports whether the server shows the roles of clients. Without the right to see
// clients it leaves them out, and says nothing.
func (p *powers) shows(ctx context.Context) (bool, error) {
	if p.sees != nil {
		return *p.sees, nil
	}
	var some []struct{}
	err := p.api.read(ctx, p.api.realmPath("clients"), url.Values{"max": {"1"}}, &some)
	if err != nil && status(err) != http.StatusForbidden {
		return false, fmt.Errorf("list the clients of realm %s: %w", p.api.realm, err)
	}
	p.sees = new(len(some) > 0)
	return *p.sees, nil
}

// ofRole says what a realm role that is there gives.
func (p *powers) ofRole(ctx context.Context, r roleFacts) (power, error) {
	if known, asked := p.roles[r.Name]; asked {
		return known, nil
	}
	found := power{}
	if slices.Contains(builtIn, r.Name) {
		found.administers = "it is built into the server"
	} else if r.Composite {
		var err error
		if found, err = p.within(ctx, []roleFacts{r}); err != nil {
			return found, err
		}
	}
	p.roles[r.Name] = found
	return found, nil
}

// within looks through roles and all that they are composed of.
func (p *powers) within(ctx context.Context, roles []roleFacts) (power, error) {
	found, seen := power{}, map[string]bool{}
	for len(roles) > 0 {
		r := roles[0]
		roles = roles[1:]
		if seen[r.ID] {
			continue
		}
		seen[r.ID] = true
		if r.ClientRole {
			found.allows = true
			admin, err := p.administrates(ctx, r)
			if err != nil {
				return found, err
			}
			if admin {
				found.administers = "it has the role " + r.Name + ", which administers the realm"
				return found, nil
			}
		}
		if !r.Composite {
			continue
		}
		found.allows = true
		if sees, err := p.shows(ctx); err != nil || !sees {
			found.administers = blind
			return found, err
		}
		var parts []roleFacts
		err := p.api.read(ctx, p.api.realmPath("roles-by-id", r.ID, "composites"), nil, &parts)
		if err != nil && status(err) != http.StatusNotFound {
			return found, fmt.Errorf("read what the role %s is composed of: %w", r.Name, err)
		}
		roles = append(roles, parts...)
	}
	return found, nil
}

// administrates reports whether a client role is one of the administration.
func (p *powers) administrates(ctx context.Context, r roleFacts) (bool, error) {
	if !slices.Contains(administration, r.Name) {
		return false, nil
	}
	if known, asked := p.admin[r.ContainerID]; asked {
		return known, nil
	}
	var client struct {
		ClientID string `json:"clientId"`
	}
	err := p.api.read(ctx, p.api.realmPath("clients", r.ContainerID), nil, &client)
	switch {
	case status(err) == http.StatusForbidden, status(err) == http.StatusNotFound:
		p.admin[r.ContainerID] = true // by its name: nobody can tell better
	case err != nil:
		return false, fmt.Errorf("read the client of the role %s: %w", r.Name, err)
	default:
		p.admin[r.ContainerID] = client.ClientID == "realm-management" || strings.HasSuffix(client.ClientID, "-realm")
	}
	return p.admin[r.ContainerID], nil
}

// ofGroup says what a group that is there gives, itself and by the groups above it.
func (p *powers) ofGroup(ctx context.Context, path string) (power, error) {
	if known, asked := p.groups[path]; asked {
		return known, nil
	}
	sees, err := p.shows(ctx)
	if err != nil {
		return power{}, err
	}
	hidden := false
	var all []roleFacts
	steps := splitPath(path)
	for n := range steps {
		id, err := p.api.groupID(ctx, steps[:n+1]...)
		if err != nil {
			return power{}, fmt.Errorf("look up the group %s: %w", path, err)
		}
		if id == "" {
			break
		}
		if !sees {
			mine, err := p.ownGroup(ctx, id)
			if err != nil {
				return power{}, err
			}
			hidden = hidden || !mine
		}
		var mappings struct {
			Realm   []roleFacts `json:"realmMappings"`
			Clients map[string]struct {
				Mappings []roleFacts `json:"mappings"`
			} `json:"clientMappings"`
		}
		if err := p.api.read(ctx, p.api.realmPath("groups", id, "role-mappings"), url.Values{}, &mappings); err != nil {
			return power{}, fmt.Errorf("read the roles of the group %s: %w", path, err)
		}
		all = append(all, mappings.Realm...)
		for _, c := range mappings.Clients {
			all = append(all, c.Mappings...)
		}
	}
	found, err := p.within(ctx, all)
	if err != nil {
		return found, err
	}
	found.allows = found.allows || len(all) > 0
	if hidden && found.administers == "" {
		found.administers = blind
	}
	p.groups[path] = found
	return found, nil
}

// ownGroup reports whether a load has made the group.
func (p *powers) ownGroup(ctx context.Context, id string) (bool, error) {
	var g struct {
		Attributes map[string][]string `json:"attributes"`
	}
	if err := p.api.read(ctx, p.api.realmPath("groups", id), nil, &g); err != nil {
		return false, fmt.Errorf("read the group %s: %w", id, err)
	}
	return slices.Equal(g.Attributes[madeBy], madeByUs[madeBy]), nil
}

// withhold takes the roles and groups away from a user that would make an administrator
// of anybody, unless they are accepted by name, and says which. What the account has
// already, somebody has given it: it stays.
func (m *memberships) withhold(ctx context.Context, u *representation, held *detail) (losses []sdk.PartLoss, err error) {
	m.creating.Lock()
	defer m.creating.Unlock()
	has := func(name string) bool {
		return held != nil && (slices.ContainsFunc(held.Roles, func(x role) bool { return x.Name == name }) ||
			slices.ContainsFunc(held.Groups, func(g group) bool { return g.Path == name }))
	}
	refuse := func(feature sdk.Feature, name string, p power) bool {
		if p.administers == "" || m.powers.accepted(name) || has(name) {
			return false
		}
		losses = append(losses, sdk.PartLoss{Feature: feature, Code: codePower, Attribute: name, Detail: p.administers})
		return true
	}
	var left []string
	for _, name := range u.RealmRoles {
		if name != m.defaultRole {
			p, err := m.powerOfRole(ctx, name)
			if err != nil {
				return nil, err
			}
			if refuse(sdk.CarriesRoles, name, p) {
				continue
			}
		}
		left = append(left, name)
	}
	u.RealmRoles, left = left, nil
	for _, path := range u.Groups {
		if strings.HasPrefix(path, tenantGroup("")) {
			p, err := m.powers.ofGroup(ctx, path)
			if err != nil {
				return nil, err
			}
			if refuse(sdk.CarriesTenants, path, p) {
				continue
			}
		}
		left = append(left, path)
	}
	u.Groups = left
	return losses, nil
}

// powerOfRole is nothing for a role that is not there yet. Callers hold m.creating.
func (m *memberships) powerOfRole(ctx context.Context, name string) (power, error) {
	if err := m.list(ctx); err != nil {
		return power{}, err
	}
	facts, there := m.roles[name]
	if !there || facts.ID == "" {
		return power{}, nil
	}
	return m.powers.ofRole(ctx, facts)
}

// list reads the roles of the realm once. Callers hold m.creating.
func (m *memberships) list(ctx context.Context) error {
	if m.roles != nil {
		return nil
	}
	all, err := pages[roleFacts](ctx, m.api, "roles")
	if err != nil {
		return fmt.Errorf("list the roles of realm %s: %w", m.api.realm, err)
	}
	m.roles = make(map[string]roleFacts, len(all))
	for _, x := range all {
		m.roles[x.Name] = x
	}
	return nil
}

// checkPower names roles and groups that are there and give power to whoever has one of
// that name at the source.
func (t *preflight) checkPower(ctx context.Context, l *sdk.Diagnostics, needs sdk.Needs) {
	m := &memberships{api: t.api, powers: newPowers(t.api, t.config)}
	if sees, err := m.powers.shows(ctx); err == nil && !sees {
		d := missingRole("view-clients", "roles of clients are hidden, so that existing roles and groups with permissions are refused, and undo keeps all accounts")
		d.Severity = sdk.Warning
		l.Add(d)
	}
	say := func(kind, key, name string, people int, p power) {
		d := sdk.Diagnostic{Severity: sdk.Warning, Code: codePower, Path: "/" + key}
		if people > 0 { // an older host does not say
			d.Detail = fmt.Sprintf("it is about %d people", people)
		}
		switch {
		case m.powers.accepted(name):
			return
		case p.administers != "":
			d.Summary = fmt.Sprintf("nobody gets the %s %s, which is in the realm: %s", kind, name, p.administers)
			d.Hint = fmt.Sprintf("rename the one in the realm, or, if its people are to have that power, name it in %s", key)
		case p.allows:
			d.Summary = fmt.Sprintf("the %s %s of the realm has permissions, which its people from SuperTokens get", kind, name)
			d.Hint = "see that this is meant; name it in " + key + " to hear no more of it"
		default:
			return
		}
		l.Add(d)
	}
	for _, name := range needs.Roles {
		p, err := m.powerOfRole(ctx, name)
		if err != nil {
			l.Add(incomplete("what the roles of the realm allow", err))
			return
		}
		say("role", "accept_roles", name, needs.RoleUsers[name], p)
	}
	if t.config.Tenants != tenantsAsGroups || t.config.Tenant != "" {
		return
	}
	for _, tenant := range needs.Tenants {
		p, err := m.powers.ofGroup(ctx, tenantGroup(tenant))
		if err != nil {
			l.Add(incomplete("what the groups of the realm allow", err))
			return
		}
		say("group", "accept_groups", tenantGroup(tenant), needs.TenantUsers[tenant], p)
	}
}
