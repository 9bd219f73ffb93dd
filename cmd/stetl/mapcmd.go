package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/mapping"
)

func (a *app) mapCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "map",
		Short: "Try the mapping without moving anybody",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var file string
	test := &cobra.Command{
		Use:   "test --config FILE",
		Short: "Run the examples of the mapping",
		Long: `test maps the accounts under mapping.tests, or those of --file, with the rules of
the configuration and compares them with what is wanted. It reads neither source
nor target. It exits with 6 when an example comes out differently.`,
		Example: "  stetl map test --config configs/mapping.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.mapTest(cmd.Context(), file) },
	}
	a.configFlag(test)
	a.jsonFlag(test)
	test.Flags().StringVar(&file, "file", "", "take the examples from this YAML `FILE` instead")
	_ = test.MarkFlagFilename("file", "yaml", "yml") // the flag exists
	c.AddCommand(test)
	return c
}

type tried struct {
	Name        string               `json:"name"`
	OK          bool                 `json:"ok"`
	Differences []mapping.Difference `json:"differences,omitempty"`
	Error       string               `json:"error,omitempty"`
}

func (a *app) mapTest(ctx context.Context, file string) (err error) {
	cfg, problems, err := a.loadConfig()
	if err != nil {
		return err
	}
	rules, found := compileMapping(cfg)
	problems.Add(found...)
	examples, err := examplesOf(cfg, file)
	if err != nil {
		return err
	}
	if problems.HasErrors() {
		problems.Sort()
		return problems.Err()
	}
	if len(examples) == 0 {
		return usageError{errors.New("there are no examples: write some under mapping.tests, or name a file with --file")}
	}
	client, err := a.launch(ctx, cfg.Target.Plugin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeTarget(ctx, client)) }()
	failed := 0
	results := make([]tried, len(examples))
	for i, e := range examples {
		r := tried{Name: e.Name}
		differences, err := rules.Try(e, client.Info().Capabilities)
		if err != nil {
			r.Error = err.Error()
		}
		r.Differences, r.OK = differences, err == nil && len(differences) == 0
		if results[i] = r; !r.OK {
			failed++
		}
	}
	if err := a.writeTried(results, failed); err != nil {
		return err
	}
	if failed > 0 {
		return silentError{exitDifferences}
	}
	return nil
}

func examplesOf(cfg *config.Config, file string) ([]mapping.Example, error) {
	if file == "" {
		spec, err := mappingSpec(cfg)
		if err != nil {
			return nil, nil //nolint:nilerr // the schema says why
		}
		return spec.Tests, nil
	}
	raw, found := config.LoadExamples(file, config.Env{})
	if found.HasErrors() {
		return nil, found.Err()
	}
	var examples []mapping.Example
	if err := json.Unmarshal(raw, &examples); err != nil {
		return nil, usageError{fmt.Errorf("%s: an example has name, account and want: %w", file, err)}
	}
	return examples, nil
}

func (a *app) writeTried(results []tried, failed int) error {
	if a.asJSON {
		return json.NewEncoder(a.out).Encode(map[string]any{"ok": failed == 0, "examples": results})
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
