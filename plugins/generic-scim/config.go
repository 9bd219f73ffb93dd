package scim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// Config is target.config of a configuration file. What a preset says holds
// wherever the configuration says nothing.
type Config struct {
	Mode   string `json:"mode,omitempty" enum:"live,files" default:"live" jsonschema:"live loads a running server; files writes Bulk requests, and one user per line"`
	Preset string `json:"preset,omitempty" jsonschema:"name of a known provider, to adapt to it"`

	URL     string                `json:"url,omitempty" title:"Address" jsonschema:"live: base URL, such as https://id.example.com/scim/v2"`
	Auth    Auth                  `json:"auth,omitzero" jsonschema:"live: how to sign in"`
	TLS     httpx.TLS             `json:"tls,omitzero" jsonschema:"live: certificates"`
	Headers map[string]sdk.Secret `json:"headers,omitempty" jsonschema:"live: further headers for every request, such as the key of a gateway"`
	Timeout sdk.Duration          `json:"timeout,omitzero" default:"60s" jsonschema:"live: how long one request may take"`

	Out    string `json:"out,omitempty" title:"Folder" jsonschema:"files: folder to write"`
	Format string `json:"format,omitempty" enum:"both,bulk,ndjson" default:"both" jsonschema:"files: which files to write"`

	Bulk          string  `json:"bulk,omitempty" enum:"auto,on,off" default:"auto" jsonschema:"live: whether to use Bulk requests; auto asks the server"`
	BulkSize      int     `json:"bulk_size,omitempty" jsonschema:"users per Bulk request: live, by default measured; files, by default 100"`
	Parallel      int     `json:"parallel,omitempty" jsonschema:"live: requests at the same time; by default measured, at most 32"`
	RateLimit     float64 `json:"rate_limit,omitempty" jsonschema:"live: at most this many users and look-ups a second"`
	Patch         string  `json:"patch,omitempty" enum:"auto,on,off" default:"auto" jsonschema:"live: whether updates use PATCH; off uses PUT, merged with the existing account"`
	ETag          string  `json:"etag,omitempty" enum:"auto,on,off" default:"auto" jsonschema:"live: whether updates are conditional on the version that was read"`
	Lookup        string  `json:"lookup,omitempty" enum:"auto,index,filter" default:"auto" jsonschema:"live: how accounts are found; index reads all of them once, filter asks for each"`
	PageSize      int     `json:"page_size,omitempty" jsonschema:"live: accounts per page when reading all of them, by default 100"`
	IndexLimit    int     `json:"index_limit,omitempty" jsonschema:"live: with lookup auto, the number of accounts up to which all are read, by default 5000"`
	ContentType   string  `json:"content_type,omitempty" enum:"auto,application/scim+json,application/json" default:"auto" jsonschema:"live: media type of requests"`
	UsersEndpoint string  `json:"users_endpoint,omitempty" jsonschema:"live: path of users, by default as the server says or /Users"`
	Undo          string  `json:"undo,omitempty" enum:"auto,delete,deactivate" default:"auto" jsonschema:"live: what undo does with accounts that a run has created; auto deletes"`
	Adopt         string  `json:"adopt,omitempty" enum:"never,username" default:"never" jsonschema:"live: username takes over an account that has the same user name and no externalId"`

	Extension    Extension         `json:"extension,omitzero" jsonschema:"schema for data that has no attribute in SCIM"`
	Attributes   map[string]string `json:"attributes,omitempty" jsonschema:"metadata key (a dot goes one level deeper) to SCIM attribute, such as title or urn:…:User:department"`
	Constants    map[string]string `json:"constants,omitempty" jsonschema:"SCIM attribute to text that every user gets"`
	Drop         []string          `json:"drop,omitempty" jsonschema:"SCIM attributes that are not sent"`
	Emails       string            `json:"emails,omitempty" enum:"all,verified,first" default:"all" jsonschema:"which addresses are sent"`
	Mails        string            `json:"mails,omitempty" enum:"never,created" default:"never" jsonschema:"live: whether the provider mails people when their account is created; limits.mails limits their number"`
	EmailType    string            `json:"email_type,omitempty" default:"work" jsonschema:"type of the first address"`
	PhoneType    string            `json:"phone_type,omitempty" default:"mobile" jsonschema:"type of the phone number"`
	NameFallback string            `json:"name_fallback,omitempty" enum:"none,username" default:"none" jsonschema:"username uses the user name as name, for providers that require one"`
	Roles        string            `json:"roles,omitempty" enum:"auto,groups,per_tenant,roles,entitlements,none" default:"auto" jsonschema:"where roles are stored; auto means groups, where a role counts for all tenants; per_tenant makes a group for each tenant and role"`
	AcceptGroups []string          `json:"accept_groups,omitempty" jsonschema:"live: existing groups of the provider that no run has made, and that users may join"`
	Tenants      string            `json:"tenants,omitempty" enum:"extension,groups,none" default:"extension" jsonschema:"where tenants are stored"`
	MemberChunk  int               `json:"member_chunk,omitempty" jsonschema:"live: members added to a group at a time, by default 100"`

	SignIns []string `json:"sign_ins,omitempty" jsonschema:"all ways to sign in at the provider, because SCIM does not tell: password, social, social:PROVIDER, passkey, email_code, email_reset, sms_code; people who have none of these are counted as stranded"`

	Password Password `json:"password,omitzero" jsonschema:"password hashes; by default none are sent"`
}

