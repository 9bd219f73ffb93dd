package pluginapi

import (
	"slices"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
)

// Capabilities is what a target declares about itself. The core decides with
// it, before the first write, what becomes of every user.
type Capabilities struct {
	// Hashes lists the password hashes whose owners can sign in afterwards.
	Hashes []HashSupport
	// Carries lists what else survives. What is absent is not given to the target, and
	// counted and reported as lost. See [CarriesID] for the one thing that is given all
	// the same.
	Carries []Feature
	// Abilities lists the optional calls the plugin answers.
	Abilities []Ability
	Batch     BatchLimits
	// MaxIDLength bounds [User.ID]; 0 means that the target assigns its own ids.
	MaxIDLength int
	// UniqueEmail says that no two users may have the same e-mail address. User
	// names and ids are always unique.
	UniqueEmail bool
	// UniqueIdentities says that no two users may have the same [Identity]: provider and
	// subject. Without [CarriesIdentities] it says nothing.
	UniqueIdentities bool
	// FoldsCase says by identifier whether values that differ in letter case alone
	// are the same to the target. See [Capabilities.Folds] for those left out.
	FoldsCase map[Identifier]bool
	// Folding says by identifier what else does not tell two values apart; what is
	// absent is compared as it is.
	Folding map[Identifier]Folding
	// NoUsernames says that accounts have no user name: people sign in with an address,
	// a number or at another provider, and [User.Username] is not kept.
	NoUsernames bool
	// UniqueInTenant lists the identifiers that are unique among the accounts of one
	// tenant: two accounts without a common tenant may have the same.
	UniqueInTenant []Identifier
	// SignIns lists how people could sign in, whatever the target's settings; none
	// says that the plugin does not know. [Checked] has what is switched on.
	SignIns []SignIn
	// Whole says that every run replaces what earlier ones wrote, as export files
	// do: such a target gets every user every time.
	Whole bool
	// OnlyTenant names the tenant whose users alone are taken; empty takes those of all.
	// Others want nothing there: what they have is free for those of the tenant.
	OnlyTenant string
	// Identity lists the keys of the configuration that name the place that is
	// written to, such as "url" and "realm": what a run remembers belongs to that
	// place, whatever else of the configuration changes. None has the host use all
	// keys but secrets. "mode=live" says what an absent key is as good as. Of
	// "host:url" counts the host alone, however it is written: "https://T.example/" is
	// "t.example". Of "host:url|domain" counts the first that is there.
	Identity []string
}

// Identifier is what an account is told from others by.
type Identifier string

// The identifiers.
const (
	IdentifierID       Identifier = "id"
	IdentifierUsername Identifier = "username"
	IdentifierEmail    Identifier = "email"
	IdentifierPhone    Identifier = "phone"
	IdentifierIdentity Identifier = "identity"
)

// Folding is how a target changes a value, beside its letter case, before it compares
// it with others.
type Folding struct {
	// Trims says that white space at both ends does not count.
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

// Folds says whether values of an identifier that differ in letter case alone are
// the same to the target: as it declares, or else user names and e-mail addresses
// are, and ids and identities are not.
func (c *Capabilities) Folds(i Identifier) bool {
	folds, declared := c.FoldsCase[i]
	if !declared {
		return i != IdentifierID && i != IdentifierIdentity
	}
	return folds
}

// HashSupport accepts one scheme, optionally narrowed.
type HashSupport struct {
	Scheme canonical.Scheme
	// Variants narrows bcrypt revisions; empty accepts all.
	Variants []string
	// MinCost and MaxCost bound bcrypt's cost; 0 leaves that side open.
	MinCost, MaxCost int
	// MaxMemoryKiB bounds argon2's memory; 0 leaves it open.
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

// BatchLimits is how a plugin wants its work. Zero fields take the host's
// defaults (200 users, 1 MiB, one batch in flight).
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

// Mailing names people with an e-mail address whom a target mails on its own
// because of a run, now or at their first sign-in.
type Mailing string

// The mailings.
const (
	// MailsCreated is everybody whose account is created.
	MailsCreated Mailing = "created"
	// MailsUnverified is who of them has an address that nobody has proven.
	MailsUnverified Mailing = "unverified"
	// MailsReset is who of them needs a new password.
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

// Setup says how the target's side of a migration is made.
type Setup struct {
	// AdminToken is that of an administrator of the target. It is kept nowhere.
	AdminToken canonical.Secret
	// Show asks the target nothing and makes nothing: the steps tell what would be made if
	// nothing were there.
	Show bool
}

// SetupStep is one thing of the target's side. Secrets stand in it by name only.
type SetupStep struct {
	What string
	// Request is one to the target's API: a JSON object with method, path and body.
	Request []byte
	// Command is one of the target's own tool; empty where it has none.
	Command string
}

// Fixed is what became of a [Fixing].
type Fixed struct {
	// Found says what was done, as warnings, and what is left.
	Found diag.List
	// Steps are those of a setup: what was missing and has been made.
	Steps []SetupStep
}

// Broker is the bridge as the target sees it: an OpenID provider.
type Broker struct {
	Issuer string
	// ClientID is the client that the target is there.
	ClientID string
	// ClientSecret is there only when the target's side is made.
	ClientSecret canonical.Secret
	// Algorithm is the one that the bridge signs with; RS256 when empty.
	Algorithm string
	// Exchange says that applications exchange assertions of the bridge for tokens.
	Exchange bool
}

// Needs is what a run is about to ask of the target, so that a preflight can
// refuse for a reason that matters to this run only.
type Needs struct {
	// Schemes are the password hash schemes that will be sent.
	Schemes []canonical.Scheme
	// Providers are the third-party identity providers of everybody that the run is about,
	// of those as well that are as the last run left them: who can sign in with one matters
	// for all.
	Providers []string
	// Roles, Tenants and MetadataKeys (top-level keys) are those that will be sent.
	Roles, Tenants, MetadataKeys []string
	// Users is how many will be sent; of them, Resets have a password that the
	// target cannot verify, and the others lack an e-mail address or both names.
	Users, Resets, WithoutEmail, WithoutName int
	// DryRun says that nothing will be written: what only a load needs may be missing.
	DryRun bool
	// RoleUsers and TenantUsers say how many users have each of Roles and of Tenants. Nil
	// where the host does not say.
	RoleUsers, TenantUsers map[string]int
	// Broker is the bridge, nil where none is configured.
	Broker *Broker
}
