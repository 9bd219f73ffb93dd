package membership

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// What one request takes.
const (
	RoleBatch   = 50
	MemberBatch = 10
)

// Failure is a part that could not be given or taken away.
type Failure struct {
	Part
	Err error
}

// Refused says that the tenant has looked at it and said no, so that asking once more
// brings nothing. A user or a role that it does not find may be there later.
func (f Failure) Refused() bool {
	s := tenant.Status(f.Err)
	return s >= 400 && s < 500 && s != http.StatusUnauthorized && s != http.StatusForbidden && s != http.StatusNotFound && s != http.StatusTooManyRequests
}

// Set is the part alone.
func (p Part) Set() Set {
	if p.Organization == "" {
		return Set{Roles: []string{p.Role}}
	}
	s := Set{Organizations: map[string][]string{p.Organization: nil}}
	if p.Role != "" {
		s.Organizations[p.Organization] = []string{p.Role}
	}
	return s
}

// Grant is a user who is there and what it is to get.
type Grant struct {
	User string
	Set
}

// Give gives users their roles and organizations, in as few requests as the endpoints
// allow. It returns what failed, by user.
func (b *Book) Give(ctx context.Context, grants []Grant) map[string][]Failure {
	g := giving{b, map[string][]Failure{}}
	byRole, byOrganization := map[string][]string{}, map[string][]string{}
	for _, a := range grants {
		for _, role := range a.Roles {
			byRole[role] = append(byRole[role], a.User)
		}
		for name := range a.Organizations {
			byOrganization[name] = append(byOrganization[name], a.User)
		}
	}
	for _, role := range slices.Sorted(maps.Keys(byRole)) {
		id, err := b.names.needRole(ctx, role)
		for users := range slices.Chunk(byRole[role], RoleBatch) {
			g.give(ctx, users, err, Part{Role: role}, b.client.URI("roles", id, "users"), "users")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byOrganization)) {
		id, err := b.names.needOrganization(ctx, name)
		for users := range slices.Chunk(byOrganization[name], MemberBatch) {
			g.give(ctx, users, err, Part{Organization: name}, b.client.URI("organizations", id, "members"), "members")
		}
	}
	for _, a := range grants {
		for _, name := range slices.Sorted(maps.Keys(a.Organizations)) {
			g.seat(ctx, a.User, name, a.Organizations[name])
		}
	}
	return g.failed
}

type giving struct {
	*Book
	failed map[string][]Failure
}

// give adds users to what uri names, unless err is there already. A user whom the tenant
// does not know costs nobody else.
func (g giving) give(ctx context.Context, users []string, err error, part Part, uri, key string) {
	if err == nil {
		err = g.client.Call(ctx, http.MethodPost, uri, map[string]any{key: users}, nil)
		if tenant.Refused(err) && len(users) > 1 {
			g.give(ctx, users[:len(users)/2], nil, part, uri, key)
			g.give(ctx, users[len(users)/2:], nil, part, uri, key)
			return
		}
	}
	for _, user := range users {
		if err != nil {
			g.failed[user] = append(g.failed[user], Failure{part, fmt.Errorf("could not be given: %w", err)})
			continue
		}
		g.lists.given(user, part)
	}
}

// seat gives roles to a member of an organization.
func (g giving) seat(ctx context.Context, user, organization string, roles []string) {
	outside := slices.ContainsFunc(g.failed[user], func(f Failure) bool { return f.Part == Part{Organization: organization} })
	if outside || len(roles) == 0 {
		return
	}
	id, err := g.names.needOrganization(ctx, organization)
	var ids []string
	for i := 0; i < len(roles) && err == nil; i++ {
		var one string
		one, err = g.names.needRole(ctx, roles[i])
		ids = append(ids, one)
	}
	if err == nil {
		err = g.client.Call(ctx, http.MethodPost, g.client.URI("organizations", id, "members", user, "roles"), map[string]any{"roles": ids}, nil)
	}
	for _, role := range roles {
		part := Part{organization, role}
		if err != nil {
			g.failed[user] = append(g.failed[user], Failure{part, fmt.Errorf("could not be given: %w", err)})
			continue
		}
		g.lists.given(user, part)
	}
}

// Take takes away what is surplus. An organization in it goes as a whole where keep does
// not have it, and else the roles inside of it.
func (b *Book) Take(ctx context.Context, user string, surplus, keep Set) (failed []Failure) {
	fail := func(parts []Part, err error) {
		for _, p := range parts {
			if err != nil {
				failed = append(failed, Failure{p, fmt.Errorf("could not be taken away: %w", err)})
				continue
			}
			b.lists.taken(user, p)
		}
	}
	if len(surplus.Roles) > 0 {
		ids, err := b.roleIDs(ctx, surplus.Roles)
		if err == nil && len(ids) > 0 {
			err = b.client.Call(ctx, http.MethodDelete, b.client.URI("users", user, "roles"), map[string]any{"roles": ids}, nil)
		}
		fail(Set{Roles: surplus.Roles}.Parts(), err)
	}
	for _, name := range slices.Sorted(maps.Keys(surplus.Organizations)) {
		_, stays := keep.Organizations[name]
		part := Set{Organizations: map[string][]string{name: surplus.Organizations[name]}}.Parts()
		if stays {
			part = part[1:]
		}
		fail(part, b.leave(ctx, user, name, surplus.Organizations[name], stays))
	}
	return failed
}

// leave takes a user out of an organization, or only roles inside of it away.
func (b *Book) leave(ctx context.Context, user, organization string, roles []string, stays bool) error {
	id, err := b.names.organization(ctx, organization)
	if err != nil || id == "" {
		return err
	}
	if !stays {
		return b.client.Call(ctx, http.MethodDelete, b.client.URI("organizations", id, "members"), map[string]any{"members": []string{user}}, nil)
	}
	ids, err := b.roleIDs(ctx, roles)
	if err != nil || len(ids) == 0 {
		return err
	}
	return b.client.Call(ctx, http.MethodDelete, b.client.URI("organizations", id, "members", user, "roles"), map[string]any{"roles": ids}, nil)
}

// roleIDs are those of the roles that are there.
func (b *Book) roleIDs(ctx context.Context, roles []string) (ids []string, err error) {
	for _, role := range roles {
		id, err := b.names.role(ctx, role)
		if err != nil {
			return nil, err
		}
		if id != "" {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
