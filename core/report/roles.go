package report

import (
	"fmt"

	"github.com/stetl/stetl/core/engine"
)

// RolesText says how many roles allow something, and what becomes of that; nothing where none
// does.
func RolesText(r *engine.RolePermissions) string {
	if r == nil {
		return ""
	}
	text := fmt.Sprintf("%s roles of the source allow something, %s permissions in all: ", Number(r.Roles), Number(r.Permissions))
	if r.Carried {
		return text + "each that a run makes in the target gets them; a role that is there already keeps what it has."
	}
	return text + "the target does not get them (not carried over)."
}

// writeRoles says what becomes of permissions.
func writeRoles(b *sheet, r *engine.Result) {
	if text := RolesText(r.RolePermissions); text != "" {
		fmt.Fprintf(b, "\n%s\n", text)
	}
}
