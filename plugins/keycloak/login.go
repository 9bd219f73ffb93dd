package keycloak

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// Login implements [sdk.Authenticator] with the password grant: through the client
// that the configuration names, else through one that exists for the time of the
// question.
func (t *live) Login(ctx context.Context, l sdk.Login) (accepted bool, err error) {
	id, secret := t.config.CanaryClientID, t.config.CanaryClientSecret
	if id == "" {
		remove, err := temporaryClient(ctx, t.api, &id, &secret)
		if err != nil {
			return false, explain(err)
		}
		defer func() {
			// Also when the run is to stop: the client must not stay.
			err = errors.Join(err, remove(context.WithoutCancel(ctx)))
		}()
	}
	_, err = t.api.ask(ctx, t.config.Realm, map[string]string{
		"grant_type": "password", "client_id": id, "client_secret": secret.Reveal(), "username": l.Username, "password": l.Password.Reveal(), "scope": "openid",
	})
	answer, answered := errors.AsType[*statusError](err)
	switch {
	case err == nil:
		return true, nil
	case !answered:
		return false, err
	case strings.Contains(answer.message, "not fully set up"):
		return true, nil // which is said to those only whose password is right
	case answer.status >= http.StatusInternalServerError, strings.Contains(answer.message, "Invalid user credentials"):
		// Both answer whoever lacks the second factor that a realm asks for.
		obstacle, lookup := grantObstacle(ctx, t.api, t.config)
		if lookup == nil && obstacle != "" {
			return false, &sdk.Failure{Code: sdk.CodeLoginUnavailable, Detail: obstacle, Hint: proofHint}
		}
		if answer.status >= http.StatusInternalServerError {
			return false, err
		}
		return false, nil
	case strings.HasPrefix(answer.message, "invalid_grant: Account"): // it is about this one
		return false, &sdk.Failure{Code: sdk.CodeTargetRefused, Detail: "the password was not checked: " + answer.message}
	}
	return false, &sdk.Failure{Code: sdk.CodeLoginUnavailable, Detail: "the realm does not allow a sign-in with only a password: " + answer.message, Hint: proofHint}
}

// temporaryClient creates a confidential client for password grants and returns
// how to remove it.
func temporaryClient(ctx context.Context, a *api, id *string, secret *sdk.Secret) (func(context.Context) error, error) {
	name, internal := "stetl-canary-"+strings.ToLower(rand.Text()), strings.ToLower(rand.Text())
	*id, *secret = name, sdk.NewSecret(rand.Text())
	err := a.write(ctx, http.MethodPost, a.realmPath("clients"), map[string]any{
		"id": internal, "clientId": name, "secret": secret.Reveal(), "enabled": true, "publicClient": false,
		"directAccessGrantsEnabled": true, "standardFlowEnabled": false, "serviceAccountsEnabled": false,
		"description": "proves that old passwords work; may be deleted",
	})
	if status(err) == http.StatusForbidden {
		return nil, &sdk.Failure{
			Code: sdk.CodeLoginUnavailable, Detail: withoutClient, Hint: withoutClientHint,
		}
	}
	if refused(err) {
		return nil, &sdk.Failure{Code: sdk.CodeLoginUnavailable, Detail: "the realm does not allow creating a client for test sign-ins: " + err.Error(), Hint: proofHint}
	}
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if err := a.remove(ctx, "clients", internal); err != nil {
			return fmt.Errorf("remove the client %s, which was made to prove a password: %w", name, err)
		}
		return nil
	}, nil
}

