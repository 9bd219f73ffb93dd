package canonical

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"
)

// Encode appends the account to b, with its secrets in the clear: for memory, and for files
// that are encrypted and do not outlive the process. [User.Decode] gives back the same one.
func (u *User) Encode(b []byte) []byte {
	e := encoder(b)
	e = e.text(u.App).text(u.InternalID).text(u.ID).optional(u.ExternalIDInfo).flags(u.Primary, u.GhostPrimary).instant(u.TimeJoined).instant(u.LastActive)
	e = e.bytes(u.Metadata).count(len(u.Logins), u.Logins == nil)
	for i := range u.Logins {
		e = e.login(&u.Logins[i])
	}
	e = e.count(len(u.Roles), u.Roles == nil)
	for _, tenant := range slices.Sorted(maps.Keys(u.Roles)) {
		e = e.text(tenant).texts(u.Roles[tenant])
	}
	e = e.count(len(u.TOTPDevices), u.TOTPDevices == nil)
	for i := range u.TOTPDevices {
		d := &u.TOTPDevices[i]
		e = e.text(d.Name).text(d.Secret.Reveal()).number(int64(d.Period)).number(int64(d.Skew)).flags(d.Verified).instant(d.Created)
	}
	e = e.count(len(u.Warnings), u.Warnings == nil)
	for _, w := range u.Warnings {
		e = e.text(w.Code).text(w.Detail)
	}
	return e
}

// encoder writes values one after another, each with its length. A length is one more than
// it is, as 0 is what is absent.
type encoder []byte

func (e encoder) login(l *Login) encoder {
	e = e.text(string(l.Recipe)).text(l.ID).text(l.VisibleID).optional(l.Email).optional(l.Phone)
	e = e.flags(l.FakeEmail, l.Verified != nil, l.Verified != nil && *l.Verified, l.Identity != nil)
	if l.Identity != nil {
		e = e.text(l.Identity.Provider).text(l.Identity.Subject)
	}
	e = e.text(l.Password.Encode()).instant(l.TimeJoined).texts(l.Tenants).count(len(l.Passkeys), l.Passkeys == nil)
	for i := range l.Passkeys {
		k := &l.Passkeys[i]
		e = e.text(k.ID).text(k.RelyingParty).number(k.Counter).bytes(k.Transports).bytes(k.PublicKey).instant(k.Created)
	}
	return e
}

func (e encoder) count(n int, absent bool) encoder {
	if absent {
		return append(e, 0)
	}
	return binary.AppendUvarint(e, uint64(n)+1) //nolint:gosec // a length
}

func (e encoder) bytes(b []byte) encoder { return append(e.count(len(b), b == nil), b...) }

func (e encoder) text(s string) encoder { return append(e.count(len(s), false), s...) }

func (e encoder) optional(s *string) encoder {
	if s == nil {
		return append(e, 0)
	}
	return e.text(*s)
}

func (e encoder) texts(all []string) encoder {
	e = e.count(len(all), all == nil)
	for _, s := range all {
		e = e.text(s)
	}
	return e
}

func (e encoder) number(n int64) encoder { return binary.AppendVarint(e, n) }

func (e encoder) flags(all ...bool) encoder {
	var b byte
	for i, is := range all {
		if is {
			b |= 1 << i
		}
	}
	return append(e, b)
}

// instant keeps milliseconds, which is what the source has.
func (e encoder) instant(t time.Time) encoder {
	if t.IsZero() {
		return append(e, 0)
	}
	return append(e, 1).number(t.UnixMilli())
}

// errCut is what [User.Decode] says of what no Encode has written.
var errCut = errors.New("an encoded account is cut")

