package pluginapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/canonical"
)

// Field is a part of a [User], with all that the core knows of it: what it is
// called, what a target must declare to get it, who may read and set it, and what
// becomes of it when two accounts are made one. What it holds follows from its type.
type Field struct {
	// Name is what rules, examples and errors call it.
	Name string
	// Feature is what a target has to declare to get the field; a field without one
	// goes to every target.
	Feature Feature
	// Rules says what mapping rules may do with it.
	Rules Access
	// Unwritten says that no target is asked to hold it: a change of it alone is no
	// reason to write, and no digest has it.
	Unwritten bool
	// Kind is what it holds, as far as rules are concerned. It follows from the type.
	Kind Kind

	at    func(*User) any
	merge func(u, guest *User)
}

// Access is what mapping rules may do with a field.
type Access uint8

// The kinds of access, each with those before it.
const (
	Hidden Access = iota
	Readable
	Settable
)

// Kind is what a field holds.
type Kind uint8

// The kinds. Those that rules can do nothing with have no name outside.
const (
	other   Kind = iota
	Text         // a string
	Flag         // a bool
	Unknown      // a *bool, nil where nobody knows
	Moment       // a time, zero where nobody knows
	Texts        // a list of names
	TextMap      // lists of names, by name
	Object       // JSON
	Word         // one of the words of this program, as a class
	password
	addresses
	identities
	devices
	passkeys
)

func kindOf(p any) Kind {
	switch p.(type) {
	case *string:
		return Text
	case *bool:
		return Flag
	case **bool:
		return Unknown
	case *time.Time:
		return Moment
	case *[]string:
		return Texts
	case *map[string][]string:
		return TextMap
	case *json.RawMessage:
		return Object
	case *Class:
		return Word
	case *canonical.PasswordHash:
		return password
	case *[]Address:
		return addresses
	case *[]Identity:
		return identities
	case *[]canonical.TOTPDevice:
		return devices
	case *[]Passkey:
		return passkeys
	default:
		return other
	}
}

// Fields lists every field of [User]. The order is that of the digest: a change of it
// changes the digests of all accounts, and so does a new field.
//
// A field that is missing here is never sent on by the core's own means, so a test
// holds the list against the struct.
func Fields() []Field { return slices.Clone(fields) }

var fields = withKinds([]Field{
	{Name: "source_id", Rules: Readable, at: func(u *User) any { return &u.SourceID }, merge: keep},
	{Name: "id", Feature: CarriesID, Rules: Settable, at: func(u *User) any { return &u.ID }, merge: keep},
	{Name: "username", Rules: Settable, at: func(u *User) any { return &u.Username }, merge: keep},
	{Name: "email", Rules: Settable, at: func(u *User) any { return &u.Email }, merge: keep},
	{Name: "phone", Feature: CarriesPhone, Rules: Settable, at: func(u *User) any { return &u.Phone }, merge: mergePhone},
	{Name: "given_name", Feature: CarriesNames, Rules: Settable, at: func(u *User) any { return &u.GivenName }, merge: mergeNames},
	{Name: "family_name", Feature: CarriesNames, Rules: Settable, at: func(u *User) any { return &u.FamilyName }, merge: withAnother},
	{Name: "class", Rules: Readable, at: func(u *User) any { return &u.Class }, merge: mergePassword},
	{Name: "password", at: func(u *User) any { return &u.Password }, merge: withAnother},
	{Name: "metadata", Feature: CarriesMetadata, Rules: Settable, at: func(u *User) any { return &u.Metadata }, merge: mergeMetadata},
	{Name: "email_verified", Feature: CarriesEmailVerified, Rules: Settable, at: func(u *User) any { return &u.EmailVerified }, merge: keep},
	{Name: "phone_verified", Feature: CarriesPhone, Rules: Settable, at: func(u *User) any { return &u.PhoneVerified }, merge: withAnother},
	{Name: "enabled", Rules: Settable, at: func(u *User) any { return &u.Enabled }, merge: keep},
	{Name: "created", Feature: CarriesCreated, Rules: Readable, at: func(u *User) any { return &u.Created }, merge: keep},
	{Name: "other_emails", at: func(u *User) any { return &u.OtherEmails }, merge: mergeOtherEmails},
	{Name: "identities", Feature: CarriesIdentities, at: func(u *User) any { return &u.Identities }, merge: mergeIdentities},
	{Name: "totp", Feature: CarriesTOTP, at: func(u *User) any { return &u.TOTP }, merge: func(u, guest *User) {
		if len(u.TOTP) == 0 { // one set of authenticators stays
			u.TOTP = guest.TOTP
		}
	}},
	{Name: "tenants", Feature: CarriesTenants, Rules: Settable, at: func(u *User) any { return &u.Tenants }, merge: func(u, guest *User) {
		u.Tenants = union(u.Tenants, guest.Tenants)
	}},
	{Name: "roles", Feature: CarriesRoles, Rules: Settable, at: func(u *User) any { return &u.Roles }, merge: mergeRoles},
	{Name: "passkeys", Feature: CarriesPasskeys, at: func(u *User) any { return &u.Passkeys }, merge: func(u, guest *User) {
		u.Passkeys = append(slices.Clip(u.Passkeys), guest.Passkeys...)
	}},
	{Name: "last_active", Rules: Readable, Unwritten: true, at: func(u *User) any { return &u.LastActive }, merge: keep},

	// How the account is to be treated.
	{Name: "existing", Unwritten: true, at: func(u *User) any { return &u.Existing }, merge: keep},
	{Name: "prior", Unwritten: true, at: func(u *User) any { return &u.Prior }, merge: keep},
	{Name: "expect", Unwritten: true, at: func(u *User) any { return &u.Expect }, merge: keep},
})

