package keycloak

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/stetl/stetl/core/sdk"
)

// placeholders are identity providers that the server has a type of its own for, by
// the name SuperTokens knows them under.
var placeholders = map[string]string{
	"google": "google", "google-workspaces": "google", "github": "github", "gitlab": "gitlab", "facebook": "facebook",
	"bitbucket": "bitbucket", "linkedin": "linkedin-openid-connect", "active-directory": "microsoft",
}

// toBeSet stands where only an operator knows the value.
const toBeSet = "to-be-set"

// The policies for attributes that the user profile does not declare, as far as
// administrators may write them.
const (
	adminsEdit     = "ADMIN_EDIT"
	everybodyEdits = "ENABLED"
)

// Fix implements [sdk.Fixer]. It changes settings and the user profile of the realm
// where they would stop users or hide what they bring, and adds identity providers that users
// are linked to: disabled, since only an operator has their client and secret. It
// leaves alone what protects accounts, such as the password policy.
func (t *live) Fix(ctx context.Context, needs sdk.Needs) sdk.Diagnostics {
	var l sdk.Diagnostics
	p := &preflight{config: t.config, api: t.api}
	if _, err := t.api.bearer(ctx); err != nil {
		l.Add(failed("sign in", err))
		return l
	}
	if err := p.fixSettings(ctx, &l); err != nil {
		l.Add(unfixed("the settings of the realm", "manage-realm", err))
	}
	if err := p.fixProfile(ctx, &l); err != nil {
		l.Add(unfixed("the user profile of the realm", "manage-realm", err))
	}
	if err := p.fixIdentityProviders(ctx, &l, needs); err != nil {
		l.Add(unfixed("the identity providers of the realm", "manage-identity-providers", err))
	}
	return l
}

func fixed(code sdk.Code, path, summary string) sdk.Diagnostic {
	return sdk.Diagnostic{Severity: sdk.Warning, Code: code, Path: path, Summary: summary}
}

func unfixed(what, role string, err error) sdk.Diagnostic {
	d := sdk.Diagnostic{Severity: sdk.Warning, Code: codeNotFixed, Summary: "could not change " + what, Detail: err.Error(), Hint: "change by hand what check names"}
	if status(err) == http.StatusForbidden {
		d.Hint = fmt.Sprintf("give the client's service account the role %s of the client realm-management, or change by hand what check names", role)
	}
	return d
}

func (t *preflight) fixSettings(ctx context.Context, l *sdk.Diagnostics) error {
	facts, err := t.api.realmFacts(ctx)
	if err != nil {
		return err
	}
	settings := map[string]any{} // the server changes only what is named
	var done sdk.Diagnostics
	if t.config.Tenants == tenantsAsOrganizations && !facts.Organizations {
		settings["organizationsEnabled"] = true
		done.Add(fixed(codeOrganizationsOff, "/tenants", "the realm now has organizations"))
	}
	if !facts.EditUsername && !facts.EmailAsUsername {
		settings["editUsernameAllowed"] = true
		d := fixed(codeUsernamesFixed, "/realm", "the realm now allows changing user names")
		d.Hint = `people can now change their user names in the account console, and people whose name the user profile does not allow are asked for a new one: switch "Edit username" off again when all have moved`
		done.Add(d)
	}
	if len(settings) == 0 {
		return nil
	}
	if err := remember(ctx, t.api, settingsCopy{Settings: slices.Collect(maps.Keys(settings))}); err != nil {
		return err
	}
	if err := t.api.write(ctx, http.MethodPut, t.api.realmPath(), settings); err != nil {
		return err
	}
	for i := range done {
		done[i].Detail = kept("switched off")
	}
	l.Add(done...)
	return nil
}

func (t *preflight) fixProfile(ctx context.Context, l *sdk.Diagnostics) error {
	profile, err := t.api.userProfile(ctx)
	if err != nil {
		return err
	}
	required, _ := profile.required()
	if len(required) > 0 && !verifiesProfile(ctx, t.api) {
		required = nil
	}
	if len(required) == 0 && (profile.Unmanaged == adminsEdit || profile.Unmanaged == everybodyEdits) {
		return nil
	}
	p, err := readWhole(ctx, t.api)
	if err != nil {
		return err
	}
	was := settingsCopy{Required: map[string]json.RawMessage{}}
	var requirements []string
	for _, a := range p.attributes {
		if name := nameOf(a); slices.Contains(required, name) {
			was.Required[name] = a["required"]
			requirements = append(requirements, fmt.Sprintf("%s %s", name, a["required"]))
			delete(a, "required")
		}
	}
	before := profile.Unmanaged
	if before != adminsEdit && before != everybodyEdits {
		was.Unmanaged = &before
		p.whole["unmanagedAttributePolicy"] = json.RawMessage(text(adminsEdit))
	}
	if err := remember(ctx, t.api, was); err != nil {
		return err
	}
	if err := p.write(ctx, t.api); err != nil {
		return err
	}
	if len(required) > 0 {
		d := fixed(codeProfileRequired, "/realm", "the user profile no longer requires "+joinList(required))
		d.Detail = kept(joinList(requirements))
		l.Add(d)
	}
	if was.Unmanaged != nil {
		d := fixed(codeAttributesHidden, "/realm", "administrators now see and may write attributes that the user profile does not declare")
		d.Detail = kept(cmp.Or(before, "nobody sees them"))
		l.Add(d)
	}
	return nil
}

func (t *preflight) fixIdentityProviders(ctx context.Context, l *sdk.Diagnostics, needs sdk.Needs) error {
	if len(needs.Providers) == 0 {
		return nil
	}
	there, err := t.api.providerAliases(ctx)
	if err != nil {
		return err
	}
	if there == nil {
		return &statusError{method: http.MethodGet, path: "/identity-provider/instances", status: http.StatusForbidden, message: "they cannot be seen"}
	}
	for _, p := range needs.Providers {
		alias, kind := cmp.Or(t.config.IdentityProviders[p], p), placeholders[p]
		if there[alias] || kind == "" {
			continue
		}
		if err := remember(ctx, t.api, settingsCopy{Providers: []string{alias}}); err != nil {
			return err
		}
		err := t.api.create(ctx, t.api.realmPath("identity-provider", "instances"), map[string]any{
			"alias": alias, "providerId": kind, "enabled": false, "config": map[string]string{"clientId": toBeSet, "clientSecret": toBeSet},
		})
		if err != nil {
			return err
		}
		there[alias] = true
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeProviderMissing, Path: "/identity_providers",
			Summary: fmt.Sprintf("the identity provider %s was added, disabled", alias),
			Hint:    "give it its client id and secret in the admin console and enable it",
		})
	}
	return nil
}
