package pluginapi

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stetl/stetl/core/canonical"
)

// kept is what of the fields is encoded: all but how the account is to be treated, which
// is decided anew whenever it is dealt with.
var kept = encoded(fields)

func encoded(list []Field) (out []writtenField) {
	for _, f := range list {
		if f.Kind != other {
			out = append(out, writtenField{f.Kind, f.at})
		}
	}
	return out
}

// Encode appends the user to b, for [User.Decode] of the same process. Existing, Prior
// and Expect are left out. It holds secrets in clear text: whoever stores it encrypts it.
func (u *User) Encode(b []byte) []byte {
	e := digest(b) // both are values one after another, with their lengths
	for _, f := range kept {
		switch p := f.at(u).(type) {
		case *string:
			e = e.text(*p)
		case *time.Time: // a digest needs no more than milliseconds
			e = e.instant(*p)
		case *[]canonical.TOTPDevice:
			e = e.count(len(*p))
			for i := range *p {
				d := &(*p)[i]
				e = e.text(d.Name).text(d.Secret.Reveal()).count(int(d.Period)).count(d.Skew).flag(&d.Verified).instant(d.Created)
			}
		case *[]Passkey:
			e = e.count(len(*p))
			for i := range *p {
				k := &(*p)[i]
				e = e.text(k.ID).text(k.RelyingParty).text(string(k.Attested)).text(string(k.UserHandle)).text(k.Name)
				e = binary.AppendVarint(e.texts(k.Transports), k.Counter)
				e = e.instant(k.Created)
			}
		default:
			e = e.value(f.kind, p)
		}
	}
	return e
}

func (d digest) instant(t time.Time) digest {
	if t.IsZero() {
		return append(d, 0)
	}
	return binary.AppendVarint(binary.AppendVarint(append(d, 1), t.Unix()), int64(t.Nanosecond()))
}

var errCut = errors.New("what was encoded of a user is cut off")

// Decode is the reverse of [User.Encode]. Times come back in UTC, and lists and metadata
// that were empty are nil.
func (u *User) Decode(b []byte) error {
	*u = User{}
	d := decoder{rest: string(b)} // one piece of memory for all of its texts
	for _, f := range kept {
		d.value(f.kind, f.at(u))
	}
	if d.bad || d.rest != "" {
		return errCut
	}
	return nil
}

// decoder takes values off what is left of an encoded user. Once something is missing,
// it gives zero values.
type decoder struct {
	rest string
	bad  bool
}

//nolint:forcetypeassert // the kind follows from the type
func (d *decoder) value(k Kind, p any) {
	switch k {
	case Text:
		*p.(*string) = d.text()
	case Flag:
		if v := d.flag(); v != nil {
			*p.(*bool) = *v
		}
	case Unknown:
		*p.(**bool) = d.flag()
	case Moment:
		*p.(*time.Time) = d.instant()
	case Texts:
		*p.(*[]string) = d.texts()
	case TextMap:
		*p.(*map[string][]string) = d.lists()
	case Object:
		if text := d.text(); text != "" {
			*p.(*json.RawMessage) = json.RawMessage(text)
		}
	case Word:
		*p.(*Class) = Class(d.text())
	case password:
		*p.(*canonical.PasswordHash) = canonical.ParsePasswordHash(d.text())
	case addresses:
		*p.(*[]Address) = many(d, func() Address { return Address{Email: d.text(), Verified: d.flag()} })
	case identities:
		*p.(*[]Identity) = many(d, func() Identity { return Identity{Provider: d.text(), Subject: d.text(), Name: d.text()} })
	case devices:
		*p.(*[]canonical.TOTPDevice) = many(d, d.device)
	case passkeys:
		*p.(*[]Passkey) = many(d, d.passkey)
	default:
		panic(fmt.Sprintf("pluginapi: nobody knows how to decode a %T", p))
	}
}

func (d *decoder) device() canonical.TOTPDevice {
	t := canonical.TOTPDevice{Name: d.text(), Secret: canonical.NewSecret(d.text()), Period: time.Duration(d.number()), Skew: int(d.number())}
	if v := d.flag(); v != nil {
		t.Verified = *v
	}
	t.Created = d.instant()
	return t
}

func (d *decoder) passkey() Passkey {
	return Passkey{
		ID: d.text(), RelyingParty: d.text(), Attested: d.bytes(), UserHandle: d.bytes(), Name: d.text(),
		Transports: d.texts(), Counter: d.number(), Created: d.instant(),
	}
}

// bytes gives nil for none.
func (d *decoder) bytes() []byte {
	if text := d.text(); text != "" {
		return []byte(text)
	}
	return nil
}

// number reads what [digest.count] and [binary.AppendVarint] write.
func (d *decoder) number() int64 {
	var x uint64
	for i := 0; i < len(d.rest) && i < binary.MaxVarintLen64; i++ {
		c := d.rest[i]
		x |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.rest = d.rest[i+1:]
			return int64(x>>1) ^ -int64(x&1)
		}
	}
	d.rest, d.bad = "", true
	return 0
}

func (d *decoder) text() string {
	n := d.number()
	if n < 0 || n > int64(len(d.rest)) {
		d.rest, d.bad = "", true
		return ""
	}
	text := d.rest[:n]
	d.rest = d.rest[n:]
	return text
}

func (d *decoder) octet() byte {
	if d.rest == "" {
		d.bad = true
		return 0
	}
	c := d.rest[0]
	d.rest = d.rest[1:]
	return c
}

func (d *decoder) flag() *bool {
	switch d.octet() {
	case 0:
		return nil
	case 1:
		return new(true)
	default:
		return new(false)
	}
}

func (d *decoder) instant() time.Time {
	if d.octet() == 0 {
		return time.Time{}
	}
	seconds := d.number()
	return time.Unix(seconds, d.number()).UTC()
}

func (d *decoder) texts() []string { return many(d, d.text) }

func (d *decoder) lists() map[string][]string {
	n := d.number()
	if n == 0 {
		return nil
	}
	m := map[string][]string{}
	for range n {
		if d.bad {
			break
		}
		key := d.text()
		m[key] = d.texts()
	}
	return m
}

// many reads a list.
func many[T any](d *decoder, one func() T) []T {
	n := d.number()
	if n <= 0 {
		return nil
	}
	list := make([]T, 0, min(n, int64(len(d.rest))))
	for range n {
		if d.bad {
			break
		}
		list = append(list, one())
	}
	return list
}
