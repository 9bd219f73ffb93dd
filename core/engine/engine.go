package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/target"
)

// Source gives every account, in an order that is the same each time. It is
// read more than once: first to decide, then to act.
type Source interface {
	Accounts(ctx context.Context, emit func([]canonical.User) error) error
}

// Target is a configured plugin. Plan and Load return exactly one entry per
// user, in the order of users, also when they return an error. Load may be
// called from several goroutines.
type Target interface {
	Capabilities() target.Capabilities
	Check(ctx context.Context, needs target.Needs) (diag.List, error)
	Plan(ctx context.Context, users []target.User) ([]target.Change, error)
	Load(ctx context.Context, users []target.User) ([]target.Outcome, error)
	Finish(ctx context.Context) error
}

// Options of a run.
type Options struct {
	// DryRun plans instead of loading. Nothing is written anywhere.
	DryRun bool
	// Skip lists reasons the operator has accepted: whoever is rejected for one
	// of them counts as skipped.
	Skip []diag.Code
	// Outcome, when set, is called for every user as its fate becomes known,
	// one call at a time. In a dry run it is the predicted one, with fields.
	Outcome func(target.Change)
	// Progress, when set, is called now and then, one call at a time.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Phase Phase
	// Done counts users; Total is known from the second phase on.
	Done, Total int
}

// Phase is a stretch of a run.
type Phase string

// The phases in their order.
const (
	Surveying Phase = "survey"
	Planning  Phase = "plan"
	Loading   Phase = "load"
)

// Result is what a run did, or a dry run would do.
type Result struct {
	DryRun  bool           `json:"dry_run"`
	Summary target.Summary `json:"summary"`
	// Classes counts users by what becomes of their password.
	Classes map[target.Class]int `json:"classes"`
	// Losses counts users by what the target will not hold of them.
	Losses map[mapping.Loss]int `json:"losses"`
	// Reasons counts rejected, skipped and in-doubt users by code.
	Reasons map[diag.Code]int `json:"reasons"`
	// Diagnostics are the preflight's warnings, or its errors when it refused.
	Diagnostics diag.List     `json:"diagnostics,omitempty"`
	Elapsed     time.Duration `json:"-"`
}

// ErrRefused is returned when the preflight found an error; the diagnostics
// say which. Nothing was written.
var ErrRefused = errors.New("the target is not ready for this run")

// ErrNotCommitted is returned when the last step of the target failed; nothing
// of the run counts as loaded.
var ErrNotCommitted = errors.New("the target could not complete the run")

// Run moves every account of src to dst. The result is meaningful also when
// the error is not nil: it says how far the run came.
func Run(ctx context.Context, src Source, dst Target, o Options) (*Result, error) {
	r := newRunner(src, dst, o)
	start := time.Now()
	err := r.run(ctx)
	r.result.Elapsed = time.Since(start)
	return r.result, err
}

// Check reads every account and examines the target for what a run would ask
// of it. It writes nothing.
func Check(ctx context.Context, src Source, dst Target) (diag.List, error) {
	r := newRunner(src, dst, Options{})
	needs, err := r.survey(ctx)
	if err != nil || !r.caps.Can(target.CanCheck) {
		return nil, err
	}
	return dst.Check(ctx, needs)
}

func newRunner(src Source, dst Target, o Options) *runner {
	return &runner{src: src, dst: dst, options: o, caps: dst.Capabilities(), result: &Result{
		DryRun: o.DryRun, Classes: map[target.Class]int{}, Losses: map[mapping.Loss]int{}, Reasons: map[diag.Code]int{},
	}}
}

type runner struct {
	src     Source
	dst     Target
	options Options
	caps    target.Capabilities
	result  *Result
	total   int
	// owners knows who keeps an identifier that several accounts want.
	owners owners
}

func (r *runner) run(ctx context.Context) error {
	needs, err := r.survey(ctx)
	if err != nil {
		return err
	}
	if r.caps.Can(target.CanCheck) {
		found, err := r.dst.Check(ctx, needs)
		if err != nil {
			return fmt.Errorf("check the target: %w", err)
		}
		r.result.Diagnostics = found
		if found.HasErrors() {
			return ErrRefused
		}
	}
	if r.options.DryRun && !r.caps.Can(target.CanPlan) {
		return errors.New("this target cannot say what a run would change; its plugin does not implement Plan")
	}
	if err := r.move(ctx); err != nil {
		return err
	}
	if r.options.DryRun {
		return r.balance()
	}
	if err := r.dst.Finish(ctx); err != nil {
		s := &r.result.Summary
		s.Rejected += s.Created + s.Updated
		r.result.Reasons[diag.LoadNotCommitted] += s.Created + s.Updated
		s.Created, s.Updated = 0, 0
		return fmt.Errorf("%w: %w", ErrNotCommitted, err)
	}
	return r.balance()
}

