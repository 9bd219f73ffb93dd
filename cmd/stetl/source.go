package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/supertokens"
)

// loadConfig reads the configuration; problems come back all at once.
func (a *app) loadConfig() (*config.Config, diag.List, error) {
	if a.configPath == "" {
		return nil, nil, usageError{errors.New("--config FILE is missing; stetl config schema describes such a file")}
	}
	cfg, problems := config.Load(a.configPath, config.Env{})
	problems.Add(cfg.CheckTables(supertokens.RenamableTables())...)
	translateSettings(problems)
	problems.Add(checkAddresses(cfg)...)
	return cfg, problems, nil
}

// translateSettings says of fields that are SuperTokens' own settings what they are
// called here.
func translateSettings(problems diag.List) {
	for i, d := range problems {
		if d.Code != diag.ConfigUnknownField && d.Code != diag.ConfigUnknownTable {
			continue
		}
		steps := diag.Steps(d.Path)
		if len(steps) == 0 || len(steps) > 1 && steps[0] != "source" { // at the top, too: pasted without the section
			continue
		}
		if hint := supertokens.SettingHint(steps[len(steps)-1]); hint != "" {
			problems[i].Hint, problems[i].Detail = hint, ""
		}
	}
}

// checkAddresses looks at the addresses of databases without connecting.
func checkAddresses(cfg *config.Config) diag.List {
	var found diag.List
	check := func(path string, err error) {
		for _, problem := range each(err) {
			d := diag.Diagnostic{Code: diag.ConfigInvalidValue, Summary: problem.Error(), Path: path}
			if p, ok := errors.AsType[supertokens.URLProblem](problem); ok {
				d.Summary, d.Hint = p.What, p.Cure
			}
			found.Add(d)
		}
	}
	for path, url := range map[string]canonical.Secret{"/source/url": cfg.Source.URL, "/bridge/database": cfg.Bridge.Database} {
		if !url.IsZero() {
			check(path, supertokens.CheckURL(url))
			check("/source/schema", supertokens.CheckSchema(url, cfg.Source.Schema))
		}
	}
	located := cfg.Locate(found)
	located.Sort()
	return located
}

// each gives what a joined error holds.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// soundConfig is loadConfig for who has nothing to add to the problems.
func (a *app) soundConfig() (*config.Config, error) {
	cfg, problems, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	return cfg, problems.Err()
}

// openSource opens the source of the configuration. Its errors point at the
// line that names the source.
func openSource(ctx context.Context, cfg *config.Config, accepted []supertokens.GapCode, audit bool, s *status) (*supertokens.Source, error) {
	o := sourceOptions(cfg)
	o.Audit, o.Progress, o.AcceptIncomplete = audit, s.rows, accepted
	src, err := supertokens.Open(ctx, o)
	if err == nil {
		return src, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, refusedError{sourceError(cfg, err)}
}

func sourceOptions(cfg *config.Config) supertokens.Options {
	return supertokens.Options{
		URL: cfg.Source.URL, Dump: cfg.Source.Dump, Schema: cfg.Source.Schema, TablePrefix: cfg.Source.TablePrefix,
		Tables: cfg.Source.Tables, App: cfg.Source.App, MigrationMode: cfg.Source.MigrationMode,
		TakeLeft: cfg.Source.LeftUnderInternalID == "take",
	}
}

// incomplete words what is missing of a source, a diagnostic for each code.
func incomplete(cfg *config.Config, e *supertokens.IncompleteError) error {
	path := "/source/url"
	if cfg.Source.Dump != "" {
		path = "/source/dump"
	}
	var list diag.List
	for code, text := range e.ByCode() {
		d := diag.Diagnostic{Code: diag.Code(code), Summary: text, Path: path}
		if info, known := diag.Lookup(d.Code); known {
			d.Hint = info.Remedy
			if e.Readable() {
				d.Hint += fmt.Sprintf("; --accept-incomplete %s reads what is there all the same", code)
			}
		}
		list.Add(d)
	}
	return incompleteError{cfg.Locate(list).Err(), e.Gaps}
}

// incompleteError is about a source of which something is missing.
type incompleteError struct {
	error
	gaps []supertokens.Gap
}

func (e incompleteError) Unwrap() error { return e.error }

// showIncomplete gives scripts the JSON of a source that was refused before anything
// could be read of it.
func (a *app) showIncomplete(err error) error {
	refused, ok := errors.AsType[incompleteError](err)
	if !ok || !a.asJSON {
		return err
	}
	var found diag.List
	if located, ok := errors.AsType[*diag.ListError](err); ok {
		found = located.List
	}
	return errors.Join(err, report.WriteDiagnosticsJSON(a.out, found, supertokens.Completeness{Missing: refused.gaps}))
}

// acceptFlag lets an operator read a source of which something is missing.
func acceptFlag(c *cobra.Command, into *[]string) {
	c.Flags().StringArrayVar(into, "accept-incomplete", nil, "read the source although it is not whole in the way of this `CODE`; may be repeated")
	codes := gapCodes()
	_ = c.RegisterFlagCompletionFunc("accept-incomplete", cobra.FixedCompletions(codes, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

func gapCodes() []string {
	var out []string
	for _, code := range supertokens.GapCodes() {
		out = append(out, string(code))
	}
	return out
}

// acceptedGaps are the codes of the flag.
func (a *app) acceptedGaps() ([]supertokens.GapCode, error) {
	var out []supertokens.GapCode
	for _, code := range a.accept {
		if !slices.Contains(gapCodes(), code) {
			return nil, usageError{fmt.Errorf("--accept-incomplete %s: there are %s", code, strings.Join(gapCodes(), ", "))}
		}
		out = append(out, supertokens.GapCode(code))
	}
	return out, nil
}

// sourceError gives an error of the source its place in the configuration.
func sourceError(cfg *config.Config, err error) error {
	if e, ok := errors.AsType[*supertokens.IncompleteError](err); ok {
		return incomplete(cfg, e)
	}
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

// openTables opens the source for what is not about accounts.
func (a *app) openTables(ctx context.Context) (*config.Config, *supertokens.Tables, error) {
	cfg, err := a.soundConfig()
	if err != nil {
		return nil, nil, err
	}
	tables, err := supertokens.OpenTables(ctx, sourceOptions(cfg))
	if err != nil {
		return nil, nil, refusedError{sourceError(cfg, err)}
	}
	return cfg, tables, nil
}

// accounts adapts a source to the engine. Every reading gives the same accounts; the
// next one is reviewed if review is set.
type accounts struct {
	cfg    *config.Config
	src    *supertokens.Source
	review *supertokens.Review
}

func (p *project) accounts() *accounts { return &accounts{cfg: p.cfg, src: p.source} }

// hot is how many accounts are reviewed and emitted at once: so few that they are in
// the processor's cache still when the next step comes to them.
const hot = 128

// Accounts implements [engine.Source].
func (s *accounts) Accounts(ctx context.Context, emit func([]canonical.User) error) error {
	review := s.review
	s.review = nil
	err := s.src.Read(ctx, func(b supertokens.Batch) error {
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
		return sourceError(s.cfg, err)
	}
	return err
}