// Auth is how to sign in.
type Auth struct {
	Type         string     `json:"type,omitempty" enum:"bearer,oauth2,basic,none" default:"bearer" jsonschema:"bearer: token; oauth2: client credentials; basic: username and password; none: only a client certificate or header"`
	Token        sdk.Secret `json:"token,omitzero" title:"Token" jsonschema:"bearer: the token"`
	TokenURL     string     `json:"token_url,omitempty" jsonschema:"oauth2: token endpoint"`
	ClientID     string     `json:"client_id,omitempty" jsonschema:"oauth2: the client"`
	ClientSecret sdk.Secret `json:"client_secret,omitzero" jsonschema:"oauth2: its secret"`
	Scope        string     `json:"scope,omitempty" jsonschema:"oauth2: scopes, separated by spaces"`
	Audience     string     `json:"audience,omitempty" jsonschema:"oauth2: audience, if the server needs one"`
	Username     string     `json:"username,omitempty" jsonschema:"basic: the user"`
	Password     sdk.Secret `json:"password,omitzero" jsonschema:"basic: the password"`
}

// Extension is schema for data that has no attribute in SCIM.
type Extension struct {
	URN string `json:"urn,omitempty" jsonschema:"its URN, by default stetl's own"`
	Use string `json:"use,omitempty" enum:"auto,always,never" default:"auto" jsonschema:"auto sends it if the server declares it, and always in files"`
}

// Password opens the one way in which hashes reach a server.
type Password struct {
	HashesAccepted bool              `json:"hashes_accepted,omitempty" jsonschema:"declares that this provider accepts hashes in the attribute password; check its documentation, and test it with an account"`
	Templates      map[string]string `json:"templates,omitempty" jsonschema:"kind of hash (bcrypt, argon2id, argon2i) to the form of the provider, such as {bcrypt}{hash}"`
	// How a canary signs in, to prove that it is so.
	CheckTokenURL string     `json:"check_token_url,omitempty" jsonschema:"OAuth2 token endpoint with the password grant, for the sign-in of a test account"`
	CheckClientID string     `json:"check_client_id,omitempty" jsonschema:"client for that sign-in"`
	CheckSecret   sdk.Secret `json:"check_client_secret,omitzero" jsonschema:"its secret"`
}

// rolesInGroups says that roles become groups.
func (c Config) rolesInGroups() bool { return c.Roles == asGroups || c.Roles == asGroupsPerTenant }

// DefaultExtension is the schema for what SCIM has no attribute for. Its
// definition is docs/scim-extension.schema.json.
const DefaultExtension = "urn:stetl:params:scim:schemas:extension:supertokens:1.0:User"

