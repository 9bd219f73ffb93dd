package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// Run moves every account of src to dst. The result is meaningful also when
// the error is not nil: it says how far the run came. When ctx ends, reading
// stops, and what is in flight gets a moment to end in order.
func Run(ctx context.Context, src Source, dst Target, o Options) (*Result, error) {
	start := time.Now()
	r := newRun(dst, o)
	err := r.do(ctx, src)
	r.result.Elapsed = time.Since(start)
	return r.result, err
}

// Check reads every account and examines the target for what a run with these
// options would ask of it. It writes nothing. The result says what was found, and nothing
// of outcomes.
func Check(ctx context.Context, src Source, dst Target, o Options) (_ *Result, err error) {
	r := newRun(dst, Options{
		Mapping: o.Mapping, Policies: o.Policies, Progress: o.Progress, Broker: o.Broker, Roles: o.Roles, DefineRoles: o.DefineRoles,
	})
	if err := r.look(ctx, src); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.survey.close()) }()
	r.progress(Checking, 0, 0)
	return r.result, r.check(ctx)
}

// Survey reads every account and says what a run would ask of the target.
func Survey(ctx context.Context, src Source, dst Target, o Options) (pluginapi.Needs, error) {
	r := newRun(dst, Options{Mapping: o.Mapping, Policies: o.Policies, Progress: o.Progress})
	if err := r.look(ctx, src); err != nil {
		return pluginapi.Needs{}, err
	}
	return r.survey.demand.needs(), r.survey.close()
}

// run is one run. Its methods are the steps, in their order.
type run struct {
	dst     Target
	caps    pluginapi.Capabilities
	options Options
	// journal is nil where nothing is to be known of earlier runs.
	journal Journal
	// part is who the run is about; nil when it is about everybody.
	part   *Part
	survey *survey
	result *Result
}

func newRun(dst Target, o Options) *run {
	r := &run{dst: dst, caps: dst.Capabilities(), options: o, journal: o.Journal, part: o.Part}
	if r.part == nil && o.Plan != nil {
		r.part = o.Plan.part()
	}
	if r.caps.Whole && o.Journal != nil {
		// Every run writes everything anew: what earlier ones did is of no account, and
		// what this one does is noted for the commands that come after it.
		r.journal = forgetful{o.Journal}
		if o.DryRun {
			r.journal = nil
		}
	}
	r.result = newResult(&o, r.part)
	return r
}

func (r *run) do(ctx context.Context, src Source) (err error) {
	if r.caps.Whole && r.part != nil && !r.options.DryRun {
		return ErrNeedsEveryone
	}
	if err := r.look(ctx, src); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.survey.close()) }()
	r.progress(Checking, 0, 0)
	if err := r.check(ctx); err != nil {
		return err
	}
	if r.result.Diagnostics.HasErrors() {
		return ErrRefused
	}
	if r.options.DryRun {
		if !r.caps.Can(pluginapi.CanPlan) {
			return errors.New("a dry run is not possible with this target: its plugin does not implement Plan")
		}
		leaving, err := r.leavers(ctx)
		if err != nil {
			return err
		}
		return r.move(ctx, nil, nil, leaving)
	}
	nameUnseenDrift(&r.result.Diagnostics, &r.options, r.survey.unchanged())
	limits := newLimiter(&r.options.Policies, r.survey.amount, r.survey.unchanged())
	leaving, err := r.leavers(ctx)
	if err != nil {
		return err
	}
	updates := r.survey.demand.changed
	if r.options.Full {
		updates = 0 // how many of them differ is known only when they are compared
	}
	if err := limits.before(updates, r.survey.demand.resets, r.result.Mailed, r.result.strandedCount(), leaving.count()); err != nil {
		return err
	}
	if err := r.confirm(ctx); err != nil {
		return err
	}
	if err := r.prove(ctx); err != nil {
		return err
	}
	if err := leaving.act(ctx); err != nil {
		return fmt.Errorf("follow people who have gone: %w", err)
	}
	w := r.toReadBack()
	if err := r.move(ctx, limits, w, leaving); err != nil {
		return err
	}
	return r.readBack(ctx, w)
}

