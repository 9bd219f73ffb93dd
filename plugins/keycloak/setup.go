package keycloak

import (
	"bytes"
	"cmp"
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

// denyFlow is the first login flow of the bridge's identity provider: who is not linked is
// nobody here.
const denyFlow = "stetl deny unknown accounts"

// denies is the authenticator that denies.
const denies = "deny-access-authenticator"

// ownRoles are those of realm-management that everything stetl does takes.
var ownRoles = []string{"manage-realm", "manage-users", "view-users", "view-clients", "manage-clients", "view-identity-providers", "manage-identity-providers"}

// preparing makes the realm's side of a migration.
type preparing struct {
	config Config
	api    *api
}

// Setup implements [sdk.Preparer].
func (p preparing) Setup(ctx context.Context, s sdk.Setup, needs sdk.Needs) ([]sdk.SetupStep, sdk.Diagnostics) {
	admin := *p.api
	admin.client = speak(p.config.URL, httpx.Bearer{Next: p.api.wire, Token: s.AdminToken})
	m := &maker{config: p.config, show: s.Show}
	realm, bridge := ofRealm{m}, ofBridge{m}
	for _, part := range []struct {
		what string
		as   *api
		make func(context.Context, *sdk.Broker) error
	}{
		{"the realm", &admin, realm.realm},
		{"the client of stetl", &admin, realm.ownClient},
		{"the roles of stetl", &admin, realm.roles},
		// A token knows the realms of its time: in a new one the administrator's is worth nothing.
		{"the first login flow of the bridge", p.api, bridge.flow},
		{"the identity provider of the bridge", p.api, bridge.provider},
		{"the client for applications", p.api, bridge.exchange},
	} {
		m.api = part.as
		if err := part.make(ctx, needs.Broker); err != nil {
			d := sdk.Diagnostic{Code: codeNotSetUp, Summary: "could not make " + part.what, Detail: err.Error(), Hint: "run it again when that is repaired: it makes what is missing"}
			switch status(err) {
			case http.StatusUnauthorized:
				d.Hint = "the token is no longer good, or of another server: get a new one"
			case http.StatusForbidden:
				d.Hint = "this takes a token of an administrator of the realm master, made after the realm; where the client does it, give it the roles that docs/keycloak.md names"
			}
			m.found.Add(d)
			break // the rest needs this
		}
	}
	return m.steps, m.found
}

// maker makes what is missing, or, with show, tells all of it.
type maker struct {
	config Config
	api    *api
	show   bool
	fresh  bool // the realm has been made just now, with the client and its roles
	steps  []sdk.SetupStep
	found  sdk.Diagnostics
}

// ofRealm makes the realm, and the client that runs use.
type ofRealm struct{ *maker }

// ofBridge makes what trusts the bridge.
type ofBridge struct{ *maker }

// request is one that makes something. Secrets in its body are known by name.
type request struct {
	what, method, path string
	body               any
	secrets            map[string]sdk.Secret // by what stands for them in the body
	command            string                // of kcadm.sh, with the body as its input
}

// do sends a request, and tells it.
func (m *maker) do(ctx context.Context, r request) error {
	body, err := json.Marshal(r.body)
	if err != nil {
		return fmt.Errorf("encode the request to %s: %w", r.path, err)
	}
	shown, err := json.Marshal(map[string]any{"method": r.method, "path": "/admin" + r.path, "body": r.body})
	if err != nil {
		return fmt.Errorf("encode the request to %s: %w", r.path, err)
	}
	if !m.show {
		sent := string(body)
		for name, secret := range r.secrets {
			quoted, err := json.Marshal(secret.Reveal())
			if err != nil {
				return fmt.Errorf("encode the secret %s: %w", name, err)
			}
			sent = strings.ReplaceAll(sent, text(name), string(quoted))
		}
		if err := m.api.call(ctx, r.method, r.path, nil, []byte(sent), nil); err != nil {
			return err
		}
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, body, "", "  "); err != nil {
		return err
	}
	m.steps = append(m.steps, sdk.SetupStep{What: r.what, Request: shown, Command: fmt.Sprintf("kcadm.sh %s -f - <<'EOF'\n%s\nEOF", r.command, pretty.String())})
	return nil
}

// missing reads what may be there. What is shown only is never there.
func (m *maker) missing(ctx context.Context, path string, query url.Values, into any) (bool, error) {
	if m.show {
		return true, nil
	}
	err := m.api.read(ctx, path, query, into)
	if status(err) == http.StatusNotFound {
		return true, nil
	}
	return false, err
}

// differs tells that something is there with other settings.
func (m *maker) differs(what string, settings []string) {
	if len(settings) > 0 {
		m.found.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeSetupDiffers, Summary: what + " is there, and differs: " + joinList(settings),
			Hint: "it is left as it is; check whether that is intended",
		})
	}
}

