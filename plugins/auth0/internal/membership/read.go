package membership

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// readers is how many users are read side by side.
const readers = 4

// Allowed says what this tenant and application can have.
type Allowed struct {
	Roles, Organizations bool
	// Seats are roles inside of organizations.
	Seats bool
}

// Book gives, takes and reads memberships. It is safe for concurrent use.
type Book struct {
	client  *tenant.Client
	log     *slog.Logger
	allowed Allowed
	names   names
	lists   lists
	powers  powers
	blind   sync.Once // said that memberships cannot be read
}

// NewBook returns a book of a tenant in which members of organizations sign in through a
// connection, named by its id.
func NewBook(client *tenant.Client, log *slog.Logger, connection string, allowed Allowed) *Book {
	b := &Book{client: client, log: log, allowed: allowed, names: names{client: client, connection: connection}}
	b.lists = newLists(client, &b.names, allowed.Seats)
	return b
}

// Ask is about one user. What others have given it counts for nothing: only what earlier
// loads have noted in the account, and what is wanted, is looked for.
type Ask struct {
	User         string
	Noted, Wants Set
}

// Answer is what a user has of what was asked about.
type Answer struct {
	Set
	// Believed says that the tenant does not show it, and that what the load has noted is
	// taken for given.
	Believed bool
	// Err says why nobody knows. It is about this user only.
	Err error
}

// Read answers questions about many users: by the lists of roles and organizations where
// that takes fewer requests than asking for each user. A list may lag behind: who is not as
// wanted by it, and who is to lose something, is asked about alone.
func (b *Book) Read(ctx context.Context, asks []Ask) ([]Answer, error) {
	out := make([]Answer, len(asks))
	about := make([]Set, len(asks))
	for i := range asks {
		about[i] = b.within(Union(asks[i].Noted, asks[i].Wants))
	}
	if err := b.lists.prepare(ctx, about); err != nil {
		return nil, err
	}
	g, reading := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i := range asks {
		var listed bool
		wants := b.within(asks[i].Wants)
		if out[i].Set, listed = b.lists.answer(asks[i].User, about[i]); listed && out[i].Equal(wants) && about[i].Without(wants).Empty() {
			continue
		}
		g.Go(func() error {
			out[i] = b.readOne(reading, asks[i], about[i])
			if err := out[i].Err; tenant.Fatal(reading, err) {
				return err
			}
			return nil
		})
	}
	return out, g.Wait()
}

// ReadOne asks the tenant about one user, whatever lists say.
func (b *Book) ReadOne(ctx context.Context, a Ask) Answer {
	return b.readOne(ctx, a, b.within(Union(a.Noted, a.Wants)))
}

// within leaves out what this tenant and application cannot have.
func (b *Book) within(s Set) Set {
	out := Set{Organizations: map[string][]string{}}
	if b.allowed.Roles {
		out.Roles = s.Roles
	}
	for name, roles := range s.Organizations {
		if !b.allowed.Organizations {
			break
		}
		if !b.allowed.Seats {
			roles = nil
		}
		out.Organizations[name] = roles
	}
	return out
}

func (b *Book) readOne(ctx context.Context, ask Ask, about Set) (a Answer) {
	noted := b.within(ask.Noted)
	a.Organizations = map[string][]string{}
	if len(about.Roles) > 0 {
		held, err := tenant.Pages[named](ctx, b.client, "users", ask.User, "roles")
		switch {
		case tenant.Hidden(err):
			b.believe(&a, err)
			a.Roles = noted.Roles
		case err != nil:
			a.Err = fmt.Errorf("read the roles of user %s: %w", ask.User, err)
			return a
		}
		a.Roles = append(a.Roles, common(held, about.Roles)...)
	}
	if len(about.Organizations) == 0 {
		return a
	}
	held, err := tenant.Pages[named](ctx, b.client, "users", ask.User, "organizations")
	switch {
	case tenant.Hidden(err):
		b.believe(&a, err)
		a.Organizations = noted.Organizations
	case err != nil:
		a.Err = fmt.Errorf("read the organizations of user %s: %w", ask.User, err)
	}
	for _, o := range held {
		roles, asked := about.Organizations[o.Name]
		if asked && a.Err == nil {
			b.readSeats(ctx, &a, ask.User, o, roles, noted.Organizations[o.Name])
		}
	}
	return a
}

// readSeats reads the roles of a member of an organization.
func (b *Book) readSeats(ctx context.Context, a *Answer, user string, o named, about, noted []string) {
	a.Organizations[o.Name] = nil
	if len(about) == 0 {
		return
	}
	held, err := tenant.Pages[named](ctx, b.client, "organizations", o.ID, "members", user, "roles")
	switch {
	case tenant.Hidden(err):
		b.believe(a, err)
		a.Organizations[o.Name] = slices.Clone(noted)
	case err != nil:
		a.Err = fmt.Errorf("read the roles of member %s: %w", user, err)
	default:
		a.Organizations[o.Name] = common(held, about)
	}
}

func common(held []named, about []string) (out []string) {
	for _, x := range held {
		if slices.Contains(about, x.Name) {
			out = append(out, x.Name)
		}
	}
	slices.Sort(out)
	return out
}

// believe is for memberships that the tenant does not show: those that the load has
// noted in the account count.
func (b *Book) believe(a *Answer, err error) {
	a.Believed = true
	b.blind.Do(func() {
		b.log.Warn("memberships cannot be read: those noted in app_metadata are taken for given", "error", err)
	})
}