// leavers finds out which accounts are of people who have gone from the source, and asks
// the target about them; nil where they are not followed.
func (r *run) leavers(ctx context.Context) (*leavers, error) {
	o := &r.options
	j, known := r.journal.(leaversJournal)
	dst, undoes := r.dst.(takingBack)
	if o.Departures == nil || !o.Policies.Gone.Follows() || !known || !undoes {
		return nil, nil //nolint:nilnil // nobody is followed
	}
	r.progress(Following, 0, 0)
	g := newLeavers(j, dst, &r.caps, o)
	g.result.People = len(r.survey.removed)
	r.result.Gone = g.result
	if len(r.survey.removed) == 0 {
		return g, nil
	}
	if r.part != nil {
		g.withhold(diag.GonePart, "a run about a part of the accounts does not handle people who have gone")
		return g, nil
	}
	if code, why := o.Departures.Unproven(); code != "" {
		g.withhold(code, why)
		return g, nil
	}
	rules := goneRules{policy: o.Policies.Gone, after: o.Policies.After(), linked: r.survey.linked, same: o.Departures.SameReading, plan: o.Plan}
	if err := g.find(ctx, r.survey.removed, &rules); err != nil {
		return nil, err
	}
	if err := g.look(ctx); err != nil {
		return nil, fmt.Errorf("ask the target about people who have gone: %w", err)
	}
	return g, nil
}

// look is the first step: every account is read, and what can be decided without the
// target is decided.
func (r *run) look(ctx context.Context, src Source) (err error) {
	o := &r.options
	v := surveyor{
		src: src, journal: r.journal, mapping: o.Mapping, caps: &r.caps, policies: o.Policies.Collision, part: r.part, key: o.Key,
		full: o.Full, everybody: o.DryRun || o.Plan != nil || r.part != nil, roles: newRoleHolders(o.Roles),
		progress: func(done int) { r.progress(Surveying, done, 0) },
	}
	v.allLinked = o.Policies.Gone.Follows()
	if r.journal != nil && (v.allLinked || r.caps.UniqueIdentities) {
		v.loaded = func(id string) (*journal.Entry, error) {
			e, ok, err := r.journal.Get(ctx, id)
			if err != nil || !ok || !e.InTarget() {
				return nil, err
			}
			return &e, nil
		}
	}
	if r.survey, err = v.survey(ctx); err != nil {
		return err
	}
	r.survey.report(r.result, o.Plugin, &r.caps)
	return nil
}

// defineRoles tells a target that keeps it what roles allow, those as well that allow nothing
// any more.
func defineRoles(ctx context.Context, r *run) error {
	if !r.caps.Has(pluginapi.CarriesRolePermissions) || r.options.DefineRoles == nil {
		return nil
	}
	defined := r.survey.roles.had(r.options.Roles)
	if len(defined) == 0 {
		return nil
	}
	if err := r.options.DefineRoles(ctx, defined); err != nil {
		return fmt.Errorf("tell the target what roles allow: %w", err)
	}
	return nil
}

// check examines the target for what the run will ask of it.
func (r *run) check(ctx context.Context) error {
	if err := defineRoles(ctx, r); err != nil {
		return err
	}
	signIns := r.survey.signIns
	signIns.target.Declared, signIns.told = r.caps.SignIns, r.options.SignIn
	defer r.strand()
	defer needsDisable(r)
	if !r.caps.Can(pluginapi.CanCheck) {
		return nil
	}
	needs := r.survey.demand.needs()
	needs.Broker = r.options.Broker
	needs.DryRun = r.options.DryRun
	found, err := r.dst.Check(ctx, needs)
	if err != nil {
		return fmt.Errorf("check the target: %w", err)
	}
	r.result.Diagnostics, signIns.target.Found = weigh(found.Diagnostics, r.options.Policies.Canary), found.SignIns
	if r.result.Mailed = r.survey.demand.mailed(found.Mails); r.result.Mailed > 0 {
		r.result.Diagnostics.Add(diag.Diagnostic{
			Severity: diag.Warning, Code: diag.RunMails, Summary: fmt.Sprintf("the target will mail %d people because of this run", r.result.Mailed),
			Hint: "change the target's settings if they should not be mailed, or set limits.mails",
		})
	}
	return nil
}

