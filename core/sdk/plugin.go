package sdk

import (
	"context"
	"log/slog"
)

// Plugin describes a target plugin whose configuration is the struct C.
//
// The JSON Schema of the configuration is inferred from C. Field names come
// from json tags; a field is required unless its tag says omitempty or
// omitzero; unknown fields are refused. Five more tags:
//
//	jsonschema:"…"     description, shown by editors
//	default:"…"        value when absent: text, or JSON for other types
//	enum:"live,files"  the allowed strings
//	title:"…"          a few words to ask for the value with
//	example:"…"        a value to show, never a secret: text, or JSON for other types
//
// A field of type [Secret] is marked writeOnly, one of type [Duration] is
// written like 1m30s. Validation and decoding happen before New.
type Plugin[C any] struct {
	// Name is what a configuration calls the plugin: "keycloak" for an
	// executable stetl-plugin-keycloak. Lower-case messages, digits and dashes.
	Name    string
	Version string
	// Capabilities are those of the plugin whatever its configuration; a
	// target that implements [Capable] replaces them once it is configured.
	// Abilities are added by themselves, for the optional interfaces that the
	// target has.
	Capabilities Capabilities
	// Codes are the codes of the plugin's own, which begin with a word of its own
	// ("acme.quota"), with what they mean. Reports show the words; those that all
	// plugins share, [CodeEmailConflict] and so on, need none.
	Codes []CodeInfo
	// Propose, when set, looks at the target and proposes a configuration, for those who
	// write their first one. known is what is known so far, without validation: any field
	// can be missing. It must not write anything, and nothing that it returns is a secret.
	Propose func(ctx context.Context, known C, env Env) (Proposal[C], Diagnostics)
	// New prepares the target without any network traffic. ctx is for the call
	// only. Problems with the configuration are best returned with
	// [Diagnostics.Err] and a JSON pointer in Path, so that the host can point
	// at the line.
	New func(ctx context.Context, config C, env Env) (Target, error)
}

// Proposal is what a plugin proposes for a configuration.
type Proposal[C any] struct {
	// Config has the fields that are proposed; all others are left as they are.
	Config C
	// Comments are sentences for a person, by the JSON pointer of what they are about, as
	// in "/tables/0/columns/email".
	Comments map[string]string
}

// Env is what the host lends to a plugin.
type Env struct {
	// Log goes to the host's log. User data is never an attribute; ids are.
	Log *slog.Logger
	// UserAgent names stetl and the plugin, for every HTTP request.
	UserAgent string
	// Journal remembers small values from run to run.
	Journal Journal
	// Pulse tells whoever is watching why it takes as long as it does. It may be
	// called at any time and from anywhere; of many in a short time, some are lost.
	Pulse func(Pulse)
	// Fingerprints compares what an account holds now with what was last applied.
	Fingerprints Fingerprints
}

// Journal remembers small values of a plugin from run to run, such as the ids of
// jobs at the target. Values are never secrets. It is safe for concurrent use.
type Journal interface {
	// Get returns what was last put under key.
	Get(key string) ([]byte, bool)
	// Put returns nil once the value is durable; a nil value removes the key. It
	// works while a Load is running, and fails at any other time.
	Put(ctx context.Context, key string, value []byte) error
}

// Target is the only interface a plugin must implement.
type Target interface {
	// Load writes users and reports one outcome for each of them, as soon as it
	// is known. It may be called from several goroutines, up to
	// BatchLimits.InFlight. When ctx ends it stops starting new writes and
	// returns soon. An error means that the users without an outcome are
	// undecided, and why; it never takes back an outcome already given.
	Load(ctx context.Context, users []User, out Outcomes) error
}

// Outcomes receives what happened. Its methods may be called from several
// goroutines and in any order, until Load returns. The first outcome of a user
// counts; a second one is a bug of the plugin and is reported as such.
type Outcomes interface {
	// Report records o. Users are matched by o.SourceID.
	Report(o Outcome)
}

// Capable is a target whose configuration changes what it can do.
type Capable interface {
	Capabilities() Capabilities
}

// Limited is a target whose configuration takes away abilities that its type has
// methods for, such as one that writes files in one of its modes.
type Limited interface {
	Lacks() []Ability
}

// RoleKeeper is a target that keeps what roles allow. It declares [CarriesRolePermissions].
type RoleKeeper interface {
	// DefineRoles says what the roles allow that users of the run have. It comes before the
	// first Check, Plan and Load that are about them, maybe in several calls with some of
	// the roles each. It writes nothing.
	DefineRoles(ctx context.Context, roles []Role) error
}

// Checker is a target that can examine the other side before a run. It must
// not write anything.
type Checker interface {
	// Check reports every problem it finds. An error-severity diagnostic stops
	// the run before the first write.
	Check(ctx context.Context, needs Needs) Diagnostics
}

// Mailer is a Checker of a target that mails people on its own because of a run.
type Mailer interface {
	// Mails says whom, as far as the Check that has just returned has seen.
	Mails() []Mailing
}

// SignInReporter is a Checker of a target that knows how people can sign in.
type SignInReporter interface {
	// SignIns says which ways are switched on, as far as the Check that has just
	// returned has seen. Whatever is not among them is unknown.
	SignIns() []SignIn
}

