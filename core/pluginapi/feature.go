package pluginapi

import "slices"

// Feature is a part of an account that a target may be able to hold. Which fields of
// [User] it stands for is said in [Fields].
type Feature string

// The features a plugin can declare.
const (
	// CarriesID says that the account has the id [User.ID] in the target. Where it is
	// not declared, the loss is counted, and the id is given to the target nevertheless:
	// it is the key by which an account is found again.
	CarriesID            Feature = "id"
	CarriesEmailVerified Feature = "email_verified"
	CarriesPhone         Feature = "phone"
	CarriesNames         Feature = "names"
	CarriesCreated       Feature = "created"
	CarriesIdentities    Feature = "identities"
	CarriesTOTP          Feature = "totp"
	CarriesPasskeys      Feature = "passkeys"
	CarriesRoles         Feature = "roles"
	// CarriesRolePermissions is about roles, and no field of a user: the target is told what
	// roles allow.
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

// Part reports whether a [PartLoss] can be of f: a feature, or what every target has.
func (f Feature) Part() bool { return f.PartName() != "" }

// PartName says what a [PartLoss] of f is about, in an operator's words; nothing of what
// is no part.
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

// Lost says what is lost where f is not declared, and nothing of a feature that this
// version does not know.
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
