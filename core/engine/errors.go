package engine

import (
	"errors"

	"github.com/stetl/stetl/core/diag"
)

// The reasons why a run ends before every account was dealt with. All but
// ErrUnbalanced and ErrNotCommitted leave everything accounted for as it is.
var (
	// ErrRefused: the preflight found an error; the diagnostics say which. Nothing
	// was written.
	ErrRefused = errors.New("the target is not ready for this run")
	// ErrNotCommitted: the last step of the target failed; nothing of the run
	// counts as loaded.
	ErrNotCommitted = errors.New("the target could not complete the run")
	// ErrLimit: the run would do, or has met, more than the limits allow.
	ErrLimit = errors.New("stopped by a limit")
	// ErrCanary: a password that should work does not; no user was loaded.
	ErrCanary = errors.New("an old password would not work in the target")
	// ErrNotProven: nobody can tell here whether old passwords work, and the policies ask
	// for the proof; no user was loaded.
	ErrNotProven = errors.New("it cannot be proven that old passwords work, and policies.canary is required")
	// ErrUnbalanced: outcomes do not add up to the accounts read, which is a defect
	// of this program or of a plugin.
	ErrUnbalanced = errors.New("the accounts do not add up; please report this")
)

// ErrNeedsEveryone says that a target that is written as a whole was to get a part: the
// part would have replaced everybody else.
var ErrNeedsEveryone = errors.New("this target is written as a whole every time, so a run must be about all accounts")

// conflictCodes are of accounts that want what another one in the target has.
var conflictCodes = map[diag.Code]bool{diag.LoadIDConflict: true, diag.LoadUsernameConflict: true, diag.LoadEmailConflict: true, diag.LoadIdentityConflict: true}
