package membership

import (
	"context"
	"errors"
	"hash/maphash"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// perPage is how many users one request lists.
const perPage = 100

// lists are the users of roles and the members of organizations, once it takes fewer
// requests to list them than to ask for each user. They are made once in a run: what
// this process changes is noted in them.
type lists struct {
	client *tenant.Client
	names  *names
	seats  bool
	seed   maphash.Seed

	mu            sync.Mutex
	roles         shelf
	organizations shelf
}

// shelf has lists of one kind.
type shelf struct {
	spent int // requests about single users so far
	// users maps the name of a role or an organization to its users, hashed, with the
	// names of the roles that they have inside of it.
	users map[string]map[uint64][]string
	sizes map[string]int
	never bool // the tenant does not show such lists
}

func newLists(client *tenant.Client, n *names, seats bool) lists {
	empty := func() shelf { return shelf{users: map[string]map[uint64][]string{}, sizes: map[string]int{}} }
	return lists{client: client, names: n, seats: seats, seed: maphash.MakeSeed(), roles: empty(), organizations: empty()}
}

// prepare makes the lists that are worth it for what will be asked about so many users.
func (l *lists) prepare(ctx context.Context, about []Set) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	roles, organizations, askRoles, askMembers := map[string]bool{}, map[string]bool{}, 0, 0
	for _, s := range about {
		missing := 0
		for _, role := range s.Roles {
			if _, ok := l.roles.users[role]; !ok {
				roles[role], missing = true, 1
			}
		}
		askRoles += missing
		missing = 0
		for name, inside := range s.Organizations {
			if _, ok := l.organizations.users[name]; !ok {
				organizations[name], missing = true, max(missing, 1)
				if len(inside) > 0 {
					missing++
				}
			}
		}
		askMembers += missing
	}
	if err := l.consider(ctx, &l.roles, roles, askRoles, l.listRole, "roles", "users"); err != nil {
		return err
	}
	return l.consider(ctx, &l.organizations, organizations, askMembers, l.listOrganization, "organizations", "members")
}

// consider makes lists if they take fewer requests than have been made for single users,
// together with those that would have to be made now.
func (l *lists) consider(ctx context.Context, s *shelf, missing map[string]bool, asking int, list func(context.Context, string) error, kind, what string) error {
	s.spent += asking
	if s.never || s.spent <= 2*len(missing) { // to learn how long they are takes as many
		return nil
	}
	cost := 0
	for name := range missing {
		n, err := l.size(ctx, s, name, kind, what)
		if err != nil {
			return l.unless(ctx, s, err)
		}
		cost += n/perPage + 1
	}
	if cost >= s.spent {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		err := list(ctx, name)
		if err == nil && len(s.users[name]) < s.sizes[name] {
			err = errShort
		}
		if err != nil {
			delete(s.users, name)
			return l.unless(ctx, s, err)
		}
	}
	s.spent -= asking
	return nil
}

// unless has users asked about one by one where lists cannot be had.
func (l *lists) unless(ctx context.Context, s *shelf, err error) error {
	if ctx.Err() != nil || tenant.Status(err) == 0 && tenant.Fatal(ctx, err) {
		return err
	}
	s.never = true
	return nil
}

var (
	errNoTotal = errors.New("the tenant does not say how long a list is")
	errShort   = errors.New("the tenant does not show all of a list")
)

// size is how many users a role or an organization has.
func (l *lists) size(ctx context.Context, s *shelf, name, kind, what string) (int, error) {
	if n, known := s.sizes[name]; known {
		return n, nil
	}
	id, err := l.id(ctx, kind, name)
	if err != nil || id == "" {
		return 0, err
	}
	_, total, err := tenant.Listed[struct{}](ctx, l.client, url.Values{"per_page": {"1"}, "page": {"0"}, "include_totals": {"true"}}, kind, id, what)
	if err == nil && total < 0 {
		err = errNoTotal
	}
	s.sizes[name] = total
	return total, err
}

func (l *lists) id(ctx context.Context, kind, name string) (string, error) {
	if kind == "roles" {
		return l.names.role(ctx, name)
	}
	return l.names.organization(ctx, name)
}

func (l *lists) listRole(ctx context.Context, name string) error {
	users := map[uint64][]string{}
	id, err := l.names.role(ctx, name)
	if err == nil && id != "" {
		err = checkpoints(ctx, l.client, nil, func(u member) { users[l.hash(u.ID)] = nil }, "roles", id, "users")
	}
	if err == nil {
		l.roles.users[name] = users
	}
	return err
}

func (l *lists) listOrganization(ctx context.Context, name string) error {
	users := map[uint64][]string{}
	id, err := l.names.organization(ctx, name)
	if err == nil && id != "" {
		query := url.Values{}
		if l.seats {
			query.Set("fields", "user_id,roles")
			query.Set("include_fields", "true")
		}
		err = checkpoints(ctx, l.client, query, func(u member) {
			var roles []string
			for _, r := range u.Roles {
				roles = append(roles, r.Name)
			}
			users[l.hash(u.ID)] = roles
		}, "organizations", id, "members")
	}
	if err == nil {
		l.organizations.users[name] = users
	}
	return err
}

func (l *lists) hash(user string) uint64 { return maphash.String(l.seed, user) }

// answer says what a user has by the lists; false where they do not tell.
func (l *lists) answer(user string, about Set) (has Set, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	me := l.hash(user)
	has.Organizations = map[string][]string{}
	for _, role := range about.Roles {
		users, listed := l.roles.users[role]
		if !listed {
			return Set{}, false
		}
		if _, in := users[me]; in {
			has.Roles = append(has.Roles, role)
		}
	}
	for name, roles := range about.Organizations {
		users, listed := l.organizations.users[name]
		if !listed {
			return Set{}, false
		}
		if held, in := users[me]; in {
			has.Organizations[name] = less(held, less(held, roles))
		}
	}
	return has, true
}

// given and taken note what this process has changed.
func (l *lists) given(user string, p Part) { l.change(user, p, true) }

func (l *lists) taken(user string, p Part) { l.change(user, p, false) }

func (l *lists) change(user string, p Part, has bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	me, users := l.hash(user), l.roles.users[p.Role]
	if p.Organization != "" {
		users = l.organizations.users[p.Organization]
	}
	if users == nil {
		return
	}
	held := users[me]
	switch {
	case p.Organization != "" && p.Role != "" && has:
		users[me] = merged(held, []string{p.Role})
	case p.Organization != "" && p.Role != "":
		if _, in := users[me]; in {
			users[me] = less(held, []string{p.Role})
		}
	case has:
		users[me] = held
	default:
		delete(users, me)
	}
}

type member struct {
	ID    string  `json:"user_id"`
	Roles []named `json:"roles"`
}

// checkpoints reads a list that may have more than the thousand that pages go to.
func checkpoints(ctx context.Context, c *tenant.Client, query url.Values, each func(member), path ...string) error {
	for from := ""; ; {
		q := url.Values{"take": {strconv.Itoa(perPage)}}
		maps.Copy(q, query)
		if from != "" {
			q.Set("from", from)
		}
		list, next, err := tenant.Checkpoint[member](ctx, c, q, path...)
		if err != nil {
			return err
		}
		for _, u := range list {
			each(u)
		}
		if next == "" || next == from {
			return nil
		}
		from = next
	}
}