// Fixer is a target that can apply the remedies that its Check names. It changes
// settings of the target, never accounts.
type Fixer interface {
	// Fix reports what it did, as warnings, and what is left.
	Fix(ctx context.Context, needs Needs) Diagnostics
}

// FixUndoer is a [Fixer] that keeps a copy of the settings that it takes away.
type FixUndoer interface {
	Fixer
	// UndoFix puts back what earlier calls of Fix have changed, from other machines, too,
	// and reports what it did, as warnings, and what is left. What somebody has changed
	// since stays as it is.
	UndoFix(ctx context.Context) Diagnostics
}

// Preparer is a target that can make, or at least tell, what a migration needs at the target before anything
// else works, with an administrator's rights: a place for the users, a client for this
// program, trust in the bridge. What is there is compared and left as it is.
type Preparer interface {
	// Setup makes what is missing and returns it, in its order, also together with problems.
	// With s.Show it asks the target nothing and returns everything. Secrets stand in steps
	// by name only.
	Setup(ctx context.Context, s Setup, needs Needs) ([]SetupStep, Diagnostics)
}

// Planner is a target that can say what Load would do. It must not write
// anything, and what it predicts must be what Load then does.
type Planner interface {
	// Plan follows the rules of [Target].Load, with changes for outcomes.
	Plan(ctx context.Context, users []User, out Changes) error
}

// Changes receives what would happen to each user of a Plan call, under the
// rules of [Outcomes].
type Changes interface {
	// Report records c. Users are matched by c.SourceID.
	Report(c Change)
}

// Undoer is a target that can take back what earlier runs did.
type Undoer interface {
	// Undo works on accounts that still have the state that was left behind, and
	// on no others: those are Skipped with load.moved. One without pre-image is
	// deleted (Deleted, or Unchanged when it is gone already); one with a pre-image
	// gets it back (Updated). An account without a state is one that the host has just
	// made itself, and no condition holds for it. The rules of [Target].Load hold.
	//
	// A target that declares [CanDisable] also gets accounts with these, under the same
	// conditions. One with Account.Disable is not deleted, but switched off: nobody can sign
	// in with it. The outcome is Updated, with the state that it was left in and a pre-image.
	// With Account.InDoubt an earlier call may have done that already. With Account.Release,
	// it gives its address, its names and its identities free as well, and may be switched
	// off before; with its first pre-image, it gets all of that back. With Account.DryRun
	// nothing is written, and the outcome is the one that there would be; a pre-image may be
	// empty then.
	Undo(ctx context.Context, accounts []Account, out Outcomes) error
}

// DoubtUndoer is an [Undoer] that also finds accounts of which the host does not know
// whether they are there. Without it, an undo names them and leaves them.
type DoubtUndoer interface {
	Undoer
	// UndoInDoubt looks for accounts that a run has sent, without an answer, by TargetID
	// where there is one, else by ID. One that proves itself that a load has made it, by a
	// mark or the id itself, is removed (Deleted); where there is none, the outcome is
	// Unchanged. An account without such a proof stays: Skipped with undo.in_doubt and its
	// id. The rules of [Target].Load hold.
	UndoInDoubt(ctx context.Context, accounts []Account, out Outcomes) error
}

// Tidier is an [Undoer] whose runs leave something behind beside accounts, such as roles
// and groups, that has to go when nobody has it any more.
type Tidier interface {
	Undoer
	// Tidy removes what a run has created and nobody has any more. It returns after some
	// ten seconds, with how many things it has removed and how many are still to be looked
	// at, and is called again until there are none: each call goes on where the last one
	// has stopped, and none needs one before it.
	Tidy(ctx context.Context) (removed, left int, err error)
}

// Authenticator is a target that can be asked whether a password is right, the
// way a person would be signed in. The host proves with it that old passwords
// work, using accounts that it makes for the purpose and undoes.
type Authenticator interface {
	// Login returns false when the target refused the password as wrong, and an
	// error when it could not be asked.
	Login(ctx context.Context, l Login) (accepted bool, err error)
}

// PasswordSetter is a target that takes a new password for an account.
type PasswordSetter interface {
	// SetPassword returns a [*Failure] when the target refuses the password.
	SetPassword(ctx context.Context, c PasswordChange) error
}

// ResetStarter is a target with a password reset of its own.
type ResetStarter interface {
	// StartReset returns where to send the browser, or nothing when the target has
	// sent a mail. It is called only for a person who asked for a reset.
	StartReset(ctx context.Context, r Reset) (location string, err error)
}

// SessionExchanger is a target that gives tokens for a signed assertion.
type SessionExchanger interface {
	Exchange(ctx context.Context, a Assertion) (Tokens, error)
}

// Finisher is a target that makes its work visible in one last step, such as
// renaming finished files. When Finish fails, nothing of this run counts as
// loaded. It is called once, after the last Load of a run that was not aborted.
type Finisher interface {
	Finish(ctx context.Context) error
}

// Closer is a target with something to release. Close is called once, also
// after errors, and when the host has vanished; it has ten seconds at most.
type Closer interface {
	Close(ctx context.Context) error
}
