package httpx

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/stetl/stetl/core/pluginapi"
)

// Transport is the one layer that limits and retries. It is safe for concurrent use.
type Transport struct {
	base    http.RoundTripper
	options Options
	limit   *limiter
	rate    *rate.Limiter // nil without a ceiling
	met     sync.Map      // hosts that have answered
	outage  outage
}

// outage is a time in which nothing comes back. All requests share the patience for it,
// or each would be waited for as long as the first one was.
type outage struct {
	mu    sync.Mutex
	since time.Time // zero while all is well
}

// note returns when the outage began of which a failure is part, zero after a success.
func (o *outage) note(failed bool) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case !failed:
		o.since = time.Time{}
	case o.since.IsZero():
		o.since = time.Now()
	}
	return o.since
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

// pause is how long to wait after an attempt: half as long again after each, and up to half
// more or less than that, so that many who were refused do not come back at once.
func pause(first time.Duration, attempt int) time.Duration {
	wait := min(float64(first)*math.Pow(1.5, float64(attempt-1)), float64(maxWait))
	return time.Duration(wait * (0.5 + rand.Float64())) //nolint:gosec // nothing secret
}

// RoundTrip implements [http.RoundTripper]. The error is an [*Error].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) { return t.roundTrip(r, nil) }

func (t *Transport) roundTrip(r *http.Request, tokens *Tokens) (*http.Response, error) {
	ctx := r.Context()
	began := time.Now()
	doubtful, refused := false, false // whether an attempt may have been carried out, and the token was refused
	for attempt := 1; ; attempt++ {
		resp, by, sent, err := t.try(r, attempt, tokens)
		if resp == nil && err == nil {
			return nil, t.fail(r, attempt, doubtful || sent, errors.New("the transport returned neither an answer nor an error"))
		}
		patience := t.options.MaxElapsed
		if resp != nil {
			t.met.Store(r.URL.Host, true)
		} else if _, met := t.met.Load(r.URL.Host); !met && !sent {
			patience = min(patience, firstContact)
		}
		if resp == nil && sent || resp != nil && t.unclear(resp.StatusCode) {
			doubtful = true
			marksOf(ctx).trace.note()
		}
		deadline := began.Add(patience)
		if ctx.Err() == nil {
			if since := t.outage.note(resp == nil || down(resp.StatusCode)); !since.IsZero() && since.Add(patience).Before(deadline) {
				deadline = since.Add(patience)
			}
		}
		if by.refused(resp, !refused) && again(r) && time.Now().Before(deadline) {
			refused = true
			tokens.drop(by.token)
			drain(resp.Body)
			continue
		}
		wait := pause(t.options.FirstWait, attempt)
		if !t.repeats(r, resp, attempt, sent, err) || time.Now().Add(wait).After(deadline) {
			return t.give(r, resp, attempt, doubtful, err)
		}
		if resp != nil {
			if asked, ok := hint(resp.Header, time.Now()); ok {
				if asked > 0 { // otherwise a target could be asked without a pause
					wait = asked
				}
				if time.Now().Add(wait).After(deadline) {
					return t.give(r, resp, attempt, doubtful, err)
				}
			}
			drain(resp.Body)
		}
		t.tell(r, resp, attempt, wait, err)
		if Sleep(ctx, wait) != nil {
			return nil, t.fail(r, attempt, doubtful, context.Cause(ctx))
		}
	}
}

// try sends the request once.
func (t *Transport) try(r *http.Request, attempt int, tokens *Tokens) (resp *http.Response, by signature, sent bool, err error) {
	ctx := r.Context()
	body := r.Body
	if attempt > 1 && r.GetBody != nil {
		if body, err = r.GetBody(); err != nil {
			return nil, by, false, err
		}
	}
	abandon := func(err error) (*http.Response, signature, bool, error) {
		if body != nil {
			_ = body.Close()
		}
		return nil, by, false, err
	}
	as := marksOf(ctx)
	for range as.weight { // a request with many operations is paid for before it goes
		if t.rate == nil {
			break
		}
		if err := t.rate.Wait(ctx); err != nil {
			return abandon(err)
		}
	}
	started, err := t.limit.enter(ctx, as.paced, func(wait time.Duration) {
		if wait >= pulseFrom {
			t.options.Pulse(pluginapi.Pulse{Limit: t.limit.current(), Wait: wait, Reason: "the target asked to wait"})
		}
	})
	if err != nil {
		return abandon(err)
	}
	if tokens != nil {
		if by.token, by.fresh, err = tokens.get(ctx); err != nil {
			t.limit.leave(started, observation{free: as.paced})
			return abandon(err)
		}
	}
	var asked, connected atomic.Bool
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	out := r.Clone(httptrace.WithClientTrace(ctx, trace))
	out.Body = body
	if by.token != nil {
		by.token.SetAuthHeader(out)
	}
	if out.Header.Get("User-Agent") == "" && t.options.UserAgent != "" {
		out.Header.Set("User-Agent", t.options.UserAgent)
	}
	resp, err = t.base.RoundTrip(out)
	switch {
	case err != nil:
		giveUp(nil)
	case as.stream:
		resp.Body = &bounded{&stalling{resp.Body, t.options.Timeout, giveUp}, t.options.MaxBody}
	default:
		resp, err = t.whole(resp, giveUp)
		connected.Store(true)
	}
	seen := observe(resp, err, time.Now())
	seen.answered = seen.answered && !as.once
	seen.free, seen.kind = as.paced, kindOf(r)
	t.limit.leave(started, seen)
	// A base that sends through no http.Transport does not tell; then it may have been sent.
	_, tells := t.base.(*http.Transport)
	tells = tells || asked.Load()
	sent = connected.Load() || !tells && !neverDialled(err)
	return resp, by, sent && !ClientRefused(err), err // an alert may come after the request was written
}

