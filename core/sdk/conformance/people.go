package conformance

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
)

// person invents a user that every target should be able to take.
func (k *kit) person() pluginapi.User {
	k.made++
	name := fmt.Sprintf("%s-%d", k.run, k.made)
	yes := true
	u := pluginapi.User{
		SourceID: name,
		ID:       uuid.NewString(),
		Username: name + "@example.org", Email: name + "@example.org", EmailVerified: &yes,
		GivenName: "Ada", FamilyName: "Example",
		Enabled: true, Created: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC),
		Class: pluginapi.NoPassword,
	}
	if longest := k.caps.MaxIDLength; longest > 0 && longest < len(u.ID) {
		u.ID = u.ID[:longest]
	}
	if hash := canonical.ParsePasswordHash(k.bcrypt()); k.caps.Accepts(hash) {
		u.Password, u.Class = hash, pluginapi.HashCarried
	}
	k.caps.Withheld().From(&u) // as a host does
	return u
}

func (k *kit) people(n int) []pluginapi.User {
	all := make([]pluginapi.User, n)
	for i := range all {
		all[i] = k.person()
	}
	return all
}

// bcrypt makes up a hash that fits no password that anybody knows, in the revision
// and with the cost that the plugin accepts.
func (k *kit) bcrypt() string {
	variant, cost := "2a", 10
	for _, h := range k.caps.Hashes {
		if h.Scheme == canonical.Bcrypt {
			if len(h.Variants) > 0 {
				variant = h.Variants[0]
			}
			cost = max(cost, h.MinCost)
			if h.MaxCost > 0 {
				cost = min(cost, h.MaxCost)
			}
		}
	}
	digest := k.watch.secret(rand.Text() + "abcde")
	return fmt.Sprintf("$%s$%02d$abcdefghijklmnopqrstuu%s", variant, cost, digest)
}

// crowd is people of every kind that occurs, n of them at least, with what the plugin
// declares.
func (k *kit) crowd(n int) []pluginapi.User {
	var all []pluginapi.User
	for len(all) < n {
		plain, bare, nameless, foreign, off, rich := k.person(), k.person(), k.person(), k.person(), k.person(), k.person()
		bare.Email, bare.EmailVerified = "", nil
		nameless.GivenName, nameless.FamilyName = "", ""
		foreign.GivenName, foreign.FamilyName = "Żółć 🙂", "מִבְחָן"
		off.Enabled, off.EmailVerified = false, new(bool)
		rich.Phone, rich.PhoneVerified = fmt.Sprintf("+1202555%04d", k.made%10000), new(true)
		rich.OtherEmails = []pluginapi.Address{{Email: "other-" + rich.Email}}
		rich.Metadata = json.RawMessage(`{"plan":"pro","n":9007199254740993,"nested":{"a":[1,2,null]}}`)
		rich.Tenants = []string{"public"}
		rich.TOTP = []canonical.TOTPDevice{{
			Name: "phone", Secret: canonical.NewSecret(k.watch.secret(rand.Text()[:16])), Period: 30 * time.Second, Skew: 1, Verified: true,
		}}
		rich.Passkeys = []pluginapi.Passkey{k.passkey()}
		all = append(all, plain, bare, nameless, foreign, off, rich)
	}
	withheld := k.caps.Withheld()
	for i := range all {
		withheld.From(&all[i])
	}
	return all
}

// passkey makes up a credential with a key that nobody has, of a site that is none.
func (k *kit) passkey() pluginapi.Passkey {
	id := []byte(rand.Text()[:16])
	attested := slices.Concat(make([]byte, 16), []byte{0, 16}, id, []byte{0xa0}) // an empty COSE map
	return pluginapi.Passkey{
		ID: base64.RawURLEncoding.EncodeToString(id), RelyingParty: "example.org", Attested: attested, UserHandle: []byte(k.run),
		Counter: 3, Transports: []string{"internal", "hybrid"}, Name: "laptop", Created: time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC),
	}
}

// poison is people that some target cannot take, by what is wrong with them.
func (k *kit) poison() map[string]pluginapi.User {
	with := func(change func(*pluginapi.User)) pluginapi.User {
		u := k.person()
		change(&u)
		return u
	}
	return map[string]pluginapi.User{
		"has no id":                      with(func(u *pluginapi.User) { u.ID = "" }),
		"has an id of 5000 letters":      with(func(u *pluginapi.User) { u.ID += strings.Repeat("x", 5000) }),
		"has an id with odd letters":     with(func(u *pluginapi.User) { u.ID += "/../?#%00\x00\n\"'" }),
		"has no name and no address":     with(func(u *pluginapi.User) { u.Username, u.Email, u.EmailVerified = "", "", nil }),
		"has an address that is none":    with(func(u *pluginapi.User) { u.Email = "not an address" }),
		"has a given name of 100 KiB":    with(func(u *pluginapi.User) { u.GivenName = strings.Repeat("n", 100<<10) }),
		"has a hash that nobody knows":   with(func(u *pluginapi.User) { u.Password, u.Class = canonical.ParsePasswordHash("?"), pluginapi.HashCarried }),
		"has metadata 1000 levels deep":  with(func(u *pluginapi.User) { u.Metadata = deep(1000) }),
		"has metadata that is no object": with(func(u *pluginapi.User) { u.Metadata = json.RawMessage(`[1]`) }),
		"was created in the year 1":      with(func(u *pluginapi.User) { u.Created = time.Time{}.Add(time.Second) }),
	}
}

func deep(levels int) json.RawMessage {
	return json.RawMessage(strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels))
}
