package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/shared"
	"github.com/stetl/stetl/core/target"
)

// owners decides who keeps an identifier that must be unique in the target and
// that several accounts want. The account whose old password will work wins,
// then the older one, then the one that comes first: the choice depends on the
// data alone. It costs about 60 bytes an account until it is settled, and then
// as good as nothing, as few identifiers are wanted twice.
type owners struct {
	wanted shared.Finder
	ids    shared.IDs // the source ids
	// ranks are lower for who keeps an identifier: the time of joining in ms, beyond
	// all times when it is unknown, and all of that higher without a password that
	// will work.
	ranks shared.List[int64]
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

type idKind uint8

// In the order in which they are reported.
const (
	idOfUser idKind = iota
	username
	email
	idKindCount
)

func (k idKind) bit() shared.Kind { return 1 << k }

var idKinds = map[idKind]struct {
	name       string
	code       diag.Code
	identifier target.Identifier
}{
	idOfUser: {"id", diag.MapDuplicateID, target.IdentifierID},
	username: {"username", diag.MapDuplicateUsername, target.IdentifierUsername},
	email:    {"e-mail", diag.MapDuplicateEmail, target.IdentifierEmail},
}

// pass notes that the next account is left aside and claims nothing.
func (o *owners) pass() {
	o.ids.Add(uuid.Nil.String())
	o.ranks.Add(0)
}

// claim registers the identifiers of the next account.
func (o *owners) claim(u *target.User, caps *target.Capabilities) {
	place, rank := o.ranks.Len(), int64(unknownTime)
	if !u.Created.IsZero() {
		rank = u.Created.UnixMilli()
	}
	if u.Class != target.HashCarried {
		rank += withoutHash
	}
	o.ids.Add(u.SourceID)
	o.ranks.Add(rank)
	folded := func(kind idKind, value string) string {
		if caps.Folds(idKinds[kind].identifier) {
			return strings.ToLower(value)
		}
		return value
	}
	o.wanted.Add(place, idOfUser.bit(), folded(idOfUser, u.ID))
	name, address := folded(username, u.Username), ""
	if caps.UniqueEmail {
		address = folded(email, u.Email)
	}
	switch address {
	case "":
		o.wanted.Add(place, username.bit(), name)
	case name:
		o.wanted.Add(place, username.bit()|email.bit(), name)
	default:
		o.wanted.Add(place, username.bit(), name)
		o.wanted.Add(place, email.bit(), address)
	}
}

// settle decides. Claims may not follow.
func (o *owners) settle() {
	o.losers, o.winners = map[int]*loser{}, map[int]keeper{}
	for _, g := range o.wanted.Groups() {
		winner := slices.MinFunc(g.Places, o.compare)
		o.winners[winner] = keeper{id: o.ids.At(winner)}
		for _, place := range g.Places {
			if place == winner {
				continue
			}
			if o.losers[place] == nil {
				o.losers[place] = &loser{}
			}
			for kind := range idKindCount {
				if g.Kind == kind.bit() {
					o.losers[place].lost[kind] = winner + 1
				}
			}
		}
	}
	o.wanted, o.ids, o.ranks = shared.Finder{}, shared.IDs{}, shared.List[int64]{}
}

// compare puts who keeps an identifier first.
func (o *owners) compare(a, b int) int {
	return cmp.Or(cmp.Compare(o.ranks.At(a), o.ranks.At(b)), cmp.Compare(a, b))
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
	winner := o.winners[l.lost[l.kind]-1]
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
