// Package membership gives users their roles and organizations, takes away what nobody
// wants any more, and reads what they have. It knows accounts by their ids only.
package membership

import (
	"maps"
	"slices"
	"strings"
)

// Set is what a user belongs to, by names.
type Set struct {
	Roles []string
	// Organizations maps each to the roles that the user has inside of it.
	Organizations map[string][]string
}

// Empty says that there is nothing in it.
func (s Set) Empty() bool { return len(s.Roles) == 0 && len(s.Organizations) == 0 }

// Text is the same for equal sets: the roles, and the organizations.
func (s Set) Text() (roles, organizations string) {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.Organizations)) {
		if inside := slices.Sorted(slices.Values(s.Organizations[name])); len(inside) > 0 {
			name += " (" + strings.Join(inside, ", ") + ")"
		}
		out = append(out, name)
	}
	return strings.Join(slices.Sorted(slices.Values(s.Roles)), ", "), strings.Join(out, ", ")
}

// Equal says that both have the same.
func (s Set) Equal(o Set) bool {
	a, b := s.Text()
	c, d := o.Text()
	return a == c && b == d
}

// Union is everything that is in one of two sets.
func Union(a, b Set) Set {
	out := Set{Roles: merged(a.Roles, b.Roles), Organizations: map[string][]string{}}
	for _, s := range []Set{a, b} {
		for name, roles := range s.Organizations {
			out.Organizations[name] = merged(out.Organizations[name], roles)
		}
	}
	return out
}

// Without is what is in a set and not in another. An organization that stays is in it
// where some of the roles inside of it go.
func (s Set) Without(o Set) Set {
	out := Set{Roles: less(s.Roles, o.Roles), Organizations: map[string][]string{}}
	for name, roles := range s.Organizations {
		other, stays := o.Organizations[name]
		if gone := less(roles, other); !stays || len(gone) > 0 {
			out.Organizations[name] = gone
		}
	}
	return out
}

// Part is one thing of a set: a role, an organization, or a role inside of one.
type Part struct{ Organization, Role string }

// Name is how people call it.
func (p Part) Name() string {
	switch {
	case p.Organization == "":
		return p.Role
	case p.Role == "":
		return p.Organization
	}
	return p.Organization + "/" + p.Role
}

// Parts lists everything in a set.
func (s Set) Parts() (out []Part) {
	for _, role := range s.Roles {
		out = append(out, Part{Role: role})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Organizations)) {
		out = append(out, Part{Organization: name})
		for _, role := range s.Organizations[name] {
			out = append(out, Part{name, role})
		}
	}
	return out
}

// Has says whether a part is in it.
func (s Set) Has(p Part) bool {
	if p.Organization == "" {
		return slices.Contains(s.Roles, p.Role)
	}
	roles, in := s.Organizations[p.Organization]
	return in && (p.Role == "" || slices.Contains(roles, p.Role))
}

// Drop takes a part out; with an organization go the roles inside of it.
func (s Set) Drop(p Part) Set {
	out := Union(s, Set{})
	switch {
	case p.Organization == "":
		out.Roles = less(out.Roles, []string{p.Role})
	case p.Role == "":
		delete(out.Organizations, p.Organization)
	default:
		if roles, in := out.Organizations[p.Organization]; in {
			out.Organizations[p.Organization] = less(roles, []string{p.Role})
		}
	}
	return out
}

func merged(a, b []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}

func less(a, b []string) (out []string) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}
