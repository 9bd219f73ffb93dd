package scim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2/clientcredentials"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

const (
	scimJSON  = "application/scim+json"
	plainJSON = "application/json"
	accepts   = scimJSON + ", " + plainJSON + ";q=0.9"

	maxAnswer = 16 << 20

	// faultTries is how often a request is sent that is answered 500: a fault that stays
	// is not waited for.
	faultTries    = 3
	firstParallel = 8
)

// transport speaks SCIM over httpx, which signs in, waits as it is told and repeats
// what can be repeated without harm. It finds out which media type the server takes.
type transport struct {
	config   Config
	base     string
	http     *http.Client // signs in
	unsigned *http.Client
	env      sdk.Env
	scrubber httpx.Scrubber
	plain    atomic.Bool  // requests are application/json
	typed    atomic.Bool  // the server is known to understand the media type
	posting  atomic.Bool  // searches are POST
	fastest  atomic.Int64 // nanoseconds that the quickest answer took
	// wait is how long to wait before round n (from 1) of sending users again.
	wait func(n int) time.Duration
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

func newTransport(c Config, env sdk.Env, o httpx.Options) (*transport, error) {
	trust, err := c.TLS.Load("/tls")
	if err != nil {
		return nil, err
	}
	o.UserAgent, o.Pulse, o.Log = env.UserAgent, env.Pulse, env.Log
	o.TLS, o.Timeout, o.Rate, o.MaxBody, o.FaultTries = trust, c.Timeout.Duration, c.RateLimit, maxAnswer, faultTries
	o.InFlight, o.MaxInFlight = firstParallel, maxParallel
	if c.Parallel > 0 {
		o.InFlight, o.MaxInFlight = c.Parallel, c.Parallel
	}
	wire := httpx.NewTransport(httpx.NewBase(o), o)
	t := &transport{config: c, base: c.URL, env: env, http: httpx.Over(wire), unsigned: httpx.Over(wire), wait: backOff}
	if a := c.Auth; a.Type == "oauth2" {
		cc := clientcredentials.Config{ClientID: a.ClientID, ClientSecret: a.ClientSecret.Reveal(), TokenURL: a.TokenURL, Scopes: strings.Fields(a.Scope)}
		if a.Audience != "" {
			cc.EndpointParams = url.Values{"audience": {a.Audience}}
		}
		t.http = httpx.Over(wire.SignedBy(httpx.NewTokens(t.unsigned, cc)))
	}
	t.plain.Store(c.ContentType == plainJSON)
	t.scrubber = httpx.NewScrubber(slices.AppendSeq(
		[]sdk.Secret{c.Auth.Token, c.Auth.ClientSecret, c.Auth.Password, c.Password.CheckSecret}, maps.Values(c.Headers))...)
	return t, nil
}

// authorize adds what needs no asking.
func (t *transport) authorize(req *http.Request) {
	for name, value := range t.config.Headers {
		req.Header.Set(name, value.Reveal())
	}
	switch t.config.Auth.Type {
	case "bearer":
		req.Header.Set("Authorization", "Bearer "+t.config.Auth.Token.Reveal())
	case "basic":
		req.SetBasicAuth(t.config.Auth.Username, t.config.Auth.Password.Reveal())
	}
}

// lost reports whether a request that failed with err may have been carried out.
func lost(err error) bool {
	e, ok := errors.AsType[*httpx.Error](err)
	return ok && e.Sent
}

// do sends a request and returns whatever the server answers in the end, also a
// refusal. Whether it was carried out when there is no answer, [lost] tells.
func (t *transport) do(ctx context.Context, r request) (*answer, error) {
	var refusal *answer // of the usual media type
	for {
		r.plain = r.plain || t.plain.Load()
		a, err := t.once(ctx, r)
		switch {
		case err != nil:
			return nil, err
		case a.status == http.StatusUnsupportedMediaType && t.config.ContentType == auto && !r.plain && r.body != nil:
			t.plain.Store(true)
		case a.status == http.StatusBadRequest && t.typeInQuestion(r):
			// Servers that parse plain JSON only may take the body for an empty one.
			r.plain, refusal = true, a
		case a.status == http.StatusUnsupportedMediaType && refusal != nil:
			return refusal, nil // it was about the content after all
		default:
			t.typeUnderstood(r, a.status)
			return a, nil
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

// busy knows answers after which a request may succeed later.
func busy(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func (t *transport) once(ctx context.Context, r request) (*answer, error) {
	ctx = httpx.Weight(ctx, r.weight)
	if r.reads {
		ctx = httpx.Retryable(ctx)
	}
	if r.paced {
		ctx = httpx.Paced(ctx)
	}
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
	t.authorize(req)
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
		return nil, fmt.Errorf("%s %s: %w", r.method, r.path, httpx.Redact(err)) // its text would repeat the query, which can hold an e-mail address
	}
	b, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // it was only read
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", r.method, r.path, err)
	}
	if took, before := int64(time.Since(start)), t.fastest.Load(); before == 0 || took < before {
		t.fastest.Store(took)
	}
	if t.env.Log != nil {
		t.env.Log.Debug("request", "method", r.method, "path", r.path, "status", res.StatusCode, "bytes", len(b), "elapsed", time.Since(start))
	}
	return &answer{status: res.StatusCode, header: res.Header, body: b}, nil
}

func backOff(n int) time.Duration {
	most := min(500*time.Millisecond<<(n-1), 30*time.Second)
	return most/2 + rand.N(most/2) //nolint:gosec // jitter is no secret
}
