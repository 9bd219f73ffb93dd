package scim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/sdk"
)

// mapper turns desired users into SCIM resources. It does no I/O.
type mapper struct {
	config Config
	// extension says whether the extension may be sent.
	extension bool
	// takes says whether the server declares a top-level attribute or one of the
	// enterprise extension; nil takes everything.
	takes func(attribute string) bool
	// keepsOne says of which lists no more than one value may be sent; nil means none.
	keepsOne func(list string) bool
	// groups says whether there is a place for roles and tenants that become groups.
	groups bool
}

// desired is a user as the server should hold it.
type desired struct {
	source string
	body   resource // without password
	fields fields
	groups []string   // display names of groups
	secret sdk.Secret // for the attribute password of a new account
	left   []string   // what has no place at this server
	// withheld are memberships that only their names would give.
	withheld []sdk.PartLoss
	notes    []string // what else the operator should know
}

// user maps u, or says why SCIM cannot hold it.
func (m mapper) user(u *sdk.User) (*desired, *sdk.Outcome) {
	if strings.TrimSpace(u.Username) == "" {
		return nil, reject(u, sdk.CodeUsernameMissing, "the user has no name to sign in with", "let the mapping derive a username from the e-mail address, the phone number or the id")
	}
	if u.ID == "" {
		return nil, reject(u, sdk.CodeIDInvalid, "the user has no id", "run again; every account of SuperTokens has one")
	}
	d := &desired{source: u.SourceID, body: resource{
		"externalId": u.ID, "userName": userName(u.Username), "active": u.Enabled,
	}}
	m.names(u, d)
	m.contacts(u, d)
	if out := m.attributes(u, d); out != nil {
		return nil, out
	}
	m.memberships(u, d)
	if m.extension {
		m.extend(u, d)
	} else if m.config.Extension.Use != never {
		for _, part := range []struct {
			has  bool
			name string
		}{
			{u.EmailVerified != nil && *u.EmailVerified && u.Email != "", "emailVerified"},
			{len(u.Identities) > 0, "identities"},
			{u.Metadata != nil, "metadata"},
			{len(foreignTenants(u)) > 0 && m.config.Tenants == inExtension, "tenants"},
		} {
			if part.has {
				d.left = append(d.left, part.name)
			}
		}
	}
	m.prune(d)
	d.fields = flatten(d.body)
	if m.keepsOne != nil && m.keepsOne("emails") {
		d.single("emails")
	}
	m.password(u, d)
	return d, nil
}

func reject(u *sdk.User, code sdk.Code, detail, hint string) *sdk.Outcome {
	return &sdk.Outcome{SourceID: u.SourceID, Action: sdk.Rejected, Code: code, Detail: detail, Hint: hint}
}

// userName gives addresses one form: user names are unique whatever their letters,
// and servers that forget so in searches would not find another form.
func userName(name string) string {
	if strings.Contains(name, "@") {
		return strings.ToLower(name)
	}
	return name
}

func (m mapper) names(u *sdk.User, d *desired) {
	given, family := u.GivenName, u.FamilyName
	if m.config.NameFallback == "username" {
		name, _, _ := strings.Cut(u.Username, "@")
		if given == "" {
			given = name
		}
		if family == "" {
			family = name
		}
	}
	name := resource{}
	if given != "" {
		name["givenName"] = given
	}
	if family != "" {
		name["familyName"] = family
	}
	if len(name) == 0 {
		return
	}
	full := strings.TrimSpace(given + " " + family)
	name["formatted"] = full
	d.body["name"], d.body["displayName"] = name, full
}

func (m mapper) contacts(u *sdk.User, d *desired) {
	var emails []any
	add := func(address, kind string, verified *bool) {
		if address == "" || (m.config.Emails == "verified" && (verified == nil || !*verified)) ||
			(m.config.Emails == "first" && len(emails) > 0) {
			return
		}
		e := resource{"value": address, "type": kind}
		if len(emails) == 0 {
			e["primary"] = true // one, and the first: many servers keep only that
		}
		emails = append(emails, e)
	}
	add(u.Email, m.config.EmailType, u.EmailVerified)
	for _, o := range u.OtherEmails {
		add(o.Email, "other", o.Verified)
	}
	if len(emails) > 0 {
		d.body["emails"] = emails
	}
	if u.Phone != "" {
		d.body["phoneNumbers"] = []any{resource{"value": u.Phone, "type": m.config.PhoneType, "primary": true}}
	}
}

