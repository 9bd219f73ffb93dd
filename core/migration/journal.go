package migration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/journal/postgres"
	"github.com/stetl/stetl/core/journal/sqlite"
)

// runJournal is the journal of a configuration, where there is one.
type runJournal struct {
	file  journal.Journal // nil where there is none and none is to be made
	scope *journal.Scope  // nil with file
	// key is that of the journal, or of one that is yet to be made.
	key []byte
	log *slog.Logger // can be nil
}

// open opens the journal of a configuration, or makes it. With readOnly it opens one that is
// there, and other runs may use it.
func (j *runJournal) open(ctx context.Context, cfg *config.Config, readOnly bool) error {
	file, err := openJournal(ctx, cfg, j, readOnly)
	switch {
	case err == nil:
		j.file, j.key = file, file.FingerprintKey()
		return nil
	case readOnly && errors.Is(err, fs.ErrNotExist):
		if j.key == nil {
			j.key = journal.NewKey()
		}
		return nil
	case errors.Is(err, journal.ErrOtherKey):
		return UsageError{fmt.Errorf("plan again, because there were runs since: %w", err)}
	default:
		return RefusedError{journalError(cfg, err)}
	}
}

// openJournal opens the kind that a configuration names.
func openJournal(ctx context.Context, cfg *config.Config, j *runJournal, readOnly bool) (journal.Journal, error) {
	if !cfg.JournalURL.IsZero() {
		o := postgres.Options{URL: cfg.JournalURL, Secret: cfg.JournalKey, Key: j.key}
		if j.log != nil {
			o.Waiting = func(holder string) {
				j.log.Warn("another run holds the journal, or was killed: waiting for a sign of it, or the end of its lease", "holder", holder)
			}
		}
		return openShared(ctx, o, readOnly)
	}
	return openFolder(ctx, cfg.Journal, j.key, readOnly)
}

func openFolder(ctx context.Context, dir string, key []byte, readOnly bool) (journal.Journal, error) {
	open := func() (*sqlite.Journal, error) { return sqlite.OpenKeyed(ctx, dir, key) }
	if readOnly {
		open = func() (*sqlite.Journal, error) { return sqlite.Read(ctx, dir) }
	}
	j, err := open()
	if err != nil {
		return nil, err
	}
	return j, nil
}

func openShared(ctx context.Context, o postgres.Options, readOnly bool) (journal.Journal, error) {
	open := postgres.Open
	if readOnly {
		open = postgres.Read
	}
	j, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	return j, nil
}

// journalPlace says where the journal of a configuration is.
func journalPlace(cfg *config.Config) string {
	if !cfg.JournalURL.IsZero() {
		return postgres.Where(cfg.JournalURL)
	}
	return cfg.Journal
}

// journalError gives an error of the journal its place in the configuration.
func journalError(cfg *config.Config, err error) error {
	e, ok := errors.AsType[*journal.Error](err)
	if !ok {
		return err
	}
	return cfg.Locate(diag.List{journalDiagnostic(e.Code, e.Message())}).Err()
}

func journalDiagnostic(code diag.Code, summary string) diag.Diagnostic {
	d := diag.Diagnostic{Code: code, Summary: summary, Path: "/journal"}
	if info, known := diag.Lookup(code); known {
		d.Hint = info.Remedy
	}
	return d
}

// openScope finds the part of the journal that belongs to this source and target.
func (j *runJournal) openScope(ctx context.Context, cfg *config.Config, identity []string) error {
	if j.file == nil {
		return nil
	}
	name, err := scopeName(cfg, identity)
	if err == nil {
		j.scope, err = j.file.Scope(ctx, cfg.Source.App, name)
	}
	return journalError(cfg, err)
}

// hold returns a context that ends also when another run may have the journal.
func (j *runJournal) hold(ctx context.Context) (context.Context, context.CancelFunc) {
	if h, ok := j.file.(journal.Holder); ok {
		return h.Hold(ctx)
	}
	return ctx, func() {}
}

// misplaced warns of a journal that is in the database of the source.
func (j *runJournal) misplaced(ctx context.Context, cfg *config.Config) (diag.List, error) {
	shared, ok := j.file.(*postgres.Journal)
	if !ok {
		return nil, nil
	}
	beside, err := shared.BesideSuperTokens(ctx)
	if err != nil || !beside {
		return nil, err
	}
	d := journalDiagnostic(diag.JournalBesideSource, "the journal is in a database with tables of SuperTokens: "+journalPlace(cfg))
	d.Severity = diag.Warning
	return cfg.Locate(diag.List{d}), nil
}

// exposed warns of a journal that the role of the bridge can write.
func (j *runJournal) exposed(ctx context.Context) (diag.List, error) {
	shared, ok := j.file.(*postgres.Journal)
	if !ok {
		return nil, nil
	}
	owns, err := shared.Owns(ctx)
	if err != nil || !owns {
		return nil, err
	}
	d := journalDiagnostic(diag.JournalExposed, "this role can write the journal, and with it choose whose account the bridge opens")
	d.Severity = diag.Warning
	return diag.List{d}, nil
}

func (j *runJournal) close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}

// hasAccounts reports whether a run has left an account.
func (j *runJournal) hasAccounts(ctx context.Context) bool {
	if j.scope == nil {
		return false
	}
	for e, err := range j.scope.Accounts(ctx) {
		if err == nil && e.TargetID != "" {
			return true
		}
	}
	return false
}

// account is what the journal has of an account, by any of its ids.
func (j *runJournal) account(ctx context.Context, id string) (journal.Entry, bool, error) {
	if j.scope == nil {
		return journal.Entry{}, false, nil
	}
	return j.scope.Account(ctx, id)
}

// Saved implements [plugin.Memory].
func (j *runJournal) Saved(ctx context.Context) (map[string][]byte, error) {
	if j.scope == nil {
		return nil, nil
	}
	return j.scope.Plugin.Saved(ctx)
}

// Save implements [plugin.Memory].
func (j *runJournal) Save(ctx context.Context, key string, value []byte) error {
	if j.scope == nil {
		return errors.New("this command does not write the journal")
	}
	return j.scope.Plugin.Save(ctx, key, value)
}
