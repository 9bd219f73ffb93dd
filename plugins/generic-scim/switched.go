package scim

import (
	"context"
	"crypto/sha256"
	"strconv"
	"sync"

	"github.com/stetl/stetl/core/sdk"
)

// switchedOff are accounts that an undo has switched off in place of deleting them. The
// host has forgotten them; a later load has to tell them from accounts that somebody else
// has switched off, which stay so. It is safe for concurrent use.
type switchedOff struct {
	journal sdk.Journal

	mu    sync.Mutex
	known map[[offSize]byte]bool
	parts int
}

// offKey begins the journal's keys of parts of the list. offSize is how much is kept of
// the digest of an id.
const (
	offKey  = "switched_off:"
	offSize = 8
)

func offID(id string) (short [offSize]byte) {
	sum := sha256.Sum256([]byte(id))
	copy(short[:], sum[:])
	return short
}

func recallSwitchedOff(j sdk.Journal) *switchedOff {
	s := &switchedOff{journal: j, known: map[[offSize]byte]bool{}}
	for j != nil {
		raw, ok := j.Get(offKey + strconv.Itoa(s.parts))
		if !ok {
			break
		}
		s.parts++
		for ; len(raw) >= offSize; raw = raw[offSize:] {
			s.known[[offSize]byte(raw)] = true
		}
	}
	return s
}

func (s *switchedOff) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[offID(id)]
}

// any reports whether undos switch accounts off here.
func (s *switchedOff) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parts > 0
}

// add notes accounts before they are switched off: many at a time, as each call makes a
// part of the list.
func (s *switchedOff) add(ctx context.Context, accounts []sdk.Account) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var fresh []byte
	for _, a := range accounts {
		if short := offID(a.TargetID); !s.known[short] {
			s.known[short] = true
			fresh = append(fresh, short[:]...)
		}
	}
	if len(fresh) == 0 || s.journal == nil {
		return nil
	}
	s.parts++
	return s.journal.Put(ctx, offKey+strconv.Itoa(s.parts-1), fresh)
}