// ErrUnbalanced is returned when outcomes do not add up to the accounts read,
// which is a defect of this program or of a plugin.
var ErrUnbalanced = errors.New("the accounts do not add up; please report this")

// balance is invariant I1: whoever was read has one outcome.
func (r *runner) balance() error {
	s := r.result.Summary
	if s.Read != s.Accounted() || s.Read != r.total {
		return fmt.Errorf("%w: %d users surveyed, %d read, %d accounted for", ErrUnbalanced, r.total, s.Read, s.Accounted())
	}
	return nil
}

// survey reads every account once without touching the target: it decides
// classes and collisions before the first write.
func (r *runner) survey(ctx context.Context) (target.Needs, error) {
	var needs target.Needs
	schemes, providers := map[canonical.Scheme]bool{}, map[string]bool{}
	err := r.src.Accounts(ctx, func(users []canonical.User) error {
		for i := range users {
			u, lost := mapping.Map(&users[i], r.caps)
			r.result.Classes[u.Class]++
			for _, l := range lost {
				r.result.Losses[l]++
			}
			if !u.Password.IsZero() && !schemes[u.Password.Scheme] {
				schemes[u.Password.Scheme] = true
				needs.Schemes = append(needs.Schemes, u.Password.Scheme)
			}
			for _, id := range u.Identities {
				if !providers[id.Provider] {
					providers[id.Provider] = true
					needs.Providers = append(needs.Providers, id.Provider)
				}
			}
			r.owners.claim(&u, r.caps)
		}
		r.total += len(users)
		r.progress(Surveying, r.total, 0)
		return nil
	})
	needs.Users = r.total
	return needs, err
}

func (r *runner) progress(p Phase, done, total int) {
	if r.options.Progress != nil {
		r.options.Progress(Progress{Phase: p, Done: done, Total: total})
	}
}

// Defaults for what a plugin leaves open in [target.BatchLimits].
const (
	defaultBatchUsers = 200
	defaultInFlight   = 1
)

// move reads every account again and plans or loads it. Back-pressure is the
// group's limit: reading waits while all batches are in flight.
func (r *runner) move(ctx context.Context) error {
	size, inFlight := r.caps.Batch.Users, r.caps.Batch.InFlight
	if size <= 0 {
		size = defaultBatchUsers
	}
	if inFlight <= 0 {
		inFlight = defaultInFlight
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	answers := make(chan []target.Change, inFlight)
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		for changes := range answers {
			r.record(changes)
		}
	}()
	var batch []target.User
	send := func() {
		users := batch
		batch = nil
		group.Go(func() error {
			changes, err := r.apply(ctx, users)
			answers <- changes
			return err
		})
	}
	err := r.src.Accounts(ctx, func(users []canonical.User) error {
		for i := range users {
			u, _ := mapping.Map(&users[i], r.caps)
			if o, collides := r.owners.collision(&u, r.caps); collides {
				answers <- []target.Change{{Outcome: o}}
				continue
			}
			if batch = append(batch, u); len(batch) == size {
				send()
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		return nil
	})
	if len(batch) > 0 && err == nil {
		send()
	}
	// The group's error comes first: it is why the reading stopped.
	if groupErr := group.Wait(); groupErr != nil {
		err = groupErr
	}
	close(answers)
	<-counted
	return err
}

func (r *runner) apply(ctx context.Context, users []target.User) ([]target.Change, error) {
	if r.options.DryRun {
		return r.dst.Plan(ctx, users)
	}
	outcomes, err := r.dst.Load(ctx, users)
	changes := make([]target.Change, len(outcomes))
	for i, o := range outcomes {
		changes[i] = target.Change{Outcome: o}
	}
	return changes, err
}

func (r *runner) record(changes []target.Change) {
	for _, c := range changes {
		if c.Action == target.Rejected && slices.Contains(r.options.Skip, c.Code) {
			c.Action = target.Skipped
		}
		r.result.Summary.Read++
		r.result.Summary.Count(c.Action)
		if c.Code != "" {
			r.result.Reasons[c.Code]++
		}
		if r.options.Outcome != nil {
			r.options.Outcome(c)
		}
	}
	phase := Loading
	if r.options.DryRun {
		phase = Planning
	}
	r.progress(phase, r.result.Summary.Read, r.total)
}
