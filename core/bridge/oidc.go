package bridge

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/supertokens/cutover"
)

// request is what of an authorization request is kept, and the library's view of
// it.
type request struct {
	ClientID        string                   `json:"client_id"`
	RedirectURI     string                   `json:"redirect_uri"`
	Nonce           string                   `json:"nonce,omitempty"`
	Scopes          []string                 `json:"scopes"`
	Challenge       string                   `json:"code_challenge,omitempty"`
	ChallengeMethod oidc.CodeChallengeMethod `json:"code_challenge_method,omitempty"`
	AuthTime        time.Time                `json:"auth_time"`

	login cutover.Login
}

var _ op.AuthRequest = (*request)(nil)

// The getters implement [op.AuthRequest].

// GetID implements [op.AuthRequest]: the code is its name.
func (*request) GetID() string { return "" }

// GetACR implements [op.AuthRequest].
func (*request) GetACR() string { return "" }

// GetAMR implements [op.AuthRequest].
func (*request) GetAMR() []string { return nil }

// GetAudience implements [op.AuthRequest].
func (r *request) GetAudience() []string { return []string{r.ClientID} }

// GetAuthTime implements [op.AuthRequest]: when the SuperTokens session began.
func (r *request) GetAuthTime() time.Time { return r.AuthTime }

// GetClientID implements [op.AuthRequest].
func (r *request) GetClientID() string { return r.ClientID }

// GetCodeChallenge implements [op.AuthRequest].
func (r *request) GetCodeChallenge() *oidc.CodeChallenge {
	if r.Challenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: r.Challenge, Method: r.ChallengeMethod}
}

// GetNonce implements [op.AuthRequest].
func (r *request) GetNonce() string { return r.Nonce }

// GetRedirectURI implements [op.AuthRequest].
func (r *request) GetRedirectURI() string { return r.RedirectURI }

// GetResponseType implements [op.AuthRequest].
func (*request) GetResponseType() oidc.ResponseType { return oidc.ResponseTypeCode }

// GetResponseMode implements [op.AuthRequest].
func (*request) GetResponseMode() oidc.ResponseMode { return "" }

// GetScopes implements [op.AuthRequest].
func (r *request) GetScopes() []string { return r.Scopes }

// GetState implements [op.AuthRequest]: it has gone back with the code.
func (*request) GetState() string { return "" }

// GetSubject implements [op.AuthRequest].
func (r *request) GetSubject() string { return r.login.UserID }

// Done implements [op.AuthRequest].
func (*request) Done() bool { return true }

// client is a configured relying party.
type client struct{ config.BridgeClient }

var _ op.Client = client{}

// GetID implements [op.Client].
func (c client) GetID() string { return c.ID }

// RedirectURIs implements [op.Client].
func (c client) RedirectURIs() []string { return c.BridgeClient.RedirectURIs }

// PostLogoutRedirectURIs implements [op.Client].
func (client) PostLogoutRedirectURIs() []string { return nil }

// ApplicationType implements [op.Client].
func (client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }

// AuthMethod implements [op.Client].
func (client) AuthMethod() oidc.AuthMethod { return oidc.AuthMethodPost }

// ResponseTypes implements [op.Client].
func (client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}

// GrantTypes implements [op.Client].
func (client) GrantTypes() []oidc.GrantType { return []oidc.GrantType{oidc.GrantTypeCode} }

// LoginURL implements [op.Client]. There is no page to sign in at.
func (client) LoginURL(string) string { return "" }

// AccessTokenType implements [op.Client]: see [sealed].
func (client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeBearer }

// IDTokenLifetime implements [op.Client].
func (client) IDTokenLifetime() time.Duration { return tokenAge }

// DevMode implements [op.Client].
func (client) DevMode() bool { return false }

// RestrictAdditionalIdTokenScopes implements [op.Client].
func (client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

// RestrictAdditionalAccessTokenScopes implements [op.Client].
func (client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

// IsScopeAllowed implements [op.Client].
func (client) IsScopeAllowed(string) bool { return false }

// IDTokenUserinfoClaimsAssertion implements [op.Client].
func (client) IDTokenUserinfoClaimsAssertion() bool { return false }

// ClockSkew implements [op.Client].
func (client) ClockSkew() time.Duration { return 0 }

// sealed makes the access tokens, which are good for userinfo and nothing else: an
// encrypted user id needs no store, and costs a thousandth of a second signature. The
// name that the library gives a token is the time until which it is good.
type sealed struct{ op.Crypto }

// Encrypt implements [op.Crypto]. A user id may hold what the library divides by.
func (s sealed) Encrypt(text string) (string, error) {
	until, user, _ := strings.Cut(text, ":")
	return s.Crypto.Encrypt(until + ":" + base64.RawURLEncoding.EncodeToString([]byte(user)))
}

// Decrypt implements [op.Crypto].
func (s sealed) Decrypt(token string) (string, error) {
	text, err := s.Crypto.Decrypt(token)
	if err != nil {
		return "", err
	}
	until, _, _ := strings.Cut(text, ":")
	if seconds, err := strconv.ParseInt(until, 10, 64); err != nil || !time.Now().Before(time.Unix(seconds, 0)) {
		return "", oidc.ErrExpired
	}
	return text, nil
}

// noKeys verifies nothing: no token that is signed is an access token, and the library
// would take an ID token for one.
type noKeys struct{}

// VerifySignature implements [oidc.KeySet].
func (noKeys) VerifySignature(context.Context, *jose.JSONWebSignature) ([]byte, error) {
	return nil, oidc.ErrSignatureInvalid
}
