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

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/stetl/stetl/core/supertokens/cutover"
)

// authorization is the authorization endpoint: the login is to present a session.
// Nobody can sign in here otherwise, and nobody can sign in afresh.
type authorization struct {
	*common
	sessions sessions
	accounts Accounts
	provider *op.Provider
}

// errUnavailable sends somebody back who may try again.
func errUnavailable() *oidc.Error { return &oidc.Error{ErrorType: "temporarily_unavailable"} }

// answer sends the visitor back to the client with a code or an error. Only who
// comes from nowhere we know gets a page.
func (a *authorization) answer(w http.ResponseWriter, r *http.Request) {
	ctx := op.ContextWithIssuer(r.Context(), a.config.Issuer)
	in, err := op.ParseAuthorizeRequest(r, a.provider.Decoder())
	if err != nil {
		http.Error(w, "this is no authorization request", http.StatusBadRequest)
		return
	}
	code, err := a.code(ctx, r, in)
	if err == nil {
		a.back(w, r, in, &op.CodeResponseType{Code: code, State: in.State})
		return
	}
	e := oidc.DefaultToServerError(err, "something went wrong")
	if e.IsRedirectDisabled() {
		http.Error(w, e.Description, http.StatusBadRequest)
		return
	}
	e.State = in.State
	a.back(w, r, in, e)
}

// back redirects to the address of the client, which has been checked.
func (a *authorization) back(w http.ResponseWriter, r *http.Request, in *oidc.AuthRequest, answer any) {
	to, err := op.AuthResponseURL(in.RedirectURI, in.ResponseType, in.ResponseMode, answer, a.provider.Encoder())
	if err != nil {
		a.broken(w, r, err)
		return
	}
	http.Redirect(w, r, to, http.StatusFound)
}

// code issues a code for the session that a request presents. The session goes on
// until the code is redeemed.
func (a *authorization) code(ctx context.Context, r *http.Request, in *oidc.AuthRequest) (string, error) {
	hinted, err := a.check(ctx, in)
	if err != nil {
		return "", err
	}
	refuse := func(user, why string) (string, error) {
		a.audit.event(r, surfaceBrowser, outcomeRefused, user, reason(why))
		return "", oidc.ErrLoginRequired()
	}
	broken := func(user string, err error) (string, error) {
		a.audit.event(r, surfaceBrowser, outcomeFailed, user)
		a.failure(ctx, err)
		return "", errUnavailable()
	}
	p := a.sessions.ofBrowser(r)
	switch {
	case slices.Contains(in.Prompt, oidc.PromptLogin), slices.Contains(in.Prompt, oidc.PromptSelectAccount):
		return refuse("", "a fresh login, or a choice, was asked for")
	case len(p.access)+len(p.refresh) == 0: // who costs nothing is never too fast
		return refuse("", errNoSession.Error())
	case !a.guard.allow(surfaceBrowser, a.guard.client(r)):
		a.audit.event(r, surfaceBrowser, outcomeLimited, "", reason(tooFast))
		return "", errUnavailable()
	}
	found, user, err := a.sessions.verify(ctx, p)
	switch {
	case err != nil && !refusal(err):
		return broken("", err)
	case err != nil:
		return refuse("", err.Error())
	case hinted != "" && hinted != user.ID:
		return refuse(user.ID, "the session is not of the user in id_token_hint")
	case in.MaxAge != nil && a.db.Sessions().Now().Sub(found.Created).Seconds() > float64(*in.MaxAge):
		return refuse(user.ID, "the session began longer ago than max_age")
	}
	switch _, known, err := a.accounts.TargetID(ctx, user); {
	case err != nil:
		return broken(user.ID, err)
	case !known: // the target would have nobody to sign in
		return refuse(user.ID, errNotLoaded.Error())
	}
	kept, err := json.Marshal(request{
		ClientID: in.ClientID, RedirectURI: in.RedirectURI, Nonce: in.Nonce, Scopes: in.Scopes,
		Challenge: in.CodeChallenge, ChallengeMethod: in.CodeChallengeMethod, AuthTime: found.Created,
	})
	if err != nil {
		return broken(user.ID, err)
	}
	code := rand.Text()
	if err := a.db.Logins.Issue(ctx, code, cutover.Login{Request: kept, Session: found, UserID: user.ID}); err != nil {
		return broken(user.ID, err)
	}
	a.audit.event(r, surfaceBrowser, outcomeIssued, user.ID)
	return code, nil
}

