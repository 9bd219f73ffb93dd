package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/supertokens"
)

// loadConfig reads the configuration.
func loadConfig(a *app) (*migration.Config, error) {
	if a.config() == "" {
		return nil, usageError(fmt.Errorf("--config FILE is missing, %s is not set, and there is no %s in this folder; stetl init writes such a file", configVariable, configName))
	}
	a.log.Debug("read the configuration", "file", a.configPath)
	return migration.Load(a.configPath, config.Env{}), nil
}

// openMigration opens what the configuration names, for a command that shows in s how
// far it is.
func openMigration(ctx context.Context, a *app, o migration.Options, s *status) (*migration.Config, *migration.Migration, error) {
	cfg, err := loadConfig(a)
	if err == nil {
		cfg, err = oneTarget(a, cfg)
	}
	if err != nil {
		return nil, nil, err
	}
	m, err := openConfig(ctx, a, cfg, o, s)
	return cfg, m, err
}

func openConfig(ctx context.Context, a *app, cfg *migration.Config, o migration.Options, s *status) (_ *migration.Migration, err error) {
	if o, err = options(a, o, s); err != nil {
		return nil, err
	}
	return migration.Open(ctx, cfg, o)
}

// options completes those of a command.
func options(a *app, o migration.Options, s *status) (_ migration.Options, err error) {
	if o.Accept, err = acceptedGaps(a); err != nil {
		return o, err
	}
	o.Plugins, o.Program, o.Rows, o.Lazy = pluginOptions(a), "stetl "+version, s.rows, lazyContracts()
	o.Plugins.Pulse, o.Plugins.Silence = s.pulse, s.silence
	if o.Progress == nil {
		o.Progress = s.engine
	}
	return o, nil
}

// oneTarget is the configuration with the one target that the command line names, if it does.
func oneTarget(a *app, cfg *migration.Config) (*migration.Config, error) {
	if len(a.targets) == 0 {
		return cfg, nil
	}
	return cfg.ForTarget(a.targets[0])
}

// openPast opens what runs have left behind.
func openPast(ctx context.Context, a *app) (*migration.Migration, migration.Past, error) {
	_, m, err := openMigration(ctx, a, migration.Options{ReadOnly: true}, newStatus(a.err, true))
	if err != nil {
		return nil, migration.Past{}, err
	}
	past, err := m.Past()
	if err != nil {
		return nil, past, errors.Join(err, m.Close(ctx))
	}
	return m, past, nil
}

// openSource opens the source alone.
func openSource(ctx context.Context, a *app, audit bool, s *status) (*migration.Source, error) {
	cfg, err := loadConfig(a)
	if err != nil {
		return nil, err
	}
	accepted, err := acceptedGaps(a)
	if err != nil {
		return nil, err
	}
	return migration.OpenSource(ctx, cfg, migration.SourceOptions{Accept: accepted, Audit: audit, Rows: s.rows})
}

// openTables opens the source for what is not about accounts.
func openTables(ctx context.Context, a *app) (*migration.Config, *supertokens.Tables, error) {
	cfg, err := loadConfig(a)
	if err != nil {
		return nil, nil, err
	}
	tables, err := migration.OpenTables(ctx, cfg)
	return cfg, tables, err
}

// pluginOptions is how plugins are found and started: those of this executable
// by starting it again, others as stetl-plugin-NAME beside it.
func pluginOptions(a *app) plugin.Options {
	own := plugin.Bundled{}
	for _, name := range bundledNames() {
		own[name] = []string{serveName, name}
	}
	return plugin.Options{
		Bundled:   own,
		Log:       a.log,
		UserAgent: "stetl/" + version,
		Reattach:  os.Getenv(plugin.ReattachVariable),
	}
}

// acceptFlag lets an operator read a source of which something is missing.
func acceptFlag(c *cobra.Command, into *[]string) {
	c.Flags().StringArrayVar(into, "accept-incomplete", nil, "read an incomplete source: accept the problem with this `CODE`; may be repeated")
	completeWith(c, "accept-incomplete", gapCodes()...)
}

func gapCodes() []string {
	var out []string
	for _, code := range supertokens.GapCodes() {
		out = append(out, string(code))
	}
	return out
}

// acceptedGaps are the codes of the flag.
func acceptedGaps(a *app) ([]supertokens.GapCode, error) {
	var out []supertokens.GapCode
	for _, code := range a.accept {
		if !slices.Contains(gapCodes(), code) {
			return nil, usageError(fmt.Errorf("--accept-incomplete %s: there are %s", code, strings.Join(gapCodes(), ", ")))
		}
		out = append(out, supertokens.GapCode(code))
	}
	return out, nil
}

// showIncomplete gives scripts the JSON of a source that was refused before anything
// could be read of it.
func showIncomplete(a *app, err error) error {
	refused, ok := errors.AsType[migration.IncompleteError](err)
	if !ok || !a.asJSON {
		return err
	}
	var found diag.List
	if located, ok := errors.AsType[*diag.ListError](err); ok {
		found = located.List
	}
	return errors.Join(err, report.WriteDiagnosticsJSON(a.out, found, nil, supertokens.Completeness{Missing: refused.Gaps}))
}
