package keycloak

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/stetl/stetl/core/sdk"
)

// federation is where the server looks for users beside its own database: LDAP,
// Kerberos, a provider of somebody's own. Their users are part of the realm: nobody
// else can have their names and addresses.
type federation struct {
	ID       string              `json:"id"`
	Name     string              `json:"name"`
	Provider string              `json:"providerId"`
	Config   map[string][]string `json:"config"`
}

func (f *federation) setting(name string) string {
	if v := f.Config[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// federations lists those that the server asks.
func federations(ctx context.Context, a *api) ([]federation, error) {
	var all, asked []federation
	err := a.read(ctx, a.realmPath("components"), url.Values{"type": {"org.keycloak.storage.UserStorageProvider"}}, &all)
	if err != nil {
		return nil, fmt.Errorf("list the user federation of realm %s: %w", a.realm, err)
	}
	for _, f := range all {
		if f.setting("enabled") != "false" {
			asked = append(asked, f)
		}
	}
	return asked, nil
}

// unreachable has the server sign in to its LDAP servers, and names those that do not
// let it: a look-up finds nobody in them and reports no error. Federations other than
// LDAP cannot be asked for that.
func unreachable(ctx context.Context, a *api, all []federation) (down sdk.Diagnostics, err error) {
	for _, f := range all {
		if f.Provider != "ldap" {
			continue
		}
		request := map[string]string{"action": "testAuthentication", "componentId": f.ID}
		for _, name := range []string{"connectionUrl", "authType", "bindDn", "bindCredential", "startTls", "useTruststoreSpi", "connectionTimeout"} {
			if v := f.setting(name); v != "" {
				request[name] = v // the credential is a mask, for which the server puts its own
			}
		}
		err := a.write(ctx, http.MethodPost, a.realmPath("testLDAPConnection"), request)
		switch {
		case status(err) == http.StatusBadRequest:
			down.Add(sdk.Diagnostic{
				Code: codeFederationDown, Path: "/realm",
				Summary: fmt.Sprintf("the server cannot sign in to %s, a user federation of the realm", f.Name), Detail: err.Error(),
				Hint: "it is unknown which users it has: repair it, or disable it if its users should not count, and run again",
			})
		case err != nil:
			return nil, fmt.Errorf("try the user federation %s: %w", f.Name, err)
		}
	}
	return down, nil
}

func (t *preflight) checkFederations(ctx context.Context, l *sdk.Diagnostics) {
	all, err := federations(ctx, t.api)
	var down sdk.Diagnostics
	if err == nil {
		down, err = unreachable(ctx, t.api, all)
	}
	if err != nil {
		l.Add(incomplete("whether the user federations of the realm answer", err))
	}
	l.Add(down...)
}
