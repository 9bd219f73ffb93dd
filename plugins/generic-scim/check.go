package scim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// Mails implements [sdk.Mailer]. The protocol cannot tell, so the operator does.
func (t *live) Mails() []sdk.Mailing {
	if t.config.Mails == "created" {
		return []sdk.Mailing{sdk.MailsCreated}
	}
	return nil
}

// Check implements [sdk.Checker]. It only reads.
func (t *live) Check(ctx context.Context, needs sdk.Needs) sdk.Diagnostics {
	var l sdk.Diagnostics
	if p, ok := readPreset(t.config.Preset); ok && p.Note != "" {
		l.Add(sdk.Diagnostic{Severity: sdk.Warning, Code: codeProviderNote, Path: "/preset", Summary: p.Note, Hint: "see docs/scim.md"})
	}
	l.Add(passwordNotes(t.config)...)
	s, err := learn(ctx, t)
	if err != nil {
		l.Add(failed(err))
		return l
	}
	f := s.facts
	finder, err := openFinder(ctx, t.api, f)
	if err != nil {
		l.Add(failed(err))
		return l
	}
	if !finder.filters {
		t.env.Log.Info("the server's filter cannot be trusted; all accounts are read instead", "complete", finder.indexed)
	}
	for _, urn := range f.missingExtensions(t.config, s.mapper.extension) {
		l.Add(sdk.Diagnostic{
			Code: codeExtensionRequired, Path: "/attributes", Summary: "every user of this server needs the extension " + urn,
			Hint: "fill it with attributes or constants",
		})
	}
	if !s.mapper.extension && t.config.Extension.Use == auto && (len(needs.Providers) > 0 || len(needs.MetadataKeys) > 0) {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeExtensionUndeclared, Path: "/extension",
			Summary: "the server does not declare " + t.config.Extension.URN,
			Detail:  "third-party logins, metadata, tenants, verified flags and joining times stay behind, except for what attributes names",
			Hint:    "register docs/scim-extension.schema.json with the provider, or accept the loss",
		})
	}
	checkAttributes(t.config, &l, f, needs)
	if f.groups == "" && t.config.rolesInGroups() && len(needs.Roles) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeGroupsMissing, Path: "/roles", Summary: "the server has no groups, so roles stay behind",
			Hint: "set roles to roles or entitlements where the provider knows those, or to none",
		})
	}
	checkGroups(ctx, &l, s, needs)
	if t.config.Password.HashesAccepted && f.attributes != nil && !f.attributes["password"] {
		l.Add(sdk.Diagnostic{
			Code: codePasswordUndeclared, Path: "/password", Summary: "hashes are to be sent and the server declares no attribute password",
			Detail: "a server that stores what it does not know would show the hashes to everybody who reads users", Hint: "remove password from the configuration",
		})
	}
	return l
}

// checkGroups names groups of the provider that have the names of roles or tenants: users
// get into those that are accepted. What a group allows, SCIM does not tell.
func checkGroups(ctx context.Context, l *sdk.Diagnostics, s *server, needs sdk.Needs) {
	if s.facts.groups == "" {
		return
	}
	people := map[string]int{}
	if s.config.rolesInGroups() {
		for _, role := range needs.Roles {
			people[role] = needs.RoleUsers[role]
		}
	}
	if s.config.Tenants == asGroups {
		for _, tenant := range needs.Tenants {
			people[tenantPrefix+tenant] = needs.TenantUsers[tenant]
		}
	}
	var theirs, accepted []string
	for _, name := range slices.Sorted(maps.Keys(people)) {
		g, err := s.groups.get(ctx, name)
		if err != nil {
			l.Add(failed(err))
			return
		}
		if g == nil || isOurs(s.groups, g) {
			continue
		}
		into := &theirs
		if slices.Contains(s.config.AcceptGroups, name) {
			into = &accepted
		}
		if n := people[name]; n > 0 {
			name = fmt.Sprintf("%s (%d users)", name, n)
		}
		*into = append(*into, name)
	}
	const detail = "SCIM does not tell what a group allows: see at the provider"
	if len(accepted) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeGroupsThere, Path: "/accept_groups", Summary: "users get into groups of the provider that no run has made, as accept_groups says: " + joinList(accepted),
			Detail: detail,
		})
	}
	if len(theirs) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeGroupsThere, Path: "/roles", Summary: "groups of the provider that no run has made, and that users do not get into by a name alone: " + joinList(theirs),
			Detail: detail, Hint: "name those that are meant in accept_groups, and rename the others",
		})
	}
}

