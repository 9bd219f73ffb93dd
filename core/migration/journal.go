package migration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/journal/sqlite"
)

// runJournal is the journal of a configuration, where there is one.
type runJournal struct {
	file  journal.Journal // nil where there is none and none is to be made
	scope *journal.Scope  // nil with file
	// key is that of the journal, or of one that is yet to be made.
	key []byte
}

// open opens the journal in dir, or makes it. With readOnly it opens one that is there,
// and other runs may use it.
func (j *runJournal) open(ctx context.Context, dir string, readOnly bool) (err error) {
	var file journal.Journal
	if readOnly {
		file, err = sqlite.Read(ctx, dir)
	} else {
		file, err = sqlite.OpenKeyed(ctx, dir, j.key)
	}
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
		return RefusedError{err}
	}
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
	return err
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