// attributes copies what the configuration names.
func (m mapper) attributes(u *sdk.User, d *desired) *sdk.Outcome {
	for _, path := range slices.Sorted(maps.Keys(m.config.Constants)) {
		put(d.body, path, m.config.Constants[path])
	}
	if len(m.config.Attributes) == 0 || u.Metadata == nil {
		return nil
	}
	metadata, err := decode(u.Metadata)
	if err != nil {
		return reject(u, sdk.CodeInvalidUser, "the metadata is no JSON object", "correct it in SuperTokens")
	}
	for _, key := range slices.Sorted(maps.Keys(m.config.Attributes)) {
		var v any = map[string]any(metadata)
		for step := range strings.SplitSeq(key, ".") {
			o, ok := objectOf(v)
			if !ok {
				v = nil
				break
			}
			v = o[step]
		}
		if v != nil {
			put(d.body, m.config.Attributes[key], v)
		}
	}
	return nil
}

// put sets an attribute by its path: title, name.middleName, urn:…:User:department.
func put(body resource, path string, v any) {
	if strings.HasPrefix(strings.ToLower(path), "urn:") {
		i := strings.LastIndexByte(path, ':')
		body, path = inside(body, path[:i]), path[i+1:]
	}
	if top, sub, deep := strings.Cut(path, "."); deep {
		body, path = inside(body, top), sub
	}
	switch path {
	case asRoles, asEntitlements:
		if s, ok := v.(string); ok {
			v = []any{resource{"value": s}}
		}
	case "locale", "preferredLanguage":
		if s, ok := v.(string); ok { // as BCP 47 has it
			v = strings.ReplaceAll(s, "_", "-")
		}
	}
	body.set(path, v)
}

// inside returns the object under a name, made where there is none.
func inside(body resource, name string) resource {
	if o, ok := objectOf(body.get(name)); ok {
		return o
	}
	o := resource{}
	body.set(name, o)
	return o
}

// publicTenant is the one that everybody is in.
const publicTenant = "public"

// foreignTenants are those that say something: everybody is in public.
func foreignTenants(u *sdk.User) []string {
	if slices.Equal(u.Tenants, []string{publicTenant}) {
		return nil
	}
	return u.Tenants
}

// tenantPrefix begins the names of groups that stand for tenants.
const tenantPrefix = "tenant:"

func (m mapper) memberships(u *sdk.User, d *desired) {
	roles := map[string]bool{}
	var merged []string
	for tenant, names := range u.Roles {
		for _, r := range names {
			switch {
			case m.config.Roles == asGroupsPerTenant && tenant != publicTenant:
				r = tenantPrefix + tenant + "/" + r
			case tenant != publicTenant && m.config.Roles != none:
				merged = append(merged, r+" ("+tenant+")")
			}
			roles[r] = true
		}
	}
	slices.Sort(merged)
	if len(merged) > 0 {
		d.notes = append(d.notes, "roles of one tenant that count for all tenants there: "+joinList(merged))
	}
	names := slices.Sorted(maps.Keys(roles))
	if len(names) > 0 {
		switch m.config.Roles {
		case asGroups, asGroupsPerTenant:
			d.groups = append(d.groups, names...)
		case asRoles, asEntitlements:
			var list []any
			if have, ok := d.body[m.config.Roles].([]any); ok {
				list = have
			}
			for _, n := range names {
				list = append(list, resource{"value": n})
			}
			d.body[m.config.Roles] = list
		}
	}
	if m.config.Tenants == asGroups {
		for _, t := range foreignTenants(u) {
			d.groups = append(d.groups, tenantPrefix+t)
		}
	}
	if len(d.groups) > 0 && !m.groups {
		d.groups = nil
		d.left = append(d.left, "groups")
	}
}

func (m mapper) extend(u *sdk.User, d *desired) {
	e, _ := d.body[m.config.Extension.URN].(resource)
	if e == nil {
		e = resource{}
	}
	if u.EmailVerified != nil && u.Email != "" {
		e["emailVerified"] = *u.EmailVerified
	}
	if u.PhoneVerified != nil && u.Phone != "" {
		e["phoneVerified"] = *u.PhoneVerified
	}
	if !u.Created.IsZero() {
		e["createdAt"] = u.Created.UTC().Format(time.RFC3339)
	}
	if t := foreignTenants(u); len(t) > 0 && m.config.Tenants == inExtension {
		e["tenants"] = t
	}
	var identities []any
	for _, i := range u.Identities {
		identities = append(identities, resource{"provider": i.Provider, "subject": i.Subject})
	}
	if identities != nil {
		e["identities"] = identities
	}
	if u.Metadata != nil {
		e["metadataJson"] = string(u.Metadata)
	}
	if len(e) > 0 {
		d.body[m.config.Extension.URN] = e
	}
}

