package engine

import (
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/internal/duplicates"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// identityKeys tell identities apart as the target does.
type identityKeys struct {
	hasher          duplicates.Hasher
	folds, inTenant bool
}

// each gives the keys of one identity of an account: one, or one for each tenant.
func (k *identityKeys) each(u *pluginapi.User, i *pluginapi.Identity, use func(key uint64) error) error {
	subject := i.Subject
	if k.folds {
		subject = strings.ToLower(subject)
	}
	if !k.inTenant || len(u.Tenants) == 0 {
		return use(k.hasher.Of(i.Provider, subject))
	}
	for _, tenant := range u.Tenants {
		if err := use(k.hasher.Of(tenant, i.Provider, subject)); err != nil {
			return err
		}
	}
	return nil
}

// wantIdentities registers the identities of an account.
func (c *claims) wantIdentities(a duplicates.Account, u *pluginapi.User) error {
	for i := range u.Identities {
		err := c.keys.each(u, &u.Identities[i], func(key uint64) error { return c.wanted.AddHash(a, identity.bit(), key) })
		if err != nil {
			return err
		}
	}
	return nil
}

// awardIdentities gives identities to accounts, the better one first. Who is kept out of the
// target takes none from others: not for another identifier, and not for an identity that
// it has beside this one.
func awardIdentities(c *conflicts, groups []duplicates.Group, p policy.Choice) {
	var all []duplicates.Account
	wants := map[int][]int{} // groups, by place
	for n := range groups {
		for _, a := range groups[n].Accounts {
			if len(wants[a.Place]) == 0 {
				all = append(all, a)
			}
			wants[a.Place] = append(wants[a.Place], n)
		}
	}
	slices.SortFunc(all, better)
	holders := make([]*duplicates.Account, len(groups))
	for i := range all {
		a := &all[i]
		l := c.losers[a.Place]
		for _, n := range wants[a.Place] {
			if first := holders[n]; first != nil {
				l = c.loses(a.Place)
				l.loseIdentity(groups[n].Hash, first.Place)
				c.winners[first.Place] = winner{id: first.ID}
			}
		}
		if l != nil && l.lost[identity] != 0 && !l.out {
			l.apply(identity, p)
		}
		if l != nil && l.out && !l.link {
			continue
		}
		for _, n := range wants[a.Place] {
			if holders[n] == nil {
				holders[n] = a
			}
		}
	}
}

func (l *loser) loseIdentity(key uint64, to int) {
	if l.identities == nil {
		l.identities = map[uint64]int{}
	}
	l.identities[key] = to
	if l.lost[identity] == 0 {
		l.lost[identity] = to + 1
	}
}

// strays says that somebody else than the account at a place keeps one of the identities.
func (l *loser) strays(place int) bool {
	for _, keeper := range l.identities {
		if keeper != place {
			return true
		}
	}
	return false
}

// strip takes identities away from an account that others keep.
func (l *loser) strip(u *pluginapi.User, keys *identityKeys) {
	if len(l.identities) == 0 {
		return
	}
	u.Identities = slices.DeleteFunc(slices.Clone(u.Identities), func(i pluginapi.Identity) bool {
		lost := false
		_ = keys.each(u, &i, func(key uint64) error {
			_, others := l.identities[key]
			lost = lost || others
			return nil
		})
		return lost
	})
}

// further names those who keep other identities of an account.
func further(c *conflicts, l *loser) string {
	keepers := slices.Compact(slices.Sorted(maps.Values(l.identities)))
	var ids []string
	for _, place := range keepers {
		if place != l.winner() {
			ids = append(ids, c.winners[place].id)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	return "; of further identities: " + strings.Join(ids, ", ")
}
