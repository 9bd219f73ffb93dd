package supertokensgen

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
)

// hashKind is one format of password hashes.
type hashKind struct {
	// shape is how an inventory calls it.
	shape string
	write func(b []byte, random [96]byte) []byte
}

func bcryptKind(variant, cost string) hashKind {
	return hashKind{"bcrypt " + variant + " cost " + cost, func(b []byte, random [96]byte) []byte {
		b = append(b, "$"+variant+"$"+cost+"$"...)
		b = bcryptEncoding.AppendEncode(b, random[:16])
		return bcryptEncoding.AppendEncode(b, random[16:39])
	}}
}

func argonKind(scheme string) hashKind {
	return hashKind{scheme + " v19 m=87795 t=1 p=2", func(b []byte, random [96]byte) []byte {
		b = append(b, "$"+scheme+"$v=19$m=87795,t=1,p=2$"...)
		b = base64.RawStdEncoding.AppendEncode(b, random[:16])
		b = append(b, '$')
		return base64.RawStdEncoding.AppendEncode(b, random[16:48])
	}}
}

var bcryptEncoding = base64.NewEncoding("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").WithPadding(base64.NoPadding)

var (
	bcrypt2a      = bcryptKind("2a", "11")
	bcrypt2aWeak  = bcryptKind("2a", "10")
	bcrypt2b      = bcryptKind("2b", "10")
	bcrypt2y      = bcryptKind("2y", "10")
	argon2id      = argonKind("argon2id")
	argon2i       = argonKind("argon2i")
	firebaseHash  = hashKind{"firebase_scrypt m=14 r=8", firebase}
	unknownFormat = hashKind{"unknown (32 bytes)", func(b []byte, random [96]byte) []byte { return hex.AppendEncode(b, random[:16]) }}
)

func firebase(b []byte, random [96]byte) []byte {
	b = append(b, "$f_scrypt$"...)
	b = base64.StdEncoding.AppendEncode(b, random[:64])
	b = append(b, '$')
	b = base64.StdEncoding.AppendEncode(b, random[64:72])
	return append(b, "$m=14$r=8$s=Bw=="...)
}

// hashKind chooses a format: cores before 4.0 knew bcrypt and had no import.
func (g *generator) hashKind(d draw) *hashKind {
	share := d.below(forHash, 1000)
	if !g.Generation.since(G2) {
		if share < 20 {
			return &bcrypt2y
		}
		return &bcrypt2a
	}
	switch {
	case share < 2:
		return &unknownFormat
	case share < 5:
		return &argon2i
	case share < 20:
		return &firebaseHash
	case share < 60:
		return &argon2id
	case share < 100:
		return &bcrypt2b
	case share < 140:
		return &bcrypt2y
	case share < 160:
		return &bcrypt2aWeak
	default:
		return &bcrypt2a
	}
}

func appendHash(b []byte, l *login) []byte {
	var random [96]byte
	for i := range len(random) / 8 {
		binary.LittleEndian.PutUint64(random[i*8:], l.draw.of(forSecret+uint64(i)))
	}
	return l.hash.write(b, random)
}

// appendSecret writes a TOTP secret as the core makes it: 20 bytes in base32.
func appendSecret(b []byte, d draw) []byte {
	var random [24]byte
	for i := range 3 {
		binary.LittleEndian.PutUint64(random[i*8:], d.of(forSecret+uint64(i)))
	}
	return base32.StdEncoding.AppendEncode(b, random[:20])
}

func appendUUID(b []byte, u uuid) []byte {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], u.high)
	binary.BigEndian.PutUint64(raw[8:], u.low)
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80 // version 4, RFC 9562's variant
	b = slices.Grow(b, 36)
	for i, end := range [...]int{4, 6, 8, 10, 16} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, raw[[...]int{0, 4, 6, 8, 10}[i]:end])
	}
	return b
}

