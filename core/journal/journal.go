package journal

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"iter"

	"filippo.io/age"
)

// ErrLocked is returned when another process is using the journal.
var ErrLocked = errors.New("another run is using this journal")

// ErrOtherKey is returned when a journal has another key than it should.
var ErrOtherKey = errors.New("the journal is newer than what it is compared with")

// ErrReadOnly is returned for writing to a journal that was opened for looking.
var ErrReadOnly = errors.New("the journal was opened for reading only")

// Journal is an open journal. All methods, and those of its scopes, are safe for concurrent
// use.
type Journal interface {
	// Scope returns the part for an app of the source and a target, each named in a way that
	// stays the same from run to run.
	Scope(ctx context.Context, app, destination string) (*Scope, error)
	// FingerprintKey keys the digests of this journal: 32 bytes, the same for ever.
	FingerprintKey() []byte
	// Close writes out what is queued and lets other runs in.
	Close() error
}

// Scope is the part of a journal that belongs to one app of a source and one target.
type Scope struct {
	Outcomes
	Listing
	Finder
	// Runs are the runs that have written.
	Runs Runs
	// Rejects are what is kept of accounts that were not loaded, or not as a whole.
	Rejects Rejects
	// Plugin is what the plugin of the target keeps from run to run.
	Plugin Saved
	// Lease is the hold of this process; nil where nobody can take it over.
	Lease Lease
}

// Lease is a hold that ends when its process is not heard of for too long.
type Lease interface {
	// Held is nil as long as no other run can have begun.
	Held() error
}

// Held is the answer of the lease, and nil where there is none. Whoever is about to send
// something asks, because a process can be held up at any moment.
func (s *Scope) Held() error {
	if s.Lease == nil {
		return nil
	}
	return s.Lease.Held()
}

// Outcomes is where it is noted what is sent and what becomes of it. What a method has
// written is durable when it returns nil.
type Outcomes interface {
	// Mark notes that accounts are about to be sent: until Record is called with the number
	// that it returns, they are in doubt. Of the entries, SourceID, VisibleID and Class count.
	Mark(run int64, entries []Entry) (batch int64, err error)
	// Record notes the outcomes of a batch; batch is 0 for outcomes of accounts that were
	// not sent. Entries replace what is known of their accounts; a pre-image that is already
	// there stays, because it is the one from before the first update, unless the entry says
	// Anew.
	Record(batch int64, entries []Entry) error
	// Forget removes accounts, with all that is known of them: an undo has taken them back,
	// or they were never loaded and have gone from the source.
	Forget(sourceIDs []string) error
	// Clear forgets every account: the target is about to be written anew.
	Clear() error
}

// Listing yields accounts in the order of the bytes of their source ids, and stops at the
// first error.
type Listing interface {
	// Accounts yields every account that has an outcome or was in doubt when the journal was
	// opened. In a journal that is opened for looking only, those are in doubt too that a run
	// which was at work then, or was killed, had sent. The slices of an entry are its own.
	Accounts(ctx context.Context) iter.Seq2[Entry, error]
	// Known yields, of the same accounts, what a later run wants to know of each.
	Known(ctx context.Context) iter.Seq2[Known, error]
}

// Finder looks for single accounts.
type Finder interface {
	// Get returns what is known of the account with this source id; false when nothing is.
	Get(ctx context.Context, sourceID string) (Entry, bool, error)
	// Account returns what is known of the account that has this source id, visible id or
	// target id; false when nothing is. It looks at every account.
	Account(ctx context.Context, id string) (Entry, bool, error)
	// Before returns the decrypted pre-image of an account, nil when there is none.
	Before(ctx context.Context, sourceID string) ([]byte, error)
}

// Seal encrypts a message to age keys.
func Seal(clearText []byte, to ...age.Recipient) ([]byte, error) {
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(clearText); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// NewKey returns a random key for a journal.
func NewKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	return key
}
