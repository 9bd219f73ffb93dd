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
	sum := u.sum(key) // apart, so that callers which only compare need no memory for it
	return sum[:digestSize]
}

const digestSize = 16

func (u *User) sum(key []byte) [sha256.Size]byte {
	d := append(make(digest, 0, 1024), key...)
	d = d.text(u.SourceID, u.ID, u.Username, u.Email, u.Phone, u.GivenName, u.FamilyName, string(u.Class), u.Password.Encode())
	d = append(d.count(len(u.Metadata)), u.Metadata...)
	d = d.flag(u.EmailVerified).flag(u.PhoneVerified).flag(&u.Enabled).time(u.Created)
	d = d.count(len(u.OtherEmails))
	for _, a := range u.OtherEmails {
		d = d.text(a.Email).flag(a.Verified)
	}
	d = d.count(len(u.Identities))
	for _, i := range u.Identities {
		d = d.text(i.Provider, i.Subject, i.Name)
	}
	d = d.count(len(u.TOTP))
	for _, t := range u.TOTP {
		d = d.text(t.Name, t.Secret.Reveal()).count(int(t.Period)).count(t.Skew).flag(&t.Verified).time(t.Created)
	}
	d = d.count(len(u.Tenants)).text(u.Tenants...)
	d = d.count(len(u.Roles))
	tenants := slices.AppendSeq(make([]string, 0, 8), maps.Keys(u.Roles)) // on the stack, for nearly all
	slices.Sort(tenants)
	for _, tenant := range tenants {
		d = d.text(tenant).count(len(u.Roles[tenant])).text(u.Roles[tenant]...)
	}
	return sha256.Sum256(d)
}

// digest is what is digested: values, written so that no two sequences of them look
// the same. Its methods append and return, so that the bytes need not outlive a call.
type digest []byte

func (d digest) count(n int) digest { return binary.AppendVarint(d, int64(n)) }

func (d digest) text(all ...string) digest {
	for _, s := range all {
		d = append(d.count(len(s)), s...)
	}
	return d
}

func (d digest) flag(b *bool) digest {
	switch {
	case b == nil:
		return append(d, 0)
	case *b:
		return append(d, 1)
	default:
		return append(d, 2)
	}
}

func (d digest) time(t time.Time) digest {
	if t.IsZero() {
		return append(d, 0)
	}
	return binary.AppendVarint(append(d, 1), t.UnixMilli())
}
