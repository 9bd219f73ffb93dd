package pluginapi

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stetl/stetl/core/canonical"
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

// written is what the digest needs of the fields that it covers.
var written = digested(fields)

type writtenField struct {
	kind Kind
	at   func(*User) any
}

func digested(list []Field) (out []writtenField) {
	for _, f := range list {
		if !f.Unwritten {
			out = append(out, writtenField{f.Kind, f.at})
		}
	}
	return out
}

func (u *User) sum(key []byte) [sha256.Size]byte {
	d := append(make(digest, 0, 1024), key...)
	for _, f := range written {
		p := f.at(u)
		if s, ok := p.(*string); ok { // as half of them are
			d = d.text(*s)
		} else {
			d = d.value(f.kind, p)
		}
	}
	return sha256.Sum256(d)
}

// digest is what is digested: values, written so that no two sequences of them look
// the same. Its methods append and return, so that the bytes need not outlive a call.
type digest []byte

// value is for all but text. It is told the kind, as finding out the type takes longer
// than all the rest.
//
//nolint:forcetypeassert // the kind follows from the type
func (d digest) value(k Kind, p any) digest {
	switch k {
	case Unknown:
		return d.flag(*p.(**bool))
	case Flag:
		return d.flag(p.(*bool))
	case Moment:
		return d.time(*p.(*time.Time))
	case Texts:
		return d.texts(*p.(*[]string))
	case TextMap:
		return d.lists(*p.(*map[string][]string))
	case Object:
		raw := *p.(*json.RawMessage)
		return append(d.count(len(raw)), raw...)
	case Word:
		return d.text(string(*p.(*Class)))
	case password:
		return d.text(p.(*canonical.PasswordHash).Encode())
	case addresses:
		return d.addresses(*p.(*[]Address))
	case identities:
		return d.identities(*p.(*[]Identity))
	case devices:
		return d.devices(*p.(*[]canonical.TOTPDevice))
	case passkeys:
		return d.passkeys(*p.(*[]Passkey))
	default:
		panic(fmt.Sprintf("target: no digest knows a %T", p))
	}
}

func (d digest) addresses(list []Address) digest {
	d = d.count(len(list))
	for _, a := range list {
		d = d.text(a.Email).flag(a.Verified)
	}
	return d
}

func (d digest) identities(list []Identity) digest {
	d = d.count(len(list))
	for _, i := range list {
		d = d.text(i.Provider).text(i.Subject).text(i.Name)
	}
	return d
}

func (d digest) devices(list []canonical.TOTPDevice) digest {
	d = d.count(len(list))
	for i := range list {
		t := &list[i]
		d = d.text(t.Name).text(t.Secret.Reveal()).count(int(t.Period)).count(t.Skew).flag(&t.Verified).time(t.Created)
	}
	return d
}

// passkeys leaves the counters out: they grow with every sign-in, which is no reason to
// write.
func (d digest) passkeys(list []Passkey) digest {
	d = d.count(len(list))
	for i := range list {
		k := &list[i]
		d = d.text(k.ID).text(k.RelyingParty).text(string(k.Attested)).text(string(k.UserHandle)).texts(k.Transports).text(k.Name).time(k.Created)
	}
	return d
}

func (d digest) lists(m map[string][]string) digest {
	d = d.count(len(m))
	if len(m) == 0 {
		return d
	}
	keys := slices.AppendSeq(make([]string, 0, 8), maps.Keys(m)) // on the stack, for nearly all
	slices.Sort(keys)
	for _, key := range keys {
		d = d.text(key).texts(m[key])
	}
	return d
}

func (d digest) count(n int) digest {
	if 0 <= n && n < 64 { // the same byte, sooner: nearly all are small
		return append(d, byte(n)<<1)
	}
	return binary.AppendVarint(d, int64(n))
}

func (d digest) text(s string) digest { return append(d.count(len(s)), s...) }

func (d digest) texts(list []string) digest {
	d = d.count(len(list))
	for _, s := range list {
		d = d.text(s)
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
