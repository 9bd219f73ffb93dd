package migration

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/policy"
)

// routing says which of several targets get an account, and what of it.
type routing struct {
	// each has a target for every tenant: those in include, or all where that is nil.
	each    bool
	include map[string]bool
	// of are the targets of a list that a tenant has, in their order, and order is that.
	of       map[string][]string
	order    map[string]int
	tenants  map[string][]string // of a target of the list; none gets everybody
	everyone []string
	// left are tenants whose accounts nobody gets; leftRest leaves out all that have no target.
	left     map[string]bool
	leftRest bool
	several  policy.Choice
}

func newRouting(cfg *config.Config) *routing {
	t := &cfg.Targets
	r := &routing{
		each: t.EachTenant, of: map[string][]string{}, order: map[string]int{}, tenants: map[string][]string{}, left: map[string]bool{},
		several: cmp.Or(cfg.Policies.SeveralTenants, policy.Each),
	}
	for _, tenant := range t.LeaveOut {
		r.left[tenant] = true
		r.leftRest = r.leftRest || tenant == config.Everything
	}
	if len(t.Include) > 0 {
		r.include = map[string]bool{}
		for _, tenant := range t.Include {
			r.include[tenant] = true
		}
	}
	for i, l := range t.Listed {
		r.order[l.Name], r.tenants[l.Name] = i, l.Tenants
		if len(l.Tenants) == 0 {
			r.everyone = append(r.everyone, l.Name)
		}
		for _, tenant := range l.Tenants {
			r.of[tenant] = append(r.of[tenant], l.Name)
		}
	}
	return r
}

// targets are those of a tenant. A tenant without any is left out, or should have one.
func (r *routing) targets(tenant string) (names []string, left bool) {
	switch {
	case !r.each:
		names = r.of[tenant]
		return names, len(names) == 0 && (r.left[tenant] || r.leftRest || len(r.everyone) > 0)
	case r.left[tenant]:
		return nil, true
	case r.include != nil && !r.include[tenant], r.include == nil && r.leftRest:
		return nil, r.leftRest
	}
	return []string{tenant}, false
}

// route is where an account goes.
type route struct {
	// parts are what targets get, in their order.
	parts []part
	// without are its tenants that have no target and should; left is whether it has some
	// that are left out.
	without []string
	left    bool
	// several says that it is in tenants of several targets. Astray says that it has roles in
	// a tenant that it is not in, which no target gets.
	several, astray bool
}

// part is what a target gets of an account.
type part struct {
	target  string
	account canonical.User
}

// route says where an account goes. The parts share its memory.
func (r *routing) route(u *canonical.User) (out route) {
	tenants := u.Tenants()
	var homes [][]string // the targets of each group of tenants that have the same first one
	for _, tenant := range tenants {
		names, left := r.targets(tenant)
		switch {
		case left:
			out.left = len(r.everyone) == 0
		case len(names) == 0:
			out.without = append(out.without, tenant)
		case !slices.ContainsFunc(homes, func(h []string) bool { return h[0] == names[0] }):
			homes = append(homes, names)
		}
	}
	slices.SortStableFunc(homes, func(a, b []string) int { return r.compare(a[0], b[0]) })
	out.several = len(homes) > 1
	out.parts = r.divide(u, homes)
	for _, name := range r.everyone {
		out.parts = append(out.parts, part{name, *u})
	}
	slices.SortStableFunc(out.parts, func(a, b part) int { return r.compare(a.target, b.target) })
	for tenant := range u.Roles {
		out.astray = out.astray || len(r.everyone) == 0 && len(homes) > 0 && !slices.Contains(tenants, tenant)
	}
	return out
}

// divide gives each target of an account what it gets of it.
func (r *routing) divide(u *canonical.User, homes [][]string) (parts []part) {
	var all []string
	for _, name := range slices.Concat(homes...) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	several := len(homes) > 1
	for i, name := range all {
		p := part{target: name}
		switch has := r.has(name); {
		case several && r.several == policy.First && i < len(homes[0]): // the first home's come first
			p.account = within(u, has, true)
		case several && r.several == policy.First:
			p.account = marked(within(u, has, false), strings.Join(homes[0], ", "))
		case several && r.several == policy.Reject:
			p.account = marked(within(u, has, false), "")
		default:
			p.account = within(u, has, false)
		}
		if len(all) > 1 {
			p.account.Warnings = append(slices.Clip(p.account.Warnings), mapping.Home(all[0]))
		}
		parts = append(parts, p)
	}
	return parts
}

// compare puts targets in their order: of a list, or of the ids of tenants.
func (r *routing) compare(a, b string) int {
	return cmp.Or(cmp.Compare(r.order[a], r.order[b]), strings.Compare(a, b))
}

// has says which tenants a target has.
func (r *routing) has(target string) func(tenant string) bool {
	if r.each {
		return func(tenant string) bool { return tenant == target }
	}
	all := r.tenants[target]
	return func(tenant string) bool { return slices.Contains(all, tenant) }
}

// marked is an account that policies.several_tenants keeps out, see [mapping.Elsewhere].
func marked(u canonical.User, target string) canonical.User {
	u.Warnings = append(slices.Clip(u.Warnings), mapping.Elsewhere(target))
	return u
}

// within is an account as tenants have it: with the ways to sign in that work there, those of
// no tenant, and the roles that it has there. With all it has the other ways to sign in, too.
func within(u *canonical.User, has func(tenant string) bool, all bool) canonical.User {
	out := *u
	some := func(tenants []string) []string { return only(tenants, has) }
	if !all && slices.ContainsFunc(u.Logins, func(l canonical.Login) bool { return len(l.Tenants) > 0 && len(some(l.Tenants)) == 0 }) {
		out.Logins = slices.DeleteFunc(slices.Clone(u.Logins), func(l canonical.Login) bool { return len(l.Tenants) > 0 && len(some(l.Tenants)) == 0 })
	}
	for i := range out.Logins {
		kept := some(out.Logins[i].Tenants)
		if len(kept) == len(out.Logins[i].Tenants) {
			continue
		}
		if &out.Logins[0] == &u.Logins[0] {
			out.Logins = slices.Clone(u.Logins)
		}
		out.Logins[i].Tenants = kept
	}
	for tenant := range u.Roles {
		if !has(tenant) {
			out.Roles = map[string][]string{}
			break
		}
	}
	for tenant, roles := range u.Roles {
		if len(out.Roles) < len(u.Roles) && has(tenant) {
			out.Roles[tenant] = roles
		}
	}
	return out
}

// only are the tenants of a target, in the same memory where that is all of them.
func only(tenants []string, has func(string) bool) []string {
	if !slices.ContainsFunc(tenants, func(t string) bool { return !has(t) }) {
		return tenants
	}
	return slices.DeleteFunc(slices.Clone(tenants), func(t string) bool { return !has(t) })
}

// share is what one of several targets gets of the source.
type share struct {
	target  string
	routing *routing
}

// of gives the accounts of the target, as it gets them.
func (s *share) of(users []canonical.User) []canonical.User {
	var out []canonical.User
	for i := range users {
		for _, p := range s.routing.route(&users[i]).parts {
			if p.target == s.target {
				out = append(out, p.account)
			}
		}
	}
	return out
}

// choice is what decides who is in the share, for a digest.
func (s *share) choice() []byte {
	tenants := s.routing.tenants[s.target]
	if s.routing.each {
		tenants = []string{s.target}
	}
	raw, _ := json.Marshal([]any{tenants, s.routing.several}) // made of text only
	return raw
}
