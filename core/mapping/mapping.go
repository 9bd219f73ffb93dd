package mapping

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/internal/members"
	"github.com/stetl/stetl/core/pluginapi"
)

// Loss names a part of an account that the target will not hold: one of those below,
// or a [pluginapi.Feature] that the target does not declare.
type Loss string

// The losses that have other reasons than what a target declares.
const (
	LossFirstPassword  Loss = "password"        // needs a reset: the target cannot verify this hash
	LossOtherPassword  Loss = "other_password"  // the target holds one password, the account has more
	LossTOTPUnfinished Loss = "totp_unfinished" // never confirmed by its owner
	LossFakeEmail      Loss = "fake_email"      // made up by the source, never a contact
	LossExternalID     Loss = "external_id"     // too long or taken, so the internal one was taken
	LossUsername       Loss = "username"        // wanted by two accounts, so one got a suffix
	LossEmail          Loss = "email"           // wanted by two accounts, so one does without
	LossIdentity       Loss = "identity"        // wanted by two accounts, so one does without
)

// Undeclared is the feature that is lost because the target does not declare it;
// none where the loss has another reason.
func (l Loss) Undeclared() (pluginapi.Feature, bool) {
	f := pluginapi.Feature(l)
	return f, f.Lost() != ""
}

// Map returns the user the target should hold and what of the account it will
// not, without rules of the operator's. It is a pure function of the account and
// the target's capabilities.
func Map(u *canonical.User, caps pluginapi.Capabilities) (pluginapi.User, []Loss) {
	out, lost, _ := (*Rules)(nil).Map(u, caps)
	return out, lost
}

// usual makes out what it is without rules, before anything is withheld.
func usual(out *pluginapi.User, u *canonical.User, caps *pluginapi.Capabilities) losses {
	*out = pluginapi.User{} // and not a literal, which is made elsewhere and copied: users are large
	out.SourceID, out.ID, out.Enabled = u.InternalID, u.ID, true
	out.Created, out.LastActive = known(u.TimeJoined), known(u.LastActive)
	out.Tenants, out.Roles, out.Metadata = u.Tenants(), u.Roles, u.Metadata
	var lost losses
	contacts(out, u, &lost)
	names(out, u.Metadata)
	password(out, u, caps, &lost)
	factors(out, u, &lost)
	out.Username = username(out)
	return lost
}

type losses []Loss

func known(t time.Time) time.Time {
	if canonical.Known(t) {
		return t
	}
	return time.Time{}
}

func (l *losses) add(loss Loss) {
	if !slices.Contains(*l, loss) {
		*l = append(*l, loss)
	}
}

// contacts takes the address of the login that gave the account its id, else
// the first verified one, else the first. Addresses that the source made up are
// nobody's.
func contacts(out *pluginapi.User, u *canonical.User, lost *losses) {
	var best *canonical.Login
	emails := 0
	for i := range u.Logins {
		l := &u.Logins[i]
		if l.Phone != nil && out.Phone == "" {
			verified := true // a phone login proves the number
			out.Phone, out.PhoneVerified = *l.Phone, &verified
		}
		switch {
		case l.Email == nil:
		case l.FakeEmail:
			lost.add(LossFakeEmail)
		default:
			emails++
			if best == nil || preference(l, u) > preference(best, u) {
				best = l
			}
		}
	}
	if best == nil {
		return
	}
	out.Email, out.EmailVerified = *best.Email, best.Verified
	if emails == 1 {
		return
	}
	seen := map[string]bool{out.Email: true} // accounts of thousands of logins exist
	for i := range u.Logins {
		l := &u.Logins[i]
		if l.Email == nil || l.FakeEmail {
			continue
		}
		if *l.Email == out.Email { // one proof of the address is enough
			out.EmailVerified = either(out.EmailVerified, l.Verified)
		}
		if !seen[*l.Email] {
			seen[*l.Email] = true
			out.OtherEmails = append(out.OtherEmails, pluginapi.Address{Email: *l.Email, Verified: l.Verified})
		}
	}
}

