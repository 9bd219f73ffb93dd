package keycloak

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// madeBy marks roles and groups that a load has created. An undo takes away those
// that nobody has any more; they carry the mark themselves, so that no memory of
// ours can be wrong about them.
const madeBy = "createdBy"

var madeByUs = map[string][]string{madeBy: {"stetl"}}

// tidyFor is how long one step of tidying up goes on before it says how far it is.
const tidyFor = 5 * time.Second

// Tidy implements [sdk.Tidier]: roles, tenant groups and organizations that a load has
// created and that are empty, and as they were made, go.
func (t *tidying) Tidy(ctx context.Context) (removed, left int, err error) {
	removed, left, err = t.step(ctx, tidyFor)
	if err != nil {
		err = explain(fmt.Errorf("remove the roles and groups that a load had created: %w", err))
	}
	return removed, left, err
}

// leftover is something that goes when it is empty.
type leftover struct {
	path []string
	// users are lists of those who have it, below path.
	users []string
}

// tidying takes away what a load has created and nobody has any more, piece by piece.
type tidying struct {
	api     *api
	tenancy bool

	mu     sync.Mutex
	listed bool
	queue  []leftover
	// last is the parent of the tenant groups, which goes after them.
	last []leftover
}

// step goes on for a while, from where the last one has stopped, and returns how many
// things it has removed and how many are still to be looked at.
func (t *tidying) step(ctx context.Context, budget time.Duration) (removed, left int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	end := time.Now().Add(budget)
	if !t.listed {
		if err := t.list(ctx); err != nil {
			return 0, 0, err
		}
		t.listed = true
	}
	var gone atomic.Int64
	for len(t.queue) > 0 || len(t.last) > 0 {
		from := &t.queue
		if len(t.queue) == 0 {
			from = &t.last
		}
		part := (*from)[:min(len(*from), searches)]
		g, some := errgroup.WithContext(ctx)
		for _, x := range part {
			g.Go(func() error {
				was, err := t.removeEmpty(some, x)
				if was {
					gone.Add(1)
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return int(gone.Load()), len(t.queue) + len(t.last), err
		}
		*from = (*from)[len(part):]
		if time.Now().After(end) {
			break
		}
	}
	left = len(t.queue) + len(t.last)
	t.listed = left > 0 // whoever asks again after the end wants another look
	return int(gone.Load()), left, nil
}

// onlyMark reports whether attributes are the mark of a load, and nothing else.
func onlyMark(attributes map[string][]string) bool {
	return maps.EqualFunc(attributes, madeByUs, slices.Equal[[]string])
}

// list looks for what carries the mark and nothing that somebody has added.
func (t *tidying) list(ctx context.Context) error {
	t.queue, t.last = nil, nil
	whole := url.Values{"briefRepresentation": {"false"}, "max": {"10000"}}
	roles, err := wholeRoles(ctx, t.api)
	if err != nil {
		return err
	}
	for _, x := range roles {
		if x.asMade() {
			t.queue = append(t.queue, leftover{[]string{"roles", x.Name}, []string{"users", "groups"}})
		}
	}
	if t.tenancy {
		all, err := t.api.organizations(ctx)
		if err != nil {
			return err
		}
		for _, o := range all {
			if o.ours() {
				t.queue = append(t.queue, leftover{[]string{"organizations", o.ID}, []string{"members", "identity-providers"}})
			}
		}
	}
	parent, err := t.api.groupID(ctx, tenantParent)
	if parent == "" || err != nil {
		return err
	}
	type groupFacts struct {
		ID         string              `json:"id"`
		Attributes map[string][]string `json:"attributes"`
		Roles      []string            `json:"realmRoles"`
		Clients    map[string][]string `json:"clientRoles"`
	}
	plain := func(g groupFacts) bool { return onlyMark(g.Attributes) && len(g.Roles) == 0 && len(g.Clients) == 0 }
	users := []string{"members", "children"}
	var children []groupFacts
	if err := t.api.read(ctx, t.api.realmPath("groups", parent, "children"), whole, &children); err != nil {
		return err
	}
	for _, g := range children {
		if plain(g) {
			t.queue = append(t.queue, leftover{[]string{"groups", g.ID}, users})
		}
	}
	var self groupFacts
	if err := t.api.read(ctx, t.api.realmPath("groups", parent), nil, &self); err != nil || !plain(self) {
		return err
	}
	t.last = []leftover{{[]string{"groups", parent}, users}}
	return nil
}

// removeEmpty deletes what nobody has, and reports whether it did.
func (t *tidying) removeEmpty(ctx context.Context, x leftover) (bool, error) {
	for _, list := range x.users {
		var some []struct{}
		path := append(slices.Clone(x.path), list)
		if err := t.api.read(ctx, t.api.realmPath(path...), url.Values{"max": {"1"}}, &some); err != nil || len(some) > 0 {
			return false, err
		}
	}
	return true, t.api.remove(ctx, x.path...)
}
