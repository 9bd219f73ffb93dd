package supertokensgen

import "slices"

// draw is a stream of random numbers that are looked up instead of taken in
// turn, so that each table's pass draws only what it needs.
type draw uint64

// of is the k-th number, by the finaliser of splitmix64.
func (d draw) of(k uint64) uint64 {
	x := uint64(d) + (k+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// below is the k-th number modulo n.
func (d draw) below(k, n uint64) uint64 { return d.of(k) % n }

// What an account's numbers are for.
const (
	forRecipe = iota
	forTenants
	forExternal
	forForced
	forLinked
	forThird
	forGhost
	forPrimary
	forMetadata
	forMetadataKind
	forRoles
	forRoleNames
	forTOTP
	forTOTPKind
	forTOTPPlace
	forActive
	forLogin // and up, one for each login
)

// What a login's numbers are for.
const (
	forIDHigh = iota
	forIDLow
	forJoined
	forMail
	forName
	forDomain
	forHash
	forContact
	forProvider
	forSubject
	forVerified
	forChanged
	forOwnRows
	forSecret // and up
)

type recipe uint8

const (
	emailPassword recipe = iota
	thirdParty
	passwordless
)

var recipeNames = [...]string{"emailpassword", "thirdparty", "passwordless"}

// tenantNames are the tenants from G3 on; an account's are a set of bits.
var tenantNames = [...]string{"public", "customer-a", "customer-b", "customer-c"}

// providers are the identity providers of third-party logins.
var providers = [...]string{"google", "github", "apple", "google-workspaces", "okta"}

// uuid is the random part of a version 4 UUID.
type uuid struct{ high, low uint64 }

// account is one account, small enough to be made again for each table.
type account struct {
	n    uint64
	draw draw
	// all are the logins, the one that gave the account its id first; a ghost
	// has lost that one.
	all     [3]login
	count   int
	ghost   bool
	primary bool
	tenants uint8
	// late accounts joined after the switch of core 12 to its new tables.
	late     bool
	external bool
	// forced says that the external id came when rows lay under the internal
	// one, where they stayed.
	forced   bool
	metadata bool
	roles    uint8
	totp     totpKind
	active   bool
}

// totpKind says which authenticator apps an account has.
type totpKind uint8

const (
	noTOTP totpKind = iota
	oneDevice
	secondUnfinished
	onlyUnfinished
)

type login struct {
	draw draw
	// number is unique in the database.
	number uint64
	recipe recipe
	id     uuid
	mail   mail
	phone  bool
	joined int64
	hash   *hashKind
	// provider is an index into providers.
	provider uint8
	// verified says that the address was proven, in whatever way the
	// generation and the account then recorded it.
	verified bool
	// changed logins had another address before.
	changed bool
	// ownRows says that metadata lies under this linked login's own id.
	ownRows bool
}

// mail is an address; equal ones have equal text.
type mail struct {
	form         mailForm
	number       uint64 // of the login that it was made for
	name, domain uint8
}

type mailForm uint8

const (
	noMail mailForm = iota
	plainMail
	mixedCaseMail
	fakeMail
)

// generator makes the accounts of one database.
type generator struct {
	Options
	seed draw
	// step is the time between two accounts, in milliseconds.
	step uint64
}

// The accounts join over five years.
const (
	firstJoined = 1577836800000 // 2020-01-01
	joiningTime = 5 * 365 * 24 * 3600 * 1000
)

func newGenerator(o Options) *generator {
	return &generator{Options: o, seed: draw(draw(o.Seed).of(0)), step: max(joiningTime/uint64(max(o.Accounts, 1)), 1)}
}

// fill makes the n-th account. Shares are in ten thousandths.
func (g *generator) fill(a *account, n uint64) {
	d := draw(g.seed.of(n))
	*a = account{n: n, draw: d, count: 1, tenants: 1}
	own := emailPassword
	switch share := d.below(forRecipe, 10); {
	case g.Generation.since(G2) && share == 9:
		own = passwordless
	case g.Generation.since(G1c) && share >= 7:
		own = thirdParty
	}
	g.login(a, 0, own)
	if g.Generation.since(G2) {
		a.external = d.below(forExternal, 10_000) < 500
		a.forced = a.external && d.below(forForced, 10) == 0
		a.metadata = d.below(forMetadata, 3) == 0
		if d.below(forRoles, 10) == 0 {
			a.roles = g.roles(d)
		}
		if d.below(forTOTP, 10_000) < 400 {
			a.totp = [...]totpKind{oneDevice, oneDevice, oneDevice, oneDevice, secondUnfinished, onlyUnfinished}[d.below(forTOTPKind, 6)]
		}
		a.active = d.below(forActive, 10) > 0
	}
	if g.Generation.since(G3) {
		switch share := d.below(forTenants, 1000); {
		case share < 3:
			a.tenants = 0
		case share < 153:
			a.tenants = uint8(1 + share%15)
		}
	}
	if g.Generation.since(G4) {
		g.link(a)
	}
	a.late = g.Generation.since(G5) && n >= uint64(g.Accounts)*9/10 //nolint:gosec // positive
}

// roles chooses one or two, rarely one that is not defined.
func (g *generator) roles(d draw) uint8 {
	r := d.of(forRoleNames)
	set := uint8(1)<<(r%4) | uint8(1)<<(r>>8%4)
	if g.Generation.since(G4) && r>>16%100 == 0 {
		set |= danglingRole
	}
	return set
}

// roleNames are the roles; only the last is not defined in the roles table.
var roleNames = [...]string{"admin", "editor", "viewer", "support", "beta-tester"}

const danglingRole = 1 << (len(roleNames) - 1)

// link adds logins to some accounts and takes the first from a few of these.
func (g *generator) link(a *account) {
	d := a.draw
	if d.below(forLinked, 10_000) >= 600 {
		a.primary = d.below(forPrimary, 100) == 0
		return
	}
	a.primary = true
	second := thirdParty
	if d.below(forLinked, 7) == 0 {
		second = emailPassword
	}
	g.login(a, 1, second)
	if own := a.all[0].mail; second == thirdParty && own.form == plainMail {
		a.all[1].mail = own
	}
	a.count = 2
	if d.below(forThird, 10) == 0 {
		g.login(a, 2, passwordless)
		a.count = 3
	}
	for i := 1; i < a.count; i++ {
		a.all[i].ownRows = a.all[i].draw.below(forOwnRows, 100) == 0
	}
	a.ghost = d.below(forGhost, 50) == 0
}

// logins are those that still exist.
func (a *account) logins() []login {
	if a.ghost {
		return a.all[1:a.count]
	}
	return a.all[:a.count]
}

func (g *generator) login(a *account, i uint64, r recipe) {
	d := draw(a.draw.of(forLogin + i))
	l, number := &a.all[i], a.n*uint64(len(a.all))+i
	*l = login{
		draw: d, number: number, recipe: r, id: uuid{d.of(forIDHigh), d.of(forIDLow)}, verified: d.below(forVerified, 10) < 8,
		mail: mail{plainMail, number, uint8(d.below(forName, 256)), uint8(d.below(forDomain, 256))}, //nolint:gosec // a byte
	}
	l.joined = firstJoined + int64(a.n*g.step+d.below(forJoined, g.step)) //nolint:gosec // five years
	if i > 0 {
		l.joined += int64(d.below(forJoined, 30*24*3600*1000)) //nolint:gosec // a month
	}
	share := d.below(forMail, 10_000)
	if g.Generation != G5 && share >= 9995 {
		l.joined = 0 // upgraded databases carry zeros; core 12 takes them for unfinished work
	}
	switch r {
	case emailPassword:
		l.hash = g.hashKind(d)
		l.changed = d.below(forChanged, 200) == 0
		if share < 50 {
			l.mail.form = mixedCaseMail
		}
	case thirdParty:
		l.provider = uint8(d.below(forProvider, uint64(len(providers)))) //nolint:gosec // a short list
		switch {
		case share < 200:
			l.mail = mail{form: fakeMail}
		case share < 400 && i == 0 && a.n > 0:
			g.share(a)
		}
	case passwordless:
		switch d.below(forContact, 10) {
		case 0:
			l.phone = true
		case 1, 2, 3:
			l.phone, l.mail = true, mail{}
		}
	}
}

// share gives a third-party login the address of the account before, if that
// one signs in with it and a password: one person, twice.
func (g *generator) share(a *account) {
	if before := g.ownPasswordMail(a.n - 1); before.form == plainMail {
		a.all[0].mail = before
	}
}

func (g *generator) ownPasswordMail(n uint64) mail {
	var a account
	g.fill(&a, n)
	if a.ghost || a.all[0].recipe != emailPassword {
		return mail{}
	}
	return a.all[0].mail
}

// shared reports whether the account has the address of the one before.
func (a *account) shared() bool {
	return slices.ContainsFunc(a.logins(), func(l login) bool {
		return l.mail.form == plainMail && l.mail.number/uint64(len(a.all)) != a.n
	})
}
