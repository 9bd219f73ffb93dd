package keycloak

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// Config is target.config of a configuration file.
type Config struct {
	Mode  string `json:"mode,omitempty" enum:"live,files" default:"live" jsonschema:"live loads a running server; files writes a folder for kc.sh import"`
	Realm string `json:"realm" title:"Realm" jsonschema:"name of the realm that receives the users"`

	URL          string       `json:"url,omitempty" title:"Address of Keycloak" jsonschema:"live: base URL of the server, such as https://sso.example.com"`
	ClientID     string       `json:"client_id,omitempty" title:"Client" jsonschema:"live: confidential client whose service account has manage-realm, manage-users, view-users and view-clients of realm-management"`
	ClientSecret sdk.Secret   `json:"client_secret,omitzero" title:"Secret of the client" jsonschema:"live: secret of the client"`
	AuthRealm    string       `json:"auth_realm,omitempty" jsonschema:"live: realm of the client; by default realm"`
	Create       bool         `json:"create,omitempty" jsonschema:"live: make the realm from template if it does not exist; a realm that exists is not changed"`
	Template     string       `json:"template,omitempty" jsonschema:"live: realm whose settings, clients, roles and groups a new realm gets, without its users and keys"`
	Timeout      sdk.Duration `json:"timeout,omitzero" default:"5m" jsonschema:"live: how long one request may take; 5m is the server's own limit"`
	TLS          httpx.TLS    `json:"tls,omitzero" jsonschema:"live: certificates"`

	Out string `json:"out,omitempty" title:"Folder" jsonschema:"files: folder to write"`

	CanaryClientID     string     `json:"canary_client_id,omitempty" jsonschema:"live: confidential client with direct access grants, to prove that old passwords work; by default one is created for a moment"`
	CanaryClientSecret sdk.Secret `json:"canary_client_secret,omitzero" jsonschema:"live: its secret"`

	BridgeAlias          string     `json:"bridge_alias,omitempty" jsonschema:"alias of the identity provider that stands for the bridge, usually supertokens; every user is linked to it"`
	ExchangeClientID     string     `json:"exchange_client_id,omitempty" jsonschema:"live: client that exchanges the bridge's assertions for tokens; by default client_id"`
	ExchangeClientSecret sdk.Secret `json:"exchange_client_secret,omitzero" jsonschema:"live: its secret"`

	IdentityProviders map[string]string `json:"identity_providers,omitempty" jsonschema:"SuperTokens provider id to alias of the realm's identity provider; by default the same name"`
	Tenant            string            `json:"tenant,omitempty" jsonschema:"load only the users of this tenant, for a realm per tenant; others are skipped"`
	Tenants           string            `json:"tenants,omitempty" enum:"groups,organizations,none" default:"groups" jsonschema:"groups puts the users of tenants into groups /tenants/ID; organizations makes them members of the organization ID (live only); none ignores tenants"`
	AcceptRoles       []string          `json:"accept_roles,omitempty" jsonschema:"live: roles that give power over the realm, or are built in, and that users with a role of the same name may get"`
	AcceptGroups      []string          `json:"accept_groups,omitempty" jsonschema:"live: paths of groups that give power over the realm, such as /tenants/north, and that users of the tenant may join"`
	AcceptMaster      bool              `json:"accept_master,omitempty" jsonschema:"live: allow loading users into master, the realm of the server's administrators"`
	RefusedValues     string            `json:"refused_values,omitempty" enum:"leave_out,reject" default:"leave_out" jsonschema:"users with values that are too long for Keycloak, or that the user profile of the realm refuses: leave_out loads them without the value; reject does not load them"`
	BatchSize         int               `json:"batch_size,omitempty" jsonschema:"live: users per request, at most 500, by default the fastest measured; files: users per file, by default 1000"`
	Parallel          int               `json:"parallel,omitempty" jsonschema:"live: requests with users at the same time, by default 8 and at most 32"`
}

const (
	modeLive  = "live"
	modeFiles = "files"

	refusedReject = "reject"

	tenantsAsGroups        = "groups"
	tenantsAsOrganizations = "organizations"

	// partialImport flushes its whole session for every user, so the time of a request
	// grows with the square of its users, and beyond 500 it may not end within its own
	// limit. Small requests, some at the same time, are the fastest; docs/keycloak.md
	// has the measurements.
	defaultBatch = 10
	bulkBatch    = 100 // through our provider
	maxBatch     = 500
	defaultFile  = 1000

	defaultParallel = 8
	maxParallel     = 32

	maxFile = 50_000

	defaultTimeout = 5 * time.Minute
)

