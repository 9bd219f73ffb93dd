package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/report"
)

// runFlags are those of run and plan.
type runFlags struct {
	dryRun, detailed, full, yes      bool
	out, html, plan, detail, metrics string
	choice                           choiceFlags
}

func runCommand(a *app) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run [-c FILE]",

		SuggestFor: []string{"apply", "migrate", "move", "load", "start", "import", "sync"},

		Short: "Move the users: extract, map, load",
		Long: `run reads every account of the source, decides what to do with each one, checks the
target, and loads. It writes nothing before it has read every account. With --dry-run
it writes nothing at all.

On a terminal, the first run into a live target asks before it writes; --yes answers
the question. Scripts are never asked.

The journal remembers what runs have done. Another run sends only what has changed. If
a run was killed, start it again: it goes on where it stopped.

--user, --users-from, --sample, --only-tenant and --only-rejects choose a part of the
accounts. The run still reads every account, and leaves all others as they are.

If the configuration has targets, the source is read once for all of them. A target that
fails does not stop the others, and the exit code is the worst one.`,
		Example: `  stetl run --dry-run
  stetl run
  stetl run -c keycloak.yaml --sample 20 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runMigration(cmd.Context(), a, f) },
	}
	addRunFlags(a, c, &f)
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would change and write nothing")
	c.Flags().StringVar(&f.plan, "plan", "", "execute the plan saved in this `FILE` and nothing else")
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask before the first write of a first run")
	c.Flags().BoolVar(&f.choice.onlyRejects, "only-rejects", false, "only accounts that earlier runs have rejected or left in doubt")
	return c
}

func planCommand(a *app) *cobra.Command {
	f := runFlags{dryRun: true}
	c := &cobra.Command{
		Use: "plan [-c FILE]",

		SuggestFor: []string{"diff", "preview", "dry-run"},

		Short:   "Show what a run would change; the same as run --dry-run",
		Example: "  stetl plan --detail users\n  stetl plan --html plan.html --out plan.json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runMigration(cmd.Context(), a, f) },
	}
	addRunFlags(a, c, &f)
	return c
}

func addRunFlags(a *app, c *cobra.Command, f *runFlags) {
	a.configFlag(c)
	targetsFlag(a, c)
	acceptFlag(c, &a.accept)
	a.jsonFlag(c)
	c.Flags().BoolVar(&f.detailed, "detailed-exitcode", false, "in a dry run: exit with 6 if something would change")
	c.Flags().BoolVar(&f.full, "full", false, "compare every account with the target, even if nothing has changed since the last run")
	c.Flags().StringVar(&f.out, "out", "", "in a dry run: save the plan to this `FILE`, for run --plan")
	c.Flags().StringVar(&f.html, "html", "", "in a dry run: write the plan to this `FILE` as one HTML page with a search; it holds personal data")
	c.Flags().StringVar(&f.detail, "detail", report.DetailPatterns, "in a dry run, the `LEVEL` of detail: "+strings.Join(report.Details(), ", "))
	completeWith(c, "detail", report.Details()...)
	f.choice.add(c)
	c.Flags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress on standard error")
	c.Flags().StringVar(&f.metrics, "metrics-listen", "", "serve metrics for Prometheus at this `ADDRESS` during the run, such as 127.0.0.1:9464")
}

func (f *runFlags) check() error {
	switch {
	case !f.dryRun && f.out != "":
		return usageError(errors.New("--out saves a plan, so it needs --dry-run"))
	case !f.dryRun && f.html != "":
		return usageError(errors.New("--html writes a plan, so it needs --dry-run; for a page about a run use stetl report --format html"))
	case f.html != "" && f.html == f.out:
		return usageError(errors.New("--html and --out name the same file"))
	case f.dryRun && f.plan != "":
		return usageError(errors.New("--plan executes a plan, so it cannot be a dry run"))
	case !slices.Contains(report.Details(), f.detail):
		return usageError(fmt.Errorf("--detail %s: use one of %s", f.detail, strings.Join(report.Details(), ", ")))
	}
	return f.choice.check(f.plan)
}

func runMigration(ctx context.Context, a *app, f runFlags) error {
	var cfg *migration.Config
	r, err := &report.Run{}, f.check()
	if err == nil {
		cfg, err = loadConfig(a)
	}
	if err == nil && cfg.Targets.Set && len(a.targets) != 1 {
		return runTargets(ctx, a, cfg, f)
	}
	if err == nil {
		cfg, err = oneTarget(a, cfg)
	}
	if err == nil {
		r, err = execute(ctx, a, cfg, f)
	}
	if errors.As(err, new(declinedError)) {
		return err // nothing was done, and there is nothing to report
	}
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
		return refusedError(r.Result.Diagnostics.Err())
	}
	if writeErr := a.print(r); writeErr != nil {
		return errors.Join(err, fmt.Errorf("write the report: %w", writeErr))
	}
	switch {
	case errors.Is(err, engine.ErrRefused):
		return refusedError(r.Result.Diagnostics.Err())
	case err != nil:
		return err
	}
	if f.html != "" {
		if err := replaceFile(f.html, func(w io.Writer) error { return report.WritePlanHTML(w, r, time.Now()) }); err != nil {
			return err
		}
	}
	switch report.EndingOf(r) {
	case report.EndWouldChange:
		return silentError{exitDifferences}
	case report.EndRejects:
		return silentError{exitRejects}
	case report.EndDone:
	}
	return nil
}

// execute runs, or plans. The report's Result is nil when it never began.
func execute(ctx context.Context, a *app, cfg *migration.Config, f runFlags) (r *report.Run, err error) {
	r = &report.Run{}
	status := newStatus(a.err, a.quiet)
	defer status.clear()
	o := migration.Options{ReadOnly: f.dryRun}
	if o.Plan, err = planOfOne(a, f.plan); err != nil {
		return r, err
	}
	run := migration.RunOptions{DryRun: f.dryRun, Full: f.full}
	if run.Choice, err = f.choice.choice(a.in); err != nil {
		return r, err
	}
	if !f.yes && isTerminal(a.err) && atTerminal(a.in) {
		run.Confirm = func(ctx context.Context, i engine.Intent) error {
			return status.aside(func() error { return confirmFirst(ctx, a, cfg.TargetText(), i) })
		}
	}
	if f.out != "" {
		run.Save = func(p *engine.Plan) error { return replaceFile(f.out, p.Write) }
	}
	watched, err := a.watch(ctx, f.metrics, cfg.Target.Plugin)
	if err != nil {
		return r, err
	}
	defer func() { watched.end(ctx, r.Result) }()
	o.Progress = func(p engine.Progress) { watched.progress(p); status.engine(p) }
	if watched.metrics != nil {
		run.Outcome = watched.metrics.outcome
		status.also, status.alsoSilent = watched.metrics.pulse, watched.metrics.silence
	}
	m, err := openConfig(ctx, a, cfg, o, status)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	r, err = m.Run(ctx, run)
	r.Detail, r.Config, r.Detailed = f.detail, a.configPath, f.detailed
	status.clear()
	return r, err
}

// declinedError says that a person has not said yes.
type declinedError struct{ error }

func (e declinedError) Unwrap() error { return e.error }

// confirmFirst asks before the first write into a target.
func confirmFirst(ctx context.Context, a *app, target string, i engine.Intent) error {
	fmt.Fprintf(a.err, "This is the first run into %s.\n%s would be loaded", target, report.Accounts(i.Accounts))
	for _, p := range []struct {
		n    int
		what string
	}{{i.Resets, "will need a new password"}, {i.Stranded, "will have no way to sign in"}, {i.Mailed, "will be mailed by the target"}} {
		if p.n > 0 {
			fmt.Fprintf(a.err, "; %s %s", report.Number(p.n), p.what)
		}
	}
	fmt.Fprint(a.err, ".\nstetl run --dry-run shows what would change, and stetl undo can take it back.\n")
	if err := a.confirm(ctx, "Write to the target?"); err != nil {
		if context.Cause(ctx) != nil {
			return err
		}
		return declinedError{err}
	}
	return nil
}

// readPlan reads the plan that is to be executed, if any: of one target, or of several.
func readPlan(path string) (*engine.Plan, *migration.Plans, error) {
	if path == "" {
		return nil, nil, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, usageError(fmt.Errorf("read the plan: %w", err))
	}
	one, all, err := migration.ReadPlans(raw)
	if err != nil {
		return nil, nil, usageError(err)
	}
	return one, all, nil
}

// planOfOne is the plan of the one target that a run is about.
func planOfOne(a *app, path string) (*engine.Plan, error) {
	one, all, err := readPlan(path)
	if all == nil || err != nil {
		return one, err
	}
	if len(a.targets) == 1 && all.Targets[a.targets[0]] != nil {
		return all.Targets[a.targets[0]], nil
	}
	return nil, usageError(fmt.Errorf("%s is a plan of several targets, and has none of this one: plan again", path))
}
