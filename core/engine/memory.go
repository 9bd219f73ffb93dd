package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/target"
)

// standing is how an account stands with the journal.
type standing uint8

const (
	// fresh: never loaded, or never successfully.
	fresh standing = iota
	// doubtful: it was sent and nobody knows what came of it.
	doubtful
	// stale: it was loaded and has changed since.
	stale
	// settled: it was loaded as it still is.
	settled
)

// memory is what the journal knows, small enough to have a million accounts at
// hand: 16 bytes for each, by a hash of its id. Whatever else is needed of an
// account is fetched from the journal.
type memory struct {
	seed  maphash.Seed
	known map[uint64]remembered
}

// remembered is the beginning of a digest, and flags in its last bits.
type remembered uint64

const (
	isLoaded remembered = 1 << iota
	isPending
	isSeen
	flags = isLoaded | isPending | isSeen
)

func (k remembered) is(flag remembered) bool { return k&flag != 0 }

func (m *memory) hash(sourceID string) uint64 { return maphash.String(m.seed, sourceID) }

// remember reads the journal.
func (r *runner) remember(ctx context.Context) error {
	r.known.seed = maphash.MakeSeed()
	if r.options.Journal == nil {
		return nil
	}
	r.known.known = map[uint64]remembered{}
	for e, err := range r.options.Journal.Accounts(ctx) {
		if err != nil {
			return err
		}
		k := short(e.Digest)
		if loaded(e.Action) && e.TargetID != "" || e.Origin != journal.Unclear {
			k |= isLoaded
		}
		if e.Pending {
			k |= isPending
		}
		r.known.known[r.known.hash(e.SourceID)] = k
	}
	return nil
}

func loaded(a target.Action) bool {
	return a == target.Created || a == target.Updated || a == target.Unchanged
}

// short is the beginning of a digest, without flags.
func short(digest []byte) remembered {
	if len(digest) < 8 {
		return 0
	}
	return remembered(binary.BigEndian.Uint64(digest)) &^ flags
}

// look says how u stands and remembers that the source has it.
func (m *memory) look(u *target.User, key []byte, full bool) standing {
	if m.known == nil {
		return fresh
	}
	at := m.hash(u.SourceID)
	k, ok := m.known[at]
	if !ok {
		return fresh
	}
	if !k.is(isSeen) {
		k |= isSeen
		m.known[at] = k
	}
	switch {
	case k.is(isPending):
		return doubtful
	case !k.is(isLoaded):
		return fresh
	case full || k&^flags != short(u.Digest(key)):
		return stale
	default:
		return settled
	}
}

// has says whether the journal knows u, whatever came of it.
func (m *memory) has(u *target.User) bool {
	if m.known == nil { // nobody has read a journal
		return false
	}
	_, ok := m.known[m.hash(u.SourceID)]
	return ok
}

// removed lists who was loaded earlier and was not seen this time.
func (r *runner) removed(ctx context.Context) error {
	unseen := func(k remembered) bool { return k&(isSeen|isLoaded) == isLoaded }
	if r.options.Journal == nil || !containsValue(r.known.known, unseen) {
		return nil
	}
	for e, err := range r.options.Journal.Accounts(ctx) {
		if err != nil {
			return err
		}
		if unseen(r.known.known[r.known.hash(e.SourceID)]) {
			r.result.Removed = append(r.result.Removed, e.SourceID)
		}
	}
	slices.Sort(r.result.Removed)
	return nil
}

func containsValue[K comparable, V any](m map[K]V, f func(V) bool) bool {
	for _, v := range m {
		if f(v) {
			return true
		}
	}
	return false
}

// prior fetches what an earlier run left behind.
func (r *runner) prior(ctx context.Context, sourceID string) (journal.Entry, error) {
	e, ok, err := r.options.Journal.Get(ctx, sourceID)
	if err == nil && !ok {
		err = fmt.Errorf("account %s has gone from the journal", sourceID)
	}
	return e, err
}

// entry is what the journal is told about an outcome. before is what it held.
func (r *runner) entry(u *target.User, o *target.Outcome, before journal.Entry) journal.Entry {
	e := journal.Entry{
		SourceID: u.SourceID, VisibleID: u.ID, TargetID: o.TargetID, Action: o.Action, Code: o.Code, Class: u.Class,
		State: o.State, Origin: before.Origin, Pending: o.Action == target.InDoubt, Run: r.options.Run,
	}
	if e.TargetID == "" {
		e.TargetID = before.TargetID
	}
	switch o.Action {
	case target.Created:
		e.Origin, e.Digest = journal.Made, u.Digest(r.options.Key)
	case target.Updated:
		e.Digest = u.Digest(r.options.Key)
		if e.Origin == journal.Unclear || e.Origin == journal.Found {
			e.Origin, e.Before = journal.Adopted, o.Before
		}
	case target.Unchanged:
		e.Digest = u.Digest(r.options.Key)
		switch {
		case before.Origin != journal.Unclear:
		case before.Pending:
			// It was absent when a run sent it, and now it is there as it was sent.
			e.Origin = journal.Made
		default:
			e.Origin = journal.Found
		}
	default:
		// What is known from before stays true of the account in the target.
		e.Digest, e.State = before.Digest, before.State
	}
	if loaded(o.Action) && o.State == nil && bytes.Equal(e.Digest, before.Digest) {
		e.State = before.State
	}
	return e
}
