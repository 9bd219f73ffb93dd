package engine

import (
	"context"

	"github.com/stetl/stetl/core/canonical"
)

// mostHeld bounds what is kept of a survey, in bytes of a rough estimate.
const mostHeld = 24 << 20

// held keeps the accounts that a run has something to do about, in their order.
// Once everybody has been moved they are few, and the source, of which the survey
// has just read every account, need not be read a second time for them.
type held struct {
	places   []int
	accounts []canonical.User
	size     int
	// off says that this run reads the source again: there is more to do than can be
	// held, or more than a run does that only continues.
	off bool
}

func (h *held) take(place int, u *canonical.User) {
	if h.off {
		return
	}
	if h.size += 2<<10 + len(u.Metadata); h.size > mostHeld {
		*h = held{off: true}
		return
	}
	h.places, h.accounts = append(h.places, place), append(h.accounts, *u)
}

// review decides, when the survey is over and the policies have spoken, whether what
// is held is all that there is to do. Where accounts do not get all they want, it then
// counts anew: the survey could not know yet who keeps which identifier.
func (r *runner) review(ctx context.Context) error {
	if len(r.owners.losers)+len(r.merged) == 0 {
		return nil
	}
	at := map[int]bool{}
	for _, place := range r.held.places {
		at[place] = true
	}
	for n := range r.owners.losers {
		// One that was loaded and loses now: its entry is not at hand.
		r.held.off = r.held.off || !at[n]
	}
	if r.held.off = r.held.off || len(r.merged) > 0; r.held.off {
		r.held = held{off: true}
	}
	n := newNeeds()
	r.guard.stale, r.guard.people, r.shapes = 0, [2][2]int{}, shapes{}
	_, err := r.again(ctx, func(place int, account *canonical.User) error {
		if !r.picks(place) {
			return nil
		}
		u, out := r.mapped(place, account)
		if out != nil {
			return nil
		}
		s, err := r.standing(ctx, place, &u)
		if err == nil && s != settled {
			r.weigh(s, &u, n)
		}
		return err
	})
	r.needs = n.result()
	return err
}

// again gives every account that a run has to deal with and its place, and returns
// how many it left out because they are as the last run left them.
func (r *runner) again(ctx context.Context, use func(place int, account *canonical.User) error) (settled int, err error) {
	if !r.held.off {
		for i, place := range r.held.places {
			if err := use(place, &r.held.accounts[i]); err != nil {
				return 0, err
			}
		}
		return r.total - len(r.held.places), nil
	}
	n := 0
	return 0, r.src.Accounts(ctx, func(users []canonical.User) error {
		for i := range users {
			if err := use(n, &users[i]); err != nil {
				return err
			}
			n++
		}
		return nil
	})
}
