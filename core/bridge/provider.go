package bridge

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
)

// presented are the tokens that came with a request.
type presented struct {
	request         *http.Request
	access, refresh []string
}

type presentedKey struct{}

// maxPresented bounds the work that one request can make. Browsers have two
// cookies of each kind where SuperTokens' domain settings were changed once.
const maxPresented = 8

// withTokens gives the provider's storage what the browser sent.
func (s *Server) withTokens(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p := presented{request: r}
		for _, c := range r.Cookies() {
			switch {
			case c.Value == "" || len(p.access)+len(p.refresh) == maxPresented:
			case slices.Contains(s.config.Cookies.Access, c.Name):
				p.access = append(p.access, cookieText(c.Value))
			case slices.Contains(s.config.Cookies.Refresh, c.Name):
				p.refresh = append(p.refresh, cookieText(c.Value))
			}
		}
		next(w, r.WithContext(context.WithValue(r.Context(), presentedKey{}, p)))
	}
}

// errNoSession is for a browser that presents nothing.
var errNoSession = errors.New("no session was presented")

// verify finds a live session behind any of the tokens, and whose it is. Access
// tokens come first; a browser that was away has only a refresh token that is
// still good.
func (s *Server) verify(ctx context.Context, p presented) (session.Session, session.User, error) {
	sessions := s.o.DB.Sessions()
	err := errNoSession
	for _, try := range []struct {
		tokens []string
		verify func(context.Context, string, session.Check) (session.Session, error)
	}{{p.access, sessions.VerifyAccess}, {p.refresh, sessions.VerifyRefresh}} {
		for _, token := range try.tokens {
			found, e := try.verify(ctx, token, session.Check{Claims: s.config.RequiredClaims})
			if e == nil {
				u, e := sessions.User(ctx, found)
				if e == nil {
					return found, u, nil
				}
				err = e
				continue
			}
			if errors.Is(err, errNoSession) || !refusal(e) {
				err = e
			}
		}
	}
	return session.Session{}, session.User{}, err
}

// refusal tells whether an error is about what was presented, not about the
// database.
func refusal(err error) bool {
	for _, e := range []error{
		errNoSession, session.ErrMalformed, session.ErrSignature, session.ErrExpired, session.ErrRevoked, session.ErrReplaced,
		session.ErrAntiCSRF, session.ErrTenant, session.ErrClaim, session.ErrNoUser, cutover.ErrNoLogin, cutover.ErrNoLink,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// forged tells whether a token was made up, rather than out of date.
func forged(err error) bool {
	return errors.Is(err, session.ErrMalformed) || errors.Is(err, session.ErrSignature)
}

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

// tokenAge is how long the broker may take to read what it was given.
const tokenAge = 5 * time.Minute

// storage is the library's view of the database.
type storage struct{ s *Server }

var _ op.Storage = (*storage)(nil)

// CreateAuthRequest implements [op.AuthStorage]: the login is to present a
// session. Nobody can sign in here otherwise, and nobody can sign in afresh.
func (st *storage) CreateAuthRequest(ctx context.Context, in *oidc.AuthRequest, hinted string) (op.AuthRequest, error) {
	p, _ := ctx.Value(presentedKey{}).(presented)
	refuse := func(user, why string) (op.AuthRequest, error) {
		st.s.audit.event(p.request, surfaceBrowser, outcomeRefused, user, reason(why))
		return nil, oidc.ErrLoginRequired()
	}
	switch {
	case slices.Contains(in.Prompt, oidc.PromptLogin), slices.Contains(in.Prompt, oidc.PromptSelectAccount):
		return refuse("", "a fresh login, or a choice, was asked for")
	case strings.ContainsRune(in.State+in.Nonce+in.CodeChallenge, 0): // which JSON in PostgreSQL cannot hold
		return nil, oidc.ErrInvalidRequest().WithDescription("a parameter has a NUL character")
	case in.ResponseMode == oidc.ResponseModeFormPost: // its page is a script, and no page here may run one
		return nil, oidc.ErrInvalidRequest().WithDescription("response_mode form_post is not supported")
	}
	found, user, err := st.s.verify(ctx, p)
	switch {
	case err != nil && !refusal(err):
		st.s.failure(ctx, err)
		return nil, oidc.ErrServerError()
	case err != nil:
		if forged(err) {
			st.s.guard.failed(p.request, surfaceBrowser, st.s.guard.client(p.request))
		}
		return refuse("", err.Error())
	case hinted != "" && hinted != user.ID:
		return refuse(user.ID, "the session is not of the user in id_token_hint")
	case in.MaxAge != nil && st.s.o.DB.Sessions().Now().Sub(found.Created).Seconds() > float64(*in.MaxAge):
		return refuse(user.ID, "the session began longer ago than max_age")
	}
	r := &request{
		ID: rand.Text(), Subject: user.ID, Finished: true, ClientID: in.ClientID, RedirectURI: in.RedirectURI, State: in.State, Nonce: in.Nonce, Scopes: in.Scopes,
		ResponseType: in.ResponseType, ResponseMode: in.ResponseMode, Challenge: in.CodeChallenge, ChallengeMode: string(in.CodeChallengeMethod), AuthTime: found.Created,
	}
	kept, err := json.Marshal(r)
	if err != nil {
		return nil, oidc.ErrServerError()
	}
	if err := st.s.o.DB.Begin(ctx, cutover.Login{ID: r.ID, Request: kept, Session: found, UserID: user.ID}); err != nil {
		st.s.failure(ctx, err)
		return nil, oidc.ErrServerError()
	}
	return r, nil
}

// restore takes errors, too: what the library is given, it tells the visitor.
func (st *storage) restore(ctx context.Context, l cutover.Login, err error) (op.AuthRequest, error) {
	switch {
	case errors.Is(err, cutover.ErrNoLogin):
		return nil, oidc.ErrInvalidGrant().WithDescription("unknown, used or too old")
	case err != nil:
		st.s.failure(ctx, err)
		return nil, oidc.ErrServerError()
	}
	r := &request{}
	if err := json.Unmarshal(l.Request, r); err != nil {
		return nil, oidc.ErrServerError()
	}
	r.ID, r.Subject, r.Finished = l.ID, l.UserID, true
	return r, nil
}

// AuthRequestByID implements [op.AuthStorage].
func (st *storage) AuthRequestByID(ctx context.Context, id string) (op.AuthRequest, error) {
	l, err := st.s.o.DB.Login(ctx, id)
	return st.restore(ctx, l, err)
}

// AuthRequestByCode implements [op.AuthStorage]. A code is good for one question.
func (st *storage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	l, err := st.s.o.DB.Redeem(ctx, code)
	return st.restore(ctx, l, err)
}

// SaveAuthCode implements [op.AuthStorage]: the session ends with the transaction
// that makes the code good.
func (st *storage) SaveAuthCode(ctx context.Context, id, code string) error {
	p, _ := ctx.Value(presentedKey{}).(presented)
	l, err := st.s.o.DB.Issue(ctx, id, code)
	user := l.UserID
	switch {
	case err == nil:
		st.s.audit.event(p.request, surfaceBrowser, outcomeDone, user)
		return nil
	case refusal(err), busy(err): // the other attempt ends the session
		st.s.audit.event(p.request, surfaceBrowser, outcomeRefused, user, reason(err.Error()))
		return oidc.ErrLoginRequired()
	default:
		st.s.failure(ctx, err)
		return oidc.ErrServerError()
	}
}

// DeleteAuthRequest implements [op.AuthStorage]: redeeming the code has done it.
func (*storage) DeleteAuthRequest(context.Context, string) error { return nil }

// CreateAccessToken implements [op.AuthStorage].
func (*storage) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	return rand.Text(), time.Now().Add(tokenAge), nil
}

// CreateAccessAndRefreshTokens implements [op.AuthStorage]: the bridge hands over
// and keeps nothing going.
func (*storage) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (accessID, refresh string, expires time.Time, err error) {
	return "", "", time.Time{}, oidc.ErrUnsupportedGrantType()
}

// TokenRequestByRefreshToken implements [op.AuthStorage].
func (*storage) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, oidc.ErrInvalidGrant()
}

