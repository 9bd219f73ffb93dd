package keycloak

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// detail is everything of an account that a load sets, as the server shows it.
// Hashes and secrets cannot be read.
type detail struct {
	account
	RequiredActions []string         `json:"requiredActions,omitempty"`
	Credentials     []heldCredential `json:"heldCredentials"`
	Roles           []role           `json:"heldRoles"`
	Groups          []group          `json:"heldGroups"`
	Links           []link           `json:"heldLinks"`
	Organizations   []organization   `json:"heldOrganizations,omitempty"`
}

type heldCredential struct {
	ID          string `json:"id"`
	Type        string `json:"type"`
	UserLabel   string `json:"userLabel"`
	CreatedDate int64  `json:"createdDate"`
}

type role struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type group struct {
	ID   string `json:"id"`
	Path string `json:"path"`
}

type link struct {
	Alias    string `json:"identityProvider"`
	UserID   string `json:"userId"`
	UserName string `json:"userName"`
}

// detail reads one account, nil when the realm has no such id. What is known of it
// already, held and its memberships, is not asked for again.
func (t *live) detail(ctx context.Context, r *openRealm, id string, held *account, from *roster) (*detail, error) {
	if held == nil {
		var err error
		if held, err = t.api.userByID(ctx, id); held == nil || err != nil {
			return nil, err
		}
	}
	d := &detail{account: *held}
	type part struct {
		path []string
		into any
	}
	parts := []part{{[]string{"users", id, "credentials"}, &d.Credentials}}
	if from != nil {
		d.Roles, d.Groups = from.roles[id], from.groups[id]
	} else {
		parts = append(parts, part{[]string{"users", id, "role-mappings", "realm"}, &d.Roles}, part{[]string{"users", id, "groups"}, &d.Groups})
	}
	if r.aliases == nil || len(r.aliases) > 0 { // else the server would show no links
		parts = append(parts, part{[]string{"users", id, "federated-identity"}, &d.Links})
	}
	for _, p := range parts {
		err := t.api.read(ctx, t.api.realmPath(p.path...), url.Values{"max": {"1000"}}, p.into)
		if status(err) == http.StatusNotFound {
			return nil, nil //nolint:nilnil // it has gone meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("read the account %s: %w", id, err)
		}
	}
	return d, t.readOrganizations(ctx, d, from)
}

// readOrganizations fills in what the account is a member of, where that counts.
func (t *live) readOrganizations(ctx context.Context, d *detail, from *roster) error {
	if t.config.Tenants != tenantsAsOrganizations {
		return nil
	}
	if from != nil {
		d.Organizations = from.organizations[d.ID]
		return nil
	}
	path := t.api.realmPath("organizations", "members", d.ID, "organizations")
	err := t.api.read(ctx, path, url.Values{"max": {"1000"}}, &d.Organizations)
	if err != nil && status(err) != http.StatusNotFound { // it has gone meanwhile
		return fmt.Errorf("read the organizations of account %s: %w", d.ID, err)
	}
	return nil
}

// The names of fields in plans. Attributes and identities have names of their own.
const (
	fieldPassword   = "password"
	fieldTOTP       = "totp"
	fieldRoles      = "roles"
	fieldGroups     = "groups"
	fieldTenancy    = "organizations"
	prefixAttribute = "attributes."
	prefixIdentity  = "identity."
)

func (r *openRealm) accountFields(a *account) map[string]string {
	f := map[string]string{
		"username": a.Username, "email": a.Email, "firstName": a.FirstName, "lastName": a.LastName,
		"emailVerified": strconv.FormatBool(a.EmailVerified), "enabled": strconv.FormatBool(a.Enabled),
	}
	for name, values := range a.Attributes {
		if ours(name) && r.directory.visible(name) {
			f[prefixAttribute+name] = strings.Join(sorted(values), ", ")
		}
	}
	return f
}

// wanted are the fields that an account will have, as plans and states name them.
func (r *openRealm) wanted(u *representation) map[string]string {
	f := r.accountFields(&u.account)
	var labels []string
	for _, c := range u.Credentials {
		if c.Type == "password" {
			f[fieldPassword] = passwordField(c.UserLabel, c.CreatedDate)
		} else {
			labels = append(labels, c.UserLabel)
		}
	}
	f[fieldTOTP] = list(labels)
	f[fieldRoles] = list(slices.DeleteFunc(slices.Clone(u.RealmRoles), func(name string) bool { return name == r.mapper.defaultRole }))
	f[fieldGroups] = list(u.Groups)
	f[fieldTenancy] = list(u.organizations)
	for _, l := range u.FederatedIdentities {
		if r.shown(l.IdentityProvider) {
			f[prefixIdentity+l.IdentityProvider] = l.UserID
		}
	}
	return f
}

