package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/target"
)

func (a *app) verifyCommand() *cobra.Command {
	var sample int
	c := &cobra.Command{
		Use:   "verify --config FILE",
		Short: "Read the target back and compare every account with the source",
		Long: `verify reads every account that the runs so far have loaded back from the target
and compares it with what it should be. It writes nothing. It exits with 6 when
accounts are missing or differ.`,
		Example: "  stetl verify --config configs/keycloak.yaml --sample 100",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.verify(cmd.Context(), sample) },
	}
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	a.jsonFlag(c)
	c.Flags().IntVar(&sample, "sample", 1, "compare one account in `N`")
	c.Flags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress on standard error")
	return c
}

func (a *app) verify(ctx context.Context, sample int) (err error) {
	if sample < 1 {
		return usageError{errors.New("--sample counts from 1")}
	}
	status := newStatus(a.err, a.quiet || a.asJSON)
	p, err := a.openProject(ctx, peek, status)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close(ctx)) }()
	if p.target.Capabilities().Whole {
		return refusedError{errors.New("this target is written as a whole, as import files are: there is nothing to read back")}
	}
	if err := p.openSource(ctx); err != nil {
		return err
	}
	o := p.engineOptions()
	r := report.Verification{Source: p.source.Where(), Target: describeTarget(p.cfg), Words: p.words()}
	o.Outcome = func(c target.Change) { r.Changes = append(r.Changes, c) }
	r.Result, err = engine.Verify(ctx, p.accounts(), p.target, o, sample)
	status.clear()
	if err != nil {
		return classify(ctx, err)
	}
	if err := a.print(&r); err != nil {
		return err
	}
	if r.Result.Different() > 0 {
		return silentError{exitDifferences}
	}
	return nil
}
