package bridge

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/stetl/stetl/core/pluginapi"
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
	if h.config.Exchange.Audience != "" {
		to.add(base+"/handover", h.fromPages(h.config.Exchange.Origins, h.guard.limit(surfaceAPI, h.answer)))
	}
}

// answer turns a SuperTokens token, from the body or the Authorization header
// and never from a cookie, into tokens of the target. The session ends only when
// the target has given them.
func (h *handover) answer(w http.ResponseWriter, r *http.Request) {
	token, err := tokenOf(r)
	if err != nil {
		oauthError(w, http.StatusBadRequest, "invalid_request", "send the token as a bearer token, or as token in a form or in JSON")
		return
	}
	p := presented{access: []string{token}}
	if strings.HasSuffix(token, ".V2") {
		p = presented{refresh: []string{token}}
	}
	found, user, err := h.sessions.verify(r.Context(), p)
	var id string
	if err == nil {
		id, err = h.inTarget(r.Context(), user)
	}
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

var errNoToken = errors.New("no token")

func tokenOf(r *http.Request) (string, error) {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") && token != "" {
		return token, nil
	}
	var in struct {
		Token string `json:"token"`
	}
	if err := decodeJSON(r, &in); err == nil && in.Token != "" {
		return in.Token, nil
	}
	if err := r.ParseForm(); err == nil && r.PostForm.Get("token") != "" {
		return r.PostForm.Get("token"), nil
	}
	return "", errNoToken
}

// oauthError answers as RFC 6749 has it.
func oauthError(w http.ResponseWriter, status int, code, description string) {
	answerJSON(w, status, map[string]string{"error": code, "error_description": description})
}
