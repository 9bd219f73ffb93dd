package sdk

import (
	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/target"
)

// The vocabulary, shared with the host.
type (
	// User is the account as the target should hold it.
	User = target.User
	// Address is an e-mail address of a linked login.
	Address = target.Address
	// Identity is a person at another identity provider.
	Identity = target.Identity
	// Class says what becomes of a user's password.
	Class = target.Class
	// PasswordHash is a stored password verifier, parsed.
	PasswordHash = canonical.PasswordHash
	// Argon2Params are the public parameters of an argon2 hash.
	Argon2Params = canonical.Argon2Params
	// FirebaseParams are the public parameters of a Firebase scrypt hash.
	FirebaseParams = canonical.FirebaseParams
	// Scheme names a family of password hashes.
	Scheme = canonical.Scheme
	// TOTPDevice is an authenticator app enrolled for the account.
	TOTPDevice = canonical.TOTPDevice
	// Passkey is the public part of a WebAuthn credential.
	Passkey = target.Passkey
	// Secret is a string that does not print.
	Secret = canonical.Secret

	// Capabilities is what a target declares about itself.
	Capabilities = target.Capabilities
	// HashSupport accepts one scheme, optionally narrowed.
	HashSupport = target.HashSupport
	// BatchLimits is how a plugin wants its work.
	BatchLimits = target.BatchLimits
	// Feature is a part of an account that a target may be able to hold.
	Feature = target.Feature
	// Identifier is what an account is told from others by.
	Identifier = target.Identifier
	// Folding is how a target changes a value before it compares it with others.
	Folding = target.Folding
	// SignIn is a way to sign in to a target.
	SignIn = target.SignIn
	// Mailing names people whom a target mails, see [Mailer].
	Mailing = target.Mailing
	// Ability is an optional call.
	Ability = target.Ability
	// Needs is what a run is about to ask of the target.
	Needs = target.Needs

	// Outcome is what became of one user.
	Outcome = target.Outcome
	// PartLoss is a part of an account that could not be written.
	PartLoss = target.PartLoss
	// Action is what happened, or would happen, to a user.
	Action = target.Action
	// Change is what would happen to one user.
	Change = target.Change
	// FieldChange is one difference between target and source.
	FieldChange = target.FieldChange
	// Existing says what may happen to an account that is already in the target.
	Existing = target.Existing
	// Prior is what the host remembers of a user from earlier runs.
	Prior = target.Prior
	// Account is one that an earlier run created or updated.
	Account = target.Account

	// Login is a sign-in with user name and password.
	Login = target.Login
	// PasswordChange gives an account a new password.
	PasswordChange = target.PasswordChange
	// Reset has the target run its own password reset.
	Reset = target.Reset
	// Assertion asks for tokens on behalf of a user.
	Assertion = target.Assertion
	// Tokens is a target's answer to an exchange.
	Tokens = target.Tokens
	// Pulse tells a person who is watching why it takes as long as it does.
	Pulse = target.Pulse
	// Failure is an error that keeps its code on the way to the host.
	Failure = target.Failure

	// Diagnostic is one problem.
	Diagnostic = diag.Diagnostic
	// Diagnostics is a collection of problems.
	Diagnostics = diag.List
	// Severity says whether a problem stops the command.
	Severity = diag.Severity
	// Code is a stable, dotted reason. Plugins put their name in front of codes
	// of their own: "acme.quota".
	Code = diag.Code
	// CodeInfo says what a code means, see Plugin.Codes.
	CodeInfo = diag.Info
)

// The actions.
const (
	Created   = target.Created
	Updated   = target.Updated
	Unchanged = target.Unchanged
	Skipped   = target.Skipped
	Rejected  = target.Rejected
	InDoubt   = target.InDoubt
	Deleted   = target.Deleted
)

// What may happen to an account that is already in the target.
const (
	Leave  = target.Leave
	Update = target.Update
)

// What accounts are told apart by, see Capabilities.FoldsCase.
const (
	IdentifierID       = target.IdentifierID
	IdentifierUsername = target.IdentifierUsername
	IdentifierEmail    = target.IdentifierEmail
	IdentifierPhone    = target.IdentifierPhone
)

// Forms of Unicode, see Folding.
const (
	NFC  = target.NFC
	NFKC = target.NFKC
)