// checkAttributes finds what the server would drop, and what it demands.
func checkAttributes(c Config, l *sdk.Diagnostics, f *facts, needs sdk.Needs) {
	if f.attributes == nil {
		return
	}
	var missing []string
	for _, name := range []string{"name", "emails", "phoneNumbers"} {
		if !f.takes(name) && !dropped(c.Drop, name) {
			missing = append(missing, name)
		}
	}
	for _, path := range c.Attributes {
		if !f.takes(attributePath(path)) {
			missing = append(missing, path)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeAttributeUndeclared, Path: "/attributes", Summary: "the server does not declare " + joinList(missing) + ", so that stays behind",
			Hint: "have the provider extend its schema, or accept the loss",
		})
	}
	sent := []string{"username", "active", "emails", "externalid", "schemas", "displayname", "name"}
	if needs.WithoutName > 0 && c.NameFallback == none {
		sent = sent[:5]
	}
	var demanded []string
	for _, name := range f.required {
		top := attributeOf(strings.ToLower(name))
		covered := slices.Contains(sent, top) && (top != "emails" || needs.WithoutEmail == 0)
		for path := range c.Constants {
			covered = covered || attributeOf(strings.ToLower(path)) == top
		}
		for _, path := range c.Attributes {
			covered = covered || attributeOf(strings.ToLower(path)) == top
		}
		if !covered {
			demanded = append(demanded, name)
		}
	}
	if len(demanded) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeAttributeRequired, Path: "/constants", Summary: "the server demands " + joinList(demanded) + ", which users may lack",
			Detail: "it will refuse those users", Hint: "fill it with attributes, constants or name_fallback",
		})
	}
}

// attributePath cuts a sub-attribute off.
func attributePath(path string) string {
	if strings.HasPrefix(strings.ToLower(path), "urn:") {
		i := strings.LastIndexByte(path, ':')
		name, _, _ := strings.Cut(path[i+1:], ".")
		return path[:i+1] + name
	}
	name, _, _ := strings.Cut(path, ".")
	return name
}

// distrust explains a connection that one of its two ends does not trust.
func distrust(err error) (sdk.Diagnostic, bool) {
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return sdk.Diagnostic{
			Code: codeUntrusted, Path: "/tls/ca_file", Summary: "the server's certificate is not trusted", Detail: e.Error(),
			Hint: "name the authority that issued it in tls.ca_file (for a self-signed certificate, itself), or correct the url",
		}, true
	}
	if httpx.ClientRefused(err) {
		return sdk.Diagnostic{
			Code: codeClientRefused, Path: "/tls/cert_file", Summary: "the server refuses the connection without a client certificate that it accepts", Detail: err.Error(),
			Hint: "set tls.cert_file and tls.key_file to a valid certificate of an authority that the server trusts",
		}, true
	}
	return sdk.Diagnostic{}, false
}

func loginRefused(err error) sdk.Diagnostic {
	return sdk.Diagnostic{
		Code: codeLoginRefused, Path: "/auth", Summary: "the server refuses the credentials", Detail: err.Error(),
		Hint: "check auth; the account must be allowed to read, create and change users",
	}
}

func noLookup(err error) sdk.Diagnostic {
	return sdk.Diagnostic{
		Code: codeLookupImpossible, Path: "/lookup", Summary: "accounts can be neither searched for nor listed completely, so that nobody could tell who is there", Detail: err.Error(),
		Hint: "ask the provider which filter works; lookup: filter trusts it after a check",
	}
}

// failed explains why a request of the preflight did not succeed.
func failed(err error) sdk.Diagnostic {
	if d, ok := diagnose(err); ok {
		return d
	}
	d := sdk.Diagnostic{Code: codeUnreachable, Path: "/url", Summary: "the server cannot be reached", Detail: err.Error(), Hint: "check the url, the network and the certificate"}
	if status(err) != 0 || errors.Is(err, errNotJSON) {
		d.Code, d.Summary = codeNotSCIM, "the address does not answer as SCIM 2.0 does"
		d.Hint = fmt.Sprintf("check the url; users were looked for below %s", "/Users")
	}
	return d
}
