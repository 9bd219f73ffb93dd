package canonical

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTenantsOfAllLogins(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		logins [][]string
		want   []string
	}{
		"no login":  {nil, nil},
		"one":       {[][]string{{"b", "c"}}, []string{"b", "c"}},
		"the same":  {[][]string{{"b"}, {"b"}, {"b"}}, []string{"b"}},
		"none":      {[][]string{nil, nil}, nil},
		"first has": {[][]string{{"b"}, nil}, []string{"b"}},
		"last has":  {[][]string{nil, {"b"}}, []string{"b"}},
		"union":     {[][]string{{"b", "c"}, {"a", "c"}, {"b", "c"}, {"a", "d"}}, []string{"a", "b", "c", "d"}},
	} {
		var u User
		for _, tenants := range c.logins {
			u.Logins = append(u.Logins, Login{Tenants: tenants})
		}
		for range 2 { // what is returned is not what is stored
			if diff := cmp.Diff(c.want, u.Tenants()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		for i, tenants := range c.logins {
			if diff := cmp.Diff(tenants, u.Logins[i].Tenants); diff != "" {
				t.Errorf("%s: login %d has changed (-before +after):\n%s", name, i, diff)
			}
		}
	}
}
