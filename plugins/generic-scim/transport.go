package scim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/stetl/stetl/core/sdk"
)

const (
	scimJSON  = "application/scim+json"
	plainJSON = "application/json"
	accepts   = scimJSON + ", " + plainJSON + ";q=0.9"

	maxAnswer = 16 << 20
	maxTries  = 6
	maxWait   = 5 * time.Minute
)

// transport sends requests: it signs in, waits as it is told, repeats what can be
// repeated without harm, and never goes to another host than the configured one.
type transport struct {
	config  Config
	base    string
	http    *http.Client
	env     sdk.Env
	gate    *gate
	limit   *rate
	plain   atomic.Bool  // requests are application/json
	typed   atomic.Bool  // the server is known to understand the media type
	posting atomic.Bool  // searches are POST
	fastest atomic.Int64 // nanoseconds that the quickest answer took
	secrets []string     // never to be shown, whoever sends them back

	signing sync.Mutex
	tokens  oauth2.TokenSource // nil unless auth is oauth2
	renewed int                // how often the token was thrown away
	// wait is how long to wait before attempt n (from 1), given what the server asks for.
	wait func(n int, asked time.Duration) time.Duration
}

// answer is one HTTP answer, read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// request is one HTTP request below the base URL.
type request struct {
	method, path string
	query        string
	body         []byte
	ifMatch      string
	// weight is how many operations a rate limit counts; 0 is one.
	weight int
	// paced requests have a limit of their own, and only wait when all wait.
	paced bool
	// reads: a POST that changes nothing, so that it can be repeated.
	reads bool
	// plain: the body is sent as application/json.
	plain bool
}

// repeatable reports whether sending the request twice is the same as once.
func (r request) repeatable() bool { return r.method != http.MethodPost || r.reads }

func newTransport(c Config, env sdk.Env) (*transport, error) {
	tlsConfig, err := c.TLS.load()
	if err != nil {
		return nil, err
	}
	rt := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // net/http documents it
	rt.TLSClientConfig = tlsConfig
	rt.MaxIdleConnsPerHost = 2 * maxParallel
	rt.MaxConnsPerHost = 0
	first := 8
	most := maxParallel
	if c.Parallel > 0 {
		first, most = c.Parallel, c.Parallel
	}
	t := &transport{
		config: c, base: c.URL, env: env, gate: newGate(first, most), limit: newRate(c.RateLimit),
		http: &http.Client{Transport: &named{rt, env.UserAgent}, CheckRedirect: stay, Timeout: c.Timeout.Duration},
		wait: backOff,
	}
	t.plain.Store(c.ContentType == plainJSON)
	for _, s := range []sdk.Secret{c.Auth.Token, c.Auth.ClientSecret, c.Auth.Password, c.Password.CheckSecret} {
		t.hide(s)
	}
	for _, s := range c.Headers {
		t.hide(s)
	}
	t.signIn(0)
	return t, nil
}

func (t *transport) hide(s sdk.Secret) {
	if len(s.Reveal()) > 3 {
		t.secrets = append(t.secrets, s.Reveal())
	}
}

// named says in every request who asks, tokens among them: some providers refuse
// whoever does not.
type named struct {
	*http.Transport
	agent string
}

// RoundTrip implements [http.RoundTripper].
func (n *named) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("User-Agent") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("User-Agent", n.agent)
	}
	return n.Transport.RoundTrip(r)
}

// load reads the certificates.
func (c TLS) load() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	problem := func(path string, err error) error {
		return sdk.Diagnostics{{Code: codeInvalidValue, Path: "/tls/" + path, Summary: "the certificate cannot be used", Detail: err.Error(), Hint: "name a readable PEM file"}}.Err()
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, problem("ca_file", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, problem("ca_file", errors.New("no certificate is in the file"))
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, problem("cert_file", err)
		}
		if leaf := pair.Leaf; leaf != nil && time.Now().After(leaf.NotAfter) {
			return nil, problem("cert_file", fmt.Errorf("it has expired on %s", leaf.NotAfter.Format(time.DateOnly)))
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// stay follows a redirect to the same place only, and none that would turn a write
// into a read.
func stay(req *http.Request, via []*http.Request) error {
	from := via[0]
	if len(via) > 3 || req.URL.Scheme != from.URL.Scheme || req.URL.Host != from.URL.Host || req.Method != from.Method {
		return http.ErrUseLastResponse
	}
	return nil
}

// signIn throws the token away that was in use when it had been renewed as often as
// seen, so that many refusals at a time lead to one new token.
func (t *transport) signIn(seen int) {
	a := t.config.Auth
	if a.Type != "oauth2" {
		return
	}
	t.signing.Lock()
	defer t.signing.Unlock()
	if t.tokens != nil && t.renewed != seen {
		return
	}
	t.renewed++
	cc := clientcredentials.Config{ClientID: a.ClientID, ClientSecret: a.ClientSecret.Reveal(), TokenURL: a.TokenURL, Scopes: strings.Fields(a.Scope)}
	if a.Audience != "" {
		cc.EndpointParams = url.Values{"audience": {a.Audience}}
	}
	// A token serves many requests, so none of their contexts is its own.
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: t.http.Transport, Timeout: t.config.Timeout.Duration, CheckRedirect: stay})
	t.tokens = cc.TokenSource(ctx)
}

