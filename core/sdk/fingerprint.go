package sdk

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/stetl/stetl/core/internal/wire"
)

// Fingerprints turns values into keyed digests. Digests of different runs can be
// compared, and nobody can read the values from them. It is safe for concurrent use.
type Fingerprints struct{ key []byte }

// newFingerprints chooses a key where the host gave none: the fingerprints of
// such a process compare with nothing else.
func newFingerprints(key []byte) Fingerprints {
	if len(key) == 0 {
		key = make([]byte, sha256.Size)
		_, _ = rand.Read(key) // never fails, see crypto/rand
	}
	return Fingerprints{key: slices.Clone(key)}
}

// The layout of a state: one byte that names it, then per field, in the order of
// the first part, a digest of its name and one of its value; or, where there are
// too many fields for that, one digest of all of them.
const (
	stateFields, stateWhole = 1, 2
	nameSize, valueSize     = 5, 7
	fieldSize               = nameSize + valueSize
	// maxState is what the host keeps of a state.
	maxState = wire.MaxState
)

// Of is a short digest of one value, for showing that a secret differs without
// showing it.
func (f Fingerprints) Of(value string) string {
	sum := f.sum("value", value)
	return "#" + hex.EncodeToString(sum[:4])
}

// State digests the fields of an account as a plugin compares them, for
// [Outcome].State. A field with an empty value is as good as an absent one.
func (f Fingerprints) State(fields map[string]string) []byte {
	return f.StateWithin(maxState, fields)
}

// StateWithin is State in at most so many bytes, for one that has several parts. Fields that
// do not fit (each takes 12 bytes) are digested as a whole: then a change of one is seen, and
// not of which.
func (f Fingerprints) StateWithin(most int, fields map[string]string) []byte {
	all := make([][fieldSize]byte, 0, len(fields))
	for name, value := range fields {
		if value != "" {
			all = append(all, f.field(name, value))
		}
	}
	slices.SortFunc(all, func(a, b [fieldSize]byte) int { return bytes.Compare(a[:], b[:]) })
	state := append(make([]byte, 0, 1+len(all)*fieldSize), stateFields)
	for i := range all {
		state = append(state, all[i][:]...)
	}
	if len(state) <= most {
		return state
	}
	sum := f.sum("state", string(state[1:]))
	return append([]byte{stateWhole}, sum[:]...)
}

// Drifted reports whether a field that now has a value in the target had another
// one in prior, the state that was last left behind. It is false when prior is
// absent or does not tell.
func (f Fingerprints) Drifted(prior []byte, field, now string) bool {
	if len(prior) == 0 || prior[0] != stateFields {
		return false
	}
	name := f.sum("field", field)
	for rest := prior[1:]; len(rest) >= fieldSize; rest = rest[fieldSize:] {
		if bytes.Equal(rest[:nameSize], name[:nameSize]) {
			return now == "" || [fieldSize]byte(rest) != f.field(field, now)
		}
	}
	return now != ""
}

// Diff compares two sets of fields, sorted by name. A field is Drift where the
// target no longer has what prior says was applied. Values are shown as show
// returns them, so that secrets can be replaced by [Fingerprints.Of].
func (f Fingerprints) Diff(prior []byte, now, want map[string]string, show func(field, value string) string) []FieldChange {
	names := slices.Collect(maps.Keys(now))
	for name := range want {
		if _, ok := now[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var out []FieldChange
	for _, name := range names {
		if now[name] != want[name] {
			out = append(out, FieldChange{
				Field: name, Old: show(name, now[name]), New: show(name, want[name]),
				Drift: f.Drifted(prior, name, now[name]),
			})
		}
	}
	return out
}

func (f Fingerprints) field(name, value string) (digest [fieldSize]byte) {
	n, v := f.sum("field", name), f.sum(name, value)
	copy(digest[copy(digest[:], n[:nameSize]):], v[:valueSize])
	return digest
}

// sum is keyed by its beginning. The digests are cut, which is why that is as
// good here as a longer construction.
func (f Fingerprints) sum(domain, value string) [sha256.Size]byte {
	buf := make([]byte, 0, 256)
	buf = append(buf, f.key...)
	buf = binary.AppendUvarint(buf, uint64(len(domain))) // where the domain ends
	buf = append(buf, domain...)
	return sha256.Sum256(append(buf, value...))
}
