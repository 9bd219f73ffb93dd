package auth0

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// Config is target.config of a configuration file.
type Config struct {
	Mode string `json:"mode,omitempty" enum:"live,files" default:"live" jsonschema:"live loads a tenant; files writes import files to upload by hand"`

	Domain       string       `json:"domain,omitempty" title:"Domain of the tenant" jsonschema:"live: domain of the tenant, such as example.eu.auth0.com, or its custom domain"`
	ClientID     string       `json:"client_id,omitempty" title:"Application" jsonschema:"live: machine-to-machine application authorised for the Management API"`
	ClientSecret sdk.Secret   `json:"client_secret,omitzero" title:"Secret of the application" jsonschema:"live: its secret"`
	Connection   string       `json:"connection,omitempty" title:"Database connection" jsonschema:"live: name of the database connection that receives the users"`
	Audience     string       `json:"audience,omitempty" jsonschema:"live: identifier of the Management API, needed with a custom domain: https://TENANT.REGION.auth0.com/api/v2/"`
	APIURL       string       `json:"api_url,omitempty" jsonschema:"live: address to use instead of https://domain, for tests; plain http on loopback only"`
	Jobs         int          `json:"jobs,omitempty" default:"2" jsonschema:"live: import jobs at the same time, 1 or 2; Auth0 allows a tenant two"`
	PollInterval sdk.Duration `json:"poll_interval,omitzero" default:"250ms" jsonschema:"live: shortest time between two status requests for a job; long jobs are asked less often"`
	Timeout      sdk.Duration `json:"timeout,omitzero" default:"1m" jsonschema:"live: how long one request may take"`
	TLS          httpx.TLS    `json:"tls,omitzero" jsonschema:"live: certificates"`

	CanaryClientID     string     `json:"canary_client_id,omitempty" jsonschema:"live: application with the password grant, to prove that old passwords work"`
	CanaryClientSecret sdk.Secret `json:"canary_client_secret,omitzero" jsonschema:"live: its secret"`

	ExchangeClientID     string     `json:"exchange_client_id,omitempty" jsonschema:"live: application that exchanges the bridge's assertions for tokens; by default client_id"`
	ExchangeClientSecret sdk.Secret `json:"exchange_client_secret,omitzero" jsonschema:"live: its secret"`
	ExchangeTokenType    string     `json:"exchange_token_type,omitempty" default:"urn:supertokens:session" jsonschema:"live: subject_token_type of the tenant's custom token exchange profile"`

	Out      string `json:"out,omitempty" title:"Folder" jsonschema:"files: folder to write"`
	Deferred string `json:"deferred,omitempty" default:"auth0-deferred.jsonl" jsonschema:"live: file with the accounts that no job can create, with their provider ids"`

	UnsupportedHash     string   `json:"unsupported_hash,omitempty" enum:"defer,reset" default:"defer" jsonschema:"users whose hash Auth0 cannot verify: defer does not load them, so that a lazy migration can still do it; reset loads them without a password"`
	Passwordless        string   `json:"passwordless,omitempty" enum:"defer,create" default:"defer" jsonschema:"users who sign in with a code: defer lists them in the file of deferred accounts; create makes them one by one in the connections email and sms"`
	WithoutEmail        string   `json:"without_email,omitempty" enum:"reject,import" default:"reject" jsonschema:"users with a password and without a usable e-mail address: import sends username or phone number instead, which the connection must allow"`
	PhoneNumbers        string   `json:"phone_numbers,omitempty" enum:"metadata,attribute" default:"metadata" jsonschema:"attribute also sends phone_number, which the connection must have as an identifier"`
	Metadata            string   `json:"metadata,omitempty" enum:"app_metadata,user_metadata" default:"app_metadata" jsonschema:"where the application's metadata goes; users can change user_metadata themselves"`
	Roles               string   `json:"roles,omitempty" enum:"auto,assign,metadata" default:"auto" jsonschema:"assign gives the roles of tenant public as roles of Auth0; metadata stores them in app_metadata only; auto assigns them if the scopes allow it"`
	PermissionsAPI      string   `json:"permissions_api,omitempty" jsonschema:"live: identifier of the API whose permissions stand for those of roles in SuperTokens; roles that runs make get them"`
	AcceptRoles         []string `json:"accept_roles,omitempty" jsonschema:"live: roles of the tenant that may use the Management API and that users with a role of the same name may get"`
	Tenants             string   `json:"tenants,omitempty" enum:"auto,organizations,metadata" default:"auto" jsonschema:"organizations makes an organization for every tenant except public; metadata stores tenants in app_metadata only; auto does what the scopes allow"`
	LookupsBeforeExport int      `json:"lookups_before_export,omitempty" default:"50" jsonschema:"live: up to this many accounts are looked up one by one; for more, the tenant's users are exported"`
}

