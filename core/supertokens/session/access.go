package session

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/stetl/stetl/core/supertokens"
)

// Why a token is refused. The errors of this package wrap one of these; a
// server that answers strangers tells them no more than "refused".
var (
	// ErrMalformed is for text that no SuperTokens core ever made.
	ErrMalformed = errors.New("not a SuperTokens token")
	// ErrSignature is for a token that no key of this app made.
	ErrSignature = errors.New("signed by no key of this app")
	// ErrExpired is for a token, or a session, past its time.
	ErrExpired = errors.New("expired")
	// ErrRevoked is for a token whose session is not there any more.
	ErrRevoked = errors.New("the session has been revoked")
	// ErrReplaced is for a refresh token that has been exchanged already.
	ErrReplaced = errors.New("the token has been replaced by a newer one")
	// ErrAntiCSRF is for a request without the anti-CSRF token of the session.
	ErrAntiCSRF = errors.New("the anti-CSRF token is missing or wrong")
	// ErrTenant is for a session of another tenant than the one asked for.
	ErrTenant = errors.New("the session belongs to another tenant")
	// ErrClaim is for a session that has not got what its application asks for
	// before it counts, such as a second factor.
	ErrClaim = errors.New("a claim of the session is not satisfied")
	// ErrNoUser is for a session of a user that does not exist.
	ErrNoUser = supertokens.ErrNoUser
	// ErrSharedID is the ErrNoUser of an id that two accounts have.
	ErrSharedID = supertokens.ErrSharedID
)

// maxToken bounds what is parsed. Cookies end at 4 KiB; headers can be longer.
const maxToken = 64 << 10

// claims are what every version of access tokens says.
type claims struct {
	version   int
	handle    string
	userID    string // sub: the visible id; from V5 on that of the account
	recipeID  string // rsub, from V5 on
	tenant    string // "public" before V4
	expires   time.Time
	created   time.Time
	hash      string // of the refresh token of this pair
	parent    string // of the refresh token before
	antiCSRF  string
	usedKeyID string
}

// parseAccess checks form and signature, nothing that depends on time or on the
// database.
func (k *Keys) parseAccess(token string) (claims, error) {
	if len(token) > maxToken {
		return claims{}, ErrMalformed
	}
	header, rest, ok := strings.Cut(token, ".")
	if !ok || strings.Count(rest, ".") != 1 {
		return claims{}, ErrMalformed
	}
	for version, known := range oldHeaders {
		if header == known {
			return k.parseOld(token, version)
		}
	}
	return k.parseJWT(token)
}

// oldHeaders are the headers of versions 1 and 2, always the same bytes.
var oldHeaders = map[int]string{
	1: oldHeader("1"),
	2: oldHeader("2"),
}

func oldHeader(version string) string {
	return base64.StdEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT","version":"` + version + `"}`))
}

// parseOld reads versions 1 and 2: three parts in standard, padded base64, no
// key id, times in milliseconds. Which key made it is found by trying all, as
// the core does.
func (k *Keys) parseOld(token string, version int) (claims, error) {
	signed := token[:strings.LastIndexByte(token, '.')]
	signature, err := decodeStd(token[len(signed)+1:])
	if err != nil {
		return claims{}, ErrMalformed
	}
	digest := sha256.Sum256([]byte(signed))
	usedKeyID := ""
	for _, key := range k.All {
		if rsa.VerifyPKCS1v15(key.Public, crypto.SHA256, digest[:], signature) == nil {
			usedKeyID = key.ID
			break
		}
	}
	if usedKeyID == "" {
		return claims{}, ErrSignature
	}
	_, payload, _ := strings.Cut(signed, ".")
	raw, err := decodeStd(payload)
	if err != nil {
		return claims{}, ErrMalformed
	}
	var p struct {
		Handle   string  `json:"sessionHandle"`
		UserID   string  `json:"userId"`
		Hash     string  `json:"refreshTokenHash1"`
		Parent   *string `json:"parentRefreshTokenHash1"`
		AntiCSRF *string `json:"antiCsrfToken"`
		Expires  int64   `json:"expiryTime"`
		Created  int64   `json:"timeCreated"`
	}
	if err := decodeOne(raw, &p); err != nil || p.Handle == "" || p.UserID == "" || p.Hash == "" || p.Expires <= 0 {
		return claims{}, ErrMalformed
	}
	return claims{
		version: version, handle: p.Handle, userID: p.UserID, tenant: publicTenant,
		expires: time.UnixMilli(p.Expires), created: time.UnixMilli(p.Created),
		hash: p.Hash, parent: text(p.Parent), antiCSRF: text(p.AntiCSRF), usedKeyID: usedKeyID,
	}, nil
}

