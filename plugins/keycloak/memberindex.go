package keycloak

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// membersFrom is how many accounts are compared one by one before the members of
	// all roles and groups are listed instead.
	membersFrom = 100
	// memberPage is how many members or groups are listed at a time.
	memberPage = 1000
	// togetherIDs is how many accounts are asked for by id in one request: some 2 KB
	// of address, which every proxy lets through.
	togetherIDs = 50
)

// memberIndex is who has which role and group, as it was at one moment: two requests per
// account less. It proves that accounts are as they should be; any that is not, is
// looked at for itself.
type memberIndex struct {
	roles  map[string][]role // by user id
	groups map[string][]group

	organizations map[string][]organization
}

// wrote forgets the index of members, which a write may have made wrong.
func (r *reader) wrote() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index, r.asked = nil, 0
}

// members returns the index of members once n more accounts make it worth its price, else nil.
func (r *reader) members(ctx context.Context, n int) (*memberIndex, error) {
	if r.bulk && !r.tenancy {
		return nil, nil //nolint:nilnil // memberships come with the accounts
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked += n
	if r.index != nil || r.asked < membersFrom || !r.listed {
		return r.index, nil
	}
	found := &memberIndex{roles: map[string][]role{}, groups: map[string][]group{}, organizations: map[string][]organization{}}
	roles, err := pages[role](ctx, r.api, "roles")
	if err != nil {
		return nil, fmt.Errorf("list the roles of realm %s: %w", r.api.realm, err)
	}
	roles = slices.DeleteFunc(roles, func(x role) bool { return x.Name == r.defaultRole }) // nothing asks for it
	if err := hold(ctx, r.api, found.roles, roles, func(x role) []string { return []string{"roles", x.Name, "users"} }); err != nil {
		return nil, err
	}
	groups, err := allGroups(ctx, r.api, "groups")
	if err != nil {
		return nil, fmt.Errorf("list the groups of realm %s: %w", r.api.realm, err)
	}
	if err := hold(ctx, r.api, found.groups, groups, func(g group) []string { return []string{"groups", g.ID, "members"} }); err != nil {
		return nil, err
	}
	if r.tenancy {
		all, err := r.api.organizations(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the organizations of realm %s: %w", r.api.realm, err)
		}
		if err := hold(ctx, r.api, found.organizations, all, func(o organization) []string { return []string{"organizations", o.ID, "members"} }); err != nil {
			return nil, err
		}
	}
	r.index = found
	return found, nil
}

// hold notes who is a member of what.
func hold[T any](ctx context.Context, a *api, by map[string][]T, all []T, path func(T) []string) error {
	for _, x := range all {
		members, err := pages[member](ctx, a, path(x)...)
		if err != nil {
			return fmt.Errorf("list the members of %s: %w", strings.Join(path(x)[:2], " "), err)
		}
		for _, m := range members {
			by[m.ID] = append(by[m.ID], x)
		}
	}
	return nil
}

type member struct {
	ID string `json:"id"`
}

// pages reads a list to its end.
func pages[T any](ctx context.Context, a *api, path ...string) ([]T, error) {
	var all []T
	for {
		var page []T
		err := a.read(ctx, a.realmPath(path...), url.Values{
			"first": {strconv.Itoa(len(all))}, "max": {strconv.Itoa(memberPage)}, "briefRepresentation": {"true"},
		}, &page)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < memberPage {
			return all, nil
		}
	}
}

// allGroups lists the groups at a path, and those below them.
func allGroups(ctx context.Context, a *api, path ...string) ([]group, error) {
	type node struct {
		group
		Below int `json:"subGroupCount"`
	}
	nodes, err := pages[node](ctx, a, path...)
	if err != nil {
		return nil, err
	}
	var all []group
	for _, n := range nodes {
		all = append(all, n.group)
		if n.Below > 0 {
			below, err := allGroups(ctx, a, "groups", n.ID, "children")
			if err != nil {
				return nil, err
			}
			all = append(all, below...)
		}
	}
	return all, nil
}

// plainID is one that several can be asked for of at a time.
var plainID = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// usersByID reads accounts by id, many in one request. Those that are not in the
// answer may still be there: 26.0 takes one id at a time.
func (a *api) usersByID(ctx context.Context, ids []string) (map[string]*account, error) {
	found := make(map[string]*account, len(ids))
	for part := range slices.Chunk(slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !plainID.MatchString(id) }), togetherIDs) {
		var page []account
		err := a.read(ctx, a.realmPath("users"), url.Values{
			"search": {"id:" + strings.Join(part, " ")}, "max": {strconv.Itoa(len(part))}, "briefRepresentation": {"false"},
		}, &page)
		if err != nil {
			return nil, fmt.Errorf("read %d accounts: %w", len(part), err)
		}
		for i := range page {
			found[page[i].ID] = &page[i]
		}
	}
	return found, nil
}
