package engine

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/target"
)

// standing is how an account stands with the journal.
type standing uint8

const (
	// unknown: the journal has never heard of it.
	unknown standing = iota
	// fresh: never successfully loaded.
	fresh
	// doubtful: it was sent and nobody knows what came of it.
	doubtful
	// stale: it was loaded and has changed since.
	stale
	// settled: it was loaded as it still is.
	settled
)

// sent says whether the account was given to the target and may be there.
func (s standing) sent() bool { return s >= doubtful }

// memory walks through the journal beside the source, as both are in the order of
// their ids, so that of what the journal knows only a moment is at hand.
type memory struct {
	next  func() ([]journal.Known, error, bool)
	stop  func()
	ahead []journal.Known // those that the source has not reached yet
	last  string          // the id that the source was at
	// standings of the accounts, by their place.
	standings []standing
	// gone lists who was loaded earlier and is not in the source any more.
	gone []string
}

// remember begins to read the journal.
func (r *runner) remember(ctx context.Context) error {
	if r.options.Journal == nil {
		return nil
	}
	r.known.next, r.known.stop = iter.Pull2(inParts(r.options.Journal.Known(ctx)))
	return r.known.fill()
}

// inParts yields the entries a few hundred at a time, which are valid until the next
// ones come: SQLite and the survey would push each other out of the processor's caches
// if they took turns at every account.
func inParts(all iter.Seq2[journal.Known, error]) iter.Seq2[[]journal.Known, error] {
	return func(yield func([]journal.Known, error) bool) {
		part, digests := make([]journal.Known, 0, 256), []byte(nil)
		for k, err := range all {
			if err != nil {
				if len(part) == 0 || yield(part, nil) {
					yield(nil, err)
				}
				return
			}
			digests = append(digests, k.Digest...)
			k.Digest = digests[len(digests)-len(k.Digest):]
			if part = append(part, k); len(part) == cap(part) {
				if !yield(part, nil) {
					return
				}
				part, digests = part[:0], digests[:0]
			}
		}
		if len(part) > 0 {
			yield(part, nil)
		}
	}
}

// advance goes on to the next entry.
func (m *memory) advance() error {
	if m.ahead = m.ahead[1:]; len(m.ahead) > 0 {
		return nil
	}
	return m.fill()
}

func (m *memory) fill() (err error) {
	if m.ahead, err, _ = m.next(); err != nil { // none when there are no more
		m.forget()
	}
	return err
}

// forget ends the reading of the journal.
func (m *memory) forget() {
	if m.stop != nil {
		m.stop()
	}
	m.next, m.stop, m.ahead = nil, nil, nil
}

// meet says and notes how u, the next account of the source, stands. key keys digests.
func (m *memory) meet(u *target.User, full bool, key []byte) (s standing, err error) {
	id := u.SourceID
	if id <= m.last && len(m.standings) > 0 {
		return s, fmt.Errorf("account %s comes after account %s; the source is not in the order of its ids", id, m.last)
	}
	m.last = id
	for len(m.ahead) > 0 && m.ahead[0].SourceID < id {
		if err := m.pass(); err != nil {
			return s, err
		}
	}
	if len(m.ahead) > 0 && m.ahead[0].SourceID == id {
		s = stands(&m.ahead[0], full, u, key)
		err = m.advance()
	}
	m.standings = append(m.standings, s)
	return s, err
}

// pass goes by an account that the source does not have.
func (m *memory) pass() error {
	if m.ahead[0].InTarget {
		m.gone = append(m.gone, m.ahead[0].SourceID)
	}
	return m.advance()
}

// end is to be called when the source has ended.
func (m *memory) end() error {
	for len(m.ahead) > 0 {
		if err := m.pass(); err != nil {
			return err
		}
	}
	m.forget()
	return nil
}

// stands says how an account stands that the journal knows.
func stands(k *journal.Known, full bool, u *target.User, key []byte) standing {
	switch {
	case k.InDoubt:
		return doubtful
	case !k.InTarget:
		return fresh
	case full || !bytes.Equal(k.Digest, u.Digest(key)):
		return stale
	default:
		return settled
	}
}

// standing says how the n-th account stands, which is u with all policies applied:
// they may have made another user of it than the survey has seen.
func (r *runner) standing(ctx context.Context, n int, u *target.User) (standing, error) {
	s := r.known.standings[n]
	if s <= doubtful || r.owners.losers[n] == nil && len(r.merged[n]) == 0 {
		return s, nil
	}
	e, err := r.prior(ctx, u.SourceID)
	known := e.Known()
	return stands(&known, r.options.Full, u, r.options.Key), err
}

func loaded(a target.Action) bool {
	return a == target.Created || a == target.Updated || a == target.Unchanged
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
		State: o.State, Origin: before.Origin, InDoubt: o.Action == target.InDoubt, Run: r.options.Run,
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
		case before.InDoubt:
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
