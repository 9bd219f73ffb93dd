package engine

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/spill"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
)

// places is a set of accounts, by their places in the order of the source.
type places []uint64

func (p places) has(n int) bool { return n/64 < len(p) && p[n/64]>>(n%64)&1 != 0 }

func (p *places) add(n int) {
	for n/64 >= len(*p) {
		*p = append(*p, 0)
	}
	(*p)[n/64] |= 1 << (n % 64)
}

// item is an account that a run has something to do about, as the mapping has made it:
// without what the target does not get, and before anything was decided about conflicts.
type item struct {
	place int
	user  pluginapi.User
	// proven says that the person has proven to own the address. A target need not hold
	// that.
	proven bool
	// where says how and in which tenants people sign in to it. It is asked for of few, and
	// valid as long as the item.
	where []byte
	// out is why the mapping excludes it; nil when it does not.
	out *mapping.Exclusion
}

// workSet is what a run has something to do about, between the survey and the load. It
// waits in a file, so that the source is read once.
type workSet struct {
	log     spill.Log
	members places
	count   int
	scratch []byte
}

// Parts of a record's second byte.
const (
	isProven = 1 << iota
	isOut
)

// add takes an item in; where its person signs in is asked of the account itself.
func (w *workSet) add(it *item, account *canonical.User) error {
	b := binary.AppendUvarint(w.scratch[:0], uint64(it.place)) //nolint:gosec // places are not negative
	flags := byte(0)
	if it.proven {
		flags |= isProven
	}
	if it.out != nil {
		flags |= isOut
	}
	b = append(b, flags)
	start := len(b)
	b = appendWhere(append(b, 0, 0), account)
	binary.BigEndian.PutUint16(b[start:], uint16(min(len(b)-start-2, longestWhere))) //nolint:gosec // bounded
	b = b[:start+2+min(len(b)-start-2, longestWhere)]
	if it.out != nil {
		for _, text := range []string{string(it.out.Action), string(it.out.Code), it.out.Detail} {
			b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
		}
	}
	w.scratch = it.user.Encode(b)
	w.members.add(it.place)
	w.count++
	return w.log.Append(w.scratch)
}

// longestWhere bounds what is kept of where somebody signs in, which is for a message.
const longestWhere = 1 << 10

// each gives the items that are wanted, in the order they were taken in; nil wants all.
// An item is valid during the call.
func (w *workSet) each(wanted func(place int) bool, fn func(*item) error) error {
	var it item
	return w.log.Each(func(record []byte) error {
		place, n := binary.Uvarint(record)
		it.place = int(place) //nolint:gosec // it was an int
		if wanted != nil && !wanted(it.place) {
			return nil
		}
		if err := it.decode(record[n:]); err != nil {
			return fmt.Errorf("read temporary data: %w", err)
		}
		return fn(&it)
	})
}

func (it *item) decode(b []byte) error {
	flags, size := b[0], int(binary.BigEndian.Uint16(b[1:]))
	it.proven, it.out, it.where = flags&isProven != 0, nil, b[3:3+size]
	b = b[3+size:]
	if flags&isOut != 0 {
		text := func() string {
			size, n := binary.Uvarint(b)
			s := string(b[n : n+int(size)]) //nolint:gosec // was a length
			b = b[n+int(size):]             //nolint:gosec // was a length
			return s
		}
		it.out = &mapping.Exclusion{Action: pluginapi.Action(text()), Code: diag.Code(text()), Detail: text()}
	}
	return it.user.Decode(b)
}

func (w *workSet) close() error { return w.log.Close() }

// appendWhere names the recipes and tenants of an account: the same address by two
// recipes, or in two tenants, is one person's more often than not.
func appendWhere(b []byte, u *canonical.User) []byte {
	var room [4]canonical.Recipe
	recipes := room[:0]
	for i := range u.Logins {
		if r := u.Logins[i].Recipe; !slices.Contains(recipes, r) {
			recipes = append(recipes, r)
		}
	}
	slices.Sort(recipes)
	for i, r := range recipes {
		if i > 0 {
			b = append(b, " and "...)
		}
		b = append(b, r...)
	}
	for i, t := range u.Tenants() {
		if i == 0 {
			b = append(b, " in "...)
		} else {
			b = append(b, ", "...)
		}
		b = append(b, t...)
	}
	return b
}
