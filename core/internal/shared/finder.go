package shared

import (
	"cmp"
	"hash/maphash"
	"slices"
)

// Kind is a set of bits, each of which is one kind of value. Values are compared
// within a kind.
type Kind uint8

// Finder finds values that several accounts have. It takes 16 bytes for each value of
// an account. The zero value is ready for use, by one goroutine.
type Finder struct {
	seed maphash.Seed
	some bool
	// Sorting many short lists is quicker than one long one.
	buckets [1 << bucketBits]List[entry]
	sorted  []entry // scratch space
}

const bucketBits = 6

type entry struct {
	hash  uint64
	place int32
	kinds Kind
}

// Add notes that the account at a place has a value, which is of all the kinds.
func (f *Finder) Add(place int, kinds Kind, value string) {
	if !f.some {
		f.seed, f.some = maphash.MakeSeed(), true
	}
	e := entry{maphash.String(f.seed, value), int32(place), kinds} //nolint:gosec // memory ends long before
	f.buckets[e.hash>>(64-bucketBits)].Add(e)
}

// Group is a value that several accounts have.
type Group struct {
	Kind Kind // of one bit
	// Places are those of the accounts, in order.
	Places []int
}

// Groups returns all of them, in the order of their first accounts.
func (f *Finder) Groups() []Group {
	var all []Group
	for i := range f.buckets {
		f.sorted = f.buckets[i].appendTo(f.sorted[:0])
		b := f.sorted
		slices.SortFunc(b, func(x, y entry) int { return cmp.Or(cmp.Compare(x.hash, y.hash), cmp.Compare(x.place, y.place)) })
		for len(b) > 0 {
			n := 1
			for n < len(b) && b[n].hash == b[0].hash {
				n++
			}
			if n > 1 {
				all = group(all, b[:n])
			}
			b = b[n:]
		}
	}
	slices.SortFunc(all, func(x, y Group) int {
		return cmp.Or(slices.Compare(x.Places, y.Places), cmp.Compare(x.Kind, y.Kind))
	})
	return all
}

// group adds what entries of one value have in common, kind by kind.
func group(all []Group, same []entry) []Group {
	var kinds Kind
	for _, e := range same {
		kinds |= e.kinds
	}
	for kind := Kind(1); kind != 0 && kind <= kinds; kind <<= 1 {
		var places []int
		for _, e := range same {
			if e.kinds&kind != 0 && (len(places) == 0 || places[len(places)-1] != int(e.place)) {
				places = append(places, int(e.place))
			}
		}
		if len(places) > 1 {
			all = append(all, Group{kind, places})
		}
	}
	return all
}
