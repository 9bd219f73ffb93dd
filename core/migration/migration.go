package migration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stetl/stetl/core/bridge"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
	"github.com/stetl/stetl/core/supertokens"
)

// Options of [Open]. The zero value is for a run with no bundled plugins.
type Options struct {
	// Plugins says how plugins are found and started: which ones this program serves
	// itself, and where their log goes. What a configuration or its journal knows better
	// is set by Open.
	Plugins plugin.Options
	// ReadOnly opens the journal for looking, beside a run that may be writing it, and
	// makes none. It is enough for everything but Run and Undo, and for a dry run.
	ReadOnly bool
	// Accept are gaps in spite of which the source is read.
	Accept []supertokens.GapCode
	// Plan, when set, is what Run executes, to the letter. A journal that is yet to be
	// made takes its key.
	Plan *engine.Plan
	// Lazy are the contracts by which servers of a target ask the bridge whether a
	// password is right.
	Lazy []bridge.LazyContract
	// Metrics, when set, gets the registry of the bridge's metrics, for whoever sends
	// them somewhere.
	Metrics func(prometheus.Gatherer)
	// Program is the name and version of this program, for the journal.
	Program string
	// Rows and Progress, when set, are called now and then, one call at a time: with how
	// many rows of the source have been read, and with how far the accounts are.
	Rows     func(read int)
	Progress func(engine.Progress)
}

// Migration is everything that a configuration names, opened. Its methods are not for
// concurrent use. The source is opened when it is first needed, and stays the same
// snapshot from then on: open another Migration to see what has changed since.
type Migration struct {
	cfg     *Config
	o       Options
	rules   *mapping.Rules
	journal runJournal
	plugin  launcher
	target  *engine.Restarting
	source  *Source // nil until openSource
	// dealt is what was dealt to the target, instead of what the source has; nil where it is
	// the only one that is opened. Then source and journal are its own.
	dealt *hand
	// settings digest what decides what accounts become.
	settings []byte
	ran      bool
}

// Open opens the journal, and starts and configures the plugin. The problems of the
// whole file, those that the plugin finds among them, are one error. The caller must
// Close the migration.
func Open(ctx context.Context, cfg *Config, o Options) (_ *Migration, err error) {
	problems := slices.Clone(cfg.problems)
	if cfg.Targets.Set && cfg.share == nil && !problems.HasErrors() {
		return nil, errManyTargets(cfg)
	}
	problems.Add(cfg.NeedTarget()...)
	if cfg.Target.Plugin == "" {
		return nil, problems.Err()
	}
	rules, found := compileMapping(cfg.Config)
	problems.Add(found...)
	if o.Progress == nil {
		o.Progress = func(engine.Progress) {}
	}
	if cfg.share != nil {
		rules = rules.For(cfg.share.target)
	}
	m := &Migration{cfg: cfg, o: o, rules: rules}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close(ctx))
		}
	}()
	if !problems.HasErrors() {
		m.journal.log = o.Plugins.Log
		if o.Plan != nil {
			m.journal.key = o.Plan.Key
		}
		if err := m.journal.open(ctx, cfg.Config, o.ReadOnly); err != nil {
			return nil, err
		}
	}
	return m, start(ctx, m, problems)
}

