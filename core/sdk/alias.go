package sdk

import (
	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// The vocabulary, shared with the host.
type (
	// User is the account as the target should hold it.
	User = pluginapi.User
	// Address is an e-mail address of a linked login.
	Address = pluginapi.Address
	// Identity is a person at another identity provider.
	Identity = pluginapi.Identity
	// Class says what becomes of a user's password.
	Class = pluginapi.Class
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
	Passkey = pluginapi.Passkey
	// Role is what a role allows at the source.
	Role = pluginapi.Role
	// Secret is a string that does not print.
	Secret = canonical.Secret

	// Capabilities is what a target declares about itself.
	Capabilities = pluginapi.Capabilities
	// HashSupport accepts one scheme, optionally narrowed.
	HashSupport = pluginapi.HashSupport
	// BatchLimits is how a plugin wants its work.
	BatchLimits = pluginapi.BatchLimits
	// Feature is a part of an account that a target may be able to hold.
	Feature = pluginapi.Feature
	// Identifier is what an account is told from others by.
	Identifier = pluginapi.Identifier
	// Folding is how a target changes a value before it compares it with others.
	Folding = pluginapi.Folding
	// SignIn is a way to sign in to a target.
	SignIn = pluginapi.SignIn
	// SignInWay names a way to sign in.
	SignInWay = pluginapi.SignInWay
	// Switch says whether a way to sign in is switched on.
	Switch = pluginapi.Switch
	// Mailing names people whom a target mails, see [Mailer].
	Mailing = pluginapi.Mailing
	// Ability is an optional call.
	Ability = pluginapi.Ability
	// Needs is what a run is about to ask of the target.
	Needs = pluginapi.Needs
	// Broker is the bridge as the target sees it: an OpenID provider.
	Broker = pluginapi.Broker
	// Setup says how the target's side of a migration is made.
	Setup = pluginapi.Setup
	// SetupStep is one thing of the target's side.
	SetupStep = pluginapi.SetupStep

	// Outcome is what became of one user.
	Outcome = pluginapi.Outcome
	// PartLoss is a part of an account that could not be written.
	PartLoss = pluginapi.PartLoss
	// Action is what happened, or would happen, to a user.
	Action = pluginapi.Action
	// Change is what would happen to one user.
	Change = pluginapi.Change
	// FieldChange is one difference between target and source.
	FieldChange = pluginapi.FieldChange
	// Existing says what may happen to an account that is already in the target.
	Existing = pluginapi.Existing
	// Prior is what the host remembers of a user from earlier runs.
	Prior = pluginapi.Prior
	// Account is one that an earlier run created or updated.
	Account = pluginapi.Account

	// Login is a sign-in with user name and password.
	Login = pluginapi.Login
	// PasswordChange gives an account a new password.
	PasswordChange = pluginapi.PasswordChange
	// Reset has the target run its own password reset.
	Reset = pluginapi.Reset
	// Assertion asks for tokens on behalf of a user.
	Assertion = pluginapi.Assertion
	// Tokens is a target's answer to an exchange.
	Tokens = pluginapi.Tokens
	// Pulse tells a person who is watching why it takes as long as it does.
	Pulse = pluginapi.Pulse
	// Failure is an error that keeps its code on the way to the host.
	Failure = pluginapi.Failure

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
	Created   = pluginapi.Created
	Updated   = pluginapi.Updated
	Unchanged = pluginapi.Unchanged
	Skipped   = pluginapi.Skipped
	Rejected  = pluginapi.Rejected
	InDoubt   = pluginapi.InDoubt
	Deleted   = pluginapi.Deleted
)

// What may happen to an account that is already in the target.
const (
	Leave  = pluginapi.Leave
	Update = pluginapi.Update
)

// What accounts are told apart by, see Capabilities.FoldsCase.
const (
	IdentifierID       = pluginapi.IdentifierID
	IdentifierUsername = pluginapi.IdentifierUsername
	IdentifierEmail    = pluginapi.IdentifierEmail
	IdentifierPhone    = pluginapi.IdentifierPhone
	IdentifierIdentity = pluginapi.IdentifierIdentity
)

// Forms of Unicode, see Folding.
const (
	NFC  = pluginapi.NFC
	NFKC = pluginapi.NFKC
)

// The ways to sign in, see Capabilities.SignIns and SignInReporter.
const (
	SignInPassword   = pluginapi.SignInPassword
	SignInSocial     = pluginapi.SignInSocial
	SignInEmailCode  = pluginapi.SignInEmailCode
	SignInSMSCode    = pluginapi.SignInSMSCode
	SignInPasskey    = pluginapi.SignInPasskey
	SignInEmailReset = pluginapi.SignInEmailReset
)

// ParseSignIn reads a way to sign in as configurations have it: "password",
// "social:google".
func ParseSignIn(text string) (SignIn, error) { return pluginapi.ParseSignIn(text) }

// Whether a way to sign in is switched on.
const (
	SwitchUnknown = pluginapi.SwitchUnknown
	SwitchOn      = pluginapi.SwitchOn
	SwitchOff     = pluginapi.SwitchOff
)

// Whom a target mails, see Mailer.
const (
	MailsCreated    = pluginapi.MailsCreated
	MailsUnverified = pluginapi.MailsUnverified
	MailsReset      = pluginapi.MailsReset
)

// The password classes.
const (
	HashCarried = pluginapi.HashCarried
	NeedsReset  = pluginapi.NeedsReset
	NoPassword  = pluginapi.NoPassword
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
	CarriesID              = pluginapi.CarriesID
	CarriesEmailVerified   = pluginapi.CarriesEmailVerified
	CarriesPhone           = pluginapi.CarriesPhone
	CarriesNames           = pluginapi.CarriesNames
	CarriesCreated         = pluginapi.CarriesCreated
	CarriesIdentities      = pluginapi.CarriesIdentities
	CarriesTOTP            = pluginapi.CarriesTOTP
	CarriesPasskeys        = pluginapi.CarriesPasskeys
	CarriesRoles           = pluginapi.CarriesRoles
	CarriesRolePermissions = pluginapi.CarriesRolePermissions
	CarriesTenants         = pluginapi.CarriesTenants
	CarriesMetadata        = pluginapi.CarriesMetadata
)

// The abilities, each added by itself for the optional interface of the target.
const (
	CanCheck       = pluginapi.CanCheck
	CanFix         = pluginapi.CanFix
	CanUndoFix     = pluginapi.CanUndoFix
	CanSetup       = pluginapi.CanSetup
	CanPlan        = pluginapi.CanPlan
	CanUndo        = pluginapi.CanUndo
	CanUndoInDoubt = pluginapi.CanUndoInDoubt
	CanTidy        = pluginapi.CanTidy
	CanDisable     = pluginapi.CanDisable
	CanLogin       = pluginapi.CanLogin
	CanSetPassword = pluginapi.CanSetPassword
	CanStartReset  = pluginapi.CanStartReset
	CanExchange    = pluginapi.CanExchange
	CanPropose     = pluginapi.CanPropose
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
	CodeThereBefore      = diag.LoadThereBefore
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
	CodeUndoInDoubt      = diag.UndoInDoubt
	CodeUndoSignedIn     = diag.UndoSignedIn
	CodeUndoPartLost     = diag.UndoPartLost
	// CodeNotSent is of a user who is in doubt for another reason than a write: nothing has
	// left for the target, and what the journal knows stays as it is.
	CodeNotSent = diag.PluginNotSent

	// Of a [PartLoss].
	CodeUnread      = diag.LoadUnread
	CodePartKept    = diag.LoadPartKept
	CodePartFailed  = diag.LoadPartFailed
	CodePartRefused = diag.LoadPartRefused
	CodeNoPlace     = diag.LoadNoPlace

	CodeNoSuchAccount    = diag.TargetNoSuchAccount
	CodePasswordRefused  = diag.TargetPasswordRefused
	CodeLoginUnavailable = diag.TargetLoginUnavailable
)

// The severities. A diagnostic is an error unless it says otherwise.
const (
	Error   = diag.Error
	Warning = diag.Warning
)

// UnreadValue is the old value in a [FieldChange] of a part that the target does not show
// and of which no run remembers what it sent.
const UnreadValue = pluginapi.UnreadValue

// What names a part in a [PartLoss] and is no feature that anybody declares.
const (
	PartPassword = pluginapi.PartPassword
	PartUsername = pluginapi.PartUsername
	PartEmail    = pluginapi.PartEmail
)

// ParsePasswordHash parses the text of a password hash: bcrypt in modular crypt format,
// argon2 as a PHC string, or SuperTokens' rendering of a Firebase scrypt hash. Any other text
// comes back as [UnknownScheme], an empty one as the zero value.
func ParsePasswordHash(stored string) PasswordHash { return canonical.ParsePasswordHash(stored) }

// NewSecret wraps clear text.
func NewSecret(clearText string) Secret { return canonical.NewSecret(clearText) }

// Pointer writes the steps to a field of the configuration as a JSON pointer, for the
// Path of a [Diagnostic].
func Pointer(steps ...string) string { return diag.Pointer(steps...) }
