package conversation

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
)

// mask replaces the secrets of people: those that were sent to the plugin, word for word
// and in the usual other spellings, and whatever looks like one. A plugin is not trusted
// to keep them to itself.
type mask struct {
	mu sync.RWMutex
	// carried are people whose secrets are not spelled yet, from the oldest on (carriedNext
	// is the place of the next one). Spelling costs as much as sending, and most plugins
	// say nothing but ids.
	carried     []carrier
	carriedNext int
	// secrets by their last letters, so that a text is searched for all of them at once: the
	// first ones of hashes are all the same.
	secrets map[[seed]byte][]string
	// sent are those secrets from the oldest on: next is the place of the next one.
	sent []string
	next int
	// passing are secrets that are too short to be looked for in everything that is ever
	// said: they are while the call is under way that brings them.
	passing map[string]int
}

const (
	// seed is how many letters a secret is found by; a shorter one protects nothing.
	seed = 12
	// remembered bounds the secrets in memory, which are those of some 10,000 people. What
	// a plugin says of a user, it says soon.
	remembered = 100_000
	// people is how many people are remembered at most.
	people = 10_000
)

// carrier is what of a user must not be said.
type carrier struct {
	password canonical.PasswordHash
	totp     []canonical.TOTPDevice
}

// learn takes in the secrets of a user who is about to be sent.
func (m *mask) learn(u *pluginapi.User) {
	if u.Password.IsZero() && len(u.TOTP) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := carrier{u.Password, u.TOTP}
	if len(m.carried) < people {
		m.carried = append(m.carried, c)
		return
	}
	m.carried[m.carriedNext] = c
	m.carriedNext = (m.carriedNext + 1) % people
}

// spell makes texts that can be looked for of everything that was learned.
func (m *mask) spell() {
	m.mu.RLock()
	nothing := len(m.carried) == 0
	m.mu.RUnlock()
	if nothing {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.carried {
		m.add(m.carried[(m.carriedNext+i)%len(m.carried)].spellings())
	}
	clear(m.carried)
	m.carried, m.carriedNext = m.carried[:0], 0
}

func (u *carrier) spellings() []string {
	var found []string
	if hash := u.password; !hash.IsZero() {
		stored := hash.Encode()
		found = append(found, spellings(stored)...)
		for part := range strings.SplitSeq(stored, "$") {
			if !strings.Contains(part, ",") { // parameters are no secret
				found = append(found, part)
			}
		}
		if hash.Scheme == canonical.Bcrypt {
			found = append(found, stored[len(stored)-bcryptDigest:])
		}
		if digest := hash.Digest(); len(digest) > 0 {
			found = append(found, hex.EncodeToString(digest), base64.StdEncoding.EncodeToString(digest), base64.RawURLEncoding.EncodeToString(digest))
		}
	}
	for i := range u.totp {
		secret := u.totp[i].Secret.Reveal()
		found = append(append(found, spellings(secret)...), strings.ToLower(secret))
	}
	return found
}

// bcryptDigest is the length of the part of a bcrypt hash that follows its salt.
const bcryptDigest = 31

// spellings are the ways in which a program usually writes a text.
func spellings(text string) []string {
	bytes := []byte(text)
	return []string{
		text, url.QueryEscape(text), hex.EncodeToString(bytes),
		base64.RawStdEncoding.EncodeToString(bytes), base64.RawURLEncoding.EncodeToString(bytes), // also the beginning of those with padding
	}
}

// add is called with the lock held.
func (m *mask) add(found []string) {
	if m.secrets == nil {
		m.secrets = map[[seed]byte][]string{}
	}
	for _, secret := range found {
		if len(secret) < seed {
			continue
		}
		at := ending(secret)
		if slices.Contains(m.secrets[at], secret) {
			continue
		}
		m.secrets[at] = append(m.secrets[at], secret)
		if len(m.sent) < remembered {
			m.sent = append(m.sent, secret)
			continue
		}
		m.forget(m.sent[m.next])
		m.sent[m.next] = secret
		m.next = (m.next + 1) % remembered
	}
}

func ending(secret string) [seed]byte { return [seed]byte([]byte(secret[len(secret)-seed:])) }

func (m *mask) forget(secret string) {
	at := ending(secret)
	left := slices.DeleteFunc(m.secrets[at], func(s string) bool { return s == secret })
	if len(left) == 0 {
		delete(m.secrets, at)
		return
	}
	m.secrets[at] = left
}

// pass looks for a secret until the returned function is called.
func (m *mask) pass(secret canonical.Secret) (end func()) {
	text := secret.Reveal()
	if len(text) < shortestSecret {
		return func() {}
	}
	m.count(text, 1)
	return func() { m.count(text, -1) }
}

func (m *mask) count(text string, by int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.passing == nil {
		m.passing = map[string]int{}
	}
	if m.passing[text] += by; m.passing[text] == 0 {
		delete(m.passing, text)
	}
}

// apply returns text without secrets, and whether it held one that was sent.
func (m *mask) apply(text string) (masked string, leaked bool) {
	if text == "" {
		return text, false
	}
	known := m.known(text)
	return alike(known), known != text
}

// alike replaces what looks like a secret.
func alike(text string) string {
	if strings.ContainsAny(text, "${") {
		text = hashPattern.ReplaceAllString(text, canonical.Redacted)
	}
	if len(text) < shortestTOTP {
		return text
	}
	text = otpauthPattern.ReplaceAllString(text, "${1}"+canonical.Redacted)
	return base32Pattern.ReplaceAllStringFunc(text, func(word string) string {
		if !strings.ContainsAny(word, "234567") || !strings.ContainsAny(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			return word // a name or a number
		}
		return canonical.Redacted
	})
}

// knownID is known for the id that a target has given an account. Most hold no secret for
// certain: a UUID, or the account's own id with something short around it.
func (m *mask) knownID(id, sourceID string) string {
	if isUUID(id) || sourceID != "" && strings.Contains(id, sourceID) && len(id)-len(sourceID) < seed {
		return id
	}
	return m.known(id)
}

// isUUID tells whether id is 32 hexadecimal digits in the groups of a UUID.
func isUUID(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return false
			}
		}
	}
	return true
}

