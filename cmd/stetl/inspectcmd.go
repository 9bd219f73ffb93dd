package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/target"
)

func (a *app) inspectCommand() *cobra.Command {
	var list bool
	c := &cobra.Command{
		Use:   "inspect --config FILE",
		Short: "Show what is in this SuperTokens: generation, apps, hashes, traps",
		Long: `inspect reads the whole source and shows what it holds, what is odd in it, and whether
anything is missing. It needs no target in the configuration; with one it says what
the target can take. With --list it only names the installations and apps there are.`,
		Example: "  stetl inspect --config configs/quickstart.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				return a.listInstallations(cmd.Context())
			}
			return a.inspect(cmd.Context())
		},
	}
	c.Flags().BoolVar(&list, "list", false, "only list the installations and apps that the source has, with counts")
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	a.jsonFlag(c)
	return c
}

func (a *app) inspect(ctx context.Context) (err error) {
	cfg, err := a.soundConfig()
	if err != nil {
		return err
	}
	status := newStatus(a.err, a.asJSON)
	accepted, err := a.acceptedGaps()
	if err != nil {
		return err
	}
	src, err := openSource(ctx, cfg, accepted, true, status)
	if err != nil {
		return a.showIncomplete(err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	inventory, review := supertokens.NewInventory(), supertokens.NewReview(src)
	defer func() { err = errors.Join(err, review.Close()) }()
	err = src.Read(ctx, func(b supertokens.Batch) error {
		inventory.Add(b)
		status.ranges(inventory.Accounts, b)
		return review.Add(b)
	})
	status.clear()
	// Something is missing: what is there is shown all the same.
	missing := error(nil)
	if errors.As(err, new(*supertokens.IncompleteError)) {
		missing, err = refusedError{sourceError(cfg, err)}, nil
	}
	var findings []supertokens.Finding
	if err == nil {
		findings, err = review.Findings()
	}
	if err != nil {
		return refusedError{sourceError(cfg, err)}
	}
	complete, _ := src.Completeness()
	i := report.Inspection{
		Source: src.Where(), Layout: src.Layout(), App: src.App(), Apps: src.Apps(),
		Inventory: inventory, Findings: findings, Ledger: src.Ledger(), Completeness: complete,
	}
	if cfg.Target.Plugin != "" {
		a.askTarget(ctx, cfg, &i)
	}
	return errors.Join(a.print(&i), missing)
}

// listInstallations shows where tables of SuperTokens are, without reading accounts.
func (a *app) listInstallations(ctx context.Context) error {
	cfg, err := a.soundConfig()
	if err != nil {
		return err
	}
	where, found, err := supertokens.Installations(ctx, sourceOptions(cfg))
	if err != nil {
		return refusedError{sourceError(cfg, err)}
	}
	return a.print(&report.Installations{Source: where, Installations: found})
}

// askTarget adds what the configured plugin can verify. A plugin that cannot be
// started is no reason not to look at the source.
func (a *app) askTarget(ctx context.Context, cfg *config.Config, i *report.Inspection) {
	client, err := a.launch(ctx, cfg.Target.Plugin)
	if err != nil {
		return
	}
	caps := client.Info().Capabilities
	i.Target, i.Accepts = cfg.Target.Plugin, map[string]bool{}
	i.Inventory.EachHash(func(shape string, sample canonical.PasswordHash, _ int) { i.Accepts[shape] = caps.Accepts(sample) })
	i.Carries = map[target.Feature]bool{}
	for _, f := range target.Features() {
		i.Carries[f] = caps.Has(f)
	}
	_ = closeTarget(ctx, client) // nothing was asked of it that could be lost
}
