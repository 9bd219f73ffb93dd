package auth0

import (
	"context"
	"fmt"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/membership"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

var _ sdk.RoleKeeper = (*live)(nil)

// keepsPermissions says that roles get the permissions of an API.
func (c Config) keepsPermissions() bool {
	return c.PermissionsAPI != "" && c.Mode != modeFiles && c.Roles != choiceMetadata
}

// permissionsOfRoles is nil where there is nothing to give.
func permissionsOfRoles(d *sdk.DefinedRoles, client *tenant.Client, c Config) *membership.Permissions {
	allowed := d.Allowed()
	if !c.keepsPermissions() || len(allowed) == 0 {
		return nil
	}
	return membership.NewPermissions(client, c.PermissionsAPI, allowed)
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
