package httpx

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/stetl/stetl/core/canonical"
)

// Tokens are the access tokens of an OAuth 2.0 client (RFC 6749, section 4.4): one at a
// time, which all requests share, got anew a while before it ends. It is safe for
// concurrent use.
type Tokens struct {
	client *http.Client
	config clientcredentials.Config
	scrub  Scrubber

	mu      sync.Mutex // also makes parallel requests wait for one sign-in
	now     *oauth2.Token
	renewAt time.Time
}

// renewBefore is how long before its end a token is got anew, as far as it lives twice
// as long: the target looks at it when a request begins.
const renewBefore = 30 * time.Second

// NewTokens gets tokens through client, usually one of [NewClient], so that sign-ins
// are retried and limited like everything else.
func NewTokens(client *http.Client, c clientcredentials.Config) *Tokens {
	return &Tokens{client: client, config: c, scrub: NewScrubber(canonical.NewSecret(c.ClientSecret))}
}

// Get returns a token, signing in if there is none. The error is a [*LoginError], or
// that of ctx.
func (t *Tokens) Get(ctx context.Context) (*oauth2.Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now != nil && (t.renewAt.IsZero() || time.Now().Before(t.renewAt)) {
		return t.now, nil
	}
	token, err := t.config.Token(context.WithValue(Retryable(ctx), oauth2.HTTPClient, t.client))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, &LoginError{Err: Redact(err), scrub: t.scrub}
	}
	t.now, t.renewAt = token, time.Time{}
	if !token.Expiry.IsZero() {
		life := time.Until(token.Expiry)
		t.renewAt = token.Expiry.Add(-min(life/2, renewBefore))
	}
	return token, nil
}

// drop forgets a token that was not accepted, unless it was replaced already.
func (t *Tokens) drop(token *oauth2.Token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == token {
		t.now = nil
	}
}

// Transport adds the token to every request that it sends through next. A request that
// is answered 401 is sent once more with a new token: the target did nothing, and the
// old one may have been revoked in mid-run.
func (t *Tokens) Transport(next http.RoundTripper) http.RoundTripper {
	return &authorised{next: next, tokens: t}
}

type authorised struct {
	next   http.RoundTripper
	tokens *Tokens
}

// RoundTrip implements [http.RoundTripper].
func (a *authorised) RoundTrip(r *http.Request) (*http.Response, error) {
	for first := true; ; first = false {
		token, err := a.tokens.Get(r.Context())
		if err != nil {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			return nil, err
		}
		out := r.Clone(r.Context())
		if !first && r.GetBody != nil {
			if out.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
		token.SetAuthHeader(out)
		resp, err := a.next.RoundTrip(out)
		gone := r.Body != nil && r.Body != http.NoBody && r.GetBody == nil
		if err != nil || resp.StatusCode != http.StatusUnauthorized || !first || gone {
			return resp, err
		}
		a.tokens.drop(token)
		drain(resp.Body)
	}
}

// CloseIdleConnections implements the optional interface of transports.
func (a *authorised) CloseIdleConnections() { closeIdle(a.next) }

// LoginError is a token that could not be got: the request it was for was not sent.
type LoginError struct {
	Err   error
	scrub Scrubber
}

// Error implements error. What the target has answered is shortened to its OAuth error
// and description, without the secret: its body may repeat what was sent.
func (e *LoginError) Error() string { return e.scrub.Text(e.text()) }

func (e *LoginError) text() string {
	answer, ok := errors.AsType[*oauth2.RetrieveError](e.Err)
	if !ok || answer.Response == nil {
		return "get an access token: " + e.Err.Error()
	}
	words := strings.TrimSuffix(answer.ErrorCode+": "+answer.ErrorDescription, ": ")
	if words == "" {
		words = http.StatusText(answer.Response.StatusCode)
	}
	return fmt.Sprintf("get an access token: %d %s", answer.Response.StatusCode, words)
}

// Unwrap returns the cause.
func (e *LoginError) Unwrap() error { return e.Err }

// Refused reports whether the target said no, and did not merely fail.
func (e *LoginError) Refused() bool {
	answer, ok := errors.AsType[*oauth2.RetrieveError](e.Err)
	return ok && answer.Response != nil && answer.Response.StatusCode < 500 && answer.Response.StatusCode != http.StatusTooManyRequests
}

func closeIdle(rt http.RoundTripper) {
	if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
