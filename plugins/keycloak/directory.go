package keycloak

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
)

const (
	// Up to this many accounts the realm is listed once and kept in memory (some
	// 300 bytes each); beyond it every user is looked up by exact search.
	listLimit = 100_000
	listPage  = 500
	// lookups is how many exact searches run side by side.
	lookups = 8
)

// directory knows the accounts that are in the realm.
type directory struct {
	api        *api
	visible    func(attribute string) bool
	emailsOnce bool // an address belongs to one account
	listed     bool

	mu                       sync.RWMutex
	byID, byUsername, byMail map[string]*holder
}

// holder is an account as far as a comparison needs it.
type holder struct {
	id, username, email string
	digest              [16]byte
	full                *account // nil when it came from the listing
}

// holders are the accounts that stand in the way of one user, nil where none does.
type holders struct {
	id, username, email *holder
}

func openDirectory(ctx context.Context, a *api, visible func(string) bool, emailsOnce bool) (*directory, error) {
	d := &directory{
		api: a, visible: visible, emailsOnce: emailsOnce,
		byID: map[string]*holder{}, byUsername: map[string]*holder{}, byMail: map[string]*holder{},
	}
	n, err := a.countUsers(ctx)
	if err != nil {
		return nil, fmt.Errorf("count the users of realm %s: %w", a.realm, err)
	}
	if n > listLimit {
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

// add records an account of a listed realm. The others are looked up anyway.
func (d *directory) add(a *account) {
	if !d.listed {
		return
	}
	k := &holder{id: a.ID, username: a.Username, email: a.Email, digest: d.digest(a)}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byID[k.id], d.byUsername[k.username] = k, k
	if k.email != "" && d.emailsOnce {
		d.byMail[k.email] = k
	}
}

// digest covers exactly what diff compares.
func (d *directory) digest(a *account) (sum [16]byte) {
	c := *a
	c.Attributes = map[string][]string{}
	for name, values := range a.Attributes {
		if ours(name) && d.visible(name) {
			c.Attributes[name] = sorted(values)
		}
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and booleans only
	}
	full := sha256.Sum256(b)
	copy(sum[:], full[:])
	return sum
}

// find returns, for each user, the accounts in its way. With fresh it asks the
// server even when the realm was listed.
func (d *directory) find(ctx context.Context, users []*representation, fresh bool) ([]holders, error) {
	out := make([]holders, len(users))
	if d.listed && !fresh {
		d.mu.RLock()
		defer d.mu.RUnlock()
		for i, u := range users {
			out[i] = holders{id: d.byID[u.ID], username: d.byUsername[u.Username]}
			if u.Email != "" {
				out[i].email = d.byMail[u.Email]
			}
		}
		return out, nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for i, u := range users {
		g.Go(func() error {
			var err error
			out[i], err = d.search(ctx, u)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("look up %d users: %w", len(users), err)
	}
	return out, nil
}

func (d *directory) search(ctx context.Context, u *representation) (h holders, err error) {
	wrap := func(a *account, err error) (*holder, error) {
		if a == nil || err != nil {
			return nil, err
		}
		return &holder{id: a.ID, username: a.Username, email: a.Email, full: a}, nil
	}
	if h.username, err = wrap(d.api.userBy(ctx, "username", u.Username)); err != nil {
		return h, err
	}
	if h.username != nil && h.username.id == u.ID {
		h.id = h.username
		return h, nil // the user itself: nothing else decides
	}
	if h.id, err = wrap(d.api.userByID(ctx, u.ID)); err != nil {
		return h, err
	}
	if u.Email != "" && d.emailsOnce {
		h.email, err = wrap(d.api.userBy(ctx, "email", u.Email))
	}
	return h, err
}

// judge decides what becomes of u. Created means that nothing is in its way.
func (d *directory) judge(ctx context.Context, u *representation, h holders) (verdict, error) {
	v := verdict{user: u, outcome: sdk.Outcome{SourceID: u.source}}
	no := func(code sdk.Code, detail, hint string) (verdict, error) {
		v.outcome.Action, v.outcome.Code, v.outcome.Detail, v.outcome.Hint = sdk.Rejected, code, detail, hint
		return v, nil
	}
	const hint = "merge the two accounts in SuperTokens or rename the one in the realm, then run again"
	switch {
	case h.id != nil && h.id.username == u.Username:
		return d.compare(ctx, v, h.id)
	case h.id != nil:
		return no(codeIDConflict, fmt.Sprintf("an account with id %s is in the realm under another username", u.ID), hint)
	case h.username != nil:
		return no(codeUsernameConflict, fmt.Sprintf("the username belongs to the account %s of the realm", h.username.id), hint)
	case h.email != nil:
		return no(codeEmailConflict, fmt.Sprintf("the e-mail address belongs to the account %s of the realm", h.email.id), hint)
	}
	v.outcome.Action = sdk.Created
	v.outcome.TargetID = u.ID
	v.outcome.Detail = joinNotes(u.notes)
	return v, nil
}

func (d *directory) compare(ctx context.Context, v verdict, k *holder) (verdict, error) {
	v.outcome.TargetID, v.outcome.Action = k.id, sdk.Unchanged
	have := k.full
	if have == nil {
		if k.digest == d.digest(&v.user.account) {
			return v, nil
		}
		var err error
		if have, err = d.api.userByID(ctx, k.id); err != nil {
			return v, fmt.Errorf("read user %s: %w", k.id, err)
		}
		if have == nil { // deleted since the listing
			v.outcome.Action = sdk.Created
			return v, nil
		}
	}
	v.fields = diff(have, &v.user.account, d.visible)
	if len(v.fields) > 0 {
		names := make([]string, len(v.fields))
		for i, f := range v.fields {
			names[i] = f.Field
		}
		v.outcome.Action, v.outcome.Code = sdk.Skipped, codeExistsDiffers
		v.outcome.Detail = "the account is there and differs in " + joinList(names)
		v.outcome.Hint = "change or delete the account in the realm; an existing account is never overwritten"
	}
	return v, nil
}
