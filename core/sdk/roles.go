package sdk

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// DefinedRoles remembers what roles allow in the source, as far as the host has said. A target
// that embeds it is a [RoleKeeper]. It is safe for concurrent use, and its zero value is empty.
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

// Allowed returns what roles allow by their names, roles that allow nothing included.
func (d *DefinedRoles) Allowed() map[string][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.allows)
}

// Allows returns what one role allows; false when nobody has said.
func (d *DefinedRoles) Allows(name string) (permissions []string, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	permissions, known = d.allows[name]
	return slices.Clone(permissions), known
}
