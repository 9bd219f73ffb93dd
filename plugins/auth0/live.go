package auth0

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// live loads a tenant. Load is safe for concurrent use: many calls fill the same
// import jobs.
type live struct {
	config    Config
	api       *tenant.Client
	env       sdk.Env
	directory *directory
	side      sideFile
	freight   *freight
	notes     *notebook
	pacer     pacer

	opening    sync.Mutex
	opened     bool
	recovered  bool
	mapper     mapper
	connection connection
	room       int
	planned    *claims
	loading    *claims

	memberships memberIDs
	blind       sync.Once // said that memberships cannot be read
	undone      undone
	failing     atomic.Int64 // jobs in a row that failed as a whole
	worked      atomic.Bool  // a job has done something
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
	t := &live{config: c, api: a, env: env, planned: newClaims(), loading: newClaims(), notes: &notebook{journal: env.Journal}}
	t.directory = &directory{t: t}
	t.freight = newFreight(t)
	t.pacer.shortest, t.pacer.burst = c.PollInterval.Duration, a.Burst
	return t, nil
}

// Capabilities implements [sdk.Capable].
func (t *live) Capabilities() sdk.Capabilities { return capabilities(t.config) }

// Close implements [sdk.Closer].
func (t *live) Close(ctx context.Context) error {
	t.freight.close()
	err := errors.Join(t.tidy(ctx), t.directory.close())
	t.api.Close()
	if writeErr := t.side.write(t.config.Deferred); writeErr != nil {
		err = errors.Join(err, sdk.Diagnostics{sideProblem(t.config.Deferred, writeErr)}.Err())
	}
	return err
}