// held are all fields of an account that is there.
func (r *openRealm) held(d *detail) map[string]string {
	f := r.accountFields(&d.account)
	var labels, roles, groups []string
	for _, c := range d.Credentials {
		switch c.Type {
		case "password":
			f[fieldPassword] = passwordField(c.UserLabel, c.CreatedDate)
		case "otp":
			labels = append(labels, c.UserLabel)
		}
	}
	for _, x := range d.Roles {
		if x.Name != r.mapper.defaultRole {
			roles = append(roles, x.Name)
		}
	}
	for _, g := range d.Groups {
		groups = append(groups, g.Path)
	}
	var organizations []string
	for _, o := range d.Organizations {
		organizations = append(organizations, o.Name)
	}
	f[fieldTOTP], f[fieldRoles], f[fieldGroups], f[fieldTenancy] = list(labels), list(roles), list(groups), list(organizations)
	for _, l := range d.Links {
		f[prefixIdentity+l.Alias] = l.UserID
	}
	return f
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

func carried(password string) bool { return strings.HasPrefix(password, "carried over") }

func list(names []string) string { return strings.Join(sorted(names), ", ") }

// compared restricts what is held to what a load would write: others' attributes,
// groups, devices and identities are none of its business.
func compared(held, want map[string]string, u *representation, mine func(organization) bool) map[string]string {
	f := maps.Clone(held)
	for name := range held {
		if _, asked := want[name]; !asked && strings.HasPrefix(name, prefixIdentity) {
			delete(f, name)
		}
	}
	if want[fieldPassword] == "" || (held[fieldPassword] != "" && !carried(held[fieldPassword])) {
		// Never asked for, or chosen by its owner since: either way not ours to set.
		f[fieldPassword] = want[fieldPassword]
	}
	f[fieldTOTP] = common(held[fieldTOTP], want[fieldTOTP])
	kept := slices.DeleteFunc(strings.Split(held[fieldGroups], ", "), func(path string) bool {
		return !strings.HasPrefix(path, tenantGroup("")) && !slices.Contains(u.Groups, path)
	})
	f[fieldGroups] = list(kept)
	f[fieldTenancy] = list(slices.DeleteFunc(strings.Split(held[fieldTenancy], ", "), func(name string) bool {
		return !slices.Contains(u.organizations, name) && !mine(organization{Name: name})
	}))
	return f
}

// common keeps of a list what another one has, too.
func common(listed, other string) string {
	wanted := strings.Split(other, ", ")
	return list(slices.DeleteFunc(strings.Split(listed, ", "), func(name string) bool { return !slices.Contains(wanted, name) }))
}

// A state is a fingerprint of the secrets that were last sent, which cannot be
// read back, and one of everything that can.
const secretSize = 9

func (t *live) state(secrets []byte, fields map[string]string) []byte {
	return append(slices.Clone(secrets), t.env.Fingerprints.State(fields)...)
}

// secrets fingerprints the credentials of a user.
func (t *live) secrets(u *representation) []byte {
	var b bytes.Buffer
	for _, c := range u.Credentials {
		b.WriteString(string(c.SecretData))
		b.WriteString(c.CredentialData)
	}
	return []byte(t.env.Fingerprints.Of(b.String()))
}

// sent splits a state: the secrets last sent, none when that is unknown, and the rest.
func sent(state []byte) (secrets, rest []byte) {
	if len(state) < secretSize {
		return make([]byte, secretSize), nil
	}
	return state[:secretSize], state[secretSize:]
}

// compare fills a verdict about an account that is there and may be updated.
func (t *live) compare(r *openRealm, v *verdict, u *sdk.User, d *detail) {
	want, all := r.wanted(v.user), r.held(d)
	now := compared(all, want, v.user, r.mine)
	last, rest := sent(u.Prior.State)
	fresh := t.secrets(v.user)
	v.held, v.outcome.TargetID, v.outcome.State = d, d.ID, t.state(last, all)
	names := slices.Collect(maps.Keys(now))
	for name := range want {
		if _, ok := now[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if now[name] != want[name] {
			v.fields = append(v.fields, sdk.FieldChange{
				Field: name, Old: now[name], New: want[name], Drift: t.env.Fingerprints.Drifted(rest, name, all[name]),
			})
		}
	}
	if known := len(rest) > 0; known && !bytes.Equal(last, fresh) && carried(all[fieldPassword]) && carried(want[fieldPassword]) {
		v.fields = append(v.fields, sdk.FieldChange{Field: "credentials", Old: string(last), New: string(fresh)})
		v.replace = true
	}
	switch {
	case len(v.fields) == 0:
		v.outcome.Action = sdk.Unchanged
	case u.Expect != nil && !bytes.Equal(u.Expect, v.outcome.State):
		v.outcome.Action, v.outcome.Code = sdk.Rejected, sdk.CodeMoved
		v.outcome.Detail = "the account has changed in the realm since it was looked at"
	default:
		v.outcome.Action = sdk.Updated
		for _, f := range v.fields {
			v.outcome.Changed = append(v.outcome.Changed, f.Field)
		}
	}
}