// Decode makes u what [User.Encode] was given. It keeps no hold of b.
func (u *User) Decode(b []byte) error {
	d := decoder{rest: string(b)} // one piece of memory for all of its texts
	*u = User{App: d.text(), InternalID: d.text(), ID: d.text(), ExternalIDInfo: d.optional()}
	flags := d.flags()
	u.Primary, u.GhostPrimary = flags&1 != 0, flags&2 != 0
	u.TimeJoined, u.LastActive = d.instant(), d.instant()
	u.Metadata = json.RawMessage(d.bytes())
	if n, there := d.count(); there {
		u.Logins = make([]Login, n)
		for i := range u.Logins {
			d.login(&u.Logins[i])
		}
	}
	if n, there := d.count(); there {
		u.Roles = make(map[string][]string, n)
		for range n {
			tenant := d.text()
			u.Roles[tenant] = d.texts()
		}
	}
	if n, there := d.count(); there {
		u.TOTPDevices = make([]TOTPDevice, n)
		for i := range u.TOTPDevices {
			u.TOTPDevices[i] = TOTPDevice{Name: d.text(), Secret: NewSecret(d.text()), Period: time.Duration(d.number()), Skew: int(d.number()), Verified: d.flags() != 0, Created: d.instant()}
		}
	}
	if n, there := d.count(); there {
		u.Warnings = make([]Warning, n)
		for i := range u.Warnings {
			u.Warnings[i] = Warning{Code: d.text(), Detail: d.text()}
		}
	}
	if d.bad || d.rest != "" {
		return errCut
	}
	return nil
}

// decoder takes values off what is left. Once something is missing, it gives zero values.
type decoder struct {
	rest string
	bad  bool
}

func (d *decoder) login(l *Login) {
	*l = Login{Recipe: Recipe(d.text()), ID: d.text(), VisibleID: d.text(), Email: d.optional(), Phone: d.optional()}
	flags := d.flags()
	l.FakeEmail = flags&1 != 0
	if flags&2 != 0 {
		l.Verified = new(flags&4 != 0)
	}
	if flags&8 != 0 {
		l.Identity = &Identity{Provider: d.text(), Subject: d.text()}
	}
	l.Password, l.TimeJoined, l.Tenants = ParsePasswordHash(d.text()), d.instant(), d.texts()
	if n, there := d.count(); there {
		l.Passkeys = make([]Passkey, n)
		for i := range l.Passkeys {
			l.Passkeys[i] = Passkey{ID: d.text(), RelyingParty: d.text(), Counter: d.number(), Transports: d.bytes(), PublicKey: d.bytes(), Created: d.instant()}
		}
	}
}

// uvarint is [binary.Uvarint] of text.
func (d *decoder) uvarint() (v uint64) {
	for i := range min(len(d.rest), binary.MaxVarintLen64) {
		c := d.rest[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.rest = d.rest[i+1:]
			return v
		}
	}
	d.bad, d.rest = true, ""
	return 0
}

// count is how many or how long; of what is absent there is none. There are never more than
// bytes that are left.
func (d *decoder) count() (n int, there bool) {
	v := d.uvarint()
	if v == 0 {
		return 0, false
	}
	if v-1 > uint64(len(d.rest)) {
		d.bad, d.rest = true, ""
		return 0, false
	}
	return int(v - 1), true //nolint:gosec // no more than there is
}

func (d *decoder) optional() *string {
	n, there := d.count()
	if !there {
		return nil
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return &s
}

func (d *decoder) text() string {
	if s := d.optional(); s != nil {
		return *s
	}
	return ""
}

func (d *decoder) bytes() []byte {
	if s := d.optional(); s != nil {
		return []byte(*s)
	}
	return nil
}

func (d *decoder) texts() []string {
	n, there := d.count()
	if !there {
		return nil
	}
	all := make([]string, n)
	for i := range all {
		all[i] = d.text()
	}
	return all
}

func (d *decoder) number() int64 {
	v := d.uvarint()
	n := int64(v >> 1)
	if v&1 != 0 {
		n = ^n
	}
	return n
}

func (d *decoder) flags() byte {
	if d.rest == "" {
		d.bad = true
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) instant() time.Time {
	if d.flags() == 0 {
		return time.Time{}
	}
	return time.UnixMilli(d.number()).UTC()
}
