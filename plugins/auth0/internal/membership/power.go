package membership

import (
	"context"
	"strings"

	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// Power is what somebody gets with a role that is in the tenant, beside its name.
type Power struct {
	// Permissions is how many the role has, of any API.
	Permissions int
	// Administers says that one of them is of the Management API: who has it can change
	// the tenant itself.
	Administers bool
}

// Powers reads what the roles of these names allow that are in the tenant. Roles that
// allow nothing, and those that are not there, are not among them.
func Powers(ctx context.Context, client *tenant.Client, names []string) (map[string]Power, error) {
	all, err := tenant.Pages[named](ctx, client, "roles")
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	out := map[string]Power{}
	for _, r := range all {
		if len(names) > 0 && !wanted[r.Name] {
			continue
		}
		permissions, err := tenant.Pages[struct {
			API string `json:"resource_server_identifier"`
		}](ctx, client, "roles", r.ID, "permissions")
		if err != nil {
			return nil, err
		}
		p := Power{Permissions: len(permissions)}
		for _, one := range permissions {
			// The identifier of the Management API is fixed, whatever the tenant's domain.
			p.Administers = p.Administers || strings.HasSuffix(strings.TrimSuffix(one.API, "/"), "/api/v2")
		}
		if p.Permissions > 0 {
			out[r.Name] = p
		}
	}
	return out, nil
}
