package canonical

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
)

// Scheme names a family of password hashes.
type Scheme string

// The schemes that [ParsePasswordHash] recognises.
const (
	Bcrypt         Scheme = "bcrypt"
	Argon2id       Scheme = "argon2id"
	Argon2i        Scheme = "argon2i"
	Argon2d        Scheme = "argon2d"
	FirebaseScrypt Scheme = "firebase_scrypt"
	// UnknownScheme marks a stored text that is none of the above. It is
	// carried as it is and never guessed at.
	UnknownScheme Scheme = "unknown"
)

// PasswordHash is a stored password verifier, parsed. It never prints its salt
// or digest; [PasswordHash.Encode] gives back the stored text, byte for byte.
// The zero value means "no password".
type PasswordHash struct {
	Scheme Scheme
	// Variant is the revision inside the scheme: "2a", "2b", "2x" or "2y" for
	// bcrypt, empty otherwise.
	Variant string
	// Cost is bcrypt's log2 of rounds.
	Cost int
	// Argon2 is set for the three argon2 schemes.
	Argon2 *Argon2Params
	// Firebase is set for [FirebaseScrypt].
	Firebase *FirebaseParams

	salt   []byte // of bcrypt in stored alone, as digest is
	digest []byte
	stored string
}

// Argon2Params are the public parameters of a PHC argon2 string.
type Argon2Params struct {
	Version     int    // 19 (0x13) or 16 (0x10)
	MemoryKiB   uint32 // m
	Iterations  uint32 // t
	Parallelism uint32 // p
}

// FirebaseParams are the public parameters of a Firebase scrypt hash. The
// signer key is not among them: it belongs to the installation, not to the user.
type FirebaseParams struct {
	MemoryCost int // N = 2^MemoryCost
	Rounds     int // scrypt's r

	separator []byte
}

// Separator returns the salt separator, which is as secret as the salt.
func (p FirebaseParams) Separator() []byte { return p.separator }