const (
	modeLive  = "live"
	modeFiles = "files"

	choiceAuto          = "auto"
	choiceDefer         = "defer"
	choiceReset         = "reset"
	choiceCreate        = "create"
	choiceImport        = "import"
	choiceReject        = "reject"
	choiceMetadata      = "metadata"
	choiceAttribute     = "attribute"
	choiceAssign        = "assign"
	choiceOrganizations = "organizations"
	inAppMetadata       = "app_metadata"
	inUserMetadata      = "user_metadata"

	maxJobs = 2
)

func (c Config) withDefaults() Config {
	c.Mode = cmp.Or(c.Mode, modeLive)
	c.Domain = strings.ToLower(strings.TrimRight(strings.TrimPrefix(c.Domain, "https://"), "/"))
	c.APIURL = strings.TrimRight(cmp.Or(c.APIURL, "https://"+c.Domain), "/")
	c.Audience = cmp.Or(c.Audience, "https://"+c.Domain+"/api/v2/")
	c.Jobs = cmp.Or(c.Jobs, maxJobs)
	c.PollInterval.Duration = cmp.Or(c.PollInterval.Duration, 250*time.Millisecond)
	c.Timeout.Duration = cmp.Or(c.Timeout.Duration, time.Minute)
	c.ExchangeTokenType = cmp.Or(c.ExchangeTokenType, "urn:supertokens:session")
	c.Deferred = cmp.Or(c.Deferred, "auth0-deferred.jsonl")
	c.UnsupportedHash = cmp.Or(c.UnsupportedHash, choiceDefer)
	c.Passwordless = cmp.Or(c.Passwordless, choiceDefer)
	c.WithoutEmail = cmp.Or(c.WithoutEmail, choiceReject)
	c.PhoneNumbers = cmp.Or(c.PhoneNumbers, choiceMetadata)
	c.Metadata = cmp.Or(c.Metadata, inAppMetadata)
	c.Roles = cmp.Or(c.Roles, choiceAuto)
	c.Tenants = cmp.Or(c.Tenants, choiceAuto)
	c.LookupsBeforeExport = cmp.Or(c.LookupsBeforeExport, 50)
	return c
}

var hostPattern = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?$`)

// validate finds what the schema cannot: most of it depends on the mode.
func (c Config) validate() sdk.Diagnostics {
	var l sdk.Diagnostics
	bad := func(code sdk.Code, path, summary, hint string) {
		l.Add(sdk.Diagnostic{Code: code, Path: path, Summary: summary, Hint: hint})
	}
	need := func(path, value, hint string) {
		if value == "" {
			bad(sdk.CodeMissingField, path, fmt.Sprintf("mode %s needs %s", c.Mode, path[1:]), hint)
		}
	}
	if c.Mode == modeFiles {
		need("/out", c.Out, "the folder to write")
		if c.Passwordless == choiceCreate {
			bad(sdk.CodeInvalidValue, "/passwordless", "import files cannot create passwordless users", "use mode live, or leave it at defer")
		}
		return l
	}
	need("/domain", c.Domain, "as in example.eu.auth0.com")
	need("/client_id", c.ClientID, "a machine-to-machine application")
	need("/client_secret", c.ClientSecret.Reveal(), "by reference, as in ${env:AUTH0_CLIENT_SECRET}")
	need("/connection", c.Connection, "the name of a database connection, often Username-Password-Authentication")
	if strings.HasSuffix(strings.TrimSuffix(c.PermissionsAPI, "/"), "/api/v2") {
		bad(sdk.CodeInvalidValue, "/permissions_api", "permissions_api names the Management API, whose permissions change the tenant itself", "name an API of your own")
	}
	if c.Domain != "" && !hostPattern.MatchString(c.Domain) {
		bad(sdk.CodeInvalidValue, "/domain", "domain is not a host name", "write it like example.eu.auth0.com, without path")
	}
	if problem := httpx.AddressProblem(c.APIURL, false); c.Domain != "" && problem != "" {
		bad(sdk.CodeInvalidValue, "/api_url", "api_url "+problem, "leave it out: it is for tests")
	}
	l.Add(c.TLS.Validate("/tls")...)
	if c.Jobs < 1 || c.Jobs > maxJobs {
		bad(sdk.CodeInvalidValue, "/jobs", fmt.Sprintf("jobs is %d; Auth0 runs at most %d import jobs of a tenant", c.Jobs, maxJobs), "use 1 to leave room for colleagues")
	}
	if c.PollInterval.Duration < time.Millisecond || c.PollInterval.Duration > time.Minute {
		bad(sdk.CodeInvalidValue, "/poll_interval", "poll_interval is outside 1ms to 1m", "leave it out")
	}
	return l
}