// known replaces what was sent.
func (m *mask) known(text string) string {
	if len(text) >= seed {
		m.spell()
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	for secret := range m.passing {
		text = strings.ReplaceAll(text, secret, canonical.Redacted)
	}
	if len(m.secrets) == 0 || len(text) < seed {
		return text
	}
	var out strings.Builder
	from := 0
	for end := seed; end <= len(text); end++ {
		n := 0
		for _, secret := range m.secrets[ending(text[:end])] {
			if len(secret) > n && end-len(secret) >= from && strings.HasSuffix(text[:end], secret) {
				n = len(secret)
			}
		}
		if n == 0 {
			continue
		}
		out.WriteString(text[from : end-n])
		out.WriteString(canonical.Redacted)
		from = end
		end += seed - 1
	}
	if from == 0 {
		return text
	}
	out.WriteString(text[from:])
	return out.String()
}

// shortestTOTP is the length of the shortest secret of an authenticator, in base32.
const shortestTOTP = 16

var (
	// hashPattern is the modular crypt format, PHC strings, what frameworks make of both,
	// and {SSHA} of directories. It also finds the beginning of one that was cut.
	hashPattern = regexp.MustCompile(`(?:\b[a-z0-9_]{2,24})?\$(?:2[abxy]?|argon2(?:id|i|d)|f_scrypt|s0|scrypt|pbkdf2[a-z0-9_-]*|bcrypt[a-z0-9_-]*|1|5|6|7|y|gy|apr1|md5|sha1|sha256|sha512|[0-9]{3,8})\$[A-Za-z0-9./+=,$_-]*` +
		`|\{(?:S?SHA|SSHA(?:256|384|512)|SHA(?:256|384|512)|S?MD5|CRYPT|PBKDF2[A-Z0-9_-]*)\}[A-Za-z0-9./+=$_-]+`)
	otpauthPattern = regexp.MustCompile(`(otpauth(?:-migration)?://)[^\s"'<>]+`)
	base32Pattern  = regexp.MustCompile(`\b[A-Z2-7]{16,}\b`)
)
