package engine

import (
	"context"
	"errors"
	"hash/maphash"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/target"
)

// Verification is what a target holds beside what it should hold.
type Verification struct {
	// Read counts the accounts of the source, Compared those that should be in the
	// target, Match those that are as they should be.
	Read     int `json:"read"`
	Compared int `json:"compared"`
	Match    int `json:"match"`
	// Expected counts accounts that are rightly not in the target: rejected or left
	// aside by the runs so far.
	Expected int `json:"not_loaded"`
	// Differences counts the rest by what is wrong.
	Differences map[diag.Code]int `json:"differences"`
	Elapsed     time.Duration     `json:"-"`
}

// Different is how many accounts are not as they should be.
func (v *Verification) Different() int { return v.Compared - v.Match }

// Verify reads the target back and compares every account with what it should be.
// With a journal, those count that a run has loaded; without one, all that a run
// would load. sample, when above 1, compares every sample-th account only. It
// writes nothing.
func Verify(ctx context.Context, src Source, dst Target, o Options, sample int) (*Verification, error) {
	o.DryRun, o.Full = true, true
	r := newRunner(src, dst, o)
	v := &Verification{Differences: map[diag.Code]int{}}
	if !r.caps.Can(target.CanPlan) {
		return v, errors.New("this target cannot be read back; its plugin does not implement Plan")
	}
	start := time.Now()
	defer func() { v.Elapsed = time.Since(start) }()
	if err := r.remember(ctx); err != nil {
		return v, err
	}
	if err := r.survey(ctx); err != nil {
		return v, err
	}
	c := r.compare(ctx, v, func(change target.Change) error {
		if o.Outcome != nil {
			o.Outcome(change)
		}
		return nil
	})
	seed := maphash.MakeSeed()
	n := 0
	err := src.Accounts(ctx, func(users []canonical.User) error {
		for i := range users {
			u, aside := r.mapped(n, &users[i])
			n++
			v.Read++
			if sample > 1 && maphash.String(seed, u.SourceID)%uint64(sample) != 0 {
				continue
			}
			ask, err := r.expected(ctx, n-1, &u, aside != nil)
			if err != nil {
				return err
			}
			if !ask {
				v.Expected++
				continue
			}
			c.take(u)
		}
		r.progress(Verifying, v.Read, r.total)
		return ctx.Err()
	})
	return v, c.end(ctx, err)
}

// expected says whether the n-th account should be in the target.
func (r *runner) expected(ctx context.Context, n int, u *target.User, lost bool) (bool, error) {
	if r.options.Journal == nil {
		return !lost, nil
	}
	if !r.known.standings[n].sent() {
		return false, nil
	}
	e, err := r.prior(ctx, u.SourceID)
	if err != nil {
		return false, err
	}
	u.Prior = target.Prior{TargetID: e.TargetID, State: e.State}
	// An account that differed and was left alone is not as it should be, and was
	// never meant to be.
	return e.InTarget() || e.InDoubt, nil
}
