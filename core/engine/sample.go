package engine

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
)

// How a sample is made. Accounts are of kinds, and most are of several. From every
// kind, the few accounts are kept whose ids have the lowest checksums, and of all
// accounts as many as are wanted. In the end those are taken first that show most kinds
// nobody has shown yet, until every kind is there once, then twice, then three times,
// as far as the number goes; the rest are those with the lowest checksums. Nothing
// depends on chance or on the order of reading, a sample of more holds every sample of
// fewer, and an account that comes or goes in the source changes little.
const (
	// perKind is how many accounts are kept of a kind, and so how often it is
	// represented for its own sake.
	perKind = 3
	// mostKinds bounds the kinds of each rank, which are of the users' making: roles can
	// be as many as accounts. Those met later are represented as it happens.
	mostKinds = 500
)

// kind is something that accounts have in common.
type kind struct{ what, name string }

// byName are kinds that differ in a name only: they come after all that differ in what
// a target has to be able to do.
func (k kind) byName() bool {
	return k.what == kindProvider || k.what == kindRole || k.what == kindTenant
}

const (
	kindRecipe   = "recipe"
	kindHash     = "hash"
	kindWarning  = "warning"
	kindProvider = "provider"
	kindRole     = "role"
	kindTenant   = "tenant"
)

// kindsOf appends the kinds of an account to all.
func kindsOf(all []kind, u *canonical.User) []kind {
	k := kinds(all)
	k.logins(u)
	tenants := u.Tenants()
	k.add(len(u.Logins) > 1, "linked", "")
	k.add(u.Primary && len(u.Logins) == 1, "primary alone", "")
	k.add(u.GhostPrimary, "ghost primary", "")
	k.add(u.ID != u.InternalID, "external id", "")
	k.add(len(tenants) == 0, "tenants", "none")
	k.add(len(tenants) > 1, "tenants", "several")
	k.add(len(u.Roles) > 0, "roles", "")
	k.add(u.Metadata != nil, "metadata", "")
	k.add(!canonical.Known(u.TimeJoined), "joined", "unknown")
	for i := range u.TOTPDevices {
		k.add(u.TOTPDevices[i].Verified, "authenticator", "in use")
		k.add(!u.TOTPDevices[i].Verified, "authenticator", "unfinished")
	}
	for i := range u.Warnings {
		k.add(true, kindWarning, u.Warnings[i].Code)
	}
	for _, tenant := range slices.Sorted(maps.Keys(u.Roles)) { // the same order every time
		for _, role := range u.Roles[tenant] {
			k.add(true, kindRole, role)
		}
	}
	return k
}

// kinds are those of one account.
type kinds []kind

func (k *kinds) add(is bool, what, name string) {
	if is && !slices.Contains(*k, kind{what, name}) {
		*k = append(*k, kind{what, name})
	}
}

// logins adds the kinds that come of the ways to sign in.
func (k *kinds) logins(u *canonical.User) {
	passwords, addresses, phones := 0, 0, 0
	for i := range u.Logins {
		l := &u.Logins[i]
		k.add(true, kindRecipe, string(l.Recipe))
		if !l.Password.IsZero() {
			passwords++
			k.add(true, kindHash, hashKind(l.Password))
		}
		if l.Email != nil && !l.FakeEmail {
			addresses++
			k.add(l.Verified == nil, "address", "never asked about")
			k.add(l.Verified != nil && *l.Verified, "address", "verified")
			k.add(l.Verified != nil && !*l.Verified, "address", "unverified")
		}
		if l.Phone != nil {
			phones++
		}
		k.add(l.FakeEmail, "address", "made up")
		k.add(len(l.Passkeys) > 0, "passkeys", "")
		if l.Identity != nil {
			k.add(true, kindProvider, l.Identity.Provider)
		}
		for _, t := range l.Tenants {
			k.add(true, kindTenant, t)
		}
	}
	k.add(passwords == 0, "passwords", "none")
	k.add(passwords > 1, "passwords", "several")
	k.add(addresses == 0, "address", "none")
	k.add(addresses > 1, "address", "several")
	k.add(phones > 0, "phone", "")
}

// hashKind is the shape of a hash, as far as shapes are few.
func hashKind(h canonical.PasswordHash) string {
	if h.Scheme == canonical.UnknownScheme {
		return string(h.Scheme)
	}
	return h.Shape()
}

// candidate is an account that may get into the sample.
type candidate struct {
	rank  uint64
	id    string
	kinds []int // its places in sampler.kinds
}

