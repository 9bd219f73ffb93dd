package httpx

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/stetl/stetl/core/pluginapi"
)

// Options of a transport. The zero value is usable.
type Options struct {
	// UserAgent is sent with every request that has none of its own.
	UserAgent string
	// MaxInFlight bounds the requests under way at the same time; 0 is 32. The
	// transport starts with InFlight of them, 4 for 0, and finds out how many are good.
	MaxInFlight int
	InFlight    int
	// Rate bounds the requests per second, or what [Weight] counts of them; 0 is
	// unbounded.
	Rate float64
	// Timeout is how long the target may take until an answer begins, which
	// [NewTransport] leaves to its base, and until it goes on; 0 is a minute.
	Timeout time.Duration
	// FaultTries bounds how often a request is sent that is answered 500; 0 is as often
	// as others. 1 is for targets that say so of content that they will never take, and
	// have then done nothing.
	FaultTries int
	// TLS says whom to trust, nil for what the system trusts. [NewTransport] leaves that
	// to its base.
	TLS *tls.Config
	// FirstWait is how long to wait before the second attempt, where the target does not
	// say; later waits grow from it. 0 is 200 milliseconds.
	FirstWait time.Duration
	// MaxElapsed is how long a request may take in all, with its retries and waits;
	// 0 is five minutes. What is given up then is returned as it came last. A host that
	// has never answered, and to which there is no connection, is given up after seconds.
	// An outage is waited for once: when nothing has come back for that long, each
	// further request is tried once until one succeeds.
	MaxElapsed time.Duration
	// MaxBody bounds the body of a response in bytes; 0 is 64 MiB.
	MaxBody int64
	// Pulse hears about waits and limits.
	Pulse func(pluginapi.Pulse)
	// Log receives retries, without addresses and bodies.
	Log *slog.Logger
}

const (
	defaultInFlight   = 32
	defaultMaxElapsed = 5 * time.Minute
	defaultMaxBody    = 64 << 20
	defaultTimeout    = time.Minute
)

// NewClient returns a client on a [NewTransport] of its own over [NewBase], which
// follows redirects on the same host only.
func NewClient(o Options) *http.Client {
	return Over(NewTransport(NewBase(o), o))
}

// Over returns a client that sends through rt and follows redirects as [SameHost] does.
// Clients of one target are made over one transport.
func Over(rt http.RoundTripper) *http.Client {
	return &http.Client{Transport: rt, CheckRedirect: SameHost}
}

// dialTimeout is how long a connection may take to be made.
const dialTimeout = 10 * time.Second

// NewBase returns what a transport sends through: connections of its own, through the
// proxy that the environment names.
func NewBase(o Options) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       o.TLS,
		TLSHandshakeTimeout:   dialTimeout,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   cmp.Or(o.MaxInFlight, defaultInFlight),
		IdleConnTimeout:       90 * time.Second,
		ResponseHeaderTimeout: cmp.Or(o.Timeout, defaultTimeout),
		ExpectContinueTimeout: time.Second,
	}
}

// NewTransport returns a transport that sends through base, [http.DefaultTransport]
// for nil. All clients of one target must share one: the limits are its memory. It
// composes with clients that take a RoundTripper.
func NewTransport(base http.RoundTripper, o Options) *Transport {
	if base == nil {
		base = http.DefaultTransport
	}
	t := &Transport{base: base, options: o, limit: newLimiter(cmp.Or(o.InFlight, startLimit), cmp.Or(o.MaxInFlight, defaultInFlight))}
	t.options.MaxElapsed = cmp.Or(o.MaxElapsed, defaultMaxElapsed)
	t.options.MaxBody = cmp.Or(o.MaxBody, defaultMaxBody)
	t.options.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	t.options.FirstWait = cmp.Or(o.FirstWait, firstWait)
	if t.options.Log == nil {
		t.options.Log = slog.New(slog.DiscardHandler)
	}
	if t.options.Pulse == nil {
		t.options.Pulse = func(pluginapi.Pulse) {}
	}
	if o.Rate > 0 {
		t.rate = rate.NewLimiter(rate.Limit(o.Rate), 1)
	}
	return t
}

func repeatable(r *http.Request) bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return true
	}
	return marksOf(r.Context()).retryable
}

// Error is why a request got no answer. Its text has no address: those hold e-mail
// addresses and tokens.
type Error struct {
	Method, Host string
	// Sent says that the request may have arrived, at this attempt or an earlier one, so
	// that what it asks for may have been done.
	Sent bool
	// Attempts is how often it was tried.
	Attempts int
	Err      error
}

// Error implements error.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s to %s: %v", e.Method, e.Host, Redact(e.Err))
	if e.Attempts > 1 {
		text += fmt.Sprintf(" (tried %d times)", e.Attempts)
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Uncertain reports whether err leaves open if the request was carried out. It is true
// for errors that this package does not know.
func Uncertain(err error) bool {
	if err == nil {
		return false
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Sent
	}
	_, login := errors.AsType[*LoginError](err)
	return !login
}

// Redact returns err without the address that [http.Client] puts in front of it.
// Whatever err wraps stays reachable.
func Redact(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

const maxRedirects = 10

// SameHost is an [http.Client].CheckRedirect that follows redirects to the same
// scheme and host only, since credentials and users must not go elsewhere, and none
// that makes a read of a write.
func SameHost(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	if !strings.EqualFold(next.URL.Host, first.Host) || next.URL.Scheme != first.Scheme {
		return &RedirectError{next.URL.Scheme + "://" + next.URL.Host}
	}
	if next.Method != via[0].Method {
		return &RedirectError{next.URL.Scheme + "://" + next.URL.Host + next.URL.Path}
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	return nil
}

// RedirectError is a redirect that is not followed, by [SameHost].
type RedirectError struct{ to string }

// Error implements error.
func (e *RedirectError) Error() string {
	return "the target redirects to " + e.to + ", and redirects are not followed: correct the configured address"
}

// ErrBodyTooLarge is what reading a response beyond [Options].MaxBody gives.
var ErrBodyTooLarge = errors.New("the answer is larger than allowed")

// bounded is a body that ends with an error at its limit.
type bounded struct {
	io.ReadCloser
	left int64
}

// Read implements [io.Reader].
func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrBodyTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, ErrBodyTooLarge
	}
	return n, err
}
