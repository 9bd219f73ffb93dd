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
	// executable stetl-plugin-keycloak. It has lower-case letters, digits and dashes.
	Name    string
	Version string
	// Capabilities hold for every configuration of the plugin. A target that
	// implements [Capable] replaces them once it is configured. Leave Abilities
	// empty: they follow from the optional interfaces that the target implements.
	Capabilities Capabilities
	// Codes are the plugin's own codes with their meaning, which reports show. They
	// begin with a word of the plugin ("acme.quota"). Codes that all plugins share,
	// such as [CodeEmailConflict], are not listed here.
	Codes []CodeInfo
	// Propose, when set, looks at the target and proposes a configuration to a person who
	// writes the first one. known holds the fields that are known so far. It is not
	// validated: any field can be missing. Propose must not write anything to the target,
	// and must not return a secret.
	Propose func(ctx context.Context, known C, env Env) (Proposal[C], Diagnostics)
	// New prepares the target without any network traffic. ctx ends with the call.
	// Return problems of the configuration with [Diagnostics.Err], each with a JSON
	// pointer in Path: then the host can name the line.
	New func(ctx context.Context, config C, env Env) (Target, error)
}

// Proposal is what a plugin proposes for a configuration.
type Proposal[C any] struct {
	// Config has the fields that are proposed; all others are left as they are.
	Config C
	// Comments are sentences for a person. The key of each is the JSON pointer of the
	// field that it explains, such as "/tables/0/columns/email".
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
	// Pulse tells the person who watches the run what the plugin is waiting for. It may
	// be called at any time and by any goroutine. If it is called very often, some calls
	// are dropped.
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
	// is known. Several goroutines may call it at the same time, at most
	// BatchLimits.InFlight. When ctx ends, it starts no new writes and returns
	// soon. An error says why the users without an outcome are undecided. It does
	// not change outcomes that were already reported.
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

// Limited is a target that has methods for abilities which its configuration switches
// off. An example is a target that writes files in one of its modes.
type Limited interface {
	Lacks() []Ability
}

// RoleKeeper is a target that stores the permissions of roles. It declares
// [CarriesRolePermissions].
type RoleKeeper interface {
	// DefineRoles tells the target the permissions of the roles that users of the run have.
	// The host calls it before the first Check, Plan or Load that is about these roles. It
	// may take several calls, each with some of the roles. DefineRoles writes nothing to the
	// target.
	DefineRoles(ctx context.Context, roles []Role) error
}

// Checker is a target that can examine the server or the tables before a run. It
// must not write anything.
type Checker interface {
	// Check reports every problem that it finds. A diagnostic with the severity
	// "error" stops the run before the first write.
	Check(ctx context.Context, needs Needs) Diagnostics
}

// Mailer is a Checker of a target that mails people on its own because of a run.
type Mailer interface {
	// Mails says whom the target mails, as far as the last Check has seen.
	Mails() []Mailing
}

// SignInReporter is a Checker of a target that knows how people can sign in.
type SignInReporter interface {
	// SignIns says which ways are switched on, as far as the last Check has seen. A
	// way that is not in the list is unknown.
	SignIns() []SignIn
}

// Fixer is a target that can apply the remedies that its Check names. It changes
// settings of the target, never accounts.
type Fixer interface {
	// Fix reports what it has done, as warnings, and the problems that are left.
	Fix(ctx context.Context, needs Needs) Diagnostics
}

// FixUndoer is a [Fixer] that keeps a copy of the settings that it replaces.
type FixUndoer interface {
	Fixer
	// UndoFix restores what earlier calls of Fix have changed, also calls on other
	// machines. It reports what it has done, as warnings, and the problems that are left.
	// Settings that somebody has changed since then stay as they are.
	UndoFix(ctx context.Context) Diagnostics
}

// Preparer is a target that can create what a migration needs there before anything else
// works: a place for the users, a client for this program, trust in the bridge. This takes
// an administrator's rights. It compares things that already exist, and never changes them.
type Preparer interface {
	// Setup creates what is missing. It returns the steps in their order, also if there were
	// problems. With s.Show it sends no request and returns all steps. A step names a
	// secret, and never holds its value.
	Setup(ctx context.Context, s Setup, needs Needs) ([]SetupStep, Diagnostics)
}

// Planner is a target that can say what Load would do. It must not write
// anything, and what it predicts must be what Load then does.
type Planner interface {
	// Plan follows the rules of [Target].Load. It reports changes instead of outcomes.
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
	// Undo changes only accounts that still have the state in which a run has left
	// them. Others are Skipped with load.moved. An account without a pre-image is deleted:
	// the outcome is Deleted, or Unchanged if it does not exist any more. An account with a
	// pre-image is restored: the outcome is Updated. An account without a state was made by
	// the host a moment ago, and its state is not compared. The rules of [Target].Load
	// hold.
	//
	// The other fields of an account are only for targets that declare [CanDisable]. The
	// same conditions hold:
	//
	//   - Disable: the account is not deleted. It is switched off, so that nobody can sign in
	//     with it. The outcome is Updated, with the new state and a pre-image. If InDoubt is
	//     set as well, an earlier call may already have done this.
	//   - Release: the account also gives up its address, its names and its identities, so
	//     that another account can have them. It may already be switched off. An Undo with
	//     its first pre-image restores all of this.
	//   - DryRun: nothing is written. The outcome is what the call would have done, and its
	//     pre-image may be empty.
	Undo(ctx context.Context, accounts []Account, out Outcomes) error
}

// DoubtUndoer is an [Undoer] that can also look for accounts that are in doubt: the host
// does not know whether they exist. Without it, an undo only names such accounts.
type DoubtUndoer interface {
	Undoer
	// UndoInDoubt looks for accounts that a run has sent and that got no answer. It looks
	// by TargetID if there is one, and by ID otherwise. If the account has a proof that a
	// load has made it (a mark, or the id itself), it is deleted: Deleted. If there is no
	// account, the outcome is Unchanged. If there is an account without such a proof, it
	// stays: Skipped with undo.in_doubt and its id. The rules of [Target].Load hold.
	UndoInDoubt(ctx context.Context, accounts []Account, out Outcomes) error
}

// Tidier is an [Undoer] whose runs create more than accounts, such as roles and groups.
// These must be deleted when no account has them any more.
type Tidier interface {
	Undoer
	// Tidy deletes what runs have created and no account has any more. It returns after
	// about ten seconds. removed is how many things it has deleted, and left how many it
	// has not looked at yet. The host calls it again until left is 0. A call goes on where
	// the last one has stopped; it must also work without an earlier call.
	Tidy(ctx context.Context) (removed, left int, err error)
}

// Authenticator is a target that can test a password in the same way in which a
// person signs in. With it the host proves that old passwords work. It uses test
// accounts, which it creates for this and deletes afterwards.
type Authenticator interface {
	// Login returns false if the target refuses the password as wrong, and an error
	// if the target cannot be asked.
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
