package auth0

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// tokenError is an answer of the token endpoint that is no token.
type tokenError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
	status      int
}

func (e *tokenError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.status, e.Code, e.Description)
}

// token asks the token endpoint of a domain.
func token(ctx context.Context, client *http.Client, domain string, form url.Values) ([]byte, error) {
	ctx = httpx.Once(ctx) // a limit of sign-ins is an answer, and an assertion counts once
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+domain+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := client.Do(r)
	if err != nil {
		return nil, httpx.Redact(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		e := &tokenError{status: answer.StatusCode}
		_ = json.Unmarshal(body, e) // what is not JSON has no code
		return nil, e
	}
	return body, nil
}

// Lacks implements [sdk.Limited]: without an application to sign in with, no canary
// need be loaded.
func (t *live) Lacks() []sdk.Ability {
	if t.config.CanaryClientID == "" {
		return []sdk.Ability{sdk.CanLogin}
	}
	return nil
}

// wrongPassword is what a tenant says about a wrong password; the other words depend on
// what the connection identifies users by.
var wrongPassword = regexp.MustCompile(`(?i)^wrong .*password`)

// Login implements [sdk.Authenticator] with the password grant for a realm, through
// an application that the configuration names.
func (t *live) Login(ctx context.Context, l sdk.Login) (bool, error) {
	if t.config.CanaryClientID == "" {
		return false, &sdk.Failure{
			Code: sdk.CodeLoginUnavailable, Detail: "no application for test sign-ins is configured",
			Hint: "name one with the password grant, enabled for the connection, in canary_client_id and canary_client_secret",
		}
	}
	_, err := token(ctx, t.api.Plain, t.config.Domain, url.Values{
		"grant_type": {"http://auth0.com/oauth/grant-type/password-realm"}, "realm": {t.config.Connection}, "scope": {"openid"},
		"client_id": {t.config.CanaryClientID}, "client_secret": {t.config.CanaryClientSecret.Reveal()},
		"username": {l.Username}, "password": {l.Password.Reveal()},
	})
	answer, answered := errors.AsType[*tokenError](err)
	switch {
	case err == nil:
		return true, nil
	case answered && answer.Code == "mfa_required":
		return true, nil // the password was right, and more is asked for
	case answered && answer.Code == "invalid_grant" && wrongPassword.MatchString(answer.Description):
		return false, nil
	case answered:
		return false, &sdk.Failure{Code: sdk.CodeTargetRefused, Detail: "the password was not checked: " + answer.Error()}
	}
	return false, err
}

// SetPassword implements [sdk.PasswordSetter].
func (t *live) SetPassword(ctx context.Context, c sdk.PasswordChange) error {
	id, err := t.named(ctx, c.TargetID, c.Email)
	if err != nil {
		return err
	}
	err = t.api.Call(ctx, http.MethodPatch, t.api.URI("users", id), map[string]any{"password": c.Password.Reveal(), "connection": t.config.Connection}, nil)
	if tenant.Refused(err) {
		return &sdk.Failure{Code: sdk.CodePasswordRefused, Detail: err.Error(), Hint: "choose a password that the connection's policy allows"}
	}
	return explain(err)
}

// StartReset implements [sdk.ResetStarter] with a ticket: the browser is sent to
// the tenant's page, and no mail leaves.
func (t *live) StartReset(ctx context.Context, r sdk.Reset) (string, error) {
	id, err := t.named(ctx, r.TargetID, r.Email)
	if err != nil {
		return "", err
	}
	body := map[string]any{"user_id": id}
	if r.RedirectURI != "" {
		body["result_url"] = r.RedirectURI
	}
	var ticket struct {
		Ticket string `json:"ticket"`
	}
	// A second ticket does no harm.
	err = t.api.Call(ctx, http.MethodPost, t.api.URI("tickets", "password-change"), body, &ticket)
	if tenant.Refused(err) {
		return "", &sdk.Failure{Code: sdk.CodeTargetRefused, Detail: err.Error(), Hint: "check that the application has the scope create:user_tickets"}
	}
	return ticket.Ticket, explain(err)
}

// named returns the id of an account that is named by id or by address.
func (t *live) named(ctx context.Context, id, email string) (string, error) {
	if id != "" {
		a, err := t.directory.Read(ctx, id)
		if err != nil {
			return "", explain(err)
		}
		if a != nil {
			return a.UserID, nil
		}
	}
	if email != "" {
		list, err := t.directory.ByEmail(ctx, strings.ToLower(email))
		if err != nil {
			return "", explain(err)
		}
		for _, a := range list {
			if a.In(t.config.Connection) {
				return a.UserID, nil
			}
		}
	}
	return "", &sdk.Failure{Code: sdk.CodeNoSuchAccount, Detail: "the connection has no such account", Hint: "load the users first"}
}

// Exchange implements [sdk.SessionExchanger] with custom token exchange (RFC 8693):
// an Action of the tenant verifies the host's assertion and names the user.
func (t *live) Exchange(ctx context.Context, a sdk.Assertion) (sdk.Tokens, error) {
	id, secret := t.config.ExchangeClientID, t.config.ExchangeClientSecret
	if id == "" {
		id, secret = t.config.ClientID, t.config.ClientSecret
	}
	form := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {a.JWT.Reveal()},
		"subject_token_type": {t.config.ExchangeTokenType}, "client_id": {id},
	}
	if a.ClientID != "" && a.ClientID != id {
		form.Set("client_id", a.ClientID) // an application in a browser or on a phone has no secret
	} else {
		form.Set("client_secret", secret.Reveal())
	}
	if a.Scope != "" {
		form.Set("scope", a.Scope)
	}
	answer, err := token(ctx, t.api.Plain, t.config.Domain, form)
	if e, ok := errors.AsType[*tokenError](err); ok {
		return sdk.Tokens{}, &sdk.Failure{
			Code: sdk.CodeTargetRefused, Detail: e.Error(), Hint: "the tenant needs a custom token exchange profile of type " + t.config.ExchangeTokenType + "; see docs/auth0.md",
		}
	}
	return sdk.Tokens{JSON: sdk.NewSecret(string(answer))}, err
}
