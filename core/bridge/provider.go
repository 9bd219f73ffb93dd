package bridge

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/stetl/stetl/core/supertokens/cutover"
)

// tokenAge is how long the broker may take to read what it was given.
const tokenAge = 5 * time.Minute

// providerRoutes are those of the provider: all of its endpoints that are of use here.
func providerRoutes(to *router, base string, c *common, accounts Accounts, provider *op.Provider, algorithm string) {
	open := http.StripPrefix(base, provider).ServeHTTP
	about := discovery(c.config.Issuer, algorithm)
	to.add(base+"/.well-known/openid-configuration", route{http.MethodGet: func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, http.StatusOK, about) }})
	to.add(base+pathKeys, route{http.MethodGet: open})
	to.add(base+pathUserinfo, route{http.MethodGet: open, http.MethodPost: open})
	authorize := (&authorization{c, sessions{c}, accounts, provider}).answer
	to.add(base+pathAuthorize, route{http.MethodGet: authorize, http.MethodPost: authorize})
	to.add(base+pathToken, route{http.MethodPost: (&tokens{c, provider}).answer})
	end := (&endSession{c, sessions{c}, provider}).answer
	to.add(base+pathEndSession, route{http.MethodGet: end, http.MethodPost: end})
}

// The endpoints, below the issuer. Where they can be, they are the library's.
const (
	pathAuthorize  = "/authorize"
	pathToken      = "/oauth/token" //nolint:gosec // a path
	pathUserinfo   = "/userinfo"
	pathKeys       = "/keys"
	pathEndSession = "/end_session"
)

// newProvider is the OpenID provider over st.
func newProvider(st *storage, insecure bool) (*op.Provider, error) {
	var options []op.Option
	if insecure { // the configuration has checked that this is meant
		options = append(options, op.WithAllowInsecure())
	}
	options = append(options, op.WithCORSOptions(nil), op.WithCrypto(sealed{op.NewAES256GCMCrypto(st.keys.derived("access tokens"), "")}),
		op.WithAccessTokenKeySet(noKeys{}))
	p, err := op.NewProvider(&op.Config{CodeMethodS256: true, AuthMethodPost: true, SupportedScopes: []string{"openid"}},
		st, op.StaticIssuer(st.config.Issuer), options...)
	if err != nil {
		return nil, fmt.Errorf("set up the OpenID provider: %w", err)
	}
	return p, nil
}

// storage is the library's view of the bridge. Logins begin and end in the
// endpoints, [authorization] and [tokens].
type storage struct {
	*common
	keys *signer
}

var _ op.Storage = (*storage)(nil)

// CreateAuthRequest implements [op.AuthStorage].
func (*storage) CreateAuthRequest(context.Context, *oidc.AuthRequest, string) (op.AuthRequest, error) {
	return nil, errors.ErrUnsupported
}

// AuthRequestByID implements [op.AuthStorage].
func (*storage) AuthRequestByID(context.Context, string) (op.AuthRequest, error) {
	return nil, errors.ErrUnsupported
}

// AuthRequestByCode implements [op.AuthStorage]. The code stays good.
func (st *storage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	l, err := st.db.Logins.Get(ctx, code)
	switch {
	case errors.Is(err, cutover.ErrNoLogin):
		return nil, err
	case err != nil:
		return nil, brokenError{err}
	}
	r := &request{login: l}
	if err := json.Unmarshal(l.Request, r); err != nil {
		return nil, brokenError{fmt.Errorf("read a login: %w", err)}
	}
	return r, nil
}

// SaveAuthCode implements [op.AuthStorage].
func (*storage) SaveAuthCode(context.Context, string, string) error { return errors.ErrUnsupported }

// DeleteAuthRequest implements [op.AuthStorage]: redeeming the code has done it.
func (*storage) DeleteAuthRequest(context.Context, string) error { return nil }

// CreateAccessToken implements [op.AuthStorage].
func (*storage) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	expires := time.Now().Add(tokenAge)
	return strconv.FormatInt(expires.Unix(), 10), expires, nil
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
func (st *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{st.keys.algorithm}, nil
}

// KeySet implements [op.AuthStorage].
func (st *storage) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{publicKey{st.keys}}, nil
}

// GetClientByClientID implements [op.OPStorage].
func (st *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	for _, c := range st.config.Clients {
		if c.ID == id {
			return client{c}, nil
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
	user, err := base64.RawURLEncoding.DecodeString(subject)
	info.Subject = string(user)
	return err
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
