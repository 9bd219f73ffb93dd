package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// identity is an account as Kratos shows it.
type identity struct {
	ID          string                `json:"id"`
	SchemaID    string                `json:"schema_id"`
	State       string                `json:"state"`
	Traits      object                `json:"traits"`
	Credentials map[string]credential `json:"credentials"`
	Addresses   []address             `json:"verifiable_addresses"`
	Public      object                `json:"metadata_public"`
	Admin       object                `json:"metadata_admin"`
}

// credential is a way to sign in: "password", or "oidc" for all other providers together.
type credential struct {
	Identifiers []string `json:"identifiers"`
	Config      struct {
		Hash string `json:"hashed_password,omitempty"`
	} `json:"config"`
}

// address is one that a person can prove to have.
type address struct {
	Value    string `json:"value"`
	Via      string `json:"via"`
	Verified bool   `json:"verified"`
}

// The ways to prove an address.
const (
	byMail = "email"
	bySMS  = "sms"
)

// Identities know whom they are of in two ways. Applications read the id that they have
// stored in the public metadata, which each session carries. The plugin finds it by an
// identifier of a provider that nobody signs in with: Kratos lets no two identities have the
// same, so that not even a request that was sent twice makes somebody twice.
const (
	keyID       = "external_id" // in the public metadata
	keyMetadata = "supertokens" // in that for administrators
	marker      = "supertokens" // the provider
)

func markOf(userID string) string { return marker + ":" + userID }

// links are the identifiers at other providers, the mark among them.
func (i *identity) links() []string { return i.Credentials["oidc"].Identifiers }

// marked reports whether a load has made the identity.
func (i *identity) marked() bool {
	return slices.ContainsFunc(i.links(), func(link string) bool { return strings.HasPrefix(link, marker+":") })
}

// verified reports whether a person has proven to have an address.
func (i *identity) verified(value, via string) bool {
	return slices.ContainsFunc(i.Addresses, func(a address) bool { return a.is(value, via) && a.Verified })
}

// is compares as Kratos does, which keeps e-mail addresses in lower case.
func (a address) is(value, via string) bool {
	return a.Via == via && strings.EqualFold(a.Value, strings.TrimSpace(value)) && value != ""
}

// mapper knows what of a user goes where.
type mapper struct{ config config }

// fields is what is compared between what Kratos has and what it should have.
func (m *mapper) fields(i *identity) map[string]string {
	fields := map[string]string{"state": i.State, "external_id": text(i.Public[keyID]), "metadata": text(i.Admin[keyMetadata])}
	for _, p := range m.config.Traits.paths() {
		fields[p.name] = i.Traits.get(p.trait)
	}
	if i.verified(fields["email"], byMail) {
		fields["email_verified"] = "yes"
	}
	if i.verified(fields["phone"], bySMS) {
		fields["phone_verified"] = "yes"
	}
	for _, link := range i.links() {
		fields["link "+link] = "yes"
	}
	return fields
}

// wanted is what the identity should be that is have now, which is nil when there is none.
// What is in it and of no user stays.
func (m *mapper) wanted(u *sdk.User, have *identity) *identity {
	want := &identity{SchemaID: m.config.Schema, Traits: object{}, Public: object{}, Admin: object{}}
	if have != nil {
		want.ID, want.SchemaID = have.ID, have.SchemaID
		want.Traits, want.Public, want.Admin = have.Traits.clone(), have.Public.clone(), have.Admin.clone()
	}
	want.State = "inactive"
	if u.Enabled {
		want.State = "active"
	}
	of := m.config.Traits
	for trait, value := range map[string]string{of.Email: u.Email, of.Username: u.Username, of.Phone: u.Phone, of.GivenName: u.GivenName, of.FamilyName: u.FamilyName} {
		want.Traits.set(trait, value)
	}
	want.Addresses = []address{
		{Value: u.Email, Via: byMail, Verified: u.EmailVerified != nil && *u.EmailVerified},
		{Value: u.Phone, Via: bySMS, Verified: u.PhoneVerified != nil && *u.PhoneVerified && of.Phone != ""},
	}
	want.Public[keyID] = u.ID
	delete(want.Admin, keyMetadata)
	if len(u.Metadata) > 0 {
		want.Admin[keyMetadata] = decode(u.Metadata)
	}
	want.Credentials = map[string]credential{"oidc": {Identifiers: append(m.links(u), markOf(u.ID))}}
	return want
}