func (m ofRealm) realm(ctx context.Context, b *sdk.Broker) error {
	var now struct{ Enabled bool }
	switch missing, err := m.missing(ctx, m.api.realmPath(), nil, &now); {
	case err != nil:
		return err
	case !missing && !now.Enabled:
		m.differs("the realm "+m.config.Realm, []string{"it is switched off"})
		return nil
	case !missing:
		return nil
	}
	r := request{what: "the realm " + m.config.Realm, method: http.MethodPost, path: "/realms", command: "create realms"}
	body := map[string]any{"realm": m.config.Realm, "enabled": true}
	if m.config.AuthRealm == m.config.Realm {
		m.fresh = true
		r.what += ", with the client " + m.config.ClientID + " for stetl and its roles"
		r.secrets = map[string]sdk.Secret{secretOwn: m.config.ClientSecret}
		body["clients"] = []any{m.ownBody(b)}
		body["users"] = []any{map[string]any{
			"username": m.account(), "enabled": true, "serviceAccountClientId": m.config.ClientID, "clientRoles": map[string][]string{realmManagement: ownRoles},
		}}
	}
	r.body = body
	return m.do(ctx, r)
}

// realmManagement is the client of a realm whose roles administer it.
const realmManagement = "realm-management"

// account is the name of the user that the client is.
func (m ofRealm) account() string { return "service-account-" + strings.ToLower(m.config.ClientID) }

// ownBody is the client of stetl.
func (m ofRealm) ownBody(b *sdk.Broker) map[string]any {
	body := map[string]any{"clientId": m.config.ClientID, "secret": secretOwn, "publicClient": false, "serviceAccountsEnabled": true, "standardFlowEnabled": false, "directAccessGrantsEnabled": false}
	if attributes := m.ownGrants(b); attributes != nil {
		body["attributes"] = attributes
	}
	return body
}

// ownGrants are those of the client of stetl, where it is the one that exchanges assertions.
func (m ofRealm) ownGrants(b *sdk.Broker) map[string]string {
	if m.bridged(b) && b.Exchange && cmp.Or(m.config.ExchangeClientID, m.config.ClientID) == m.config.ClientID {
		return grants(m.config)
	}
	return nil
}

// clientNow is a client as far as it is compared.
type clientNow struct {
	ID              string            `json:"id"`
	Enabled         bool              `json:"enabled"`
	Public          bool              `json:"publicClient"`
	ServiceAccounts bool              `json:"serviceAccountsEnabled"`
	Secret          string            `json:"secret"`
	Attributes      map[string]string `json:"attributes"`
}

