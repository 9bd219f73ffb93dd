package postgres

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
)

// minSecret is the length from which a secret is not guessed.
const minSecret = 32

// ParseKey reads the secret of a journal: base64 of at least 32 bytes.
func ParseKey(s canonical.Secret) ([]byte, error) {
	if s.IsZero() {
		return nil, &journal.Error{Code: diag.JournalKey, Text: "a journal in PostgreSQL needs a journal_key, which is not in the database"}
	}
	text := strings.TrimRight(strings.TrimSpace(s.Reveal()), "=")
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.RawURLEncoding
	}
	secret, err := encoding.DecodeString(text)
	if err != nil || len(secret) < minSecret {
		return nil, &journal.Error{Code: diag.JournalKey, Text: fmt.Sprintf("journal_key must be base64 of at least %d bytes", minSecret)}
	}
	return secret, nil
}

// keys are what a journal is compared and encrypted with.
type keys struct {
	salt        []byte
	fingerprint []byte
	contents    cipher.AEAD
}

// Purposes of keys; a key of one opens nothing of another.
const (
	forFingerprints = "stetl journal: fingerprints"
	forStoring      = "stetl journal: the stored key of fingerprints"
	forContents     = "stetl journal: contents"
)

func derive(secret, salt []byte, purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, secret, salt, purpose, 32)
}

func aead(secret, salt []byte, purpose string) (cipher.AEAD, error) {
	key, err := derive(secret, salt, purpose)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// newKeys makes those of a new journal, with the key of a plan or of the journal that it is
// a copy of where there is one, and what is stored of them: it proves later that a secret is
// the right one.
func newKeys(secret, fingerprint []byte) (k *keys, stored []byte, err error) {
	k = &keys{salt: make([]byte, 16), fingerprint: fingerprint}
	_, _ = rand.Read(k.salt) // never fails, see crypto/rand
	if fingerprint == nil {
		if k.fingerprint, err = derive(secret, k.salt, forFingerprints); err != nil {
			return nil, nil, err
		}
	}
	storing, err := aead(secret, k.salt, forStoring)
	if err != nil {
		return nil, nil, err
	}
	if k.contents, err = aead(secret, k.salt, forContents); err != nil {
		return nil, nil, err
	}
	return k, storing.Seal(nil, nil, k.fingerprint, []byte(forStoring)), nil //nolint:gosec // the nonce is random: see cipher.NewGCMWithRandomNonce
}

// openKeys are those of a journal that is there.
func openKeys(secret, salt, stored []byte) (*keys, error) {
	k := &keys{salt: salt}
	storing, err := aead(secret, salt, forStoring)
	if err != nil {
		return nil, err
	}
	if k.fingerprint, err = storing.Open(nil, nil, stored, []byte(forStoring)); err != nil {
		return nil, err
	}
	k.contents, err = aead(secret, salt, forContents)
	return k, err
}

// place binds what is encrypted to where it belongs, so that it cannot be put in the place of
// something else.
func place(kind, scope, sourceID string) []byte {
	return []byte(kind + "\x00" + scope + "\x00" + sourceID)
}

// The kinds of what is encrypted.
const (
	kindImage  = "pre-image"
	kindReason = "reason"
)

func (k *keys) seal(kind, scope, sourceID string, clearText []byte) []byte {
	return k.contents.Seal(nil, nil, clearText, place(kind, scope, sourceID)) //nolint:gosec // the nonce is random: see cipher.NewGCMWithRandomNonce
}

func (k *keys) open(kind, scope, sourceID string, sealed []byte) ([]byte, error) {
	clearText, err := k.contents.Open(nil, nil, sealed, place(kind, scope, sourceID))
	if err != nil {
		return nil, errors.New("it was not written by a run with this journal_key")
	}
	return clearText, nil
}
