package keycloak

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/stetl/stetl/core/sdk"
)

// Column widths of Keycloak's database, in UTF-16 units: the narrowest way any
// of its databases counts.
const (
	maxID    = 36
	maxField = 255
	// A longer attribute is stored, but the user cannot save a profile with it.
	maxProfileValue = 2048
	// Well below the 10 MiB at which the server hangs up.
	maxBody = 4 << 20
)

// account is the part of a user that a load sets and a read shows.
type account struct {
	ID            string              `json:"id"`
	Username      string              `json:"username"`
	Email         string              `json:"email,omitempty"`
	EmailVerified bool                `json:"emailVerified"`
	FirstName     string              `json:"firstName,omitempty"`
	LastName      string              `json:"lastName,omitempty"`
	Enabled       bool                `json:"enabled"`
	Attributes    map[string][]string `json:"attributes,omitempty"`

	RequiredActions []string `json:"requiredActions,omitempty"`
	// NotBefore is when somebody was last logged out everywhere; no load sets it.
	NotBefore int64 `json:"notBefore,omitempty"`
}

// representation is Keycloak's UserRepresentation as far as it is sent. One
// unknown key would fail the whole batch, so nothing is passed through; and what
// is left out has a harmful default (enabled: false), so little is omitted.
type representation struct {
	account
	// CreatedTimestamp is left out where it is unknown: 0 would be a time in 1970. The
	// newest servers take the time of the load, the oldest none.
	CreatedTimestamp    int64               `json:"createdTimestamp,omitempty"`
	Credentials         []credential        `json:"credentials,omitempty"`
	FederatedIdentities []federatedIdentity `json:"federatedIdentities,omitempty"`
	RealmRoles          []string            `json:"realmRoles"`
	Groups              []string            `json:"groups,omitempty"`

	organizations []string // joined after the import, which has no place for them

	source string         // sdk.User.SourceID
	notes  []string       // what the operator should know although the user is loaded
	losses []sdk.PartLoss // values that are left out
}

type federatedIdentity struct {
	IdentityProvider string `json:"identityProvider"`
	UserID           string `json:"userId"`
	UserName         string `json:"userName"`
}

// mapper turns desired users into representations. It does no I/O.
type mapper struct {
	defaultRole     string
	defaultGroups   []string
	aliases         map[string]string
	tenants         string // as in the configuration
	tenant          string // loads the users of this one only
	emailAsUsername bool
	bridgeAlias     string       // links everybody to the bridge's identity provider
	profile         *userProfile // nil where nobody knows it
	strict          bool         // who has a value that is refused is, too
	mark            string       // of passwords that runs of this journal load, see [runsMark]
}

// actionUpdatePassword is the required action that asks for a new password.
const actionUpdatePassword = "UPDATE_PASSWORD"

// user maps u, or says why Keycloak cannot hold it.
func (m mapper) user(u *sdk.User) (*representation, *sdk.Outcome) {
	r := &representation{
		account: account{
			ID: u.ID, Username: strings.ToLower(u.Username),
			EmailVerified: u.EmailVerified != nil && *u.EmailVerified,
			FirstName:     u.GivenName, LastName: u.FamilyName, Enabled: u.Enabled,
		},
		CreatedTimestamp: millis(u.Created),
		source:           u.SourceID,
	}
	if strings.TrimSpace(u.Email) != "" {
		r.Email = strings.ToLower(u.Email)
		if m.emailAsUsername {
			r.Username = r.Email // else the first change of the profile would rename the user
		}
	}
	if m.tenant != "" && !u.Canary() && !slices.Contains(u.Tenants, m.tenant) {
		return nil, &sdk.Outcome{SourceID: u.SourceID, Action: sdk.Skipped, Code: sdk.CodeOtherTenant, Detail: "the user does not belong to tenant " + m.tenant}
	}
	if out := checkID(u); out != nil {
		return nil, out
	}
	if strings.TrimSpace(r.Username) == "" {
		return nil, reject(u, sdk.CodeUsernameMissing, "the user has no name to sign in with", "let the mapping derive a username from the e-mail address, the phone number or the id")
	}
	if out := credentials(u, r, m.mark); out != nil {
		return nil, out
	}
	if u.Class == sdk.NeedsReset {
		r.RequiredActions = []string{actionUpdatePassword}
	}
	others := m.identities(u, r)
	if m.bridgeAlias != "" {
		r.FederatedIdentities = append(r.FederatedIdentities, federatedIdentity{
			IdentityProvider: m.bridgeAlias, UserID: u.ID, UserName: cmp.Or(u.Email, u.Username),
		})
	}
	r.Attributes = attributes(u, others)
	m.memberships(u, r)
	if n := length(r.Username); n > maxField {
		return nil, reject(u, sdk.CodeFieldTooLong, fmt.Sprintf("the username has %d characters; Keycloak allows %d", n, maxField), "shorten it in SuperTokens")
	}
	leaveOut(r, m.profile)
	if m.strict && len(r.losses) > 0 {
		l := r.losses[0]
		return nil, reject(u, codeProfileRefused, l.Detail, "correct it in SuperTokens or in the realm's user profile, or set refused_values: leave_out")
	}
	return r, nil
}

