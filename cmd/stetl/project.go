package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/target"
)

// access is what a command wants of the journal.
type access int

const (
	// peek reads the journal where there is one.
	peek access = iota
	// own opens it for writing, and keeps other runs out.
	own
)

// project is everything that a configuration file names, opened: the journal, the
// plugin with its target, and the source.
type project struct {
	app     *app
	cfg     *config.Config
	journal *journal.Journal // nil where there is none and none is to be made
	scope   *journal.Scope   // nil with journal
	target  *engine.Restarting
	clients []*plugin.Client // all that were started, the last one is at work
	options plugin.Options
	place   plugin.Location
	source  *supertokens.Source // nil until openSource
	status  *status
	rules   *mapping.Rules
}

// openProject loads the configuration and opens what a command about the target
// needs, all but the source. All problems of the whole file are reported together.
func (a *app) openProject(ctx context.Context, want access, s *status) (p *project, err error) {
	cfg, problems, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	problems.Add(cfg.NeedTarget()...)
	if cfg.Target.Plugin == "" {
		return nil, problems.Err()
	}
	rules, found := compileMapping(cfg)
	problems.Add(found...)
	p = &project{app: a, cfg: cfg, options: a.pluginOptions(), status: s, rules: rules}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close(ctx))
		}
	}()
	if !problems.HasErrors() {
		if err := p.openJournal(ctx, want); err != nil {
			return p, err
		}
	}
	p.options.WorkDir = filepath.Dir(cfg.Path)
	p.options.Memory, p.options.Pulse = p, s.pulse
	if err := findIn(cfg, &p.options); err != nil {
		return p, errors.Join(problems.Err(), refusedError{err})
	}
	if p.place, err = plugin.Find(cfg.Target.Plugin, p.options); err != nil {
		return p, errors.Join(problems.Err(), refusedError{pluginError(cfg, err)})
	}
	client, err := p.launch(ctx)
	if err != nil {
		return p, errors.Join(problems.Err(), refusedError{pluginError(cfg, err)})
	}
	problems.Add(cfg.Target.Validate(client.Info().ConfigSchema)...)
	if !problems.HasErrors() {
		if err := p.openScope(ctx, client.Info().Capabilities.Identity); err != nil {
			return p, refusedError{err}
		}
		found, err := client.Configure(ctx, cfg.Target.RevealJSON())
		if err != nil {
			return p, refusedError{fmt.Errorf("configure plugin %s: %w", cfg.Target.Plugin, err)}
		}
		problems.Add(cfg.Target.Locate(found)...)
	}
	if problems.HasErrors() {
		problems.Sort()
		return p, problems.Err()
	}
	p.target = engine.NewRestarting(client, p.relaunch)
	return p, nil
}

// openSource opens the source, which stays open as long as the project.
func (p *project) openSource(ctx context.Context) (err error) {
	accepted, err := p.app.acceptedGaps()
	if err != nil {
		return err
	}
	p.source, err = openSource(ctx, p.cfg, accepted, false, p.status)
	return err
}

func (p *project) openJournal(ctx context.Context, want access) (err error) {
	if want == own {
		p.journal, err = journal.OpenKeyed(ctx, p.cfg.Journal, p.app.planKey)
	} else if p.journal, err = journal.Read(ctx, p.cfg.Journal); errors.Is(err, fs.ErrNotExist) {
		p.options.FingerprintKey = p.app.planKey
		return nil
	}
	if errors.Is(err, journal.ErrOtherKey) {
		return usageError{fmt.Errorf("plan again, as there have been runs since: %w", err)}
	}
	if err != nil {
		return refusedError{err}
	}
	p.options.FingerprintKey = p.journal.FingerprintKey()
	return nil
}

