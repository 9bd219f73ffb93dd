package httpx

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/time/rate"

	"github.com/stetl/stetl/core/target"
)

// transport is the one layer that limits and retries.
type transport struct {
	base    http.RoundTripper
	options Options
	limit   *limiter
	rate    *rate.Limiter // nil without a ceiling
	met     sync.Map      // hosts that have answered
}

// The waits between attempts, where the target does not say.
const (
	firstWait = 200 * time.Millisecond
	maxWait   = 30 * time.Second
	// pulseFrom is the shortest wait that somebody who is watching wants to know of.
	pulseFrom = time.Second
	// firstContact is how long no connection to a host that has never answered is put
	// up with: rather than to come back, it is misspelt.
	firstContact = 5 * time.Second
)

// RoundTrip implements [http.RoundTripper]. The error is an [*Error].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	began := time.Now()
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval = firstWait, maxWait
	for attempt := 1; ; attempt++ {
		resp, sent, err := t.try(r, attempt)
		if resp == nil && err == nil {
			return nil, t.fail(r, attempt, sent, errors.New("the transport returned neither an answer nor an error"))
		}
		patience := t.options.MaxElapsed
		if resp != nil {
			t.met.Store(r.URL.Host, true)
		} else if _, met := t.met.Load(r.URL.Host); !met && !sent {
			patience = min(patience, firstContact)
		}
		deadline := began.Add(patience)
		wait := waits.NextBackOff()
		if !t.again(r, resp, sent, err) || time.Now().Add(wait).After(deadline) {
			return t.give(r, resp, attempt, sent, err)
		}
		if resp != nil {
			if asked, ok := hint(resp.Header, time.Now()); ok {
				if asked > 0 { // otherwise a target could be asked without a pause
					wait = asked
				}
				if time.Now().Add(wait).After(deadline) {
					return t.give(r, resp, attempt, sent, err)
				}
			}
			drain(resp.Body)
		}
		t.tell(r, resp, attempt, wait, err)
		if pause(ctx, wait) != nil {
			return nil, t.fail(r, attempt, sent && resp == nil, context.Cause(ctx))
		}
	}
}

// try sends the request once.
func (t *transport) try(r *http.Request, attempt int) (resp *http.Response, sent bool, err error) {
	ctx := r.Context()
	body := r.Body
	if attempt > 1 && r.GetBody != nil {
		if body, err = r.GetBody(); err != nil {
			return nil, false, err
		}
	}
	abandon := func(err error) (*http.Response, bool, error) {
		if body != nil {
			_ = body.Close()
		}
		return nil, false, err
	}
	if t.rate != nil {
		if err := t.rate.Wait(ctx); err != nil {
			return abandon(err)
		}
	}
	started, err := t.limit.enter(ctx, func(wait time.Duration) {
		if wait >= pulseFrom {
			t.options.Pulse(target.Pulse{Limit: t.limit.current(), Wait: wait, Reason: "the target asked to wait"})
		}
	})
	if err != nil {
		return abandon(err)
	}
	var asked, connected atomic.Bool
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}
	out := r.Clone(httptrace.WithClientTrace(ctx, trace))
	out.Body = body
	if out.Header.Get("User-Agent") == "" && t.options.UserAgent != "" {
		out.Header.Set("User-Agent", t.options.UserAgent)
	}
	resp, err = t.base.RoundTrip(out)
	seen := observe(resp, err, time.Now())
	seen.answered = seen.answered && !once(r)
	t.limit.leave(started, seen)
	// A base that sends through no http.Transport does not tell; then it may have been sent.
	_, tells := t.base.(*http.Transport)
	tells = tells || asked.Load()
	return resp, connected.Load() || !tells && !neverDialled(err), err
}

// neverDialled knows errors that come before any connection.
func neverDialled(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// observe is what an answer says about the load of the target.
func observe(resp *http.Response, err error, now time.Time) observation {
	var o observation
	switch {
	case errors.Is(err, context.Canceled):
	case err != nil:
		o.overloaded = true
	default:
		o.answered = true
		o.overloaded = resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500
		if wait, ok := hint(resp.Header, now); ok {
			o.until = now.Add(wait)
		}
		if left, wait, ok := quota(resp.Header, now); ok {
			o.counted, o.left, o.reset = true, left, now.Add(wait)
		}
	}
	return o
}

// again decides whether the request is tried once more.
func (t *transport) again(r *http.Request, resp *http.Response, sent bool, err error) bool {
	if r.Context().Err() != nil {
		return false
	}
	if r.Body != nil && r.Body != http.NoBody && r.GetBody == nil {
		return false // the body is gone
	}
	if err != nil {
		if hopeless(err) {
			return false
		}
		return !sent || (repeatable(r) && !once(r))
	}
	if once(r) {
		return false
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests: // by its definition, nothing was done
		return true
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return repeatable(r)
	}
	return false
}

// hopeless knows errors that no repetition can mend.
func hopeless(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return true
	}
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok
}

// give returns the last answer or error as it came.
func (t *transport) give(r *http.Request, resp *http.Response, attempt int, sent bool, err error) (*http.Response, error) {
	if err != nil {
		return nil, t.fail(r, attempt, sent, err)
	}
	resp.Body = &bounded{resp.Body, t.options.MaxBody}
	return resp, nil
}

func (t *transport) fail(r *http.Request, attempt int, sent bool, err error) error {
	return &Error{Method: r.Method, Host: r.URL.Host, Sent: sent, Attempts: attempt, Err: err}
}

// tell reports a retry, without anything that names a user.
func (t *transport) tell(r *http.Request, resp *http.Response, attempt int, wait time.Duration, err error) {
	reason := "no answer"
	if resp != nil {
		reason = resp.Status
	} else if err != nil {
		reason = Redact(err).Error()
	}
	t.options.Log.Debug("request is tried again", "method", r.Method, "host", r.URL.Host, "attempt", attempt, "wait", wait, "reason", reason)
	if wait >= pulseFrom {
		t.options.Pulse(target.Pulse{Limit: t.limit.current(), Wait: wait, Reason: reason})
	}
}

// drain makes the connection usable again, if that is cheap.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

// pause waits, unless ctx is over first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
