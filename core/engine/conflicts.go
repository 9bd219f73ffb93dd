package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/duplicates"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

type idKind uint8

// In the order in which they are reported.
const (
	idOfUser idKind = iota
	username
	email
	identity
	idKindCount
)

func (k idKind) bit() duplicates.Kind { return 1 << k }

var idKinds = [idKindCount]struct {
	name       string
	code       diag.Code
	identifier pluginapi.Identifier
	loss       mapping.Loss // where the policies let the account do without
}{
	idOfUser: {"id", diag.MapDuplicateID, pluginapi.IdentifierID, mapping.LossExternalID},
	username: {"username", diag.MapDuplicateUsername, pluginapi.IdentifierUsername, mapping.LossUsername},
	email:    {"e-mail", diag.MapDuplicateEmail, pluginapi.IdentifierEmail, mapping.LossEmail},
	identity: {"social identity", diag.MapDuplicateIdentity, pluginapi.IdentifierIdentity, mapping.LossIdentity},
}

func policyFor(c policy.Collision, k idKind) policy.Choice {
	switch k {
	case idOfUser:
		return c.ID
	case username:
		return c.Username
	case email:
		return c.Email
	default:
		return c.Identity
	}
}

// claims finds identifiers that must be unique in the target and that several accounts
// want. In memory are those alone.
type claims struct {
	// folds says of which identifiers the target takes letter case for nothing, and
	// uniqueEmail whether an address is one at all.
	folds       [idKindCount]bool
	uniqueEmail bool
	noUsernames bool // the target has none, so nobody can want the same
	// inTenant says of which identifiers two accounts without a common tenant may have the
	// same.
	inTenant [idKindCount]bool
	// identities says that no two accounts may have the same identity.
	identities bool
	keys       identityKeys
	wanted     duplicates.Finder
}

func newClaims(caps *pluginapi.Capabilities) *claims {
	c := &claims{uniqueEmail: caps.UniqueEmail, noUsernames: caps.NoUsernames}
	for kind := range c.folds {
		c.folds[kind] = caps.Folds(idKinds[kind].identifier)
		c.inTenant[kind] = slices.Contains(caps.UniqueInTenant, idKinds[kind].identifier)
	}
	c.identities = caps.UniqueIdentities && caps.Has(pluginapi.CarriesIdentities)
	// An account that is sent without its tenants is compared without them.
	c.keys = identityKeys{c.wanted.Hasher(), c.folds[identity], c.inTenant[identity] && caps.Has(pluginapi.CarriesTenants)}
	return c
}

const (
	unknownTime = 1 << 60
	withoutHash = 1 << 61
)

// rank is lower for who keeps an identifier: the time of joining in ms, beyond all
// times when it is unknown, and all of that higher without a password that will work.
func rank(u *pluginapi.User) int64 {
	rank := int64(unknownTime)
	if !u.Created.IsZero() {
		rank = u.Created.UnixMilli()
	}
	if u.Class != pluginapi.HashCarried {
		rank += withoutHash
	}
	return rank
}

