package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/sdk/conformance"
)

// Exit codes of plugin test and plugin doctor follow exit.go: a plugin that breaks a
// rule was refused.

func pluginTestCommand(a *app) *cobra.Command {
	var settings string
	var skip []string
	c := &cobra.Command{
		Use:   "test FILE|NAME",
		Short: "Try every rule of the plugin protocol on a plugin, in any language",
		Long: `test starts the plugin many times and tries every rule that a target plugin
must keep: one outcome for each user, loading twice equals loading once, a plan
writes nothing, a bad user costs nobody else anything, and so on. It writes
accounts of invented people: use a target that is for tests.

The configuration is that of --config, a file with a target section, or the JSON
object of --settings. Without either it is empty.`,
		Example: "  stetl plugin test ./stetl-plugin-acme --settings '{\"path\": \"users.ndjson\"}'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPluginTest(cmd.Context(), a, args[0], settings, skip)
		},
	}
	a.configFlag(c)
	a.jsonFlag(c)
	c.Flags().StringVar(&settings, "settings", "", "configuration of the plugin, a `JSON` object")
	c.Flags().StringSliceVar(&skip, "skip", nil, "`RULES` not to try, by name, with commas between")
	return c
}

func runPluginTest(ctx context.Context, a *app, what, settings string, skip []string) error {
	loc, o, err := locatePlugin(a, what)
	if err != nil {
		return err
	}
	raw := []byte("{}")
	switch {
	case settings != "" && a.configPath != "":
		return usageError(errors.New("give --config or --settings, not both"))
	case settings != "":
		if raw = []byte(settings); !json.Valid(raw) {
			return usageError(errors.New("--settings is not JSON"))
		}
	case a.configPath != "":
		cfg, problems := config.Load(a.configPath, config.Env{})
		if problems.HasErrors() {
			return problems.Err()
		}
		raw, o.WorkDir = cfg.Target.RevealJSON(), filepath.Dir(a.configPath)
	}
	s := conformance.Suite{Start: conformance.Executable(loc, o, raw), Skip: map[string]string{}}
	for _, rule := range skip {
		s.Skip[rule] = "not wanted"
	}
	report, err := conformance.Run(ctx, s)
	if err != nil {
		return refusedError(err)
	}
	if a.asJSON {
		err = json.NewEncoder(a.out).Encode(report)
	} else {
		err = writeConformance(a.out, report)
	}
	if err == nil && report.Failed() {
		return silentError{exitRefused}
	}
	return err
}

// locate understands the path of an executable as well as a name.
func locatePlugin(a *app, what string) (plugin.Location, plugin.Options, error) {
	o := pluginOptions(a)
	name := what
	if strings.ContainsRune(what, os.PathSeparator) || strings.HasPrefix(filepath.Base(what), plugin.Prefix) {
		path, err := filepath.Abs(what)
		if err != nil {
			return plugin.Location{}, o, err
		}
		o.Path = path
		name = plugin.NameOf(path)
	}
	loc, err := plugin.Find(name, o)
	if err != nil {
		return loc, o, refusedError(err)
	}
	return loc, o, nil
}

func writeConformance(w io.Writer, r conformance.Report) error {
	mark := map[conformance.Status]string{conformance.Passed: "ok  ", conformance.Failed: "FAIL", conformance.Skipped: "-   "}
	var b strings.Builder
	fmt.Fprintf(&b, "Plugin %s %s\n\n", r.Plugin, r.Version)
	passed, failed, skipped := 0, 0, 0
	for _, result := range r.Results {
		fmt.Fprintf(&b, "%s %-12s %s\n", mark[result.Status], result.Rule, result.Promise)
		switch result.Status {
		case conformance.Failed:
			failed++
			for _, problem := range result.Problems {
				fmt.Fprintf(&b, "                  %s\n", problem)
			}
		case conformance.Skipped:
			skipped++
			fmt.Fprintf(&b, "                  not tried: %s\n", result.Reason)
		case conformance.Passed:
			passed++
		}
	}
	fmt.Fprintf(&b, "\n%d rules kept, %d broken, %d not tried\n", passed, failed, skipped)
	_, err := io.WriteString(w, b.String())
	return err
}
