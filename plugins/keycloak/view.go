package keycloak

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// The names of fields in plans. Attributes and identities have names of their own.
const (
	fieldUsername   = "username"
	fieldEmail      = "email"
	fieldEnabled    = "enabled"
	fieldGivenName  = "firstName"
	fieldFamilyName = "lastName"
	fieldPassword   = "password"
	fieldTOTP       = "totp"
	fieldRoles      = "roles"
	fieldGroups     = "groups"
	fieldTenancy    = "organizations"
	// What the realm keeps and shows to nobody.
	fieldHiddenAttributes = "hidden attributes"
	fieldHiddenIdentities = "hidden identities"
	// How the password is hashed: it only tells whether the server has exchanged the hash.
	fieldHashing = "hashing"

	prefixAttribute = "attributes."
	prefixIdentity  = "identity."
	// What no load writes: it only tells whether somebody has touched the account.
	prefixOthers = "others."
)

// view knows how a realm shows accounts, and what of them a load answers for.
type view struct {
	judge       reconcile.Judge
	visible     func(attribute string) bool
	defaultRole string
	// aliases are the realm's identity providers. The server keeps links to others and
	// shows none of them. Nil when they cannot be seen.
	aliases map[string]bool
	// mine reports whether a load has created an organization.
	mine func(name string) bool
}

func (v *view) accountFields(a *account) map[string]string {
	f := map[string]string{
		fieldUsername: a.Username, fieldEmail: a.Email, fieldGivenName: a.FirstName, fieldFamilyName: a.LastName,
		"emailVerified": strconv.FormatBool(a.EmailVerified), fieldEnabled: strconv.FormatBool(a.Enabled),
	}
	for name, values := range a.Attributes {
		if ours(name) && v.visible(name) {
			f[prefixAttribute+name] = list(values)
		}
	}
	return f
}

// wanted is the account as a load would leave it.
func (v *view) wanted(u *representation) reconcile.Wanted {
	f := v.accountFields(&u.account)
	f[fieldRoles] = list(slices.DeleteFunc(slices.Clone(u.RealmRoles), func(name string) bool { return name == v.defaultRole }))
	f[fieldGroups], f[fieldTenancy] = list(u.Groups), list(u.organizations)
	hidden := map[string][]string{}
	for name, values := range u.Attributes {
		if !v.visible(name) {
			hidden[name] = values
		}
	}
	var links, devices []string
	for _, l := range u.FederatedIdentities {
		if v.aliases[l.IdentityProvider] {
			f[prefixIdentity+l.IdentityProvider] = l.UserID
		} else {
			links = append(links, l.IdentityProvider+"\x00"+l.UserID)
		}
	}
	password, hashing := "", ""
	for _, c := range u.Credentials {
		whole := c.CredentialData + string(c.SecretData)
		if c.Type == typePassword {
			password, hashing = whole, hashingOf(c.CredentialData)
		} else {
			devices = append(devices, c.ID+whole)
		}
	}
	w := reconcile.Wanted{Fields: f, Secrets: []reconcile.Secret{
		{Field: fieldPassword, Feature: sdk.PartPassword, Value: password},
		{Field: fieldTOTP, Feature: sdk.CarriesTOTP, Value: strings.Join(sorted(devices), "\x00")},
		{Field: fieldHiddenIdentities, Feature: sdk.CarriesIdentities, Value: strings.Join(sorted(links), "\x00")},
		{Field: fieldHashing, Feature: sdk.PartPassword, Value: hashing},
		{Field: fieldHiddenAttributes, Feature: sdk.CarriesMetadata},
	}}
	if len(hidden) > 0 {
		w.Secrets[len(w.Secrets)-1].Value = text(hidden)
	}
	return w
}

// held is what the realm shows of an account. Wanted is empty where nobody asks what it
// should be. Last is what the last run has left: it tells a load's links from others'.
func (v *view) held(d *detail, w reconcile.Wanted, last reconcile.State) reconcile.Held {
	h := reconcile.Held{ID: d.ID, Fields: v.accountFields(&d.account), Personal: map[string]bool{}, Equal: map[string]bool{
		fieldHashing: true, // it goes with the password, never by itself
	}}
	for name, values := range d.Attributes {
		if !ours(name) {
			h.Fields[prefixOthers+name] = list(values)
		}
	}
	h.Fields[prefixOthers+"requiredActions"] = list(d.RequiredActions)
	v.credentials(&h, d, w)
	for _, l := range d.Links {
		name := prefixIdentity + l.Alias
		_, asked := w.Fields[name]
		if !asked && !last.Recorded(v.judge.Fingerprints, name) && (!h.Marked || !last.IsZero()) {
			name = prefixOthers + name // the person's own
		}
		h.Fields[name] = l.UserID
	}
	var roles, groups, kept, organizations, members []string
	for _, x := range d.Roles {
		if x.Name != v.defaultRole {
			roles = append(roles, x.Name)
		}
	}
	wantedGroups, wantedOrganizations := strings.Split(w.Fields[fieldGroups], separator), strings.Split(w.Fields[fieldTenancy], separator)
	for _, g := range d.Groups {
		groups = append(groups, g.Path)
		if strings.HasPrefix(g.Path, tenantGroup("")) || slices.Contains(wantedGroups, g.Path) {
			kept = append(kept, g.Path)
		}
	}
	for _, o := range d.Organizations {
		organizations = append(organizations, o.Name)
		if v.mine(o.Name) || slices.Contains(wantedOrganizations, o.Name) {
			members = append(members, o.Name)
		}
	}
	h.Fields[fieldRoles], h.Fields[fieldGroups], h.Fields[fieldTenancy] = list(roles), list(groups), list(organizations)
	h.Answerable = maps.Clone(h.Fields)
	h.Answerable[fieldGroups], h.Answerable[fieldTenancy] = list(kept), list(members)
	maps.DeleteFunc(h.Answerable, func(name, _ string) bool {
		return name == fieldPassword || name == fieldTOTP || strings.HasPrefix(name, prefixOthers)
	})
	return h
}

