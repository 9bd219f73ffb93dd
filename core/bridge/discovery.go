package bridge

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/supertokens/session"
)

// discovery is what the bridge is as an OpenID provider. The library would name
// endpoints and abilities that are not here, and clients that import the document would
// use them.
func discovery(issuer, algorithm string) *oidc.DiscoveryConfiguration {
	return &oidc.DiscoveryConfiguration{
		Issuer:                issuer,
		AuthorizationEndpoint: issuer + pathAuthorize, TokenEndpoint: issuer + pathToken, UserinfoEndpoint: issuer + pathUserinfo,
		EndSessionEndpoint: issuer + pathEndSession, JwksURI: issuer + pathKeys,
		ScopesSupported:                   []string{oidc.ScopeOpenID},
		ResponseTypesSupported:            []string{string(oidc.ResponseTypeCode)},
		ResponseModesSupported:            []string{string(oidc.ResponseModeQuery), string(oidc.ResponseModeFragment)},
		GrantTypesSupported:               []oidc.GrantType{oidc.GrantTypeCode},
		SubjectTypesSupported:             []string{"public"},
		IDTokenSigningAlgValuesSupported:  []string{algorithm},
		TokenEndpointAuthMethodsSupported: []oidc.AuthMethod{oidc.AuthMethodPost, oidc.AuthMethodBasic},
		CodeChallengeMethodsSupported:     []oidc.CodeChallengeMethod{oidc.CodeChallengeMethodS256},
		ClaimsSupported:                   []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "azp", "at_hash", "c_hash"},
	}
}

// endSession is the logout that a client asks for (RP-initiated logout): people are sent
// back to it, and the session of SuperTokens that their browser still has is over, too.
type endSession struct {
	*common
	sessions sessions
	provider *op.Provider
}

func (e *endSession) answer(w http.ResponseWriter, r *http.Request) {
	ctx := op.ContextWithIssuer(r.Context(), e.config.Issuer)
	in, err := op.ParseEndSessionRequest(r, e.provider.Decoder())
	if err != nil {
		e.sorry(w, r, http.StatusBadRequest, "this is no logout request", wordNoSense)
		return
	}
	if in.IdTokenHint != "" {
		claims, err := op.VerifyIDTokenHint[*oidc.IDTokenClaims](ctx, in.IdTokenHint, e.provider.IDTokenHintVerifier(ctx))
		if err != nil && !errors.As(err, &op.IDTokenHintExpiredError{}) {
			e.sorry(w, r, http.StatusBadRequest, "the id_token_hint is not of this provider", wordNoSense)
			return
		}
		if in.ClientID != "" && in.ClientID != claims.GetAuthorizedParty() {
			e.sorry(w, r, http.StatusBadRequest, "the id_token_hint is of another client", wordNoSense)
			return
		}
		in.ClientID = claims.GetAuthorizedParty()
		e.end(r, claims.GetSubject())
	}
	to := e.backTo(in)
	switch { // it is over in any case
	case to != "":
		http.Redirect(w, r, to, http.StatusFound)
	case person(r):
		e.show(w, r, http.StatusOK, page{Title: wordSignedOut})
	default:
		_, _ = w.Write([]byte("You are signed out.\n"))
	}
}

// end ends the session that the browser presents, if it is of this user. Without the
// word of the client any page could sign people out.
func (e *endSession) end(r *http.Request, user string) {
	p := e.sessions.ofBrowser(r)
	if len(p.access)+len(p.refresh) == 0 {
		return
	}
	if !e.guard.allow(surfaceLogout, e.guard.client(r)) {
		e.audit.event(r, surfaceLogout, outcomeLimited, user, reason(tooFast))
		return
	}
	found, u, err := e.sessions.verify(r.Context(), p)
	if err == nil && u.ID == user {
		err = e.db.Logins.End(r.Context(), found)
		if err == nil {
			e.audit.event(r, surfaceLogout, outcomeDone, user)
		}
	}
	if err != nil && !refusal(err) && !errors.Is(err, session.ErrRevoked) {
		e.audit.event(r, surfaceLogout, outcomeFailed, user)
		e.failure(r.Context(), err)
	}
}

// backTo is the address to go on to, empty unless the client has it: one that is
// configured, or one below an address for codes.
func (e *endSession) backTo(in *oidc.EndSessionRequest) string {
	to, err := url.Parse(in.PostLogoutRedirectURI)
	if err != nil || in.PostLogoutRedirectURI == "" {
		return ""
	}
	for _, c := range e.config.Clients {
		if (in.ClientID == "" || in.ClientID == c.ID) && mayReturn(c, in.PostLogoutRedirectURI) {
			if in.State != "" {
				q := to.Query()
				q.Set("state", in.State)
				to.RawQuery = q.Encode()
			}
			return to.String()
		}
	}
	return ""
}

func mayReturn(c config.BridgeClient, to string) bool {
	for _, known := range c.PostLogoutRedirectURIs {
		if to == known {
			return true
		}
	}
	for _, known := range c.RedirectURIs {
		if below, ok := strings.CutPrefix(to, known+"/"); ok && !strings.Contains(below, "..") {
			return true
		}
	}
	return false
}