// openScope finds the part of the journal that belongs to this source and target.
func (p *project) openScope(ctx context.Context, identity []string) (err error) {
	if p.journal == nil {
		return nil
	}
	var settings map[string]any
	if err := json.Unmarshal(p.cfg.Target.PlainJSON(), &settings); err != nil {
		return fmt.Errorf("name the target: %w", err)
	}
	if len(identity) > 0 {
		maps.DeleteFunc(settings, func(key string, _ any) bool { return !slices.Contains(identity, key) })
	}
	place, err := json.Marshal(settings)
	if err != nil {
		return fmt.Errorf("name the target: %w", err)
	}
	p.scope, err = p.journal.Scope(ctx, p.cfg.Source.App, p.cfg.Target.Plugin+" "+string(place))
	return err
}

func (p *project) launch(ctx context.Context) (*plugin.Client, error) {
	client, err := plugin.Launch(ctx, p.place, p.options)
	if err == nil {
		p.clients = append(p.clients, client)
	}
	return client, err
}

// relaunch replaces a plugin whose process has died.
func (p *project) relaunch(ctx context.Context) (engine.Target, error) {
	client, err := p.launch(ctx)
	if err != nil {
		return nil, err
	}
	found, err := client.Configure(ctx, p.cfg.Target.RevealJSON())
	if err == nil {
		err = found.Err()
	}
	if err != nil { // who is not configured is not at work
		p.clients = p.clients[:len(p.clients)-1]
		return nil, errors.Join(err, closeTarget(ctx, client))
	}
	return client, nil
}

// client is the plugin that is at work now.
func (p *project) client() *plugin.Client { return p.clients[len(p.clients)-1] }

// Saved implements [plugin.Memory].
func (p *project) Saved(ctx context.Context) (map[string][]byte, error) {
	if p.scope == nil {
		return nil, nil
	}
	return p.scope.Saved(ctx)
}

// Save implements [plugin.Memory].
func (p *project) Save(ctx context.Context, key string, value []byte) error {
	if p.scope == nil {
		return errors.New("this command does not write the journal")
	}
	return p.scope.Save(ctx, key, value)
}

// close ends the plugin in peace, also when the run was interrupted. Of plugins
// that have died, their death was reported by those who missed them.
func (p *project) close(ctx context.Context) error {
	var errs []error
	if p.source != nil {
		errs = append(errs, p.source.Close())
	}
	for i, client := range p.clients {
		err := closeTarget(ctx, client)
		if i == len(p.clients)-1 {
			errs = append(errs, err)
		}
	}
	if p.journal != nil {
		errs = append(errs, p.journal.Close())
	}
	return errors.Join(errs...)
}

// settings digests what, beside an account itself, decides what it becomes in the
// target.
func (p *project) settings() []byte {
	info := p.clients[0].Info()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%t%s", info.Name, info.Version, p.cfg.Target.PlainJSON(), p.cfg.Policies.Adopt, mappingSettings(p.cfg)))
	return sum[:16]
}

// engineOptions are those that every command about accounts shares.
func (p *project) engineOptions() engine.Options {
	o := engine.Options{
		Policies: p.cfg.Policies,
		Mapping:  p.rules,
		Plugin:   p.cfg.Target.Plugin,
		Progress: p.status.engine,
	}
	o.Policies.Limits = p.cfg.Limits
	if canary := p.cfg.Policies.Canary; canary == nil || *canary {
		o.Canary = canaries{p}
	}
	// The settings count for the digests: with others, every account is another one.
	o.Key = append(slices.Clone(p.options.FingerprintKey), p.settings()...)
	if p.scope != nil {
		o.Journal = p.scope
	}
	o.ReadBack = p.cfg.Policies.ReadBack.Every()
	return o
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
		Reattach:  os.Getenv(plugin.ReattachVariable),
	}
}

// canaries asks whichever plugin is at work; its memory is the journal.
type canaries struct{ *project }

// Login implements [engine.Canary].
func (c canaries) Login(ctx context.Context, l target.Login) (bool, error) {
	return c.client().Login(ctx, l)
}

// Undo implements [engine.Canary].
func (c canaries) Undo(ctx context.Context, accounts []target.Account) ([]target.Outcome, error) {
	return c.client().Undo(ctx, accounts)
}
