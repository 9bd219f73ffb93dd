package engine

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"

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
	losers  map[int32]loss
	winners map[int32]string
}

// want is one identifier of one account, by its hash.
type want struct {
	hash    uint64
	account int32
	kind    idKind
}

// claimant is what decides between accounts.
type claimant struct {
	joined  int64 // ms, math.MaxInt64 when unknown
	carried bool
}

// loss is the first identifier that an account does not get.
type loss struct {
	kind   idKind
	winner int32
}

type idKind uint8

// In the order in which they are reported.
const (
	idOfUser idKind = iota
	username
	email
)

var idKinds = map[idKind]struct {
	name string
	code diag.Code
}{
	idOfUser: {"id", diag.MapDuplicateID},
	username: {"username", diag.MapDuplicateUsername},
	email:    {"e-mail", diag.MapDuplicateEmail},
}

// claim registers the identifiers of the next account.
func (o *owners) claim(u *target.User, caps *target.Capabilities) {
	if len(o.accounts) == 0 {
		o.seed = maphash.MakeSeed()
	}
	n := int32(len(o.accounts)) //nolint:gosec // bounded by memory long before
	mine := claimant{joined: math.MaxInt64, carried: u.Class == target.HashCarried}
	if !u.Created.IsZero() {
		mine.joined = u.Created.UnixMilli()
	}
	o.accounts = append(o.accounts, mine)
	add := func(kind idKind, value string) {
		var h maphash.Hash
		h.SetSeed(o.seed)
		_ = h.WriteByte(byte(kind)) // a Hash does not fail
		_, _ = h.WriteString(value)
		o.wanted = append(o.wanted, want{hash: h.Sum64(), account: n, kind: kind})
	}
	add(idOfUser, u.ID)
	add(username, strings.ToLower(u.Username))
	if caps.UniqueEmail && u.Email != "" {
		add(email, strings.ToLower(u.Email))
	}
}

// settle decides. Claims may not follow.
func (o *owners) settle() {
	o.settled = true
	o.losers, o.winners = map[int32]loss{}, map[int32]string{}
	slices.SortFunc(o.wanted, func(a, b want) int { return cmp.Compare(a.hash, b.hash) })
	for i := 0; i < len(o.wanted); {
		end := i + 1
		for end < len(o.wanted) && o.wanted[end].hash == o.wanted[i].hash {
			end++
		}
		if same := o.wanted[i:end]; len(same) > 1 {
			winner := slices.MinFunc(same, func(a, b want) int { return o.compare(a.account, b.account) })
			o.winners[winner.account] = ""
			for _, w := range same {
				if have, lost := o.losers[w.account]; w.account != winner.account && (!lost || w.kind < have.kind) {
					o.losers[w.account] = loss{w.kind, winner.account}
				}
			}
		}
		i = end
	}
	o.wanted, o.accounts = nil, nil
}

// compare puts who keeps an identifier first.
func (o *owners) compare(a, b int32) int {
	x, y := o.accounts[a], o.accounts[b]
	if x.carried != y.carried {
		if x.carried {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(x.joined, y.joined), cmp.Compare(a, b))
}

// see returns the identifier that the n-th account does not get, if any, and
// remembers the source id of one that others lose to.
func (o *owners) see(n int, sourceID string) (loss, bool) {
	k := int32(n) //nolint:gosec // as in claim
	if _, ok := o.winners[k]; ok {
		o.winners[k] = sourceID
	}
	l, lost := o.losers[k]
	return l, lost
}

// reject is the outcome of an account that lost. It is complete once every
// account has been seen.
func (o *owners) reject(sourceID string, l loss) target.Outcome {
	kind := idKinds[l.kind]
	return target.Outcome{
		SourceID: sourceID, Action: target.Rejected, Code: kind.code,
		Detail: fmt.Sprintf("another account wants the same %s, and the target allows one: %s", kind.name, o.winners[l.winner]),
		Hint:   "link or merge the two accounts in SuperTokens, or change one of them, and run again",
	}
}