// The ways to sign in, see Capabilities.SignIns and SignInReporter.
const (
	SignInPassword   = target.SignInPassword
	SignInSocial     = target.SignInSocial
	SignInEmailCode  = target.SignInEmailCode
	SignInSMSCode    = target.SignInSMSCode
	SignInPasskey    = target.SignInPasskey
	SignInEmailReset = target.SignInEmailReset
)

// Whether a way to sign in is switched on.
const (
	SwitchUnknown = target.SwitchUnknown
	SwitchOn      = target.SwitchOn
	SwitchOff     = target.SwitchOff
)

// Whom a target mails, see Mailer.
const (
	MailsCreated    = target.MailsCreated
	MailsUnverified = target.MailsUnverified
	MailsReset      = target.MailsReset
)

// The password classes.
const (
	HashCarried = target.HashCarried
	NeedsReset  = target.NeedsReset
	NoPassword  = target.NoPassword
)

// The password hash schemes.
const (
	Bcrypt         = canonical.Bcrypt
	Argon2id       = canonical.Argon2id
	Argon2i        = canonical.Argon2i
	Argon2d        = canonical.Argon2d
	FirebaseScrypt = canonical.FirebaseScrypt
	UnknownScheme  = canonical.UnknownScheme
)

// The features a plugin can declare.
const (
	CarriesID            = target.CarriesID
	CarriesEmailVerified = target.CarriesEmailVerified
	CarriesPhone         = target.CarriesPhone
	CarriesNames         = target.CarriesNames
	CarriesCreated       = target.CarriesCreated
	CarriesIdentities    = target.CarriesIdentities
	CarriesTOTP          = target.CarriesTOTP
	CarriesPasskeys      = target.CarriesPasskeys
	CarriesRoles         = target.CarriesRoles
	CarriesTenants       = target.CarriesTenants
	CarriesMetadata      = target.CarriesMetadata
)

// The abilities, each added by itself for the optional interface of the target.
const (
	CanCheck       = target.CanCheck
	CanFix         = target.CanFix
	CanPlan        = target.CanPlan
	CanUndo        = target.CanUndo
	CanLogin       = target.CanLogin
	CanSetPassword = target.CanSetPassword
	CanStartReset  = target.CanStartReset
	CanExchange    = target.CanExchange
)

// Codes that all plugins share; what they mean is known to the host.
const (
	CodeInvalidValue = diag.ConfigInvalidValue
	CodeMissingField = diag.ConfigMissingField
	CodeConflict     = diag.ConfigConflict

	CodeIDTooLong        = diag.LoadIDTooLong
	CodeIDInvalid        = diag.LoadIDInvalid
	CodeIDConflict       = diag.LoadIDConflict
	CodeUsernameMissing  = diag.LoadUsernameMissing
	CodeUsernameConflict = diag.LoadUsernameConflict
	CodeEmailMissing     = diag.LoadEmailMissing
	CodeEmailInvalid     = diag.LoadEmailInvalid
	CodeEmailConflict    = diag.LoadEmailConflict
	CodeIdentityConflict = diag.LoadIdentityConflict
	CodeExistsDiffers    = diag.LoadExistsDiffers
	CodeMoved            = diag.LoadMoved
	CodeFieldTooLong     = diag.LoadFieldTooLong
	CodeHashUnsupported  = diag.LoadHashUnsupported
	CodeTOTPInvalid      = diag.LoadTOTPInvalid
	CodeInvalidUser      = diag.LoadInvalidUser
	CodeUserTooLarge     = diag.LoadUserTooLarge
	CodeOtherTenant      = diag.LoadOtherTenant
	CodeTargetRefused    = diag.LoadTargetRefused
	CodeUnknownAnswer    = diag.LoadUnknownAnswer
	CodeUndecided        = diag.LoadUndecided

	CodeNoSuchAccount    = diag.TargetNoSuchAccount
	CodePasswordRefused  = diag.TargetPasswordRefused
	CodeLoginUnavailable = diag.TargetLoginUnavailable
)

// The severities. A diagnostic is an error unless it says otherwise.
const (
	Error   = diag.Error
	Warning = diag.Warning
)

// NewSecret wraps clear text.
func NewSecret(clearText string) Secret { return canonical.NewSecret(clearText) }

// Pointer writes the steps to a field of the configuration as a JSON pointer, for the
// Path of a [Diagnostic].
func Pointer(steps ...string) string { return diag.Pointer(steps...) }