// check is about the request alone; an error that may be sent back to the client
// comes only after its address is known to be good.
func (a *authorization) check(ctx context.Context, in *oidc.AuthRequest) (hinted string, err error) {
	client, err := a.provider.Storage().GetClientByClientID(ctx, in.ClientID)
	if err != nil {
		return "", oidc.ErrInvalidRequestRedirectURI().WithDescription("there is no such client")
	}
	hinted, err = op.ValidateAuthRequestClient(ctx, in, client, a.provider.IDTokenHintVerifier(ctx))
	switch {
	case err != nil:
		return "", err
	case in.RequestParam != "":
		return "", oidc.ErrRequestNotSupported()
	case strings.ContainsRune(in.State+in.Nonce+in.CodeChallenge, 0): // which PostgreSQL cannot hold
		return "", oidc.ErrInvalidRequest().WithDescription("a parameter has a NUL character")
	case in.ResponseMode == oidc.ResponseModeFormPost: // its page is a script, and no page here may run one
		return "", oidc.ErrInvalidRequest().WithDescription("response_mode form_post is not supported")
	}
	return hinted, nil
}

// tokens is the token endpoint, where a code becomes tokens of the bridge and the
// session ends.
type tokens struct {
	*common
	provider *op.Provider
}

// answer gives tokens for a code. Everything that could fail has been done before
// the session ends.
func (t *tokens) answer(w http.ResponseWriter, r *http.Request) {
	client := t.guard.client(r)
	ctx := op.ContextWithIssuer(r.Context(), t.config.Issuer)
	user, response, err := t.redeem(ctx, r)
	waits, limited := errors.AsType[waitError](err)
	switch {
	case err == nil:
		t.audit.event(r, surfaceBrowser, outcomeRedeemed, user)
		answerJSON(w, http.StatusOK, response)
		return
	case limited:
		t.audit.event(r, surfaceClient, outcomeLimited, "", reason(lockedOut))
		retryAfter(w, time.Duration(waits))
		oauthError(w, http.StatusTooManyRequests, "temporarily_unavailable", "too many attempts with a wrong secret")
		return
	case busy(err), isBroken(err):
		t.audit.event(r, surfaceBrowser, outcomeFailed, user, reason("the code is still good"))
		t.failure(ctx, err)
		w.Header().Set("Retry-After", retrySoon)
		oauthError(w, http.StatusServiceUnavailable, "temporarily_unavailable", "the code is still good; try again")
		return
	}
	e, status := oidc.DefaultToServerError(err, "something went wrong"), http.StatusBadRequest
	if e.ErrorType == oidc.InvalidClient {
		status = http.StatusUnauthorized
		t.guard.failed(r, surfaceClient, client)
	}
	t.audit.event(r, surfaceBrowser, outcomeRefused, user, reason(strings.TrimSpace(string(e.ErrorType)+" "+e.Description)))
	answerJSON(w, status, e)
}

// redeem looks at the client first, then at the code and its challenge; a code that
// the wrong one presents stays good for the right one.
func (t *tokens) redeem(ctx context.Context, r *http.Request) (user string, response *oidc.AccessTokenResponse, err error) {
	switch wait, err := t.guard.wait(ctx, surfaceClient, t.guard.client(r)); {
	case err != nil:
		return "", nil, brokenError{err}
	case wait > 0:
		return "", nil, waitError(wait)
	}
	grant := r.PostFormValue("grant_type") // before the library reads the form into a copy
	in, err := op.ParseAccessTokenRequest(r, t.provider.Decoder())
	switch {
	case err != nil:
		return "", nil, err
	case grant == "":
		return "", nil, oidc.ErrInvalidRequest().WithDescription("grant_type missing")
	case grant != string(oidc.GrantTypeCode):
		return "", nil, oidc.ErrUnsupportedGrantType()
	case in.Code == "":
		return "", nil, oidc.ErrInvalidRequest().WithDescription("code missing")
	}
	if err := op.AuthorizeClientIDSecret(ctx, in.ClientID, in.ClientSecret, t.provider.Storage()); err != nil {
		return "", nil, err
	}
	valid, client, err := op.ValidateAccessTokenRequest(ctx, in, t.provider)
	if err != nil {
		return "", nil, err
	}
	user = valid.GetSubject()
	kept, ok := valid.(*request)
	if !ok {
		return user, nil, brokenError{errors.New("a login of somebody else's")}
	}
	if response, err = op.CreateTokenResponse(ctx, valid, client, t.provider, true, in.Code, ""); err != nil {
		return user, nil, brokenError{err}
	}
	switch err := t.db.Logins.Redeem(ctx, in.Code, kept.login.Session); {
	case refusal(err):
		return user, nil, oidc.ErrInvalidGrant().WithDescription("%s", err.Error())
	case err != nil:
		return user, nil, brokenError{err}
	}
	return user, response, nil
}

// waitError is for who is locked out, for so long.
type waitError time.Duration

// Error implements error.
func (waitError) Error() string { return lockedOut }

// brokenError is for what is nobody's fault who asked; the library would tell it as
// a refusal.
type brokenError struct{ error }

// Unwrap returns what went wrong.
func (e brokenError) Unwrap() error { return e.error }
