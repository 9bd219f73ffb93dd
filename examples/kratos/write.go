package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// body is an identity as Kratos takes it, which is not how it shows it.
type body struct {
	SchemaID    string       `json:"schema_id"`
	State       string       `json:"state"`
	Traits      object       `json:"traits"`
	Public      object       `json:"metadata_public"`
	Admin       object       `json:"metadata_admin"`
	Credentials *credentials `json:"credentials,omitempty"`
	Addresses   []address    `json:"verifiable_addresses,omitempty"` // of a new one only
}

// credentials are ways to sign in that come from elsewhere.
type credentials struct {
	Password *importing `json:"password,omitempty"`
	OIDC     *importing `json:"oidc,omitempty"`
}

type importing struct {
	Config struct {
		Hash      string     `json:"hashed_password,omitempty"`
		Providers []provider `json:"providers,omitempty"`
	} `json:"config"`
}

type provider struct {
	Provider string `json:"provider"`
	Subject  string `json:"subject"`
}

// bodyOf is what makes an identity as it is wanted. Of what is not sent, Kratos keeps hash
// and links as they are; links it only adds.
func bodyOf(want *identity, hash string, links []string) *body {
	b := &body{SchemaID: want.SchemaID, State: want.State, Traits: want.Traits, Public: want.Public, Admin: want.Admin}
	var c credentials
	if hash != "" {
		c.Password = &importing{}
		c.Password.Config.Hash = hash
	}
	for _, link := range links {
		if c.OIDC == nil {
			c.OIDC = &importing{}
		}
		name, subject, _ := strings.Cut(link, ":")
		c.OIDC.Config.Providers = append(c.OIDC.Config.Providers, provider{name, subject})
	}
	if c != (credentials{}) {
		b.Credentials = &c
	}
	return b
}

// creation is a person who has no identity yet.
type creation struct {
	*decision
	hash string
}

// created is what became of one of them: its id, or why there is none.
type created struct {
	id  string
	err error
}

// create makes identities, many with one request. The error means that nobody knows what
// was done.
func (a *api) create(ctx context.Context, batch []creation) ([]created, error) {
	type patch struct {
		Create *body `json:"create"`
	}
	var in struct {
		Identities []patch `json:"identities"`
	}
	for _, c := range batch {
		b := bodyOf(c.want, c.hash, c.want.links())
		b.Addresses = slices.DeleteFunc(slices.Clone(c.want.Addresses), func(a address) bool { return !a.Verified || a.Value == "" })
		in.Identities = append(in.Identities, patch{b})
	}
	var answer struct {
		Identities []struct {
			ID    string   `json:"identity"`
			Error *refusal `json:"error"`
		} `json:"identities"`
	}
	if err := a.call(ctx, http.MethodPatch, "/admin/identities", in, &answer); err != nil {
		return nil, err
	}
	if len(answer.Identities) != len(batch) {
		return nil, fmt.Errorf("the answer is about %d of %d identities", len(answer.Identities), len(batch))
	}
	out := make([]created, len(batch))
	for i, one := range answer.Identities {
		out[i].id = one.ID
		if one.Error != nil {
			out[i].err = one.Error
		}
	}
	return out, nil
}

// change makes an identity as it is wanted and returns what it is then. It takes up to three
// kinds of request; after a failure, the next run finds what is still missing.
func (a *api) change(ctx context.Context, have, want *identity, hash string) (*identity, error) {
	err := a.call(ctx, http.MethodPut, item(have.ID), bodyOf(want, hash, without(want.links(), have.links())), nil)
	if err != nil {
		return nil, err
	}
	for _, link := range without(have.links(), want.links()) {
		err := a.call(ctx, http.MethodDelete, item(have.ID)+"/credentials/oidc?identifier="+url.QueryEscape(link), nil, nil)
		if err != nil && !isStatus(err, http.StatusNotFound) {
			return nil, err
		}
	}
	kept, err := a.get(ctx, have.ID)
	if err != nil || kept == nil {
		return nil, err
	}
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	var patch []operation
	for i, at := range kept.Addresses {
		for _, w := range want.Addresses {
			if at.is(w.Value, w.Via) && at.Verified != w.Verified {
				status := map[bool]string{true: "completed", false: "pending"}[w.Verified]
				patch = append(patch,
					operation{"replace", fmt.Sprintf("/verifiable_addresses/%d/verified", i), w.Verified},
					operation{"replace", fmt.Sprintf("/verifiable_addresses/%d/status", i), status})
			}
		}
	}
	if len(patch) == 0 {
		return kept, nil
	}
	if err := a.call(ctx, http.MethodPatch, item(have.ID), patch, nil); err != nil {
		return nil, err
	}
	return a.get(ctx, have.ID)
}

// without are those of all that are not among others.
func without(all, others []string) (out []string) {
	for _, one := range all {
		if !slices.Contains(others, one) {
			out = append(out, one)
		}
	}
	return out
}
