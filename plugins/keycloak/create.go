package keycloak

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/sdk"
)

// creation makes the realm from a template, where it does not exist and the configuration
// wants that.
type creation struct {
	config Config
	api    *api

	mu    sync.Mutex
	there bool // the realm is known to exist
}

// absent says that the realm does not exist, and is to be made by a load.
func (c *creation) absent(ctx context.Context) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.missing(ctx)
}

func (c *creation) missing(ctx context.Context) (bool, error) {
	if !c.config.Create || c.there {
		return false, nil
	}
	_, err := c.api.realmFacts(ctx)
	if status(err) == http.StatusNotFound {
		return true, nil
	}
	if err != nil {
		return false, explain(fmt.Errorf("read realm %s: %w", c.config.Realm, err))
	}
	c.there = true
	return false, nil
}

// planAbsent plans for a realm that a load is going to make: nobody is there.
func planAbsent(err error, c Config, users []sdk.User, out sdk.Changes) error {
	if err != nil {
		return err
	}
	m := mapper{aliases: c.IdentityProviders, tenants: c.Tenants, tenant: c.Tenant, bridgeAlias: c.BridgeAlias, strict: c.RefusedValues == refusedReject}
	for i := range users {
		u := &users[i]
		if _, refused := m.user(u); refused != nil {
			out.Report(sdk.Change{Outcome: *refused})
			continue
		}
		out.Report(sdk.Change{Outcome: sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created}})
	}
	return nil
}

// make makes the realm, unless it exists: then it is left as it is.
func (c *creation) make(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	absent, err := c.missing(ctx)
	if err != nil || !absent {
		return err
	}
	realm, _, err := c.fromTemplate(ctx)
	if err != nil {
		return explain(err)
	}
	body, err := json.Marshal(realm)
	if err != nil {
		return fmt.Errorf("encode realm %s: %w", c.config.Realm, err)
	}
	for range makeTries {
		err = c.api.call(ctx, http.MethodPost, "/realms", nil, body, nil)
		// A token knows the realms of its time.
		c.api.tokens.Renew()
		if err == nil {
			c.there = true
			return nil
		}
		// Every realm changes the master realm, and of two at a time the server may refuse one.
		// Another process may have made this one meanwhile; then that is taken as it is.
		if absent, lookErr := c.missing(ctx); lookErr != nil || !absent {
			return lookErr
		}
		if status(err) != http.StatusConflict && status(err) < http.StatusInternalServerError {
			break
		}
	}
	return explain(fmt.Errorf("make realm %s: %w", c.config.Realm, err))
}

// makeTries is how often a realm is tried to be made.
const makeTries = 5

// on is the same server's api for another realm.
func on(a *api, realm string) *api {
	other := *a
	other.realm = realm
	return &other
}

// fromTemplate is what the new realm is to be, and what of the template it cannot have.
func (c *creation) fromTemplate(ctx context.Context) (realm map[string]any, lost []string, err error) {
	path := on(c.api, c.config.Template).realmPath("partial-export")
	query := url.Values{"exportClients": {"true"}, "exportGroupsAndRoles": {"true"}}
	if err := c.api.call(ctx, http.MethodPost, path, query, nil, &realm); err != nil {
		return nil, nil, fmt.Errorf("read the template realm %s: %w", c.config.Template, err)
	}
	if realm["realm"] != c.config.Template {
		return nil, nil, errors.New("the server has not given the template realm")
	}
	lost = derive(realm, c.config.Template, c.config.Realm)
	return realm, lost, nil
}

// masked is what the server shows in the place of a secret.
const masked = "**********"

// derive makes a new realm out of what the server shows of a template: with names of its own,
// without ids, users and keys. What it cannot have, because its secret is not shown, is left
// out or switched off, and returned.
func derive(realm map[string]any, template, name string) (lost []string) {
	for _, own := range []string{"users", "federatedUsers", "keycloakVersion"} {
		delete(realm, own)
	}
	withoutIDs(realm)
	renamed(realm, strings.NewReplacer("/realms/"+template+"/", "/realms/"+name+"/", "/admin/"+template+"/", "/admin/"+name+"/"),
		map[string]string{"default-roles-" + strings.ToLower(template): "default-roles-" + strings.ToLower(name)})
	realm["realm"] = name
	delete(realm, "displayNameHtml")
	if realm["displayName"] == template {
		realm["displayName"] = name
	}
	if smtp, ok := realm["smtpServer"].(map[string]any); ok && smtp["password"] == masked {
		delete(smtp, "password")
		lost = append(lost, "the password of the mail server")
	}
	for _, client := range objects(realm["clients"]) {
		if client["secret"] == masked {
			delete(client, "secret") // the server makes one
			if client["enabled"] != false && client["publicClient"] != true && client["bearerOnly"] != true {
				lost = append(lost, fmt.Sprintf("the secret of the client %v, which gets a new one", client["clientId"]))
			}
		}
	}
	for _, provider := range objects(realm["identityProviders"]) {
		config, _ := provider["config"].(map[string]any)
		if hidden := maskedKeys(config); len(hidden) > 0 {
			for _, key := range hidden {
				delete(config, key)
			}
			provider["enabled"] = false
			lost = append(lost, fmt.Sprintf("the secret of the identity provider %v, which is switched off", provider["alias"]))
		}
	}
	lost = append(lost, withoutKeys(realm)...)
	slices.Sort(lost)
	return lost
}