// needsDisable says that the target cannot do what the policy about people who have gone wants.
func needsDisable(r *run) {
	follows := r.options.Policies.Gone
	if !follows.Follows() || r.caps.Whole || r.caps.Can(pluginapi.CanDisable) && r.caps.Can(pluginapi.CanUndo) {
		return
	}
	r.result.Diagnostics.Add(diag.Diagnostic{
		Severity: diag.Error, Code: diag.GoneUnable, Summary: fmt.Sprintf("policies.gone is %s, but this target cannot switch accounts off", follows),
		Hint: "leave it out, or, if the plugin has a setting for it, configure what switches an account off",
	})
}

// strand says who will have no way to sign in.
func (r *run) strand() {
	signIns := r.survey.signIns
	r.result.SignIn, r.result.Stranded = signIns.target, signIns.stranded()
	n := r.result.strandedCount()
	if n == 0 {
		return
	}
	hint := "give them an address, or a way to sign in that the target has; stetl rejects --stranded lists them, limits.stranded limits their number"
	if on := r.result.Stranded.SwitchOn; len(on) > 0 {
		hint = fmt.Sprintf("switch on %s in the target: then %d of them can sign in; limits.stranded limits their number", on[0].Text(), on[0].Accounts)
	}
	r.result.Diagnostics.Add(diag.Diagnostic{
		Severity: diag.Warning, Code: diag.RunStranded, Summary: fmt.Sprintf("%d people will have no way to sign in", n), Hint: hint,
	})
}

// nameUnseenDrift says in how many accounts drift is not going to be written over, since
// nothing asks for a look at them.
func nameUnseenDrift(l *diag.List, o *Options, unchanged int) {
	if !bool(o.Policies.OverwriteDrift) || o.Full || unchanged == 0 {
		return
	}
	l.Add(diag.Diagnostic{
		Severity: diag.Warning, Code: diag.RunDriftNeedsFull,
		Summary: fmt.Sprintf("policies.drift is overwrite, but this run does not compare the %d accounts that have not changed in the source", unchanged), Hint: "run with --full to compare all accounts",
	})
}

// weigh gives what a target says of the proof of passwords the weight that the policies
// give to the proof.
func weigh(found diag.List, canary policy.Canary) diag.List {
	var l diag.List
	for _, d := range found {
		if d.Code == diag.TargetLoginUnavailable {
			switch canary {
			case policy.CanaryOff:
				continue
			case policy.CanaryRequired:
				d.Severity = diag.Error
			}
		}
		l.Add(d)
	}
	return l
}

// confirm asks whoever wants to be asked before the first write.
func (r *run) confirm(ctx context.Context) error {
	if r.options.Confirm == nil {
		return nil
	}
	return r.options.Confirm(ctx, Intent{
		Accounts: r.survey.amount, Resets: r.survey.demand.resets, Mailed: r.result.Mailed, Stranded: r.result.strandedCount(),
	})
}

// prove has canaries show that old passwords will work, where the target can be asked.
func (r *run) prove(ctx context.Context) (err error) {
	hashes := r.survey.demand.hashes.list()
	if r.options.Canary == nil || len(hashes) == 0 {
		return nil
	}
	r.progress(Proving, 0, 0)
	if r.caps.Can(pluginapi.CanLogin) && r.caps.Can(pluginapi.CanUndo) {
		p := prover{dst: r.dst, canary: r.options.Canary, remember: r.journal != nil, withheld: r.caps.Withheld()}
		if r.result.Canaries, err = p.prove(ctx, hashes); err != nil {
			return err
		}
	} else {
		r.result.Canaries = []Proof{{Unasked: true, Problem: "it is not possible to test a password at this target"}}
	}
	for _, proof := range r.result.Canaries {
		if proof.Unasked && r.options.Policies.Canary == policy.CanaryRequired {
			return fmt.Errorf("%w: %s: %s", ErrNotProven, cmp.Or(proof.Shape, "every hash"), proof.Problem)
		}
	}
	return nil
}