func (t *transport) authorize(req *http.Request) error {
	for name, value := range t.config.Headers {
		req.Header.Set(name, value.Reveal())
	}
	switch t.config.Auth.Type {
	case "bearer":
		req.Header.Set("Authorization", "Bearer "+t.config.Auth.Token.Reveal())
	case "basic":
		req.SetBasicAuth(t.config.Auth.Username, t.config.Auth.Password.Reveal())
	case "oauth2":
		t.signing.Lock()
		tokens := t.tokens
		t.signing.Unlock()
		token, err := tokens.Token()
		if err != nil {
			return &loginError{cause: t.scrubError(err)}
		}
		token.SetAuthHeader(req)
	}
	return nil
}

// loginError is a failure to get a token.
type loginError struct{ cause error }

func (e *loginError) Error() string { return "get an access token: " + e.cause.Error() }
func (e *loginError) Unwrap() error { return e.cause }

func (t *transport) scrubError(err error) error { return errors.New(t.scrub(err.Error())) }

// scrub removes what a server may have sent back.
func (t *transport) scrub(s string) string {
	for _, secret := range t.secrets {
		s = strings.ReplaceAll(s, secret, "***")
	}
	return s
}

// lostError says that a request may have been carried out and its answer is unknown.
type lostError struct{ cause error }

func (e *lostError) Error() string { return "no answer: " + e.cause.Error() }
func (e *lostError) Unwrap() error { return e.cause }

// do sends a request and returns whatever the server answers in the end, also a
// refusal. The error is a [lostError] when nobody knows whether it was carried out.
func (t *transport) do(ctx context.Context, r request) (*answer, error) {
	renewed := false
	for n := 1; ; n++ {
		t.signing.Lock()
		seen := t.renewed
		t.signing.Unlock()
		r.plain = r.plain || t.plain.Load()
		a, err := t.once(ctx, r)
		again := false
		var asked time.Duration
		switch {
		case ctx.Err() != nil && err != nil:
			return nil, err
		case err != nil:
			_, lost := errors.AsType[*lostError](err)
			_, login := errors.AsType[*loginError](err)
			_, distrusted := distrust(err)
			again = !login && !distrusted && ((!lost && n < 3) || (lost && r.repeatable()))
			t.gate.fewer()
		case a.status == http.StatusUnauthorized && t.config.Auth.Type == "oauth2" && !renewed:
			renewed, again = true, true
			t.signIn(seen) //nolint:contextcheck // a token outlives the request that needs it first
		case a.status == http.StatusUnsupportedMediaType && t.config.ContentType == auto && !r.plain && r.body != nil:
			t.plain.Store(true)
			continue
		case a.status == http.StatusBadRequest && t.typeInQuestion(r):
			// Servers that parse plain JSON only may take the body for an empty one.
			r.plain = true
			continue
		case a.status == http.StatusTooManyRequests:
			again, asked = true, retryAfter(a.header)
			t.gate.fewer()
		case busy(a.status):
			again, asked = r.repeatable(), retryAfter(a.header)
			if a.status == http.StatusInternalServerError && n >= 3 {
				again = false // a fault that stays
			}
			t.gate.fewer()
			if !again && asked > 0 {
				t.gate.pause(asked)
			}
		default:
			t.gate.more()
			t.typeUnderstood(r, a.status)
		}
		if !again || n >= maxTries {
			return a, err
		}
		pause := t.wait(n, asked)
		if asked > 0 {
			t.gate.pause(pause) // everybody waits, not only the one who was told
		}
		if t.env.Pulse != nil && pause > 0 {
			t.env.Pulse(sdk.Pulse{Limit: t.gate.now(), Wait: pause, Reason: waitReason(a)})
		}
		if sleepErr := sleep(ctx, pause); sleepErr != nil {
			if err == nil {
				err = sleepErr
			}
			return a, err
		}
	}
}

