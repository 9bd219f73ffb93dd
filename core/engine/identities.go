package engine

import (
	"cmp"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/internal/duplicates"
	"github.com/stetl/stetl/core/pluginapi"
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

// better says which of two accounts keeps what both want.
func better(a, b duplicates.Account) int {
	return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Place, b.Place))
}

// contenders are all accounts of the groups, the better one first, and the groups of each
// by its place.
func contenders(groups []duplicates.Group) (all []duplicates.Account, wants map[int][]int) {
	wants = map[int][]int{}
	for n := range groups {
		for _, a := range groups[n].Accounts {
			if len(wants[a.Place]) == 0 {
				all = append(all, a)
			}
			wants[a.Place] = append(wants[a.Place], n)
		}
	}
	slices.SortFunc(all, better)
	return all, wants
}

// identityWinners says, by their keys, at which places the accounts are that keep identities of
// another one: it has several, and can lose them to different ones.
type identityWinners map[uint64]int

// beside says that somebody else than the account at a place keeps one of them.
func (w identityWinners) beside(place int) bool {
	for _, winner := range w {
		if winner != place {
			return true
		}
	}
	return false
}

// strip takes the identities away from the account.
func (w identityWinners) strip(u *pluginapi.User, keys *identityKeys) {
	if len(w) == 0 {
		return
	}
	u.Identities = slices.DeleteFunc(slices.Clone(u.Identities), func(i pluginapi.Identity) bool {
		lost := false
		_ = keys.each(u, &i, func(key uint64) error {
			_, others := w[key]
			lost = lost || others
			return nil
		})
		return lost
	})
}
