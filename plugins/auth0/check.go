package auth0

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/folder"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/plugins/auth0/internal/membership"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// The scopes of what a load does.
var (
	loadScopes         = []string{"create:users", "read:users", "update:users", "delete:users", "read:connections", "read:connections_options"}
	roleScopes         = []string{"read:roles", "create:roles", "update:roles"}
	organizationScopes = []string{
		"read:organizations", "create:organizations", "create:organization_connections", "create:organization_members",
	}
	seatScopes = []string{"create:organization_member_roles"}
)

// lacking returns what of need is not among scopes; nothing when nobody knows them.
func lacking(scopes, need []string) (out []string) {
	if len(scopes) == 0 {
		return nil
	}
	for _, s := range need {
		if !slices.Contains(scopes, s) {
			out = append(out, s)
		}
	}
	return out
}

// Check implements [sdk.Checker].
func (t *live) Check(ctx context.Context, needs sdk.Needs) sdk.Diagnostics {
	var l sdk.Diagnostics
	if err := folder.Writable(filepath.Dir(t.config.Deferred)); err != nil {
		l.Add(sideProblem(t.config.Deferred, err))
	}
	scopes, err := t.api.Scopes(ctx)
	if err != nil {
		if login, ok := errors.AsType[*httpx.LoginError](err); ok {
			l.Add(loginProblem(login))
		} else {
			l.Add(sdk.Diagnostic{Code: codeUnreachable, Path: "/domain", Summary: "the tenant cannot be reached", Detail: err.Error(), Hint: "check domain, network and certificate"})
		}
		return l
	}
	t.checkScopes(&l, scopes, needs)
	c, err := t.findConnection(ctx)
	switch {
	case err != nil:
		l.Add(failed("the connection cannot be read", err))
		return l
	case c == nil:
		l.Add(t.connectionMissing())
		return l
	}
	t.checkConnection(ctx, &l, c, needs)
	t.checkFactors(ctx, &l)
	t.estimate(&l, needs)
	return l
}

func failed(summary string, err error) sdk.Diagnostic {
	d := sdk.Diagnostic{Code: codeUnreachable, Path: "/domain", Summary: summary, Detail: err.Error(), Hint: "check domain and network"}
	if s := tenant.Status(err); s == 401 || s == 403 {
		d.Code, d.Path, d.Hint = codeScopeMissing, "/client_id", "grant the scope that the message names to the machine-to-machine application"
	}
	return d
}

func (t *live) checkScopes(l *sdk.Diagnostics, scopes []string, needs sdk.Needs) {
	missing := lacking(scopes, loadScopes[:2])
	missing = append(missing, lacking(scopes, []string{"read:connections"})...)
	if len(missing) > 0 {
		l.Add(sdk.Diagnostic{
			Code: codeScopeMissing, Path: "/client_id", Summary: "the application lacks " + strings.Join(missing, ", "),
			Hint: "grant it to the machine-to-machine application, under Applications > APIs > Auth0 Management API",
		})
	}
	if missing := lacking(scopes, loadScopes[2:4]); len(missing) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeScopeMissing, Path: "/client_id", Summary: "the application lacks " + strings.Join(missing, ", "),
			Detail: "later runs cannot update accounts, and an undo cannot delete any", Hint: "grant it as well",
		})
	}
	if missing := lacking(scopes, loadScopes[5:]); len(missing) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeScopeMissing, Path: "/client_id", Summary: "the application lacks " + strings.Join(missing, ", "),
			Detail: "what the connection demands of users cannot be checked", Hint: "grant it as well",
		})
	}
	others := slices.ContainsFunc(needs.Tenants, func(tenant string) bool { return tenant != publicTenant })
	for _, m := range []struct {
		path, choice, all string
		wanted            bool
		need              []string
	}{
		{"/roles", t.config.Roles, choiceAssign, len(needs.Roles) > 0, roleScopes},
		{"/tenants", t.config.Tenants, choiceOrganizations, others, organizationScopes},
		{"/roles", t.config.Roles, choiceAssign, others && len(needs.Roles) > 0 && t.config.Tenants != choiceMetadata, seatScopes},
	} {
		missing := lacking(scopes, m.need)
		if !m.wanted || len(missing) == 0 || m.choice == choiceMetadata {
			continue
		}
		d := sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeMembershipsKept, Path: m.path, Summary: fmt.Sprintf("%s stay in app_metadata: the application lacks %s", m.path[1:], strings.Join(missing, ", ")),
			Hint: "grant it, or set " + m.path[1:] + ": " + choiceMetadata,
		}
		if m.choice == m.all {
			d.Severity, d.Code = sdk.Error, codeScopeMissing
		}
		l.Add(d)
	}
}

