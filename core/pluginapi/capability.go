package pluginapi

import (
	"slices"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
)

// Capabilities is what a target declares about itself. With it, the core decides
// before the first write what happens to every user.
type Capabilities struct {
	// Hashes lists the password hashes whose owners can sign in afterwards.
	Hashes []HashSupport
	// Carries lists what else the target can store. Everything else is not sent to the
	// target, and is counted and reported as lost. There is one exception: see
	// [CarriesID].
	Carries []Feature
	// Abilities lists the optional calls that the plugin answers.
	Abilities []Ability
	Batch     BatchLimits
	// MaxIDLength bounds [User.ID]; 0 means that the target assigns its own ids.
	MaxIDLength int
	// UniqueEmail says that no two users may have the same e-mail address. User
	// names and ids are always unique.
	UniqueEmail bool
	// UniqueIdentities says that no two users may have the same [Identity], which is the
	// same provider and subject. It has no effect without [CarriesIdentities].
	UniqueIdentities bool
	// FoldsCase says for an identifier whether the target treats values that differ
	// only in letter case as equal. For identifiers that are not in the map, see
	// [Capabilities.Folds].
	FoldsCase map[Identifier]bool
	// Folding says for an identifier which other differences the target ignores.
	// Identifiers that are not in the map are compared as they are.
	Folding map[Identifier]Folding
	// NoUsernames says that accounts have no user name: people sign in with an address,
	// with a phone number or at another provider. [User.Username] is not stored.
	NoUsernames bool
	// UniqueInTenant lists the identifiers that are unique only within a tenant: two
	// accounts that have no tenant in common may have the same value.
	UniqueInTenant []Identifier
	// SignIns lists all ways to sign in that the target has, whether or not they are
	// switched on. An empty list says that the plugin does not know. [Checked] says
	// which are switched on.
	SignIns []SignIn
	// Whole says that every run replaces what earlier runs have written, as with
	// export files. Such a target gets all users in each run.
	Whole bool
	// OnlyTenant names the tenant whose users are loaded, and no others; empty loads the
	// users of all tenants. Users of other tenants take no address or name away from the
	// users that are loaded.
	OnlyTenant string
	// Identity lists the keys of the configuration that name the place to which users
	// are loaded, such as "url" and "realm". What the journal remembers belongs to that
	// place, even if other keys change. If the list is empty, the host uses all keys that
	// are not secrets. There are three special forms. "mode=live": if the key is absent,
	// the value is "live". "host:url": only the host of the url counts, so
	// "https://T.example/" is the same as "t.example". "host:url|domain": the first key
	// that is present counts.
	Identity []string
}

// Identifier is a value that distinguishes an account from others.
type Identifier string

// The identifiers.
const (
	IdentifierID       Identifier = "id"
	IdentifierUsername Identifier = "username"
	IdentifierEmail    Identifier = "email"
	IdentifierPhone    Identifier = "phone"
	IdentifierIdentity Identifier = "identity"
)

// Folding says how a target changes a value before it compares it with others, apart
// from its letter case.
type Folding struct {
	// Trims says that white space at the beginning and at the end is ignored.
	Trims bool
	// Normalization is the form of Unicode in which values are compared; empty
	// compares them as they are.
	Normalization Normalization
}

// Normalization is a form of Unicode.
type Normalization string

// The normalizations.
const (
	NFC  Normalization = "NFC"
	NFKC Normalization = "NFKC"
)

// Folds says whether the target treats values of an identifier that differ only in
// letter case as equal. If the target does not declare it, they are equal, except for
// ids and identities.
func (c *Capabilities) Folds(i Identifier) bool {
	folds, declared := c.FoldsCase[i]
	if !declared {
		return i != IdentifierID && i != IdentifierIdentity
	}
	return folds
}

// HashSupport says that one kind of hash is accepted, or only some forms of it.
type HashSupport struct {
	Scheme canonical.Scheme
	// Variants lists the accepted revisions of bcrypt; empty accepts all.
	Variants []string
	// MinCost and MaxCost limit the cost of bcrypt; 0 is no limit.
	MinCost, MaxCost int
	// MaxMemoryKiB limits the memory of argon2; 0 is no limit.
	MaxMemoryKiB uint32
}

// Ability is an optional call.
type Ability string

// The abilities this version of the protocol knows.
const (
	CanCheck       Ability = "check"
	CanFix         Ability = "fix"
	CanUndoFix     Ability = "undo_fix"
	CanSetup       Ability = "setup"
	CanPlan        Ability = "plan"
	CanUndo        Ability = "undo"
	CanUndoInDoubt Ability = "undo_in_doubt"
	CanTidy        Ability = "tidy"
	// CanDisable is undo of accounts that are switched off, or only looked at.
	CanDisable     Ability = "disable"
	CanLogin       Ability = "login"
	CanSetPassword Ability = "password"
	CanStartReset  Ability = "reset"
	CanExchange    Ability = "session"
	CanPropose     Ability = "propose"
)

