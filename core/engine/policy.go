package engine

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/target"
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

// guard counts what limits bound.
type guard struct {
	stale int // accounts whose update a run would ask for
	// people counts those that a run would create and who have an address, by whether
	// nobody has proven it and whether they need a new password.
	people [2][2]int

	mu        sync.Mutex
	adopted   int
	updated   int
	recent    []bool // ring of the last outcomes, true for failures
	at, count int
}

// mail notes somebody whose account would be created.
func (g *guard) mail(u *target.User) {
	if u.Email == "" {
		return
	}
	unverified, reset := 0, 0
	if u.EmailVerified == nil || !*u.EmailVerified {
		unverified = 1
	}
	if u.Class == target.NeedsReset {
		reset = 1
	}
	g.people[unverified][reset]++
}

// mailed counts whom the target is going to mail.
func (r *runner) mailed(mails []target.Mailing) {
	for unverified, byReset := range r.guard.people {
		for reset, n := range byReset {
			if slices.Contains(mails, target.MailsCreated) || unverified > 0 && slices.Contains(mails, target.MailsUnverified) || reset > 0 && slices.Contains(mails, target.MailsReset) {
				r.result.Mailed += n
			}
		}
	}
	if r.result.Mailed > 0 {
		r.result.Diagnostics.Add(diag.Diagnostic{
			Severity: diag.Warning, Code: diag.RunMails, Summary: fmt.Sprintf("the target is going to mail %d people because of this run", r.result.Mailed),
			Hint: "change the target's settings if they should not be mailed, or bound it with limits.mails",
		})
	}
}

// limitsBefore checks what is known before the first write.
func (r *runner) limitsBefore() error {
	l := r.options.Policies.Limits
	updates := r.guard.stale
	if r.options.Full {
		updates = 0 // how many of them differ is known only when they are compared
	}
	for _, c := range []struct {
		what  string
		n     int
		limit Limit
	}{
		{"accounts would be updated", updates, l.Updates},
		{"accounts would need a new password", r.needs.Resets, l.Resets},
		{"people would be mailed by the target", r.result.Mailed, l.Mails},
	} {
		if most, set := c.limit.Of(r.amount()); set && c.n > most {
			return fmt.Errorf("%w: %d %s, the limit is %d; nothing was written", ErrLimit, c.n, c.what, most)
		}
	}
	return nil
}

// adopt asks whether n more accounts may be adopted.
func (r *runner) adopt(n int) error {
	r.guard.mu.Lock()
	defer r.guard.mu.Unlock()
	most, set := r.options.Policies.Limits.Adoptions.Of(r.amount())
	if set && r.guard.adopted+n > most {
		return fmt.Errorf("%w: more than %d accounts that are already in the target would be adopted", ErrLimit, most)
	}
	r.guard.adopted += n
	return nil
}

// changing asks whether n more accounts that runs have loaded may be changed. It
// matters where the number was not known beforehand.
func (r *runner) changing(n int) error {
	r.guard.mu.Lock()
	defer r.guard.mu.Unlock()
	most, set := r.options.Policies.Limits.Updates.Of(r.amount())
	if set && r.guard.updated+n > most {
		return fmt.Errorf("%w: more than %d accounts would be updated, which were %d so far", ErrLimit, most, r.guard.updated)
	}
	r.guard.updated += n
	return nil
}

// failing notes the outcomes of a batch and says when too many of the last ones
// are failures.
func (r *runner) failing(changes []target.Change) error {
	l := r.options.Policies.Limits
	if l.Failures <= 0 || r.options.DryRun {
		return nil
	}
	g := &r.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.recent == nil {
		g.recent = make([]bool, max(cmp.Or(l.Window, 1000), l.Failures))
	}
	for _, c := range changes {
		bad := (c.Action == target.Rejected || c.Action == target.InDoubt) && !slices.Contains(r.options.Policies.Skip, c.Code)
		if g.recent[g.at] {
			g.count--
		}
		if g.recent[g.at] = bad; bad {
			g.count++
		}
		g.at = (g.at + 1) % len(g.recent)
	}
	if g.count >= l.Failures {
		return fmt.Errorf("%w: %d of the last %d accounts were refused or are in doubt", ErrLimit, g.count, len(g.recent))
	}
	return nil
}
