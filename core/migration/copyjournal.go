package migration

import (
	"context"
	"errors"
	"fmt"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/journal/postgres"
	"github.com/stetl/stetl/core/journal/sqlite"
)

// JournalPlace is where a journal is: in a folder, or in a PostgreSQL, with its key.
type JournalPlace struct {
	Folder   string
	URL, Key canonical.Secret
}

// String names the place, without who signs in.
func (p JournalPlace) String() string {
	if p.URL.IsZero() {
		return p.Folder
	}
	return postgres.Where(p.URL)
}

func (p JournalPlace) open(ctx context.Context, key []byte, readOnly bool) (journal.Archive, error) {
	var j journal.Journal
	var err error
	if p.URL.IsZero() {
		j, err = openFolder(ctx, p.Folder, key, readOnly)
	} else {
		j, err = openShared(ctx, postgres.Options{URL: p.URL, Secret: p.Key, Key: key}, readOnly)
	}
	if err != nil {
		return nil, err
	}
	switch j := j.(type) {
	case *sqlite.Journal:
		return sqlite.Archive{Journal: j}, nil
	case *postgres.Journal:
		return postgres.Archive{Journal: j}, nil
	default:
		return nil, errors.Join(errors.New("this kind of journal cannot be copied"), j.Close())
	}
}

// CopyJournal copies a journal into an empty place of either kind. No run may be at work in
// it. done is told now and then how many accounts there are so far.
func CopyJournal(ctx context.Context, from, to JournalPlace, done func(accounts int)) (c journal.Copied, err error) {
	looked, err := from.open(ctx, nil, true) // else it would be made
	if err == nil {
		err = looked.Close()
	}
	if err != nil {
		return c, RefusedError{err}
	}
	old, err := from.open(ctx, nil, false)
	if err != nil {
		return c, RefusedError{err}
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	made, err := to.open(ctx, old.FingerprintKey(), false)
	if errors.Is(err, journal.ErrOtherKey) {
		err = fmt.Errorf("%w: %s", journal.ErrNotEmpty, to)
	}
	if err != nil {
		return c, RefusedError{err}
	}
	defer func() { err = errors.Join(err, made.Close()) }()
	if c, err = journal.Copy(ctx, old, made, func(c journal.Copied) { done(c.Accounts) }); err != nil {
		return c, RefusedError{err}
	}
	return c, nil
}

// JournalGrants are the statements that let a role read a journal in PostgreSQL, or with
// writes also run; see [postgres.Grants].
func JournalGrants(role string, writes bool) []string { return postgres.Grants(role, writes) }
