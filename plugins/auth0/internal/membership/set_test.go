package membership

import (
	"fmt"
	"testing"
)

func set(roles []string, organizations map[string][]string) Set { return Set{roles, organizations} }

func text(s Set) string { return fmt.Sprintln(s.Text()) }

func TestSets(t *testing.T) {
	t.Parallel()
	a := set([]string{"x", "y"}, map[string][]string{"acme": {"owner", "viewer"}, "beta": nil})
	b := set([]string{"y", "z"}, map[string][]string{"acme": {"viewer"}, "gamma": {"owner"}})
	for name, c := range map[string]struct{ got, want Set }{
		"union":         {Union(a, b), set([]string{"x", "y", "z"}, map[string][]string{"acme": {"owner", "viewer"}, "beta": nil, "gamma": {"owner"}})},
		"without":       {a.Without(b), set([]string{"x"}, map[string][]string{"acme": {"owner"}, "beta": nil})},
		"the same":      {a.Without(a), Set{}},
		"dropped role":  {a.Drop(Part{Role: "x"}), set([]string{"y"}, a.Organizations)},
		"dropped seat":  {a.Drop(Part{"acme", "owner"}), set(a.Roles, map[string][]string{"acme": {"viewer"}, "beta": nil})},
		"dropped place": {a.Drop(Part{Organization: "acme"}), set(a.Roles, map[string][]string{"beta": nil})},
		"seat of none":  {a.Drop(Part{"none", "owner"}), a},
		"one part":      {Part{"acme", "owner"}.Set(), set(nil, map[string][]string{"acme": {"owner"}})},
	} {
		if !c.got.Equal(c.want) {
			t.Errorf("%s: %s, want %s", name, text(c.got), text(c.want))
		}
	}
	for _, p := range a.Parts() {
		if !a.Has(p) {
			t.Errorf("%s is not in the set it is a part of", p.Name())
		}
	}
	if len(a.Parts()) != 6 || a.Has(Part{"beta", "owner"}) || a.Has(Part{Role: "z"}) {
		t.Errorf("parts: %v", a.Parts())
	}
}
