package membership

import (
	"context"
	"strings"
	"sync"

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

// powers knows what roles of a tenant allow. It is safe for concurrent use.
type powers struct {
	mu    sync.Mutex
	known map[string]Power
}

// Powers reads what the roles of these names allow that are in the tenant, each once.
// Roles that allow nothing, and those that are not there, are not in the answer.
func (b *Book) Powers(ctx context.Context, roles []string) (map[string]Power, error) {
	b.powers.mu.Lock()
	defer b.powers.mu.Unlock()
	if b.powers.known == nil {
		b.powers.known = map[string]Power{}
	}
	out := map[string]Power{}
	for _, role := range roles {
		p, known := b.powers.known[role]
		if !known {
			var err error
			if p, err = b.power(ctx, role); err != nil {
				return nil, err
			}
			b.powers.known[role] = p
		}
		if p.Permissions > 0 {
			out[role] = p
		}
	}
	return out, nil
}

func (b *Book) power(ctx context.Context, role string) (p Power, err error) {
	id, err := b.names.role(ctx, role)
	if err != nil || id == "" {
		return p, err
	}
	permissions, err := tenant.Pages[permission](ctx, b.client, "roles", id, "permissions")
	if role := b.names.made(id); err != nil || role.asLeft(permissions) {
		return p, err // they are those of the source
	}
	p.Permissions = len(permissions)
	for _, one := range permissions {
		// The identifier of the Management API is fixed, whatever the tenant's domain.
		p.Administers = p.Administers || strings.HasSuffix(strings.TrimSuffix(one.API, "/"), "/api/v2")
	}
	return p, err
}