// BatchLimits says how large batches are, and how many the plugin handles at the same
// time. A zero field means the default of the host (200 users, 1 MiB, one batch).
type BatchLimits struct {
	Users    int
	Bytes    int
	InFlight int
}

// Accepts reports whether the target can verify h after the load.
func (c Capabilities) Accepts(h canonical.PasswordHash) bool {
	for i := range c.Hashes {
		if c.Hashes[i].accepts(&h) {
			return true
		}
	}
	return false
}

func (s *HashSupport) accepts(h *canonical.PasswordHash) bool {
	switch {
	case s.Scheme != h.Scheme:
		return false
	case len(s.Variants) > 0 && !slices.Contains(s.Variants, h.Variant):
		return false
	case h.Cost < s.MinCost, s.MaxCost > 0 && h.Cost > s.MaxCost:
		return false
	case h.Argon2 != nil && s.MaxMemoryKiB > 0 && h.Argon2.MemoryKiB > s.MaxMemoryKiB:
		return false
	}
	return true
}

// Can reports whether the plugin answers the optional call a.
func (c Capabilities) Can(a Ability) bool { return slices.Contains(c.Abilities, a) }

// Mailing names a group of people with an e-mail address. The target mails them on its
// own because of a run, at once or at their first sign-in.
type Mailing string

// The mailings.
const (
	// MailsCreated is everybody whose account is created.
	MailsCreated Mailing = "created"
	// MailsUnverified is those of them whose address is not verified.
	MailsUnverified Mailing = "unverified"
	// MailsReset is those of them who need a new password.
	MailsReset Mailing = "reset"
)

// Checked is what a check of a target has found.
type Checked struct {
	Diagnostics diag.List
	// Mails says whom the target is going to mail.
	Mails []Mailing
	// SignIns says which ways to sign in are switched on, as far as the check has
	// seen; whatever is not among them is unknown.
	SignIns []SignIn
}

// Fixing is what is asked of the settings of a target: the remedies that a run with these
// needs wants, or, with Undo, that earlier ones are taken back.
type Fixing struct {
	Needs Needs
	Undo  bool
	// Setup has the target's side made first, instead of remedies.
	Setup *Setup
}

// Setup says how to create what a migration needs at the target.
type Setup struct {
	// AdminToken is the access token of an administrator of the target. It is not stored.
	AdminToken canonical.Secret
	// Show sends no request and creates nothing. The steps say what a setup would create
	// at a target that has nothing yet.
	Show bool
}

// SetupStep is one thing that a setup creates. It names a secret, and never holds its
// value.
type SetupStep struct {
	What string
	// Request is a request to the target's API: a JSON object with method, path and body.
	Request []byte
	// Command is a command of the target's own tool; empty if there is no such tool.
	Command string
}

// Fixed is what became of a [Fixing].
type Fixed struct {
	// Found says what was done, as warnings, and what is left.
	Found diag.List
	// Steps are those of a setup: what was missing and has been made.
	Steps []SetupStep
}

// Broker describes the bridge to the target, for which it is an OpenID provider.
type Broker struct {
	Issuer string
	// ClientID is the id with which the target signs in at the bridge.
	ClientID string
	// ClientSecret is set only during a setup.
	ClientSecret canonical.Secret
	// Algorithm is the algorithm with which the bridge signs; empty is RS256.
	Algorithm string
	// Exchange says that applications exchange assertions of the bridge for tokens of the
	// target.
	Exchange bool
}

// Needs says what a run will ask of the target. So a check can report exactly the
// problems that matter for this run.
type Needs struct {
	// Schemes are the password hash schemes that will be sent.
	Schemes []canonical.Scheme
	// Providers are the third-party identity providers of all users of the run, also of
	// users that have not changed since the last run: whether people can sign in with a
	// provider matters for all of them.
	Providers []string
	// Roles, Tenants and MetadataKeys are the roles, the tenants and the top-level keys of
	// metadata that will be sent.
	Roles, Tenants, MetadataKeys []string
	// Users is how many users will be sent. Resets is how many of them have a password
	// that the target cannot verify; WithoutEmail and WithoutName, how many have no
	// e-mail address, and neither a first nor a last name.
	Users, Resets, WithoutEmail, WithoutName int
	// DryRun says that nothing will be written, so what only a load needs may be missing.
	DryRun bool
	// RoleUsers and TenantUsers say how many users have each role and each tenant. They
	// are nil if the host does not say it.
	RoleUsers, TenantUsers map[string]int
	// Broker is the bridge; nil if none is configured.
	Broker *Broker
}
