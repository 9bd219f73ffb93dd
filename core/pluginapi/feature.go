package pluginapi

import "slices"

// Feature is a part of an account that a target may be able to store. [Fields] lists the
// fields of [User] that belong to a feature.
type Feature string

// The features a plugin can declare.
const (
	// CarriesID says that the account has the id [User.ID] in the target. If it is not
	// declared, the loss is counted. The id is still sent to the target, because it is the
	// key by which an account is found again.
	CarriesID            Feature = "id"
	CarriesEmailVerified Feature = "email_verified"
	CarriesPhone         Feature = "phone"
	CarriesNames         Feature = "names"
	CarriesCreated       Feature = "created"
	CarriesIdentities    Feature = "identities"
	CarriesTOTP          Feature = "totp"
	CarriesPasskeys      Feature = "passkeys"
	CarriesRoles         Feature = "roles"
	// CarriesRolePermissions belongs to roles and not to a field of a user: the target
	// stores the permissions of roles.
	CarriesRolePermissions Feature = "role_permissions"
	CarriesTenants         Feature = "tenants"
	CarriesMetadata        Feature = "metadata"
)

// What names a part in a [PartLoss] and is no feature that anybody declares: every target
// has names and addresses, and which hashes it takes, [Capabilities] says.
const (
	PartPassword Feature = "password"
	PartUsername Feature = "username"
	PartEmail    Feature = "email"
)

// parts says the same of them.
var parts = map[Feature]string{PartPassword: "the password", PartUsername: "the user name", PartEmail: "the e-mail address"}

// Part reports whether f can be the feature of a [PartLoss]: it is a known feature, or the
// password, the user name or the e-mail address.
func (f Feature) Part() bool { return f.PartName() != "" }

// PartName names the part f for an operator. It is empty if f is not a part.
func (f Feature) PartName() string {
	if name, ok := parts[f]; ok {
		return name
	}
	return f.Lost()
}

// features says what is lost where a feature is not declared, in an operator's words.
var features = []struct {
	Feature
	lost string
}{
	{CarriesID, "ids that applications have stored: the target makes its own"},
	{CarriesEmailVerified, "whether the e-mail address is verified"},
	{CarriesPhone, "phone numbers"},
	{CarriesNames, "names of people"},
	{CarriesCreated, "joining times"},
	{CarriesIdentities, "links to social identities"},
	{CarriesTOTP, "authenticator devices"},
	{CarriesPasskeys, "passkeys"},
	{CarriesRoles, "roles"},
	{CarriesRolePermissions, "what their roles allow"},
	{CarriesTenants, "tenant memberships"},
	{CarriesMetadata, "metadata"},
}

// Features lists all of them.
func Features() []Feature {
	all := make([]Feature, len(features))
	for i, f := range features {
		all[i] = f.Feature
	}
	return all
}

// Lost says for an operator what is lost if a target does not declare f. It is empty for a
// feature that this version does not know.
func (f Feature) Lost() string {
	for _, known := range features {
		if known.Feature == f {
			return known.lost
		}
	}
	return ""
}

// Has reports whether the target declares feature f.
func (c Capabilities) Has(f Feature) bool { return slices.Contains(c.Carries, f) }

// Withheld are fields that a target is not given.
type Withheld []Field

// Withheld are the fields whose feature the target does not declare.
func (c Capabilities) Withheld() (w Withheld) {
	for _, f := range fields {
		if f.Feature != "" && !c.Has(f.Feature) {
			w = append(w, f)
		}
	}
	return w
}

// From takes the fields away from u, so that a plugin never sees what it would have to
// drop in silence, and returns the features of which there was something, in the order
// of [Fields]. [User.ID] stays.
func (w Withheld) From(u *User) (lost []Feature) {
	for i := range w {
		f := &w[i]
		if f.Empty(u) {
			continue
		}
		if !slices.Contains(lost, f.Feature) {
			lost = append(lost, f.Feature)
		}
		if f.Feature != CarriesID {
			f.clear(u)
		}
	}
	return lost
}
