package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
)

// refreshClaims are what a refresh token says inside its encryption.
type refreshClaims struct {
	Handle   string  `json:"sessionHandle"`
	UserID   string  `json:"userId"`
	Parent   *string `json:"parentRefreshTokenHash1"`
	Nonce    string  `json:"nonce"`
	AntiCSRF *string `json:"antiCsrfToken"`
	Tenant   *string `json:"tenantId"`

	hash string
}

const (
	ivSize           = 12
	refreshKeyRounds = 100 // the key is random; rounds add nothing, the core has it so
)

// parseRefresh decrypts a refresh token: base64 of iv and ciphertext, the nonce
// again in clear, and the version.
func (k *Keys) parseRefresh(token string) (refreshClaims, error) {
	parts := strings.Split(token, ".")
	if len(token) > maxToken || len(parts) != 3 || parts[2] != "V2" {
		return refreshClaims{}, ErrMalformed
	}
	sealed, err := decodeStd(parts[0])
	if err != nil || len(sealed) <= ivSize {
		return refreshClaims{}, ErrMalformed
	}
	if k.refresh.IsZero() {
		return refreshClaims{}, ErrSignature
	}
	key, err := pbkdf2.Key(sha512.New, k.refresh.Reveal(), sealed[:ivSize], refreshKeyRounds, 32)
	if err != nil {
		return refreshClaims{}, fmt.Errorf("derive the key of refresh tokens: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return refreshClaims{}, fmt.Errorf("set up decryption of refresh tokens: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return refreshClaims{}, fmt.Errorf("set up decryption of refresh tokens: %w", err)
	}
	opened, err := gcm.Open(nil, sealed[:ivSize], sealed[ivSize:], nil)
	if err != nil {
		return refreshClaims{}, ErrSignature
	}
	var c refreshClaims
	if err := decodeOne(opened, &c); err != nil || c.Handle == "" || c.UserID == "" {
		return refreshClaims{}, ErrMalformed
	}
	if subtle.ConstantTimeCompare([]byte(c.Nonce), []byte(parts[1])) != 1 {
		return refreshClaims{}, ErrSignature
	}
	c.hash = hashHex(token)
	return c, nil
}

// hashHex is how the core hashes tokens: SHA-256 as lower-case hex. The database
// has the hash of the hash.
func hashHex(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
