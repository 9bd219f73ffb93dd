package migration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/journal"
)

// memory is the journal of a configuration, where there is one.
type memory struct {
	journal *journal.Journal // nil where there is none and none is to be made
	scope   *journal.Scope   // nil with journal
	// key is that of the journal, or of one that is yet to be made.
	key []byte
}

// open opens the journal in dir, or makes it. With readOnly it opens one that is there,
// and other runs may use it.
func (m *memory) open(ctx context.Context, dir string, readOnly bool) (err error) {
	if readOnly {
		m.journal, err = journal.Read(ctx, dir)
	} else {
		m.journal, err = journal.OpenKeyed(ctx, dir, m.key)
	}
	switch {
	case err == nil:
		m.key = m.journal.FingerprintKey()
		return nil
	case readOnly && errors.Is(err, fs.ErrNotExist):
		m.journal = nil
		if m.key == nil {
			m.key = journal.NewKey()
		}
		return nil
	case errors.Is(err, journal.ErrOtherKey):
		return UsageError{fmt.Errorf("plan again, as there have been runs since: %w", err)}
	default:
		return RefusedError{err}
	}
}

// openScope finds the part of the journal that belongs to this source and target.
func (m *memory) openScope(ctx context.Context, cfg *config.Config, identity []string) error {
	if m.journal == nil {
		return nil
	}
	name, err := scopeName(cfg, identity)
	if err == nil {
		m.scope, err = m.journal.Scope(ctx, cfg.Source.App, name)
	}
	return err
}

func (m *memory) close() error {
	if m.journal == nil {
		return nil
	}
	return m.journal.Close()
}

// account is what the journal has of an account, by any of its ids.
func (m *memory) account(ctx context.Context, id string) (journal.Entry, bool, error) {
	if m.scope == nil {
		return journal.Entry{}, false, nil
	}
	return m.scope.Account(ctx, id)
}

// Saved implements [plugin.Memory].
func (m *memory) Saved(ctx context.Context) (map[string][]byte, error) {
	if m.scope == nil {
		return nil, nil
	}
	return m.scope.Saved(ctx)
}

// Save implements [plugin.Memory].
func (m *memory) Save(ctx context.Context, key string, value []byte) error {
	if m.scope == nil {
		return errors.New("this command does not write the journal")
	}
	return m.scope.Save(ctx, key, value)
}
