package bridge

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
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
		a.sorry(w, r, http.StatusBadRequest, "this is no authorization request", wordNoSense)
		return
	}
	code, err := a.code(ctx, r, in)
	if err == nil {
		a.back(w, r, in, &op.CodeResponseType{Code: code, State: in.State})
		return
	}
	if to, ok := errors.AsType[elsewhere](err); ok {
		http.Redirect(w, r, string(to), http.StatusFound)
		return
	}
	e := oidc.DefaultToServerError(err, "something went wrong")
	if e.IsRedirectDisabled() {
		a.sorry(w, r, http.StatusBadRequest, e.Description, wordNoSense)
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
	p, ticket := a.sessions.ofBrowser(r), r.FormValue(parameterTicket)
	switch {
	case slices.Contains(in.Prompt, oidc.PromptLogin), slices.Contains(in.Prompt, oidc.PromptSelectAccount):
		return refuse("", "a fresh login, or a choice, was asked for")
	case ticket == "" && len(p.access)+len(p.refresh) == 0: // who costs nothing is never too fast
		if to := a.ticketPage(r, in); to != "" {
			return "", elsewhere(to)
		}
		return refuse("", errNoSession.Error())
	case !a.guard.allow(surfaceBrowser, a.guard.client(r)):
		a.audit.event(r, surfaceBrowser, outcomeLimited, "", reason(tooFast))
		return "", errUnavailable()
	}
	found, user, err := a.find(ctx, p, ticket, in)
	switch {
	case err != nil && !refusal(err):
		return broken(user.ID, err)
	case err != nil:
		return refuse(user.ID, err.Error())
	case hinted != "" && hinted != user.ID:
		return refuse(user.ID, "the session is not of the user in id_token_hint")
	case in.MaxAge != nil && a.db.Sessions().Now().Sub(found.Created).Seconds() > float64(*in.MaxAge):
		return refuse(user.ID, "the session began longer ago than max_age")
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

// elsewhere sends a visitor to a page of the application.
type elsewhere string

// Error implements error.
func (elsewhere) Error() string { return "the application has a page that may know a session" }

// ticketPage is where an application that keeps its tokens itself can get a ticket for
// this request, and comes back with it, or with an empty one. It is empty where there is
// no such page, and for who has been there. What the page needs stands in the fragment,
// which is in no log.
func (a *authorization) ticketPage(r *http.Request, in *oidc.AuthRequest) string {
	if r.Form.Has(parameterTicket) || in.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return ""
	}
	for _, c := range a.config.Clients {
		if c.ID == in.ClientID && c.TicketPage != "" {
			return c.TicketPage + "#" + url.Values{
				"authorize": {a.config.Issuer + pathAuthorize + "?" + r.Form.Encode()}, "client_id": {in.ClientID}, "code_challenge": {in.CodeChallenge},
			}.Encode()
		}
	}
	return ""
}

// parameterTicket is a ticket of an application, in the place of cookies.
const parameterTicket = "ticket"

// find finds the session that is presented. A ticket comes before cookies, which may be of
// somebody who was here before.
func (a *authorization) find(ctx context.Context, p presented, ticket string, in *oidc.AuthRequest) (session.Session, session.User, error) {
	if ticket == "" {
		found, user, err := a.sessions.verify(ctx, p)
		if err != nil {
			return found, user, err
		}
		_, known, err := a.accounts.TargetID(ctx, user)
		if err == nil && !known {
			err = errNotLoaded
		}
		return found, user, err
	}
	if in.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return session.Session{}, session.User{}, cutover.ErrNoTicket
	}
	l, err := a.db.Logins.TakeTicket(ctx, ticket, cutover.Binding{ClientID: in.ClientID, Challenge: in.CodeChallenge})
	return l.Session, session.User{ID: l.UserID}, err
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
