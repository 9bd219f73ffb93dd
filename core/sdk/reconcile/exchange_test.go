package reconcile_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/stetl/stetl/core/sdk/reconcile"
)

// Chains and rings of any length are carried, whatever their order; what an outsider has
// stays his, and whoever was put aside for nothing gets his own back.
func TestExchange(t *testing.T) {
	t.Parallel()
	type person struct{ id, want string }
	for name, tt := range map[string]struct {
		has   map[string]string // by id
		want  []person
		after string
	}{
		"a chain in the worst order": {map[string]string{"1": "a", "2": "b", "3": "c"}, []person{{"1", "b"}, {"2", "c"}, {"3", "d"}}, "b c d"},
		"two":                        {map[string]string{"1": "a", "2": "b"}, []person{{"1", "b"}, {"2", "a"}}, "b a"},
		"a ring of four":             {map[string]string{"1": "a", "2": "b", "3": "c", "4": "d"}, []person{{"1", "b"}, {"2", "c"}, {"3", "d"}, {"4", "a"}}, "b c d a"},
		"two rings and a chain":      {map[string]string{"1": "a", "2": "b", "3": "c", "4": "d", "5": "e"}, []person{{"1", "b"}, {"2", "a"}, {"3", "d"}, {"4", "c"}, {"5", "f"}}, "b a d c f"},
		"an outsider has it":         {map[string]string{"1": "a", "2": "b"}, []person{{"1", "b"}}, "a b"},
		"a ring with an outsider":    {map[string]string{"1": "a", "2": "b", "3": "c"}, []person{{"1", "b"}, {"2", "c"}}, "a b c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			has, was := maps.Clone(tt.has), maps.Clone(tt.has)
			set := func(id, value string) bool {
				for other, v := range has {
					if other != id && v == value {
						return false
					}
				}
				has[id] = value
				return true
			}
			e := reconcile.Exchange[person]{
				Again: func(_ context.Context, p person) (bool, error) { return set(p.id, p.want), nil },
				Wants: func(p, other person) bool { return p.want == has[other.id] },
				Aside: func(_ context.Context, p person) (bool, error) { return set(p.id, "aside-"+p.id), nil },
				Back:  func(_ context.Context, p person) error { set(p.id, was[p.id]); return nil },
			}
			if err := e.Carry(t.Context(), tt.want); err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, id := range slices.Sorted(maps.Keys(has)) {
				got += " " + has[id]
			}
			if got != " "+tt.after {
				t.Errorf("they have%s, want %s", got, tt.after)
			}
		})
	}
}
