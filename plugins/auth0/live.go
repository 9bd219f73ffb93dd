package auth0

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
	"github.com/stetl/stetl/plugins/auth0/internal/directory"
	"github.com/stetl/stetl/plugins/auth0/internal/importjob"
	"github.com/stetl/stetl/plugins/auth0/internal/membership"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// lookups is how many accounts are worked on side by side.
const lookups = 4

// live loads a tenant. Load is safe for concurrent use: many calls fill the same
// import jobs.
type live struct {
	config    Config
	api       *tenant.Client
	env       sdk.Env
	began     *reconcile.Beginning
	judge     reconcile.Judge
	directory *directory.Directory
	queue     *importjob.Queue
	factors   factors
	side      sideFile
	janitor   membership.Janitor
	seen
	preparing
	sdk.DefinedRoles

	opening    sync.Mutex
	opened     bool
	mapper     mapper
	book       *membership.Book
	connection connection
	// shared says that the tenant has other database connections, whose users have the same
	// kind of ids.
	shared           bool
	planned, loading *reconcile.Claims
	// The tenant writes ids in lower case, as soon as that is known.
	caseKnown, lowers bool
}

func newLive(c Config, env sdk.Env) (*live, error) {
	base, err := network(c)
	if err != nil {
		return nil, err
	}
	return newLiveOver(base, c, env)
}

// newLiveOver sends everything through base.
func newLiveOver(base http.RoundTripper, c Config, env sdk.Env) (*live, error) {
	a, err := tenant.New(c.access(), env, base)
	if err != nil {
		return nil, err
	}
	t := &live{config: c, preparing: preparing{c, env, base}, api: a, env: env, began: reconcile.NewBeginning(env.Journal), planned: reconcile.NewClaims(), loading: reconcile.NewClaims(), factors: factors{a}}
	t.judge = reconcile.Judge{Fingerprints: env.Fingerprints, Place: "the tenant", KeptCode: codePasswordKept}
	t.queue = importjob.New(a, env, &settler{t}, importjob.Options{Jobs: c.Jobs, Calls: batchInFlight, Poll: c.PollInterval.Duration})
	t.directory = directory.New(a, env, c.LookupsBeforeExport, func(ctx context.Context, begun time.Time) error {
		return t.queue.Pacer().Wait(ctx, begun, time.Now(), 0)
	})
	return t, nil
}

// Capabilities implements [sdk.Capable].
func (t *live) Capabilities() sdk.Capabilities { return capabilities(t.config) }

// Close implements [sdk.Closer].
func (t *live) Close(context.Context) error {
	t.queue.Close()
	err := t.directory.Close()
	t.api.Close()
	if writeErr := t.side.write(t.config.Deferred); writeErr != nil {
		err = errors.Join(err, sdk.Diagnostics{sideProblem(t.config.Deferred, writeErr)}.Err())
	}
	return err
}

// Finish implements [sdk.Finisher].
func (t *live) Finish(ctx context.Context) error {
	if err := t.side.write(t.config.Deferred); err != nil {
		return sdk.Diagnostics{sideProblem(t.config.Deferred, err)}.Err()
	}
	// Accounts are complete whatever comes of it. The next run tries again, and check names the
	// roles until then.
	if p := permissionsOfRoles(&t.DefinedRoles, t.api, t.config); p != nil {
		if err := p.Keep(ctx); err != nil {
			t.env.Log.WarnContext(ctx, "roles do not have all permissions that they have in the source; no account is affected", "code", codeRolePermissions, "error", err)
		}
	}
	return nil
}

func sideProblem(path string, err error) sdk.Diagnostic {
	return sdk.Diagnostic{
		Code: codeDeferredUnwritable, Path: "/deferred", Summary: "cannot write " + path, Detail: err.Error(),
		Hint: "name a path that this user may write",
	}
}

// connection is the database connection as far as a load needs to know it.
type connection struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Strategy string `json:"strategy"`
	// Options are there only for a token with the scope read:connections_options.
	Options *struct {
		CustomDatabase   bool `json:"enabledDatabaseCustomization"`
		ImportMode       bool `json:"import_mode"`
		RequiresUsername bool `json:"requires_username"`
		// NoReset: people cannot ask for a new password themselves.
		NoReset bool `json:"disable_self_service_change_password"`
		Methods map[string]struct {
			Enabled *bool `json:"enabled"`
		} `json:"authentication_methods"`
		Attributes map[string]struct {
			ProfileRequired bool `json:"profile_required"`
			Identifier      struct {
				Active bool `json:"active"`
			} `json:"identifier"`
		} `json:"attributes"`
	} `json:"options"`
}

// findConnection returns nil when there is none of that name.
func (t *live) findConnection(ctx context.Context) (*connection, error) {
	list, _, err := tenant.Listed[connection](ctx, t.api, url.Values{"name": {t.config.Connection}}, "connections")
	if err != nil {
		return nil, fmt.Errorf("look for the connection %s: %w", t.config.Connection, err)
	}
	for i := range list {
		if list[i].Name == t.config.Connection {
			return &list[i], nil
		}
	}
	return nil, nil //nolint:nilnil // absence is an answer
}

func (c Config) connectionMissing() sdk.Diagnostic {
	return sdk.Diagnostic{
		Code: codeConnectionMissing, Path: "/connection", Summary: fmt.Sprintf("the tenant has no connection %q", c.Connection),
		Hint: "name a database connection as the dashboard shows it, under Authentication > Database",
	}
}

