package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/target"
)

func (a *app) runCommand() *cobra.Command {
	var dryRun, detailed bool
	c := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Move the users: extract, map, load",
		Long: `run reads every account of the source, decides what becomes of each one, checks
the target, and loads. Nothing is written before every account has been looked
at. With --dry-run nothing is written at all.`,
		Example: `  stetl run --config configs/quickstart.yaml
  stetl run --config configs/keycloak.yaml --dry-run --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.move(cmd.Context(), dryRun, detailed) },
	}
	a.configFlag(c)
	a.jsonFlag(c)
	c.Flags().BoolVar(&dryRun, "dry-run", false, "show what would change and write nothing")
	c.Flags().BoolVar(&detailed, "detailed-exitcode", false, "with --dry-run: exit 6 when something would change")
	c.Flags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress on standard error")
	return c
}

func (a *app) move(ctx context.Context, dryRun, detailed bool) error {
	r, err := a.execute(ctx, dryRun)
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
	write := r.WriteText
	if a.asJSON {
		write = r.WriteJSON
	}
	if writeErr := write(a.out); writeErr != nil {
		return errors.Join(err, fmt.Errorf("write the report: %w", writeErr))
	}
	switch {
	case errors.Is(err, engine.ErrRefused):
		return refusedError{r.Result.Diagnostics.Err()}
	case err != nil:
		return err
	case r.Result.Summary.Rejected+r.Result.Summary.InDoubt > 0:
		return silentError{exitRejects}
	case dryRun && detailed && r.Result.Summary.Created+r.Result.Summary.Updated > 0:
		return silentError{exitDifferences}
	}
	return nil
}

// execute runs the engine. The report's Result is nil when it never began.
func (a *app) execute(ctx context.Context, dryRun bool) (r report.Run, err error) {
	cfg, problems, err := a.loadConfig()
	if err != nil {
		return r, err
	}
	client, err := a.launchTarget(ctx, cfg, problems)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, closeTarget(ctx, client)) }()
	status := newStatus(a.err, a.quiet || a.asJSON)
	src, err := openSource(ctx, cfg, false, status)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()

	acc := newAccounts(src)
	result, err := engine.Run(ctx, acc, client, engine.Options{
		DryRun:   dryRun,
		Skip:     cfg.Policies.Skip,
		Progress: status.engine,
		Outcome: func(c target.Change) {
			if dryRun || c.Code != "" {
				r.Changes = append(r.Changes, c)
			}
		},
	})
	status.clear()
	result.Diagnostics = cfg.Target.Locate(result.Diagnostics)
	r.Source, r.Layout, r.App = describeSource(cfg), src.Layout(), src.App()
	r.Target = describeTarget(cfg)
	r.Result, r.Findings = result, acc.inventory.Findings()
	return r, classify(ctx, err)
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
	case err == nil, errors.Is(err, engine.ErrRefused), errors.Is(err, engine.ErrUnbalanced):
		return err
	case ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), err)
	default:
		return refusedError{err}
	}
}

func (a *app) checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "check --config FILE",
		Short:   "Examine configuration, source and target; write nothing",
		Example: "  stetl check --config configs/keycloak.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.check(cmd.Context()) },
	}
	a.configFlag(c)
	a.jsonFlag(c)
	return c
}

func (a *app) check(ctx context.Context) (err error) {
	cfg, problems, err := a.loadConfig()
	if err != nil {
		return err
	}
	client, err := a.launchTarget(ctx, cfg, problems)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeTarget(ctx, client)) }()
	src, err := openSource(ctx, cfg, false, newStatus(a.err, a.asJSON))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	found, err := engine.Check(ctx, newAccounts(src), client)
	if err != nil {
		return classify(ctx, err)
	}
	found = cfg.Target.Locate(found)
	if a.asJSON {
		err = report.WriteDiagnosticsJSON(a.out, found)
	} else {
		err = report.WriteDiagnostics(a.out, found)
	}
	if err == nil && found.HasErrors() {
		return silentError{exitRefused}
	}
	return err
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
