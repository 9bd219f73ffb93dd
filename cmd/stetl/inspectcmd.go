package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/migration"
)

func inspectCommand(a *app) *cobra.Command {
	var list bool
	c := &cobra.Command{
		Use:   "inspect [-c FILE]",
		Short: "Show what the source has: generation, apps, hashes, oddities",
		Long: `inspect reads the whole source. It shows what the source has, what is odd in it, and
whether anything is missing. It needs no target in the configuration; with a target it
says what the target can hold. With --list it only lists the installations and apps.`,
		Example: "  stetl inspect\n  stetl inspect --list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				return listInstallations(cmd.Context(), a)
			}
			return runInspect(cmd.Context(), a)
		},
	}
	c.Flags().BoolVar(&list, "list", false, "only list the installations and apps that the source has, with counts")
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	a.jsonFlag(c)
	return c
}

func runInspect(ctx context.Context, a *app) (err error) {
	status := newStatus(a.err, false)
	defer status.clear()
	src, err := openSource(ctx, a, true, status)
	if err != nil {
		return showIncomplete(a, err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	i, err := src.Inspect(ctx, pluginOptions(a), status.ranges)
	status.clear()
	if i == nil {
		return err
	}
	return errors.Join(a.print(i), err) // what is there is shown also when something is missing
}

// listInstallations shows where tables of SuperTokens are, without reading accounts.
func listInstallations(ctx context.Context, a *app) error {
	cfg, err := loadConfig(a)
	if err != nil {
		return err
	}
	found, err := migration.Installations(ctx, cfg)
	if err != nil {
		return err
	}
	return a.print(found)
}