// add registers the identifiers of the account at a place, which comes after those
// of all that were added.
func (c *claims) add(place int, u *pluginapi.User) error {
	a := duplicates.Account{Place: place, ID: u.SourceID, Rank: rank(u)}
	folded := func(kind idKind, value string) string {
		if c.folds[kind] {
			return strings.ToLower(value)
		}
		return value
	}
	err := c.wanted.Add(a, idOfUser.bit(), folded(idOfUser, u.ID))
	name, address := folded(username, u.Username), ""
	switch {
	case !c.uniqueEmail:
	case u.Email == u.Username && c.folds[email] == c.folds[username]: // as nearly always
		address = name
	default:
		address = folded(email, u.Email)
	}
	both := !c.noUsernames && address == name && address != "" && c.inTenant[username] == c.inTenant[email]
	switch {
	case err != nil || c.noUsernames:
	case both:
		err = c.want(a, u, username.bit()|email.bit(), name)
	default:
		err = c.want(a, u, username.bit(), name)
	}
	if err == nil && !both && address != "" {
		err = c.want(a, u, email.bit(), address)
	}
	if c.identities && len(u.Identities) > 0 && err == nil {
		err = c.wantIdentities(a, u)
	}
	return err
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

// want registers a value: once, or once for each tenant of the account.
func (c *claims) want(a duplicates.Account, u *pluginapi.User, kinds duplicates.Kind, value string) error {
	one := idKind(bits.TrailingZeros8(uint8(kinds))) //nolint:gosec // one of few
	if !c.inTenant[one] || len(u.Tenants) == 0 {
		return c.wanted.Add(a, kinds, value)
	}
	for _, tenant := range u.Tenants {
		if err := c.wanted.Add(a, kinds, tenant+"\x00"+value); err != nil {
			return err
		}
	}
	return nil
}

// groups returns the accounts that want the same, and ends the claims.
func (c *claims) groups() (_ []duplicates.Group, err error) {
	defer func() { err = errors.Join(err, c.wanted.Close()) }()
	return c.wanted.Groups()
}

func (c *claims) close() error { return c.wanted.Close() }

// conflicts are the identifiers that several accounts want, and what becomes of those
// accounts. The account whose old password will work wins, then the older one, then
// the one that comes first: the choice depends on the data alone.
type conflicts struct {
	// losers and winners are by place.
	losers  map[int]*loser
	winners map[int]winner
	// guests are accounts that are made one with another, by the place of that one.
	guests map[int][]pluginapi.User
	// candidates are both sides of such links, until it is decided.
	candidates map[int]linkable
	hosts      map[int]bool
	keys       identityKeys
}

// winner is an account that keeps an identifier. Where people sign in to it is not
// known when it did not come by.
type winner struct {
	id, where string
}

// loser is an account that does not get all of its identifiers.
type loser struct {
	// lost holds who keeps the identifier instead, by kind, counted from 1; 0 means
	// that the account has it.
	lost [idKindCount]int
	// identities are those that it does not get. Of their winners, lost has the first.
	identities identityWinners
	// What the policies make of it: kept out of the target by one of kind, or made one
	// with an account, or changed.
	out    bool
	kind   idKind
	action pluginapi.Action
	link   bool
	// where says how and in which tenants people sign in to it.
	where string
}

// winner is the place of the account that keeps what this one is kept out by.
func (l *loser) winner() int { return l.lost[l.kind] - 1 }

// linkable is an account that may be made one with another.
type linkable struct {
	user   pluginapi.User
	proven bool
}

// decide says who keeps what, and what the policies make of the others. Links are to be
// decided afterwards, as they depend on more than identifiers.
func decide(groups []duplicates.Group, policies policy.Collision, keys identityKeys) *conflicts {
	c := &conflicts{
		losers: map[int]*loser{}, winners: map[int]winner{}, guests: map[int][]pluginapi.User{}, candidates: map[int]linkable{}, hosts: map[int]bool{}, keys: keys,
	}
	var identities []duplicates.Group
	for i := range groups {
		if groups[i].Kind == identity.bit() {
			identities = append(identities, groups[i])
		} else {
			c.award(&groups[i])
		}
	}
	for _, l := range c.losers {
		for kind := range identity {
			if l.lost[kind] != 0 && !l.out {
				l.apply(kind, policyFor(policies, kind))
			}
		}
	}
	awardIdentities(c, identities, policies.Identity)
	for place, l := range c.losers {
		if l.link {
			c.hosts[l.winner()] = true
		}
		if l.lost == [idKindCount]int{} {
			delete(c.losers, place)
		}
	}
	return c
}

// award says who of those who want the same gets it.
func (c *conflicts) award(g *duplicates.Group) {
	first := slices.MinFunc(g.Accounts, better)
	c.winners[first.Place] = winner{id: first.ID}
	kind := idKind(bits.TrailingZeros8(uint8(g.Kind))) //nolint:gosec // one of few
	for _, a := range g.Accounts {
		if a.Place != first.Place {
			c.loses(a.Place).lost[kind] = first.Place + 1
		}
	}
}

// loses is what is known of an account that does not get something.
func (c *conflicts) loses(place int) *loser {
	l := c.losers[place]
	if l == nil {
		l = &loser{}
		c.losers[place] = l
	}
	return l
}

// awardIdentities gives identities to accounts, the better one first. Who is kept out of the
// target takes none from others: not for another identifier, and not for an identity that
// it has beside this one.
func awardIdentities(c *conflicts, groups []duplicates.Group, p policy.Choice) {
	all, wants := contenders(groups)
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
		l.identities = identityWinners{}
	}
	l.identities[key] = to
	if l.lost[identity] == 0 {
		l.lost[identity] = to + 1
	}
}

// apply does what a policy says about the loss of an identifier.
func (l *loser) apply(kind idKind, p policy.Choice) {
	switch {
	case p == policy.Allow && kind == email:
		l.lost[kind] = 0
	case p == policy.Link && kind == identity && l.identities.beside(l.lost[identity]-1): // with whom is not clear
		l.out, l.kind, l.action = true, kind, pluginapi.Rejected
	case p == policy.Link && kind != idOfUser:
		l.out, l.link, l.kind, l.action = true, true, kind, pluginapi.Rejected
	case p == policy.Suffix && kind == username, p == policy.Drop && kind >= email, p == policy.Internal && kind == idOfUser:
	case p == policy.Skip:
		l.out, l.kind, l.action = true, kind, pluginapi.Skipped
	default:
		l.out, l.kind, l.action = true, kind, pluginapi.Rejected
	}
}

// none says that everybody gets what it wants.
func (c *conflicts) none() bool { return len(c.losers) == 0 }

// party says whether an account has a part in a conflict.
func (c *conflicts) party(place int) bool {
	_, wins := c.winners[place]
	return wins || c.losers[place] != nil
}

