// Package tenant speaks to the Management API of one tenant: requests, lists that come in
// pages, and what an answer that is no success means.
package tenant

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/auth0/go-auth0/management"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// Access says where a tenant is and who comes.
type Access struct {
	Domain, APIURL, Audience string
	ClientID                 string
	ClientSecret             sdk.Secret
	// Token is used instead of those that the client gets, and is not renewed.
	Token sdk.Secret
}

// Client speaks to the Management API through Auth0's SDK, whose retries are off: it
// would send an import twice when the first answer is lost. What may be repeated is
// repeated below it, by httpx.
type Client struct {
	sdk *management.Management
	// Plain sends without a token. Storage is for exports: without a token, and none of
	// the tenant's limits.
	Plain, Storage *http.Client
	tokens         *httpx.Tokens
	burst          atomic.Int64 // requests at once, as the tenant last said
}

// New prepares a client; everything is sent through base.
func New(c Access, env sdk.Env, base http.RoundTripper) (*Client, error) {
	to, err := url.Parse(c.APIURL)
	if err != nil {
		return nil, errors.New("api_url cannot be parsed")
	}
	base = &redirected{domain: c.Domain, to: to, next: base}
	wire := httpx.NewTransport(base, httpx.Options{UserAgent: env.UserAgent, Pulse: env.Pulse, Log: env.Log})
	a := &Client{Plain: httpx.Over(wire), Storage: httpx.Over(base)}
	a.tokens = httpx.NewTokens(a.Plain, clientcredentials.Config{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret.Reveal(), TokenURL: "https://" + c.Domain + "/oauth/token",
		EndpointParams: url.Values{"audience": {c.Audience}}, AuthStyle: oauth2.AuthStyleInParams,
	})
	signed := wire.SignedBy(a.tokens)
	if c.Token.Reveal() != "" {
		signed = httpx.Bearer{Next: wire, Token: c.Token}
	}
	a.sdk, err = management.New(c.Domain,
		management.WithStaticToken("replaced by the transport below, which can renew it"),
		management.WithClient(httpx.Over(signed)),
		management.WithNoRetries(), management.WithUserAgent(env.UserAgent))
	if err != nil {
		return nil, fmt.Errorf("prepare the client of %s: %w", c.Domain, err)
	}
	return a, nil
}

// Close lets connections go that nobody uses.
func (a *Client) Close() { a.Storage.CloseIdleConnections() }

// redirected sends what is meant for the tenant's domain to another address.
type redirected struct {
	domain string
	to     *url.URL
	next   http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *redirected) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == t.domain && (t.to.Host != t.domain || t.to.Path != "") {
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host, r.Host = t.to.Scheme, t.to.Host, t.to.Host
		r.URL.Path, r.URL.RawPath = t.to.Path+r.URL.Path, t.to.EscapedPath()+r.URL.EscapedPath()
	}
	return t.next.RoundTrip(r)
}

// CloseIdleConnections implements the optional interface of transports.
func (t *redirected) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Scopes are those of the token, nil when the tenant does not tell.
func (a *Client) Scopes(ctx context.Context) ([]string, error) {
	token, err := a.tokens.Get(ctx)
	if err != nil {
		return nil, err
	}
	text, _ := token.Extra("scope").(string)
	if parts := strings.Split(token.AccessToken, "."); text == "" && len(parts) == 3 {
		// Not verified: it only says what to expect.
		var claims struct {
			Scope string `json:"scope"`
		}
		if raw, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(raw, &claims) == nil {
			text = claims.Scope
		}
	}
	return strings.Fields(text), nil
}

// Error is a refusal in the tenant's words.
type Error struct {
	Status        int
	Code, Message string
}

func (e *Error) Error() string {
	if e.Code != "" {
		return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message)
	}
	return fmt.Sprintf("%d: %s", e.Status, e.Message)
}

// Status is that of a refusal, 0 for anything else.
func Status(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}

// ErrUnreadable is an answer that is no JSON, or of another shape: what it said is
// unknown.
var ErrUnreadable = errors.New("the answer cannot be read")

// Fatal reports whether err is about everything that an application asks, and not about one
// request: it may not come in, or nobody waits any more.
func Fatal(ctx context.Context, err error) bool {
	if err == nil {
		return false
	}
	_, login := errors.AsType[*httpx.LoginError](err)
	s := Status(err)
	return login || ctx.Err() != nil || s == http.StatusUnauthorized || s == http.StatusForbidden
}

// Hidden reports whether the tenant does not show something to this application, or
// not in this way.
func Hidden(err error) bool {
	s := Status(err)
	return s == http.StatusForbidden || s == http.StatusNotFound
}

// MayBeDone reports whether a request that failed with err may have been carried out.
func MayBeDone(err error) bool {
	if err == nil {
		return false
	}
	s := Status(err)
	return s >= 500 || s == http.StatusRequestTimeout || (s == 0 && httpx.Uncertain(err))
}

// Refused reports whether the tenant looked at a request and said no.
func Refused(err error) bool {
	s := Status(err)
	return s >= 400 && s < 500 && s != http.StatusUnauthorized && s != http.StatusForbidden && s != http.StatusTooManyRequests
}

