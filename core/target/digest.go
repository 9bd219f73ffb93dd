package target

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

// Digest is a keyed digest of everything that a target may be asked to hold of
// the user, 16 bytes. Two users with the same digest need not be told apart: what
// an earlier run left behind does not count, nor does what may happen to an
// existing account, nor when the user was last active, which is no reason to
// write. It says nothing about the values to whoever lacks the key.
func (u *User) Digest(key []byte) []byte {
	d := digester{buf: append(make([]byte, 0, 1024), key...)}
	d.text(u.SourceID, u.ID, u.Username, u.Email, u.Phone, u.GivenName, u.FamilyName, string(u.Class), u.Password.Encode(), string(u.Metadata))
	d.flag(u.EmailVerified)
	d.flag(u.PhoneVerified)
	d.flag(&u.Enabled)
	d.time(u.Created)
	d.count(len(u.OtherEmails))
	for _, a := range u.OtherEmails {
		d.text(a.Email)
		d.flag(a.Verified)
	}
	d.count(len(u.Identities))
	for _, i := range u.Identities {
		d.text(i.Provider, i.Subject, i.Name)
	}
	d.count(len(u.TOTP))
	for _, t := range u.TOTP {
		d.text(t.Name, t.Secret.Reveal())
		d.count(int(t.Period))
		d.count(t.Skew)
		d.flag(&t.Verified)
		d.time(t.Created)
	}
	d.count(len(u.Tenants))
	d.text(u.Tenants...)
	d.count(len(u.Roles))
	for _, tenant := range slices.Sorted(maps.Keys(u.Roles)) {
		d.text(tenant)
		d.count(len(u.Roles[tenant]))
		d.text(u.Roles[tenant]...)
	}
	sum := sha256.Sum256(d.buf)
	return sum[:16]
}

// digester writes values so that no two sequences of them look the same.
type digester struct{ buf []byte }

func (d *digester) count(n int) { d.buf = binary.AppendVarint(d.buf, int64(n)) }

func (d *digester) text(all ...string) {
	for _, s := range all {
		d.count(len(s))
		d.buf = append(d.buf, s...)
	}
}

func (d *digester) flag(b *bool) {
	switch {
	case b == nil:
		d.buf = append(d.buf, 0)
	case *b:
		d.buf = append(d.buf, 1)
	default:
		d.buf = append(d.buf, 2)
	}
}

func (d *digester) time(t time.Time) {
	if t.IsZero() {
		d.buf = append(d.buf, 0)
		return
	}
	d.buf = binary.AppendVarint(append(d.buf, 1), t.UnixMilli())
}