// move gives every account its outcome, has the target complete what it has begun, and
// makes sure that everything adds up.
func (r *run) move(ctx context.Context, limits *limiter, w *written, leaving *leavers) error {
	o, phase := &r.options, Loading
	if o.DryRun {
		phase = Planning
	}
	t := &counter{
		result: r.result, accepted: o.Policies.Skip, outcome: o.Outcome,
		progress: func(done int) { r.progress(phase, done, r.survey.amount) },
	}
	m := mover{
		dst: r.dst, caps: &r.caps, journal: r.journal, survey: r.survey, limits: limits, counter: t, written: w, leavers: leaving,
		rules:  rules{adopt: bool(o.Policies.Adopt), overwrite: bool(o.Policies.OverwriteDrift), planned: o.Plan != nil},
		loader: &loader{dst: r.dst, journal: r.journal, run: o.Run, key: o.Key},
		plan:   o.Plan, digest: o.Digest, dry: o.DryRun, waiting: waiting{dry: o.DryRun, planned: o.Plan != nil},
	}
	err := m.move(ctx)
	r.result.Stranded = r.survey.signIns.stranded()
	if err != nil {
		return err
	}
	if r.part == nil {
		r.result.Removed = r.survey.removed
	}
	if !o.DryRun {
		if f, ok := r.journal.(interface {
			Forget(sourceIDs []string) error
		}); ok && r.part == nil && len(r.survey.gone) > 0 {
			// Nobody can load them any more, nor is there anything to take back.
			if err := f.Forget(r.survey.gone); err != nil {
				return fmt.Errorf("forget rejected accounts that have gone from the source: %w", err)
			}
		}
		if err := r.dst.Finish(ctx); err != nil {
			t.uncommitted(r.caps.Whole)
			return fmt.Errorf("%w: %w", ErrNotCommitted, err)
		}
	}
	return r.balance()
}

// balance is invariant I1: whoever was read has one outcome.
func (r *run) balance() error {
	s := r.result.Summary
	if s.Read != s.Accounted() || s.Read != r.survey.total {
		return fmt.Errorf("%w: %d users surveyed, %d read, %d accounted for", ErrUnbalanced, r.survey.total, s.Read, s.Accounted())
	}
	return nil
}

// toReadBack collects what the run writes, as far as it is to be read back.
func (r *run) toReadBack() *written {
	n := r.options.ReadBack
	if n <= 0 || r.caps.Whole || !r.caps.Can(pluginapi.CanPlan) {
		return nil
	}
	return &written{every: n, withIDs: r.journal == nil, seed: maphash.MakeSeed(), ids: map[int]string{}}
}

// readBack compares what this run has written with what is in the target now.
func (r *run) readBack(ctx context.Context, w *written) error {
	if w == nil || w.count == 0 {
		return nil
	}
	v := &Verification{Read: r.survey.total, Differences: map[diag.Code]int{}}
	r.result.ReadBack = v
	start := time.Now()
	defer func() { v.Elapsed = time.Since(start) }()
	c := compare(ctx, r.dst, v, func(c pluginapi.Change) error {
		if r.options.Different != nil {
			r.options.Different(c)
		}
		return disprove(ctx, r.journal, r.options.Run, c)
	})
	c.patience = patience
	if r.options.patience != nil {
		c.patience = r.options.patience
	}
	done := 0
	err := r.survey.work.each(w.at.has, func(it *item) error {
		r.survey.conflicts.resolve(it.place, &it.user)
		it.user.Prior.TargetID = w.ids[it.place]
		if r.journal != nil {
			e, err := entryOf(ctx, r.journal, it.user.SourceID)
			if err != nil {
				return err
			}
			it.user.Prior = pluginapi.Prior{TargetID: e.TargetID, State: e.State}
		}
		c.add(it.user)
		if done++; done%progressEvery == 0 {
			r.progress(Verifying, done, w.count)
		}
		return ctx.Err()
	})
	r.progress(Verifying, done, w.count)
	err = c.end(ctx, err)
	if err == nil && v.Different() > 0 {
		err = fmt.Errorf("%w: %d of %d accounts", ErrDiffers, v.Different(), v.Compared)
	}
	return err
}

// progressEvery is how many accounts are read back between two words about it.
const progressEvery = 1000

func (r *run) progress(p Phase, done, total int) {
	if r.options.Progress != nil {
		r.options.Progress(Progress{Phase: p, Done: done, Total: total})
	}
}
