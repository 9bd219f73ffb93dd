package bridge

import (
	"log/slog"
	"net/http"
)

// What became of a request, in the audit trail and in metrics.
const (
	outcomeDone     = "done"
	outcomeIssued   = "issued"   // a code; the session goes on
	outcomeRedeemed = "redeemed" // a code; the session is over
	outcomeRefused  = "refused"
	outcomeFailed   = "failed"
	outcomeLimited  = "limited"
	outcomeUnlocked = "unlocked"
	outcomeLocked   = "locked"
)

// audit writes one line per event: who (by id, never by address), where, what
// became of it. Tokens, passwords and e-mail addresses never reach it.
type audit struct {
	log     *slog.Logger
	metrics *metrics
	proxies proxies
}

func (a *audit) event(r *http.Request, surface, outcome, user string, more ...any) {
	a.metrics.events.WithLabelValues(surface, outcome).Inc()
	args := []any{slog.String("surface", surface), slog.String("outcome", outcome)}
	if user != "" {
		args = append(args, slog.String("user", user))
	}
	if r != nil {
		args = append(args, slog.String("client", a.proxies.client(r)))
	}
	a.log.Info("audit", append(args, more...)...)
}
