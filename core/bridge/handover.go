package bridge

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
)

// retrySoon is the Retry-After of what is busy now.
const retrySoon = "5"

// handover gives tokens of the target for a session of SuperTokens.
type handover struct {
	*common
	sessions sessions
	target   Target
	accounts Accounts
	turns    turns
	keys     *signer
}

func (h *handover) routes(to *router, base string) {
	if len(h.config.Clients) > 0 {
		to.add(base+"/handover/ticket", h.fromPages(h.config.Exchange.Origins, h.guard.limit(surfaceAPI, h.ticket)))
	}
	if h.config.Exchange.Audience != "" {
		to.add(base+"/handover", h.fromPages(h.config.Exchange.Origins, h.guard.limit(surfaceAPI, h.answer)))
	}
}

// answer turns a SuperTokens token, from the body or the Authorization header
// and never from a cookie, into tokens of the target. The session ends only when
// the target has given them.
func (h *handover) answer(w http.ResponseWriter, r *http.Request) {
	asked := asked(r)
	if asked.Token == "" {
		oauthError(w, http.StatusBadRequest, "invalid_request", "send the token as a bearer token, or as token in a form or in JSON")
		return
	}
	found, user, id, err := h.find(r.Context(), asked.Token)
	if err == nil {
		var tokens pluginapi.Tokens
		err = h.turns.ask(r.Context(), func(ctx context.Context) error {
			return h.db.Logins.Exchange(ctx, found, func() (err error) {
				tokens, err = h.exchange(ctx, user, id)
				return err
			})
		})
		if err == nil {
			h.audit.event(r, surfaceAPI, outcomeDone, user.ID)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(tokens.JSON.Reveal()))
			return
		}
	}
	h.refuse(w, r, user, err)
}

// find finds the session of a token, whose it is, and the account in the target.
func (h *handover) find(ctx context.Context, token string) (found session.Session, user session.User, id string, err error) {
	p := presented{access: []string{token}}
	if strings.HasSuffix(token, ".V2") {
		p = presented{refresh: []string{token}}
	}
	if found, user, err = h.sessions.verify(ctx, p); err == nil {
		id, err = h.inTarget(ctx, user)
	}
	return found, user, id, err
}

// refuse answers an error; the session goes on.
func (h *handover) refuse(w http.ResponseWriter, r *http.Request, user session.User, err error) {
	failure, refused := errors.AsType[*pluginapi.Failure](err)
	switch {
	case errors.Is(err, errNotLoaded):
		h.audit.event(r, surfaceAPI, outcomeRefused, user.ID, reason(err.Error()))
		oauthError(w, http.StatusForbidden, "access_denied", err.Error())
	case refusal(err):
		h.audit.event(r, surfaceAPI, outcomeRefused, user.ID, reason(err.Error()))
		oauthError(w, http.StatusUnauthorized, "invalid_grant", "the session is not there any more")
	case busy(err):
		h.audit.event(r, surfaceAPI, outcomeLimited, user.ID, reason(err.Error()))
		w.Header().Set("Retry-After", retrySoon)
		oauthError(w, http.StatusServiceUnavailable, "temporarily_unavailable", "the session is still good; try again")
	case refused:
		h.audit.event(r, surfaceAPI, outcomeFailed, user.ID, slog.String("code", string(failure.Code)))
		h.failure(r.Context(), failure)
		oauthError(w, http.StatusBadGateway, "temporarily_unavailable", "the session is still good; sign in, or try again later")
	default:
		h.audit.event(r, surfaceAPI, outcomeFailed, user.ID)
		h.failure(r.Context(), err)
		oauthError(w, http.StatusBadGateway, "temporarily_unavailable", "the session is still good; sign in, or try again later")
	}
}

// errNotLoaded is for accounts that no run has brought to the target, which would have
// nobody to sign in.
var errNotLoaded = errors.New("no run has loaded this account")

// inTarget is the id of an account in the target.
func (h *handover) inTarget(ctx context.Context, user session.User) (string, error) {
	id, known, err := h.accounts.TargetID(ctx, user)
	if err == nil && !known {
		err = errNotLoaded
	}
	return id, err
}

// exchange has the target give tokens for a user.
func (h *handover) exchange(ctx context.Context, user session.User, id string) (pluginapi.Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	signed, err := h.keys.assertion(assertionClaims{Issuer: h.config.Issuer, Subject: user.ID, Audience: h.config.Exchange.Audience, TargetID: id}, time.Now())
	if err != nil {
		return pluginapi.Tokens{}, err
	}
	return h.target.Exchange(ctx, pluginapi.Assertion{JWT: signed, TargetID: id, ClientID: h.config.Exchange.ClientID, Scope: h.config.Exchange.Scope})
}

// question is what an application asks for.
type question struct {
	Token     string `json:"token"`
	ClientID  string `json:"client_id"`
	Challenge string `json:"code_challenge"`
}

// asked reads a question, from JSON or a form; a bearer token counts before one in there.
func asked(r *http.Request) (q question) {
	if err := decodeJSON(r, &q); err != nil {
		q = question{Token: r.PostFormValue("token"), ClientID: r.PostFormValue("client_id"), Challenge: r.PostFormValue("code_challenge")}
	}
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") && token != "" {
		q.Token = token
	}
	return q
}

// challenge is a code challenge of the method S256 (RFC 7636).
var challenge = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// ticket gives something that stands for the session in one authorization request, for
// applications whose browser has no cookie of it. It is bound to that request: whoever
// gets hold of it could otherwise sign in, or sign somebody else in.
func (h *handover) ticket(w http.ResponseWriter, r *http.Request) {
	q := asked(r)
	known := slices.ContainsFunc(h.config.Clients, func(c config.BridgeClient) bool { return c.ID == q.ClientID })
	if q.Token == "" || !known || !challenge.MatchString(q.Challenge) {
		oauthError(w, http.StatusBadRequest, "invalid_request", "send the token, and client_id and code_challenge (S256) of the authorization request")
		return
	}
	found, user, _, err := h.find(r.Context(), q.Token)
	ticket := rand.Text()
	if err == nil {
		err = h.db.Logins.IssueTicket(r.Context(), ticket, cutover.Binding{ClientID: q.ClientID, Challenge: q.Challenge}, cutover.Login{Session: found, UserID: user.ID})
	}
	if err != nil {
		h.refuse(w, r, user, err)
		return
	}
	h.audit.event(r, surfaceAPI, outcomeIssued, user.ID)
	answerJSON(w, http.StatusOK, map[string]any{"ticket": ticket, "expires_in": int(cutover.TicketAge.Seconds())})
}

// oauthError answers as RFC 6749 has it.
func oauthError(w http.ResponseWriter, status int, code, description string) {
	answerJSON(w, status, map[string]string{"error": code, "error_description": description})
}