// before is the order of candidates, which has nothing to do with who they are.
func (c *candidate) before(o *candidate) int {
	return cmp.Or(cmp.Compare(c.rank, o.rank), cmp.Compare(c.id, o.id))
}

// group holds the first candidates of a kind.
type group struct {
	kind
	first []*candidate
}

// sampler chooses accounts while they pass by. What it holds is bounded by the number
// that is wanted and by [mostKinds].
type sampler struct {
	wanted int
	places map[kind]int
	kinds  []group
	count  [2]int // of kinds by name, and of others
	rest   last

	scratch []kind
	at      []int
}

func newSampler(wanted int) *sampler {
	return &sampler{wanted: wanted, places: map[kind]int{}}
}

// see takes in one account.
func (s *sampler) see(u *canonical.User) {
	sum := sha256.Sum256([]byte(u.InternalID))
	c := candidate{rank: binary.BigEndian.Uint64(sum[:]), id: u.InternalID}
	s.scratch, s.at = kindsOf(s.scratch[:0], u), s.at[:0]
	for _, k := range s.scratch {
		if n, ok := s.place(k); ok {
			s.at = append(s.at, n)
		}
	}
	var kept *candidate
	copied := func() *candidate {
		if kept == nil { // the account itself may go
			kept = &candidate{c.rank, strings.Clone(c.id), slices.Clone(s.at)}
		}
		return kept
	}
	for _, n := range s.at {
		g := &s.kinds[n]
		if len(g.first) == perKind && g.first[perKind-1].before(&c) < 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(g.first, &c, (*candidate).before)
		if g.first = slices.Insert(g.first, at, copied()); len(g.first) > perKind {
			g.first = g.first[:perKind]
		}
	}
	if len(s.rest) < s.wanted {
		heap.Push(&s.rest, copied())
	} else if c.before(s.rest[0]) < 0 {
		s.rest[0] = copied()
		heap.Fix(&s.rest, 0)
	}
}

// place finds a kind, or makes a place for it as long as there are some.
func (s *sampler) place(k kind) (int, bool) {
	n, ok := s.places[k]
	if ok {
		return n, true
	}
	of := &s.count[0]
	if k.byName() {
		of = &s.count[1]
	}
	if *of == mostKinds {
		return 0, false
	}
	*of++
	k.name = strings.Clone(k.name)
	n = len(s.kinds)
	s.places[k], s.kinds = n, append(s.kinds, group{kind: k})
	return n, true
}

// pick returns the source ids of the sample.
func (s *sampler) pick() map[string]bool {
	var all []*candidate
	for i := range s.kinds {
		all = append(all, s.kinds[i].first...)
	}
	slices.SortFunc(all, (*candidate).before)
	all = slices.Compact(all)
	chosen, shown := map[string]bool{}, make([]int, len(s.kinds))
	for times := 1; times <= perKind; times++ {
		for len(chosen) < s.wanted {
			c := s.best(all, chosen, shown, times)
			if c == nil {
				break
			}
			chosen[c.id] = true
			for _, n := range c.kinds {
				shown[n]++
			}
		}
	}
	slices.SortFunc(s.rest, (*candidate).before)
	for _, c := range s.rest {
		if len(chosen) == s.wanted {
			break
		}
		chosen[c.id] = true
	}
	return chosen
}

// best is the candidate that shows most kinds that are not there so many times yet; nil
// when there is none.
func (s *sampler) best(all []*candidate, chosen map[string]bool, shown []int, times int) *candidate {
	var best *candidate
	var most [2]int
	for _, c := range all {
		if chosen[c.id] {
			continue
		}
		var gain [2]int
		for _, n := range c.kinds {
			if shown[n] >= times {
				continue
			}
			if s.kinds[n].byName() {
				gain[1]++
			} else {
				gain[0]++
			}
		}
		if slices.Compare(gain[:], most[:]) > 0 {
			best, most = c, gain
		}
	}
	return best
}

// last is a heap with the last candidate on top.
type last []*candidate

// Len implements [heap.Interface].
func (l last) Len() int { return len(l) }

// Less implements [heap.Interface].
func (l last) Less(i, j int) bool { return l[i].before(l[j]) > 0 }

// Swap implements [heap.Interface].
func (l last) Swap(i, j int) { l[i], l[j] = l[j], l[i] }

// Push implements [heap.Interface].
func (l *last) Push(c any) {
	if one, ok := c.(*candidate); ok {
		*l = append(*l, one)
	}
}

// Pop implements [heap.Interface].
func (l *last) Pop() any {
	n := len(*l) - 1
	c := (*l)[n]
	*l = (*l)[:n]
	return c
}