// Values of settings.
const (
	modeLive  = "live"
	modeFiles = "files"

	auto   = "auto"
	on     = "on"
	off    = "off"
	always = "always"
	never  = "never"
	none   = "none"

	asGroups = "groups"
	// asGroupsPerTenant has a group for each tenant and role.
	asGroupsPerTenant = "per_tenant"
	asRoles           = "roles"
	asEntitlements    = "entitlements"
	inExtension       = "extension"

	formatBoth = "both"
	formatBulk = "bulk"
	formatNDJS = "ndjson"

	byIndex  = "index"
	byFilter = "filter"

	hashPlace = "{hash}"
)

const (
	defaultTimeout    = time.Minute
	defaultPage       = 100
	defaultIndexLimit = 5000
	defaultChunk      = 100
	defaultBulkFile   = 100
	maxBulk           = 1000
	maxParallel       = 32
)

// withDefaults fills in what the preset and other settings decide.
func (c Config) withDefaults() Config {
	c = c.withPreset()
	c.Mode = cmp.Or(c.Mode, modeLive)
	c.Auth.Type = cmp.Or(c.Auth.Type, "bearer")
	c.Auth.Token = sdk.NewSecret(strings.TrimSpace(c.Auth.Token.Reveal()))
	c.Timeout.Duration = cmp.Or(c.Timeout.Duration, defaultTimeout)
	c.Format = cmp.Or(c.Format, formatBoth)
	for _, v := range []*string{&c.Bulk, &c.Patch, &c.ETag, &c.Lookup, &c.ContentType, &c.Undo, &c.Extension.Use, &c.Roles} {
		*v = cmp.Or(*v, auto)
	}
	c.Adopt = cmp.Or(c.Adopt, never)
	c.Extension.URN = cmp.Or(c.Extension.URN, DefaultExtension)
	c.Emails = cmp.Or(c.Emails, "all")
	c.EmailType, c.PhoneType = cmp.Or(c.EmailType, "work"), cmp.Or(c.PhoneType, "mobile")
	c.NameFallback = cmp.Or(c.NameFallback, none)
	c.Tenants = cmp.Or(c.Tenants, inExtension)
	c.PageSize, c.IndexLimit = cmp.Or(c.PageSize, defaultPage), cmp.Or(c.IndexLimit, defaultIndexLimit)
	c.MemberChunk = cmp.Or(c.MemberChunk, defaultChunk)
	c.URL = strings.TrimRight(c.URL, "/")
	if c.Roles == auto {
		c.Roles = asGroups
	}
	if c.Mode == modeFiles {
		c.BulkSize = cmp.Or(c.BulkSize, defaultBulkFile)
	}
	return c
}

