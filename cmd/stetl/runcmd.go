package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/target"
)

// runFlags are those of run and plan.
type runFlags struct {
	dryRun, detailed, full     bool
	out, plan, detail, metrics string
	choice                     choiceFlags
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Move the users: extract, map, load",
		Long: `run reads every account of the source, decides what becomes of each one, checks
the target, and loads. Nothing is written before every account has been looked
at. With --dry-run nothing is written at all.

What it did is remembered in the journal: running again sends only what has
changed, and a run that was killed is taken up where it stopped.

--user, --users-from, --sample, --only-tenant and --only-rejects make it a run about
a part of the accounts. Every account is looked at all the same, and all others are
left as they are.`,
		Example: `  stetl run --config configs/quickstart.yaml
  stetl run --config configs/quickstart.yaml --dry-run --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.move(cmd.Context(), f) },
	}
	a.runFlags(c, &f)
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would change and write nothing")
	c.Flags().StringVar(&f.plan, "plan", "", "execute the plan saved in this `FILE` and nothing else")
	c.Flags().BoolVar(&f.choice.onlyRejects, "only-rejects", false, "only accounts that the last runs rejected or left in doubt")
	return c
}

func (a *app) planCommand() *cobra.Command {
	f := runFlags{dryRun: true}
	c := &cobra.Command{
		Use:     "plan --config FILE",
		Short:   "Show what a run would change; the same as run --dry-run",
		Example: "  stetl plan --config configs/quickstart.yaml --detail users",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.move(cmd.Context(), f) },
	}
	a.runFlags(c, &f)
	return c
}

func (a *app) runFlags(c *cobra.Command, f *runFlags) {
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	a.jsonFlag(c)
	c.Flags().BoolVar(&f.detailed, "detailed-exitcode", false, "in a dry run: exit 6 when something would change")
	c.Flags().BoolVar(&f.full, "full", false, "compare every account with the target, also where nothing has changed since the last run")
	c.Flags().StringVar(&f.out, "out", "", "in a dry run: save the plan to this `FILE`, for run --plan")
	c.Flags().StringVar(&f.detail, "detail", report.DetailPatterns, "in a dry run, the `LEVEL` of detail: "+strings.Join(report.Details(), ", "))
	f.choice.add(c)
	c.Flags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress on standard error")
	c.Flags().StringVar(&f.metrics, "metrics-listen", "", "show metrics to Prometheus at this `ADDRESS` while at work, such as 127.0.0.1:9464")
}

func (f *runFlags) check() error {
	switch {
	case !f.dryRun && f.out != "":
		return usageError{errors.New("--out saves a plan, which takes --dry-run")}
	case f.dryRun && f.plan != "":
		return usageError{errors.New("--plan executes a plan, which is no dry run")}
	case !slices.Contains(report.Details(), f.detail):
		return usageError{fmt.Errorf("--detail %s: there are %s", f.detail, strings.Join(report.Details(), ", "))}
	}
	return f.choice.check(f.plan)
}

func (a *app) move(ctx context.Context, f runFlags) error {
	r, err := a.execute(ctx, f)
	if err != nil && r.Result == nil {
		if a.asJSON {
			return errors.Join(err, r.WriteFailure(a.out, err))
		}
		return err
	}
	if err != nil {
		r.Err = err.Error()
	}
	if errors.Is(err, engine.ErrRefused) && !a.asJSON {
		return refusedError{r.Result.Diagnostics.Err()}
	}
	if writeErr := a.print(&r); writeErr != nil {
		return errors.Join(err, fmt.Errorf("write the report: %w", writeErr))
	}
	switch {
	case errors.Is(err, engine.ErrRefused):
		return refusedError{r.Result.Diagnostics.Err()}
	case err != nil:
		return err
	case r.Result.Summary.Rejected+r.Result.Summary.InDoubt > 0:
		return silentError{exitRejects}
	case f.dryRun && f.detailed && r.Result.Summary.Created+r.Result.Summary.Updated > 0:
		return silentError{exitDifferences}
	}
	return nil
}

// execute runs the engine. The report's Result is nil when it never began.
func (a *app) execute(ctx context.Context, f runFlags) (r report.Run, err error) {
	if err := f.check(); err != nil {
		return r, err
	}
	status := newStatus(a.err, a.quiet || a.asJSON)
	want := own
	if f.dryRun {
		want = peek
	}
	plan, err := a.readPlan(f)
	if err != nil {
		return r, err
	}
	ids, err := f.choice.ids(a.in)
	if err != nil {
		return r, err
	}
	p, err := a.openProject(ctx, want, status)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.close(ctx)) }()
	if err := p.mayChoose(f.choice.given(), plan); err != nil {
		return r, err
	}
	keys, err := parseRecipients(p.cfg.Rejects.Recipients)
	if err != nil {
		return r, err
	}
	if err := p.openSource(ctx); err != nil {
		return r, err
	}

	o := p.engineOptions()
	o.DryRun, o.Full = f.dryRun, f.full
	if o.Plan = plan; plan != nil {
		if err := plan.Fits(p.source.App(), p.settings()); err != nil {
			return r, usageError{err}
		}
	}
	r.Words, r.PartLosses = p.words(), report.PartLosses{}
	r.Source, r.Layout, r.App, r.Target, r.Detail = p.source.Where(), p.source.Layout(), p.source.App(), describeTarget(p.cfg), f.detail
	review := supertokens.NewReview(p.source)
	defer func() { err = errors.Join(err, review.Close()) }()
	acc := p.accounts()
	acc.review = review
	if o.Part, err = p.choose(ctx, acc, o, &f.choice, ids); err != nil {
		return r, err
	}
	o.Different = func(c target.Change) { r.Different = append(r.Different, c) }
	o.Outcome = func(c target.Change) {
		r.PartLosses.Add(c.Losses)
		if f.dryRun || c.Code != "" || len(c.Losses) > 0 {
			r.Changes = append(r.Changes, c)
		}
	}
	var saved *engine.Plan
	if f.out != "" {
		saved = p.record(&o, r.Target)
	}
	if f.metrics != "" {
		m, err := serveMetrics(ctx, f.metrics, p.cfg.Target.Plugin)
		if err != nil {
			return r, err
		}
		defer m.stop(ctx)
		m.watch(&o)
		status.listen(m.pulse)
		defer func() {
			if r.Result != nil {
				m.settle(r.Result.Summary)
			}
		}()
	}
	run, err := p.begin(ctx, &o, r)
	if err != nil {
		return r, err
	}
	result, err := engine.Run(ctx, acc, p.target, o)
	status.clear()
	result.Diagnostics = p.cfg.Target.Locate(result.Diagnostics)
	r.Result = result
	findings, findErr := review.Findings()
	r.Findings, err = findings, errors.Join(err, findErr)
	if saved != nil && err == nil {
		err = replaceFile(f.out, saved.Write)
	}
	if run.scope != nil && ctx.Err() == nil {
		err = errors.Join(err, p.keepPayloads(ctx, run.notLoaded, keys))
	}
	if endErr := run.end(result, err); endErr != nil {
		err = errors.Join(err, fmt.Errorf("the end of the run cannot be remembered: %w", endErr))
	}
	return r, classify(ctx, err)
}

// record collects the plan that a dry run makes.
func (p *project) record(o *engine.Options, place string) *engine.Plan {
	plan := engine.NewPlan(p.source.App(), place, p.settings(), nil)
	if o.Part != nil {
		plan.Part = o.Part.Flag
	}
	if p.journal == nil {
		plan.Key = p.app.planKey
	}
	var digests sync.Map // by source id
	o.Digest = func(id string, digest []byte) { digests.Store(id, digest) }
	before := o.Outcome
	o.Outcome = func(c target.Change) {
		before(c)
		digest, _ := digests.Load(c.SourceID)
		known, _ := digest.([]byte) // none for accounts that are left aside
		plan.Add(c, known)
	}
	return plan
}

// readPlan reads the plan that is to be executed, if any, and settles which key a
// journal gets that is yet to be made.
func (a *app) readPlan(f runFlags) (*engine.Plan, error) {
	if f.out != "" {
		a.planKey = journal.NewKey()
	}
	if f.plan == "" {
		return nil, nil //nolint:nilnil // no plan is no failure
	}
	raw, err := os.ReadFile(f.plan)
	if err != nil {
		return nil, usageError{fmt.Errorf("read the plan: %w", err)}
	}
	plan, err := engine.ReadPlan(bytes.NewReader(raw))
	if err != nil {
		return nil, usageError{err}
	}
	a.planKey = plan.Key
	return plan, nil
}

// anew is the journal of a target that is written as a whole: with the first outcome,
// what earlier runs did is history.
type anew struct {
	*journal.Scope
	once    sync.Once
	cleared error
}

// Record implements [engine.Journal].
func (a *anew) Record(batch int64, entries []journal.Entry) error {
	if a.once.Do(func() { a.cleared = a.Clear() }); a.cleared != nil {
		return a.cleared
	}
	return a.Scope.Record(batch, entries)
}

// running is a run in the journal.
type running struct {
	scope *journal.Scope
	id    int64
	flush func() error
	// notLoaded are those that the run has rejected or left in doubt.
	notLoaded map[string]bool
	// parts is what of accounts the target did not take.
	parts report.PartLosses
}

// begin notes the run in the journal. When the settings have changed since the
// last whole run, every account is compared; digests depend on the settings as
// well, so that it is so also for the run after one that was killed halfway.
func (p *project) begin(ctx context.Context, o *engine.Options, r report.Run) (running, error) {
	if o.DryRun || p.scope == nil {
		return running{}, p.compareSettings(ctx, o)
	}
	if err := p.compareSettings(ctx, o); err != nil {
		return running{}, err
	}
	begun := journal.Run{Source: r.Source, Target: r.Target, Program: "stetl " + version, Settings: p.settings(), Began: time.Now()}
	if o.Part != nil || o.Plan != nil {
		begun.Settings = []byte{} // it says nothing about the other accounts
	}
	id, err := p.scope.Begin(begun)
	if err != nil {
		return running{}, refusedError{err}
	}
	o.Run = id
	if p.target.Capabilities().Whole {
		o.Journal = &anew{Scope: p.scope}
	}
	run := running{scope: p.scope, id: id, parts: r.PartLosses}
	run.flush, run.notLoaded = p.keepReasons(o, id)
	shown, last := o.Progress, time.Time{}
	o.Progress = func(now engine.Progress) {
		shown(now)
		if moment := time.Now(); now.Phase == engine.Loading && moment.Sub(last) >= time.Second {
			last = moment
			// A missing sample is a gap in a chart, nothing more.
			_ = p.scope.AddSample(id, journal.Sample{At: moment, Done: now.Done})
		}
	}
	return run, nil
}

func (p *project) compareSettings(ctx context.Context, o *engine.Options) error {
	if p.scope == nil {
		return nil
	}
	last, err := p.scope.Settings(ctx)
	if err != nil {
		return refusedError{err}
	}
	if last != nil && !bytes.Equal(last, p.settings()) {
		o.Full = true
	}
	return nil
}

// end notes how the run ended.
func (r running) end(result *engine.Result, runErr error) error {
	if r.scope == nil {
		return nil
	}
	var text string
	if runErr != nil {
		text = runErr.Error()
	}
	if errors.Is(runErr, engine.ErrNotCommitted) { // then nothing of it is there
		if err := r.scope.Clear(); err != nil {
			return err
		}
	}
	if err := r.flush(); err != nil {
		return err
	}
	return r.scope.End(r.id, time.Now(), struct {
		*engine.Result
		Parts report.PartLosses `json:"part_losses,omitempty"`
		Error string            `json:"error,omitempty"`
	}{result, r.parts, text})
}

// describeTarget names the plugin and the plain settings of its configuration;
// what is secret or came by reference is left out.
func describeTarget(cfg *config.Config) string {
	shown, err := json.Marshal(cfg.Target)
	var target struct {
		Config map[string]any `json:"config"`
	}
	if err != nil || json.Unmarshal(shown, &target) != nil {
		return cfg.Target.Plugin
	}
	var settings []string
	for _, key := range slices.Sorted(maps.Keys(target.Config)) {
		if v, ok := target.Config[key].(string); ok && v != canonical.Redacted {
			settings = append(settings, key+" "+v)
		}
	}
	if len(settings) == 0 {
		return cfg.Target.Plugin
	}
	return cfg.Target.Plugin + " (" + strings.Join(settings, ", ") + ")"
}

// classify gives an error of the engine its exit code: what is neither ours nor
// a refusal by plan is trouble with the source or the target.
func classify(ctx context.Context, err error) error {
	switch {
	case err == nil, errors.Is(err, engine.ErrRefused), errors.Is(err, engine.ErrUnbalanced), errors.Is(err, engine.ErrLimit), errors.Is(err, engine.ErrDiffers):
		return err
	case ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), err)
	default:
		return refusedError{err}
	}
}

// closeTarget lets the plugin end in peace also when the run was interrupted.
func closeTarget(ctx context.Context, client closer) error {
	if err := client.Close(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("end the plugin: %w", err)
	}
	return nil
}

type closer interface {
	Close(ctx context.Context) error
}