// client returns a client of a realm; nil where it is missing.
func (m *maker) client(ctx context.Context, realm, clientID string) (*clientNow, error) {
	var found []clientNow
	missing, err := m.missing(ctx, "/realms/"+url.PathEscape(realm)+"/clients", url.Values{"clientId": {clientID}}, &found)
	if err != nil || missing || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// otherThan says in what a client is not as it is wanted.
func (c *clientNow) otherThan(serviceAccounts bool, secret sdk.Secret, attributes map[string]string) (out []string) {
	for setting, differs := range map[string]bool{
		"it is switched off": !c.Enabled, "it is public": c.Public, "it has no service account": serviceAccounts && !c.ServiceAccounts,
		"it has another secret": c.Secret != "" && secret.Reveal() != "" && c.Secret != secret.Reveal(),
	} {
		if differs {
			out = append(out, setting)
		}
	}
	for name, value := range attributes {
		if c.Attributes[name] != value {
			out = append(out, fmt.Sprintf("the attribute %s is not %s", name, value))
		}
	}
	slices.Sort(out)
	return out
}

// What stands for secrets in what is shown.
const (
	secretOwn      = "CLIENT_SECRET"
	secretBroker   = "BRIDGE_CLIENT_SECRET"
	secretExchange = "EXCHANGE_CLIENT_SECRET"
)

func (m ofRealm) ownClient(ctx context.Context, b *sdk.Broker) error {
	if m.fresh {
		return nil
	}
	switch now, err := m.client(ctx, m.config.AuthRealm, m.config.ClientID); {
	case err != nil:
		return err
	case now != nil:
		m.differs("the client "+m.config.ClientID, now.otherThan(true, m.config.ClientSecret, m.ownGrants(b)))
		return nil
	}
	return m.do(ctx, request{
		what: "the client " + m.config.ClientID + " for stetl", method: http.MethodPost, path: "/realms/" + url.PathEscape(m.config.AuthRealm) + "/clients", body: m.ownBody(b),
		secrets: map[string]sdk.Secret{secretOwn: m.config.ClientSecret}, command: "create clients -r " + shell(m.config.AuthRealm),
	})
}

// roles gives the service account what it lacks of the roles that administer the realm.
func (m ofRealm) roles(ctx context.Context, _ *sdk.Broker) error {
	if m.fresh {
		return nil
	}
	manages := realmManagement
	if m.config.AuthRealm == "master" && m.config.Realm != "master" {
		manages = m.config.Realm + "-realm"
	}
	base := "/realms/" + url.PathEscape(m.config.AuthRealm)
	command := fmt.Sprintf("kcadm.sh add-roles -r %s --uusername %s --cclientid %s", shell(m.config.AuthRealm), shell(m.account()), shell(manages))
	path := base + "/users/SERVICE-ACCOUNT/role-mappings/clients/REALM-MANAGEMENT"
	lacks := ownRoles
	if !m.show {
		own, err := m.client(ctx, m.config.AuthRealm, m.config.ClientID)
		if err != nil {
			return err
		}
		management, err := m.client(ctx, m.config.AuthRealm, manages)
		if err != nil {
			return err
		}
		if own == nil || management == nil {
			return fmt.Errorf("the realm %s shows no client %s or %s", m.config.AuthRealm, m.config.ClientID, manages)
		}
		if !own.ServiceAccounts {
			return nil // that has been told
		}
		var user struct{ ID string }
		if err := m.api.read(ctx, base+"/clients/"+url.PathEscape(own.ID)+"/service-account-user", nil, &user); err != nil {
			return err
		}
		path = base + "/users/" + url.PathEscape(user.ID) + "/role-mappings/clients/" + url.PathEscape(management.ID)
		// What it has by being composed of others counts.
		var has []struct{ Name string }
		if err := m.api.read(ctx, path+"/composite", nil, &has); err != nil {
			return err
		}
		lacks = slices.DeleteFunc(slices.Clone(ownRoles), func(name string) bool {
			return slices.ContainsFunc(has, func(r struct{ Name string }) bool { return r.Name == name })
		})
		if err := m.give(ctx, path, base+"/clients/"+url.PathEscape(management.ID)+"/roles/", lacks); err != nil {
			return err
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	body := []map[string]string{}
	for _, name := range lacks {
		body = append(body, map[string]string{"name": name})
		command += " --rolename " + name
	}
	shown, err := json.Marshal(map[string]any{"method": http.MethodPost, "path": "/admin" + path, "body": body})
	if err != nil {
		return err
	}
	m.steps = append(m.steps, sdk.SetupStep{What: "the roles " + joinList(lacks) + " for the client " + m.config.ClientID, Request: shown, Command: command})
	return nil
}

// give maps roles, which the server wants to see whole.
func (m ofRealm) give(ctx context.Context, mappings, from string, names []string) error {
	var whole []json.RawMessage
	for _, name := range names {
		var role json.RawMessage
		if err := m.api.read(ctx, from+url.PathEscape(name), nil, &role); err != nil {
			return err
		}
		whole = append(whole, role)
	}
	if len(whole) == 0 {
		return nil
	}
	return m.api.write(ctx, http.MethodPost, mappings, whole)
}

// bridged reports whether the realm is to trust a bridge.
func (m *maker) bridged(b *sdk.Broker) bool { return b != nil && m.config.BridgeAlias != "" }

func (m ofBridge) flow(ctx context.Context, b *sdk.Broker) error {
	if !m.bridged(b) {
		return nil
	}
	var flows []struct{ Alias string }
	if _, err := m.missing(ctx, m.api.realmPath("authentication", "flows"), nil, &flows); err != nil {
		return err
	}
	if !slices.ContainsFunc(flows, func(f struct{ Alias string }) bool { return f.Alias == denyFlow }) {
		err := m.do(ctx, request{
			what: "the flow " + denyFlow, method: http.MethodPost, path: m.api.realmPath("authentication", "flows"), command: "create authentication/flows -r " + shell(m.config.Realm),
			body: map[string]any{"alias": denyFlow, "providerId": "basic-flow", "topLevel": true, "builtIn": false, "description": "for the bridge of stetl: nobody gets an account by it"},
		})
		if err != nil {
			return err
		}
	}
	executions := m.api.realmPath("authentication", "flows", denyFlow, "executions")
	var there []map[string]any
	if _, err := m.missing(ctx, executions, nil, &there); err != nil {
		return err
	}
	if len(there) == 0 {
		err := m.do(ctx, request{
			what: "what denies in the flow", method: http.MethodPost, path: executions + "/execution", body: map[string]any{"provider": denies},
			command: fmt.Sprintf("create %s -r %s", shell("authentication/flows/"+url.PathEscape(denyFlow)+"/executions/execution"), shell(m.config.Realm)),
		})
		if err != nil {
			return err
		}
	}
	return m.require(ctx, executions)
}

// require switches the execution of the flow on: a new one is not.
func (m ofBridge) require(ctx context.Context, executions string) error {
	execution := map[string]any{"id": "ID-OF-THE-EXECUTION", "providerId": denies}
	if !m.show {
		var there []map[string]any
		if err := m.api.read(ctx, executions, nil, &there); err != nil {
			return err
		}
		if len(there) != 1 || there[0]["providerId"] != denies {
			m.differs("the flow "+denyFlow, []string{"it does more than to deny"})
			return nil
		}
		if there[0]["requirement"] == "REQUIRED" {
			return nil
		}
		execution = there[0]
	}
	execution["requirement"] = "REQUIRED"
	return m.do(ctx, request{
		what: "that the flow denies", method: http.MethodPut, path: executions, body: execution,
		command: fmt.Sprintf("update %s -r %s", shell("authentication/flows/"+url.PathEscape(denyFlow)+"/executions"), shell(m.config.Realm)),
	})
}

// providerNow is an identity provider as far as it is compared and made.
type providerNow struct {
	Alias       string            `json:"alias"`
	ProviderID  string            `json:"providerId"`
	Enabled     bool              `json:"enabled"`
	HideOnLogin *bool             `json:"hideOnLogin,omitempty"`
	FirstLogin  string            `json:"firstBrokerLoginFlowAlias,omitempty"`
	Config      map[string]string `json:"config"`
}

func readProvider(ctx context.Context, a *api, alias string) (p providerNow, err error) {
	return p, a.read(ctx, a.realmPath("identity-provider", "instances", alias), nil, &p)
}

// brokerProvider is the identity provider that the bridge is.
func brokerProvider(c Config, b sdk.Broker, secret string) providerNow {
	hide := true
	p := providerNow{
		Alias: c.BridgeAlias, ProviderID: "oidc", Enabled: true, HideOnLogin: &hide, FirstLogin: denyFlow,
		Config: map[string]string{
			"issuer": b.Issuer, "authorizationUrl": b.Issuer + "/authorize", "tokenUrl": b.Issuer + "/oauth/token", "jwksUrl": b.Issuer + "/keys", "logoutUrl": b.Issuer + "/end_session",
			"useJwksUrl": "true", "validateSignature": "true", "clientId": b.ClientID, "clientSecret": secret, "clientAuthMethod": "client_secret_post", "defaultScope": "openid",
			"disableUserInfo": "true", "pkceEnabled": "true", "pkceMethod": "S256", "syncMode": "IMPORT", "acceptsPromptNoneForwardFromClient": "true",
		},
	}
	if b.Exchange {
		p.Config["jwtAuthorizationGrantEnabled"] = "true"
		p.Config["jwtAuthorizationGrantAssertionSignatureAlg"] = cmp.Or(b.Algorithm, "RS256")
		p.Config["jwtAuthorizationGrantMaxAllowedAssertionExpiration"] = "300"
	}
	return p
}

// differs names the settings in which a provider is not as the bridge needs it. The secret
// is never shown; the first login flow may be one of the operator's that denies.
func (p providerNow) differs(want providerNow) (out []string) {
	for setting, differs := range map[string]bool{"its type": p.ProviderID != want.ProviderID, "it is switched off": !p.Enabled, "its first login flow makes accounts": p.FirstLogin == "first broker login"} {
		if differs {
			out = append(out, setting)
		}
	}
	for name, value := range want.Config {
		switch name {
		case "clientSecret", "syncMode", "defaultScope", "logoutUrl", "disableUserInfo", "jwtAuthorizationGrantMaxAllowedAssertionExpiration":
			continue // others work, too
		}
		if p.Config[name] != value {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func (m ofBridge) provider(ctx context.Context, b *sdk.Broker) error {
	if !m.bridged(b) {
		return nil
	}
	var now providerNow
	want := brokerProvider(m.config, *b, secretBroker)
	switch missing, err := m.missing(ctx, m.api.realmPath("identity-provider", "instances", m.config.BridgeAlias), nil, &now); {
	case err != nil:
		return err
	case !missing:
		m.differs("the identity provider "+m.config.BridgeAlias, now.differs(want))
		return nil
	}
	return m.do(ctx, request{
		what: "the identity provider " + m.config.BridgeAlias + ", which is the bridge", method: http.MethodPost, path: m.api.realmPath("identity-provider", "instances"), body: want,
		secrets: map[string]sdk.Secret{secretBroker: b.ClientSecret}, command: "create identity-provider/instances -r " + shell(m.config.Realm),
	})
}

// grants are the attributes of a client that may exchange assertions of the bridge.
func grants(c Config) map[string]string {
	return map[string]string{"oauth2.jwt.authorization.grant.enabled": "true", "oauth2.jwt.authorization.grant.idp": c.BridgeAlias}
}

func (m ofBridge) exchange(ctx context.Context, b *sdk.Broker) error {
	id := m.config.ExchangeClientID
	if !m.bridged(b) || !b.Exchange || id == "" || id == m.config.ClientID {
		return nil
	}
	switch now, err := m.client(ctx, m.config.Realm, id); {
	case err != nil:
		return err
	case now != nil:
		m.differs("the client "+id, now.otherThan(false, m.config.ExchangeClientSecret, grants(m.config)))
		return nil
	}
	return m.do(ctx, request{
		what: "the client " + id + ", which exchanges assertions of the bridge", method: http.MethodPost, path: m.api.realmPath("clients"),
		body:    map[string]any{"clientId": id, "secret": secretExchange, "publicClient": false, "standardFlowEnabled": false, "directAccessGrantsEnabled": false, "attributes": grants(m.config)},
		secrets: map[string]sdk.Secret{secretExchange: m.config.ExchangeClientSecret}, command: "create clients -r " + shell(m.config.Realm),
	})
}

// shell quotes a word for a shell.
func shell(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./%:", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
