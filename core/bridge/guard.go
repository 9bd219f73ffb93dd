package bridge

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/supertokens/cutover"
)

// The surfaces where somebody could try to guess.
const (
	surfaceBrowser = "browser"
	surfaceAPI     = "api"
	surfaceReset   = "reset"
	surfaceVerify  = "verify"
	surfaceLazy    = "lazy"
	surfaceClient  = "client"
	surfaceToken   = "lazy_token"
	surfaceLogout  = "logout"
	surfaceMachine = "machine" // where only who has the machine gets
)

// guard slows down who asks often and locks out who guesses. Rates are counted
// per instance; failures, in the database, for all of them.
type guard struct {
	config   config.BridgeLimits
	failures *cutover.Failures
	audit    *audit
	sorry    func(w http.ResponseWriter, r *http.Request, status int, line string, what word)
	proxies

	mu      sync.Mutex
	buckets map[string]*bucket
	swept   time.Time
}

type bucket struct {
	limiter *rate.Limiter
	used    time.Time
}

func newGuard(c config.BridgeLimits, failures *cutover.Failures, a *audit) *guard {
	return &guard{config: c, failures: failures, audit: a, proxies: a.proxies, buckets: map[string]*bucket{}, swept: time.Now()}
}

// bucketAge is how long a client must be quiet to be forgotten; by then its
// bucket is full again.
const bucketAge = 2 * time.Minute

func (g *guard) allow(surface, client string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if now.Sub(g.swept) > bucketAge {
		for key, b := range g.buckets {
			if now.Sub(b.used) > bucketAge {
				delete(g.buckets, key)
			}
		}
		g.swept = now
	}
	key := surface + " " + client
	b := g.buckets[key]
	if b == nil {
		b = &bucket{limiter: rate.NewLimiter(rate.Limit(float64(g.config.PerMinute)/60), g.config.PerMinute)}
		g.buckets[key] = b
	}
	b.used = now
	return b.limiter.AllowN(now, 1)
}

// Why somebody has to wait.
const (
	tooFast   = "too fast"
	lockedOut = "locked out"
)

// limit lets a client through that is neither too fast nor locked out.
func (g *guard) limit(surface string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		client := g.client(r)
		if !g.allow(surface, client) {
			g.refuse(w, r, surface, tooFast, time.Minute)
			return
		}
		if g.locked(w, r, surface, client) {
			return
		}
		next(w, r)
	}
}

// locked answers for a subject that is locked out.
func (g *guard) locked(w http.ResponseWriter, r *http.Request, surface, subject string) bool {
	wait, err := g.wait(r.Context(), surface, subject)
	switch {
	case err != nil:
		g.audit.log.ErrorContext(r.Context(), "the bridge cannot answer", slog.String("error", err.Error()))
		g.sorry(w, r, http.StatusBadGateway, "something went wrong; please try again later", wordWrong)
	case wait > 0:
		g.refuse(w, r, surface, lockedOut, wait)
	}
	return err != nil || wait > 0
}

// wait is how long a subject is locked out.
func (g *guard) wait(ctx context.Context, surface, subject string) (time.Duration, error) {
	until, err := g.failures.Locked(ctx, surface, subject)
	if err != nil || until.IsZero() {
		return 0, err
	}
	return time.Until(until), nil
}

func (g *guard) refuse(w http.ResponseWriter, r *http.Request, surface, why string, wait time.Duration) {
	g.audit.event(r, surface, outcomeLimited, "", slog.String("reason", why))
	retryAfter(w, wait)
	g.sorry(w, r, http.StatusTooManyRequests, "too many attempts; please try again later", wordTooOften)
}

func retryAfter(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(wait.Seconds()))))
}

// failed counts a failure of a subject. An error is logged: who asked has been
// refused anyway.
func (g *guard) failed(r *http.Request, surface, subject string) {
	ctx := context.WithoutCancel(r.Context())
	locked, err := g.failures.Fail(ctx, surface, subject, g.config.Failures, g.config.Lockout.Duration)
	switch {
	case err != nil:
		g.audit.log.ErrorContext(ctx, "a failed attempt was not counted", slog.String("error", err.Error()))
	case locked:
		g.audit.event(r, surface, outcomeLocked, "")
	}
}

// watched remembers the status of an answer.
type watched struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (w *watched) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// sameSecret compares in a time that depends on neither text.
func sameSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
