package supertokens

import (
	"hash/maphash"

	"github.com/google/uuid"
)

// holders finds identifiers that several accounts show. It is made for millions of
// them: identifiers are known by a hash of 64 bits, accounts by the bytes of their
// id where it is a UUID, which is about 45 bytes for an account with one of each.
type holders struct {
	seed maphash.Seed
	// first is the place of the account that showed an identifier first, or its
	// complement once a second account has.
	first    map[uint64]int32
	accounts []uuid.UUID
	odd      map[int32]string // ids that are no UUIDs
	last     string           // the id at the last place
}

func newHolders() *holders {
	return &holders{seed: maphash.MakeSeed(), first: map[uint64]int32{}, odd: map[int32]string{}}
}

// show notes that an account has an identifier. When it is the second one that does,
// show returns the first. The calls for one account follow each other.
func (h *holders) show(kind, identifier, account string) (first string, shared bool) {
	var sum maphash.Hash
	sum.SetSeed(h.seed)
	_, _ = sum.WriteString(kind) // a Hash does not fail
	_ = sum.WriteByte(0)
	_, _ = sum.WriteString(identifier)
	key := sum.Sum64()
	place, known := h.first[key]
	switch {
	case !known:
		h.first[key] = h.place(account)
		return "", false
	case place < 0: // reported already
		return "", false
	}
	if first = h.id(place); first == account {
		return "", false
	}
	h.first[key] = ^place
	return first, true
}

func (h *holders) place(account string) int32 {
	if len(h.accounts) > 0 && h.last == account {
		return int32(len(h.accounts) - 1) //nolint:gosec // bounded by memory long before
	}
	id, err := uuid.Parse(account)
	h.accounts, h.last = append(h.accounts, id), account
	place := int32(len(h.accounts) - 1) //nolint:gosec // as above
	if err != nil || id.String() != account {
		h.odd[place] = account
	}
	return place
}

func (h *holders) id(place int32) string {
	if id, ok := h.odd[place]; ok {
		return id
	}
	return h.accounts[place].String()
}