// validate finds what the schema cannot: most of it depends on the mode.
func (c Config) validate() sdk.Diagnostics {
	var l sdk.Diagnostics
	bad := func(code sdk.Code, path, summary, hint string) {
		l.Add(sdk.Diagnostic{Code: code, Path: path, Summary: summary, Hint: hint})
	}
	need := func(path, value, why, hint string) {
		if value == "" {
			bad(sdk.CodeMissingField, path, fmt.Sprintf("%s needs %s", why, strings.ReplaceAll(path[1:], "/", ".")), hint)
		}
	}
	const urlHint = "the base URL of the provider's SCIM service, as in https://id.example.com/scim/v2"
	switch c.Mode {
	case modeLive:
		need("/url", c.URL, "mode live", urlHint)
		if problem := httpx.AddressProblem(c.URL, false); c.URL != "" && problem != "" {
			bad(sdk.CodeInvalidValue, "/url", "url "+problem, urlHint)
		}
		switch c.Auth.Type {
		case "bearer":
			need("/auth/token", c.Auth.Token.Reveal(), "auth of type bearer", "by reference, as in ${env:SCIM_TOKEN}")
		case "oauth2":
			need("/auth/token_url", c.Auth.TokenURL, "auth of type oauth2", "the token endpoint of the provider")
			need("/auth/client_id", c.Auth.ClientID, "auth of type oauth2", "the client that may manage users")
			need("/auth/client_secret", c.Auth.ClientSecret.Reveal(), "auth of type oauth2", "by reference, as in ${env:SCIM_CLIENT_SECRET}")
			if problem := httpx.AddressProblem(c.Auth.TokenURL, false); c.Auth.TokenURL != "" && problem != "" {
				bad(sdk.CodeInvalidValue, "/auth/token_url", "token_url "+problem, "the token endpoint of the provider")
			}
		case "basic":
			need("/auth/username", c.Auth.Username, "auth of type basic", "an account that may manage users")
			need("/auth/password", c.Auth.Password.Reveal(), "auth of type basic", "by reference, as in ${env:SCIM_PASSWORD}")
		}
		l.Add(c.TLS.Validate("/tls")...)
		if c.Timeout.Duration < time.Second {
			bad(sdk.CodeInvalidValue, "/timeout", "no server answers within "+c.Timeout.String(), "leave it out")
		}
	case modeFiles:
		need("/out", c.Out, "mode files", "the folder to write")
	}
	for _, n := range []struct {
		path     string
		value    int
		from, to int
	}{
		{"/bulk_size", c.BulkSize, 0, maxBulk},
		{"/parallel", c.Parallel, 0, 64},
		{"/page_size", c.PageSize, 1, 10_000},
		{"/member_chunk", c.MemberChunk, 1, 10_000},
	} {
		if n.value < n.from || n.value > n.to {
			bad(sdk.CodeInvalidValue, n.path, fmt.Sprintf("%s %d is outside %d to %d", n.path[1:], n.value, n.from, n.to), "leave it out")
		}
	}
	if c.RateLimit < 0 {
		bad(sdk.CodeInvalidValue, "/rate_limit", "a negative rate_limit", "leave it out for no limit")
	}
	for i, way := range c.SignIns {
		if _, err := sdk.ParseSignIn(way); err != nil {
			bad(sdk.CodeInvalidValue, sdk.Pointer("sign_ins", strconv.Itoa(i)), err.Error(), "list what the provider has")
		}
	}
	if !strings.HasPrefix(strings.ToLower(c.Extension.URN), "urn:") {
		bad(sdk.CodeInvalidValue, "/extension/urn", "the name of an extension begins with urn:", "use the name under which the provider knows it")
	}
	if c.Preset != "" && !slices.Contains(presetNames(), c.Preset) {
		bad(sdk.CodeInvalidValue, "/preset", "there is no preset of that name", "one of "+joinList(presetNames())+"; or leave it out")
	}
	c.validatePassword(bad)
	return l
}

func (c Config) validatePassword(bad func(code sdk.Code, path, summary, hint string)) {
	p := c.Password
	if len(p.Templates) > 0 && !p.HashesAccepted {
		bad(sdk.CodeMissingField, "/password/hashes_accepted", "templates send password hashes, and nothing says that the provider takes them",
			"a provider that does not would take the hash for the password; set hashes_accepted: true only when its documentation says so and a test account has shown it")
	}
	if p.HashesAccepted && len(p.Templates) == 0 {
		bad(sdk.CodeMissingField, "/password/templates", "hashes_accepted needs the form in which the provider takes hashes", "as in {bcrypt: \"{bcrypt}{hash}\"}")
	}
	for _, scheme := range slices.Sorted(maps.Keys(p.Templates)) {
		path := sdk.Pointer("password", "templates", scheme)
		switch sdk.Scheme(scheme) {
		case sdk.Bcrypt, sdk.Argon2id, sdk.Argon2i, sdk.Argon2d:
			if strings.Count(p.Templates[scheme], hashPlace) != 1 {
				bad(sdk.CodeInvalidValue, path, "a template holds {hash} once", "as in {bcrypt}{hash}")
			}
		default:
			bad(sdk.CodeInvalidValue, path, "no hash of that scheme can be sent", "one of bcrypt, argon2id, argon2i, argon2d")
		}
	}
}

func joinList(names []string) string { return strings.Join(names, ", ") }