// open learns what the first Plan or Load has to know about the tenant.
func (t *live) open(ctx context.Context) error {
	t.opening.Lock()
	defer t.opening.Unlock()
	if t.opened {
		return nil
	}
	c, err := t.findConnection(ctx)
	if err != nil {
		return explain(err)
	}
	if c == nil {
		return sdk.Diagnostics{t.config.connectionMissing()}.Err()
	}
	databases, _, err := tenant.Listed[connection](ctx, t.api, url.Values{"strategy": {"auth0"}, "per_page": {"2"}, "page": {"0"}}, "connections")
	if err != nil {
		return explain(fmt.Errorf("list the database connections: %w", err))
	}
	scopes, err := t.api.Scopes(ctx)
	if err != nil {
		return explain(err)
	}
	if err := t.queue.Open(c.ID); err != nil {
		return err
	}
	t.connection, t.shared = *c, len(databases) > 1
	t.mapper = mapper{
		config: t.config, assignRoles: t.config.Roles == choiceAssign || t.config.Roles == choiceAuto && lacking(scopes, roleScopes) == nil,
		organizations: t.config.Tenants == choiceOrganizations || t.config.Tenants == choiceAuto && lacking(scopes, organizationScopes) == nil,
	}
	t.mapper.seats = t.mapper.assignRoles && (t.config.Roles == choiceAssign || lacking(scopes, seatScopes) == nil)
	t.book = membership.NewBook(t.api, t.env.Log, c.ID, membership.Allowed{Roles: t.mapper.assignRoles, Organizations: t.mapper.organizations, Seats: t.mapper.seats})
	t.opened = true
	return nil
}

// Plan implements [sdk.Planner].
func (t *live) Plan(ctx context.Context, users []sdk.User, out sdk.Changes) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	verdicts, err := t.decide(ctx, users, t.planned, true)
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		if v.Resumed {
			v.Outcome.Changed = nil
		}
		out.Report(sdk.Change{Outcome: v.Outcome, Fields: v.Fields})
	}
	return nil
}

// Load implements [sdk.Target].
func (t *live) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := errors.Join(t.began.Note(ctx), t.queue.Recover(ctx)); err != nil {
		return explain(err)
	}
	verdicts, err := t.decide(ctx, users, t.loading, false)
	if err != nil {
		return err
	}
	var items []*importjob.Item
	var changes []*change
	g, working := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for i, v := range verdicts {
		u := &users[i]
		if err := t.side.add(u, v.Outcome); err != nil {
			return err
		}
		switch {
		case v.writes():
			changes = append(changes, &change{t: t, u: u, v: v})
		case v.record == nil || v.Outcome.Action != sdk.Created:
			out.Report(v.Outcome)
		case v.record.alone:
			g.Go(func() error { return t.createAndReport(working, u, v, out) })
		default:
			items = append(items, importjob.NewItem(ctx, importjob.User{
				Source: u.SourceID, ID: v.record.UserID, Email: v.record.Email, Body: v.record.body, Doubt: u.Prior.InDoubt, Payload: matter{u, v.record},
			}, out))
		}
	}
	var moved errgroup.Group
	moved.Go(func() error { return t.queue.Carry(ctx, items) })
	err = t.change(ctx, changes, out.Report)
	return explain(errors.Join(moved.Wait(), g.Wait(), err))
}

// sendings is how often a passwordless user is sent where the last time has left no trace.
const sendings = 4

// createAndReport makes a passwordless user. A lost answer is looked up.
func (t *live) createAndReport(ctx context.Context, u *sdk.User, v verdict, out sdk.Outcomes) error {
	r := v.record
	body := map[string]any{"connection": r.connection, "user_id": r.UserID, "app_metadata": r.AppMetadata}
	if r.connection == connectionEmail {
		body["email"], body["email_verified"] = r.Email, r.EmailVerified
		body["verify_email"] = false // or Auth0 mails the user
	} else {
		body["phone_number"], body["phone_verified"] = r.PhoneNumber, r.PhoneVerified != nil && *r.PhoneVerified
	}
	if len(r.UserMetadata) > 0 {
		body["user_metadata"] = r.UserMetadata
	}
	if r.Blocked {
		body["blocked"] = true
	}
	for field, value := range map[string]string{"given_name": r.GivenName, "family_name": r.FamilyName} {
		if value != "" && r.connection == connectionEmail {
			body[field] = value
		}
	}
	var made directory.Account
	err := t.api.Create(ctx, http.MethodPost, t.api.URI("users"), body, &made)
	questions := questionsAbout([]matter{{u, r}})
	for attempt := 1; tenant.MayBeDone(err); attempt++ {
		found := make([]directory.Holders, 1)
		if lookErr := t.directory.Lookup(ctx, questions, []int{0}, found); lookErr != nil {
			return errors.Join(err, lookErr)
		}
		a := found[0].ID
		if a == nil {
			a = found[0].Email
		}
		if a != nil && r.marks(a) {
			made, err = *a, nil
			break
		}
		if found[0].Err != nil || a != nil || attempt == sendings {
			return errors.Join(err, found[0].Err)
		}
		made, err = directory.Account{}, t.api.Create(ctx, http.MethodPost, t.api.URI("users"), body, &made) // nobody is there
	}
	if tenant.Refused(err) {
		out.Report(sdk.Outcome{SourceID: r.source, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: err.Error(), Hint: "check that the connection " + r.connection + " is switched on, and that no other user has the address"})
		return nil
	}
	if err != nil {
		return err
	}
	t.directory.Touched(made.UserID)
	out.Report(t.complete(ctx, []newcomer{{matter{u, r}, made.UserID, true}})[0])
	return nil
}
