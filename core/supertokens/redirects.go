package supertokens

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math/bits"

	"github.com/stetl/stetl/core/internal/spill"
)

// redirects lead from the hash of an id to the range of its account: 64 bits under
// a seed that nobody knows are enough to tell ids apart, and take a tenth of the
// memory. External ids are hashed exactly as they are mapped, blanks at the end
// included.
//
// Filters of bits tell nearly all ids that have none at a glance. When there are
// too many redirects for memory, they wait on disk in parts by hash, and so do the
// rows that the filters let through.
type redirects struct {
	seed              maphash.Seed
	parts             int
	linked, externals redirectList
	all               *known // nil when there are too many
}

// redirectList is one kind of redirects.
type redirectList struct {
	of     *redirects
	filter filter
	hashed *spill.Spill // nil when all are known
	count  []int        // of each part of hashed
	known  *knownList   // nil when they are too many
}

// known are the redirects of one part.
type known struct{ linked, externals knownList }

// newRedirects has room for so many; no more than most are in memory.
func newRedirects(linked, externals, most int) *redirects {
	r := &redirects{seed: maphash.MakeSeed(), parts: (linked+externals)/most + 1}
	r.linked, r.externals = redirectList{of: r, filter: newFilter(linked)}, redirectList{of: r, filter: newFilter(externals)}
	if r.parts == 1 {
		r.all = &known{linked: newKnownList(linked), externals: newKnownList(externals)}
		r.linked.known, r.externals.known = &r.all.linked, &r.all.externals
		return r
	}
	for _, l := range []*redirectList{&r.linked, &r.externals} {
		l.hashed, l.count = spill.New(r.parts), make([]int, r.parts)
	}
	return r
}

func (r *redirects) hash(id []byte) uint64 { return maphash.Bytes(r.seed, id) }

// part is the part that a stored id belongs to, whatever its padding.
func (r *redirects) part(stored []byte) int {
	return int(r.hash(trimKey(stored)) % uint64(r.parts)) //nolint:gosec // less than the number of parts
}

// add leads from an id to a range.
func (l *redirectList) add(id []byte, at int) error {
	hash := l.of.hash(id)
	l.filter.add(hash)
	if l.known != nil {
		l.known.add(hash, at)
		return nil
	}
	part := l.of.part(id)
	l.count[part]++
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], hash)
	binary.BigEndian.PutUint32(b[8:], uint32(at)) //nolint:gosec // there are not as many ranges
	return l.hashed.Append(part, [][]byte{b[:]}, 0)
}

func (l *redirectList) done() error {
	if l.hashed == nil {
		return nil
	}
	return l.hashed.Done()
}

func (r *redirects) close() error {
	if r == nil {
		return nil
	}
	return errors.Join(r.linked.hashed.Close(), r.externals.hashed.Close())
}

// account is the range that a linked user's account is in.
func (r *redirects) account(id []byte, known *known) (at int, ok bool) {
	if len(r.linked.filter) == 0 {
		return 0, false
	}
	if hash := r.hash(id); r.linked.filter.has(hash) {
		return known.linked.find(hash)
	}
	return 0, false
}

// claim returns the range of the account whose external id a stored id is. It
// is looked up as it is first: an external id may end in blanks, while columns
// of databases upgraded from core 3.4 pad it with them.
func (r *redirects) claim(stored []byte, pads bool, known *known) (at int, ok bool) {
	if len(r.externals.filter) == 0 {
		return 0, false
	}
	if hash := r.hash(stored); r.externals.filter.has(hash) {
		at, ok = known.externals.find(hash)
	}
	if trimmed := trimKey(stored); !ok && pads && len(trimmed) < len(stored) {
		if hash := r.hash(trimmed); r.externals.filter.has(hash) {
			at, ok = known.externals.find(hash)
		}
	}
	return at, ok
}

// mayLead is false only for stored ids that no redirect leads away from.
func (r *redirects) mayLead(stored []byte, visible bool) bool {
	trimmed := trimKey(stored)
	hash := r.hash(trimmed)
	if r.linked.filter.has(hash) {
		return true
	}
	return visible && (r.externals.filter.has(hash) || len(trimmed) < len(stored) && r.externals.filter.has(r.hash(stored)))
}

// each gives rows that were appended to the part of their id, with the redirects
// of that part.
func (r *redirects) each(rows *spill.Spill, fn func(known *known, v [][]byte, tag uint64) error) error {
	if err := rows.Done(); err != nil {
		return err
	}
	for part := range r.parts {
		here := r.all
		if here == nil {
			var err error
			if here, err = r.load(part); err != nil {
				return err
			}
		}
		if err := rows.Each(part, func(v [][]byte, tag uint64) error { return fn(here, v, tag) }); err != nil {
			return err
		}
	}
	return nil
}

func (r *redirects) load(part int) (*known, error) {
	k := &known{linked: newKnownList(r.linked.count[part]), externals: newKnownList(r.externals.count[part])}
	read := func(from *redirectList, to *knownList) error {
		return from.hashed.Each(part, func(v [][]byte, _ uint64) error {
			to.add(binary.BigEndian.Uint64(v[0]), int(binary.BigEndian.Uint32(v[0][8:])))
			return nil
		})
	}
	return k, errors.Join(read(&r.linked, &k.linked), read(&r.externals, &k.externals))
}

// filter has two bits of every hash in it: what lacks one of them is not there.
type filter []uint64

// newFilter takes 8 to 16 bits for each of n hashes.
func newFilter(n int) filter {
	if n == 0 {
		return nil
	}
	return make(filter, 1<<bits.Len(uint(n/8)))
}

func (f filter) add(hash uint64) {
	word, set := f.bits(hash)
	*word |= set
}

func (f filter) has(hash uint64) bool {
	if len(f) == 0 {
		return false
	}
	word, set := f.bits(hash)
	return *word&set == set
}

func (f filter) bits(hash uint64) (word *uint64, set uint64) {
	return &f[hash&uint64(len(f)-1)], 1<<(hash>>58) | 1<<(hash>>52&63) //nolint:gosec // a length
}

// knownList is a hash table of hashes, of a size that is known before.
type knownList struct {
	hashes []uint64
	ranges []uint32 // and 1, as 0 is a free place
}

func newKnownList(n int) knownList {
	if n == 0 {
		return knownList{}
	}
	size := 1 << bits.Len(uint(n+n/4))
	return knownList{hashes: make([]uint64, size), ranges: make([]uint32, size)}
}

// place is where a hash is or would be.
func (k *knownList) place(hash uint64) int {
	mask := len(k.hashes) - 1
	at := int(hash>>20) & mask
	for k.ranges[at] != 0 && k.hashes[at] != hash {
		at = (at + 1) & mask
	}
	return at
}

func (k *knownList) add(hash uint64, number int) {
	at := k.place(hash)
	k.hashes[at], k.ranges[at] = hash, uint32(number)+1 //nolint:gosec // there are not as many ranges
}

func (k *knownList) find(hash uint64) (number int, ok bool) {
	if len(k.hashes) == 0 {
		return 0, false
	}
	at := k.place(hash)
	return int(k.ranges[at]) - 1, k.ranges[at] != 0
}