// typeInQuestion reports whether a refusal may be about the media type, as long as
// no success has shown that the server understands it. What may have been carried out
// in part is not sent again.
func (t *transport) typeInQuestion(r request) bool {
	return r.body != nil && r.weight == 0 && !r.plain && t.config.ContentType == auto && (t.plain.Load() || !t.typed.Load())
}

// typeUnderstood learns from a success which media type the server understands.
func (t *transport) typeUnderstood(r request, status int) {
	if r.body == nil || r.weight > 0 || status > 299 {
		return
	}
	if r.plain {
		t.plain.Store(true)
	}
	t.typed.Store(true)
}

func waitReason(a *answer) string {
	if a == nil {
		return "the server cannot be reached"
	}
	return "the server answers " + strconv.Itoa(a.status)
}

func busy(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func (t *transport) once(ctx context.Context, r request) (*answer, error) {
	if err := t.limit.take(ctx, max(r.weight, 1)); err != nil {
		return nil, err
	}
	leave, err := t.gate.enter(ctx, r.paced)
	if err != nil {
		return nil, err
	}
	defer leave()
	address := t.base + r.path
	if r.query != "" {
		address += "?" + r.query
	}
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, body)
	if err != nil {
		return nil, fmt.Errorf("prepare %s %s: %w", r.method, r.path, err)
	}
	if err := t.authorize(req); err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accepts)
	if r.body != nil {
		req.Header.Set("Content-Type", scimJSON)
		if r.plain {
			req.Header.Set("Content-Type", plainJSON)
		}
	}
	if r.ifMatch != "" {
		req.Header.Set("If-Match", r.ifMatch)
	}
	start := time.Now()
	res, err := t.http.Do(req)
	if err != nil {
		err = fmt.Errorf("%s %s: %w", r.method, r.path, withoutURL(err))
		if neverSent(err) {
			return nil, err
		}
		return nil, &lostError{err}
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	_ = res.Body.Close() // it was only read
	if took, before := int64(time.Since(start)), t.fastest.Load(); before == 0 || took < before {
		t.fastest.Store(took)
	}
	if t.env.Log != nil {
		t.env.Log.Debug("request", "method", r.method, "path", r.path, "status", res.StatusCode, "bytes", len(b), "elapsed", time.Since(start))
	}
	if err == nil && len(b) > maxAnswer {
		err = errors.New("the answer is larger than 16 MiB")
	}
	if err != nil {
		return nil, &lostError{fmt.Errorf("read the answer to %s %s: %w", r.method, r.path, err)}
	}
	return &answer{status: res.StatusCode, header: res.Header, body: b}, nil
}

// withoutURL strips the address, which can hold an e-mail address in its query.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// neverSent reports whether the request cannot have reached the server.
func neverSent(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	_, distrusted := distrust(err)
	return distrusted
}

// clientRefused reports whether the server has ended the handshake over the client's
// certificate. Go tells of such an alert by its text alone.
func clientRefused(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error" && op.Err != nil &&
		(strings.Contains(op.Err.Error(), "certificate") || strings.Contains(op.Err.Error(), "handshake failure"))
}

// retryAfter reads seconds or a date.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		for _, name := range []string{"RateLimit-Reset", "X-RateLimit-Reset", "X-Rate-Limit-Reset"} {
			if n, err := strconv.ParseInt(h.Get(name), 10, 64); err == nil {
				if n > 1e12 { // in milliseconds
					n /= 1000
				}
				if n > 1e9 { // a moment, not a span
					n -= time.Now().Unix()
				}
				return max(0, time.Duration(n)*time.Second)
			}
		}
		return 0
	}
	if n, err := strconv.ParseFloat(v, 64); err == nil {
		return time.Duration(n * float64(time.Second))
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

func backOff(n int, asked time.Duration) time.Duration {
	if asked > 0 {
		return min(asked, maxWait) + rand.N(250*time.Millisecond) //nolint:gosec // jitter is no secret
	}
	most := min(500*time.Millisecond<<(n-1), 30*time.Second)
	return most/2 + rand.N(most/2) //nolint:gosec // jitter is no secret
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
