package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/report"
)

func mapCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "map",
		Short: "Try the mapping without moving anybody",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var file string
	test := &cobra.Command{
		Use:   "test [-c FILE]",
		Short: "Test the mapping with examples",
		Long: `test maps the accounts under mapping.tests, or those of --file, with the rules of the
configuration, and compares the results with the expected ones. It reads neither
source nor target. It exits with 6 if a result is different.`,
		Example: "  stetl map test -c mapping.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runMapTest(cmd.Context(), a, file) },
	}
	a.configFlag(test)
	a.jsonFlag(test)
	test.Flags().StringVar(&file, "file", "", "read the examples from this YAML `FILE` instead")
	_ = test.MarkFlagFilename("file", "yaml", "yml") // the flag exists
	c.AddCommand(test)
	return c
}

func runMapTest(ctx context.Context, a *app, file string) error {
	cfg, err := loadConfig(a)
	if err != nil {
		return err
	}
	results, err := migration.TryMapping(ctx, cfg, file, pluginOptions(a))
	if err != nil {
		return err
	}
	failed := 0
	for _, r := range results {
		if !r.OK {
			failed++
		}
	}
	if err := writeTried(a, results, failed); err != nil {
		return err
	}
	if failed > 0 {
		return silentError{exitDifferences}
	}
	return nil
}

func writeTried(a *app, results []migration.Tried, failed int) error {
	if a.asJSON {
		return report.WriteJSON(a.out, map[string]any{"ok": failed == 0, "examples": results})
	}
	for _, r := range results {
		mark := "ok    "
		if !r.OK {
			mark = "FAILED"
		}
		fmt.Fprintf(a.out, "%s  %s\n", mark, r.Name)
		if r.Error != "" {
			fmt.Fprintf(a.out, "        %s\n", r.Error)
		}
		for _, d := range r.Differences {
			fmt.Fprintf(a.out, "        %s: want %s, got %s\n", d.Field, d.Want, d.Got)
		}
	}
	_, err := fmt.Fprintf(a.out, "%d examples, %d failed\n", len(results), failed)
	return err
}
