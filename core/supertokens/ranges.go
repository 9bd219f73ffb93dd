package supertokens

import "encoding/binary"

// ranges split ids at bounds, in the order of bytes.
type ranges struct {
	bounds []string
	// heads are the first bytes of bounds as numbers, which are quicker to
	// compare.
	heads []uint64
	// below counts, for each prefix, the bounds with a lesser one: of ids that are
	// spread evenly, few bounds are left to search.
	below [prefixes + 1]uint32
}

func newRanges(bounds []string) ranges {
	r := ranges{bounds: bounds, heads: make([]uint64, len(bounds))}
	for i, b := range bounds {
		r.heads[i] = headOf([]byte(b))
		r.below[prefixOf([]byte(b))+1]++
	}
	for i := range prefixes {
		r.below[i+1] += r.below[i]
	}
	return r
}

// headOf is the first bytes of id as a number that orders as they do.
func headOf(id []byte) uint64 {
	if len(id) >= 8 {
		return binary.BigEndian.Uint64(id)
	}
	var b [8]byte
	copy(b[:], id)
	return binary.BigEndian.Uint64(b[:])
}

// prefixes is how many prefixes of three hexadecimal digits there are.
const prefixes = 1 << 12

func prefixOf(id []byte) uint32 { return firstDigits(id, 3) }

// firstDigits is the value of the hexadecimal digits that an id begins with. It never
// falls while ids rise: what is no digit counts as the digits next to it.
func firstDigits(id []byte, digits int) (value uint32) {
	for i := range digits {
		var c byte
		if i < len(id) {
			c = id[i]
		}
		left := 4 * (digits - i)
		rest := uint32(1)<<left - 1 // the highest value of the digits from here
		switch {
		case '0' <= c && c <= '9':
			value = value<<4 | uint32(c-'0')
		case 'a' <= c && c <= 'f':
			value = value<<4 | uint32(c-'a'+10)
		case c < '0':
			return value << left
		case c < 'a':
			return value<<left | 10*(rest+1)/16
		default:
			return value<<left | rest
		}
	}
	return value
}

// find is the number of the range that holds id.
func (r *ranges) find(id []byte) int {
	head, prefix := headOf(id), prefixOf(id)
	low, high := int(r.below[prefix]), int(r.below[prefix+1])
	for low < high {
		middle := (low + high) / 2
		if h := r.heads[middle]; h > head || h == head && r.bounds[middle] > string(id) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}
