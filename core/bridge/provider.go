package bridge

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/stetl/stetl/core/supertokens/cutover"
)

// tokenAge is how long the broker may take to read what it was given.
const tokenAge = 5 * time.Minute

// providerRoutes are those of the provider: all of its endpoints that are of use here.
func providerRoutes(to *router, base string, s sessions, provider http.Handler) {
	open := http.StripPrefix(base, provider).ServeHTTP
	to.add(base+"/.well-known/openid-configuration", route{http.MethodGet: open})
	to.add(base+"/keys", route{http.MethodGet: open})
	to.add(base+"/userinfo", route{http.MethodGet: open, http.MethodPost: open})
	login := s.guard.limit(surfaceBrowser, s.withTokens(open))
	to.add(base+"/authorize", route{http.MethodGet: login, http.MethodPost: login})
	to.add(base+"/authorize/callback", route{http.MethodGet: login})
	to.add(base+"/oauth/token", route{http.MethodPost: s.guard.clients(open)})
}

// newProvider is the OpenID provider over st.
func newProvider(st *storage, insecure bool) (http.Handler, error) {
	var options []op.Option
	if insecure { // the configuration has checked that this is meant
		options = append(options, op.WithAllowInsecure())
	}
	options = append(options, op.WithCORSOptions(nil))
	p, err := op.NewProvider(&op.Config{CryptoKey: st.keys.derived("codes"), CodeMethodS256: true, AuthMethodPost: true, SupportedScopes: []string{"openid"}},
		st, op.StaticIssuer(st.config.Issuer), options...)
	if err != nil {
		return nil, fmt.Errorf("set up the OpenID provider: %w", err)
	}
	return p, nil
}

// storage is the library's view of the database.
type storage struct {
	*common
	sessions sessions
	keys     *signer
}

var _ op.Storage = (*storage)(nil)

// CreateAuthRequest implements [op.AuthStorage]: the login is to present a
// session. Nobody can sign in here otherwise, and nobody can sign in afresh.
func (st *storage) CreateAuthRequest(ctx context.Context, in *oidc.AuthRequest, hinted string) (op.AuthRequest, error) {
	p, _ := ctx.Value(presentedKey{}).(presented)
	refuse := func(user, why string) (op.AuthRequest, error) {
		st.audit.event(p.request, surfaceBrowser, outcomeRefused, user, reason(why))
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
	found, user, err := st.sessions.verify(ctx, p)
	switch {
	case err != nil && !refusal(err):
		st.failure(ctx, err)
		return nil, oidc.ErrServerError()
	case err != nil:
		if forged(err) {
			st.guard.failed(p.request, surfaceBrowser, st.guard.client(p.request))
		}
		return refuse("", err.Error())
	case hinted != "" && hinted != user.ID:
		return refuse(user.ID, "the session is not of the user in id_token_hint")
	case in.MaxAge != nil && st.db.Sessions().Now().Sub(found.Created).Seconds() > float64(*in.MaxAge):
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
	if err := st.db.Logins.Begin(ctx, cutover.Login{ID: r.ID, Request: kept, Session: found, UserID: user.ID}); err != nil {
		st.failure(ctx, err)
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
		st.failure(ctx, err)
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
	l, err := st.db.Logins.Get(ctx, id)
	return st.restore(ctx, l, err)
}

// AuthRequestByCode implements [op.AuthStorage]. A code is good for one question.
func (st *storage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	l, err := st.db.Logins.Redeem(ctx, code)
	return st.restore(ctx, l, err)
}

// SaveAuthCode implements [op.AuthStorage]: the session ends with the transaction
// that makes the code good.
func (st *storage) SaveAuthCode(ctx context.Context, id, code string) error {
	p, _ := ctx.Value(presentedKey{}).(presented)
	l, err := st.db.Logins.Issue(ctx, id, code)
	user := l.UserID
	switch {
	case err == nil:
		st.audit.event(p.request, surfaceBrowser, outcomeDone, user)
		return nil
	case refusal(err), busy(err): // the other attempt ends the session
		st.audit.event(p.request, surfaceBrowser, outcomeRefused, user, reason(err.Error()))
		return oidc.ErrLoginRequired()
	default:
		st.failure(ctx, err)
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
func (st *storage) SigningKey(context.Context) (op.SigningKey, error) { return st.keys, nil }

// SignatureAlgorithms implements [op.AuthStorage].
func (*storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// KeySet implements [op.AuthStorage].
func (st *storage) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{publicKey{st.keys}}, nil
}

// GetClientByClientID implements [op.OPStorage].
func (st *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	for _, c := range st.config.Clients {
		if c.ID == id {
			return client{c, st.config.Issuer + "/authorize/callback?id="}, nil
		}
	}
	return nil, errors.New("no such client")
}

// AuthorizeClientIDSecret implements [op.OPStorage].
func (st *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	for _, c := range st.config.Clients {
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
func (st *storage) Health(ctx context.Context) error { return st.db.Ping(ctx) }
