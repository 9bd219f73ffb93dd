package keycloak

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
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
	// searches is how many of them run side by side.
	searches = 8
)

// directory knows which accounts are in the realm. What it keeps of a listing
// are hashes, some 100 bytes per account: they only tell who needs no look at
// the server. It is safe for concurrent use.
type directory struct {
	api        *api
	visible    func(attribute string) bool
	emailsOnce bool // an address belongs to one account
	listed     bool
	seed       maphash.Seed
	// federations have users that are neither counted nor surely listed.
	federations []federation

	mu    sync.RWMutex
	byID  map[uint64]uint64   // to the hash of what a comparison covers
	names map[uint64]struct{} // usernames and e-mail addresses
}

// holders are the accounts in the way of one user, nil where there is none.
type holders struct {
	id, username, email *account
	same                bool // the listing has this very account
}

func openDirectory(ctx context.Context, a *api, visible func(string) bool, emailsOnce bool) (*directory, error) {
	d := &directory{
		api: a, visible: visible, emailsOnce: emailsOnce, seed: maphash.MakeSeed(),
		byID: map[uint64]uint64{}, names: map[uint64]struct{}{},
	}
	n, err := a.countUsers(ctx)
	if err != nil {
		return nil, fmt.Errorf("count the users of realm %s: %w", a.realm, err)
	}
	if d.federations, err = a.federations(ctx); err != nil {
		return nil, err
	}
	if n > listLimit || len(d.federations) > 0 {
		return d, nil
	}
	d.listed = true
	for first := 0; n > 0; first += listPage {
		page, err := a.listUsers(ctx, first, listPage)
		if err != nil {
			return nil, fmt.Errorf("list the users of realm %s: %w", a.realm, err)
		}
		if first == 0 && len(page) == 0 {
			// query-users alone counts everybody and lists nobody.
			return nil, sdk.Diagnostics{missingRole("view-users", "the users of the realm cannot be read")}.Err()
		}
		for i := range page {
			d.add(&page[i])
		}
		if len(page) < listPage {
			break
		}
	}
	return d, nil
}

// add records an account that is in the realm.
func (d *directory) add(a *account) {
	if !d.listed {
		return // every user is searched for
	}
	content := d.content(a)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byID[d.hash("id", a.ID)] = content
	d.names[d.hash("username", a.Username)] = struct{}{}
	if a.Email != "" {
		d.names[d.hash("email", a.Email)] = struct{}{}
	}
}

func (d *directory) hash(kind, value string) uint64 {
	return maphash.Comparable(d.seed, [2]string{kind, value})
}

// content covers exactly what diff compares.
func (d *directory) content(a *account) uint64 {
	c := *a
	c.Attributes = map[string][]string{}
	for name, values := range a.Attributes {
		if ours(name) && d.visible(name) {
			c.Attributes[name] = sorted(values)
		}
	}
	return maphash.String(d.seed, text(c))
}

// find returns, for each user, the accounts in its way. With fresh it asks the
// server even when the realm was listed.
func (d *directory) find(ctx context.Context, users []*representation, fresh bool) ([]holders, error) {
	out := make([]holders, len(users))
	g, part := errgroup.WithContext(ctx)
	g.SetLimit(searches)
	for i, u := range users {
		if d.listed && !fresh {
			free, same := d.recall(&u.account)
			out[i].same = same
			if free || same {
				continue
			}
		}
		g.Go(func() (err error) {
			out[i], err = d.search(part, u)
			return err
		})
	}
	err := g.Wait()
	// Tried afterwards: one that answers now has answered the look-ups. Where one does
	// not, their own errors mislead.
	down, untried := d.api.unreachable(ctx, d.federations)
	if down.HasErrors() {
		return nil, down.Err()
	}
	if err = cmp.Or(err, untried); err != nil {
		return nil, fmt.Errorf("look up users: %w", err)
	}
	return out, nil
}

// recall reports whether nothing listed is in the way of a, or a itself was listed.
func (d *directory) recall(a *account) (free, same bool) {
	d.mu.RLock()
	content, taken := d.byID[d.hash("id", a.ID)]
	_, named := d.names[d.hash("username", a.Username)]
	mailed := false
	if a.Email != "" && d.emailsOnce {
		_, mailed = d.names[d.hash("email", a.Email)]
	}
	d.mu.RUnlock()
	return !taken && !named && !mailed, taken && content == d.content(a)
}

func (d *directory) search(ctx context.Context, u *representation) (h holders, err error) {
	if h.username, err = d.api.userBy(ctx, "username", u.Username); err != nil {
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
		h.email, err = d.api.userBy(ctx, "email", u.Email)
	}
	return h, err
}

// judge decides what becomes of u. Created means that nothing is in its way.
func (d *directory) judge(u *representation, h holders) verdict {
	v := verdict{user: u, outcome: sdk.Outcome{SourceID: u.source}}
	no := func(code sdk.Code, detail, holder string) verdict {
		v.outcome.Action, v.outcome.Code, v.outcome.Detail = sdk.Rejected, code, fmt.Sprintf(detail, holder)
		v.outcome.Hint = "merge the two accounts in SuperTokens or rename the one in the realm (or where its user federation has it from), then run again"
		return v
	}
	switch {
	case h.same:
		v.outcome.Action, v.outcome.TargetID = sdk.Unchanged, u.ID
	case h.id != nil && h.id.Username == u.Username:
		v.outcome.Action, v.outcome.TargetID = sdk.Unchanged, u.ID
		if v.fields = diff(h.id, &u.account, d.visible); len(v.fields) > 0 {
			names := make([]string, len(v.fields))
			for i, f := range v.fields {
				names[i] = f.Field
			}
			v.outcome.Action, v.outcome.Code = sdk.Skipped, sdk.CodeExistsDiffers
			v.outcome.Detail = "the account is there and differs in " + joinList(names)
			v.outcome.Hint = "change or delete the account in the realm; an existing account is never overwritten"
		}
	case h.id != nil:
		return no(sdk.CodeIDConflict, "the account %s of the realm has another username", h.id.ID)
	case h.username != nil:
		return no(sdk.CodeUsernameConflict, "the username belongs to the account %s of the realm", h.username.ID)
	case h.email != nil:
		return no(sdk.CodeEmailConflict, "the e-mail address belongs to the account %s of the realm", h.email.ID)
	default:
		v.outcome.Action, v.outcome.TargetID, v.outcome.Detail = sdk.Created, u.ID, joinNotes(u.notes)
	}
	return v
}
