package engine

import (
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/mapping"
)

// Policies are the decisions of the operator.
type Policies struct {
	// Skip lists reasons the operator has accepted: whoever is rejected for one
	// of them counts as skipped.
	Skip []diag.Code
	// Adopt brings accounts up to date that are in the target, differ, and were not
	// made by a run.
	Adopt bool
	// OverwriteDrift writes over what others have changed in the target since the
	// last run. Without, such accounts are Skipped with load.drift.
	OverwriteDrift bool
	// Collision says what happens to accounts that want what another account keeps.
	Collision Collision
	Limits    Limits
}

// Collision says, by identifier, what happens to an account that wants one which
// another account keeps. The zero value rejects.
type Collision struct {
	// ID: [mapping.Reject], [mapping.Skip], or [mapping.Internal] for the source's
	// internal id instead.
	ID mapping.Policy
	// Username: Reject, Skip, [mapping.Suffix] or [mapping.Link].
	Username mapping.Policy
	// Email: Reject, Skip, [mapping.Drop] for an account without address, Link, or
	// [mapping.Allow] where the target is set up to take an address twice.
	Email mapping.Policy
}

// Limits stop a run that would do more than was expected of it.
type Limits struct {
	// Updates bounds how many accounts an earlier run has loaded may be changed,
	// Resets how many of those that are sent will need a new password, and Adoptions
	// how many accounts may be adopted.
	Updates, Resets, Adoptions Limit
	// Mails bounds how many people the target may mail because of the run.
	Mails Limit
	// Failures stops a run when that many of the last Window outcomes of the target
	// are rejects or in doubt; 0 never does. A Window of 0 is one of 1000.
	Failures, Window int
}

// Limit is a number of accounts, or a share of those that the run is about. The zero
// value has no bound.
type Limit struct {
	Set     bool
	Count   int
	Percent float64 // used instead of Count when not 0
}

// Of returns the bound for a number of accounts.
func (l Limit) Of(total int) (int, bool) {
	if l.Percent > 0 {
		return int(l.Percent * float64(total) / 100), l.Set
	}
	return l.Count, l.Set
}
