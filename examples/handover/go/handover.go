// Package handover is what a back end in Go asks the bridge. It needs nothing but the
// standard library, and is made to be copied. See docs/bridge.md.
package handover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Why there are no tokens.
var (
	ErrNoSession = errors.New("there is no such session any more")
	ErrNotLoaded = errors.New("no run has loaded the account")
	ErrLater     = errors.New("not just now: the session is still good")
)

// Client asks one bridge.
type Client struct {
	Issuer string
	HTTP   *http.Client // nil for the default one
}

// Tokens are those of the new system.
type Tokens struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       string `json:"scope,omitempty"`
}

// Handover returns the tokens of the new system for one of SuperTokens', which ends the
// old session.
func (c *Client) Handover(ctx context.Context, token string) (t Tokens, err error) {
	return t, c.ask(ctx, "/handover", token, map[string]string{}, &t)
}

// Ticket returns what stands for the session in the authorization request with this
// challenge, for 60 seconds.
func (c *Client) Ticket(ctx context.Context, token, clientID, codeChallenge string) (string, error) {
	var answer struct {
		Ticket string `json:"ticket"`
	}
	err := c.ask(ctx, "/handover/ticket", token, map[string]string{"client_id": clientID, "code_challenge": codeChallenge}, &answer)
	return answer.Ticket, err
}

// Limits of asking.
const (
	tries    = 3
	maxWait  = 5 * time.Second
	patience = 35 * time.Second // of one try; the bridge gives up before that
)

func (c *Client) ask(ctx context.Context, path, token string, body, into any) error {
	if token == "" {
		return ErrNoSession
	}
	sent, err := json.Marshal(body)
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		status, retryAfter, text, err := c.once(ctx, path, token, sent)
		if err != nil { // it may have done it: asking again is for the visitor to decide
			return fmt.Errorf("%w: the bridge does not answer: %w", ErrLater, err)
		}
		switch status {
		case http.StatusOK:
			if err := json.Unmarshal(text, into); err != nil {
				return fmt.Errorf("%w: the answer of the bridge: %w", ErrLater, err)
			}
			return nil
		case http.StatusUnauthorized:
			return ErrNoSession
		case http.StatusForbidden:
			return ErrNotLoaded
		}
		busy := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
		if !busy || n == tries || retryAfter > maxWait {
			return fmt.Errorf("%w: %d %s", ErrLater, status, text)
		}
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrLater, ctx.Err())
		}
	}
}

func (c *Client) once(ctx context.Context, path, token string, body []byte) (status int, retryAfter time.Duration, text []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Issuer+path, bytes.NewReader(body))
	if err != nil {
		return 0, 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return resp.StatusCode, time.Duration(seconds) * time.Second, text, err
}

// TokenOf returns the token of a session in a request, "" where there is none: a bearer
// token before cookies.
func TokenOf(r *http.Request) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(token)
	}
	for _, name := range []string{"sAccessToken", "sRefreshToken"} {
		if c, err := r.Cookie(name); err == nil && c.Value != "" {
			if plain, err := url.PathUnescape(c.Value); err == nil {
				return plain
			}
			return c.Value
		}
	}
	return ""
}

// End ends SuperTokens' cookies. The domain is its cookieDomain, if one was set; the path
// is that of its refresh endpoint.
func End(w http.ResponseWriter, domain, refreshPath string) {
	for _, name := range []string{"sAccessToken", "sRefreshToken", "sIdRefreshToken", "sFrontToken", "sAntiCsrf"} {
		path := "/"
		if name == "sRefreshToken" {
			path = refreshPath
		}
		http.SetCookie(w, &http.Cookie{Name: name, Path: path, Domain: domain, MaxAge: -1}) //nolint:gosec // it holds nothing, and ends one that may have been set in any way
	}
}