// SetPassword implements [sdk.PasswordSetter].
func (t *live) SetPassword(ctx context.Context, c sdk.PasswordChange) error {
	id, err := t.find(ctx, c.TargetID, c.Email)
	if err != nil {
		return err
	}
	err = t.api.write(ctx, http.MethodPut, t.api.realmPath("users", id, "reset-password"), map[string]any{
		"type": "password", "value": c.Password.Reveal(), "temporary": false,
	})
	if e, ok := errors.AsType[*statusError](err); ok && refused(err) {
		return &sdk.Failure{Code: sdk.CodePasswordRefused, Detail: e.message, Hint: "choose a password that the realm's policy allows"}
	}
	if err != nil {
		return explain(err)
	}
	if err := settleReset(ctx, t.api, id); err != nil || !c.EndSessions {
		return err
	}
	// The password is set: that sessions go on is no reason to say that it is not.
	if err := t.api.write(ctx, http.MethodPost, t.api.realmPath("users", id, "logout"), nil); err != nil {
		t.env.Log.WarnContext(ctx, "a new password is set, but the sessions of the account could not be ended", slog.String("account", id), slog.String("error", explain(err).Error()))
	}
	return nil
}

// settleReset takes away the demand for a new password, now that there is one.
func settleReset(ctx context.Context, a *api, id string) error {
	var u struct {
		RequiredActions []string `json:"requiredActions"`
	}
	if err := a.read(ctx, a.realmPath("users", id), nil, &u); err != nil {
		return explain(err)
	}
	left := []string{}
	for _, action := range u.RequiredActions {
		if action != actionUpdatePassword {
			left = append(left, action)
		}
	}
	if len(left) == len(u.RequiredActions) {
		return nil
	}
	if err := a.write(ctx, http.MethodPut, a.realmPath("users", id), map[string]any{"requiredActions": left}); err != nil {
		return explain(err)
	}
	return nil
}

// StartReset implements [sdk.ResetStarter]: the server sends the user a mail.
func (t *live) StartReset(ctx context.Context, r sdk.Reset) (string, error) {
	id, err := t.find(ctx, r.TargetID, r.Email)
	if err != nil {
		return "", err
	}
	query := url.Values{}
	if r.RedirectURI != "" && t.config.ExchangeClientID != "" {
		query = url.Values{"client_id": {t.config.ExchangeClientID}, "redirect_uri": {r.RedirectURI}}
	}
	body, _ := json.Marshal([]string{actionUpdatePassword})
	err = t.api.call(ctx, http.MethodPut, t.api.realmPath("users", id, "execute-actions-email"), query, body, nil)
	if e, ok := errors.AsType[*statusError](err); ok {
		return "", &sdk.Failure{Code: sdk.CodeTargetRefused, Detail: e.message, Hint: "check that the realm can send mail, and that the account has an address"}
	}
	return "", err
}

// find returns the id of an account that is named by id or by address.
func (t *live) find(ctx context.Context, id, email string) (string, error) {
	if id != "" {
		held, err := t.api.userByID(ctx, id)
		if err != nil {
			return "", explain(err)
		}
		if held != nil {
			return held.ID, nil
		}
	}
	if email != "" {
		held, err := t.api.userBy(ctx, "email", email)
		if err != nil {
			return "", explain(err)
		}
		if held != nil {
			return held.ID, nil
		}
	}
	return "", &sdk.Failure{Code: sdk.CodeNoSuchAccount, Detail: "the realm has no such account", Hint: "load the users first"}
}

// Exchange implements [sdk.SessionExchanger] with the JWT authorization grant (RFC
// 7523): the realm trusts the host's keys through an identity provider to which
// the user is linked. The answer has an access token and no refresh token.
func (t *live) Exchange(ctx context.Context, a sdk.Assertion) (sdk.Tokens, error) {
	id, secret := t.config.ExchangeClientID, t.config.ExchangeClientSecret
	if id == "" {
		id, secret = t.config.ClientID, t.config.ClientSecret
	}
	form := map[string]string{
		"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": a.JWT.Reveal(), "client_id": id, "client_secret": secret.Reveal(),
	}
	if a.Scope != "" {
		form["scope"] = a.Scope
	}
	answer, err := t.api.ask(ctx, t.config.Realm, form)
	if e, ok := errors.AsType[*statusError](err); ok {
		return sdk.Tokens{}, &sdk.Failure{
			Code: sdk.CodeTargetRefused, Detail: e.message,
			Hint: "the client needs the JWT authorization grant and the identity provider of the bridge; see docs/bridge.md",
		}
	}
	return sdk.Tokens{JSON: sdk.NewSecret(string(answer))}, err
}
