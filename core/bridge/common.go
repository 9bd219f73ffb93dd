package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
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
}

// broken is for errors that are nobody's business but the operator's.
func (c *common) broken(w http.ResponseWriter, r *http.Request, err error) {
	c.log.ErrorContext(r.Context(), "the bridge cannot answer", slog.String("path", r.URL.Path), slog.String("error", err.Error()))
	http.Error(w, "something went wrong; please try again later", http.StatusBadGateway)
}

// failure is for errors that are not about what was presented.
func (c *common) failure(ctx context.Context, err error) {
	c.log.ErrorContext(ctx, "the bridge cannot answer", slog.String("error", err.Error()))
}

// cors lets the configured web applications call.
func (c *common) cors(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if origin != "" && slices.Contains(c.config.Exchange.Origins, origin) {
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

func nothing(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

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
