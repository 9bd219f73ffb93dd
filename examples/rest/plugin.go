package main

import (
	"context"
	"net/http"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// config is what a configuration file may say under target.config. Its schema, the
// messages about mistakes and the masking of secrets all come from this struct.
type config struct {
	URL   string     `json:"url" title:"Address" example:"https://acme.example" jsonschema:"address of the API"`
	Token sdk.Secret `json:"token" jsonschema:"token with the right to manage users"`
}

// Codes of Acme's own, and what they mean to an operator. Where one of the SDK fits,
// such as [sdk.CodeExistsDiffers], it is used instead.
const (
	codeInsecureURL  sdk.Code = "acme.insecure_url"
	codeUnreachable  sdk.Code = "acme.unreachable"
	codeLoginRefused sdk.Code = "acme.login_refused"
	codeInvalidUser  sdk.Code = "acme.invalid_user"
)

var codes = []sdk.CodeInfo{
	{Code: codeInsecureURL, Meaning: "users would cross the network in clear text", Remedy: "use an address that starts with https://", Permanent: true},
	{Code: codeUnreachable, Meaning: "Acme cannot be asked", Remedy: "check the address and the network"},
	{Code: codeLoginRefused, Meaning: "Acme refuses the token", Remedy: "make one with the right to manage users", Permanent: true},
	{Code: codeInvalidUser, Meaning: "Acme has a rule that the user does not meet", Remedy: "correct the user in SuperTokens, or in the mapping", Permanent: true},
}

// plugin says what Acme can hold. The host decides with it, before the first write,
// what becomes of every user.
func plugin() sdk.Plugin[config] {
	return sdk.Plugin[config]{
		Name: "acme", Version: version, Codes: codes,
		Capabilities: sdk.Capabilities{
			Hashes:      []sdk.HashSupport{{Scheme: sdk.Bcrypt, Variants: []string{"2a", "2b"}, MaxCost: 14}},
			Carries:     []sdk.Feature{sdk.CarriesID, sdk.CarriesEmailVerified, sdk.CarriesNames},
			Batch:       sdk.BatchLimits{Users: 50, InFlight: 4},
			MaxIDLength: 64,
			Identity:    []string{"url"},
		},
		New: open,
	}
}

// open prepares the target, without any network traffic.
func open(_ context.Context, c config, env sdk.Env) (sdk.Target, error) {
	if !strings.HasPrefix(c.URL, "https://") && !strings.HasPrefix(c.URL, "http://127.0.0.1:") {
		return nil, sdk.Diagnostics{{
			Code: codeInsecureURL, Path: "/url", Summary: "users would cross the network in clear text",
			Hint: "use an address that starts with https://",
		}}.Err()
	}
	client := httpx.NewClient(httpx.Options{UserAgent: env.UserAgent, Pulse: env.Pulse, Log: env.Log})
	return &target{
		api:   &api{url: strings.TrimSuffix(c.URL, "/"), token: c.Token, http: client},
		judge: reconcile.Judge{Fingerprints: env.Fingerprints, Place: "Acme"},
	}, nil
}

// api is Acme's REST API.
type api struct {
	url   string
	token sdk.Secret
	http  *http.Client
}
