package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/report"
)

func (a *app) checkCommand() *cobra.Command {
	var fix bool
	c := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Examine configuration, source and target; write nothing",
		Long: `check reads the source and examines the target for everything that a run would
ask of it. It writes nothing, unless --fix is given: then the plugin changes those
settings of the target that it knows a remedy for, and no accounts.`,
		Example: "  stetl check --config configs/quickstart.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.check(cmd.Context(), fix) },
	}
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	a.jsonFlag(c)
	c.Flags().BoolVar(&fix, "fix", false, "have the plugin apply the remedies it knows to the settings of the target")
	return c
}

func (a *app) check(ctx context.Context, fix bool) (err error) {
	status := newStatus(a.err, a.asJSON)
	p, err := a.openProject(ctx, peek, status)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close(ctx)) }()
	if err := p.openSource(ctx); err != nil {
		return a.showIncomplete(err)
	}
	acc := p.accounts()
	if fix {
		needs, err := engine.Survey(ctx, acc, p.target, p.engineOptions())
		if err != nil {
			return classify(ctx, err)
		}
		done, err := p.client().Fix(ctx, needs)
		status.clear()
		if err != nil {
			return classify(ctx, err)
		}
		if err := report.WriteFixes(a.err, p.cfg.Target.Locate(done)); err != nil {
			return err
		}
	}
	found, err := engine.Check(ctx, acc, p.target, p.engineOptions())
	status.clear()
	if err != nil {
		return a.showIncomplete(classify(ctx, err))
	}
	found = p.cfg.Target.Locate(found)
	complete, _ := p.source.Completeness()
	if a.asJSON {
		err = report.WriteDiagnosticsJSON(a.out, found, complete)
	} else {
		err = report.WriteDiagnostics(a.out, found)
		if err == nil {
			_, err = fmt.Fprintf(a.out, "Source   %s\n         %s\n", p.source.Where(), report.CompletenessLine(complete))
		}
	}
	if err == nil && found.HasErrors() {
		return silentError{exitRefused}
	}
	return err
}
