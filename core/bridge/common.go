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

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/supertokens/cutover"
)

// common is what everything has that answers requests.
type common struct {
	config config.Bridge
	db     *cutover.DB
	log    *slog.Logger
	guard  *guard
	audit  *audit
	pages  *pages
}

// broken is for errors that are nobody's business but the operator's.
func (c *common) broken(w http.ResponseWriter, r *http.Request, err error) {
	c.log.ErrorContext(r.Context(), "the bridge cannot answer", slog.String("path", r.URL.Path), slog.String("error", err.Error()))
	c.sorry(w, r, http.StatusBadGateway, "something went wrong; please try again later", wordWrong)
}

// failure is for errors that are not about what was presented.
func (c *common) failure(ctx context.Context, err error) {
	c.log.ErrorContext(ctx, "the bridge cannot answer", slog.String("error", err.Error()))
}

// fromPages lets web applications of these origins call with POST, and no others.
// SuperTokens' own SDK sends cookies along and does not take an answer that does not
// allow them; here they are not looked at.
func (c *common) fromPages(origins []string, next http.HandlerFunc) route {
	allowed := func(w http.ResponseWriter, r *http.Request) bool {
		origin := r.Header.Get("Origin")
		w.Header().Add("Vary", "Origin")
		if !slices.Contains(origins, origin) {
			return !c.foreign(r)
		}
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Allow-Methods", "POST")
		h.Set("Access-Control-Allow-Headers", "authorization, content-type, rid, fdi-version, st-auth-mode, anti-csrf")
		h.Set("Access-Control-Max-Age", "600")
		return true
	}
	return route{
		http.MethodOptions: func(w http.ResponseWriter, r *http.Request) {
			allowed(w, r)
			w.WriteHeader(http.StatusNoContent)
		},
		http.MethodPost: func(w http.ResponseWriter, r *http.Request) {
			if !allowed(w, r) {
				http.Error(w, "this origin may not call", http.StatusForbidden)
				return
			}
			next(w, r)
		},
	}
}

// foreign tells whether a page of another origin sends a request. Browsers that are not
// of yesterday say so themselves.
func (c *common) foreign(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	}
	if own, err := url.Parse(c.config.Issuer); err == nil && origin == own.Scheme+"://"+own.Host {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host == "" || u.Host != r.Host
}

func reason(text string) slog.Attr { return slog.String("reason", text) }

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
