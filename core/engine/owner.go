package engine

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/target"
)

// owners decides who keeps an identifier that must be unique in the target and
// that several accounts want. The account whose old password will work wins,
// then the older one, then the one that comes first: the choice depends on the
// data alone. It costs about 50 bytes an account until it is settled, and then
// as good as nothing, as few identifiers are wanted twice.
type owners struct {
	seed     maphash.Seed
	wanted   []want
	accounts []claimant
	settled  bool
	// losers says which identifier a later account does not get; winners holds the
	// source ids of those who do, filled as they come by.
	losers  map[int32]*loser
	winners map[int32]keeper
	sources map[uint64]int32 // winners by the hash of their source id
}

// keeper is an account that keeps an identifier. Where people sign in to it is not
// known when it did not come by.
type keeper struct {
	id, where string
}

// want is one identifier of one account, by its hash.
type want struct {
	hash    uint64
	account int32
	kind    idKind
}

// claimant is what decides between accounts.
type claimant struct {
	// rank is lower for who keeps an identifier: the time of joining in ms, beyond
	// all times when it is unknown, and all of that higher without a password that
	// will work.
	rank   int64
	source uint64 // the hash of the source id
}

const (
	unknownTime = 1 << 60
	withoutHash = 1 << 61
)

// loser is an account that does not get all of its identifiers.
type loser struct {
	// lost holds who keeps the identifier instead, by kind, counted from 1; 0 means
	// that the account has it.
	lost [idKindCount]int32
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

var idKinds = map[idKind]struct {
	name       string
	code       diag.Code
	identifier target.Identifier
}{
	idOfUser: {"id", diag.MapDuplicateID, target.IdentifierID},
	username: {"username", diag.MapDuplicateUsername, target.IdentifierUsername},
	email:    {"e-mail", diag.MapDuplicateEmail, target.IdentifierEmail},
}

// expect makes room for about so many accounts: growing on the way would take twice
// the memory for a moment.
func (o *owners) expect(accounts int, caps *target.Capabilities) {
	kinds := 2
	if caps.UniqueEmail {
		kinds = 3
	}
	accounts += accounts / 64
	o.accounts, o.wanted = make([]claimant, 0, accounts), make([]want, 0, kinds*accounts)
}

// pass notes that the next account is left aside and claims nothing.
func (o *owners) pass() { o.claim(&target.User{}, &target.Capabilities{}) }

// claim registers the identifiers of the next account.
func (o *owners) claim(u *target.User, caps *target.Capabilities) {
	if len(o.accounts) == 0 {
		o.seed = maphash.MakeSeed()
	}
	n := int32(len(o.accounts)) //nolint:gosec // bounded by memory long before
	mine := claimant{rank: unknownTime, source: maphash.String(o.seed, u.SourceID)}
	if !u.Created.IsZero() {
		mine.rank = u.Created.UnixMilli()
	}
	if u.Class != target.HashCarried {
		mine.rank += withoutHash
	}
	o.accounts = append(o.accounts, mine)
	if u.SourceID == "" { // it wants nothing
		return
	}
	add := func(kind idKind, value string) {
		if caps.Folds(idKinds[kind].identifier) {
			value = strings.ToLower(value)
		}
		var h maphash.Hash
		h.SetSeed(o.seed)
		_ = h.WriteByte(byte(kind)) // a Hash does not fail
		_, _ = h.WriteString(value)
		o.wanted = append(o.wanted, want{hash: h.Sum64(), account: n, kind: kind})
	}
	add(idOfUser, u.ID)
	add(username, u.Username)
	if caps.UniqueEmail && u.Email != "" {
		add(email, u.Email)
	}
}

// settle decides. Claims may not follow.
func (o *owners) settle() {
	o.settled = true
	o.losers, o.winners, o.sources = map[int32]*loser{}, map[int32]keeper{}, map[uint64]int32{}
	slices.SortFunc(o.wanted, func(a, b want) int { return cmp.Compare(a.hash, b.hash) })
	for i := 0; i < len(o.wanted); {
		end := i + 1
		for end < len(o.wanted) && o.wanted[end].hash == o.wanted[i].hash {
			end++
		}
		if same := o.wanted[i:end]; len(same) > 1 {
			winner := slices.MinFunc(same, func(a, b want) int { return o.compare(a.account, b.account) })
			o.winners[winner.account] = keeper{}
			o.sources[o.accounts[winner.account].source] = winner.account
			for _, w := range same {
				if w.account == winner.account {
					continue
				}
				if o.losers[w.account] == nil {
					o.losers[w.account] = &loser{}
				}
				o.losers[w.account].lost[w.kind] = winner.account + 1
			}
		}
		i = end
	}
	o.wanted, o.accounts = nil, nil
}

// whose is the winner that has a source id.
func (o *owners) whose(sourceID string) (int32, bool) {
	n, ok := o.sources[maphash.String(o.seed, sourceID)]
	return n, ok
}

// compare puts who keeps an identifier first.
func (o *owners) compare(a, b int32) int {
	return cmp.Or(cmp.Compare(o.accounts[a].rank, o.accounts[b].rank), cmp.Compare(a, b))
}

// see returns what became of the n-th account, nil when it has all it wants, and
// remembers who others lose to.
func (o *owners) see(n int, account *canonical.User) *loser {
	k := int32(n) //nolint:gosec // as in claim
	if _, ok := o.winners[k]; ok {
		o.winners[k] = keeper{account.InternalID, where(account)}
	}
	l := o.losers[k]
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
