package sdk

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// DefinedRoles remembers the permissions of roles in the source that the host has told. A
// target that embeds it is a [RoleKeeper]. It is safe for concurrent use. The zero value is
// empty and ready to use.
type DefinedRoles struct {
	mu     sync.Mutex
	allows map[string][]string
}

// DefineRoles implements [RoleKeeper].
func (d *DefinedRoles) DefineRoles(_ context.Context, roles []Role) error {
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

// Allowed returns the permissions of roles, by the name of the role. Roles without
// permissions are included.
func (d *DefinedRoles) Allowed() map[string][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.allows)
}

// Allows returns the permissions of one role. known is false if the host has not told
// this role.
func (d *DefinedRoles) Allows(name string) (permissions []string, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	permissions, known = d.allows[name]
	return slices.Clone(permissions), known
}
