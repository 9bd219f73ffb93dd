package engine

import "github.com/stetl/stetl/core/pluginapi"

// roleHolders says which roles of the source somebody has, by their names after the mapping.
// Of two accounts that are made one it has the roles of both, and also those of somebody whom
// a conflict keeps out: a role that nobody gets is never made, whatever it allows.
type roleHolders struct {
	allows map[string]int // permissions of each role of the source
	held   map[string]bool
}

func newRoleHolders(roles []pluginapi.Role) *roleHolders {
	h := &roleHolders{allows: map[string]int{}, held: map[string]bool{}}
	for _, r := range roles {
		h.allows[r.Name] = len(r.Permissions)
	}
	return h
}

// add notes the roles of an account, and reports whether one of them allows something.
func (h *roleHolders) add(u *pluginapi.User) (allowed bool) {
	for _, names := range u.Roles {
		for _, name := range names {
			if n, defined := h.allows[name]; defined {
				h.held[name] = true
				allowed = allowed || n > 0
			}
		}
	}
	return allowed
}

// had are those of the roles that somebody has.
func (h *roleHolders) had(roles []pluginapi.Role) (out []pluginapi.Role) {
	for _, r := range roles {
		if h.held[r.Name] {
			out = append(out, r)
		}
	}
	return out
}

// count is nil where no role allows anything.
func (h *roleHolders) count(carried bool) *RolePermissions {
	c := &RolePermissions{Carried: carried}
	for name := range h.held {
		if n := h.allows[name]; n > 0 {
			c.Roles++
			c.Permissions += n
		}
	}
	if c.Roles == 0 {
		return nil
	}
	return c
}
