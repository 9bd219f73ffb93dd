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

// User is the account as the target should hold it: the result of mapping a
// [canonical.User]. Absent values are zero; nothing in it is a default that a
// target must second-guess.
type User struct {
	// SourceID is the source's internal id. It names the user in outcomes,
	// journals and reports and is unique within a run.
	SourceID string
	// ID is the id applications have stored. A target that can keep ids keeps
	// this one.
	ID string
	// Username is the name to sign in with, as mapping decided.
	Username string
	// Email is the contact address, never a made-up one. EmailVerified is nil
	// where the source does not know.
	Email         string
	EmailVerified *bool
	// Phone is in E.164 where the source has it so.
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
	// Password is zero when there is none or when the target cannot take it;
	// Class tells which.
	Password canonical.PasswordHash
	Class    Class
	// Identities are ordered as the source has them.
	Identities []Identity
	// TOTP holds finished enrolments only.
	TOTP []canonical.TOTPDevice
	// Passkeys work at a target that serves their relying party, and nowhere else.
	Passkeys []Passkey
	// Tenants is sorted. Roles maps a tenant to sorted role names.
	Tenants []string
	Roles   map[string][]string
	// Metadata is the application's JSON object, nil when there is none.
	Metadata json.RawMessage

	// Existing says what may happen to an account that is already in the target.
	Existing Existing
	// Prior is what an earlier run left behind; zero for a user never sent.
	Prior Prior
	// Expect, when not nil, is the state (see [Outcome].State) that the account
	// must still have for an update; otherwise it is rejected with load.moved.
	Expect []byte
}

// Existing says what may happen to an account that is already in the target.
type Existing string

const (
	// Leave compares an account that is there and leaves it alone: Unchanged, or
	// Skipped with load.exists_differs.
	Leave Existing = ""
	// Update brings it up to date, by writing only what differs.
	Update Existing = "update"
)

// Prior is what the host remembers of a user from earlier runs.
type Prior struct {
	// TargetID is the id that the target gave.
	TargetID string
	// State is that of the last outcome.
	State []byte
	// InDoubt says that the user was sent and the answer was lost: the account is
	// looked up before anything is written.
	InDoubt bool
	// Linked are ids that the target gave to accounts of earlier runs that are ways to
	// sign in to this one by now: their identities may be taken from them, and from no
	// other account.
	Linked []string
}

// Account is one that an earlier run created or, when Before is not nil, updated.
type Account struct {
	SourceID, TargetID string
	// State is what the run left behind.
	State []byte
	// Before is the pre-image of an update.
	Before []byte
	// ID is the id that the account was to have, [User.ID].
	ID string
	// InDoubt says that a run has sent the account and does not know what came of it:
	// there may be none, and its TargetID may be unknown.
	InDoubt bool
	// SignedIn says that the account goes even if its person has signed in since.
	SignedIn bool
	// Disable says that the account stays and is switched off, under the conditions under
	// which it would be deleted; Release that it also gives its address, its names and its
	// identities free, and may be switched off already. DryRun writes nothing, and asks for
	// the outcome. These three need [CanDisable].
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

// Identity is a person at another identity provider. Name is what to show for
// it, usually the e-mail address seen there.
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
	// UserHandle is what the authenticator calls the user, nil where the source does
	// not know.
	UserHandle []byte
	// Counter is the signature counter as last seen.
	Counter int64
	// Transports are those that the browser named: "internal", "hybrid", "usb", …
	Transports []string
	// Name is what the person calls it.
	Name    string
	Created time.Time
}

// Class says what becomes of a user's password. Every user is in exactly one.
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

// Canary reports whether the account is none of the source: it exists for a moment,
// to prove that passwords of its kind work, and belongs to no tenant.
func (u *User) Canary() bool { return strings.HasPrefix(u.SourceID, CanaryPrefix) }

// Role is what a role allows at the source.
type Role struct {
	Name string
	// Permissions are sorted. None says that the role allows nothing.
	Permissions []string
}
