package keycloak

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
)

const (
	// Up to this many accounts a realm is listed once; in a larger one, and in one
	// with user federations, every user is searched for. Listing costs a request per
	// page, searching one to three per user.
	listLimit = 200_000
	listPage  = 500
	// listShare is of how many accounts one has to be looked for to make a listing pay.
	listShare = 100
	// searches is how many of them run side by side.
	searches = 8
)

// directory knows which accounts are in the realm. What it keeps of a listing
// are hashes, some 100 bytes per account: they only tell who needs no look at
// the server. It is safe for concurrent use.
type directory struct {
	api        *api
	emailsOnce bool // an address belongs to one account
	seed       maphash.Seed
	count      int
	asks       bool // the provider says who has a name, many at a time
	// federations have users that are neither counted nor surely listed.
	federations []federation

	listing sync.Mutex
	asked   int // users looked for so far

	mu     sync.RWMutex
	listed bool
	known  map[uint64]struct{} // ids, user names and e-mail addresses
}

// holders are the accounts in the way of one user, nil where there is none.
type holders struct {
	id, username, email *account

	err error // the server refuses to look this one up
}

func openDirectory(ctx context.Context, a *api, emailsOnce bool) (*directory, error) {
	d := &directory{api: a, emailsOnce: emailsOnce, seed: maphash.MakeSeed(), known: map[uint64]struct{}{}}
	var err error
	if d.count, err = a.countUsers(ctx); err != nil {
		return nil, fmt.Errorf("count the users of realm %s: %w", a.realm, err)
	}
	d.federations, err = federations(ctx, a)
	return d, err
}

// small says that the realm is not too large to be listed.
func (d *directory) small() bool { return d.count <= listLimit && len(d.federations) == 0 }

// together says that many are looked for with one request, which costs less than any list of
// more than a page. Whoever is in a federation only the server finds, one by one.
func (d *directory) together() bool { return d.asks && d.count > listPage && len(d.federations) == 0 }

// expect prepares for n users who are to be looked for. The realm is listed as soon as
// so many are that this costs less.
func (d *directory) expect(ctx context.Context, n int) error {
	d.listing.Lock()
	defer d.listing.Unlock()
	d.asked += n
	if d.listed || d.together() || !d.small() || d.count > listPage && d.asked < d.count/listShare {
		return nil
	}
	found := map[uint64]struct{}{}
	for first := 0; d.count > 0; first += listPage {
		page, err := d.api.listUsers(ctx, first, listPage)
		if err != nil {
			return fmt.Errorf("list the users of realm %s: %w", d.api.realm, err)
		}
		if first == 0 && len(page) == 0 {
			// query-users alone counts everybody and lists nobody.
			return sdk.Diagnostics{missingRole("view-users", "the users of the realm cannot be read")}.Err()
		}
		for i := range page {
			d.note(found, &page[i])
		}
		if len(page) < listPage {
			break
		}
		if d.api.pulse != nil {
			d.api.pulse(sdk.Pulse{Reason: "listing the realm", Done: first + len(page), Total: d.count})
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.Copy(d.known, found)
	d.listed = true
	return nil
}

// add records an account that is in the realm.
func (d *directory) add(a *account) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.small() { // else every user is searched for
		d.note(d.known, a)
	}
}

func (d *directory) note(known map[uint64]struct{}, a *account) {
	known[d.hash("id", a.ID)] = struct{}{}
	known[d.hash(fieldUsername, a.Username)] = struct{}{}
	if a.Email != "" {
		known[d.hash(fieldEmail, a.Email)] = struct{}{}
	}
}

func (d *directory) hash(kind, value string) uint64 {
	return maphash.Comparable(d.seed, [2]string{kind, value})
}

// find returns, for each user, the accounts in its way. With fresh it asks the
// server even when the realm was listed.
func (d *directory) find(ctx context.Context, users []*representation, fresh bool) ([]holders, error) {
	if d.together() {
		return d.ask(ctx, users)
	}
	out := make([]holders, len(users))
	g, part := errgroup.WithContext(ctx)
	g.SetLimit(searches)
	for i, u := range users {
		if !fresh && !d.taken(&u.account) {
			continue
		}
		g.Go(func() (err error) {
			if out[i], err = d.search(part, u); refused(err) {
				out[i].err, err = err, nil // it costs the one, not the others
			}
			return err
		})
	}
	err := g.Wait()
	// Tried afterwards: one that answers now has answered the look-ups. Where one does
	// not, their own errors mislead.
	down, untried := unreachable(ctx, d.api, d.federations)
	if down.HasErrors() {
		return nil, down.Err()
	}
	if err = cmp.Or(err, untried); err != nil {
		return nil, fmt.Errorf("look up users: %w", err)
	}
	return out, nil
}

// ask is find through the provider. Of the accounts that it finds only what was asked for is
// known.
func (d *directory) ask(ctx context.Context, users []*representation) ([]holders, error) {
	all := make([]identifiersOf, len(users))
	for i, u := range users {
		all[i] = identifiersOf{ID: u.ID, Username: u.Username}
		if d.emailsOnce {
			all[i].Email = u.Email
		}
	}
	found, err := provided{d.api}.holders(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("look up users: %w", err)
	}
	out := make([]holders, len(users))
	for i, f := range found {
		h, asked := &out[i], all[i]
		if f.ID != "" {
			h.id = &account{ID: f.ID}
		}
		if f.Username != "" {
			h.username = &account{ID: f.Username, Username: asked.Username}
		}
		if f.Email != "" {
			h.email = &account{ID: f.Email, Email: asked.Email}
		}
	}
	return out, nil
}

// taken reports whether somebody may be in the way of a.
func (d *directory) taken(a *account) bool {
	return d.mayHave("id", a.ID) || d.mayHave(fieldUsername, a.Username) || a.Email != "" && d.emailsOnce && d.mayHave(fieldEmail, a.Email)
}

// mayHave reports whether an account with that value may be there.
func (d *directory) mayHave(kind, value string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, there := d.known[d.hash(kind, value)]
	return there || !d.listed
}

func (d *directory) search(ctx context.Context, u *representation) (h holders, err error) {
	if h.username, err = d.api.userBy(ctx, fieldUsername, u.Username); err != nil {
		return h, err
	}
	if h.username != nil && h.username.ID == u.ID {
		h.id = h.username
		return h, nil // the user itself: nothing else decides
	}
	if h.id, err = d.api.userByID(ctx, u.ID); err != nil {
		return h, err
	}
	if u.Email != "" && d.emailsOnce {
		h.email, err = d.api.userBy(ctx, fieldEmail, u.Email)
	}
	return h, err
}