func preference(l *canonical.Login, u *canonical.User) int {
	switch {
	case l.ID == u.InternalID:
		return 2
	case l.Verified != nil && *l.Verified:
		return 1
	default:
		return 0
	}
}

func either(a, b *bool) *bool {
	if a == nil || (b != nil && *b) {
		return b
	}
	return a
}

// nameKeys are the spellings in use: the dashboard's own, the one of
// SuperTokens' import examples, and OpenID Connect's.
var nameKeys = [...][2]string{{"first_name", "last_name"}, {"firstName", "lastName"}, {"given_name", "family_name"}}

// names reads the person's names from metadata. A single "name" is not taken
// apart: no rule for that is right everywhere.
func names(out *pluginapi.User, metadata json.RawMessage) {
	var found [len(nameKeys)][2]string
	for key, value := range members.Of(metadata) {
		for i, keys := range nameKeys {
			for n := range keys {
				if key == keys[n] {
					found[i][n] = str(value)
				}
			}
		}
	}
	for _, name := range found {
		if name != [2]string{} {
			out.GivenName, out.FamilyName = name[0], name[1]
			return
		}
	}
}

// str is the text that a JSON value is; anything but a string is not a name.
func str(raw string) string {
	if n := len(raw); n > 1 && raw[0] == '"' && !strings.Contains(raw, `\`) {
		return strings.Clone(raw[1 : n-1])
	}
	var s string
	_ = json.Unmarshal([]byte(raw), &s)
	return s
}

// password carries the hash of the account's own login. An account made by
// linking can have several; which one the person remembers is unknown, and the
// one under the account's own id is the one it began with.
func password(out *pluginapi.User, u *canonical.User, caps *pluginapi.Capabilities, lost *losses) {
	var first *canonical.Login
	passwords := 0
	for i := range u.Logins {
		l := &u.Logins[i]
		if l.Password.IsZero() {
			continue
		}
		passwords++
		if first == nil || l.ID == u.InternalID {
			first = l
		}
	}
	switch {
	case first == nil:
		out.Class = pluginapi.NoPassword
	case caps.Accepts(first.Password):
		out.Class, out.Password = pluginapi.HashCarried, first.Password
	default:
		out.Class = pluginapi.NeedsReset
		lost.add(LossFirstPassword)
	}
	if passwords > 1 {
		lost.add(LossOtherPassword)
	}
}

func factors(out *pluginapi.User, u *canonical.User, lost *losses) {
	for i := range u.Logins {
		l := &u.Logins[i]
		if l.Identity != nil {
			name := l.Identity.Subject
			if l.Email != nil && !l.FakeEmail {
				name = *l.Email
			}
			out.Identities = append(out.Identities, pluginapi.Identity{Provider: l.Identity.Provider, Subject: l.Identity.Subject, Name: name})
		}
		for i := range l.Passkeys {
			out.Passkeys = append(out.Passkeys, passkey(&l.Passkeys[i]))
		}
	}
	for _, d := range u.TOTPDevices {
		if d.Verified {
			out.TOTP = append(out.TOTP, d)
		} else {
			lost.add(LossTOTPUnfinished)
		}
	}
}

// passkey has no user handle and no name: SuperTokens keeps neither.
func passkey(k *canonical.Passkey) pluginapi.Passkey {
	out := pluginapi.Passkey{ID: k.ID, RelyingParty: k.RelyingParty, Attested: k.PublicKey, Counter: k.Counter, Created: known(k.Created)}
	_ = json.Unmarshal(k.Transports, &out.Transports) // a hint for browsers, which do without
	return out
}

// username is what people type today: their address, else their number, else
// the id, which at least is unique.
func username(out *pluginapi.User) string {
	switch {
	case out.Email != "":
		return out.Email
	case out.Phone != "":
		return out.Phone
	default:
		return out.ID
	}
}

// Withhold takes away from u what the target does not get and adds that to what is lost. It comes after everything that is decided about the account: who joined
// first, and who has proven an address, counts also for a target that cannot hold it.
func Withhold(u *pluginapi.User, withheld pluginapi.Withheld, lost []Loss) []Loss {
	for _, f := range withheld.From(u) {
		lost = append(lost, Loss(f))
	}
	return lost
}
