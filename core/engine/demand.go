package engine

import (
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/internal/members"
	"github.com/stetl/stetl/core/pluginapi"
)

// demand is what a run will ask of a target, counted. Accounts can be taken out again:
// only when all have been seen is it known who does not get what it wants.
type demand struct {
	schemes                         map[canonical.Scheme]int
	providers, roles, tenants, keys names
	users, resets                   int
	withoutEmail, withoutName       int
	// changed counts accounts that were loaded and have changed since.
	changed int
	// people counts those that a run would create and who have an address, by whether
	// nobody has proven it and whether they need a new password.
	people [2][2]int
	hashes hashSamples
}

func newDemand() *demand {
	return &demand{schemes: map[canonical.Scheme]int{}, providers: names{}, roles: names{}, tenants: names{}, keys: names{}, hashes: hashSamples{}}
}

// names counts who has something of a name.
type names map[string]int

// mostNames bounds how many different names of one kind are remembered: metadata
// keys can be as many as users.
const mostNames = 10_000

func (m names) count(name string, n int) {
	if _, ok := m[name]; ok || n > 0 && len(m) < mostNames {
		m[name] += n
	}
}

// counts are the names that somebody has, nil when nobody has any.
func (m names) counts() map[string]int {
	var out map[string]int
	for name, n := range m {
		if n > 0 {
			if out == nil {
				out = map[string]int{}
			}
			out[name] = n
		}
	}
	return out
}

func known[K ~string](m map[K]int) []K {
	var all []K
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if m[name] > 0 {
			all = append(all, name)
		}
	}
	return all
}

// add counts an account of this status, take takes it out again.
func (d *demand) add(s status, u *pluginapi.User)  { d.count(s, u, 1) }
func (d *demand) take(s status, u *pluginapi.User) { d.count(s, u, -1) }

func (d *demand) count(s status, u *pluginapi.User, n int) {
	for _, id := range u.Identities {
		d.providers.count(id.Provider, n) // who can sign in matters for everybody
	}
	if s == statusUnchanged { // nothing else is asked about it
		return
	}
	d.users += n
	if u.Class == pluginapi.NeedsReset {
		d.resets += n
	}
	if !u.Password.IsZero() {
		d.schemes[u.Password.Scheme] += n
		if s != statusFailed { // else it was proven when an earlier run could not load it
			d.hashes.count(&u.Password, n)
		}
	}
	if u.Email == "" {
		d.withoutEmail += n
	}
	if u.GivenName == "" || u.FamilyName == "" {
		d.withoutName += n
	}
	if s == statusChanged {
		d.changed += n
	} else {
		d.mail(u, n)
	}
	d.name(u, n)
}

// name counts what of an account has names.
func (d *demand) name(u *pluginapi.User, n int) {
	for _, tenant := range u.Tenants {
		d.tenants.count(tenant, n)
	}
	seen := map[string]bool{} // somebody may have a role in several tenants
	for _, roles := range u.Roles {
		for _, role := range roles {
			if !seen[role] {
				seen[role] = true
				d.roles.count(role, n)
			}
		}
	}
	for key := range members.Of(u.Metadata) {
		d.keys.count(key, n)
	}
}

// mail counts somebody whose account would be created.
func (d *demand) mail(u *pluginapi.User, n int) {
	if u.Email == "" {
		return
	}
	unverified, reset := 0, 0
	if u.EmailVerified == nil || !*u.EmailVerified {
		unverified = 1
	}
	if u.Class == pluginapi.NeedsReset {
		reset = 1
	}
	d.people[unverified][reset] += n
}

// mailed is how many people a target mails at most that does these mailings.
func (d *demand) mailed(mails []pluginapi.Mailing) (people int) {
	for unverified, byReset := range d.people {
		for reset, n := range byReset {
			if slices.Contains(mails, pluginapi.MailsCreated) || unverified > 0 && slices.Contains(mails, pluginapi.MailsUnverified) || reset > 0 && slices.Contains(mails, pluginapi.MailsReset) {
				people += n
			}
		}
	}
	return people
}

func (d *demand) needs() pluginapi.Needs {
	return pluginapi.Needs{
		Schemes: known(d.schemes), Providers: known(d.providers), Roles: known(d.roles), Tenants: known(d.tenants), MetadataKeys: known(d.keys),
		Users: d.users, Resets: d.resets, WithoutEmail: d.withoutEmail, WithoutName: d.withoutName,
		RoleUsers: d.roles.counts(), TenantUsers: d.tenants.counts(),
	}
}

// hashSamples has one example of every kind of hash that a run will send.
type hashSamples map[hashForm]*hashSample

type hashSample struct {
	hash canonical.PasswordHash
	n    int
}

// hashForm tells hashes apart like [canonical.PasswordHash.Shape], which takes longer.
type hashForm struct {
	scheme              canonical.Scheme
	variant             string
	cost                int
	argon2              canonical.Argon2Params
	memoryCost, rounds  int
	lengthOfUnknownHash int
}

// mostHashes bounds the kinds of hashes that are told apart.
const mostHashes = 100

func formOf(h *canonical.PasswordHash) hashForm {
	k := hashForm{scheme: h.Scheme, variant: h.Variant, cost: h.Cost}
	switch {
	case h.Argon2 != nil:
		k.argon2 = *h.Argon2
	case h.Firebase != nil:
		k.memoryCost, k.rounds = h.Firebase.MemoryCost, h.Firebase.Rounds
	case h.Scheme == canonical.UnknownScheme:
		k.lengthOfUnknownHash = len(h.Encode())
	}
	return k
}

func (m hashSamples) count(h *canonical.PasswordHash, n int) {
	form := formOf(h)
	s := m[form]
	if s == nil {
		if n < 0 || len(m) == mostHashes {
			return
		}
		s = &hashSample{hash: *h}
		m[form] = s
	}
	s.n += n
}

// list returns the examples by their shape.
func (m hashSamples) list() []canonical.PasswordHash {
	var all []canonical.PasswordHash
	for _, s := range m {
		if s.n > 0 {
			all = append(all, s.hash)
		}
	}
	slices.SortFunc(all, func(a, b canonical.PasswordHash) int { return strings.Compare(a.Shape(), b.Shape()) })
	return all
}
