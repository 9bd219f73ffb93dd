package auth0

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
	"github.com/stetl/stetl/plugins/auth0/internal/directory"
	"github.com/stetl/stetl/plugins/auth0/internal/membership"
)

// account is one as the tenant shows it, with what it belongs to.
type account struct {
	*directory.Account
	has membership.Answer
}

// originOf is what a load left in an account; its id is empty where none did.
func originOf(a *directory.Account) (o origin) {
	_ = json.Unmarshal(a.AppMetadata[metadataKey], &o) // anything else is not ours
	return o
}

// noted is what loads have given the account, or were about to.
func (o *origin) noted() membership.Set {
	s := membership.Set{Roles: o.Roles[publicTenant], Organizations: map[string][]string{}}
	for _, name := range o.Tenants {
		if name != publicTenant && organizationPattern.MatchString(name) {
			s.Organizations[name] = o.Roles[name]
		}
	}
	return s
}

// The names of fields in plans.
const (
	fieldEmail         = "email"
	fieldVerified      = "email_verified"
	fieldUsername      = "username"
	fieldPhone         = "phone_number"
	fieldPhoneVerified = "phone_verified"
	fieldGiven         = "given_name"
	fieldFamily        = "family_name"
	fieldName          = "name"
	fieldBlocked       = "blocked"
	fieldOrigin        = "app_metadata." + metadataKey
	prefixUserMetadata = "user_metadata."
	fieldRoles         = "roles"
	fieldOrganizations = "organizations"

	// What the tenant does not show.
	fieldPassword = "password"
	fieldTOTP     = "totp"
	fieldGrants   = "memberships" // where it shows none of them
)

// features says what of a user a field is, for losses.
var features = map[string]sdk.Feature{
	fieldVerified: sdk.CarriesEmailVerified, fieldPhone: sdk.CarriesPhone, fieldPhoneVerified: sdk.CarriesPhone, fieldGiven: sdk.CarriesNames,
	fieldFamily: sdk.CarriesNames, fieldName: sdk.CarriesNames, fieldRoles: sdk.CarriesRoles, fieldOrganizations: sdk.CarriesTenants,
}

func featureOf(field string) sdk.Feature {
	if f, ok := features[field]; ok {
		return f
	}
	return sdk.CarriesMetadata
}

// fields is everything of an account that a load may have set. It is a function of
// the account alone, so that an undo can compare as well.
func fields(a *directory.Account, has membership.Set) map[string]string {
	f := map[string]string{
		fieldEmail: a.Email, fieldVerified: strconv.FormatBool(a.EmailVerified), fieldUsername: a.Username, fieldPhone: a.PhoneNumber,
		fieldGiven: a.GivenName, fieldFamily: a.FamilyName, fieldName: a.Name, fieldBlocked: strconv.FormatBool(a.Blocked),
		fieldOrigin: normal(a.AppMetadata[metadataKey]),
	}
	f[fieldRoles], f[fieldOrganizations] = has.Text()
	if a.PhoneNumber != "" {
		f[fieldPhoneVerified] = strconv.FormatBool(a.PhoneVerified)
	}
	if a.Name == a.Email || a.Name == a.PhoneNumber {
		delete(f, fieldName) // Auth0's own choice where there is no name
	}
	for key, value := range a.UserMetadata {
		f[prefixUserMetadata+key] = normal(value)
	}
	return f
}

// account is what the tenant will show of a user.
func (r *record) account() *directory.Account {
	a := &directory.Account{
		Email: r.Email, EmailVerified: r.EmailVerified, Username: r.Username, PhoneNumber: r.PhoneNumber, GivenName: r.GivenName,
		FamilyName: r.FamilyName, Name: r.Name, Blocked: r.Blocked, AppMetadata: r.AppMetadata,
	}
	a.PhoneVerified = r.PhoneVerified != nil && *r.PhoneVerified
	if len(r.UserMetadata) > 0 {
		_ = json.Unmarshal(r.UserMetadata, &a.UserMetadata) // an object, see place
	}
	return a
}

// wanted is an account as a load would leave it.
func (r *record) wanted() reconcile.Wanted {
	roles, organizations := r.belongs.Text()
	var seeds []string
	for _, f := range r.MFAFactors {
		seeds = append(seeds, f.TOTP.Secret)
	}
	grants := ""
	if !r.belongs.Empty() {
		grants = roles + "\x00" + organizations
	}
	return reconcile.Wanted{Fields: fields(r.account(), r.belongs), Secrets: []reconcile.Secret{
		{Field: fieldPassword, Feature: sdk.PartPassword, Value: r.password.secret()},
		{Field: fieldTOTP, Feature: sdk.CarriesTOTP, Value: strings.Join(seeds, " ")},
		{Field: fieldGrants, Feature: sdk.CarriesRoles, Value: grants},
	}}
}

// replaceable says that an upsert can bring a hash of this shape into an account that is
// there.
func (r *record) replaceable() bool { return r.CustomPasswordHash != nil && r.Email != "" }

// claims are what no second user of a run can have.
func (r *record) claims() []reconcile.Claim {
	return []reconcile.Claim{
		{Kind: "id", Value: r.UserID, Code: sdk.CodeIDConflict},
		{Kind: "e-mail address", Value: r.Email, Code: sdk.CodeEmailConflict},
		{Kind: "user name", Value: r.Username, Code: sdk.CodeUsernameConflict},
		{Kind: "phone number", Value: r.PhoneNumber, Code: sdk.CodeUsernameConflict},
	}
}

// answerable restricts what an account has to what a load would write, and to what loads
// have noted that they wrote.
func (o *origin) answerable(held, want map[string]string) map[string]string {
	f := maps.Clone(held)
	for name := range held {
		optional := slices.Contains([]string{fieldUsername, fieldPhone, fieldPhoneVerified, fieldName, fieldEmail}, name)
		key, others := strings.CutPrefix(name, prefixUserMetadata)
		others = others && !slices.Contains(o.UserMetadata, key)
		if want[name] == "" && (optional || others) {
			delete(f, name)
		}
	}
	return f
}

// normal writes JSON so that equal values are equal text.
func normal(raw json.RawMessage) string {
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	var v any // numbers as doubles, which is what Auth0 makes of them
	if json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return string(raw)
	}
	return string(out)
}

// losses are the parts of memberships that could not be written.
func losses(failed []membership.Failure) (out []sdk.PartLoss) {
	for _, f := range failed {
		l := sdk.PartLoss{Feature: sdk.CarriesRoles, Code: sdk.CodePartFailed, Attribute: f.Name(), Detail: f.Err.Error()}
		if f.Role == "" {
			l.Feature = sdk.CarriesTenants
		}
		if f.Refused() {
			l.Code = sdk.CodePartRefused
		}
		out = append(out, l)
	}
	return out
}