// credentials tells what the realm shows of them: whether they are there, and whose.
func (v *view) credentials(h *reconcile.Held, d *detail, w reconcile.Wanted) {
	var labels, others, devices []string
	password, carried := false, false
	for _, c := range d.Credentials {
		mine := ownCredential(d.ID, c.ID)
		h.Marked = h.Marked || mine
		switch {
		case c.Type == typePassword:
			password, carried = true, mine && c.UserLabel == passwordLabel
			h.Fields[fieldPassword] = passwordField(c.UserLabel, c.CreatedDate)
			h.Personal[fieldPassword] = c.UserLabel != passwordLabel
			h.Older = mine && c.ID != credentialID(d.ID, typePassword, runsMark(v.judge.Fingerprints))
		case c.Type == typeOTP && mine:
			labels, devices = append(labels, cmp.Or(c.UserLabel, "without a name")), append(devices, c.ID)
		default:
			others = append(others, c.Type+" "+c.ID)
		}
	}
	h.Fields[fieldTOTP], h.Fields[prefixOthers+"credentials"] = list(labels), list(others)
	for _, s := range w.Secrets {
		switch s.Field {
		case fieldPassword:
			switch {
			case !password:
				h.Equal[s.Field] = s.Value == ""
			case carried && s.Value == "":
				h.Equal[s.Field] = false // a load has brought it, and the source has none any more
			}
		case fieldTOTP:
			var wanted []string
			for part := range strings.SplitSeq(s.Value, "\x00") {
				if part != "" {
					wanted = append(wanted, part[:min(len(part), credentialIDSize)])
				}
			}
			if same := slices.Equal(sorted(wanted), sorted(devices)); !same || len(wanted) == 0 {
				h.Equal[s.Field] = same
			}
		}
	}
}

// hashingOf is how a password is hashed, in one spelling.
func hashingOf(data string) string {
	var d passwordData
	_ = json.Unmarshal([]byte(data), &d) // what is not read is another one
	return text(d)
}

// rehashed reports whether the server has exchanged the hash that a load has sent, as it
// does at a sign-in where its policy asks for another one.
func (v *view) rehashed(d *detail, last reconcile.State) bool {
	return slices.ContainsFunc(d.Credentials, func(c heldCredential) bool {
		return c.Type == typePassword && c.UserLabel == passwordLabel && last.SentAnother(v.judge.Fingerprints, fieldHashing, hashingOf(c.Data))
	})
}

// know adds what the server has said of credentials.
func know(h *reconcile.Held, u *representation, equal map[string]bool) {
	if same, told := equal[typePassword]; told {
		h.Equal[fieldPassword] = same
	}
	if _, seen := h.Equal[fieldTOTP]; seen {
		return
	}
	all, told := true, true
	for _, c := range u.Credentials {
		if c.Type == typeOTP {
			same, ok := equal[c.ID]
			all, told = all && same, told && ok
		}
	}
	if told {
		h.Equal[fieldTOTP] = all
	}
}

// made is what the realm shows of an account that a load has just created.
func (v *view) made(u *representation) *detail {
	d := &detail{account: u.account}
	for _, c := range u.Credentials {
		d.Credentials = append(d.Credentials, heldCredential{ID: c.ID, Type: c.Type, UserLabel: c.UserLabel, CreatedDate: c.CreatedDate})
	}
	for _, name := range u.RealmRoles {
		d.Roles = append(d.Roles, role{Name: name})
	}
	for _, path := range u.Groups {
		d.Groups = append(d.Groups, group{Path: path})
	}
	for _, name := range u.organizations {
		d.Organizations = append(d.Organizations, organization{Name: name})
	}
	for _, l := range u.FederatedIdentities {
		if v.aliases[l.IdentityProvider] {
			d.Links = append(d.Links, link{l.IdentityProvider, l.UserID, l.UserName})
		}
	}
	return d
}

// left is the state of an account that has been written.
func (v *view) left(d *detail, w reconcile.Wanted, last reconcile.State, open map[string]bool) []byte {
	return v.judge.Left(w, v.held(d, w, last).Fields, open)
}

// passwordField names a password by what the server shows of it. The algorithm is
// not part of it: the server exchanges that at the first sign-in. A password that
// its owner has changed loses the label.
func passwordField(label string, created int64) string {
	if label == passwordLabel {
		return fmt.Sprintf("carried over, of %d", created)
	}
	return fmt.Sprintf("set in Keycloak, of %d", created)
}

const separator = ", "

func list(names []string) string { return strings.Join(sorted(names), separator) }
