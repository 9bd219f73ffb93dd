package engine

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/target"
)

// survey reads every account once without touching the target: it decides
// classes and collisions before the first write, and learns what the run will
// ask of the target.
func (r *runner) survey(ctx context.Context) error {
	defer r.known.forget()
	n := newNeeds()
	err := r.src.Accounts(ctx, func(users []canonical.User) error {
		var u target.User // one for all, as it is large
		for i := range users {
			lost, aside := r.options.Mapping.Into(&u, &users[i], &r.caps)
			if aside != nil && aside.Code == diag.MapFiltered {
				u.Class = target.Filtered
			}
			chosen := r.admit(&users[i])
			if chosen {
				r.result.Classes[u.Class]++
			}
			if aside == nil {
				if err := r.owners.claim(r.total+i, &u); err != nil {
					return err
				}
				lost = mapping.Withhold(&u, r.withheld, lost)
			}
			stands, err := r.known.meet(&u, r.options.Full, r.options.Key)
			if err != nil {
				return err
			}
			if aside != nil {
				r.held.take(r.total+i, &users[i])
				continue
			}
			if !chosen {
				continue
			}
			r.lose(lost)
			if stands != settled {
				r.held.take(r.total+i, &users[i])
				r.weigh(stands, &u, n)
			}
		}
		r.total += len(users)
		r.progress(Surveying, r.total, 0)
		return nil
	})
	if err == nil {
		err = r.known.end()
	}
	err = errors.Join(err, r.owners.settle())
	r.needs = n.result()
	if err == nil {
		err = r.resolve(ctx)
	}
	if err == nil {
		err = r.review(ctx)
	}
	return err
}

// lose counts what the target will not hold of an account.
func (r *runner) lose(lost []mapping.Loss) {
	for _, l := range lost {
		r.result.Losses[l]++
		if f, ok := l.Undeclared(); ok {
			if r.result.Withheld == nil {
				r.result.Withheld = &Withheld{Plugin: r.options.Plugin, Features: map[target.Feature]int{}}
			}
			r.result.Withheld.Features[f]++
		}
	}
}

// weigh counts what a run will do about an account that is chosen and not settled, and
// what it takes of the target.
func (r *runner) weigh(s standing, u *target.User, n *needs) {
	n.add(u)
	if s <= doubtful {
		r.guard.mail(u)
	}
	switch s {
	case stale:
		r.guard.stale++
		r.shapes.add(u)
	case doubtful, unknown:
		r.shapes.add(u)
	case fresh: // its hash was proven when an earlier run could not load it
	case settled: // is not weighed
	}
}

// needs collects what a run will ask of a target.
type needs struct {
	schemes                   map[canonical.Scheme]bool
	providers, roles, tenants map[string]bool
	keys                      map[string]bool
	users, resets             int
	noEmail, withoutAny       int
}

func newNeeds() *needs {
	return &needs{
		schemes: map[canonical.Scheme]bool{}, providers: map[string]bool{}, roles: map[string]bool{},
		tenants: map[string]bool{}, keys: map[string]bool{},
	}
}

// mostNames bounds how many different names of one kind are remembered: metadata
// keys can be as many as users.
const mostNames = 10_000

func note(set map[string]bool, name string) {
	if len(set) < mostNames {
		set[name] = true
	}
}

func (n *needs) add(u *target.User) {
	n.users++
	if u.Class == target.NeedsReset {
		n.resets++
	}
	if !u.Password.IsZero() {
		n.schemes[u.Password.Scheme] = true
	}
	for _, id := range u.Identities {
		note(n.providers, id.Provider)
	}
	for _, tenant := range u.Tenants {
		note(n.tenants, tenant)
	}
	for _, roles := range u.Roles {
		for _, role := range roles {
			note(n.roles, role)
		}
	}
	if u.Email == "" {
		n.noEmail++
	}
	if u.GivenName == "" || u.FamilyName == "" {
		n.withoutAny++
	}
	for key := range canonical.Members(u.Metadata) {
		note(n.keys, key)
	}
}

func (n *needs) result() target.Needs {
	return target.Needs{
		Schemes: slices.Sorted(maps.Keys(n.schemes)), Providers: slices.Sorted(maps.Keys(n.providers)),
		Roles: slices.Sorted(maps.Keys(n.roles)), Tenants: slices.Sorted(maps.Keys(n.tenants)), MetadataKeys: slices.Sorted(maps.Keys(n.keys)),
		Users: n.users, Resets: n.resets, WithoutEmail: n.noEmail, WithoutName: n.withoutAny,
	}
}
