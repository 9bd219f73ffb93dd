package auth0

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

	"github.com/auth0/go-auth0/management"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// api speaks to the Management API through Auth0's SDK, whose retries are off: it
// would send an import twice when the first answer is lost. What may be repeated is
// repeated below it, by httpx.
type api struct {
	sdk     *management.Management
	plain   *http.Client // without a token
	storage *http.Client // of exports: without a token, and none of the tenant's limits
	tokens  *httpx.Tokens
	burst   atomic.Int64 // requests at once, as the tenant last said
}

// newAPI prepares the clients; everything is sent through base.
func newAPI(c Config, env sdk.Env, base http.RoundTripper) (*api, error) {
	to, err := url.Parse(c.APIURL)
	if err != nil {
		return nil, errors.New("api_url cannot be parsed")
	}
	base = &redirected{domain: c.Domain, to: to, next: base}
	wire := httpx.NewTransport(base, httpx.Options{UserAgent: env.UserAgent, Pulse: env.Pulse, Log: env.Log})
	a := &api{plain: httpx.Over(wire), storage: httpx.Over(base)}
	a.tokens = httpx.NewTokens(a.plain, clientcredentials.Config{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret.Reveal(), TokenURL: "https://" + c.Domain + "/oauth/token",
		EndpointParams: url.Values{"audience": {c.Audience}}, AuthStyle: oauth2.AuthStyleInParams,
	})
	a.sdk, err = management.New(c.Domain,
		management.WithStaticToken("replaced by the transport below, which can renew it"),
		management.WithClient(httpx.Over(wire.SignedBy(a.tokens))),
		management.WithNoRetries(), management.WithUserAgent(env.UserAgent))
	if err != nil {
		return nil, fmt.Errorf("prepare the client of %s: %w", c.Domain, err)
	}
	return a, nil
}

// network is the transport of a configuration.
func network(c Config) (*http.Transport, error) {
	trust, err := c.TLS.Load("/tls")
	return httpx.NewBase(httpx.Options{TLS: trust, Timeout: c.Timeout.Duration}), err
}

func (a *api) close() { a.storage.CloseIdleConnections() }

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

// scopes are those of the token, nil when the tenant does not tell.
func (a *api) scopes(ctx context.Context) ([]string, error) {
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

// statusError is a refusal in the tenant's words.
type statusError struct {
	status        int
	code, message string
}

func (e *statusError) Error() string {
	if e.code != "" {
		return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message)
	}
	return fmt.Sprintf("%d: %s", e.status, e.message)
}

// status is that of a refusal, 0 for anything else.
func status(err error) int {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.status
	}
	return 0
}

// hidden reports whether the tenant does not show something to this application, or
// not in this way.
func hidden(err error) bool {
	s := status(err)
	return s == http.StatusForbidden || s == http.StatusNotFound
}

// mayBeDone reports whether a request that failed with err may have been carried out.
func mayBeDone(err error) bool {
	if err == nil {
		return false
	}
	s := status(err)
	return s >= 500 || s == http.StatusRequestTimeout || (s == 0 && httpx.Uncertain(err))
}

// refusedUser reports whether the tenant looked at a request and said no.
func refusedUser(err error) bool {
	s := status(err)
	return s >= 400 && s < 500 && s != http.StatusUnauthorized && s != http.StatusForbidden && s != http.StatusTooManyRequests
}

// call makes a request that may be repeated until it is answered: one that reads,
// or whose second time changes nothing.
func (a *api) call(ctx context.Context, method, uri string, payload, into any) error {
	return a.create(httpx.Retryable(ctx), method, uri, payload, into)
}

// create makes a request that is repeated only where it was certainly not carried out.
func (a *api) create(ctx context.Context, method, uri string, payload, into any) error {
	r, err := a.sdk.NewRequest(ctx, method, uri, payload)
	if err != nil {
		return err
	}
	return a.send(r, into)
}

func (a *api) send(r *http.Request, into any) error {
	answer, err := a.sdk.Do(r)
	if err != nil {
		return httpx.Redact(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer.StatusCode >= 300 {
		e := &statusError{status: answer.StatusCode, message: http.StatusText(answer.StatusCode)}
		var envelope struct {
			Message   string `json:"message"`
			ErrorCode string `json:"errorCode"`
		}
		if json.Unmarshal(body, &envelope) == nil && envelope.Message != "" {
			e.message, e.code = envelope.Message, envelope.ErrorCode
		}
		return e
	}
	if n, err := strconv.ParseInt(answer.Header.Get("X-RateLimit-Limit"), 10, 64); err == nil {
		a.burst.Store(n)
	}
	if raw, ok := into.(*json.RawMessage); ok {
		*raw = body
		return nil
	}
	if into != nil && len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, into); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
	}
	return nil
}

func (a *api) get(ctx context.Context, into any, query url.Values, path ...string) error {
	uri := a.sdk.URI(path...)
	if len(query) > 0 {
		uri += "?" + query.Encode()
	}
	return a.call(ctx, http.MethodGet, uri, nil, into)
}

// pages reads a list that comes in pages. Where the tenant tells no total, a page that
// is shorter than the usual one is the last.
func pages[T any](ctx context.Context, a *api, path ...string) ([]T, error) {
	const size, usual, most = 100, 50, 1_000 // no list goes further by pages
	var all []T
	for page := 0; ; page++ {
		list, total, err := listed[T](ctx, a, url.Values{
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

// listed reads one list, which comes bare or inside of an object with totals; without
// them, total is -1.
func listed[T any](ctx context.Context, a *api, query url.Values, path ...string) (list []T, total int, err error) {
	var raw json.RawMessage
	if err := a.get(ctx, &raw, query, path...); err != nil {
		return nil, -1, err
	}
	total = -1
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] == '{' {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(raw, &object); err != nil {
			return nil, -1, fmt.Errorf("read the answer: %w", err)
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
		return nil, -1, fmt.Errorf("read the answer: %w", err)
	}
	return list, total, nil
}

// explain adds to an error what the operator can do about it.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if login, ok := errors.AsType[*httpx.LoginError](err); ok {
		return sdk.Diagnostics{loginProblem(login)}.Err()
	}
	if s := status(err); s == http.StatusForbidden || s == http.StatusUnauthorized {
		return sdk.Diagnostics{{
			Code: codeScopeMissing, Path: "/client_id", Summary: "the application may not do what a load needs", Detail: err.Error(),
			Hint: "grant the scope that the message names to the machine-to-machine application",
		}}.Err()
	}
	return err
}

func loginProblem(e *httpx.LoginError) sdk.Diagnostic {
	d := sdk.Diagnostic{Code: codeUnreachable, Path: "/domain", Summary: "the tenant cannot be reached", Detail: e.Err.Error(), Hint: "check domain, network and certificate"}
	if !e.Refused() {
		return d
	}
	d.Code, d.Path, d.Summary = codeLoginRefused, "/client_id", "the tenant refuses the application"
	d.Hint = "check client_id, client_secret and audience, and that the application is authorised for the Management API"
	d.Detail = ""
	if answer, ok := errors.AsType[*oauth2.RetrieveError](e.Err); ok {
		d.Detail = strings.TrimSpace(answer.ErrorCode + ": " + answer.ErrorDescription)
	}
	return d
}