// TerminateSession implements [op.AuthStorage].
func (*storage) TerminateSession(context.Context, string, string) error { return nil }

// RevokeToken implements [op.AuthStorage].
func (*storage) RevokeToken(context.Context, string, string, string) *oidc.Error { return nil }

// GetRefreshTokenInfo implements [op.AuthStorage].
func (*storage) GetRefreshTokenInfo(context.Context, string, string) (userID, tokenID string, err error) {
	return "", "", op.ErrInvalidRefreshToken
}

// SigningKey implements [op.AuthStorage].
func (st *storage) SigningKey(context.Context) (op.SigningKey, error) { return st.s.keys, nil }

// SignatureAlgorithms implements [op.AuthStorage].
func (*storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// KeySet implements [op.AuthStorage].
func (st *storage) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{publicKey{st.s.keys}}, nil
}

// GetClientByClientID implements [op.OPStorage].
func (st *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	for _, c := range st.s.config.Clients {
		if c.ID == id {
			return client{c, st.s.config.Issuer + "/authorize/callback?id="}, nil
		}
	}
	return nil, errors.New("no such client")
}

// AuthorizeClientIDSecret implements [op.OPStorage].
func (st *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	for _, c := range st.s.config.Clients {
		if c.ID == id && sameSecret(c.Secret.Reveal(), secret) {
			return nil
		}
	}
	return errors.New("no such client, or not its secret")
}

// SetUserinfoFromScopes implements [op.OPStorage]. Tokens say who it is by id and
// nothing else; the broker knows the rest since the load.
func (*storage) SetUserinfoFromScopes(_ context.Context, info *oidc.UserInfo, user, _ string, _ []string) error {
	info.Subject = user // which the library would take from here, empty as it is
	return nil
}

// SetUserinfoFromToken implements [op.OPStorage].
func (*storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, _, subject, _ string) error {
	info.Subject = subject
	return nil
}

// SetIntrospectionFromToken implements [op.OPStorage].
func (*storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errors.ErrUnsupported
}

// GetPrivateClaimsFromScopes implements [op.OPStorage].
func (*storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return map[string]any{}, nil
}

// GetKeyByIDAndClientID implements [op.OPStorage].
func (*storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errors.ErrUnsupported
}

// ValidateJWTProfileScopes implements [op.OPStorage].
func (*storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errors.ErrUnsupported
}

// Health implements [op.Storage].
func (st *storage) Health(ctx context.Context) error { return st.s.o.DB.Ping(ctx) }