// kindOf tells requests apart that take a target longer or shorter by their nature: a
// list and an entry of it, a write and a read. Ids in paths do not make kinds.
func kindOf(r *http.Request) string {
	kind := r.Method + strings.Repeat("/", strings.Count(r.URL.Path, "/"))
	if r.URL.RawQuery != "" {
		kind += "?"
	}
	return kind
}

// whole reads an answer to its end.
func (t *Transport) whole(resp *http.Response, giveUp context.CancelCauseFunc) (*http.Response, error) {
	body := &stalling{resp.Body, t.options.Timeout, giveUp}
	text, err := io.ReadAll(io.LimitReader(body, t.options.MaxBody+1))
	_ = body.Close()
	if err != nil {
		return nil, fmt.Errorf("the answer (%s) breaks off after %d bytes: %w", resp.Status, len(text), err)
	}
	resp.Body = &bounded{io.NopCloser(bytes.NewReader(text)), t.options.MaxBody}
	return resp, nil
}

// stalling is a body that ends with an error when nothing comes for a while.
type stalling struct {
	io.ReadCloser
	patience time.Duration
	giveUp   context.CancelCauseFunc // of the request
}

// Read implements [io.Reader].
func (s *stalling) Read(p []byte) (int, error) {
	timer := time.AfterFunc(s.patience, func() {
		s.giveUp(errStalled)
		_ = s.ReadCloser.Close()
	})
	n, err := s.ReadCloser.Read(p)
	if !timer.Stop() && err != nil && !errors.Is(err, io.EOF) {
		err = errStalled
	}
	return n, err
}

// Close implements [io.Closer].
func (s *stalling) Close() error {
	defer s.giveUp(nil)
	return s.ReadCloser.Close()
}

// errStalled is an answer that has begun and does not go on.
var errStalled = errors.New("nothing more came of the answer")

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
		o.throttled = resp.StatusCode == http.StatusTooManyRequests
		o.overloaded = o.throttled || resp.StatusCode >= 500
		if wait, ok := hint(resp.Header, now); ok {
			o.until = now.Add(wait)
		}
		if left, wait, ok := quota(resp.Header, now); ok {
			o.counted, o.left, o.reset = true, left, now.Add(wait)
		}
	}
	return o
}

// repeats decides whether the request is tried once more.
func (t *Transport) repeats(r *http.Request, resp *http.Response, attempt int, sent bool, err error) bool {
	if !again(r) {
		return false
	}
	once, repeatable := marksOf(r.Context()).once, repeatable(r)
	if err != nil {
		if _, login := errors.AsType[*LoginError](err); login || hopeless(err) {
			return false // a sign-in has been retried already
		}
		return !sent || (repeatable && !once)
	}
	if once {
		return false
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusTooEarly: // by their definition, nothing was done
		return true
	case http.StatusInternalServerError:
		return repeatable && (t.options.FaultTries == 0 || attempt < t.options.FaultTries)
	case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return repeatable
	}
	return false
}

// again reports whether the request can be sent once more: somebody waits for it, and its
// body is not gone.
func again(r *http.Request) bool {
	return r.Context().Err() == nil && (r.Body == nil || r.Body == http.NoBody || r.GetBody != nil)
}

// unclear reports whether an answer leaves open if the request was carried out, or
// will be: a server goes on when what stands before it has given up. Where 500 is said
// of content, nothing was.
func (t *Transport) unclear(status int) bool {
	if status == http.StatusInternalServerError {
		return t.options.FaultTries != 1
	}
	return status > http.StatusInternalServerError || status == http.StatusRequestTimeout
}

// down reports whether an answer comes from what stands before a target that does not
// answer.
func down(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// hopeless knows errors that no repetition can mend.
func hopeless(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return true
	}
	if ClientRefused(err) {
		return true
	}
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok
}

// ClientRefused reports whether the target has ended the handshake over the client's
// certificate, or for want of one. Go tells of such an alert by its text alone.
func ClientRefused(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error" && op.Err != nil &&
		(strings.Contains(op.Err.Error(), "certificate") || strings.Contains(op.Err.Error(), "handshake failure"))
}

// give returns the last answer or error as it came.
func (t *Transport) give(r *http.Request, resp *http.Response, attempt int, doubtful bool, err error) (*http.Response, error) {
	if err != nil {
		return nil, t.fail(r, attempt, doubtful, err)
	}
	return resp, nil
}

func (t *Transport) fail(r *http.Request, attempt int, doubtful bool, err error) error {
	if login, ok := errors.AsType[*LoginError](err); ok && !doubtful {
		return login
	}
	return &Error{Method: r.Method, Host: r.URL.Host, Sent: doubtful, Attempts: attempt, Err: err}
}

// CloseIdleConnections implements the optional interface of transports.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// tell reports a retry, without anything that names a user.
func (t *Transport) tell(r *http.Request, resp *http.Response, attempt int, wait time.Duration, err error) {
	reason := "no answer"
	if resp != nil {
		reason = resp.Status
	} else if err != nil {
		reason = Redact(err).Error()
	}
	t.options.Log.Debug("request is tried again", "method", r.Method, "host", r.URL.Host, "attempt", attempt, "wait", wait, "reason", reason)
	if wait >= pulseFrom {
		t.options.Pulse(pluginapi.Pulse{Limit: t.limit.current(), Wait: wait, Reason: reason})
	}
}

// drain makes the connection usable again, if that is cheap.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

// Sleep waits, unless ctx is over first: then it returns why.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