// start starts and configures the plugin, which makes m ready. The problems of the file, with
// those that the plugin finds, are an error.
func start(ctx context.Context, m *Migration, problems diag.List) error {
	cfg := m.cfg
	refused := func(err error) error { return errors.Join(problems.Err(), RefusedError{err}) }
	place, options, err := findPlugin(cfg.Config, m.o.Plugins)
	if err != nil {
		return refused(err)
	}
	options.Memory, options.FingerprintKey = &m.journal, m.journal.key
	options.SilenceLimit = cmp.Or(cfg.Limits.Silence.Duration, policy.DefaultSilence)
	m.plugin = launcher{cfg: cfg.Config, options: options, place: place}
	client, err := m.plugin.launch(ctx)
	if err != nil {
		return refused(pluginError(cfg.Config, err))
	}
	problems.Add(cfg.Locate(unknownReasons(cfg.Policies.Skip, client.Info()))...)
	if m.dealt == nil { // else that was done for all targets together, before any of them runs beside others
		problems.Add(cfg.Target.Validate(client.Info().ConfigSchema)...)
	}
	if !problems.HasErrors() {
		if err := m.journal.openScope(ctx, cfg.Config, client.Info().Capabilities.Identity); err != nil {
			return RefusedError{err}
		}
		found, err := client.Configure(ctx, cfg.Target.RevealJSON())
		if err != nil {
			return RefusedError{fmt.Errorf("configure plugin %s: %w", cfg.Target.Plugin, err)}
		}
		problems.Add(cfg.Target.Locate(found)...)
	}
	problems.Sort()
	if problems.HasErrors() {
		return problems.Err()
	}
	m.target = engine.NewRestarting(m.plugin.current(), m.plugin.relaunch)
	m.settings = settings(cfg.Config, m.plugin.current().Info())
	return nil
}

// unknownReasons names the codes in policies.skip that nobody ever gives: whoever waits for
// one of them would find accounts rejected that were to be skipped.
func unknownReasons(skip []diag.Code, plugin plugin.Info) (list diag.List) {
	for i, code := range skip {
		_, known := plugin.Codes.Lookup(code)
		own, _, _ := strings.Cut(string(code), ".")
		if known || plugin.Minor == 0 && own == plugin.Name { // such a plugin cannot say which codes it has
			continue
		}
		list.Add(diag.Diagnostic{
			Code: diag.ConfigInvalidValue, Path: "/policies/skip/" + strconv.Itoa(i), Summary: fmt.Sprintf("no account is ever rejected with the code %q", code),
			Hint: "stetl explain CODE explains a code, and stetl rejects lists those of the last run",
		})
	}
	return list
}

// Close ends the plugin in peace, also when ctx is over, and releases source and
// journal.
func (m *Migration) Close(ctx context.Context) error {
	m.plugin.close(ctx)
	if m.dealt != nil {
		return nil // the rest is of all targets
	}
	var errs []error
	if m.source != nil {
		errs = append(errs, m.source.Close())
	}
	return errors.Join(append(errs, m.journal.close())...)
}

// openSource opens the source, unless that is done.
func (m *Migration) openSource(ctx context.Context) (err error) {
	if m.source == nil {
		m.source, err = openSource(ctx, m.cfg.Config, SourceOptions{Accept: m.o.Accept, Rows: m.o.Rows})
	}
	return err
}

// reading is the source as the engine reads it; the next reading is reviewed if review is set.
func reading(m *Migration, review *supertokens.Review) engine.Source {
	if m.dealt != nil {
		return m.dealt
	}
	return &accounts{Source: m.source, review: review, share: m.cfg.share}
}

// engineOptions are those that everything about accounts shares.
func engineOptions(m *Migration) engine.Options {
	o := engine.Options{
		Policies: m.cfg.Policies,
		Mapping:  m.rules,
		Plugin:   m.cfg.Target.Plugin,
		Progress: m.o.Progress,
		ReadBack: m.cfg.Policies.ReadBack.Every(),
		// The settings count for the digests: with others, every account is another one.
		Key: append(slices.Clone(m.journal.key), m.settings...),
	}
	o.Policies.Limits = m.cfg.Limits
	if m.cfg.Policies.Canary != policy.CanaryOff {
		o.Canary = canaries{&m.plugin, &m.journal}
	}
	if m.journal.scope != nil {
		o.Journal = m.journal.scope
	}
	if m.source != nil {
		o.DefineRoles = m.plugin.defineRoles
		for _, r := range m.source.Roles() {
			o.Roles = append(o.Roles, pluginapi.Role{Name: r.Name, Permissions: r.Permissions})
		}
	}
	return o
}
