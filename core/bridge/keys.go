package bridge

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/stetl/stetl/core/canonical"
)

// signer is the key of the bridge. It implements the library's views of a private
// and, as publicKey, of a public key.
type signer struct {
	key       crypto.Signer
	algorithm jose.SignatureAlgorithm
	id        string
	seed      []byte // of keys for other purposes
}

func newSigner(key crypto.Signer) (*signer, error) {
	s := &signer{key: key}
	var err error
	switch k := key.(type) {
	case *rsa.PrivateKey:
		s.algorithm, s.seed = jose.RS256, x509.MarshalPKCS1PrivateKey(k)
	case *ecdsa.PrivateKey:
		s.algorithm = jose.ES256
		s.seed, err = x509.MarshalECPrivateKey(k)
	default:
		return nil, fmt.Errorf("the bridge has no signing key")
	}
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	sum, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("name the signing key: %w", err)
	}
	s.id = base64.RawURLEncoding.EncodeToString(sum)
	return s, nil
}

// SignatureAlgorithm implements [op.SigningKey].
func (s *signer) SignatureAlgorithm() jose.SignatureAlgorithm { return s.algorithm }

// Key implements [op.SigningKey].
func (s *signer) Key() any { return s.key }

// ID implements [op.SigningKey].
func (s *signer) ID() string { return s.id }

// publicKey is the half that is published.
type publicKey struct{ s *signer }

var _ op.Key = publicKey{}

// ID implements [op.Key].
func (p publicKey) ID() string { return p.s.id }

// Algorithm implements [op.Key].
func (p publicKey) Algorithm() jose.SignatureAlgorithm { return p.s.algorithm }

// Use implements [op.Key].
func (publicKey) Use() string { return "sig" }

// Key implements [op.Key].
func (p publicKey) Key() any { return p.s.key.Public() }

// derived is a key for another purpose, the same at every instance.
func (s *signer) derived(purpose string) (out [32]byte) {
	mac := hmac.New(sha256.New, s.seed)
	mac.Write([]byte("stetl bridge " + purpose))
	copy(out[:], mac.Sum(nil))
	return out
}

// assertionAge is how long an assertion is good: it is exchanged at once.
const assertionAge = time.Minute

// assertionClaims are what differs between assertions.
type assertionClaims struct {
	Issuer, Subject, Audience string
	TargetID                  string
}

// assertion signs that the bearer acts for a user. The target finds the user by
// the subject, or by a claim of its own id, which differs where the account was
// there before.
func (s *signer) assertion(c assertionClaims, now time.Time) (canonical.Secret, error) {
	with, err := jose.NewSigner(jose.SigningKey{Algorithm: s.algorithm, Key: jose.JSONWebKey{Key: s.key, KeyID: s.id}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return canonical.Secret{}, fmt.Errorf("sign an assertion: %w", err)
	}
	text, err := jwt.Signed(with).Claims(jwt.Claims{
		Issuer: c.Issuer, Subject: c.Subject, Audience: jwt.Audience{c.Audience}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(assertionAge)),
	}).Claims(struct {
		TargetID string `json:"target_id"`
	}{c.TargetID}).Serialize()
	if err != nil {
		return canonical.Secret{}, fmt.Errorf("sign an assertion: %w", err)
	}
	return canonical.NewSecret(text), nil
}
