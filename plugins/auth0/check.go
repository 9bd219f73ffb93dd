package auth0

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

// The scopes of what a load does. Of two with a bar between them, either will do.
var (
	planScopes         = []string{"read:users", "read:connections"}
	loadScopes         = []string{"create:users", "read:users", "update:users", "delete:users", "read:connections", "read:connections_options"}
	roleScopes         = []string{"read:roles", "create:roles", "create:role_members|update:roles"}
	organizationScopes = []string{
		"read:organizations", "create:organizations", "create:organization_connections", "create:organization_members",
	}
	seatScopes = []string{"create:organization_member_roles"}
	// What later runs need to read memberships and to take them away, and an undo to remove
	// what runs have made.
	roleUpkeep         = []string{"read:role_members|read:roles", "delete:role_members|update:users", "delete:roles"}
	organizationUpkeep = []string{"read:organization_members", "delete:organization_members", "read:organization_connections", "delete:organizations"}
	seatUpkeep         = []string{"read:organization_member_roles", "delete:organization_member_roles"}
	factorScopes       = []string{"read:authentication_methods", "create:authentication_methods", "delete:authentication_methods"}
	otherScopes        = []string{"read:guardian_factors", "read:logs"}
	permissionScopes   = []string{"read:roles", "update:roles", "read:resource_servers"}
)

// lacking returns what of need is not among scopes; nothing when nobody knows them.
func lacking(scopes, need []string) (out []string) {
	if len(scopes) == 0 {
		return nil
	}
	for _, s := range need {
		either := strings.Split(s, "|")
		if !slices.ContainsFunc(either, func(one string) bool { return slices.Contains(scopes, one) }) {
			out = append(out, either[0])
		}
	}
	return out
}

// uses are memberships that a run is about to need.
type uses struct{ roles, organizations, seats bool }

func (c Config) uses(needs sdk.Needs) uses {
	others := slices.ContainsFunc(needs.Tenants, func(tenant string) bool { return tenant != publicTenant })
	u := uses{roles: len(needs.Roles) > 0 && c.Roles != choiceMetadata, organizations: others && c.Tenants != choiceMetadata}
	u.seats = u.roles && u.organizations
	return u
}

// scopes is all that a run with its later runs and its undo uses, to be pasted.
func (c Config) scopes(needs sdk.Needs) string {
	all := slices.Concat(loadScopes, factorScopes, otherScopes)
	for _, m := range c.uses(needs).each() {
		all = append(append(all, m.need...), m.upkeep...)
	}
	for i, s := range all {
		all[i], _, _ = strings.Cut(s, "|")
	}
	for _, s := range permissionScopes {
		if c.keepsPermissions() && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return strings.Join(all, " ")
}

type membershipScopes struct {
	path         string
	need, upkeep []string
}

func (u uses) each() (out []membershipScopes) {
	for _, m := range []struct {
		used bool
		membershipScopes
	}{
		{u.roles, membershipScopes{"/roles", roleScopes, roleUpkeep}},
		{u.organizations, membershipScopes{"/tenants", organizationScopes, organizationUpkeep}},
		{u.seats, membershipScopes{"/roles", seatScopes, seatUpkeep}},
	} {
		if m.used {
			out = append(out, m.membershipScopes)
		}
	}
	return out
}

// Check implements [sdk.Checker].
func (t *live) Check(ctx context.Context, needs sdk.Needs) sdk.Diagnostics {
	i := inspection{config: t.config, client: t.api, needs: needs}
	t.signIns = nil
	l := &i.l
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
		return *l
	}
	i.scopes(scopes)
	c, err := t.findConnection(ctx)
	switch {
	case err != nil:
		l.Add(failed("the connection cannot be read", err))
		return *l
	case c == nil:
		l.Add(t.config.connectionMissing())
		return *l
	}
	i.connection(ctx, c)
	t.signIns = c.signIns()
	i.factors(ctx)
	i.power(ctx)
	i.permissions(ctx, permissionsOfRoles(&t.DefinedRoles, t.api, t.config))
	i.estimate()
	return *l
}