func (t *live) checkConnection(ctx context.Context, l *sdk.Diagnostics, c *connection, needs sdk.Needs) {
	bad := func(summary, hint string) {
		l.Add(sdk.Diagnostic{Code: codeConnectionUnusable, Path: "/connection", Summary: summary, Hint: hint})
	}
	if c.Strategy != "auth0" {
		bad(fmt.Sprintf("the connection %s is of strategy %s; an import job takes database connections only", c.Name, c.Strategy), "name a connection from Authentication > Database")
		return
	}
	var clients struct {
		Clients []struct {
			ID string `json:"client_id"`
		} `json:"clients"`
	}
	switch err := t.api.Get(ctx, &clients, nil, "connections", c.ID, "clients"); {
	case err != nil && tenant.Status(err) != 403 && tenant.Status(err) != 404:
		l.Add(failed("the applications of the connection cannot be read", err))
	case err == nil && len(clients.Clients) == 0:
		bad(fmt.Sprintf("no application uses the connection %s, and Auth0 refuses imports into such a one", c.Name), "enable it for one application")
	}
	o := c.Options
	if o == nil {
		return
	}
	if o.CustomDatabase && !o.ImportMode {
		bad(fmt.Sprintf("the connection %s is a custom database that does not import users", c.Name), "switch on \"Import Users to Auth0\"")
	}
	identifiers := func(summary, hint string) {
		l.Add(sdk.Diagnostic{Code: codeConnectionIdentifiers, Path: "/connection", Summary: summary, Hint: hint})
	}
	if o.RequiresUsername || o.Attributes["username"].ProfileRequired {
		identifiers("the connection demands user names, which accounts of SuperTokens do not have", "make user names optional in the connection")
	}
	if t.config.WithoutEmail == choiceImport && (len(o.Attributes) == 0 || o.Attributes["email"].ProfileRequired) {
		identifiers("without_email is import, and the connection demands an e-mail address", "use a connection with flexible identifiers whose e-mail address is optional, or set without_email: reject")
	}
	if t.config.PhoneNumbers == choiceAttribute && !o.Attributes["phone_number"].Identifier.Active {
		identifiers("phone_numbers is attribute, and the connection does not identify users by phone number", "switch that attribute on, or set phone_numbers: metadata")
	}
	if o.Attributes["phone_number"].ProfileRequired && t.config.PhoneNumbers != choiceAttribute {
		identifiers("the connection demands phone numbers", "make them optional, or set phone_numbers: attribute")
	}
	_ = needs
}

// checkFactors looks whether carried authenticators would be asked for.
func (t *live) checkFactors(ctx context.Context, l *sdk.Diagnostics) {
	var factors []struct {
		Name    string `json:"name"`
		Enabled bool   `json:"enabled"`
	}
	if t.api.Get(ctx, &factors, nil, "guardian", "factors") != nil {
		return // without read:guardian_factors nobody can tell
	}
	for _, f := range factors {
		if f.Name == "otp" && !f.Enabled {
			l.Add(sdk.Diagnostic{
				Severity: sdk.Warning, Code: codeMFADisabled, Path: "/domain", Summary: "the tenant does not ask for one-time codes",
				Detail: "users who have an authenticator in SuperTokens would sign in with the password alone", Hint: "switch on one-time passwords under Security > Multi-factor Auth",
			})
		}
	}
}

// What a run takes is announced when somebody would wait for it.
const (
	usersPerJob   = 1_250
	worthSaying   = 10 * time.Minute
	slowPerSecond = 4   // seen on tenants without the enterprise import tier
	fastPerSecond = 110 // what Auth0 gives for that tier: 400,000 an hour
	memberCalls   = 200 // a minute
)

// estimate says how long the run will take, from what the documentation and others
// report; the first jobs will tell better.
func (t *live) estimate(l *sdk.Diagnostics, needs sdk.Needs) {
	slow, fast := duration(needs.Users, slowPerSecond), duration(needs.Users, fastPerSecond)
	if slow < worthSaying {
		return
	}
	detail := fmt.Sprintf("%d users are about %d import jobs, two at a time: from %s with the enterprise import tier to %s on a free tenant",
		needs.Users, (needs.Users+usersPerJob-1)/usersPerJob, fast, slow)
	if len(needs.Roles) > 0 || len(needs.Tenants) > 1 {
		detail += fmt.Sprintf("; roles take a request for every %d users and organizations one for every %d, %d a minute: up to %s and %s more if everybody has one; roles inside of organizations take a request each",
			membership.RoleBatch, membership.MemberBatch, memberCalls, minutes(needs.Users/membership.RoleBatch), minutes(needs.Users/membership.MemberBatch))
	}
	if limit := t.api.Burst(); limit > 0 {
		detail += fmt.Sprintf("; the tenant allows bursts of %d requests", limit)
	}
	l.Add(sdk.Diagnostic{Severity: sdk.Warning, Code: codeEstimate, Path: "/connection", Summary: fmt.Sprintf("the run takes from %s to %s", fast, slow), Detail: detail, Hint: "plan for it"})
}

func duration(users, perSecond int) time.Duration {
	return (time.Duration(users/perSecond) * time.Second).Round(time.Minute)
}

func minutes(calls int) time.Duration {
	return (time.Duration(calls) * time.Minute / memberCalls).Round(time.Minute)
}