func withKinds(list []Field) []Field {
	for i := range list {
		list[i].Kind = kindOf(list[i].at(new(User)))
	}
	return list
}

// At points to the field of u.
func (f *Field) At(u *User) any { return f.at(u) }

// Empty says whether u has nothing there.
//
//nolint:forcetypeassert // the kind follows from the type
func (f *Field) Empty(u *User) bool {
	p := f.at(u)
	switch f.Kind { // most are empty or text, and every account is asked
	case Text:
		return *p.(*string) == ""
	case Unknown:
		return *p.(**bool) == nil
	case Moment:
		return p.(*time.Time).IsZero()
	case Object:
		return *p.(*json.RawMessage) == nil
	case Texts:
		return len(*p.(*[]string)) == 0
	case TextMap:
		return len(*p.(*map[string][]string)) == 0
	case identities:
		return len(*p.(*[]Identity)) == 0
	case devices:
		return len(*p.(*[]canonical.TOTPDevice)) == 0
	case passkeys:
		return len(*p.(*[]Passkey)) == 0
	default:
		return reflect.ValueOf(p).Elem().IsZero()
	}
}

// clear leaves nothing there. Only what has a feature can be taken away.
func (f *Field) clear(u *User) {
	switch p := f.at(u).(type) {
	case *string:
		*p = ""
	case **bool:
		*p = nil
	case *time.Time:
		*p = time.Time{}
	case *json.RawMessage:
		*p = nil
	case *[]Identity:
		*p = nil
	case *[]canonical.TOTPDevice:
		*p = nil
	case *[]Passkey:
		*p = nil
	case *[]string:
		*p = nil
	case *map[string][]string:
		*p = nil
	default:
		panic(fmt.Sprintf("target: nobody knows how to take a %T away", p))
	}
}

// Merge adds what guest can do to u, which stays: its own identifiers, password and
// authenticators win.
func Merge(u, guest *User) {
	for i := range fields {
		fields[i].merge(u, guest)
	}
}

// keep leaves u what it has: the field says who the account is.
func keep(_, _ *User) {}

// withAnother is for a field that another one brings along.
func withAnother(_, _ *User) {}

func mergePhone(u, guest *User) {
	if u.Phone == "" {
		u.Phone, u.PhoneVerified = guest.Phone, guest.PhoneVerified
	}
}

func mergeNames(u, guest *User) {
	if u.GivenName == "" && u.FamilyName == "" {
		u.GivenName, u.FamilyName = guest.GivenName, guest.FamilyName
	}
}

func mergePassword(u, guest *User) {
	if u.Class == NoPassword {
		u.Class, u.Password = guest.Class, guest.Password
	}
}

func mergeRoles(u, guest *User) {
	if len(guest.Roles) == 0 {
		return
	}
	roles := maps.Clone(u.Roles)
	if roles == nil {
		roles = map[string][]string{}
	}
	for tenant, more := range guest.Roles {
		roles[tenant] = union(roles[tenant], more)
	}
	u.Roles = roles
}

func mergeOtherEmails(u, guest *User) {
	for _, a := range guest.OtherEmails {
		known := func(o Address) bool { return strings.EqualFold(o.Email, a.Email) }
		if !strings.EqualFold(a.Email, u.Email) && !slices.ContainsFunc(u.OtherEmails, known) {
			u.OtherEmails = append(slices.Clip(u.OtherEmails), a)
		}
	}
}

func mergeIdentities(u, guest *User) {
	for _, i := range guest.Identities {
		known := func(o Identity) bool { return o.Provider == i.Provider && o.Subject == i.Subject }
		if !slices.ContainsFunc(u.Identities, known) {
			u.Identities = append(slices.Clip(u.Identities), i)
		}
	}
}

// mergeMetadata adds keys that u does not have.
func mergeMetadata(u, guest *User) {
	var mine, theirs map[string]json.RawMessage
	if guest.Metadata == nil || json.Unmarshal(guest.Metadata, &theirs) != nil {
		return
	}
	if u.Metadata == nil {
		u.Metadata = guest.Metadata
		return
	}
	if json.Unmarshal(u.Metadata, &mine) != nil {
		return
	}
	before := len(mine)
	for key, value := range theirs {
		if _, ok := mine[key]; !ok {
			mine[key] = value
		}
	}
	if len(mine) == before {
		return
	}
	if raw, err := json.Marshal(mine); err == nil {
		u.Metadata = raw
	}
}

// union is sorted, and shares no memory with the two.
func union(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}
