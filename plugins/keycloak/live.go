package keycloak

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// live loads a running server. Load is safe for concurrent use.
type live struct {
	config Config
	api    *api
	env    sdk.Env
	*tidying
	preparing
	sdk.DefinedRoles

	opening sync.Mutex
	realm   *openRealm // nil until the first Plan or Load
	creation

	seen
}

// seen is what the last Check has seen of the realm.
type seen struct {
	mailsUnverified bool
	signIns         []sdk.SignIn
}

// openRealm is what the first Plan or Load learns about the realm.
type openRealm struct {
	api       *api
	mapper    mapper
	view      view
	directory *directory
	reader    *reader
	members   *memberships
	planned   *reconcile.Claims
	loading   *reconcile.Claims
	giving    giving

	bulk         bool // the server has the endpoints of our provider
	compares     bool // and can be asked about credentials
	other        bool // and about ids that other realms have
	emailLogin   bool // people sign in with their addresses, too
	looks        bool // and about what was done to accounts, and deletes them
	editUsername bool // the realm lets user names be changed
}

func newLive(c Config, env sdk.Env) (*live, error) {
	a, err := newAPI(c, env)
	if err != nil {
		return nil, err
	}
	return newLiveOn(a, c, env), nil
}

func newLiveOn(a *api, c Config, env sdk.Env) *live {
	return &live{config: c, api: a, env: env, tidying: &tidying{api: a, tenancy: c.Tenants == tenantsAsOrganizations}, preparing: preparing{config: c, api: a}, creation: creation{config: c, api: a}}
}

// Capabilities implements [sdk.Capable].
func (t *live) Capabilities() sdk.Capabilities { return capabilities(t.config) }

// Close implements [sdk.Closer].
func (t *live) Close(context.Context) error {
	t.api.close()
	return nil
}

func (t *live) open(ctx context.Context) (*openRealm, error) {
	t.opening.Lock()
	defer t.opening.Unlock()
	if t.realm != nil {
		return t.realm, nil
	}
	facts, err := t.api.realmFacts(ctx)
	if status(err) == http.StatusNotFound {
		return nil, sdk.Diagnostics{realmMissing(t.config)}.Err()
	}
	if err != nil {
		return nil, explain(fmt.Errorf("read realm %s: %w", t.config.Realm, err))
	}
	if facts.DefaultRole == nil {
		return nil, sdk.Diagnostics{missingRole("manage-realm", "the settings of the realm cannot be read")}.Err()
	}
	profile, err := t.api.userProfile(ctx)
	if err != nil {
		return nil, explain(fmt.Errorf("read the user profile of realm %s: %w", t.config.Realm, err))
	}
	d, err := openDirectory(ctx, t.api, !facts.DuplicateEmails)
	if err != nil {
		return nil, explain(err)
	}
	aliases, err := t.api.providerAliases(ctx)
	if err != nil {
		return nil, explain(fmt.Errorf("list the identity providers of realm %s: %w", t.config.Realm, err))
	}
	if err := unlinkable(t.config.BridgeAlias, aliases).Err(); err != nil {
		return nil, err
	}
	about, err := provided{t.api}.endpoints(ctx)
	if err != nil {
		return nil, explain(fmt.Errorf("ask for the endpoints of the provider: %w", err))
	}
	d.asks = about.Finds
	bulk, tenancy := about.Version > 0, t.config.Tenants == tenantsAsOrganizations
	members := &memberships{api: t.api, tenancy: tenancy, defaultRole: facts.DefaultRole.Name, powers: newPowers(t.api, t.config), defined: &t.DefinedRoles, groups: map[string]bool{}}
	for _, group := range facts.DefaultGroups {
		members.groups[group] = true
	}
	if tenancy {
		if _, err := members.organizations(ctx); err != nil {
			return nil, explain(err)
		}
	}
	t.realm = &openRealm{
		api: t.api, bulk: bulk, compares: about.Compares, looks: about.Looks, other: about.Elsewhere, directory: d, members: members, emailLogin: facts.EmailLogin == nil || *facts.EmailLogin, editUsername: facts.EditUsername || facts.EmailAsUsername,
		reader: &reader{
			api: t.api, defaultRole: facts.DefaultRole.Name, bulk: bulk, matches: about.Matches, listed: d.small(), tenancy: tenancy,
			links: aliases == nil || len(aliases) > 0, // else the server would show none
		},
		view: view{
			judge:   reconcile.Judge{Fingerprints: t.env.Fingerprints, Place: "the realm"},
			visible: profile.shows, defaultRole: facts.DefaultRole.Name, aliases: aliases, mine: members.ownOrganization,
		},
		mapper: mapper{
			defaultRole: facts.DefaultRole.Name, defaultGroups: facts.DefaultGroups, aliases: t.config.IdentityProviders,
			tenants: t.config.Tenants, tenant: t.config.Tenant, emailAsUsername: facts.EmailAsUsername, bridgeAlias: t.config.BridgeAlias,
			profile: profile, strict: t.config.RefusedValues == refusedReject, mark: runsMark(t.env.Fingerprints),
		},
		planned: reconcile.NewClaims(), loading: reconcile.NewClaims(),
	}
	return t.realm, nil
}

// Plan implements [sdk.Planner].
func (t *live) Plan(ctx context.Context, users []sdk.User, out sdk.Changes) error {
	if absent, err := t.absent(ctx); err != nil || absent {
		return planAbsent(err, t.config, users, out)
	}
	r, err := t.open(ctx)
	if err != nil {
		return err
	}
	n := 0
	for i := range users {
		if users[i].Existing == sdk.Update {
			n++
		}
	}
	from, err := r.reader.members(ctx, n)
	if err != nil {
		return explain(err)
	}
	verdicts, err := r.decide(ctx, users, r.planned, from)
	if err != nil {
		return explain(err)
	}
	for _, v := range verdicts {
		out.Report(v.change())
	}
	return nil
}

// Load implements [sdk.Target].
func (t *live) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	if err := t.make(ctx); err != nil {
		return err
	}
	r, err := t.open(ctx)
	if err != nil {
		return err
	}
	r.reader.wrote()
	defer r.reader.wrote()
	verdicts, err := r.decide(ctx, users, r.loading, nil)
	if err != nil {
		return explain(err)
	}
	usual := defaultBatch
	if r.bulk {
		usual = bulkBatch
	}
	if err := (&importer{r, out}).carry(ctx, verdicts, cmp.Or(t.config.BatchSize, usual)); err != nil {
		return explain(err)
	}
	return nil
}

// explain adds to an error what the operator can do about it.
func explain(err error) error {
	if login, ok := errors.AsType[*loginError](err); ok {
		return sdk.Diagnostics{loginProblem(login)}.Err()
	}
	switch status(err) {
	case http.StatusForbidden:
		d := missingRole("manage-realm, manage-users and view-users", "the client may not do this")
		d.Detail = err.Error()
		return sdk.Diagnostics{d}.Err()
	case http.StatusUnauthorized:
		return sdk.Diagnostics{{Code: codeLoginRefused, Summary: "the server does not accept its own token", Detail: err.Error(), Hint: "check that auth_realm is the realm of the client, and that the clocks of both machines agree"}}.Err()
	}
	return err
}
