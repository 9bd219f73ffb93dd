package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/shared"
	"github.com/stetl/stetl/core/target"
)

// owners decides who keeps an identifier that must be unique in the target and
// that several accounts want. The account whose old password will work wins,
// then the older one, then the one that comes first: the choice depends on the
// data alone. In memory are those identifiers only that are wanted twice.
type owners struct {
	// folds says of which identifiers the target takes letter case for nothing, and
	// uniqueEmail whether an address is one at all.
	folds       [idKindCount]bool
	uniqueEmail bool
	wanted      shared.Finder
	// losers says which identifier a later account does not get; winners holds those
	// who do. Both are by place.
	losers  map[int]*loser
	winners map[int]keeper
}

// keeper is an account that keeps an identifier. Where people sign in to it is not
// known when it did not come by.
type keeper struct {
	id, where string
}

const (
	unknownTime = 1 << 60
	withoutHash = 1 << 61
)

// loser is an account that does not get all of its identifiers.
type loser struct {
	// lost holds who keeps the identifier instead, by kind, counted from 1; 0 means
	// that the account has it.
	lost [idKindCount]int
	// What the policies make of it: kept out of the target by one of kind, or made one
	// with an account, or changed.
	out    bool
	kind   idKind
	action target.Action
	link   bool
	// where says how and in which tenants people sign in to it.
	where string
}

// keeper is the place of the account that keeps what this one is kept out by.
func (l *loser) keeper() int { return l.lost[l.kind] - 1 }

type idKind uint8

// In the order in which they are reported.
const (
	idOfUser idKind = iota
	username
	email
	idKindCount
)

func (k idKind) bit() shared.Kind { return 1 << k }

var idKinds = [idKindCount]struct {
	name       string
	code       diag.Code
	identifier target.Identifier
}{
	idOfUser: {"id", diag.MapDuplicateID, target.IdentifierID},
	username: {"username", diag.MapDuplicateUsername, target.IdentifierUsername},
	email:    {"e-mail", diag.MapDuplicateEmail, target.IdentifierEmail},
}

// rank is lower for who keeps an identifier: the time of joining in ms, beyond all
// times when it is unknown, and all of that higher without a password that will work.
func rank(u *target.User) int64 {
	rank := int64(unknownTime)
	if !u.Created.IsZero() {
		rank = u.Created.UnixMilli()
	}
	if u.Class != target.HashCarried {
		rank += withoutHash
	}
	return rank
}

func newOwners(caps *target.Capabilities) owners {
	o := owners{uniqueEmail: caps.UniqueEmail}
	for kind := range o.folds {
		o.folds[kind] = caps.Folds(idKinds[kind].identifier)
	}
	return o
}

// claim registers the identifiers of the account at a place, which comes after those
// of all that were claimed for.
func (o *owners) claim(place int, u *target.User) error {
	a := shared.Account{Place: place, ID: u.SourceID, Rank: rank(u)}
	folded := func(kind idKind, value string) string {
		if o.folds[kind] {
			return strings.ToLower(value)
		}
		return value
	}
	err := o.wanted.Add(a, idOfUser.bit(), folded(idOfUser, u.ID))
	name, address := folded(username, u.Username), ""
	switch {
	case !o.uniqueEmail:
	case u.Email == u.Username && o.folds[email] == o.folds[username]: // as nearly always
		address = name
	default:
		address = folded(email, u.Email)
	}
	kinds := username.bit()
	if address == name && address != "" {
		kinds |= email.bit()
	}
	if err == nil {
		err = o.wanted.Add(a, kinds, name)
	}
	if err == nil && address != name && address != "" {
		err = o.wanted.Add(a, email.bit(), address)
	}
	return err
}

// settle decides. Claims may not follow.
func (o *owners) settle() (err error) {
	defer func() { err = errors.Join(err, o.wanted.Close()) }()
	groups, err := o.wanted.Groups()
	o.losers, o.winners = map[int]*loser{}, map[int]keeper{}
	for _, g := range groups {
		winner := slices.MinFunc(g.Accounts, func(a, b shared.Account) int {
			return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Place, b.Place))
		})
		o.winners[winner.Place] = keeper{id: winner.ID}
		for _, a := range g.Accounts {
			if a.Place == winner.Place {
				continue
			}
			if o.losers[a.Place] == nil {
				o.losers[a.Place] = &loser{}
			}
			for kind := range idKindCount {
				if g.Kind == kind.bit() {
					o.losers[a.Place].lost[kind] = winner.Place + 1
				}
			}
		}
	}
	return err
}

// see returns what became of the n-th account, nil when it has all it wants, and
// remembers who others lose to.
func (o *owners) see(n int, account *canonical.User) *loser {
	if _, ok := o.winners[n]; ok {
		o.winners[n] = keeper{account.InternalID, where(account)}
	}
	l := o.losers[n]
	if l != nil {
		l.where = where(account)
	}
	return l
}

// apart says where two accounts are, if that tells them apart.
func apart(a, b string) string {
	if a == "" || a == b {
		return ""
	}
	return fmt.Sprintf(" (that one: %s; this one: %s)", a, b)
}

// where names the recipes and tenants of an account: the same address by two
// recipes, or in two tenants, is one person's more often than not.
func where(u *canonical.User) string {
	var recipes []string
	for i := range u.Logins {
		if r := string(u.Logins[i].Recipe); !slices.Contains(recipes, r) {
			recipes = append(recipes, r)
		}
	}
	slices.Sort(recipes)
	text := strings.Join(recipes, " and ")
	if tenants := u.Tenants(); len(tenants) > 0 {
		text += " in " + strings.Join(tenants, ", ")
	}
	return text
}

// reject is the outcome of an account that is kept out. It is complete once every
// account has been seen.
func (o *owners) reject(sourceID string, l *loser) target.Outcome {
	kind := idKinds[l.kind]
	winner := o.winners[l.keeper()]
	if l.link {
		return target.Outcome{
			SourceID: sourceID, Action: target.Skipped, Code: diag.MapLinked, Detail: "made one with account " + winner.id + ", which has the same verified e-mail address",
		}
	}
	return target.Outcome{
		SourceID: sourceID, Action: l.action, Code: kind.code,
		Detail: fmt.Sprintf("another account wants the same %s, and the target allows one: %s", kind.name, winner.id) + apart(winner.where, l.where),
		Hint:   "link or merge the two accounts in SuperTokens, change one of them, or say with policies.collision what should happen",
	}
}
