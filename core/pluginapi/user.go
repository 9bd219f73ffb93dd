package pluginapi

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/stetl/stetl/core/canonical"
)

// User is the account as the target should store it: the result of the mapping of a
// [canonical.User]. Values that do not exist are zero. No value is made up.
type User struct {
	// SourceID is the internal id of the source. It names the user in outcomes, in the
	// journal and in reports. It is unique within a run.
	SourceID string
	// ID is the id that applications have stored. A target that can store ids stores
	// this one.
	ID string
	// Username is the name to sign in with, as the mapping has decided.
	Username string
	// Email is the contact address, never a made-up one. EmailVerified is nil if
	// the source does not know it.
	Email         string
	EmailVerified *bool
	// Phone is in the form that the source has, mostly E.164.
	Phone         string
	PhoneVerified *bool
	GivenName     string
	FamilyName    string
	// OtherEmails are further addresses of linked logins.
	OtherEmails []Address
	Enabled     bool
	// Created and LastActive are zero when unknown.
	Created    time.Time
	LastActive time.Time
	// Password is zero if there is none, or if the target cannot verify it. Class
	// says which of the two.
	Password canonical.PasswordHash
	Class    Class
	// Identities have the order of the source.
	Identities []Identity
	// TOTP holds only devices whose enrolment was finished.
	TOTP []canonical.TOTPDevice
	// Passkeys work only at a target that serves their relying party.
	Passkeys []Passkey
	// Tenants is sorted. Roles maps a tenant to sorted role names.
	Tenants []string
	Roles   map[string][]string
	// Metadata is the application's JSON object, nil when there is none.
	Metadata json.RawMessage

	// Existing says what may happen to an account that is already in the target.
	Existing Existing
	// Prior is what the host knows from earlier runs; zero for a user that was never sent.
	Prior Prior
	// Expect, if not nil, is the state (see [Outcome].State) that the account must
	// still have. If it has another one, the user is rejected with load.moved.
	Expect []byte
}

// Existing says what may happen to an account that is already in the target.
type Existing string

const (
	// Leave compares the existing account and does not change it. The outcome is
	// Unchanged, or Skipped with load.exists_differs.
	Leave Existing = ""
	// Update writes the fields in which the existing account differs, and no others.
	Update Existing = "update"
)

// Prior is what the host remembers of a user from earlier runs.
type Prior struct {
	// TargetID is the id that the target has given the account.
	TargetID string
	// State is the state of the last outcome.
	State []byte
	// InDoubt says that the user was sent and the answer was lost. The plugin looks the
	// account up before it writes anything.
	InDoubt bool
	// Linked are the target's ids of other accounts that earlier runs have loaded and
	// that were linked to this one in the source since then. The plugin may take
	// identities from these accounts, and from no others.
	Linked []string
}

// Account is an account that an earlier run has created. If Before is not nil, the run
// has updated it.
type Account struct {
	SourceID, TargetID string
	// State is the state in which the run has left the account.
	State []byte
	// Before is the pre-image of an update.
	Before []byte
	// ID is the id that the account should get, [User.ID].
	ID string
	// InDoubt says that a run has sent the account and has got no answer. The account may
	// not exist, and its TargetID may be unknown.
	InDoubt bool
	// SignedIn says that the account is deleted even if its user has signed in since then.
	SignedIn bool
	// Disable says that the account is switched off and not deleted. Release says that it
	// also gives up its address, its names and its identities. DryRun says that nothing is
	// written, and only the outcome is wanted. Undoer in core/sdk has the rules. All three need [CanDisable].
	Disable, Release, DryRun bool
}

// Format prints the id alone: a pre-image is personal data.
func (a Account) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "account "+a.SourceID) }

// LogValue implements [slog.LogValuer].
func (a Account) LogValue() slog.Value { return slog.StringValue("account " + a.SourceID) }

// Address is an e-mail address of a linked login.
type Address struct {
	Email    string
	Verified *bool
}

// Identity is a user of another identity provider. Name is for people, and usually the
// e-mail address that the user has there.
type Identity struct {
	Provider, Subject, Name string
}

// Passkey is the public part of a WebAuthn credential.
type Passkey struct {
	// ID is the credential id, base64url without padding.
	ID string
	// RelyingParty is the id of the relying party: a domain.
	RelyingParty string
	// Attested is the attested credential data of the registration (WebAuthn section
	// 6.5.2): AAGUID, length of the id, id, public key in COSE.
	Attested []byte
	// UserHandle is the authenticator's name for the user; nil if the source does not
	// know it.
	UserHandle []byte
	// Counter is the signature counter as last seen.
	Counter int64
	// Transports are those that the browser has named, such as "internal" or "usb".
	Transports []string
	// Name is the name that the person has given it.
	Name    string
	Created time.Time
}

// Class says what happens to the password of a user. Every user is in exactly one class.
type Class string

// The classes, decided before the first write.
const (
	// HashCarried: the old password will work in the target.
	HashCarried Class = "hash_carried"
	// NeedsReset: there is a password, and the target cannot verify its hash.
	NeedsReset Class = "needs_reset"
	// NoPassword: the account never had one.
	NoPassword Class = "no_password"
	// Filtered: the operator's filter leaves the account out, whatever password it
	// has. It is for counts; no user is sent with it.
	Filtered Class = "filtered"
)

// String gives ids and shape, no personal data.
func (u User) String() string {
	return fmt.Sprintf("user %s (%s, password %s)", u.SourceID, u.Class, u.Password.Shape())
}

// Format prints [User.String] for every verb.
func (u User) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.String()) }

// LogValue implements [slog.LogValuer].
func (u User) LogValue() slog.Value { return slog.StringValue(u.String()) }

// CanaryPrefix begins the source ids of canaries.
const CanaryPrefix = "stetl-canary-"

// Canary reports whether this is a test account and not from the source. It exists for a
// moment, to prove that passwords of its kind work, and belongs to no tenant.
func (u *User) Canary() bool { return strings.HasPrefix(u.SourceID, CanaryPrefix) }

// Role is a role of the source with its permissions.
type Role struct {
	Name string
	// Permissions are sorted. An empty list says that the role has none.
	Permissions []string
}