// HoldsID reports whether Keycloak can keep a user under this id.
func HoldsID(id string) bool { return checkID(&sdk.User{ID: id}) == nil }

func checkID(u *sdk.User) *sdk.Outcome {
	const hint = "give the user another id in SuperTokens (createUserIdMapping), or remove that id mapping, so that the internal id is used"
	switch {
	case length(u.ID) > maxID:
		return reject(u, sdk.CodeIDTooLong, fmt.Sprintf("the id has %d characters; Keycloak allows %d", length(u.ID), maxID), hint)
	case u.ID == "", u.ID == ".", u.ID == "..":
		return reject(u, sdk.CodeIDInvalid, fmt.Sprintf("the id %q cannot be part of an address", u.ID), hint)
	case strings.HasPrefix(u.ID, "f:"):
		return reject(u, sdk.CodeIDInvalid, "Keycloak takes an id that begins with f: for one of a federated directory", hint)
	case strings.ContainsAny(u.ID, `/\;%`) || hasControl(u.ID):
		return reject(u, sdk.CodeIDInvalid, `the id holds one of / \ ; % or a control character, which servers and proxies refuse in an address`, hint)
	}
	return nil
}

// identities links the first identity of each provider, which is all a
// Keycloak user can have, and returns the others.
func (m mapper) identities(u *sdk.User, r *representation) (others []string) {
	linked := map[string]string{}
	for _, id := range u.Identities {
		alias := id.Provider
		if a, ok := m.aliases[id.Provider]; ok {
			alias = a
		}
		switch subject, ok := linked[alias]; {
		case ok && subject == id.Subject:
		case ok:
			others = append(others, alias+":"+id.Subject)
			r.notes = append(r.notes, fmt.Sprintf("only one %s identity can be linked; the other is kept in the attribute %s", alias, attrOtherIdentities))
		default:
			linked[alias] = id.Subject
			r.FederatedIdentities = append(r.FederatedIdentities, federatedIdentity{
				IdentityProvider: alias, UserID: id.Subject, UserName: cmp.Or(id.Name, u.Email, id.Subject),
			})
		}
	}
	return others
}

// memberships adds the roles of all tenants, the tenant groups, and the role and
// groups that the realm gives to every new user, which partialImport leaves out.
func (m mapper) memberships(u *sdk.User, r *representation) {
	roles := map[string]bool{}
	for tenant, names := range u.Roles {
		for _, name := range names {
			roles[name] = roles[name] || m.tenant == "" || m.tenant == tenant
		}
	}
	maps.DeleteFunc(roles, func(_ string, has bool) bool { return !has })
	delete(roles, m.defaultRole)
	r.RealmRoles = append([]string{m.defaultRole}, slices.Sorted(maps.Keys(roles))...)

	r.Groups = slices.Clone(m.defaultGroups)
	if m.tenant == "" && slices.ContainsFunc(u.Tenants, func(t string) bool { return t != "public" }) {
		switch m.tenants {
		case tenantsAsGroups:
			for _, t := range u.Tenants {
				r.Groups = append(r.Groups, tenantGroup(t))
			}
		case tenantsAsOrganizations:
			r.organizations = sorted(u.Tenants)
		}
	}
	slices.Sort(r.Groups)
	r.Groups = slices.Compact(r.Groups)
}

const tenantParent = "tenants"

func tenantGroup(tenant string) string { return "/" + tenantParent + "/" + tenant }

// millis is 0 for an unknown time.
func millis(t time.Time) int64 {
	if !known(t) {
		return 0
	}
	return t.UnixMilli()
}

// known is false for the zeros of upgraded SuperTokens databases, too.
func known(t time.Time) bool { return !t.IsZero() && t.UnixMilli() > 0 }

func length(s string) int {
	n := 0
	for _, c := range s {
		n += utf16.RuneLen(c)
	}
	return n
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }
