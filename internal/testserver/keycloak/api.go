//go:build unix

package keycloak

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// StatusError is an answer of the server with a status of 400 or above.
type StatusError struct {
	Method string
	Path   string
	Status int
	Body   string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: status %d: %s", e.Method, e.Path, e.Status, e.Body)
}

// Admin sends in as JSON (nil for no body) to a path below /admin, as
// administrator of all realms, and decodes the answer into out unless that is
// nil. The error of a refused request is a [*StatusError].
func (s *Server) Admin(ctx context.Context, method, path string, in, out any) error {
	token, err := s.ownToken(ctx)
	if err != nil {
		return err
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode body of %s %s: %w", method, path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+"/admin"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	status, answer, err := s.do(req)
	if err != nil {
		return err
	}
	if status >= http.StatusBadRequest {
		return &StatusError{Method: method, Path: path, Status: status, Body: string(answer)}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("decode answer to %s %s: %w", method, path, err)
	}
	return nil
}

// ownToken is an administrator's token that is good for a moment.
func (s *Server) ownToken(ctx context.Context) (string, error) {
	s.signIn.Lock()
	defer s.signIn.Unlock()
	if time.Now().Before(s.tokenEnd) {
		return s.token, nil
	}
	token, err := s.adminToken(ctx)
	if err == nil {
		s.token, s.tokenEnd = token, time.Now().Add(20*time.Second)
	}
	return token, err
}

// adminToken returns a new access token of the administrator of all realms. It
// is good for one minute.
func (s *Server) adminToken(ctx context.Context) (string, error) {
	g, err := s.Token(ctx, "master", url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {AdminClientID},
		"client_secret": {AdminClientSecret},
	})
	if err != nil {
		return "", fmt.Errorf("get admin token: %w", err)
	}
	if g.AccessToken == "" {
		return "", fmt.Errorf("get admin token: status %d: %s", g.Status, g.Body)
	}
	return g.AccessToken, nil
}

// CreateRealm creates a realm from its representation, of which at least realm and
// enabled should be set, and deletes it at the end of the test: other tests of the
// server may have users of the same ids, and its administrator's token names every
// realm.
func (s *Server) CreateRealm(tb testing.TB, representation map[string]any) {
	tb.Helper()
	if err := s.Admin(tb.Context(), http.MethodPost, "/realms", representation, nil); err != nil {
		tb.Fatal(err)
	}
	s.forgetToken()
	tb.Cleanup(func() {
		path := fmt.Sprintf("/realms/%s", url.PathEscape(fmt.Sprint(representation["realm"])))
		// The context of the test has ended by now.
		if err := s.Admin(context.WithoutCancel(tb.Context()), http.MethodDelete, path, nil, nil); err != nil {
			tb.Errorf("delete the realm: %v", err)
		}
		s.forgetToken()
	})
}

// forgetToken has the next request get a new one: a token knows the realms of its time.
func (s *Server) forgetToken() {
	s.signIn.Lock()
	defer s.signIn.Unlock()
	s.tokenEnd = time.Time{}
}

// RelaxUserProfile lets users log in who lack a name or an e-mail address.
// By default Keycloak then asks for them, and refuses a password grant.
func (s *Server) RelaxUserProfile(ctx context.Context, realm string) error {
	path := "/realms/" + url.PathEscape(realm) + "/users/profile"
	var profile map[string]any // sent back whole: what is missing would be dropped
	if err := s.Admin(ctx, http.MethodGet, path, nil, &profile); err != nil {
		return err
	}
	attributes, ok := profile["attributes"].([]any)
	if !ok {
		return fmt.Errorf("relax user profile of %s: it has no attributes", realm)
	}
	for _, a := range attributes {
		if attribute, ok := a.(map[string]any); ok {
			delete(attribute, "required")
		}
	}
	return s.Admin(ctx, http.MethodPut, path, profile, nil)
}

// Grant is an answer of a token endpoint.
type Grant struct {
	Status int
	Body   string
	// AccessToken and its claims, which are not verified, are set in an answer
	// with status 200.
	AccessToken string
	Claims      map[string]any
}

// Refused tells whether the server said that the credentials are wrong. Its
// status for that is 401 in old versions and 400 in new ones.
func (g Grant) Refused() bool {
	return (g.Status == http.StatusBadRequest || g.Status == http.StatusUnauthorized) &&
		strings.Contains(g.Body, "Invalid user credentials")
}

// PasswordGrant logs a user in with the password, through a public client that
// allows direct access grants. A refusal is no error but a [Grant] with its
// status.
func (s *Server) PasswordGrant(ctx context.Context, realm, client, username, password string) (Grant, error) {
	return s.Token(ctx, realm, url.Values{
		"grant_type": {"password"},
		"client_id":  {client},
		"username":   {username},
		"password":   {password},
		"scope":      {"openid"},
	})
}

// Token sends a form to the token endpoint of the realm. A refusal is no error
// but a [Grant] with its status.
func (s *Server) Token(ctx context.Context, realm string, form url.Values) (Grant, error) {
	endpoint := s.url + "/realms/" + url.PathEscape(realm) + "/protocol/openid-connect/token"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return Grant{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, body, err := s.do(req)
	if err != nil {
		return Grant{}, err
	}
	g := Grant{Status: status, Body: string(body)}
	if status != http.StatusOK {
		return g, nil
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return g, fmt.Errorf("decode token answer: %w", err)
	}
	g.AccessToken = answer.AccessToken
	g.Claims, err = claims(answer.AccessToken)
	return g, err
}

// claims decodes the payload of a JWT without verifying anything.
func claims(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("access token has %d parts, want 3", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("decode access token: %w", err)
	}
	var c map[string]any
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, fmt.Errorf("decode access token: %w", err)
	}
	return c, nil
}

func (s *Server) do(req *http.Request) (status int, body []byte, err error) {
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("read answer of %s: %w", req.URL.Path, err)
	}
	return resp.StatusCode, body, nil
}
