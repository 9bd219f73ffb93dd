package main

import (
	"context"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// config is what a configuration file may say under target.config.
type config struct {
	AdminURL  string            `json:"admin_url" title:"Address for administrators" example:"http://127.0.0.1:4434" jsonschema:"address of the API for administrators"`
	PublicURL string            `json:"public_url" title:"Public address" example:"http://127.0.0.1:4433" jsonschema:"address of the public API: the schema is read there, and old passwords are tried there"`
	Token     sdk.Secret        `json:"token,omitempty" jsonschema:"bearer token, where something before Kratos asks for one"`
	Schema    string            `json:"schema,omitempty" default:"default" jsonschema:"id of the identity schema of new accounts"`
	Traits    traits            `json:"traits,omitempty" jsonschema:"where the identity schema keeps what users have, with a dot before a name inside of another trait"`
	Providers map[string]string `json:"providers,omitempty" jsonschema:"names of identity providers in SuperTokens, and their ids in Kratos where these are others"`
	SignerKey sdk.Secret        `json:"firebase_signer_key,omitempty" jsonschema:"signer key of the Firebase project that some hashes come from, in base64"`
}

// traits are paths into the traits of an identity. Empty ones have no place in the schema.
type traits struct {
	Email      string `json:"email,omitempty" default:"email" jsonschema:"trait for the e-mail address"`
	Username   string `json:"username,omitempty" jsonschema:"trait for the user name"`
	Phone      string `json:"phone,omitempty" jsonschema:"trait for the phone number"`
	GivenName  string `json:"given_name,omitempty" jsonschema:"trait for the given name, such as name.first"`
	FamilyName string `json:"family_name,omitempty" jsonschema:"trait for the family name, such as name.last"`
}

// Codes of this plugin, and what they mean to an operator.
const (
	codeAddress     sdk.Code = "kratos.address"
	codeUnreachable sdk.Code = "kratos.unreachable"
	codeRefused     sdk.Code = "kratos.login_refused"
	codeSchema      sdk.Code = "kratos.schema"
	codeTrait       sdk.Code = "kratos.trait_missing"
	codeIdentifier  sdk.Code = "kratos.no_identifier"
	codeInvalidUser sdk.Code = "kratos.invalid_user"
)

var codes = []sdk.CodeInfo{
	{Code: codeAddress, Meaning: "an address of Kratos cannot be used", Remedy: "correct it; other machines need https://", Permanent: true},
	{Code: codeUnreachable, Meaning: "Kratos cannot be asked", Remedy: "check the address and the network"},
	{Code: codeRefused, Meaning: "whatever is before Kratos refuses the token", Remedy: "give another one", Permanent: true},
	{Code: codeSchema, Meaning: "the identity schema cannot be read", Remedy: "name one of those in the configuration of Kratos", Permanent: true},
	{Code: codeTrait, Meaning: "the identity schema has no such trait", Remedy: "correct the path, or add the trait to the schema", Permanent: true},
	{Code: codeIdentifier, Meaning: "nobody could sign in: no trait is an identifier for passwords", Remedy: "mark a trait in the identity schema", Permanent: true},
	{Code: codeInvalidUser, Meaning: "Kratos cannot hold the user", Remedy: "correct the user in SuperTokens, or in the mapping", Permanent: true},
}

// longestID leaves room for the provider in an identifier of 255 letters.
const longestID = 240

func plugin() sdk.Plugin[config] {
	return sdk.Plugin[config]{
		Name: "kratos", Version: version, Codes: codes, New: open,
		Capabilities: (&mapper{config{Traits: traits{Email: "email"}}}).Capabilities(),
	}
}

// Capabilities implements [sdk.Capable]: what Kratos holds depends on its identity schema.
func (m *mapper) Capabilities() sdk.Capabilities {
	c := sdk.Capabilities{
		Hashes: []sdk.HashSupport{
			{Scheme: sdk.Bcrypt, Variants: []string{"2a", "2b", "2y"}}, {Scheme: sdk.Argon2id}, {Scheme: sdk.Argon2i},
		},
		Carries:          []sdk.Feature{sdk.CarriesID, sdk.CarriesEmailVerified, sdk.CarriesIdentities, sdk.CarriesMetadata},
		Batch:            sdk.BatchLimits{Users: 100, InFlight: 2},
		MaxIDLength:      longestID,
		UniqueEmail:      true,
		UniqueIdentities: true,
		Folding:          map[sdk.Identifier]sdk.Folding{sdk.IdentifierEmail: {Trims: true}, sdk.IdentifierUsername: {Trims: true}},
		NoUsernames:      m.config.Traits.Username == "",
		Identity:         []string{"admin_url"},
	}
	if !m.config.SignerKey.IsZero() {
		c.Hashes = append(c.Hashes, sdk.HashSupport{Scheme: sdk.FirebaseScrypt})
	}
	if m.config.Traits.Phone != "" {
		c.Carries = append(c.Carries, sdk.CarriesPhone)
	}
	if m.config.Traits.GivenName != "" || m.config.Traits.FamilyName != "" {
		c.Carries = append(c.Carries, sdk.CarriesNames)
	}
	return c
}

// open prepares the target, without any network traffic.
func open(_ context.Context, c config, env sdk.Env) (sdk.Target, error) {
	var found sdk.Diagnostics
	for _, field := range []struct{ path, address string }{{"/admin_url", c.AdminURL}, {"/public_url", c.PublicURL}} {
		if problem := httpx.AddressProblem(field.address, false); problem != "" {
			found.Add(sdk.Diagnostic{Code: codeAddress, Path: field.path, Summary: "the address " + problem, Hint: "correct it"})
		}
	}
	if found.HasErrors() {
		return nil, found.Err()
	}
	// What Kratos answers with 500 it has rolled back, and it would do so again.
	client := httpx.NewClient(httpx.Options{UserAgent: env.UserAgent, Pulse: env.Pulse, Log: env.Log, FaultTries: 1})
	return &target{decider{
		mapper: mapper{c},
		api:    &api{admin: strings.TrimSuffix(c.AdminURL, "/"), public: strings.TrimSuffix(c.PublicURL, "/"), token: c.Token, http: client},
		judge:  reconcile.Judge{Fingerprints: env.Fingerprints, Place: "Kratos"},
	}}, nil
}

// Check implements [sdk.Checker]: everything that would fail for every user.
func (t *target) Check(ctx context.Context, _ sdk.Needs) (found sdk.Diagnostics) {
	if _, err := t.api.some(ctx, []string{"00000000-0000-4000-8000-000000000000"}); err != nil {
		code, hint := codeUnreachable, "check the address"
		if isStatus(err, 401, 403) {
			code, hint = codeRefused, "give a token that may manage identities"
		}
		return sdk.Diagnostics{{Code: code, Path: "/admin_url", Summary: "Kratos cannot be asked: " + err.Error(), Hint: hint}}
	}
	schema, err := t.api.schema(ctx, t.config.Schema)
	if err != nil {
		return sdk.Diagnostics{{Code: codeSchema, Path: "/schema", Summary: "the identity schema cannot be read: " + err.Error(), Hint: "name one that Kratos has"}}
	}
	paths := t.config.Traits.paths()
	for _, p := range paths {
		if schema.trait(p.trait) == nil {
			found.Add(sdk.Diagnostic{Code: codeTrait, Path: "/traits/" + p.name, Summary: "the identity schema has no trait " + p.trait, Hint: "correct the path, or add the trait"})
		}
	}
	signsIn := func(p path) bool { return schema.trait(p.trait).identifies() }
	if !found.HasErrors() && !slices.ContainsFunc(paths, signsIn) {
		found.Add(sdk.Diagnostic{
			Code: codeIdentifier, Path: "/schema", Summary: "nobody could sign in with a password: none of these traits is an identifier",
			Hint: `give the trait "ory.sh/kratos": {"credentials": {"password": {"identifier": true}}}`,
		})
	}
	return found
}

// path is a trait by the name of its field in the configuration.
type path struct{ name, trait string }

// paths are those that are set.
func (t traits) paths() []path {
	all := []path{{"email", t.Email}, {"username", t.Username}, {"phone", t.Phone}, {"given_name", t.GivenName}, {"family_name", t.FamilyName}}
	return slices.DeleteFunc(all, func(p path) bool { return p.trait == "" })
}