// Finish implements [sdk.Finisher].
func (t *live) Finish(context.Context) error {
	if err := t.side.write(t.config.Deferred); err != nil {
		return sdk.Diagnostics{sideProblem(t.config.Deferred, err)}.Err()
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
		Attributes       map[string]struct {
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

func (t *live) connectionMissing() sdk.Diagnostic {
	return sdk.Diagnostic{
		Code: codeConnectionMissing, Path: "/connection", Summary: fmt.Sprintf("the tenant has no connection %q", t.config.Connection),
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
		return sdk.Diagnostics{t.connectionMissing()}.Err()
	}
	scopes, err := t.api.Scopes(ctx)
	if err != nil {
		return explain(err)
	}
	if t.room, err = room(c.ID); err != nil {
		return err
	}
	t.connection = *c
	t.mapper = mapper{
		config: t.config, assignRoles: t.config.Roles == choiceAssign || t.config.Roles == choiceAuto && lacking(scopes, roleScopes) == nil,
		organizations: t.config.Tenants == choiceOrganizations || t.config.Tenants == choiceAuto && lacking(scopes, organizationScopes) == nil,
	}
	t.mapper.seats = t.mapper.assignRoles && (t.config.Roles == choiceAssign || lacking(scopes, seatScopes) == nil)
	t.opened = true
	return nil
}

// decide says what is to become of users, in order. It only reads. With ask, those
// who were never sent are looked up as well; a load lets the import find out.
func (t *live) decide(ctx context.Context, users []sdk.User, c *claims, ask bool) ([]verdict, error) {
	out := make([]verdict, len(users))
	var records []*record
	var known []string
	var at []int
	for i := range users {
		u := &users[i]
		r, refused := t.mapper.user(u)
		if refused == nil {
			refused = c.take(r)
		}
		switch {
		case refused != nil:
			out[i] = verdict{outcome: *refused}
		case !ask && u.Existing != sdk.Update && u.Prior.TargetID == "" && !u.Prior.InDoubt && r.connection == "":
			out[i] = t.judge(u, r, holders{})
		default:
			records, known, at = append(records, r), append(known, u.Prior.TargetID), append(at, i)
		}
	}
	if len(records) == 0 {
		return out, nil
	}
	found, err := t.directory.find(ctx, records, known)
	if err != nil {
		return nil, explain(err)
	}
	for j, r := range records {
		u := &users[at[j]]
		out[at[j]] = t.judge(u, r, found[j])
		if u.Prior.InDoubt && u.Existing != sdk.Update {
			t.recognise(&out[at[j]])
		}
	}
	return out, nil
}

// recognise is for a user who was sent and whose answer was lost. The account that
// carries our mark is the one that came of it, and what is missing of it is added.
func (t *live) recognise(v *verdict) {
	if v.held == nil || v.record == nil || v.held.origin().ID == "" {
		return
	}
	if v.outcome.Action != sdk.Skipped && !v.held.believed { // as it should be: the host knows what that means
		return
	}
	v.resume = true
	for _, f := range v.fields {
		v.outcome.Changed = append(v.outcome.Changed, f.Field)
	}
	if v.held.believed { // to give them again does no harm
		v.outcome.Changed = append(v.outcome.Changed, fieldRoles)
	}
	v.outcome.Action, v.outcome.Code, v.outcome.Hint = sdk.Created, "", "" // only now is it known
	v.outcome.Detail = joinNotes(v.record.notes)
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
		if v.resume {
			v.outcome.Changed = nil
		}
		out.Report(sdk.Change{Outcome: v.outcome, Fields: v.fields})
	}
	return nil
}

// Load implements [sdk.Target].
func (t *live) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.recover(ctx); err != nil {
		return explain(err)
	}
	verdicts, err := t.decide(ctx, users, t.loading, false)
	if err != nil {
		return err
	}
	var parcels []*parcel
	g, single := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for i, v := range verdicts {
		u := &users[i]
		if err := t.side.add(u, v.outcome); err != nil {
			return err
		}
		switch {
		case v.record == nil, v.outcome.Action != sdk.Created && v.outcome.Action != sdk.Updated:
			out.Report(v.outcome)
		case v.outcome.Action == sdk.Updated, v.resume:
			g.Go(func() error { return t.updateAndReport(single, u, v, out) })
		case v.record.connection != "":
			g.Go(func() error { return t.createAndReport(single, u, v, out) })
		default:
			parcels = append(parcels, newParcel(ctx, u, v.record, out))
		}
	}
	err = t.freight.carry(ctx, parcels)
	return explain(errors.Join(g.Wait(), err))
}

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
	var made account
	err := t.api.Create(ctx, http.MethodPost, t.api.URI("users"), body, &made)
	for attempt := 1; tenant.MayBeDone(err); attempt++ {
		h, lookErr := t.lookup(ctx, r, "")
		if lookErr != nil {
			return errors.Join(err, lookErr)
		}
		if h.id == nil {
			h.id = h.email
		}
		if h.id != nil && h.id.origin().ID == u.ID {
			made, err = *h.id, nil
			break
		}
		if h.id != nil || attempt == sendings {
			return err
		}
		made, err = account{}, t.api.Create(ctx, http.MethodPost, t.api.URI("users"), body, &made) // nobody is there
	}
	if tenant.Refused(err) {
		out.Report(sdk.Outcome{SourceID: r.source, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: err.Error(), Hint: "see that the connection " + r.connection + " is switched on and that nobody else has the address"})
		return nil
	}
	if err != nil {
		return err
	}
	v.outcome.TargetID = made.UserID
	t.directory.touched(made.UserID)
	v.outcome.State = t.state(t.secret(r), r.fields())
	if bad := t.assign(ctx, []assignment{{made.UserID, r}})[made.UserID]; bad != nil {
		v.outcome = incomplete(v.outcome, bad)
	}
	out.Report(v.outcome)
	return nil
}

// notebook keeps the jobs that are not over, and what came of those that are.
type notebook struct {
	journal sdk.Journal
	mu      sync.Mutex
}

const openJobs = "jobs"

// openJob is a job that may be running. ID is empty while the answer to its request
// is awaited.
type openJob struct {
	ExternalID string `json:"external_id"`
	ID         string `json:"id,omitempty"`
	Users      int    `json:"users"`
	Sent       string `json:"sent"`
}

func (n *notebook) list() (jobs []openJob) {
	if n.journal == nil {
		return nil
	}
	if raw, ok := n.journal.Get(openJobs); ok {
		_ = json.Unmarshal(raw, &jobs) // our own text
	}
	return jobs
}

// change edits the list of open jobs and makes it durable.
func (n *notebook) change(ctx context.Context, edit func([]openJob) []openJob) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.journal == nil {
		return nil
	}
	raw, err := json.Marshal(edit(n.list()))
	if err != nil {
		return err
	}
	return n.journal.Put(ctx, openJobs, raw)
}

// evidence keeps what Auth0 deletes after a day.
func (n *notebook) evidence(ctx context.Context, id string, what any) error {
	if n.journal == nil || id == "" {
		return nil
	}
	raw, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return n.journal.Put(ctx, "job:"+id, raw)
}