// prune takes out what is not to be sent, and lists the schemas of the rest.
func (m mapper) prune(d *desired) {
	refused := func(path string) bool {
		return m.takes != nil && !m.takes(path) && !m.constant(path)
	}
	for name := range d.body {
		if o, ok := d.body[name].(resource); ok && strings.HasPrefix(strings.ToLower(name), "urn:") {
			for sub := range o {
				if path := name + ":" + sub; dropped(m.config.Drop, path) {
					delete(o, sub)
				} else if refused(path) {
					delete(o, sub)
					d.left = append(d.left, sub)
				}
			}
			if len(o) == 0 {
				delete(d.body, name)
			}
			continue
		}
		switch {
		case dropped(m.config.Drop, name):
			delete(d.body, name)
		case refused(name) && name != "externalId" && name != "userName":
			delete(d.body, name)
			if name != "displayName" && name != "active" { // nothing is lost with them
				d.left = append(d.left, name)
			}
		}
	}
	schemas := []string{coreUser}
	for _, name := range slices.Sorted(maps.Keys(d.body)) {
		if strings.HasPrefix(strings.ToLower(name), "urn:") {
			schemas = append(schemas, name)
		}
	}
	d.body["schemas"] = schemas
	slices.Sort(d.left)
	d.left = slices.Compact(d.left)
}

// constant reports whether the operator wants the attribute whatever the server says.
func (m mapper) constant(path string) bool {
	for have := range m.config.Constants {
		if strings.EqualFold(have, path) || strings.EqualFold(attributeOf(strings.ToLower(have)), path) {
			return true
		}
	}
	return false
}

func dropped(list []string, path string) bool {
	return slices.ContainsFunc(list, func(have string) bool { return strings.EqualFold(have, path) })
}

// password renders the hash in the form that the operator says the provider takes.
func (m mapper) password(u *sdk.User, d *desired) {
	if u.Password.IsZero() || !m.config.Password.HashesAccepted {
		return
	}
	if template := m.config.Password.Templates[string(u.Password.Scheme)]; template != "" {
		d.secret = sdk.NewSecret(strings.Replace(template, hashPlace, u.Password.Encode(), 1))
	}
}

// single leaves one value in a list.
func (d *desired) single(list string) {
	if all := elements(d.body.get(list)); len(all) > 1 {
		d.body.set(list, all[:1])
		d.left = append(d.left, "further "+list)
	}
	d.fields = flatten(d.body)
}

// encode is what is sent to create the user.
func (d *desired) encode() (json.RawMessage, error) {
	body := d.body
	if !d.secret.IsZero() {
		body = maps.Clone(body)
		body["password"] = d.secret.Reveal()
	}
	b, err := marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode user %s: %w", d.source, err)
	}
	return b, nil
}

// note is what the operator should know although the user is loaded.
func (d *desired) note() string { return strings.Join(d.notes, "; ") }

// placeless are the parts of a user that the server has no place for, or that it is not to
// get.
func (d *desired) placeless() []sdk.PartLoss {
	out := slices.Clone(d.withheld)
	for _, name := range d.left {
		l := sdk.PartLoss{Code: sdk.CodeNoPlace}
		l.Feature = featureOf(name)
		if l.Feature == "" {
			l.Feature, l.Attribute = sdk.CarriesMetadata, name
		}
		out = append(out, l)
	}
	return out
}

// featureOf is the feature of what an attribute carries, empty when nothing but metadata
// can be in it.
func featureOf(attribute string) sdk.Feature {
	top, _, _ := strings.Cut(strings.ToLower(attribute), ".")
	return features[top]
}

// features by the lower-case attributes that carry them.
var features = map[string]sdk.Feature{
	"emailverified": sdk.CarriesEmailVerified, "phoneverified": sdk.CarriesPhone, "phonenumbers": sdk.CarriesPhone, "createdat": sdk.CarriesCreated,
	"name": sdk.CarriesNames, "displayname": sdk.CarriesNames, "emails": sdk.PartEmail, "username": sdk.PartUsername, fieldPassword: sdk.PartPassword,
	"tenants": sdk.CarriesTenants, "identities": sdk.CarriesIdentities, "groups": sdk.CarriesRoles, "roles": sdk.CarriesRoles, "entitlements": sdk.CarriesRoles,
	"metadata": sdk.CarriesMetadata, "metadatajson": sdk.CarriesMetadata,
}
