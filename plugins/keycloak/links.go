package keycloak

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// move is a link that leaves an account.
type move struct{ from, alias string }

// wish is an identity that an account is to be linked to, with who has it.
type wish struct {
	federatedIdentity

	holders []account
}

// linking decides about links to identities, when all else of a batch is decided.
type linking struct {
	*decision

	claims *reconcile.Claims
}

// wish looks who has the identities that an account is to be linked to: the server lets
// several accounts have one, and signs in to any of them.
func (r *linking) wish(ctx context.Context, v *verdict) error {
	if r.directory.count == 0 {
		return nil // whoever has come since, claims its identities
	}
	for _, f := range v.user.FederatedIdentities {
		if !r.view.aliases[f.IdentityProvider] || v.held != nil && v.differs(prefixIdentity+f.IdentityProvider) == nil {
			continue
		}
		holders, err := r.api.linkedTo(ctx, f.IdentityProvider, f.UserID)
		if err != nil {
			return fmt.Errorf("look up who is linked to an identity of %s: %w", f.IdentityProvider, err)
		}
		v.wishes = append(v.wishes, wish{f, holders})
	}
	return nil
}

// settle decides about identities that other accounts have. They are taken only from those
// that the host names: accounts of runs that are ways to sign in to this one by now. Others
// give theirs up themselves, or keep them.
func (r *linking) settle(ctx context.Context) error {
	for again := true; again; { // who stays as it is gives nothing up
		again = false
		given := r.given()
		for i, v := range r.all {
			if v.Outcome.Action != sdk.Created && !v.writes() {
				continue
			}
			kept := len(v.wishes)
			if err := r.fulfil(ctx, v, &r.users[i], given); err != nil {
				return err
			}
			if v.Outcome.Action == sdk.Rejected {
				names, links := claimsOf(v.user, r.directory.emailsOnce)
				r.claims.Release(append(names, links...)...)
			}
			again = again || len(v.wishes) != kept
		}
	}
	for i, v := range r.all {
		for _, w := range v.wishes {
			for _, h := range w.holders {
				if slices.Contains(r.users[i].Prior.Linked, h.ID) && h.ID != v.user.ID {
					v.moves = append(v.moves, move{h.ID, w.IdentityProvider})
				}
			}
		}
	}
	if r.plan {
		r.giving.add(r.given())
	}
	return nil
}

// given are links that accounts of the batch give up, or get another one for.
func (r *linking) given() map[move]bool {
	given := map[move]bool{}
	for _, v := range r.all {
		if !v.writes() {
			continue
		}
		for _, d := range v.Differences {
			if alias, is := strings.CutPrefix(d.Field, prefixIdentity); is && d.Held != "" {
				given[move{v.held.ID, alias}] = true
			}
		}
	}
	return given
}

// fulfil drops the wishes of an account that cannot be: for an identity of another account
// of a run it is rejected, and it does without one of anybody else.
func (r *linking) fulfil(ctx context.Context, v *verdict, u *sdk.User, given map[move]bool) error {
	for _, w := range slices.Clone(v.wishes) {
		for _, h := range w.holders {
			m := move{h.ID, w.IdentityProvider}
			if h.ID == v.user.ID || slices.Contains(u.Prior.Linked, h.ID) || given[m] || r.plan && r.giving.has(m) {
				continue
			}
			mine, err := ownAccount(ctx, r.decision, h.ID)
			if err != nil {
				return err
			}
			if mine {
				v.wishes = nil
				v.Verdict = reconcile.Verdict{Outcome: r.view.judge.Conflict(u, sdk.CodeIdentityConflict, "the identity at "+w.IdentityProvider, h.ID)}
				return nil
			}
			v.wishes = slices.DeleteFunc(v.wishes, func(o wish) bool { return o.federatedIdentity == w.federatedIdentity })
			v.user.FederatedIdentities = slices.DeleteFunc(v.user.FederatedIdentities, func(x federatedIdentity) bool { return x == w.federatedIdentity })
			v.giveUp(prefixIdentity+w.IdentityProvider, sdk.CarriesIdentities, sdk.CodePartFailed, w.IdentityProvider, "the identity belongs to the account "+h.ID+" of the realm, and nothing shows that a load has made that")
			break
		}
	}
	return nil
}

// giving are links that accounts give up in a plan, whichever batch they are in: when the
// plan is carried out, they are free.
type giving struct {
	mu  sync.Mutex
	all map[move]bool
}

func (g *giving) add(given map[move]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all == nil {
		g.all = map[move]bool{}
	}
	maps.Copy(g.all, given)
}

func (g *giving) has(m move) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all[m]
}

// ownAccount reports whether a load has made an account, as far as that shows.
func ownAccount(ctx context.Context, r *decision, id string) (bool, error) {
	for i, v := range r.all {
		if v.held != nil && v.held.ID == id && r.users[i].Existing == sdk.Update && !v.last.IsZero() {
			return true, nil
		}
	}
	d, err := r.reader.one(ctx, id, nil, nil)
	if err != nil || d == nil {
		return false, err
	}
	return slices.ContainsFunc(d.Credentials, func(c heldCredential) bool { return ownCredential(id, c.ID) }), nil
}
