package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens/session"
)

// retrySoon is the Retry-After of what is busy now.
const retrySoon = "5"

func reason(text string) slog.Attr { return slog.String("reason", text) }

// failure is for errors that are not about what was presented.
func (s *Server) failure(ctx context.Context, err error) {
	s.o.Log.ErrorContext(ctx, "the bridge cannot answer", slog.String("error", err.Error()))
}

// cookieText undoes the percent encoding that some of SuperTokens' libraries put
// on cookie values.
func cookieText(value string) string {
	if plain, err := url.QueryUnescape(strings.ReplaceAll(value, "+", "%2B")); err == nil {
		return plain
	}
	return value
}

// cors lets the configured web applications call.
func (s *Server) cors(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if origin != "" && slices.Contains(s.config.Exchange.Origins, origin) {
			h := w.Header()
			h.Set("Access-Control-Allow-Origin", origin)
			h.Add("Vary", "Origin")
			h.Set("Access-Control-Allow-Methods", "POST")
			h.Set("Access-Control-Allow-Headers", "authorization, content-type, rid, fdi-version, st-auth-mode, anti-csrf")
			h.Set("Access-Control-Max-Age", "600")
		}
		next(w, r)
	}
}

// handover turns a SuperTokens token, from the body or the Authorization header
// and never from a cookie, into tokens of the target. The session ends only when
// the target has given them.
func (s *Server) handover(w http.ResponseWriter, r *http.Request) {
	token, err := tokenOf(r)
	if err != nil {
		oauthError(w, http.StatusBadRequest, "invalid_request", "send the token as a bearer token, or as token in a form or in JSON")
		return
	}
	p := presented{request: r, access: []string{token}}
	if strings.HasSuffix(token, ".V2") {
		p = presented{request: r, refresh: []string{token}}
	}
	found, user, err := s.verify(r.Context(), p)
	if err == nil {
		var tokens pluginapi.Tokens
		err = s.ask(r.Context(), func(ctx context.Context) error {
			return s.o.DB.Exchange(ctx, found, func() (err error) {
				tokens, err = s.exchange(ctx, user)
				return err
			})
		})
		if err == nil {
			s.audit.event(r, surfaceAPI, outcomeDone, user.ID)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(tokens.JSON.Reveal()))
			return
		}
	}
	failure, refused := errors.AsType[*pluginapi.Failure](err)
	switch {
	case refusal(err):
		if forged(err) {
			s.guard.failed(r, surfaceAPI, s.guard.client(r))
		}
		s.audit.event(r, surfaceAPI, outcomeRefused, user.ID, reason(err.Error()))
		oauthError(w, http.StatusUnauthorized, "invalid_grant", "the session is not there any more")
	case busy(err):
		s.audit.event(r, surfaceAPI, outcomeLimited, user.ID, reason(err.Error()))
		w.Header().Set("Retry-After", retrySoon)
		oauthError(w, http.StatusServiceUnavailable, "temporarily_unavailable", "the session is still good; try again")
	case refused:
		s.audit.event(r, surfaceAPI, outcomeFailed, user.ID, slog.String("code", string(failure.Code)))
		s.failure(r.Context(), failure)
		oauthError(w, http.StatusBadGateway, "temporarily_unavailable", "the session is still good; sign in, or try again later")
	default:
		s.audit.event(r, surfaceAPI, outcomeFailed, user.ID)
		s.failure(r.Context(), err)
		oauthError(w, http.StatusBadGateway, "temporarily_unavailable", "the session is still good; sign in, or try again later")
	}
}

// exchange has the target give tokens for a user.
func (s *Server) exchange(ctx context.Context, user session.User) (pluginapi.Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	id, known, err := s.o.Accounts.TargetID(ctx, user)
	if err != nil {
		return pluginapi.Tokens{}, err
	}
	claims := assertionClaims{Issuer: s.config.Issuer, Subject: user.ID, Audience: s.config.Exchange.Audience}
	if known {
		claims.TargetID = id
	}
	signed, err := s.keys.assertion(claims, time.Now())
	if err != nil {
		return pluginapi.Tokens{}, err
	}
	return s.o.Target.Exchange(ctx, pluginapi.Assertion{JWT: signed, TargetID: id, ClientID: s.config.Exchange.ClientID, Scope: s.config.Exchange.Scope})
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

var errNotJSON = errors.New("not JSON")

// decodeJSON reads a body that says it is JSON.
func decodeJSON(r *http.Request, into any) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return errNotJSON
	}
	return json.NewDecoder(r.Body).Decode(into)
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// oauthError answers as RFC 6749 has it.
func oauthError(w http.ResponseWriter, status int, code, description string) {
	answerJSON(w, status, map[string]string{"error": code, "error_description": description})
}
