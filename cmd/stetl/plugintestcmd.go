package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/sdk/conformance"
)

// Exit codes of plugin test and plugin doctor follow exit.go: a plugin that breaks a
// rule was refused.

func pluginTestCommand(a *app) *cobra.Command {
	var f pluginTestFlags
	c := &cobra.Command{
		Use: "test FILE|NAME",

		ValidArgsFunction: firstOnly(completePlugins),

		Short: "Test a plugin with every rule of the plugin protocol",
		Long: `test starts the plugin many times and tests every rule for target plugins: one outcome
for each user, loading twice equals loading once, a plan writes nothing, a bad user
affects no other user, and so on. The plugin can be in any language. It writes
accounts of invented people: use a test target.

The configuration is a file with a target section (--config) or a JSON object
(--settings). Without either it is empty.`,
		Example: "  stetl plugin test ./stetl-plugin-acme --settings '{\"dir\": \"./people\"}'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPluginTest(cmd.Context(), a, args[0], f)
		},
	}
	a.configFlag(c)
	a.jsonFlag(c)
	c.Flags().StringVar(&f.settings, "settings", "", "configuration of the plugin, a `JSON` object")
	c.Flags().StringSliceVar(&f.skip, "skip", nil, "do not test these `RULES`: names, separated by commas")
	c.Flags().StringSliceVar(&f.only, "only", nil, "only test these `RULES`: names, separated by commas")
	c.Flags().DurationVar(&f.limit, "limit", 0, "`TIME` that each rule may take, for a target that limits requests (default 2m)")
	return c
}

// pluginTestFlags are those of plugin test.
type pluginTestFlags struct {
	settings   string
	skip, only []string
	limit      time.Duration
}

func runPluginTest(ctx context.Context, a *app, what string, f pluginTestFlags) error {
	loc, o, err := locatePlugin(a, what)
	if err != nil {
		return err
	}
	raw, err := pluginSettings(a, f.settings, &o)
	if err != nil {
		return err
	}
	s := conformance.Suite{Start: conformance.Executable(loc, o, raw), Skip: map[string]string{}, Only: f.only, Timeout: f.limit}
	for _, rule := range f.skip {
		s.Skip[rule] = "not wanted"
	}
	var written error
	if !a.asJSON {
		s.Progress = func(r conformance.Result) { written = errors.Join(written, writeRule(a.out, r)) }
	}
	tried, err := conformance.Run(ctx, s)
	switch {
	case errors.Is(err, conformance.ErrNoSuchRule):
		return usageError(err)
	case err != nil:
		return refusedError(err)
	case !tried.Tried():
		return usageError(errors.New("no rule was tested, so nothing is known about the plugin"))
	case a.asJSON:
		err = report.WriteJSON(a.out, tried)
	default:
		err = errors.Join(written, writeConformance(a.out, tried))
	}
	if err == nil && tried.Failed() {
		return silentError{exitRefused}
	}
	return err
}

// pluginSettings is the configuration of a plugin: that of --config, or settings, or an
// empty one. o gets the folder that its paths start from.
func pluginSettings(a *app, settings string, o *plugin.Options) ([]byte, error) {
	switch {
	case settings != "" && a.configPath != "":
		return nil, usageError(errors.New("give --config or --settings, not both"))
	case settings != "" && !json.Valid([]byte(settings)):
		return nil, usageError(errors.New("--settings is not JSON"))
	case settings != "":
		return []byte(settings), nil
	case a.configPath == "":
		return []byte("{}"), nil
	}
	cfg, problems := config.Load(a.configPath, config.Env{})
	// Nobody needs a source to try a plugin.
	problems = slices.DeleteFunc(problems, func(d diag.Diagnostic) bool { return d.Path != "" && !strings.HasPrefix(d.Path, "/target") })
	if problems.HasErrors() {
		return nil, problems.Err()
	}
	o.WorkDir = filepath.Dir(a.configPath)
	return cfg.Target.RevealJSON(), nil
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

// writeRule prints how a rule went, as soon as that is known.
func writeRule(w io.Writer, r conformance.Result) error {
	mark := map[conformance.Status]string{conformance.Passed: "ok  ", conformance.Failed: "FAIL", conformance.Skipped: "-   "}
	text := fmt.Sprintf("%s %-16s %s\n", mark[r.Status], r.Rule, r.Promise)
	for _, problem := range r.Problems {
		text += fmt.Sprintf("                      %s\n", problem)
	}
	if r.Status == conformance.Skipped {
		text += fmt.Sprintf("                      not tried: %s\n", r.Reason)
	}
	_, err := io.WriteString(w, text)
	return err
}

// writeConformance prints what it comes to.
func writeConformance(w io.Writer, r conformance.Report) error {
	count := map[conformance.Status]int{}
	for _, result := range r.Results {
		count[result.Status]++
	}
	_, err := fmt.Fprintf(w, "\nPlugin %s %s: %d rules kept, %d broken, %d not tried\n",
		r.Plugin, r.Version, count[conformance.Passed], count[conformance.Failed], count[conformance.Skipped])
	return err
}
