package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/target"
)

// Collision says, by identifier, what happens to an account that wants one which
// another account keeps. The zero value rejects.
type Collision struct {
	// ID: [mapping.Reject], [mapping.Skip], or [mapping.Internal] for the source's
	// internal id instead.
	ID mapping.Policy
	// Username: Reject, Skip, [mapping.Suffix] or [mapping.Link].
	Username mapping.Policy
	// Email: Reject, Skip, [mapping.Drop] for an account without address, Link, or
	// [mapping.Allow] where the target is set up to take an address twice.
	Email mapping.Policy
}

func (c Collision) of(k idKind) mapping.Policy {
	switch k {
	case idOfUser:
		return c.ID
	case username:
		return c.Username
	default:
		return c.Email
	}
}

// resolve applies the policies to accounts that lack an identifier. Only linking
// takes another look at the accounts.
func (r *runner) resolve(ctx context.Context) error {
	policies, linking := r.options.Policies.Collision, map[int]bool{}
	for _, l := range r.owners.losers {
		for kind := range idKindCount {
			if l.lost[kind] == 0 || l.out {
				continue
			}
			switch p := policies.of(kind); {
			case p == mapping.Allow && kind == email:
				l.lost[kind] = 0
			case p == mapping.Link && kind != idOfUser:
				l.out, l.link, l.kind, l.action = true, true, kind, target.Rejected
				linking[l.lost[kind]-1] = true
			case p == mapping.Suffix && kind == username, p == mapping.Drop && kind == email, p == mapping.Internal && kind == idOfUser:
			case p == mapping.Skip:
				l.out, l.kind, l.action = true, kind, target.Skipped
			default:
				l.out, l.kind, l.action = true, kind, target.Rejected
			}
		}
	}
	if len(linking) > 0 {
		if err := r.link(ctx, linking); err != nil {
			return err
		}
	}
	for n, l := range r.owners.losers {
		if l.out || !r.picks(n) {
			continue
		}
		for kind, loss := range map[idKind]mapping.Loss{idOfUser: mapping.LossExternalID, username: mapping.LossUsername, email: mapping.LossEmail} {
			if l.lost[kind] != 0 {
				r.result.Losses[loss]++
			}
		}
	}
	return nil
}

// link collects accounts that are to be made one with another. Both must have
// proven the same address: else whoever registers with the address of somebody
// else would get into that account.
func (r *runner) link(ctx context.Context, linking map[int]bool) error {
	homes, guests := map[int]target.User{}, map[int]target.User{}
	n := 0
	err := r.src.Accounts(ctx, func(users []canonical.User) error {
		for i := range users {
			l := r.owners.losers[n]
			if linking[n] || l != nil && l.link {
				var u target.User
				_, _ = r.options.Mapping.Into(&u, &users[i], &r.caps)
				if linking[n] && l == nil {
					homes[n] = u
				} else if l != nil {
					guests[n] = u
				}
			}
			n++
		}
		return nil
	})
	r.merged = map[int][]target.User{}
	for _, n := range slices.Sorted(maps.Keys(guests)) { // the same order every time
		l := r.owners.losers[n]
		at := l.keeper()
		home, ok := homes[at]
		if guest := guests[n]; ok && l.link && same(&home, &guest) {
			r.merged[at] = append(r.merged[at], guest)
			continue
		}
		l.link = false
	}
	return err
}

func same(a, b *target.User) bool {
	proven := func(u *target.User) bool { return u.Email != "" && u.EmailVerified != nil && *u.EmailVerified }
	return proven(a) && proven(b) && strings.EqualFold(a.Email, b.Email)
}

// mapped is what the n-th account becomes, with all policies applied, or why it
// is not sent. It is for readings after the survey.
func (r *runner) mapped(n int, account *canonical.User) (target.User, *aside) {
	var u target.User
	_, why := r.options.Mapping.Into(&u, account, &r.caps)
	ids := target.User{SourceID: u.SourceID, ID: u.ID, Class: u.Class}
	l := r.owners.see(n, account)
	switch {
	case why != nil:
		return u, &aside{user: ids, why: *why}
	case l == nil:
		for _, guest := range r.merged[n] {
			target.Merge(&u, &guest)
		}
		r.withheld.From(&u)
		return u, nil
	case l.out:
		return u, &aside{user: ids, lost: l}
	}
	if l.lost[idOfUser] != 0 {
		u.ID = u.SourceID
	}
	if l.lost[email] != 0 {
		u.Email, u.EmailVerified = "", nil
	}
	if l.lost[username] != 0 {
		u.Username += suffix(u.SourceID)
	}
	r.withheld.From(&u)
	return u, nil
}

// suffix is the same for an account every time, whoever else comes and goes.
func suffix(sourceID string) string {
	sum := sha256.Sum256([]byte(sourceID))
	return "-" + hex.EncodeToString(sum[:4])
}

// home is the target's id of the account that another was made one with.
func (r *runner) home(ctx context.Context, l *loser) string {
	if r.options.Journal == nil {
		return ""
	}
	e, ok, err := r.options.Journal.Get(ctx, r.owners.winners[l.keeper()].id)
	if err != nil || !ok {
		return ""
	}
	return e.TargetID
}