// withoutKeys removes the keys of the template, in whose place the server makes others, and
// components whose secrets are not shown.
func withoutKeys(realm map[string]any) (lost []string) {
	components, ok := realm["components"].(map[string]any)
	if !ok {
		return nil
	}
	delete(components, "org.keycloak.keys.KeyProvider")
	for kind := range components {
		var kept []any
		for _, component := range objects(components[kind]) {
			config, _ := component["config"].(map[string]any)
			if len(maskedKeys(config)) == 0 {
				kept = append(kept, component)
				continue
			}
			lost = append(lost, fmt.Sprintf("the component %v (%v), whose secret is not shown", component["name"], component["providerId"]))
		}
		components[kind] = kept
	}
	return lost
}

// maskedKeys are those whose value, or one of whose values, is not shown.
func maskedKeys(config map[string]any) (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(config)) {
		list, isList := config[key].([]any)
		if config[key] == masked || isList && slices.Contains(list, any(masked)) {
			keys = append(keys, key)
		}
	}
	return keys
}

// objects are the members of a list that are objects.
func objects(v any) (all []map[string]any) {
	list, _ := v.([]any)
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

// withoutIDs removes what names a thing of the server; two realms cannot have the same ones.
func withoutIDs(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			withoutIDs(item)
		}
	case map[string]any:
		for _, key := range []string{"id", "internalId", "containerId"} {
			delete(v, key)
		}
		for key, value := range v {
			if key != "config" && key != "attributes" { // those are names of others
				withoutIDs(value)
			}
		}
	}
}

// renamed puts the name of the new realm where the template has its own: in paths, and in
// texts that are a name of something.
func renamed(v any, paths *strings.Replacer, names map[string]string) any {
	switch v := v.(type) {
	case string:
		if name, ok := names[v]; ok {
			return name
		}
		return paths.Replace(v)
	case []any:
		for i := range v {
			v[i] = renamed(v[i], paths, names)
		}
	case map[string]any:
		for key := range v {
			v[key] = renamed(v[key], paths, names)
		}
	}
	return v
}

// checkTemplate looks at the template instead of the realm that is yet to be made: what is
// true of the one will be true of the other.
func checkTemplate(ctx context.Context, t *live, token string, needs sdk.Needs) (l sdk.Diagnostics) {
	c := t.config
	c.Realm, c.Create, c.Template = c.Template, false, ""
	if roles := realmRoles(token); roles != nil && !roles["create-realm"] && !roles["admin"] {
		l.Add(sdk.Diagnostic{
			Code: codeRoleMissing, Path: "/create", Summary: fmt.Sprintf("the realm %s does not exist, and the client may not make realms", t.config.Realm),
			Hint: "give its service account the role create-realm of the realm master",
		})
		return l
	}
	_, lost, err := t.fromTemplate(ctx)
	switch {
	case status(err) == http.StatusNotFound:
		l.Add(sdk.Diagnostic{Code: codeTemplate, Path: "/template", Summary: fmt.Sprintf("the server has no realm %q to make others from", t.config.Template), Hint: "correct the name; names are case-sensitive"})
		return l
	case status(err) == http.StatusForbidden:
		d := missingRole("manage-realm and view-clients of the template realm", "the template cannot be read")
		d.Path, d.Detail = "/template", err.Error()
		l.Add(d)
		return l
	case err != nil:
		l.Add(failed("read the template realm", err))
		return l
	}
	l.Add(sdk.Diagnostic{
		Severity: sdk.Warning, Code: codeRealmToMake, Path: "/create", Summary: fmt.Sprintf("the realm %s does not exist, and a run makes it from %s", t.config.Realm, t.config.Template),
		Hint: "what follows is about the template",
	})
	if len(lost) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeTemplate, Path: "/template", Summary: "a new realm does not get all of the template: " + strings.Join(lost, "; "),
			Hint: "the server does not show secrets: set them in the new realm, or have the template refer to a vault",
		})
	}
	like := newLiveOn(on(t.api, c.Realm), c, t.env)
	l.Add(like.Check(ctx, needs)...)
	t.seen = like.seen
	return l
}

// realmRoles are the roles of the realm that a token has; nil where it does not say.
func realmRoles(token string) map[string]bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Access *struct {
			Roles []string `json:"roles"`
		} `json:"realm_access"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Access == nil {
		return nil
	}
	roles := map[string]bool{}
	for _, r := range claims.Access.Roles {
		roles[r] = true
	}
	return roles
}
