package membership

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// The marks of what a load has made: of a role in its description, of an organization in
// its metadata under MadeByKey. They carry the mark themselves, so that no memory of ours
// can be wrong about them.
const (
	MadeBy    = "made by stetl"
	MadeByKey = "made_by"
)

type named struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

// names knows the ids of roles and organizations by name, and makes those that are
// missing, one at a time.
type names struct {
	client *tenant.Client
	// connection is the id of the one that members of organizations sign in through.
	connection string

	mu            sync.Mutex
	roles         map[string]string
	listed        map[string]named  // roles that were there when they were listed, by id
	organizations map[string]string // those that are ready for members
	found         map[string]string // those that are there
}

// role returns the id of a role, empty when there is none.
func (n *names) role(ctx context.Context, name string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.roles == nil {
		if err := n.list(ctx); err != nil {
			return "", err
		}
	}
	return n.roles[name], nil
}

func (n *names) list(ctx context.Context) error {
	all, err := tenant.Pages[named](ctx, n.client, "roles")
	if err != nil {
		return err
	}
	n.roles, n.listed = map[string]string{}, map[string]named{}
	for _, r := range all {
		n.roles[r.Name], n.listed[r.ID] = r.ID, r
	}
	return nil
}

// made is a role as it was listed; one that was not there is without a mark.
func (n *names) made(id string) named {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.listed[id]
}

// needRole returns the id of a role, which is made where it is missing.
func (n *names) needRole(ctx context.Context, name string) (string, error) {
	if id, err := n.role(ctx, name); err != nil || id != "" {
		return id, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if id := n.roles[name]; id != "" {
		return id, nil
	}
	var made named
	err := n.client.Create(ctx, http.MethodPost, n.client.URI("roles"), map[string]any{"name": name, "description": MadeBy}, &made)
	if err == nil {
		n.roles[name] = made.ID
		return made.ID, nil
	}
	// There by now, or made by a request whose answer was lost.
	if listErr := n.list(ctx); listErr != nil {
		return "", listErr
	}
	if id := n.roles[name]; id != "" {
		return id, nil
	}
	return "", err
}

// organization returns the id of an organization, empty when there is none.
func (n *names) organization(ctx context.Context, name string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.find(ctx, name)
}

func (n *names) find(ctx context.Context, name string) (string, error) {
	if id := n.found[name]; id != "" {
		return id, nil
	}
	var o named
	err := n.client.Get(ctx, &o, nil, "organizations", "name", name)
	if tenant.Status(err) == http.StatusNotFound {
		return "", nil
	}
	if err == nil {
		n.keep(&n.found, name, o.ID)
	}
	return o.ID, err
}

func (n *names) keep(in *map[string]string, name, id string) {
	if *in == nil {
		*in = map[string]string{}
	}
	(*in)[name] = id
}

// needOrganization returns the id of an organization whose members can sign in through
// the connection. It is made where it is missing.
func (n *names) needOrganization(ctx context.Context, name string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if id := n.organizations[name]; id != "" {
		return id, nil
	}
	id, err := n.find(ctx, name)
	if err == nil && id == "" {
		id, err = n.makeOrganization(ctx, name)
	}
	if err == nil {
		err = n.connect(ctx, id)
	}
	if err != nil {
		return "", err
	}
	n.keep(&n.organizations, name, id)
	n.keep(&n.found, name, id)
	return id, nil
}

func (n *names) makeOrganization(ctx context.Context, name string) (string, error) {
	var made named
	err := n.client.Create(ctx, http.MethodPost, n.client.URI("organizations"), map[string]any{
		"name": name, "display_name": name, "metadata": map[string]string{MadeByKey: MadeBy},
	}, &made)
	if err == nil {
		return made.ID, nil
	}
	// There by now, or made by a request whose answer was lost.
	if id, findErr := n.find(ctx, name); findErr == nil && id != "" {
		return id, nil
	}
	all, listErr := tenant.Pages[named](ctx, n.client, "organizations")
	if i := slices.IndexFunc(all, func(o named) bool { return o.Name == name }); listErr == nil && i >= 0 {
		return all[i].ID, nil
	}
	return "", err
}

type enabledConnection struct {
	ID string `json:"connection_id"`
}

// connect lets the members of an organization sign in through the connection.
func (n *names) connect(ctx context.Context, organization string) error {
	err := n.client.Call(ctx, http.MethodPost, n.client.URI("organizations", organization, "enabled_connections"),
		map[string]any{"connection_id": n.connection, "assign_membership_on_login": false}, nil)
	switch {
	case tenant.Status(err) == http.StatusConflict: // enabled already
		return nil
	case !tenant.Refused(err):
		return err
	}
	enabled, listErr := tenant.Pages[enabledConnection](ctx, n.client, "organizations", organization, "enabled_connections")
	if listErr == nil && slices.ContainsFunc(enabled, func(c enabledConnection) bool { return c.ID == n.connection }) {
		return nil
	}
	return err
}
