package scim

import (
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// comparer compares accounts with what they should be, with what is known of the server
// by now.
type comparer struct {
	fingerprints sdk.Fingerprints
	learned      *learned
}

func (c comparer) judge() *reconcile.Judge {
	lost := c.learned.losses()
	return &reconcile.Judge{
		Fingerprints: c.fingerprints, Group: lossKey, Forgets: func(key string) bool { return lost[key] },
		Show: changesOf, Place: "the provider",
	}
}

// wanted is what an account will have, its groups and its password among it.
func wanted(d *desired) reconcile.Wanted {
	return reconcile.Wanted{
		Fields:  wantFields(d),
		Secrets: []reconcile.Secret{{Field: fieldPassword, Feature: sdk.PartPassword, Value: d.secret.Reveal()}},
	}
}

const fieldPassword = "password"

// answerable are the fields of an account that a load answers for: those that are
// wanted, and those that an earlier load has left behind. shown is without what the
// server may have added to a wanted field by itself, which is no drift.
func (c comparer) answerable(last reconcile.State, want, held fields) (answerable, shown fields) {
	added := c.learned.additions()
	answerable, shown = fields{}, fields{}
	for path, v := range held {
		_, wanted := want[path]
		recorded := last.Recorded(c.fingerprints, path)
		if wanted || recorded {
			answerable[path] = v
		}
		if recorded || wanted && (last.IsZero() || !added[lossKey(path)]) {
			shown[path] = v
		}
	}
	return answerable, shown
}

// left is the state after a load, when held is there. Gone are fields that were to be
// taken away: those that are there nevertheless stay a load's to take away.
func (c comparer) left(want reconcile.Wanted, held fields, gone []reconcile.Difference, open map[string]bool) []byte {
	kept, rewritten := fields{}, map[string]bool{}
	for _, d := range gone {
		if v := held[d.Field]; v != "" {
			kept[d.Field] = v
		}
	}
	for path, v := range want.Fields {
		if held[path] != "" {
			kept[path] = held[path]
		}
		if held[path] != v {
			rewritten[lossKey(path)] = true
		}
	}
	for path, v := range held { // what a server has made of a value of a list
		if rewritten[lossKey(path)] {
			kept[path] = v
		}
	}
	return c.judge().Left(want, kept, open)
}

// untouched reports whether an account is as the state says, and has nothing else but
// what the server adds by itself.
func untouched(fp sdk.Fingerprints, prior []byte, held fields, added map[string]bool) bool {
	last, recorded := reconcile.ParseState(prior), fields{}
	for path, v := range held {
		if last.Recorded(fp, path) {
			recorded[path] = v
		} else if added != nil && !added[lossKey(path)] {
			return false
		}
	}
	return last.Untouched(fp, recorded)
}

// lossKey is what a server is remembered by not to keep: name.formatted, emails.
func lossKey(path string) string {
	cut, _, _ := strings.Cut(path, "[")
	return cut
}

// changesOf renders differences for people, one for each attribute.
func changesOf(diffs []reconcile.Difference) (out []sdk.FieldChange) {
	byName := map[string]*sdk.FieldChange{}
	for _, d := range diffs {
		name := shownName(d.Field)
		c := byName[name]
		if c == nil {
			c = &sdk.FieldChange{Field: name}
			byName[name] = c
		}
		c.Old, c.New = join(c.Old, shown(d.Field, d.Held)), join(c.New, shown(d.Field, d.Want))
		c.Drift = c.Drift || d.Drift
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
