package scim

import (
	"context"
	"errors"
	"net/http"

	"golang.org/x/oauth2"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// Login implements [sdk.Authenticator]: SCIM cannot be asked whether a password is
// right, so the provider's token endpoint is, with the password grant.
func (t *live) Login(ctx context.Context, l sdk.Login) (bool, error) {
	p := t.config.Password
	if p.CheckTokenURL == "" {
		return false, &sdk.Failure{Code: sdk.CodeLoginUnavailable, Detail: "no address for test sign-ins is configured", Hint: "set password.check_token_url"}
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, t.api.unsigned)
	cc := oauth2.Config{ClientID: p.CheckClientID, ClientSecret: p.CheckSecret.Reveal(), Endpoint: oauth2.Endpoint{TokenURL: p.CheckTokenURL}}
	_, err := cc.PasswordCredentialsToken(ctx, l.Username, l.Password.Reveal())
	if err == nil {
		return true, nil
	}
	if r, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		if r.ErrorCode == "invalid_grant" || (r.ErrorCode == "" && r.Response != nil && r.Response.StatusCode == http.StatusUnauthorized) {
			return false, nil
		}
		return false, &sdk.Failure{Code: sdk.CodeLoginUnavailable, Detail: "the token endpoint answers " + r.ErrorCode, Hint: "the client needs the password grant"}
	}
	return false, &sdk.Failure{Code: sdk.CodeLoginUnavailable, Detail: t.api.scrubber.Text(httpx.Redact(err).Error()), Hint: "check password.check_token_url"}
}