// parseJWT reads version 3 and later, which are JWTs. Only RS256 is accepted,
// and only keys of the database: what a token says about keys is used as an
// index into these and for nothing else.
func (k *Keys) parseJWT(token string) (claims, error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil || len(parsed.Headers) != 1 {
		return claims{}, ErrMalformed
	}
	head := parsed.Headers[0]
	if _, critical := head.ExtraHeaders["crit"]; critical { // RFC 7515: nothing is understood, so nothing may be critical
		return claims{}, ErrSignature
	}
	version := 0
	switch head.ExtraHeaders["version"] {
	case "3":
		version = 3
	case "4":
		version = 4
	case "5":
		version = 5
	default: // a JWT of the JWT recipe has none and is not a session
		return claims{}, ErrMalformed
	}
	var p struct {
		Sub      string  `json:"sub"`
		RecipeID string  `json:"rsub"`
		Tenant   string  `json:"tId"`
		Handle   string  `json:"sessionHandle"`
		Hash     string  `json:"refreshTokenHash1"`
		Parent   *string `json:"parentRefreshTokenHash1"`
		AntiCSRF *string `json:"antiCsrfToken"`
		Expires  int64   `json:"exp"`
		Created  int64   `json:"iat"`
	}
	usedKeyID := ""
	for _, key := range k.byID(head.KeyID) {
		if parsed.Claims(key.Public, &p) == nil {
			usedKeyID = key.ID
			break
		}
	}
	switch {
	case usedKeyID == "":
		return claims{}, ErrSignature
	case p.Handle == "" || p.Sub == "" || p.Hash == "" || p.Expires <= 0,
		version >= 4 && p.Tenant == "", version >= 5 && p.RecipeID == "":
		return claims{}, ErrMalformed
	case version < 4:
		p.Tenant = publicTenant
	}
	return claims{
		version: version, handle: p.Handle, userID: p.Sub, recipeID: p.RecipeID, tenant: p.Tenant,
		expires: time.Unix(p.Expires, 0), created: time.Unix(p.Created, 0),
		hash: p.Hash, parent: text(p.Parent), antiCSRF: text(p.AntiCSRF), usedKeyID: usedKeyID,
	}, nil
}

// saysExpired tells whether a token itself says that its time is over, without a
// look at who signed it. It is for tokens whose key is gone: cores delete keys that
// no live token can be of.
func saysExpired(token string, now time.Time) bool {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(payload))
	if err != nil {
		return false
	}
	var p struct {
		Seconds int64 `json:"exp"`
		Millis  int64 `json:"expiryTime"`
	}
	switch err := decodeOne(raw, &p); {
	case err != nil:
		return false
	case p.Seconds > 0:
		return !now.Before(time.Unix(p.Seconds, 0))
	default:
		return p.Millis > 0 && !now.Before(time.UnixMilli(p.Millis))
	}
}

// decodeStd decodes padded base64, and takes one spelling only: the decoder of the
// standard library skips line breaks.
func decodeStd(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, ErrMalformed
	}
	return base64.StdEncoding.Strict().DecodeString(text)
}

// decodeOne decodes exactly one JSON value. Claims of applications beside ours
// are none of our business.
func decodeOne(raw []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(into); err != nil {
		return err
	}
	if dec.More() {
		return errors.New("more than one value")
	}
	return nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
