package scim

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// A state has two parts. The first tells, of values that the server does not keep
// as they were sent, what was sent. The second holds what the account has of all
// that was ever sent. Attributes of others are in neither.
type state struct {
	sent, held []byte
}

func (s state) bytes() []byte {
	b := binary.AppendUvarint(nil, uint64(len(s.sent)))
	b = append(b, s.sent...)
	return append(b, s.held...)
}

func parseState(b []byte) state {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)) || int(n) > len(b)-size { //nolint:gosec // bounded by the first half
		return state{}
	}
	return state{sent: b[size : size+int(n)], held: b[size+int(n):]} //nolint:gosec // bounded by the line above
}

// recorded reports whether a field is part of what was sent, whatever its value.
func recorded(fp sdk.Fingerprints, held []byte, path string) bool { return fp.Drifted(held, path, "") }

// left is the state after a load: want was sent, held is there.
func left(fp sdk.Fingerprints, want, held fields) []byte {
	sent, kept, rewritten := map[string]string{}, map[string]string{}, map[string]bool{}
	for path, v := range want {
		if held[path] != "" {
			kept[path] = held[path]
		}
		if held[path] != v {
			sent[path] = v
			rewritten[lossKey(path)] = true
		}
	}
	for path, v := range held { // what a server has made of a value of a list
		if rewritten[lossKey(path)] {
			kept[path] = v
		}
	}
	return state{fp.State(sent), fp.State(kept)}.bytes()
}

// found is the state of an account as it is, told by what earlier loads have sent.
func found(fp sdk.Fingerprints, prior []byte, want, held fields) []byte {
	if len(prior) == 0 {
		kept := map[string]string{}
		for path := range want {
			kept[path] = held[path]
		}
		return state{fp.State(nil), fp.State(kept)}.bytes()
	}
	last := parseState(prior)
	kept := map[string]string{}
	for path, v := range held {
		if recorded(fp, last.held, path) {
			kept[path] = v
		}
	}
	return state{last.sent, fp.State(kept)}.bytes()
}

// difference is one field that is not as it should be.
type difference struct{ path, held, want string }

// compare lists what is to be written: fields that differ, and fields that an
// earlier load has written and that are wanted no more. What the server has made
// of a value that is still the same is no difference, and what it does not keep at
// all is none either.
func compare(fp sdk.Fingerprints, prior []byte, want, held fields, lost map[string]bool) []difference {
	last := parseState(prior)
	var out []difference
	rewritten, differs := map[string]bool{}, map[string]bool{}
	for path, v := range want {
		now, key := held[path], lossKey(path)
		switch {
		case now == v:
		case now == "" && lost[key]:
		case len(last.sent) > 0 && !fp.Drifted(last.sent, path, v) && !fp.Drifted(last.held, path, now):
			rewritten[key] = true
		default:
			differs[key] = true
			out = append(out, difference{path, now, v})
		}
	}
	for path, now := range held {
		key := lossKey(path)
		if _, wanted := want[path]; wanted || !recorded(fp, last.held, path) || (rewritten[key] && !differs[key]) {
			continue
		}
		out = append(out, difference{path, now, ""})
	}
	slices.SortFunc(out, func(a, b difference) int { return strings.Compare(a.path, b.path) })
	return out
}

// lossKey is what a server is remembered by not to keep: name.formatted, emails.
func lossKey(path string) string {
	cut, _, _ := strings.Cut(path, "[")
	return cut
}

// changesOf renders differences for people, one for each attribute.
func changesOf(fp sdk.Fingerprints, prior []byte, diffs []difference) (out []sdk.FieldChange) {
	last := parseState(prior)
	byName := map[string]*sdk.FieldChange{}
	for _, d := range diffs {
		name := shownName(d.path)
		c := byName[name]
		if c == nil {
			c = &sdk.FieldChange{Field: name}
			byName[name] = c
		}
		c.Old, c.New = join(c.Old, shown(d.path, d.held)), join(c.New, shown(d.path, d.want))
		c.Drift = c.Drift || fp.Drifted(last.held, d.path, d.held)
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, *byName[name])
	}
	return out
}

func shownName(path string) string {
	path = lossKey(path)
	if i := strings.LastIndexByte(path, ':'); i >= 0 {
		path = path[i+1:]
	}
	return path
}

// shown gives the value of a list's field, which stands in its path.
func shown(path, v string) string {
	_, inner, list := strings.Cut(path, "[")
	switch {
	case !list || v == "":
		return v
	case v == "primary":
		return strings.TrimSuffix(inner, "]") + " (primary)"
	default:
		return strings.TrimSuffix(inner, "]")
	}
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ", " + b
}

// untouched reports whether an account is as the state says, and has nothing else
// but what the server adds by itself.
func untouched(fp sdk.Fingerprints, prior []byte, held fields, added map[string]bool) bool {
	if !bytes.Equal(prior, found(fp, prior, nil, held)) {
		return false
	}
	if added == nil {
		return true
	}
	last := parseState(prior)
	for path := range held {
		if !recorded(fp, last.held, path) && !added[lossKey(path)] {
			return false
		}
	}
	return true
}