func failed(summary string, err error) sdk.Diagnostic {
	d := sdk.Diagnostic{Code: codeUnreachable, Path: "/domain", Summary: summary, Detail: err.Error(), Hint: "check domain and network"}
	if s := tenant.Status(err); s == 401 || s == 403 {
		d.Code, d.Path, d.Hint = codeScopeMissing, "/client_id", "grant the scope that the message names to the machine-to-machine application"
	}
	return d
}

// inspection looks for what a run would meet.
type inspection struct {
	config Config
	client *tenant.Client
	needs  sdk.Needs
	l      sdk.Diagnostics
}

// scopes names what the application lacks, and in the hint everything to paste.
func (i *inspection) scopes(scopes []string) {
	l, needs := &i.l, i.needs
	add := func(severity sdk.Severity, code sdk.Code, path string, missing []string, what, detail string) {
		if len(missing) > 0 {
			l.Add(sdk.Diagnostic{
				Severity: severity, Code: code, Path: path, Summary: what + strings.Join(missing, ", "), Detail: detail,
				Hint: "grant the machine-to-machine application, under Applications > APIs > Auth0 Management API, all that runs use: " + i.config.scopes(needs),
			})
		}
	}
	lacks := "the application lacks "
	if needs.DryRun {
		add(sdk.Error, codeScopeMissing, "/client_id", lacking(scopes, planScopes), lacks, "")
		add(sdk.Warning, codeScopeMissing, "/client_id", lacking(scopes, loadScopes[:1]), lacks, "it can plan, but not load")
		return
	}
	add(sdk.Error, codeScopeMissing, "/client_id", lacking(scopes, append(planScopes, loadScopes[0])), lacks, "")
	add(sdk.Warning, codeScopeMissing, "/client_id", lacking(scopes, loadScopes[2:4]), lacks, "later runs cannot update accounts, and undo cannot delete accounts")
	add(sdk.Warning, codeScopeMissing, "/client_id", lacking(scopes, loadScopes[5:]), lacks, "what the connection requires of users cannot be checked")
	if i.config.keepsPermissions() {
		add(sdk.Warning, codeScopeMissing, "/permissions_api", lacking(scopes, permissionScopes), lacks, "roles do not get the permissions that they have in the source")
	}
	for _, m := range i.config.uses(needs).each() {
		missing := lacking(scopes, m.need)
		choice := map[string]string{"/roles": i.config.Roles, "/tenants": i.config.Tenants}[m.path]
		switch kept := m.path[1:] + " stay in app_metadata: the application lacks "; {
		case len(missing) == 0:
			add(sdk.Warning, codeScopeMissing, m.path, lacking(scopes, m.upkeep), lacks, "what is removed in the source cannot be removed or read in the tenant, and undo leaves what runs have made")
		case choice == choiceAuto:
			add(sdk.Warning, codeMembershipsKept, m.path, missing, kept, "")
		default:
			add(sdk.Error, codeScopeMissing, m.path, missing, kept, "")
		}
	}
}

