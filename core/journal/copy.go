package journal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrNotEmpty is returned for copying into a journal that has something in it.
var ErrNotEmpty = errors.New("the journal to copy to is not empty")

// Name names a scope, as [Journal.Scope] is told it.
type Name struct{ App, Destination string }

// Kept is what is kept of accounts beside their entries, by source ids.
type Kept struct {
	Before   map[string][]byte
	Reasons  map[string]Reason
	Payloads map[string]Payload
}

// Part is a part of what a journal has of a scope.
type Part struct {
	Runs    []Run
	Samples map[int64][]Sample
	Saved   map[string][]byte
	Entries []Entry
	Kept
}

// Archive is a journal that can be copied as a whole.
type Archive interface {
	Journal
	// Names are those of all scopes.
	Names(ctx context.Context) ([]Name, error)
	// Kept returns what is kept of accounts that come after one and not after another, and
	// without the other of all that come after the one.
	Kept(ctx context.Context, of Name, after, upto string) (Kept, error)
	// Restore writes what another journal has had, as it was, with its ids and times.
	Restore(ctx context.Context, to Name, p Part) error
	// Copying notes that a copy begins, or has come to its end: nobody opens a journal that is
	// a part of another one.
	Copying(ctx context.Context, begins bool) error
}

// Copied counts what was copied.
type Copied struct{ Scopes, Runs, Accounts int }

// pageOfCopy is how many accounts are copied at once.
const pageOfCopy = 1000

// Copy copies everything into an empty journal, which has been made with the fingerprint key
// of the first. Both are held meanwhile, so that no run writes either. done is told now and
// then how far it is.
func Copy(ctx context.Context, from, to Archive, done func(Copied)) (c Copied, err error) {
	there, err := to.Names(ctx)
	if err == nil && len(there) > 0 {
		err = ErrNotEmpty
	}
	if err != nil {
		return c, err
	}
	names, err := from.Names(ctx)
	if err != nil {
		return c, err
	}
	if err := to.Copying(ctx, true); err != nil {
		return c, err
	}
	for _, name := range names {
		if err := copyScope(ctx, from, to, name, &c, done); err != nil {
			return c, fmt.Errorf("copy %s: %w", name.Destination, err)
		}
		c.Scopes++
	}
	return c, to.Copying(ctx, false)
}

func copyScope(ctx context.Context, from, to Archive, name Name, c *Copied, done func(Copied)) error {
	s, err := from.Scope(ctx, name.App, name.Destination)
	if err != nil {
		return err
	}
	var p Part
	if p.Runs, err = s.Runs.List(ctx, math.MaxInt32); err != nil {
		return err
	}
	slices.Reverse(p.Runs)
	p.Samples = map[int64][]Sample{}
	for _, r := range p.Runs {
		if p.Samples[r.ID], err = s.Runs.Samples(ctx, r.ID); err != nil {
			return err
		}
	}
	if p.Saved, err = s.Plugin.Saved(ctx); err != nil {
		return err
	}
	if err := to.Restore(ctx, name, p); err != nil {
		return err
	}
	c.Runs += len(p.Runs)
	after := ""
	flush := func(all []Entry, upto string) error {
		kept, err := from.Kept(ctx, name, after, upto)
		if err == nil {
			err = to.Restore(ctx, name, Part{Entries: all, Kept: kept})
		}
		after = upto
		c.Accounts += len(all)
		done(*c)
		return err
	}
	var page []Entry
	for e, err := range s.Accounts(ctx) {
		if err != nil {
			return err
		}
		if page = append(page, e); len(page) == pageOfCopy {
			if err := flush(page, e.SourceID); err != nil {
				return err
			}
			page = nil
		}
	}
	return flush(page, "") // and what is kept of accounts that have no entry
}