// readings is how often an answer is asked for that cannot be read: something between has
// put a page of its own in its place.
const readings = 3

// Call makes a request that may be repeated until it is answered: one that reads,
// or whose second time changes nothing.
func (a *Client) Call(ctx context.Context, method, uri string, payload, into any) (err error) {
	for range readings {
		if err = a.Create(httpx.Retryable(ctx), method, uri, payload, into); !errors.Is(err, ErrUnreadable) {
			return err
		}
	}
	return err
}

// Create makes a request that is repeated only where it was certainly not carried out.
func (a *Client) Create(ctx context.Context, method, uri string, payload, into any) error {
	r, err := a.sdk.NewRequest(ctx, method, uri, payload)
	if err != nil {
		return err
	}
	return a.Send(r, into)
}

// Send sends a request that was made for a Client.
func (a *Client) Send(r *http.Request, into any) error {
	answer, err := a.sdk.Do(r)
	if err != nil {
		return httpx.Redact(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if answer.StatusCode >= 300 {
		e := &Error{Status: answer.StatusCode, Message: http.StatusText(answer.StatusCode)}
		var envelope struct {
			Message   string `json:"message"`
			ErrorCode string `json:"errorCode"`
		}
		if json.Unmarshal(body, &envelope) == nil && envelope.Message != "" {
			e.Message, e.Code = envelope.Message, envelope.ErrorCode
		}
		return e
	}
	if n, err := strconv.ParseInt(answer.Header.Get("X-RateLimit-Limit"), 10, 64); err == nil {
		a.burst.Store(n)
	}
	if raw, ok := into.(*json.RawMessage); ok {
		*raw = body
		if len(bytes.TrimSpace(body)) > 0 && !json.Valid(body) {
			return ErrUnreadable
		}
		return nil
	}
	if into != nil && len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, into); err != nil {
			return fmt.Errorf("%w: %w", ErrUnreadable, err)
		}
	}
	return nil
}

// Get reads what is at a path.
func (a *Client) Get(ctx context.Context, into any, query url.Values, path ...string) error {
	uri := a.URI(path...)
	if len(query) > 0 {
		uri += "?" + query.Encode()
	}
	return a.Call(ctx, http.MethodGet, uri, nil, into)
}

// Pages reads a list that comes in pages. Where the tenant tells no total, a page that
// is shorter than the usual one is the last.
func Pages[T any](ctx context.Context, a *Client, path ...string) ([]T, error) {
	const size, usual, most = 100, 50, 1_000 // no list goes further by pages
	var all []T
	for page := 0; ; page++ {
		list, total, err := Listed[T](ctx, a, url.Values{
			"per_page": {strconv.Itoa(size)}, "page": {strconv.Itoa(page)}, "include_totals": {"true"},
		}, path...)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if len(list) == 0 || len(all) >= most || (total >= 0 && len(all) >= total) || (total < 0 && len(list) < usual) {
			return all, nil
		}
	}
}

// Listed reads one list, which comes bare or inside of an object with totals; without
// them, total is -1.
func Listed[T any](ctx context.Context, a *Client, query url.Values, path ...string) (list []T, total int, err error) {
	var raw json.RawMessage
	if err := a.Get(ctx, &raw, query, path...); err != nil {
		return nil, -1, err
	}
	return decode[T](raw)
}

// Checkpoint reads a part of a list that is continued with what it returns as next; that is
// empty at the end.
func Checkpoint[T any](ctx context.Context, a *Client, query url.Values, path ...string) (list []T, next string, err error) {
	var raw json.RawMessage
	if err := a.Get(ctx, &raw, query, path...); err != nil {
		return nil, "", err
	}
	if list, _, err = decode[T](raw); err != nil {
		return nil, "", err
	}
	var more struct {
		Next string `json:"next"`
	}
	_ = json.Unmarshal(raw, &more) // a bare list has none
	return list, more.Next, nil
}

// decode reads a list, which comes bare or inside of an object with totals; without them,
// total is -1.
func decode[T any](raw json.RawMessage) (list []T, total int, err error) {
	total = -1
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] == '{' {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(raw, &object); err != nil {
			return nil, -1, fmt.Errorf("%w: %w", ErrUnreadable, err)
		}
		raw = nil
		for _, value := range object {
			if value = bytes.TrimSpace(value); len(value) > 0 && value[0] == '[' {
				raw = value
			}
		}
		if json.Unmarshal(object["total"], &total) != nil {
			total = -1
		}
	}
	if len(raw) == 0 {
		return nil, total, nil
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, -1, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return list, total, nil
}

// URI is the address of a path.
func (a *Client) URI(path ...string) string { return a.sdk.URI(path...) }

// Burst is how many requests at once the tenant allows, 0 when it has not said.
func (a *Client) Burst() int64 { return a.burst.Load() }

// Time is when something was made. One that cannot be read is unknown, and costs nothing
// else of the answer.
type Time struct{ time.Time }

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Time) UnmarshalJSON(raw []byte) error {
	if t.Time.UnmarshalJSON(raw) != nil {
		t.Time = time.Time{}
	}
	return nil
}