var argon2Pattern = regexp.MustCompile(`^\$(argon2(?:id|i|d))\$(?:v=(\d+)\$)?([a-z0-9=,]+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)

// bcryptEncoding is the base64 variant of the original bcrypt code, and inBcrypt says
// what is of its alphabet.
var (
	bcryptEncoding = base64.NewEncoding(bcryptAlphabet).WithPadding(base64.NoPadding)
	inBcrypt       = setOf(bcryptAlphabet)
)

const bcryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func setOf(characters string) (set [256]bool) {
	for i := range len(characters) {
		set[characters[i]] = true
	}
	return set
}

// ParsePasswordHash parses the stored text of a password hash: bcrypt in
// modular crypt format, argon2 as a PHC string, or SuperTokens' rendering of a
// Firebase scrypt hash. Text that is none of these, or is one of these with
// impossible parameters, comes back as [UnknownScheme]: it is data of the
// source, not an error of the program. An empty text gives the zero value.
func ParsePasswordHash(stored string) PasswordHash {
	if stored == "" {
		return PasswordHash{}
	}
	h, ok := parseBcrypt(stored)
	if !ok {
		h, ok = parseArgon2(stored)
	}
	if !ok {
		h, ok = parseFirebase(stored)
	}
	if ok {
		h.stored = stored
		return h
	}
	return PasswordHash{Scheme: UnknownScheme, stored: stored}
}

// Of $2a$11$, 22 characters of salt and 31 of digest, where the salt begins and ends
// and where all does.
const bcryptPrefix, bcryptSaltEnd, bcryptEnd = 7, 7 + 22, 7 + 22 + 31

// parseBcrypt takes a hash apart by hand: most are of this kind, and a pattern takes four
// times as long. What salt and digest are is worked out when somebody asks, which targets
// that take the text do not.
func parseBcrypt(s string) (PasswordHash, bool) {
	if len(s) != bcryptEnd || s[0] != '$' || s[1] != '2' || !strings.Contains("abxy", s[2:3]) || s[3] != '$' || s[6] != '$' {
		return PasswordHash{}, false
	}
	cost, err := strconv.ParseUint(s[4:6], 10, 8)
	if err != nil || cost < 4 || cost > 31 {
		return PasswordHash{}, false
	}
	for i := bcryptPrefix; i < len(s); i++ {
		if !inBcrypt[s[i]] {
			return PasswordHash{}, false
		}
	}
	return PasswordHash{Scheme: Bcrypt, Variant: s[1:3], Cost: int(cost)}, true
}

// bcryptPart decodes a part of the text, of which all characters are known to be right.
func bcryptPart(text string) []byte {
	decoded, _ := bcryptEncoding.DecodeString(text)
	return decoded
}

func parseArgon2(s string) (PasswordHash, bool) {
	m := argon2Pattern.FindStringSubmatch(s)
	if m == nil {
		return PasswordHash{}, false
	}
	p := Argon2Params{Version: 0x10} // a PHC string without v= is version 1.0
	if m[2] != "" {
		v, err := strconv.Atoi(m[2])
		if err != nil || (v != 0x10 && v != 0x13) {
			return PasswordHash{}, false
		}
		p.Version = v
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(m[3], ",") {
		key, text, _ := strings.Cut(part, "=")
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n == 0 || seen[key] {
			return PasswordHash{}, false
		}
		seen[key] = true
		switch key {
		case "m":
			p.MemoryKiB = uint32(n)
		case "t":
			p.Iterations = uint32(n)
		case "p":
			p.Parallelism = uint32(n)
		default: // keyid and data need a secret that the database does not hold
			return PasswordHash{}, false
		}
	}
	if len(seen) != 3 {
		return PasswordHash{}, false
	}
	salt, errSalt := base64.RawStdEncoding.DecodeString(m[4])
	digest, errDigest := base64.RawStdEncoding.DecodeString(m[5])
	if errSalt != nil || errDigest != nil {
		return PasswordHash{}, false
	}
	return PasswordHash{Scheme: Scheme(m[1]), Argon2: &p, salt: salt, digest: digest}, true
}

// parseFirebase reads $f_scrypt$<hash>$<salt>$m=<n>$r=<n>$s=<separator>, the
// last three in any order.
func parseFirebase(s string) (PasswordHash, bool) {
	rest, ok := strings.CutPrefix(s, "$f_scrypt$")
	if !ok {
		return PasswordHash{}, false
	}
	fields := strings.Split(rest, "$")
	if len(fields) != 5 {
		return PasswordHash{}, false
	}
	h := PasswordHash{Scheme: FirebaseScrypt, Firebase: &FirebaseParams{}}
	var err error
	if h.digest, err = base64.StdEncoding.DecodeString(fields[0]); err != nil || len(h.digest) == 0 {
		return PasswordHash{}, false
	}
	if h.salt, err = base64.StdEncoding.DecodeString(fields[1]); err != nil {
		return PasswordHash{}, false
	}
	seen := map[string]bool{}
	for _, field := range fields[2:] {
		key, text, _ := strings.Cut(field, "=")
		if seen[key] {
			return PasswordHash{}, false
		}
		seen[key] = true
		switch key {
		case "m":
			h.Firebase.MemoryCost, err = strconv.Atoi(text)
			if h.Firebase.MemoryCost < 1 || h.Firebase.MemoryCost > 30 {
				return PasswordHash{}, false
			}
		case "r":
			h.Firebase.Rounds, err = strconv.Atoi(text)
			if h.Firebase.Rounds < 1 {
				return PasswordHash{}, false
			}
		case "s":
			h.Firebase.separator, err = base64.StdEncoding.DecodeString(text)
		default:
			return PasswordHash{}, false
		}
		if err != nil {
			return PasswordHash{}, false
		}
	}
	return h, true
}

// IsZero reports whether there is no password.
func (h PasswordHash) IsZero() bool { return h.stored == "" }

// Encode returns the stored text, byte for byte.
func (h PasswordHash) Encode() string { return h.stored }

// Salt returns the decoded salt, nil for an unknown scheme.
func (h PasswordHash) Salt() []byte {
	if h.Scheme == Bcrypt && len(h.stored) == bcryptEnd {
		return bcryptPart(h.stored[bcryptPrefix:bcryptSaltEnd])
	}
	return h.salt
}

// Digest returns the decoded digest, nil for an unknown scheme.
func (h PasswordHash) Digest() []byte {
	if h.Scheme == Bcrypt && len(h.stored) == bcryptEnd {
		return bcryptPart(h.stored[bcryptSaltEnd:])
	}
	return h.digest
}

// Shape describes the hash without anything that helps to attack it:
// "bcrypt 2a cost 11", "argon2id v19 m=87795 t=1 p=2", "unknown (23 bytes)".
func (h PasswordHash) Shape() string {
	switch h.Scheme {
	case Bcrypt:
		return fmt.Sprintf("bcrypt %s cost %d", h.Variant, h.Cost)
	case Argon2id, Argon2i, Argon2d:
		return fmt.Sprintf("%s v%d m=%d t=%d p=%d", h.Scheme, h.Argon2.Version, h.Argon2.MemoryKiB, h.Argon2.Iterations, h.Argon2.Parallelism)
	case FirebaseScrypt:
		return fmt.Sprintf("firebase_scrypt m=%d r=%d", h.Firebase.MemoryCost, h.Firebase.Rounds)
	case UnknownScheme:
		return fmt.Sprintf("unknown (%d bytes)", len(h.stored))
	default:
		return "none"
	}
}

// String returns [PasswordHash.Shape].
func (h PasswordHash) String() string { return h.Shape() }

// Format prints the shape for every verb, %#v included.
func (h PasswordHash) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.Shape()) }

// LogValue implements [slog.LogValuer].
func (h PasswordHash) LogValue() slog.Value { return slog.StringValue(h.Shape()) }

// MarshalJSON writes the shape, or null when there is no password.
func (h PasswordHash) MarshalJSON() ([]byte, error) {
	if h.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(h.Shape())
}

// Format keeps %#v of a bare parameter block from printing the separator.
func (p FirebaseParams) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "m=%d r=%d", p.MemoryCost, p.Rounds)
}
