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
	c := &cobra.Command{
		Use:     "inspect --config FILE",
		Short:   "Show what is in this SuperTokens: generation, apps, hashes, traps",
		Example: "  stetl inspect --config configs/quickstart.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.inspect(cmd.Context()) },
	}
	a.configFlag(c)
	a.jsonFlag(c)
	return c
}

func (a *app) inspect(ctx context.Context) (err error) {
	cfg, err := a.soundConfig()
	if err != nil {
		return err
	}
	status := newStatus(a.err, a.asJSON)
	src, err := openSource(ctx, cfg, true, status)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	inventory, review := supertokens.NewInventory(), supertokens.NewReview(src)
	defer func() { err = errors.Join(err, review.Close()) }()
	err = src.Read(ctx, func(b supertokens.Batch) error {
		inventory.Add(b)
		status.ranges(inventory.Accounts, b)
		return review.Add(b)
	})
	var findings []supertokens.Finding
	if err == nil {
		findings, err = review.Findings()
	}
	status.clear()
	if err != nil {
		return refusedError{sourceError(cfg, err)}
	}
	i := report.Inspection{
		Source: describeSource(cfg), Layout: src.Layout(), App: src.App(), Apps: src.Apps(),
		Inventory: inventory, Findings: findings, Ledger: src.Ledger(),
	}
	a.askTarget(ctx, cfg, &i)
	return a.print(&i)
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