// meet takes note of an account that has a part in a conflict.
func (c *conflicts) meet(it *item) {
	l := c.losers[it.place]
	if w, ok := c.winners[it.place]; ok {
		c.winners[it.place] = winner{w.id, string(it.where)}
	}
	if l != nil {
		l.where = string(it.where)
	}
	if l != nil && l.link || l == nil && c.hosts[it.place] {
		c.candidates[it.place] = linkable{it.user, it.proven}
	}
}

// missing are accounts that have to be met and were not. Of who is not chosen, what
// counts is only what becomes of those who are.
func (c *conflicts) missing(met, chosen func(place int) bool) places {
	var all places
	need := func(place int) {
		if !met(place) {
			all.add(place)
		}
	}
	for place, l := range c.losers {
		guest := l.link && chosen(l.winner())
		if chosen(place) || guest {
			need(place)
		}
		if l.link && (chosen(place) || guest) {
			need(l.winner())
		}
		// Where somebody signs in who is not chosen is known from nowhere else. Of others
		// who did not come by it is not worth a reading.
		if l.out && chosen(place) && !chosen(l.winner()) {
			need(l.winner())
		}
	}
	return all
}

// link decides which accounts are made one. Both must have proven the same address: else
// whoever registers with the address of somebody else would get into that account.
func (c *conflicts) link() {
	for _, place := range slices.Sorted(maps.Keys(c.candidates)) { // the same order every time
		l := c.losers[place]
		if l == nil {
			continue
		}
		host, ok := c.candidates[l.winner()]
		guest := c.candidates[place]
		if l.link = ok && c.losers[l.winner()] == nil && same(&host, &guest); l.link {
			l.identities.strip(&guest.user, &c.keys)
			c.guests[l.winner()] = append(c.guests[l.winner()], guest.user)
		}
	}
	for place, l := range c.losers {
		if _, met := c.candidates[place]; !met {
			l.link = false // it is none of this run's business
		}
	}
	c.candidates = nil
}

func same(a, b *linkable) bool {
	return a.proven && b.proven && a.user.Email != "" && strings.EqualFold(a.user.Email, b.user.Email)
}

// changes says whether the account at a place becomes another one than it wants to be.
func (c *conflicts) changes(place int) bool {
	return c.losers[place] != nil || len(c.guests[place]) > 0
}

// resolve makes of u, the account at a place, what it becomes in the target, or returns
// why it is kept out.
func (c *conflicts) resolve(place int, u *pluginapi.User) *loser {
	for _, guest := range c.guests[place] {
		pluginapi.Merge(u, &guest)
	}
	l := c.losers[place]
	switch {
	case l == nil:
		return nil
	case l.out:
		return l
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
	l.identities.strip(u, &c.keys)
	return nil
}

// suffix is the same for an account every time, whoever else comes and goes.
func suffix(sourceID string) string {
	sum := sha256.Sum256([]byte(sourceID))
	return "-" + hex.EncodeToString(sum[:4])
}

// losses counts what accounts that are chosen do without.
func (c *conflicts) losses(chosen func(place int) bool) map[mapping.Loss]int {
	all := map[mapping.Loss]int{}
	for place, l := range c.losers {
		for kind := range idKindCount {
			lost := l.lost[kind] != 0 && !l.out
			if kind == identity && l.link { // the other account gets the rest
				lost = l.identities.beside(l.winner())
			}
			if lost && chosen(place) {
				all[idKinds[kind].loss]++
			}
		}
	}
	return all
}

// outcome is that of an account that is kept out.
func (c *conflicts) outcome(sourceID string, l *loser) pluginapi.Outcome {
	kind, first := idKinds[l.kind], c.winners[l.winner()]
	if l.link {
		return pluginapi.Outcome{
			SourceID: sourceID, Action: pluginapi.Skipped, Code: diag.MapLinked, Detail: "merged with account " + first.id + ", which has the same verified e-mail address",
		}
	}
	detail := fmt.Sprintf("another account wants the same %s, and the target allows one: %s", kind.name, first.id) + apart(first.where, l.where)
	if l.kind == identity {
		detail += further(c, l)
	}
	return pluginapi.Outcome{
		SourceID: sourceID, Action: l.action, Code: kind.code, Detail: detail,
		Hint: "link or merge the two accounts in SuperTokens, change one of them, or set policies.collision",
	}
}

// further names those who keep other identities of an account.
func further(c *conflicts, l *loser) string {
	winners := slices.Compact(slices.Sorted(maps.Values(l.identities)))
	var ids []string
	for _, place := range winners {
		if place != l.winner() {
			ids = append(ids, c.winners[place].id)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	return "; of further identities: " + strings.Join(ids, ", ")
}

// apart says where two accounts are, if that tells them apart.
func apart(a, b string) string {
	if a == "" || a == b {
		return ""
	}
	return fmt.Sprintf(" (that one: %s; this one: %s)", a, b)
}
