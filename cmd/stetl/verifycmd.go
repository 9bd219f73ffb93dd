package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/migration"
)

func verifyCommand(a *app) *cobra.Command {
	var o migration.VerifyOptions
	c := &cobra.Command{
		Use:   "verify [-c FILE]",
		Short: "Read the target back and compare every account with the source",
		Long: `verify reads every account that runs have loaded back from the target, and compares it
with what it should be. It writes nothing. It exits with 6 if accounts are missing or
differ, and if there is no account to compare.

With --all it compares both sides. Accounts of the source that no run has loaded count
as differences, unless mapping.filter or policies.skip leave them out. So do loaded
accounts that the source no longer has. It exits with 0 only if every account is the
same on both sides, and the target shows everything that is compared.`,
		Example: `  stetl verify --sample 100
  stetl verify --all`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runVerify(cmd.Context(), a, o) },
	}
	a.configFlag(c)
	targetFlag(a, c)
	acceptFlag(c, &a.accept)
	a.jsonFlag(c)
	c.Flags().IntVar(&o.Sample, "sample", 1, "compare one account in `N`")
	c.Flags().BoolVar(&o.All, "all", false, "also count accounts that are on one side only")
	c.MarkFlagsMutuallyExclusive("all", "sample")
	c.Flags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress on standard error")
	return c
}

func runVerify(ctx context.Context, a *app, o migration.VerifyOptions) (err error) {
	if o.Sample < 1 {
		return usageError(errors.New("--sample must be 1 or more"))
	}
	status := newStatus(a.err, a.quiet)
	defer status.clear()
	_, m, err := openMigration(ctx, a, migration.Options{ReadOnly: true}, status)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	r, err := m.Verify(ctx, o)
	status.clear()
	if err != nil {
		return err
	}
	if err := a.print(r); err != nil {
		return err
	}
	if r.Result.Different() > 0 || r.Result.Nobody() || o.All && r.Result.Unread > 0 {
		return silentError{exitDifferences}
	}
	return nil
}
