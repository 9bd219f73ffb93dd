package duplicates

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math/bits"
	"slices"

	"github.com/stetl/stetl/core/internal/spill"
)

// Kind is a set of bits, each of which is one kind of value. Values are compared
// within a kind.
type Kind uint8

// Account is one that has values.
type Account struct {
	// Place is its own, in the order of reading.
	Place int
	ID    string
	// Rank is what the user of a [Finder] wants to know of it again.
	Rank int64
}

// Finder finds values that several accounts have. The zero value is ready for use, by
// one goroutine.
type Finder struct {
	seed   maphash.Seed
	values *spill.Spill
	// accounts has each account once, in order: values name them by their places, as nearly
	// none of them is looked for again.
	accounts spill.Log
	last     int    // place of the account that was added last, and 1
	record   []byte // scratch space
}

// buckets is how many parts of the values are looked at one after another.
const buckets = 64

// Hasher makes the hashes that a [Finder] knows values by. It outlives the finder.
type Hasher struct{ seed maphash.Seed }

// Of is the hash of a value that has several parts.
func (h Hasher) Of(parts ...string) uint64 {
	var sum maphash.Hash
	sum.SetSeed(h.seed)
	for _, p := range parts {
		_, _ = sum.WriteString(p) // it cannot fail
		_ = sum.WriteByte(0)
	}
	return sum.Sum64()
}

// Hasher is that of this finder, for values that are to be found again in its groups.
func (f *Finder) Hasher() Hasher {
	if f.seed == (maphash.Seed{}) {
		f.seed = maphash.MakeSeed()
	}
	return Hasher{f.seed}
}

// Add notes that an account has a value, which is of all the kinds. Accounts are to be
// added in the order of their places.
func (f *Finder) Add(a Account, kinds Kind, value string) error {
	return f.AddHash(a, kinds, maphash.String(f.Hasher().seed, value))
}

// AddHash is Add for a value whose hash, by the finder's own [Hasher], is known.
func (f *Finder) AddHash(a Account, kinds Kind, hash uint64) error {
	if f.values == nil {
		f.values = spill.New(buckets)
	}
	if f.last != a.Place+1 {
		f.last = a.Place + 1
		f.record = binary.AppendUvarint(f.record[:0], uint64(a.Place)) //nolint:gosec // places are not negative
		f.record = append(binary.AppendVarint(f.record, a.Rank), a.ID...)
		if err := f.accounts.Append(f.record); err != nil {
			return err
		}
	}
	f.record = binary.LittleEndian.AppendUint64(f.record[:0], hash)
	return f.values.Append(int(hash%buckets), [][]byte{f.record}, uint64(a.Place)<<8|uint64(kinds)) //nolint:gosec // places are not negative
}

// Group is a value that several accounts have.
type Group struct {
	Kind     Kind      // of one bit
	Hash     uint64    // of the value
	Accounts []Account // in the order of their places
}

// Groups returns all of them, in the order of their first accounts.
func (f *Finder) Groups() ([]Group, error) {
	var all []Group
	var b bucket
	for n := range buckets {
		if f.values == nil {
			break
		}
		b.entries = b.entries[:0]
		err := f.values.Each(n, func(fields [][]byte, tag uint64) error {
			b.entries = append(b.entries, entry{binary.LittleEndian.Uint64(fields[0]), tag})
			return nil
		})
		if err != nil {
			return nil, err
		}
		for found := b.repeated(); len(found) > 0; {
			same := 1
			for same < len(found) && found[same].hash == found[0].hash {
				same++
			}
			all, found = group(all, found[:same]), found[same:]
		}
	}
	if err := f.name(all); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(x, y Group) int {
		return cmp.Or(slices.CompareFunc(x.Accounts, y.Accounts, func(a, b Account) int { return cmp.Compare(a.Place, b.Place) }), cmp.Compare(x.Kind, y.Kind))
	})
	return all, nil
}

// name adds to the accounts of groups, of which only the places are known, all else.
func (f *Finder) name(groups []Group) error {
	var accounts []*Account
	for i := range groups {
		for n := range groups[i].Accounts {
			accounts = append(accounts, &groups[i].Accounts[n])
		}
	}
	if len(accounts) == 0 {
		return nil
	}
	slices.SortFunc(accounts, func(a, b *Account) int { return cmp.Compare(a.Place, b.Place) })
	return f.accounts.Each(func(record []byte) error {
		place, n := binary.Uvarint(record)
		for len(accounts) > 0 && accounts[0].Place == int(place) { //nolint:gosec // it was an int when it was written
			rank, size := binary.Varint(record[n:])
			accounts[0].Rank, accounts[0].ID = rank, string(record[n+size:])
			accounts = accounts[1:]
		}
		return nil
	})
}

// Close gives up what the finder has on disk, and all values.
func (f *Finder) Close() error {
	err := errors.Join(f.values.Close(), f.accounts.Close())
	*f = Finder{}
	return err
}

// bucket is one part of the values.
type bucket struct {
	entries []entry
	// Bits of hashes that are there, and of those that are there again.
	once, again []uint64
}

// entry is a value of an account: the place and the kinds are in the tag.
type entry struct{ hash, tag uint64 }

func (e entry) place() int { return int(e.tag >> 8) }

func (e entry) kinds() Kind { return Kind(e.tag) } //nolint:gosec // the last eight bits

// repeated returns the entries whose hash is there more than once, sorted by it, and
// few others. Nearly all values are unique: sorting all of them would take longer than
// the rest.
func (b *bucket) repeated() []entry {
	width := bits.Len(uint(64 * len(b.entries))) // one per cent share a bit by chance
	words := 1 << max(width-6, 0)
	b.once, b.again = slices.Grow(b.once[:0], words)[:words], slices.Grow(b.again[:0], words)[:words]
	clear(b.once)
	clear(b.again)
	bit := func(e entry) (word int, mask uint64) {
		n := e.hash / buckets % uint64(64*words) //nolint:gosec // positive
		return int(n / 64), 1 << (n % 64)        //nolint:gosec // less than words
	}
	for _, e := range b.entries {
		word, mask := bit(e)
		b.again[word] |= b.once[word] & mask
		b.once[word] |= mask
	}
	var found []entry
	for _, e := range b.entries {
		if word, mask := bit(e); b.again[word]&mask != 0 {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(x, y entry) int {
		return cmp.Or(cmp.Compare(x.hash, y.hash), cmp.Compare(x.tag, y.tag))
	})
	return found
}

// group adds what entries of one hash have in common, kind by kind.
func group(all []Group, same []entry) []Group {
	var kinds Kind
	for _, e := range same {
		kinds |= e.kinds()
	}
	for kind := Kind(1); kind != 0 && kind <= kinds; kind <<= 1 {
		var accounts []Account
		for _, e := range same {
			if e.kinds()&kind != 0 && (len(accounts) == 0 || accounts[len(accounts)-1].Place != e.place()) {
				accounts = append(accounts, Account{Place: e.place()})
			}
		}
		if len(accounts) > 1 {
			all = append(all, Group{kind, same[0].hash, accounts})
		}
	}
	return all
}
