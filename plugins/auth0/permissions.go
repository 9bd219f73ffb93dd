package auth0

import (
	"context"
	"fmt"
	"sync"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/membership"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

var _ sdk.RoleKeeper = (*live)(nil)

// keepsPermissions says that roles get the permissions of an API.
func (c Config) keepsPermissions() bool {
	return c.PermissionsAPI != "" && c.Mode != modeFiles && c.Roles != choiceMetadata
}

// defined is what roles allow in the source, as far as the host has said. It is safe for
// concurrent use.
type defined struct {
	mu     sync.Mutex
	allows map[string][]string
}

// DefineRoles implements [sdk.RoleKeeper].
func (d *defined) DefineRoles(_ context.Context, roles []sdk.Role) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.allows == nil {
		d.allows = map[string][]string{}
	}
	for _, r := range roles {
		d.allows[r.Name] = r.Permissions
	}
	return nil
}

// permissions is nil where there is nothing to give.
func (d *defined) permissions(client *tenant.Client, c Config) *membership.Permissions {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !c.keepsPermissions() || len(d.allows) == 0 {
		return nil
	}
	return membership.NewPermissions(client, c.PermissionsAPI, d.allows)
}

// permissions names roles that will not have the permissions of the source.
func (i *inspection) permissions(ctx context.Context, p *membership.Permissions) {
	if p == nil {
		return
	}
	odd, err := p.Look(ctx)
	if err != nil {
		d := failed("the permissions of roles cannot be read", err)
		d.Severity, d.Path = sdk.Warning, "/permissions_api"
		if tenant.Status(err) == 404 {
			d.Code, d.Hint = codeRolePermissions, "correct the identifier of the API, which is its audience"
		}
		i.l.Add(d)
	}
	for _, o := range odd {
		i.l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeRolePermissions, Path: "/permissions_api", Summary: fmt.Sprintf("the role %s does not get all permissions of the source: %s", o.Role, o.Why),
			Hint: "change them by hand, or add the permissions to the API",
		})
	}
}
