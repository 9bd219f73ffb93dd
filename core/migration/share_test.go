package migration

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/policy"
)

// inTenants is an account with a login for each word, which lists the login's tenants.
func inTenants(words string, roles map[string][]string) *canonical.User {
	u := &canonical.User{InternalID: "u", Roles: roles}
	for i, word := range strings.Fields(words) {
		l := canonical.Login{ID: fmt.Sprint(i)}
		if word != "-" {
			l.Tenants = strings.Split(word, ",")
		}
		u.Logins = append(u.Logins, l)
	}
	return u
}

// said is where an account went, and what of it, in short.
func said(r route) string {
	var all []string
	for _, p := range r.parts {
		text := p.target + ":"
		for _, l := range p.account.Logins {
			text += " " + l.ID + "(" + strings.Join(l.Tenants, ",") + ")"
		}
		for _, tenant := range slices.Sorted(maps.Keys(p.account.Roles)) {
			text += " " + tenant + "=" + strings.Join(p.account.Roles[tenant], ",")
		}
		for _, w := range p.account.Warnings {
			if w.Code == string(diag.MapSeveralTenants) {
				text += " not here <" + w.Detail + ">"
			}
		}
		all = append(all, text)
	}
	for what, is := range map[string]bool{"several": r.several, "left": r.left, "astray": r.astray} {
		if is {
			all = append(all, what)
		}
	}
	for _, t := range r.without {
		all = append(all, "without "+t)
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	roles := map[string][]string{"a": {"admin"}, "b": {"user"}}
	each := config.Targets{EachTenant: true, LeaveOut: []string{"public"}}
	list := config.Targets{Listed: []config.Listed{{Name: "two", Tenants: []string{"b", "c"}}, {Name: "one", Tenants: []string{"a"}}, {Name: "copy", Tenants: []string{"a"}}}, LeaveOut: []string{"public"}}
	for name, c := range map[string]struct {
		targets config.Targets
		several policy.Choice
		logins  string
		roles   map[string][]string
		want    string
	}{
		"one tenant":                     {each, "", "a", nil, "a: 0(a)"},
		"a tenant that is left out":      {each, "", "public", nil, "left"},
		"partly left out":                {each, "", "a,public public", nil, "a: 0(a); left"},
		"no tenant":                      {each, "", "-", nil, ""},
		"a login of no tenant goes too":  {each, "", "a -", nil, "a: 0(a) 1()"},
		"each gets what works there":     {each, "", "a b a,b", roles, "a: 0(a) 2(a) a=admin; b: 1(b) 2(b) b=user; several"},
		"roles where somebody is not":    {each, "", "a", roles, "a: 0(a) a=admin; astray"},
		"the first has all logins":       {each, policy.First, "a b", roles, "a: 0(a) 1() a=admin; b: 1(b) b=user not here <a>; several"},
		"none":                           {each, policy.Reject, "a b", nil, "a: 0(a) not here <>; b: 1(b) not here <>; several"},
		"reject is about several only":   {each, policy.Reject, "a,public", nil, "a: 0(a); left"},
		"not included":                   {config.Targets{EachTenant: true, Include: []string{"a"}}, "", "a,b", nil, "a: 0(a); without b"},
		"all others left out":            {config.Targets{EachTenant: true, Include: []string{"a"}, LeaveOut: []string{"*"}}, "", "a,b", nil, "a: 0(a); left"},
		"a target of two tenants":        {list, "", "b c", roles, "astray; two: 0(b) 1(c) b=user"},
		"two targets of a tenant":        {list, "", "a", nil, "copy: 0(a); one: 0(a)"},
		"in the order of the list":       {list, policy.First, "a b", nil, "copy: 0(a) not here <two>; one: 0(a) not here <two>; several; two: 0() 1(b)"},
		"a tenant that the list has not": {list, "", "z", nil, "without z"},
		"everybody":                      {config.Targets{Listed: []config.Listed{{Name: "all"}, {Name: "one", Tenants: []string{"a"}}}}, policy.Reject, "a z", roles, "all: 0(a) 1(z) a=admin b=user; one: 0(a) a=admin"},
		"everybody, also of no tenant":   {config.Targets{Listed: []config.Listed{{Name: "all"}}}, "", "-", nil, "all: 0()"},
	} {
		u := inTenants(c.logins, c.roles)
		before := inTenants(c.logins, maps.Clone(c.roles))
		r := newRouting(&config.Config{Targets: c.targets, Policies: policy.Policies{SeveralTenants: c.several}})
		if got := said(r.route(u)); got != c.want {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
		if !reflect.DeepEqual(before, u) {
			t.Errorf("%s: the account itself was changed", name)
		}
	}
}