// withDefaults fills in what depends on other settings, and the rest for
// configurations that were not decoded.
func (c Config) withDefaults() Config {
	c.Mode = cmp.Or(c.Mode, modeLive)
	c.AuthRealm = cmp.Or(c.AuthRealm, c.Realm)
	c.Tenants = cmp.Or(c.Tenants, tenantsAsGroups)
	c.Timeout.Duration = cmp.Or(c.Timeout.Duration, defaultTimeout)
	c.Parallel = cmp.Or(c.Parallel, defaultParallel)
	c.URL = strings.TrimRight(c.URL, "/")
	if c.Mode == modeFiles {
		c.BatchSize = cmp.Or(c.BatchSize, defaultFile)
	}
	return c
}

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
	const urlHint = "the base URL of the server, such as https://sso.example.com"

	largest := maxBatch
	switch c.Mode {
	case modeLive:
		need("/url", c.URL, urlHint)
		need("/client_id", c.ClientID, "a confidential client with service account roles")
		need("/client_secret", c.ClientSecret.Reveal(), "by reference, as in ${env:KEYCLOAK_CLIENT_SECRET}")
		if problem := checkURL(c.URL); c.URL != "" && problem != "" {
			bad(sdk.CodeInvalidValue, "/url", "url "+problem, urlHint)
		}
		l.Add(c.TLS.Validate("/tls")...)
		l.Add(c.validateCreate()...)
		if c.Timeout.Duration < time.Second {
			bad(sdk.CodeInvalidValue, "/timeout", "an import takes longer than "+c.Timeout.String(), "leave it out, unless a proxy needs it")
		}
	case modeFiles:
		need("/out", c.Out, "the folder to write")
		if c.Create {
			bad(sdk.CodeInvalidValue, "/create", "files have no server where a realm could be made", "leave it out: the files of a realm make it")
		}
		largest = maxFile
		if c.Tenants == tenantsAsOrganizations {
			bad(sdk.CodeInvalidValue, "/tenants", "files cannot make users members of organizations", "use groups, or load the running server")
		}
	}
	if strings.ContainsAny(c.Realm, `/\`) || hasControl(c.Realm) || c.Realm == "." || c.Realm == ".." {
		bad(sdk.CodeInvalidValue, "/realm", "a realm name cannot have slashes or control characters", "use the name as the admin console shows it")
	}
	if c.BatchSize < 0 || c.BatchSize > largest {
		bad(sdk.CodeInvalidValue, "/batch_size", fmt.Sprintf("batch_size %d is outside 1 to %d", c.BatchSize, largest), "leave it out unless the server is slow")
	}
	if c.Parallel < 1 || c.Parallel > maxParallel {
		bad(sdk.CodeInvalidValue, "/parallel", fmt.Sprintf("parallel %d is outside 1 to %d", c.Parallel, maxParallel), "leave it out unless the server has many processors")
	}
	for provider, alias := range c.IdentityProviders {
		if alias == "" {
			bad(sdk.CodeInvalidValue, sdk.Pointer("identity_providers", provider), "empty alias", "leave the line out to use the same name")
		}
	}
	return l
}

// validateCreate says what it takes to make realms.
func (c Config) validateCreate() (l sdk.Diagnostics) {
	switch {
	case !c.Create && c.Template != "":
		l.Add(sdk.Diagnostic{Code: sdk.CodeInvalidValue, Path: "/template", Summary: "template is there, and create is not", Hint: "set create: true, or leave template out"})
	case !c.Create:
	case c.Template == "":
		l.Add(sdk.Diagnostic{Code: sdk.CodeMissingField, Path: "/template", Summary: "create needs template", Hint: "the realm whose settings a new one gets"})
	case c.Template == c.Realm:
		l.Add(sdk.Diagnostic{Code: sdk.CodeInvalidValue, Path: "/realm", Summary: "the realm is the template itself", Hint: "load users into another realm"})
	case c.AuthRealm == c.Realm:
		l.Add(sdk.Diagnostic{
			Code: sdk.CodeMissingField, Path: "/auth_realm", Summary: "create needs auth_realm: a client of the realm itself cannot make the realm",
			Hint: "use a client of the realm master whose service account has create-realm; docs/targets.md names all roles",
		})
	}
	return l
}

func checkURL(text string) string {
	problem := httpx.AddressProblem(text, true)
	if u, err := url.Parse(text); problem == "" && err == nil && (strings.Contains(u.Path, "/realms/") || strings.HasSuffix(u.Path, "/admin")) {
		problem = "has a path after the base address of the server"
	}
	return problem
}
