package canonical

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"
)

// User is one account: everything one person signs in with and everything the
// application stored about them.
//
// Absent is not empty: a nil pointer, nil Metadata or zero time means that the
// source does not say. A time of exactly the Unix epoch is a stored zero, which
// [Known] tells apart from a real one. Slices are ordered as documented on each field, so that
// two reads of the same source are byte-identical.
type User struct {
	// App is the SuperTokens app ("public" where apps do not exist).
	App string
	// InternalID is the id that the source's own tables use.
	InternalID string
	// ID is the id applications have stored: the mapped external id where
	// there is one, else InternalID.
	ID string
	// ExternalIDInfo is the free text beside an id mapping.
	ExternalIDInfo *string
	// Primary says that other logins can be, or are, linked to the account.
	Primary bool
	// GhostPrimary says that the login which gave the account its id was deleted.
	GhostPrimary bool
	// TimeJoined is the earliest of its logins, zero when unknown.
	TimeJoined time.Time
	// Logins is ordered by TimeJoined, then ID.
	Logins []Login
	// Metadata is the application's JSON as stored, nil when there is no row.
	Metadata json.RawMessage
	// Roles maps a tenant to its sorted role names.
	Roles map[string][]string
	// TOTPDevices is ordered by Created, then Name.
	TOTPDevices []TOTPDevice
	// LastActive is zero when unknown.
	LastActive time.Time
	// Warnings are the findings about this account, in the order met.
	Warnings []Warning
}

// Known reports whether t is a real point in time: neither absent nor the
// stored zero that upgraded SuperTokens databases carry.
func Known(t time.Time) bool { return !t.IsZero() && t.UnixMilli() > 0 }

// Recipe is a way to sign in, in SuperTokens' words.
type Recipe string

// The recipes SuperTokens has.
const (
	EmailPassword Recipe = "emailpassword"
	ThirdParty    Recipe = "thirdparty"
	Passwordless  Recipe = "passwordless"
	WebAuthn      Recipe = "webauthn"
)

// Login is one way to sign in to an account.
type Login struct {
	Recipe Recipe
	// ID is the source's id of this login, VisibleID the one its API shows.
	ID, VisibleID string
	// Email as stored, nil when the login has none. FakeEmail says that it
	// was made up by the source and must never be used as a contact.
	Email     *string
	FakeEmail bool
	Phone     *string
	// Verified is nil where the source does not record it.
	Verified *bool
	// Identity is set for [ThirdParty].
	Identity *Identity
	// Password is zero for everything but [EmailPassword].
	Password PasswordHash
	// Passkeys is set for [WebAuthn].
	Passkeys   []Passkey
	TimeJoined time.Time
	// Tenants is sorted; empty when the login belongs to no tenant.
	Tenants []string
}

// Identity is a person at another identity provider.
type Identity struct {
	Provider string
	Subject  string
}

// Passkey is the public part of a WebAuthn credential. It works only at a
// target that serves the same RelyingParty id.
type Passkey struct {
	ID           string // base64url, as stored
	RelyingParty string
	Counter      int64
	Transports   json.RawMessage
	PublicKey    []byte // attested credential data: AAGUID, id length, id, COSE key
	Created      time.Time
}

// TOTPDevice is an authenticator app enrolled for the account: SHA-1 and six
// digits, which is all SuperTokens has.
type TOTPDevice struct {
	Name   string
	Secret Secret // RFC 4648 base32 as stored
	// Period is the step; Skew the number of steps accepted on either side.
	Period time.Duration
	Skew   int
	// Verified is false while the enrolment was never finished: such a device
	// must not become a factor in a target.
	Verified bool
	Created  time.Time
}

// Tenants returns the sorted union of the logins' tenants.
func (u *User) Tenants() []string {
	if len(u.Logins) == 0 {
		return nil
	}
	first := u.Logins[0].Tenants
	all := slices.Clip(first) // whoever appends gets a copy
	for i := range u.Logins[1:] {
		if more := u.Logins[1+i].Tenants; !slices.Equal(first, more) { // mostly all are in the same ones
			all = append(all, more...)
		}
	}
	if len(all) == len(first) {
		return first
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// String gives the ids and the shape of the account, no personal data.
func (u User) String() string {
	hashes := 0
	for i := range u.Logins {
		if !u.Logins[i].Password.IsZero() {
			hashes++
		}
	}
	return fmt.Sprintf("user %s (%d logins, %d password hashes, %d TOTP devices)", u.ID, len(u.Logins), hashes, len(u.TOTPDevices))
}

// Format prints [User.String] for every verb.
func (u User) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.String()) }

// LogValue implements [slog.LogValuer].
func (u User) LogValue() slog.Value { return slog.StringValue(u.String()) }

// String gives the recipe and the shape of the login, no personal data.
func (l Login) String() string {
	return fmt.Sprintf("%s login %s (password %s)", l.Recipe, l.ID, l.Password.Shape())
}

// Format prints [Login.String] for every verb.
func (l Login) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, l.String()) }

// LogValue implements [slog.LogValuer].
func (l Login) LogValue() slog.Value { return slog.StringValue(l.String()) }

// Warning is a finding about an account that an operator should know.
type Warning struct {
	// Code is stable. What it means, the reader of the source says.
	Code string
	// Detail says what was found, without secrets.
	Detail string
}

// Role is a role of an app. Which accounts have it, [User.Roles] says.
type Role struct {
	App  string
	Name string
	// Permissions are sorted; there may be none.
	Permissions []string
}
