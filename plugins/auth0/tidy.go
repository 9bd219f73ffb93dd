package auth0

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// madeBy marks roles and organizations that a load has made: the former in their
// description, the latter in their metadata under madeByKey. They carry the mark
// themselves, so that no memory of ours can be wrong about them.
const (
	madeBy    = "made by stetl"
	madeByKey = "made_by"
)

// undone is what an undo has to tidy up after.
type undone struct {
	mu            sync.Mutex
	organizations map[string]bool // of accounts that were taken back; nil when none were
	left          []string        // what stays, and why
}

func (m *undone) note(a *account) {
	ours := a.origin()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.organizations == nil {
		m.organizations = map[string]bool{}
	}
	for _, tenant := range ours.Tenants {
		m.organizations[tenant] = true
	}
}

// tidy removes, after an undo, the roles that loads have made and the organizations
// that they have made for the accounts that were taken back, as long as nobody else
// uses them, and names those that it has to leave.
func (t *live) tidy(ctx context.Context) error {
	t.undone.mu.Lock()
	defer t.undone.mu.Unlock()
	if t.mapper.organizations {
		for name := range t.undone.organizations {
			if err := t.tidyOrganization(ctx, name); err != nil {
				return fmt.Errorf("tidy up the organization %s: %w", name, err)
			}
		}
	}
	if t.mapper.assignRoles && t.undone.organizations != nil {
		if err := t.tidyRoles(ctx); err != nil {
			return err
		}
	}
	if len(t.undone.left) > 0 {
		t.env.Log.Warn("what runs have made and others use stays; delete it by hand if it should go", "left", t.undone.left)
	}
	return nil
}

func (t *live) tidyRoles(ctx context.Context) error {
	all, err := tenant.Pages[role](ctx, t.api, "roles")
	if err != nil {
		return fmt.Errorf("tidy up roles: %w", err)
	}
	for _, r := range all {
		if r.Description == madeBy {
			if err := t.tidyRole(ctx, r); err != nil {
				return fmt.Errorf("tidy up the role %s: %w", r.Name, err)
			}
		}
	}
	return nil
}

func (t *live) tidyOrganization(ctx context.Context, name string) error {
	var o struct {
		ID       string            `json:"id"`
		Metadata map[string]string `json:"metadata"`
	}
	if err := t.api.Get(ctx, &o, nil, "organizations", "name", name); err != nil || o.Metadata[madeByKey] != madeBy {
		return unless(tenant.Hidden(err), err)
	}
	why, err := t.inUse(ctx, "organizations", o.ID, "members")
	if why == "" && err == nil {
		var enabled []enabledConnection
		enabled, err = tenant.Pages[enabledConnection](ctx, t.api, "organizations", o.ID, "enabled_connections")
		if slices.ContainsFunc(enabled, func(c enabledConnection) bool { return c.ID != t.connection.ID }) {
			why = "it has other connections"
		}
	}
	return t.discard(ctx, "organization", name, why, err, "organizations", o.ID)
}

// tidyRole leaves roles alone while there are organizations, since nobody can list who
// has a role inside of them.
func (t *live) tidyRole(ctx context.Context, r role) error {
	why, err := t.inUse(ctx, "roles", r.ID, "users")
	if why == "" && err == nil {
		why, err = t.inUse(ctx, "roles", r.ID, "permissions")
	}
	if why == "" && err == nil {
		if why, err = t.inUse(ctx, "organizations"); tenant.Status(err) == http.StatusNotFound {
			err = nil // a tenant without that feature
		}
	}
	return t.discard(ctx, "role", r.Name, why, err, "roles", r.ID)
}

// inUse says what keeps something from being removed: a list that is not empty.
func (t *live) inUse(ctx context.Context, path ...string) (why string, err error) {
	list, _, err := tenant.Listed[struct{}](ctx, t.api, url.Values{"per_page": {"1"}, "page": {"0"}}, path...)
	if len(list) > 0 {
		why = "there are " + path[len(path)-1]
	}
	return why, err
}

// discard removes what nothing keeps, or says that it stays.
func (t *live) discard(ctx context.Context, kind, name, why string, err error, path ...string) error {
	if why == "" && err == nil {
		err = t.api.Call(ctx, http.MethodDelete, t.api.URI(path...), nil, nil)
	}
	if tenant.Refused(err) || tenant.Hidden(err) {
		why = err.Error()
	}
	if why != "" {
		t.undone.left = append(t.undone.left, fmt.Sprintf("%s %s: %s", kind, name, why))
		return nil
	}
	return err
}

func unless(expected bool, err error) error {
	if expected {
		return nil
	}
	return err
}
