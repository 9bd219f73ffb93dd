package auth0

import (
	"encoding/base64"
	"fmt"

	"github.com/stetl/stetl/core/sdk"
)

// password is a hash in one of the two shapes that an import takes.
type password struct {
	native string      // password_hash
	custom *customHash // custom_password_hash
	// note says what was done to the stored text.
	note string
}

// customHash is custom_password_hash as far as SuperTokens' hashes need it.
type customHash struct {
	Algorithm string    `json:"algorithm"`
	Hash      hashValue `json:"hash"`
}

type hashValue struct {
	Value    string `json:"value"`
	Encoding string `json:"encoding"`
}

const (
	nativeCost     = 10      // the only one that password_hash takes
	maxArgonMemory = 1 << 20 // KiB
	minDigest      = 16
	minSalt        = 8
	// nominalPHC is the length of a hash string that libsodium is made for.
	nominalPHC = 128
)

// translate brings a hash into Auth0's shape, or says why no import would make
// its owner's password work. Auth0 refuses some hashes only at the first login, so
// everything it is known to want is checked here.
func translate(h sdk.PasswordHash) (password, string) {
	switch h.Scheme {
	case sdk.Bcrypt:
		return translateBcrypt(h), ""
	case sdk.Argon2id, sdk.Argon2i:
		return translateArgon2(h)
	case sdk.Argon2d:
		return password{}, "Auth0 has no verifier for argon2d"
	case sdk.FirebaseScrypt:
		return password{}, "Auth0 cannot hold Firebase's scrypt: its stored value is encrypted with a key of the project"
	default:
		return password{}, "the kind of the stored hash is unknown"
	}
}

func translateBcrypt(h sdk.PasswordHash) (p password) {
	text := h.Encode()
	relabel := func(variant string) {
		p.note = fmt.Sprintf("the bcrypt hash gets the prefix $%s$ instead of $%s$; the algorithm is the same", variant, h.Variant)
		text = "$" + variant + text[3:]
	}
	switch h.Variant {
	case "2y":
		relabel("2b")
	case "2x": // SuperTokens verifies it as 2a, so that is what it means
		relabel("2a")
	}
	if h.Cost == nativeCost {
		p.native = text
		return p
	}
	p.custom = &customHash{Algorithm: "bcrypt", Hash: hashValue{Value: text, Encoding: "utf8"}}
	return p
}

func translateArgon2(h sdk.PasswordHash) (password, string) {
	a := h.Argon2
	switch {
	case a.Version != 19:
		return password{}, "Auth0 verifies argon2 of version 1.3 (v=19) only"
	case len(h.Digest()) < minDigest:
		return password{}, fmt.Sprintf("the argon2 digest has %d bytes; Auth0 needs %d", len(h.Digest()), minDigest)
	case len(h.Salt()) < minSalt:
		return password{}, fmt.Sprintf("the argon2 salt has %d bytes; Auth0 needs %d", len(h.Salt()), minSalt)
	case uint64(a.MemoryKiB) < 8*uint64(a.Parallelism):
		return password{}, "the argon2 memory is below 8 KiB for each lane"
	case a.MemoryKiB > maxArgonMemory:
		return password{}, "the argon2 memory is above 1 GiB"
	}
	// The verifier wants the parameters in this order.
	text := fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d$%s$%s", h.Scheme, a.MemoryKiB, a.Iterations, a.Parallelism,
		base64.RawStdEncoding.EncodeToString(h.Salt()), base64.RawStdEncoding.EncodeToString(h.Digest()))
	p := password{custom: &customHash{Algorithm: "argon2", Hash: hashValue{Value: text, Encoding: "utf8"}}}
	if text != h.Encode() {
		p.note = "the parameters of the argon2 hash are written in the order m,t,p"
	}
	if len(text) > nominalPHC {
		p.note = joinNotes([]string{p.note, fmt.Sprintf("the argon2 hash is longer than %d characters: test the sign-in of one such user early", nominalPHC)})
	}
	return p, ""
}

// secret is what a fingerprint of the password covers.
func (p password) secret() string {
	if p.custom != nil {
		return p.custom.Hash.Value
	}
	return p.native
}
