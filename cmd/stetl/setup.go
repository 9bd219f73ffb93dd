package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/supertokens"
)

// loadConfig reads the configuration; problems come back all at once.
func (a *app) loadConfig() (*config.Config, diag.List, error) {
	if a.configPath == "" {
		return nil, nil, usageError{errors.New("--config FILE is missing")}
	}
	cfg, problems := config.Load(a.configPath, config.Env{})
	problems.Add(cfg.CheckTables(supertokens.RenamableTables())...)
	return cfg, problems, nil
}

// openSource opens the source of the configuration. Its errors point at the
// line that names the source.
func openSource(ctx context.Context, cfg *config.Config, audit bool, s *status) (*supertokens.Source, error) {
	o := supertokens.Options{
		URL: cfg.Source.URL, Dump: cfg.Source.Dump, Schema: cfg.Source.Schema, TablePrefix: cfg.Source.TablePrefix,
		Tables: cfg.Source.Tables, App: cfg.Source.App, MigrationMode: cfg.Source.MigrationMode, Audit: audit, Progress: s.rows,
	}
	src, err := supertokens.Open(ctx, o)
	if err == nil {
		return src, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, refusedError{sourceError(cfg, err)}
}

// sourceError gives an error of the source its place in the configuration.
func sourceError(cfg *config.Config, err error) error {
	d := diag.Diagnostic{Code: diag.SourceUnreachable, Summary: err.Error(), Path: "/source/url"}
	if cfg.Source.Dump != "" {
		d.Path, d.Code = "/source/dump", diag.SourceDumpUnusable
	}
	switch {
	case errors.Is(err, supertokens.ErrNoApp):
		d.Code, d.Path = diag.SourceNoApp, "/source/app"
	case errors.Is(err, supertokens.ErrAmbiguous):
		d.Code = diag.SourceAmbiguous
	case errors.Is(err, supertokens.ErrNotSuperTokens):
		d.Code = diag.SourceNotSuperTokens
	case errors.Is(err, fs.ErrNotExist):
		d.Hint = "check the path; it is relative to the folder of the configuration file"
	}
	return cfg.Locate(diag.List{d}).Err()
}

// launchTarget starts the plugin of the configuration and configures it. All
// problems of the whole file are reported together.
func (a *app) launchTarget(ctx context.Context, cfg *config.Config, problems diag.List) (*plugin.Client, error) {
	if cfg.Target.Plugin == "" {
		return nil, problems.Err()
	}
	options := a.pluginOptions()
	options.WorkDir = filepath.Dir(cfg.Path)
	location, err := plugin.Find(cfg.Target.Plugin, options)
	if err != nil {
		return nil, errors.Join(problems.Err(), refusedError{pluginError(cfg, err)})
	}
	client, err := plugin.Launch(ctx, location, options)
	if err != nil {
		return nil, errors.Join(problems.Err(), refusedError{pluginError(cfg, err)})
	}
	problems.Add(cfg.Target.Validate(client.Info().ConfigSchema)...)
	if !problems.HasErrors() {
		found, err := client.Configure(ctx, cfg.Target.RevealJSON())
		if err != nil {
			return nil, errors.Join(refusedError{fmt.Errorf("configure plugin %s: %w", cfg.Target.Plugin, err)}, client.Close(context.WithoutCancel(ctx)))
		}
		problems.Add(cfg.Target.Locate(found)...)
	}
	if problems.HasErrors() {
		problems.Sort()
		return nil, errors.Join(problems.Err(), client.Close(context.WithoutCancel(ctx)))
	}
	return client, nil
}

// pluginError gives an error of a plugin its place in the configuration.
func pluginError(cfg *config.Config, err error) error {
	e, ok := errors.AsType[*plugin.Error](err)
	if !ok {
		return err
	}
	d := e.Diagnostic()
	d.Path = "/target/plugin"
	return cfg.Locate(diag.List{d}).Err()
}

// pluginOptions is how plugins are found and started: those of this executable
// by starting it again, others as stetl-plugin-NAME beside it.
func (a *app) pluginOptions() plugin.Options {
	own := plugin.Bundled{}
	for _, name := range bundledNames() {
		own[name] = []string{serveName, name}
	}
	return plugin.Options{
		Bundled:   own,
		Log:       slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
		UserAgent: "stetl/" + version,
	}
}

// accounts adapts a source to the engine. The first reading also takes the
// inventory; every reading gives the same accounts.
type accounts struct {
	src       *supertokens.Source
	inventory *supertokens.Inventory
	counted   bool
}

func newAccounts(src *supertokens.Source) *accounts {
	return &accounts{src: src, inventory: supertokens.NewInventory(src)}
}

// Accounts implements [engine.Source].
func (s *accounts) Accounts(ctx context.Context, emit func([]canonical.User) error) error {
	first := !s.counted
	s.counted = true
	return s.src.Read(ctx, func(b supertokens.Batch) error {
		if first {
			s.inventory.Add(b)
		}
		return emit(b.Users)
	})
}