// links are the identifiers of a user at other providers, as Kratos calls these.
func (m *mapper) links(u *sdk.User) (links []string) {
	for _, other := range u.Identities {
		provider, renamed := m.config.Providers[other.Provider]
		if !renamed {
			provider = other.Provider
		}
		links = append(links, provider+":"+other.Subject)
	}
	return links
}

// secrets is what Kratos takes and nobody compares: it makes another hash of a password at
// the first sign-in.
func (m *mapper) secrets(u *sdk.User) []reconcile.Secret {
	hash, _ := m.hash(u.Password)
	return []reconcile.Secret{{Field: "password", Feature: sdk.PartPassword, Value: hash}}
}

// wantedOf is the identity as the rules of the host want it: what Kratos shows, and what it
// only takes.
func (m *mapper) wantedOf(u *sdk.User, have *identity) reconcile.Wanted {
	return reconcile.Wanted{Fields: m.fields(m.wanted(u, have)), Secrets: m.secrets(u)}
}

// hash writes a hash as Kratos reads it. problem says why it cannot.
func (m *mapper) hash(h sdk.PasswordHash) (hash, problem string) {
	std, raw := base64.StdEncoding.EncodeToString, base64.RawStdEncoding.EncodeToString
	switch h.Scheme {
	case "":
		return "", ""
	case sdk.Bcrypt:
		return h.Encode(), ""
	case sdk.Argon2id, sdk.Argon2i:
		if h.Argon2.Version != 19 {
			return "", fmt.Sprintf("Kratos knows version 19 of argon2, and this is version %d", h.Argon2.Version)
		}
		p := h.Argon2
		return fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d$%s$%s", h.Scheme, p.MemoryKiB, p.Iterations, p.Parallelism, raw(h.Salt()), raw(h.Digest())), ""
	case sdk.FirebaseScrypt:
		p := h.Firebase
		return fmt.Sprintf("$firescrypt$ln=%d,r=%d,p=1$%s$%s$%s$%s", p.MemoryCost, p.Rounds, std(h.Salt()), std(h.Digest()), std(p.Separator()), m.config.SignerKey.Reveal()), ""
	default:
		return "", "Kratos knows no hashes of this kind"
	}
}

// object is a JSON object whose numbers stay as they are written. Anything else is empty.
type object map[string]any

// UnmarshalJSON implements [json.Unmarshaler].
func (o *object) UnmarshalJSON(b []byte) error { //nolint:unparam // the interface has the error
	m, _ := decode(b).(map[string]any)
	*o = m
	return nil
}

func decode(b []byte) (value any) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	_ = d.Decode(&value) // what is no JSON is no value
	return value
}

// text is a value for comparing; an absent one is empty.
func text(value any) string {
	if s, ok := value.(string); ok || value == nil {
		return s
	}
	b, _ := json.Marshal(value) // of what was JSON
	return string(b)
}

func (o object) clone() object {
	b, _ := json.Marshal(o) // of what was JSON
	c, _ := decode(b).(map[string]any)
	if c == nil {
		c = object{}
	}
	return c
}

// get reads the text at a path.
func (o object) get(path string) string {
	name, rest, inside := strings.Cut(path, ".")
	if !inside {
		return text(o[name])
	}
	inner, _ := o[name].(map[string]any)
	return object(inner).get(rest)
}

// set writes the text at a path; an empty one is taken away. Without a path it does nothing.
func (o object) set(path, value string) {
	name, rest, inside := strings.Cut(path, ".")
	if !inside {
		o[name] = value
		if value == "" || name == "" {
			delete(o, name)
		}
		return
	}
	inner, _ := o[name].(map[string]any)
	if inner == nil {
		inner = map[string]any{}
	}
	object(inner).set(rest, value)
	o[name] = inner
	if len(inner) == 0 {
		delete(o, name)
	}
}
