package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/stetl/stetl/core/sdk/httpx"
)

// account is a user as Acme's API shows it. The hash of a password can be written and
// never read.
type account struct {
	ID            string `json:"id,omitempty"`
	ExternalID    string `json:"external_id"`
	Username      string `json:"username"`
	Email         string `json:"email"`
	EmailVerified bool   `json:"email_verified"`
	GivenName     string `json:"given_name"`
	FamilyName    string `json:"family_name"`
	Disabled      bool   `json:"disabled"`
	PasswordHash  string `json:"password_hash,omitempty"`
}

// refusal is an answer of Acme that says no.
type refusal struct {
	Status int    `json:"-"`
	Code   string `json:"code"`
	Text   string `json:"message"`
}

// Error implements error.
func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Code, r.Text) }

// call sends a request and decodes the answer into out. The error is a *refusal when
// Acme has said no, and never holds an address or a token.
func (a *api) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.http.Do(req)
	if err != nil {
		return httpx.Redact(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= http.StatusBadRequest {
		no := &refusal{Status: resp.StatusCode, Code: "unknown"}
		_ = json.NewDecoder(resp.Body).Decode(no) // what is not JSON has no code
		return no
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// search looks an account up by one of its fields: "external_id", the id that applications
// have stored, or "username"; nil when there is none.
func (a *api) search(ctx context.Context, field, value string) (*account, error) {
	var found []account
	if err := a.call(ctx, http.MethodGet, "/users?"+url.Values{field: {value}}.Encode(), nil, &found); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, nil //nolint:nilnil // no account is an answer
	}
	return &found[0], nil
}

// get reads an account by Acme's own id; nil when there is none.
func (a *api) get(ctx context.Context, id string) (*account, error) {
	var found account
	err := a.call(ctx, http.MethodGet, "/users/"+url.PathEscape(id), nil, &found)
	if isStatus(err, http.StatusNotFound) {
		return nil, nil //nolint:nilnil // no account is an answer
	}
	return &found, err
}

// remove deletes an account. One that is gone was deleted by a request whose answer was lost.
func (a *api) remove(ctx context.Context, id string) error {
	err := a.call(ctx, http.MethodDelete, "/users/"+url.PathEscape(id), nil, nil)
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	return err
}

func isStatus(err error, status int) bool {
	no, ok := err.(*refusal) //nolint:errorlint // call never wraps it
	return ok && no.Status == status
}
