package migration

import (
	"context"
	"errors"
	"slices"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
)

// SourceOptions say how a source is opened.
type SourceOptions struct {
	// Accept are gaps in spite of which the source is read.
	Accept []supertokens.GapCode
	// Audit looks at every table, for an inspection.
	Audit bool
	// Rows, when set, is called now and then with how many rows have been read.
	Rows func(read int)
}

// Source is the source that a configuration names, opened: one snapshot of it. It is
// for what needs no target. The caller must Close it.
type Source struct {
	cfg *config.Config
	src *supertokens.Source
}

// OpenSource opens the source. Problems of the configuration are errors; those of the
// source point at the line that names it.
func OpenSource(ctx context.Context, cfg *Config, o SourceOptions) (*Source, error) {
	if err := cfg.Err(); err != nil {
		return nil, err
	}
	return openSource(ctx, cfg.Config, o)
}

func openSource(ctx context.Context, cfg *config.Config, o SourceOptions) (*Source, error) {
	options := sourceOptions(cfg)
	options.Audit, options.Progress, options.AcceptIncomplete = o.Audit, o.Rows, o.Accept
	src, err := supertokens.Open(ctx, options)
	if err == nil {
		return &Source{cfg, src}, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, RefusedError{sourceError(cfg, err)}
}

func sourceOptions(cfg *config.Config) supertokens.Options {
	return supertokens.Options{
		URL: cfg.Source.URL, Dump: cfg.Source.Dump, Schema: cfg.Source.Schema, TablePrefix: cfg.Source.TablePrefix,
		Tables: cfg.Source.Tables, App: cfg.Source.App, MigrationMode: cfg.Source.MigrationMode,
		TakeLeft: cfg.Source.LeftUnderInternalID == "take", LockTables: cfg.Source.LockTables, Charset: cfg.Source.Charset,
	}
}

// Close releases the source.
func (s *Source) Close() error { return s.src.Close() }

// Read gives every account, in order. It may be called again, and gives the same ones.
// An error of emit ends it and is returned as it is.
func (s *Source) Read(ctx context.Context, emit func(supertokens.Batch) error) error {
	var refused error // by emit
	err := s.src.Read(ctx, func(b supertokens.Batch) error {
		refused = emit(b)
		return refused
	})
	if err == nil || refused != nil || ctx.Err() != nil {
		return err
	}
	return RefusedError{sourceError(s.cfg, err)}
}

// Roles gives the roles of the app with their permissions; nil where the core is too old to
// have roles.
func (s *Source) Roles() []canonical.Role { return s.src.Roles() }

// Inspect reads every account and says what the source holds, what is odd in it and,
// where the configuration has a target whose plugin starts, what that can take. When
// something is missing, the error says so, and the inspection holds what is there.
// Progress is called with the accounts so far.
func (s *Source) Inspect(ctx context.Context, plugins plugin.Options, progress func(accounts int, b supertokens.Batch)) (i *report.Inspection, err error) {
	inventory, review := supertokens.NewInventory(s.src.Roles()), supertokens.NewReview(s.src)
	defer func() { err = errors.Join(err, review.Close()) }()
	missing := s.Read(ctx, func(b supertokens.Batch) error {
		inventory.Add(b)
		progress(inventory.Accounts, b)
		return review.Add(b)
	})
	var findings []supertokens.Finding
	switch {
	case missing == nil:
		if findings, err = review.Findings(); err != nil {
			return nil, RefusedError{sourceError(s.cfg, err)}
		}
	case !errors.As(missing, new(IncompleteError)):
		return nil, missing
	}
	complete, _ := s.src.Completeness()
	i = &report.Inspection{
		Source: s.src.Where(), Layout: s.src.Layout(), App: s.src.App(), Apps: s.src.Apps(),
		Inventory: inventory, Findings: findings, Ledger: s.src.Ledger(), Completeness: complete,
	}
	if s.cfg.Target.Plugin != "" {
		// A plugin that cannot be started is no reason not to look at the source.
		if info, err := describePlugin(ctx, s.cfg, plugins); err == nil {
			addTarget(i, s.cfg.Target.Plugin, &info.Capabilities)
		}
	}
	return i, missing
}

// addTarget adds what a target can verify and hold.
func addTarget(i *report.Inspection, name string, caps *pluginapi.Capabilities) {
	i.Target, i.Accepts = name, map[string]bool{}
	i.Inventory.EachHash(func(shape string, sample canonical.PasswordHash, _ int) { i.Accepts[shape] = caps.Accepts(sample) })
	i.Carries = map[pluginapi.Feature]bool{}
	for _, f := range pluginapi.Features() {
		i.Carries[f] = caps.Has(f)
	}
}

// Installations says where tables of SuperTokens are, without reading accounts.
func Installations(ctx context.Context, cfg *Config) (*report.Installations, error) {
	if err := cfg.Err(); err != nil {
		return nil, err
	}
	where, found, err := supertokens.Installations(ctx, sourceOptions(cfg.Config))
	if err != nil {
		return nil, cfg.SourceError(err)
	}
	return &report.Installations{Source: where, Installations: found}, nil
}

// OpenTables opens the source for what is not about accounts, such as signing keys.
func OpenTables(ctx context.Context, cfg *Config) (*supertokens.Tables, error) {
	if err := cfg.Err(); err != nil {
		return nil, err
	}
	tables, err := supertokens.OpenTables(ctx, sourceOptions(cfg.Config))
	if err != nil {
		return nil, cfg.SourceError(err)
	}
	return tables, nil
}

// OpenSessions opens the sessions of a live source, to count and to end them.
func OpenSessions(ctx context.Context, cfg *Config) (*session.Store, error) {
	if err := cfg.Err(); err != nil {
		return nil, err
	}
	store, err := session.Open(ctx, sourceOptions(cfg.Config), session.Config{Connections: 1})
	if err != nil {
		return nil, cfg.SourceError(err)
	}
	return store, nil
}

// BridgeSQL gives the statements that make the tables of the bridge and give a role of
// the database the least rights that it needs.
func BridgeSQL(ctx context.Context, cfg *Config, role string) (_ []string, err error) {
	tables, err := OpenTables(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tables.Close()) }()
	return cutover.Grants(tables, cfg.Bridge.Schema, role, !cfg.Bridge.Lazy.Token.IsZero()), nil
}

// accounts is a source as the engine reads it. Every reading gives the same accounts;
// the next one is reviewed if review is set.
type accounts struct {
	*Source
	review *supertokens.Review
	share  *share // what one of several targets gets; nil is everybody
}

// hot is how many accounts are reviewed and emitted at once: so few that they are in
// the processor's cache still when the next step comes to them.
const hot = 128

// Accounts implements [engine.Source].
func (a *accounts) Accounts(ctx context.Context, emit func([]canonical.User) error) error {
	review := a.review
	a.review = nil
	if a.share != nil {
		all := emit
		emit = func(users []canonical.User) error { return all(a.share.of(users)) }
	}
	err := a.src.Read(ctx, func(b supertokens.Batch) error {
		if review == nil {
			return emit(b.Users)
		}
		if err := review.Add(supertokens.Batch{Orphans: b.Orphans}); err != nil {
			return err
		}
		for users := range slices.Chunk(b.Users, hot) {
			if err := review.Add(supertokens.Batch{Users: users}); err != nil {
				return err
			}
			if err := emit(users); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.As(err, new(*supertokens.IncompleteError)) {
		return sourceError(a.cfg, err)
	}
	return err
}
