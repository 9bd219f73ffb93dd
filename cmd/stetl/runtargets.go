package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/report"
)

// worst has the exit codes from the worst one on: those that say that nobody knows how it
// went come before those of runs that came to their end.
var worst = []int{exitInternal, exitUsage, exitRefused, exitLimit, exitDifferences, exitRejects, exitDone}

// runTargets runs, or plans, several targets.
func runTargets(ctx context.Context, a *app, cfg *migration.Config, f runFlags) error {
	switch given := f.choice.given(); {
	case len(given) > 0 && !slices.Equal(given, []string{"--only-rejects"}):
		return usageError(fmt.Errorf("%s chooses accounts in one target: name it with --target", given[0]))
	case f.html != "":
		return usageError(errors.New("--html is the plan of one target: name it with --target"))
	case f.metrics != "":
		return usageError(errors.New("--metrics-listen is about one target: name it with --target"))
	}
	r, err := executeTargets(ctx, a, cfg, f)
	if err != nil {
		if a.asJSON && !errors.As(err, new(declinedError)) {
			return errors.Join(err, (&report.Run{}).WriteFailure(a.out, err))
		}
		return err
	}
	code := exitDone
	for i := range r.Targets {
		t := &r.Targets[i]
		t.Exit = exitOf(t)
		if slices.Index(worst, t.Exit) < slices.Index(worst, code) || t.Exit > exitDifferences { // a signal is above all
			code = t.Exit
		}
	}
	for _, c := range r.Nowhere {
		if c.Action == pluginapi.Rejected && slices.Index(worst, exitRejects) < slices.Index(worst, code) {
			code = exitRejects
		}
	}
	r.Config = a.configPath
	if err := a.print(r); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if code != exitDone {
		return silentError{code}
	}
	return nil
}

// exitOf is the exit code that a target would have on its own.
func exitOf(t *report.TargetRun) int {
	switch t.State {
	case report.TargetRejects:
		return exitRejects
	case report.TargetChanges:
		return exitDifferences
	}
	return exitCode(t.Err)
}

func executeTargets(ctx context.Context, a *app, cfg *migration.Config, f runFlags) (*report.Targets, error) {
	status := newStatus(a.err, a.quiet)
	defer status.clear()
	o, err := options(a, migration.Options{ReadOnly: f.dryRun}, status)
	if err != nil {
		return nil, err
	}
	run := migration.TargetsOptions{RunOptions: migration.RunOptions{DryRun: f.dryRun, Full: f.full}, Detailed: f.detailed, Only: a.targets}
	one, all, err := readPlan(f.plan)
	switch {
	case err != nil:
		return nil, err
	case one != nil:
		return nil, usageError(fmt.Errorf("%s is the plan of one target: name it with --target", f.plan))
	}
	run.Plans = all
	if run.Choice, err = f.choice.choice(a.in); err != nil {
		return nil, err
	}
	if !f.yes && isTerminal(a.err) && atTerminal(a.in) {
		run.Confirm = func(ctx context.Context, i engine.Intent) error {
			return status.aside(func() error { return confirmFirst(ctx, a, "some of the targets of "+a.configPath, i) })
		}
	}
	if f.out != "" {
		run.SaveAll = func(p *migration.Plans) error { return replaceFile(f.out, p.Write) }
	}
	return migration.RunTargets(ctx, cfg, o, run)
}