var (
	firstNames = [...]string{"ada", "bela", "chidi", "dora", "emeka", "fatima", "goran", "hana", "ines", "jutta", "kofi", "lea", "marek", "noor", "otto", "priya"}
	lastNames  = [...]string{"andersen", "costa", "dubois", "ferrer", "garcia", "horvath", "jansen", "kovac", "lindqvist", "mensah", "nagy", "okafor", "petrovic", "raman", "silva", "weiss"}
	domains    = [...]string{"acme.example", "firma.example", "mail.example.org", "users.example.net"}
)

// subject is the id of a third-party login at its provider.
func appendSubject(b []byte, l *login) []byte {
	return strconv.AppendUint(append(b, '1'), l.draw.of(forSubject), 10)
}

func appendMail(b []byte, l *login) []byte {
	m := l.mail
	if m.form == fakeMail {
		b = append(appendSubject(b, l), '.')
		return append(append(b, providers[l.provider]...), "@stfakeemail.supertokens.com"...)
	}
	start := len(b)
	b = append(append(b, firstNames[m.name%16]...), '.')
	b = append(b, lastNames[m.name/16]...)
	b = strconv.AppendUint(b, m.number, 10)
	if m.form == mixedCaseMail {
		b[start] -= 'a' - 'A'
	}
	return append(append(b, '@'), domains[m.domain%uint8(len(domains))]...)
}

// appendExternal writes the id that the application gave, in one of the forms
// that applications use; UUIDs fall between the internal ids.
func appendExternal(b []byte, a *account) []byte {
	d := draw(a.draw.of(forExternal))
	switch d.below(0, 3) {
	case 0:
		return strconv.AppendUint(append(b, "cust_"...), a.n, 10)
	case 1:
		b = strconv.AppendUint(append(b, "auth0|"...), d.of(1), 16)
		return strconv.AppendUint(append(b, '_'), a.n, 16)
	default:
		return appendUUID(b, uuid{d.of(1), d.of(2)})
	}
}

// metadataKind is what is special about an account's metadata.
type metadataKind uint8

const (
	plainMetadata metadataKind = iota
	temporaryPassword
	doubleEncoded
)

func (a *account) metadataKind() metadataKind {
	switch share := a.draw.below(forMetadataKind, 1000); {
	case share < 5:
		return doubleEncoded
	case share < 15:
		return temporaryPassword
	default:
		return plainMetadata
	}
}

// appendMetadata writes the JSON as COPY has it, with every backslash doubled.
func appendMetadata(b []byte, a *account) []byte {
	m := a.all[0].mail
	b = append(append(b, `{"first_name":"`...), firstNames[m.name%16]...)
	switch a.metadataKind() {
	case doubleEncoded:
		return append(b, `","last_name":"MÃ¼ller"}`...)
	case temporaryPassword:
		return append(b, `","isUsingTemporaryPassword":true}`...)
	case plainMetadata:
	}
	b = append(append(b, `","last_name":"`...), lastNames[m.name/16]...)
	switch a.draw.below(forMetadataKind, 4) {
	case 0:
		b = append(b, `","plan":{"tier":"gold","seats":5},"tags":["a","b \\"quoted\\""]}`...)
	case 1:
		b = append(b, `","city":"Győr","note":"two\\nlines"}`...)
	default:
		b = append(b, `","locale":"en-GB"}`...)
	}
	return b
}

// metadataKeys are the top-level keys that appendMetadata writes.
func (a *account) metadataKeys() []string {
	switch a.metadataKind() {
	case doubleEncoded:
		return []string{"first_name", "last_name"}
	case temporaryPassword:
		return []string{"first_name", "isUsingTemporaryPassword"}
	case plainMetadata:
	}
	switch a.draw.below(forMetadataKind, 4) {
	case 0:
		return []string{"first_name", "last_name", "plan", "tags"}
	case 1:
		return []string{"first_name", "last_name", "city", "note"}
	default:
		return []string{"first_name", "last_name", "locale"}
	}
}
