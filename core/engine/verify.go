package engine

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// Verify reads the target back and compares every account with what it should be.
// With a journal, those count that a run has loaded; without one, all that a run
// would load. sample, when above 1, compares every sample-th account only. It
// writes nothing.
func Verify(ctx context.Context, src Source, dst Target, o Options, sample int) (v *Verification, err error) {
	o.DryRun, o.Full = true, true
	r := newRun(dst, o)
	v = &Verification{Differences: map[diag.Code]int{}}
	if !r.caps.Can(pluginapi.CanPlan) {
		return v, errors.New("this target cannot be read back: its plugin does not implement Plan")
	}
	start := time.Now()
	defer func() { v.Elapsed = time.Since(start) }()
	if err := r.look(ctx, src); err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, r.survey.close()) }()
	return v, (&verifier{r, compare(ctx, r.dst, v, tell(o.Outcome))}).verify(ctx, sample)
}

// tell passes differences on to whoever wants to know of them.
func tell(outcome func(pluginapi.Change)) func(pluginapi.Change) error {
	return func(c pluginapi.Change) error {
		if outcome != nil {
			outcome(c)
		}
		return nil
	}
}

// verifier compares both sides of a run that has looked at its source.
type verifier struct {
	*run
	comparison *comparison
}

// verify compares all that should be in the target.
func (r *verifier) verify(ctx context.Context, sample int) error {
	c, v := r.comparison, r.comparison.v
	c.guessing, c.all = r.journal == nil, true
	seed, left := maphash.MakeSeed(), 0
	err := r.survey.work.each(nil, func(it *item) error {
		if v.Read++; v.Read%progressEvery == 0 {
			r.progress(Verifying, v.Read, r.survey.total)
		}
		lost := r.survey.conflicts.resolve(it.place, &it.user)
		if sample > 1 && maphash.String(seed, it.user.SourceID)%uint64(sample) != 0 {
			return nil
		}
		should, err := r.expected(ctx, it, it.out == nil && lost == nil)
		if err != nil {
			return err
		}
		if should {
			c.add(it.user)
			return ctx.Err()
		}
		left++
		if !r.options.All {
			return nil
		}
		absent, err := r.absent(ctx, it, lost)
		if err != nil || r.accepted(&absent) {
			return err
		}
		left--
		return c.lacks(absent)
	})
	r.progress(Verifying, v.Read, r.survey.total)
	err = c.end(ctx, err)
	v.Expected += left // answers count there as well
	if err != nil || !r.options.All {
		return err
	}
	return r.gone(ctx)
}

// gone counts accounts that runs have loaded and the source no longer has, but for those
// that a run has switched off.
func (r *verifier) gone(ctx context.Context) error {
	for _, id := range r.survey.removed {
		if r.journal != nil {
			e, err := entryOf(ctx, r.journal, id)
			if err != nil {
				return err
			}
			if !e.DisabledAt.IsZero() {
				continue // a run has followed
			}
		}
		gone := pluginapi.Change{Outcome: pluginapi.Outcome{SourceID: id, Action: pluginapi.Unchanged, Code: diag.VerifyGone, Detail: "a run has loaded it, and it is no longer in the source"}}
		if err := r.comparison.lacks(gone); err != nil {
			return err
		}
	}
	return nil
}

// absent says why an account of the source is not in the target.
func (r *verifier) absent(ctx context.Context, it *item, lost *loser) (pluginapi.Change, error) {
	c := pluginapi.Change{Outcome: pluginapi.Outcome{SourceID: it.user.SourceID, Action: pluginapi.Created, Code: diag.VerifyNotLoaded, Detail: "no run has loaded it"}}
	switch {
	case it.out != nil:
		c.Action, c.Code, c.Detail = it.out.Action, it.out.Code, it.out.Detail
	case lost != nil:
		c.Outcome = r.survey.conflicts.outcome(it.user.SourceID, lost)
	case r.journal != nil && r.survey.status(it.place) != statusNew:
		e, err := entryOf(ctx, r.journal, it.user.SourceID)
		if err != nil {
			return c, err
		}
		if e.Code != "" {
			c.Action, c.Code, c.Detail = e.Outcome(), e.Code, "the last run did not load it"
		}
	}
	return c, nil
}

// accepted says that the operator wants an account to be absent: the filter or a policy
// leaves it out, or it is one with another account.
func (r *verifier) accepted(c *pluginapi.Change) bool {
	return c.Action == pluginapi.Skipped && c.Code != diag.LoadExistsDiffers && c.Code != diag.LoadDrift || slices.Contains(r.options.Policies.Skip, c.Code)
}

// expected says whether an account should be in the target, and notes what is known of
// it there. sent says that a run would send it now.
func (r *verifier) expected(ctx context.Context, it *item, sent bool) (bool, error) {
	if r.journal == nil {
		return sent, nil
	}
	if !r.survey.status(it.place).sent() {
		return false, nil
	}
	e, err := entryOf(ctx, r.journal, it.user.SourceID)
	if err != nil {
		return false, err
	}
	it.user.Prior = pluginapi.Prior{TargetID: e.TargetID, State: e.State}
	// An account that differed and was left alone is not as it should be, and was
	// never meant to be.
	return e.InTarget() || e.InDoubt, nil
}
