package supertokens

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/internal/members"
)

// Inventory is what an installation holds, counted over one whole reading.
type Inventory struct {
	Accounts     int `json:"accounts"`
	LoginMethods int `json:"login_methods"`
	// ByRecipe, ByProvider and ByTenant count login methods, login methods and
	// accounts.
	ByRecipe   map[canonical.Recipe]int `json:"by_recipe"`
	ByProvider map[string]int           `json:"by_provider"`
	ByTenant   map[string]int           `json:"accounts_by_tenant"`
	// ByHash counts password hashes by shape: "bcrypt 2a cost 11".
	ByHash map[string]int `json:"by_password_hash"`
	// MetadataKeys counts accounts by top-level metadata key.
	MetadataKeys map[string]int `json:"metadata_keys"`
	// Verified counts login methods by "true", "false" and "unknown".
	Verified     map[string]int `json:"by_verified"`
	Mapped       int            `json:"mapped"`
	Primaries    int            `json:"primaries"`
	WithMetadata int            `json:"with_metadata"`
	WithRoles    int            `json:"with_roles"`
	// WithRolePermissions counts accounts with a role that allows something.
	WithRolePermissions int `json:"with_role_permissions"`
	WithTOTP            int `json:"with_verified_totp"`
	WithPhone           int `json:"with_phone"`
	WithTenants         int `json:"with_tenants"`

	// samples holds one hash of each shape, to ask a target about it.
	samples map[string]canonical.PasswordHash
	// allows has the roles that allow something.
	allows map[string]bool
}

// NewInventory has counted nothing. The roles are those of the app.
func NewInventory(roles []canonical.Role) *Inventory {
	allows := map[string]bool{}
	for _, r := range roles {
		allows[r.Name] = len(r.Permissions) > 0
	}
	return &Inventory{
		allows:   allows,
		ByRecipe: map[canonical.Recipe]int{}, ByProvider: map[string]int{}, ByTenant: map[string]int{},
		ByHash: map[string]int{}, Verified: map[string]int{}, MetadataKeys: map[string]int{}, samples: map[string]canonical.PasswordHash{},
	}
}

// Add counts one batch of [Source.Read].
func (inv *Inventory) Add(b Batch) {
	for i := range b.Users {
		inv.account(&b.Users[i])
	}
}

func (inv *Inventory) account(u *canonical.User) {
	inv.Accounts++
	inv.LoginMethods += len(u.Logins)
	for _, t := range u.Tenants() {
		inv.ByTenant[t]++
	}
	count(&inv.Mapped, u.ID != u.InternalID)
	count(&inv.Primaries, u.Primary)
	count(&inv.WithMetadata, u.Metadata != nil)
	count(&inv.WithRoles, len(u.Roles) > 0)
	count(&inv.WithRolePermissions, inv.allowed(u))
	count(&inv.WithTOTP, slices.ContainsFunc(u.TOTPDevices, func(d canonical.TOTPDevice) bool { return d.Verified }))
	count(&inv.WithPhone, slices.ContainsFunc(u.Logins, func(l canonical.Login) bool { return l.Phone != nil }))
	count(&inv.WithTenants, slices.ContainsFunc(u.Logins, func(l canonical.Login) bool { return len(l.Tenants) > 0 }))
	inv.metadata(u.Metadata)
	for i := range u.Logins {
		l := &u.Logins[i]
		inv.ByRecipe[l.Recipe]++
		if !l.Password.IsZero() {
			shape := l.Password.Shape()
			inv.ByHash[shape]++
			inv.samples[shape] = l.Password
		}
		if l.Identity != nil {
			inv.ByProvider[l.Identity.Provider]++
		}
		verified := "unknown"
		if l.Verified != nil {
			verified = fmt.Sprint(*l.Verified)
		}
		inv.Verified[verified]++
	}
}

// allowed reports whether a role of the account allows something.
func (inv *Inventory) allowed(u *canonical.User) bool {
	for _, roles := range u.Roles {
		if slices.ContainsFunc(roles, func(role string) bool { return inv.allows[role] }) {
			return true
		}
	}
	return false
}

// maxMetadataKeys bounds the keys that are counted: an application may use ids
// as keys.
const maxMetadataKeys = 500

func (inv *Inventory) metadata(stored json.RawMessage) {
	for key := range members.Of(stored) {
		if _, known := inv.MetadataKeys[key]; known || len(inv.MetadataKeys) < maxMetadataKeys {
			inv.MetadataKeys[key]++
		}
	}
}

// EachHash gives one password hash of every shape, for asking a target what it
// can verify.
func (inv *Inventory) EachHash(fn func(shape string, sample canonical.PasswordHash, count int)) {
	for _, shape := range slices.Sorted(maps.Keys(inv.samples)) {
		fn(shape, inv.samples[shape], inv.ByHash[shape])
	}
}

func count(n *int, yes bool) {
	if yes {
		*n++
	}
}
