package bridge

import (
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/stetl/stetl/core/config"
)

// request is what of an authorization request is kept, and the library's view of
// it.
type request struct {
	ID            string            `json:"-"`
	Subject       string            `json:"-"`
	Finished      bool              `json:"-"`
	ClientID      string            `json:"client_id"`
	RedirectURI   string            `json:"redirect_uri"`
	State         string            `json:"state,omitempty"`
	Nonce         string            `json:"nonce,omitempty"`
	Scopes        []string          `json:"scopes"`
	ResponseType  oidc.ResponseType `json:"response_type"`
	ResponseMode  oidc.ResponseMode `json:"response_mode,omitempty"`
	Challenge     string            `json:"code_challenge,omitempty"`
	ChallengeMode string            `json:"code_challenge_method,omitempty"`
	AuthTime      time.Time         `json:"auth_time"`
}

var _ op.AuthRequest = (*request)(nil)

// The getters implement [op.AuthRequest].

// GetID implements [op.AuthRequest].
func (r *request) GetID() string { return r.ID }

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
	return &oidc.CodeChallenge{Challenge: r.Challenge, Method: oidc.CodeChallengeMethod(r.ChallengeMode)}
}

// GetNonce implements [op.AuthRequest].
func (r *request) GetNonce() string { return r.Nonce }

// GetRedirectURI implements [op.AuthRequest].
func (r *request) GetRedirectURI() string { return r.RedirectURI }

// GetResponseType implements [op.AuthRequest].
func (r *request) GetResponseType() oidc.ResponseType { return r.ResponseType }

// GetResponseMode implements [op.AuthRequest].
func (r *request) GetResponseMode() oidc.ResponseMode { return r.ResponseMode }

// GetScopes implements [op.AuthRequest].
func (r *request) GetScopes() []string { return r.Scopes }

// GetState implements [op.AuthRequest].
func (r *request) GetState() string { return r.State }

// GetSubject implements [op.AuthRequest].
func (r *request) GetSubject() string { return r.Subject }

// Done implements [op.AuthRequest].
func (r *request) Done() bool { return r.Finished }

// client is a configured relying party.
type client struct {
	config.BridgeClient
	callback string
}

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

// LoginURL implements [op.Client]. There is no page to sign in at: who gets here
// has presented a session, and goes on at once.
func (c client) LoginURL(id string) string { return c.callback + id }

// AccessTokenType implements [op.Client]. A JWT needs no store, and a user id may
// hold what the library's opaque tokens cannot.
func (client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

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
