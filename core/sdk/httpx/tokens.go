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
	token, _, err := t.get(ctx)
	return token, err
}

// get also says whether the token is a new one.
func (t *Tokens) get(ctx context.Context) (token *oauth2.Token, fresh bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now != nil && (t.renewAt.IsZero() || time.Now().Before(t.renewAt)) {
		return t.now, false, nil
	}
	// It must not wait for the requests that wait for it, and is marked like none of them.
	asked := mark(ctx, func(m *marks) { *m = marks{retryable: true, paced: true, weight: 1} })
	asked = context.WithValue(asked, oauth2.HTTPClient, t.client)
	token, err = t.config.Token(asked)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, false, context.Cause(ctx)
	case err != nil:
		return nil, false, &LoginError{Err: Redact(err), scrub: t.scrub}
	}
	t.now, t.renewAt = token, time.Time{}
	if !token.Expiry.IsZero() {
		life := time.Until(token.Expiry)
		t.renewAt = token.Expiry.Add(-min(life/2, renewBefore))
	}
	return token, true, nil
}

// drop forgets a token that was not accepted, unless it was replaced already.
func (t *Tokens) drop(token *oauth2.Token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == token {
		t.now = nil
	}
}

// Renew forgets the token: a new one may have more rights than it.
func (t *Tokens) Renew() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = nil
}

// SignedBy returns a transport that shares all with t and gives every attempt a token.
// A request that is answered 401 is tried again with a new token: the target did
// nothing, and the old one may have been revoked in mid-run. A second 401, to a new token
// that has not run out on the way, is an answer.
func (t *Transport) SignedBy(tokens *Tokens) http.RoundTripper { return &signed{t, tokens} }

type signed struct {
	*Transport
	tokens *Tokens
}

// RoundTrip implements [http.RoundTripper]. The error is an [*Error] or, when nothing
// was sent for want of a token, a [*LoginError].
func (s *signed) RoundTrip(r *http.Request) (*http.Response, error) {
	return s.roundTrip(r, s.tokens)
}

// signature is the token that an attempt was sent with.
type signature struct {
	token *oauth2.Token
	fresh bool
}

// refused reports whether the answer is about the token, and not about the client. The
// first of a request always is, as far as anybody can tell.
func (s signature) refused(resp *http.Response, first bool) bool {
	if resp == nil || s.token == nil || resp.StatusCode != http.StatusUnauthorized {
		return false
	}
	return first || !s.fresh || !s.token.Expiry.IsZero() && time.Now().After(s.token.Expiry)
}

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

// Bearer signs every request to the next transport with one token, which is not renewed.
type Bearer struct {
	Next  http.RoundTripper
	Token canonical.Secret
}

// RoundTrip implements [http.RoundTripper].
func (b Bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.Token.Reveal())
	return b.Next.RoundTrip(r)
}
