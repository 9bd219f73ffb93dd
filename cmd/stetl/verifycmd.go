package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/migration"
)

func verifyCommand(a *app) *cobra.Command {
	var sample int
	c := &cobra.Command{
		Use:   "verify --config FILE",
		Short: "Read the target back and compare every account with the source",
		Long: `verify reads every account that the runs so far have loaded back from the target
and compares it with what it should be. It writes nothing. It exits with 6 when
accounts are missing or differ.`,
		Example: "  stetl verify --config configs/keycloak.yaml --sample 100",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runVerify(cmd.Context(), a, sample) },
	}
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	a.jsonFlag(c)
	c.Flags().IntVar(&sample, "sample", 1, "compare one account in `N`")
	c.Flags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress on standard error")
	return c
}

func runVerify(ctx context.Context, a *app, sample int) (err error) {
	if sample < 1 {
		return usageError(errors.New("--sample counts from 1"))
	}
	status := newStatus(a.err, a.quiet)
	defer status.clear()
	_, m, err := openMigration(ctx, a, migration.Options{ReadOnly: true}, status)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	r, err := m.Verify(ctx, sample)
	status.clear()
	if err != nil {
		return err
	}
	if err := a.print(r); err != nil {
		return err
	}
	if r.Result.Different() > 0 {
		return silentError{exitDifferences}
	}
	return nil
}
