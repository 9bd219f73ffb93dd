package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// api is what the plugin uses of the API of Kratos.
type api struct {
	admin, public string
	token         sdk.Secret
	http          *http.Client
}

// refusal is an answer of Kratos that says no.
type refusal struct {
	Status int    `json:"code"`
	Reason string `json:"reason"`
	Text   string `json:"message"`
	// form has the messages of a form that was filled in wrongly.
	form form
}

// form is how Kratos answers what a person has sent.
type form struct {
	Messages []struct {
		ID int `json:"id"`
	} `json:"messages"`
}

// wrongPassword is the id of "the provided credentials are invalid".
const wrongPassword = 4000006

func (f form) says(id int) bool {
	for _, m := range f.Messages {
		if m.ID == id {
			return true
		}
	}
	return false
}

// Error implements error.
func (r *refusal) Error() string {
	if r.Reason != "" {
		return fmt.Sprintf("%d: %s", r.Status, r.Reason)
	}
	return fmt.Sprintf("%d: %s", r.Status, r.Text)
}

// isStatus reports whether Kratos has said no in one of these ways, or in any for none.
func isStatus(err error, status ...int) bool {
	no, ok := err.(*refusal) //nolint:errorlint // send never wraps it
	return ok && (len(status) == 0 || slices.Contains(status, no.Status))
}

// call sends a request to the API for administrators and decodes the answer into out. The
// error is a *refusal when Kratos has said no, and never holds an address or a token.
func (a *api) call(ctx context.Context, method, path string, in, out any) error {
	return a.send(ctx, method, a.admin+path, a.token, in, out)
}

func (a *api) send(ctx context.Context, method, address string, token sdk.Secret, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return httpx.Redact(err)
	}
	if !token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.http.Do(req)
	if err != nil {
		return httpx.Redact(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= http.StatusBadRequest {
		var answer struct {
			Error refusal `json:"error"`
			UI    form    `json:"ui"`
		}
		_ = json.NewDecoder(resp.Body).Decode(&answer) // what is not JSON gives no reason
		answer.Error.Status, answer.Error.form = resp.StatusCode, answer.UI
		return &answer.Error
	}
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// some reads the identities of these ids that there are.
func (a *api) some(ctx context.Context, ids []string) ([]*identity, error) {
	var found []*identity
	// A list has no identifiers unless it is asked for some credential. That of webauthn is public.
	query := url.Values{"ids": ids, "include_credential": {"webauthn"}, "page_size": {"500"}}
	err := a.call(ctx, http.MethodGet, "/admin/identities?"+query.Encode(), nil, &found)
	return found, err
}

// find looks for who signs in with an identifier; nil when nobody does.
func (a *api) find(ctx context.Context, identifier string) (*identity, error) {
	var found []*identity
	err := a.call(ctx, http.MethodGet, "/admin/identities?"+url.Values{"credentials_identifier": {identifier}}.Encode(), nil, &found)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// get reads an identity by its id, with the hash of its password; nil when there is none.
func (a *api) get(ctx context.Context, id string) (*identity, error) {
	var found identity
	err := a.call(ctx, http.MethodGet, item(id)+"?include_credential=password", nil, &found)
	if isStatus(err, http.StatusNotFound) {
		return nil, nil //nolint:nilnil // no account is an answer
	}
	return &found, err
}

func item(id string) string { return "/admin/identities/" + url.PathEscape(id) }

// schema reads an identity schema, which the public API alone has.
func (a *api) schema(ctx context.Context, id string) (property, error) {
	var schema struct {
		Properties struct {
			Traits property `json:"traits"`
		} `json:"properties"`
	}
	err := a.send(ctx, http.MethodGet, a.public+"/schemas/"+url.PathEscape(id), sdk.Secret{}, nil, &schema)
	return schema.Properties.Traits, err
}

// property is a part of an identity schema.
type property struct {
	Properties map[string]*property `json:"properties"`
	Kratos     struct {
		Credentials struct {
			Password struct {
				Identifier bool `json:"identifier"`
			} `json:"password"`
		} `json:"credentials"`
	} `json:"ory.sh/kratos"`
}

// trait is the one at a path; nil when there is none.
func (p *property) trait(path string) *property {
	for name := range strings.SplitSeq(path, ".") {
		if p == nil {
			return nil
		}
		p = p.Properties[name]
	}
	return p
}

func (p *property) identifies() bool { return p != nil && p.Kratos.Credentials.Password.Identifier }

// signIn tries a password the way an app does, and signs out at once.
func (a *api) signIn(ctx context.Context, identifier, password string) (accepted bool, err error) {
	var flow struct {
		ID string `json:"id"`
	}
	if err := a.send(ctx, http.MethodGet, a.public+"/self-service/login/api", sdk.Secret{}, nil, &flow); err != nil {
		return false, err
	}
	var session struct {
		Token string `json:"session_token"`
	}
	err = a.send(ctx, http.MethodPost, a.public+"/self-service/login?flow="+url.QueryEscape(flow.ID), sdk.Secret{},
		map[string]string{"method": "password", "identifier": identifier, "password": password}, &session)
	if no, ok := err.(*refusal); ok && no.form.says(wrongPassword) { //nolint:errorlint // send never wraps it
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, a.send(ctx, http.MethodDelete, a.public+"/self-service/logout/api", sdk.Secret{}, map[string]string{"session_token": session.Token}, nil)
}