func (i *inspection) connection(ctx context.Context, c *connection) {
	l := &i.l
	bad := func(summary, hint string) {
		l.Add(sdk.Diagnostic{Code: codeConnectionUnusable, Path: "/connection", Summary: summary, Hint: hint})
	}
	if c.Strategy != "auth0" {
		bad(fmt.Sprintf("the connection %s has the strategy %s; import jobs accept database connections only", c.Name, c.Strategy), "name a connection from Authentication > Database")
		return
	}
	var clients struct {
		Clients []struct {
			ID string `json:"client_id"`
		} `json:"clients"`
	}
	switch err := i.client.Get(ctx, &clients, nil, "connections", c.ID, "clients"); {
	case err != nil && tenant.Status(err) != 403 && tenant.Status(err) != 404:
		l.Add(failed("the applications of the connection cannot be read", err))
	case err == nil && len(clients.Clients) == 0:
		bad(fmt.Sprintf("no application uses the connection %s, and Auth0 refuses imports into such a connection", c.Name), "enable it for one application")
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
		identifiers("the connection requires user names, which accounts of SuperTokens do not have", "make user names optional in the connection")
	}
	if i.config.WithoutEmail == choiceImport && (len(o.Attributes) == 0 || o.Attributes["email"].ProfileRequired) {
		identifiers("without_email is import, but the connection requires an e-mail address", "use a connection with flexible identifiers whose e-mail address is optional, or set without_email: reject")
	}
	if i.config.PhoneNumbers == choiceAttribute && !o.Attributes["phone_number"].Identifier.Active {
		identifiers("phone_numbers is attribute, but the connection does not identify users by phone number", "switch that attribute on, or set phone_numbers: metadata")
	}
	if o.Attributes["phone_number"].ProfileRequired && i.config.PhoneNumbers != choiceAttribute {
		identifiers("the connection requires phone numbers", "make them optional, or set phone_numbers: attribute")
	}
}

// people is how many have a role in SuperTokens, in words.
func (i *inspection) people(role string) string {
	if n := i.needs.RoleUsers[role]; n > 0 {
		return fmt.Sprintf("%d users", n)
	}
	return "users" // an older host does not say
}

// power names roles of the tenant that users will get by nothing but their name.
func (i *inspection) power(ctx context.Context) {
	if len(i.needs.Roles) == 0 || i.config.Roles == choiceMetadata {
		return
	}
	powers, err := membership.NewBook(i.client, slog.New(slog.DiscardHandler), "", membership.Allowed{Roles: true}).Powers(ctx, i.needs.Roles)
	if err != nil {
		return // without read:roles none is given either
	}
	for _, name := range slices.Sorted(maps.Keys(powers)) {
		p, accepted := powers[name], slices.Contains(i.config.AcceptRoles, name)
		d := sdk.Diagnostic{Severity: sdk.Warning, Code: codePower, Path: "/roles"}
		switch {
		case p.Administers && !accepted:
			d.Summary = fmt.Sprintf("the role %s of the tenant may use the Management API: %s whose role in SuperTokens has that name do not get it", name, i.people(name))
			d.Hint = "rename the one in the tenant, or list it in accept_roles"
		case p.Administers:
			d.Summary = fmt.Sprintf("%s with the role %s will be able to change the tenant, as accept_roles says", i.people(name), name)
		default:
			d.Summary = fmt.Sprintf("the role %s of the tenant has %d permissions, which %s whose role in SuperTokens has that name get with it", name, p.Permissions, i.people(name))
			d.Hint = "rename one of the two if they are not the same"
		}
		i.l.Add(d)
	}
}

// factors looks whether carried authenticators would be asked for.
func (i *inspection) factors(ctx context.Context) {
	var factors []struct {
		Name    string `json:"name"`
		Enabled bool   `json:"enabled"`
	}
	if i.client.Get(ctx, &factors, nil, "guardian", "factors") != nil {
		return // without read:guardian_factors nobody can tell
	}
	for _, f := range factors {
		if f.Name == "otp" && !f.Enabled {
			i.l.Add(sdk.Diagnostic{
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
func (i *inspection) estimate() {
	needs := i.needs
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
	if limit := i.client.Burst(); limit > 0 {
		detail += fmt.Sprintf("; the tenant allows bursts of %d requests", limit)
	}
	i.l.Add(sdk.Diagnostic{Severity: sdk.Warning, Code: codeEstimate, Path: "/connection", Summary: fmt.Sprintf("the run takes from %s to %s", fast, slow), Detail: detail, Hint: "plan the time for it"})
}

func duration(users, perSecond int) time.Duration {
	return (time.Duration(users/perSecond) * time.Second).Round(time.Minute)
}

func minutes(calls int) time.Duration {
	return (time.Duration(calls) * time.Minute / memberCalls).Round(time.Minute)
}
