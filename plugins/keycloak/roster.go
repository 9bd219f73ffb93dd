package keycloak

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
)

const (
	// rosterFrom is how many accounts are compared one by one before the members of
	// all roles and groups are listed instead.
	rosterFrom = 100
	// rosterPage is how many members or groups are listed at a time.
	rosterPage = 1000
	// togetherIDs is how many accounts are asked for by id in one request: some 2 KB
	// of address, which every proxy lets through.
	togetherIDs = 50
)

// roster is who has which role and group, as it was at one moment: two requests per
// account less. It proves that accounts are as they should be; any that is not, is
// looked at for itself.
type roster struct {
	roles  map[string][]role // by user id
	groups map[string][]group

	organizations map[string][]organization
}

// wrote forgets the roster, which a write may have made wrong.
func (t *live) wrote() {
	t.rosterMu.Lock()
	defer t.rosterMu.Unlock()
	t.roster, t.asked = nil, 0
}

// listMembers returns the roster once n more accounts make it worth its price, else
// nil.
func (t *live) listMembers(ctx context.Context, r *openRealm, n int) (*roster, error) {
	if r.bulk && t.config.Tenants != tenantsAsOrganizations {
		return nil, nil //nolint:nilnil // memberships come with the accounts
	}
	t.rosterMu.Lock()
	defer t.rosterMu.Unlock()
	t.asked += n
	if t.roster != nil || t.asked < rosterFrom || !r.directory.listed {
		return t.roster, nil
	}
	found := &roster{roles: map[string][]role{}, groups: map[string][]group{}, organizations: map[string][]organization{}}
	roles, err := pages[role](ctx, t.api, "roles")
	if err != nil {
		return nil, fmt.Errorf("list the roles of realm %s: %w", t.config.Realm, err)
	}
	for _, x := range roles {
		if x.Name == r.mapper.defaultRole {
			continue // nothing asks for it
		}
		members, err := pages[member](ctx, t.api, "roles", x.Name, "users")
		if err != nil {
			return nil, fmt.Errorf("list who has the role %s: %w", x.Name, err)
		}
		for _, m := range members {
			found.roles[m.ID] = append(found.roles[m.ID], x)
		}
	}
	groups, err := t.api.allGroups(ctx, "groups")
	if err != nil {
		return nil, fmt.Errorf("list the groups of realm %s: %w", t.config.Realm, err)
	}
	for _, g := range groups {
		members, err := pages[member](ctx, t.api, "groups", g.ID, "members")
		if err != nil {
			return nil, fmt.Errorf("list the members of group %s: %w", g.Path, err)
		}
		for _, m := range members {
			found.groups[m.ID] = append(found.groups[m.ID], g)
		}
	}
	if t.config.Tenants == tenantsAsOrganizations {
		all, err := t.api.organizations(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the organizations of realm %s: %w", t.config.Realm, err)
		}
		for _, o := range all {
			members, err := pages[member](ctx, t.api, "organizations", o.ID, "members")
			if err != nil {
				return nil, fmt.Errorf("list the members of organization %s: %w", o.Name, err)
			}
			for _, m := range members {
				found.organizations[m.ID] = append(found.organizations[m.ID], o)
			}
		}
	}
	t.roster = found
	return found, nil
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
			"first": {strconv.Itoa(len(all))}, "max": {strconv.Itoa(rosterPage)}, "briefRepresentation": {"true"},
		}, &page)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < rosterPage {
			return all, nil
		}
	}
}

// allGroups lists the groups at a path, and those below them.
func (a *api) allGroups(ctx context.Context, path ...string) ([]group, error) {
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
			below, err := a.allGroups(ctx, "groups", n.ID, "children")
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

// details reads the accounts that may be updated, nil for those that are not there
// and for all other users. With a roster, memberships come from it.
func (t *live) details(ctx context.Context, r *openRealm, users []sdk.User, from *roster) ([]*detail, error) {
	out := make([]*detail, len(users))
	asked := func(u *sdk.User) bool { return u.Existing == sdk.Update && checkID(u) == nil }
	var ids []string
	for i := range users {
		if asked(&users[i]) {
			ids = append(ids, users[i].ID)
		}
	}
	whole := map[string]*detail{}
	accounts := map[string]*account{}
	var err error
	if r.bulk {
		whole, err = t.api.accountsByID(ctx, ids)
	} else {
		accounts, err = t.api.usersByID(ctx, ids)
	}
	if err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(searches)
	for i := range users {
		if !asked(&users[i]) {
			continue
		}
		if r.bulk {
			if out[i] = whole[users[i].ID]; out[i] != nil {
				g.Go(func() error { return t.readOrganizations(ctx, out[i], from) })
			}
			continue
		}
		g.Go(func() (err error) {
			out[i], err = t.detail(ctx, r, users[i].ID, accounts[users[i].ID], from)
			return err
		})
	}
	return out, g.Wait()
}
