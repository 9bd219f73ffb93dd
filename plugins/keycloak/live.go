package keycloak

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// live loads a running server. Load is safe for concurrent use.
type live struct {
	config Config
	api    *api
	env    sdk.Env
	undone atomic.Bool // something may be left to tidy up

	opening sync.Mutex
	realm   *openRealm // nil until the first Plan or Load

	rosterMu sync.Mutex
	roster   *roster // nil until it is worth its price
	asked    int     // accounts compared since the last write

	mailsUnverified bool // as the last Check has seen

	memberships sync.Mutex // one creator of roles and groups at a time
	roles       map[string]bool
	groups      map[string]bool

	organizing sync.Mutex
	byName     map[string]organization // nil until asked for
}

// openRealm is what the first Plan or Load learns about the realm.
type openRealm struct {
	mapper    mapper
	directory *directory
	planned   *claims
	loading   *claims
	// aliases are the realm's identity providers. The server keeps links to others
	// and shows none of them. Nil when they cannot be seen.
	aliases map[string]bool
	// bulk: the server has the endpoints of our provider.
	bulk bool
	// mine reports whether a load has created an organization.
	mine func(organization) bool
}

// shown reports whether the server shows links to an identity provider.
func (r *openRealm) shown(alias string) bool { return r.aliases[alias] }

func newLive(c Config, env sdk.Env) (*live, error) {
	a, err := newAPI(c, env)
	if err != nil {
		return nil, err
	}
	return newLiveOn(a, c, env), nil
}

func newLiveOn(a *api, c Config, env sdk.Env) *live {
	return &live{config: c, api: a, env: env, groups: map[string]bool{}}
}

// Capabilities implements [sdk.Capable].
func (t *live) Capabilities() sdk.Capabilities { return capabilities(t.config) }

// Close implements [sdk.Closer].
func (t *live) Close(ctx context.Context) error {
	defer t.api.close()
	if !t.undone.Load() {
		return nil
	}
	if err := t.tidy(ctx); err != nil {
		return fmt.Errorf("remove the roles and groups that a load had created: %w", explain(err))
	}
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
	d, err := openDirectory(ctx, t.api, profile.shows, !facts.DuplicateEmails)
	if err != nil {
		return nil, explain(err)
	}
	aliases, err := t.api.providerAliases(ctx)
	if err != nil {
		return nil, explain(fmt.Errorf("list the identity providers of realm %s: %w", t.config.Realm, err))
	}
	bulk, err := t.api.hasBulk(ctx)
	if err != nil {
		return nil, explain(fmt.Errorf("ask for the endpoints of the provider: %w", err))
	}
	mine, err := t.ownOrganization(ctx)
	if err != nil {
		return nil, explain(err)
	}
	t.realm = &openRealm{
		aliases: aliases, bulk: bulk, mine: mine,
		mapper: mapper{
			defaultRole: facts.DefaultRole.Name, defaultGroups: facts.DefaultGroups, aliases: t.config.IdentityProviders,
			tenants: t.config.Tenants, tenant: t.config.Tenant, emailAsUsername: facts.EmailAsUsername, bridgeAlias: t.config.BridgeAlias,
		},
		directory: d,
		planned:   newClaims(!facts.DuplicateEmails),
		loading:   newClaims(!facts.DuplicateEmails),
	}
	return t.realm, nil
}

// decide says what is to become of each user, in order. It only reads, and it is
// the whole difference between a plan and a load.
func (t *live) decide(ctx context.Context, r *openRealm, users []sdk.User, c *claims, from *roster) ([]verdict, error) {
	out := make([]verdict, len(users))
	var mapped []*representation
	var at []int
	details, err := t.details(ctx, r, users, from)
	if err != nil {
		return nil, explain(err)
	}
	for i := range users {
		rep, rejected := r.mapper.user(&users[i])
		if rejected != nil {
			out[i].outcome = *rejected
			continue
		}
		if d := details[i]; d != nil {
			out[i] = verdict{user: rep, outcome: sdk.Outcome{SourceID: rep.source}}
			t.compare(r, &out[i], &users[i], d)
			if from == nil || out[i].outcome.Action == sdk.Unchanged {
				continue
			}
			if d, err = t.detail(ctx, r, d.ID, nil, nil); err != nil {
				return nil, explain(err)
			}
			if d != nil {
				out[i] = verdict{user: rep, outcome: sdk.Outcome{SourceID: rep.source}}
				t.compare(r, &out[i], &users[i], d)
				continue
			}
		}
		mapped, at = append(mapped, rep), append(at, i)
	}
	held, err := r.directory.find(ctx, mapped, false)
	if err != nil {
		return nil, explain(err)
	}
	for j, rep := range mapped {
		v := r.directory.judge(rep, held[j])
		if v.outcome.Action == sdk.Created {
			if rejected := c.take(rep); rejected != nil {
				v.outcome = *rejected
			}
		}
		if v.outcome.Action == sdk.Unchanged {
			v.outcome.State = t.state(t.secrets(rep), r.wanted(rep))
		}
		v.unsure = users[at[j]].Prior.InDoubt
		out[at[j]] = v
	}
	return out, nil
}

// Plan implements [sdk.Planner].
func (t *live) Plan(ctx context.Context, users []sdk.User, out sdk.Changes) error {
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
	from, err := t.listMembers(ctx, r, n)
	if err != nil {
		return explain(err)
	}
	verdicts, err := t.decide(ctx, r, users, r.planned, from)
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		out.Report(v.change())
	}
	return nil
}

// Load implements [sdk.Target].
func (t *live) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	r, err := t.open(ctx)
	if err != nil {
		return err
	}
	t.wrote()
	defer t.wrote()
	verdicts, err := t.decide(ctx, r, users, r.loading, nil)
	if err != nil {
		return err
	}
	var wanted []*delivery
	for _, v := range verdicts {
		switch v.outcome.Action {
		case sdk.Created:
		case sdk.Unchanged:
			if v.unsure && len(v.user.organizations) > 0 {
				if err := t.joinLate(ctx, r, &v); err != nil {
					return explain(err)
				}
			}
			out.Report(v.outcome)
			continue
		case sdk.Updated:
			switch err := t.update(ctx, r, &v); {
			case refused(err), status(err) == http.StatusNotFound:
				out.Report(refusal(v.user.source, err))
			case err != nil:
				return explain(err)
			default:
				out.Report(v.outcome)
			}
			continue
		default:
			out.Report(v.outcome)
			continue
		}
		body, err := json.Marshal(v.user)
		if err != nil {
			return fmt.Errorf("encode user %s: %w", v.user.source, err)
		}
		if len(body) > maxBody {
			r.loading.refused(v.user)
			out.Report(sdk.Outcome{
				SourceID: v.user.source, Action: sdk.Rejected, Code: sdk.CodeUserTooLarge,
				Detail: fmt.Sprintf("the user takes %d bytes; a request holds %d", len(body), maxBody), Hint: "shorten the metadata in SuperTokens",
			})
			continue
		}
		wanted = append(wanted, &delivery{verdict: v, body: body})
	}
	if len(wanted) == 0 {
		return nil
	}
	if err := t.prepareMemberships(ctx, r, wanted); err != nil {
		return explain(err)
	}
	usual := defaultBatch
	if r.bulk {
		usual = bulkBatch
	}
	for _, batch := range batches(wanted, cmp.Or(t.config.BatchSize, usual)) {
		if err := t.deliver(ctx, r, batch, out); err != nil {
			return explain(err)
		}
	}
	return nil
}

// delivery is a user on the way.
type delivery struct {
	verdict
	body json.RawMessage
	// doubt: an earlier request with this user may have been carried out.
	doubt bool
}

func batches(all []*delivery, users int) (out [][]*delivery) {
	size, start := 0, 0
	for i, d := range all {
		if i > start && (i-start == users || size+len(d.body) > maxBody) {
			out, start, size = append(out, all[start:i]), i, 0
		}
		size += len(d.body)
	}
	return append(out, all[start:])
}

// deliver imports a batch. partialImport takes one as a whole or not at all, and
// what stands between may refuse it for its size, so a refused one is halved until
// only the users at fault are left.
func (t *live) deliver(ctx context.Context, r *openRealm, batch []*delivery, out sdk.Outcomes) error {
	answers, err := t.importAll(ctx, r, batch)
	switch {
	case err == nil:
		return t.settle(ctx, r, batch, answers, out)
	case refused(err) && len(batch) > 1:
		half := len(batch) / 2
		if err := t.deliver(ctx, r, batch[:half], out); err != nil {
			return err
		}
		return t.deliver(ctx, r, batch[half:], out)
	case refused(err):
		return t.review(ctx, r, batch, err, out)
	case mayBeDone(err):
		return t.review(ctx, r, batch, err, out)
	}
	return err
}

// answer is what the server says of one user of a batch. With neither an id nor an
// error there was somebody already.
type answer struct {
	id  string // of the account created
	err error  // refused
}

// importAll sends a batch until there is an answer.
func (t *live) importAll(ctx context.Context, r *openRealm, batch []*delivery) ([]answer, error) {
	ctx, trace := httpx.WithTrace(ctx)
	answers, err := t.send(ctx, r, batch)
	if trace.Doubtful() || mayBeDone(err) {
		for _, d := range batch {
			d.doubt = true
		}
	}
	return answers, err
}

// send sends a batch.
func (t *live) send(ctx context.Context, r *openRealm, batch []*delivery) ([]answer, error) {
	bodies := make([]json.RawMessage, len(batch))
	for i, d := range batch {
		bodies[i] = d.body
	}
	answers := make([]answer, len(batch))
	if r.bulk {
		results, err := t.api.loadUsers(ctx, bodies)
		for i, d := range batch[:min(len(results), len(batch))] { // all, or none after an error
			switch res := results[i]; res.Status {
			case http.StatusCreated:
				answers[i].id = d.user.ID
			case http.StatusOK:
			default:
				answers[i].err = &statusError{method: http.MethodPost, path: "/admin" + t.api.loadPath(), status: res.Status, message: res.Error}
			}
		}
		return answers, err
	}
	results, err := t.api.importUsers(ctx, bodies)
	added := make(map[string]string, len(results))
	for _, res := range results {
		if res.Type == "USER" && res.Action == "ADDED" {
			added[res.Username] = res.ID
		}
	}
	for i, d := range batch {
		answers[i].id = added[d.user.Username]
	}
	return answers, err
}

// settle turns the answers to a batch into outcomes.
func (t *live) settle(ctx context.Context, r *openRealm, batch []*delivery, answers []answer, out sdk.Outcomes) error {
	var unclear []*delivery
	var wrongID error
	for i, d := range batch {
		switch id := answers[i].id; {
		case answers[i].err != nil:
			if err := t.review(ctx, r, batch[i:i+1], answers[i].err, out); err != nil {
				return errors.Join(wrongID, err)
			}
		case id == d.user.ID:
			t.created(ctx, r, d, out)
		case id != "":
			d.outcome.TargetID = id
			d.outcome.Detail = "the server gave the user another id"
			r.loading.created(d.user)
			out.Report(d.outcome)
			wrongID = sdk.Diagnostics{{
				Code:    codeIDsNotKept,
				Summary: fmt.Sprintf("the server created user %s under id %s instead of %s", d.user.source, id, d.user.ID),
				Hint:    "use Keycloak 23 or later, delete the users with wrong ids and run again",
			}}.Err()
		default: // skipped: it came into being since it was looked up
			unclear = append(unclear, d)
		}
	}
	if len(unclear) > 0 {
		return errors.Join(wrongID, t.review(ctx, r, unclear, nil, out))
	}
	return wrongID
}

func (t *live) created(ctx context.Context, r *openRealm, d *delivery, out sdk.Outcomes) {
	r.directory.add(&d.user.account)
	r.loading.created(d.user)
	if len(d.user.organizations) > 0 {
		if err := t.setOrganizations(ctx, d.user.ID, nil, d.user.organizations, nil); err != nil {
			out.Report(sdk.Outcome{
				SourceID: d.user.source, Action: sdk.InDoubt, Code: sdk.CodeUnknownAnswer,
				Detail: "the user is in the realm, but not in all of its organizations: " + err.Error(), Hint: "run again: what is missing will be added",
			})
			return
		}
	}
	d.outcome.State = t.state(t.secrets(d.user), r.wanted(d.user))
	out.Report(d.outcome)
}

// joinLate completes an account that an earlier run has created and then did not
// come to its organizations.
func (t *live) joinLate(ctx context.Context, r *openRealm, v *verdict) error {
	if err := t.prepareMemberships(ctx, r, []*delivery{{verdict: *v}}); err != nil {
		return err
	}
	return t.setOrganizations(ctx, v.user.ID, nil, v.user.organizations, nil)
}

// review asks the server what became of users that an import did not create, and
// reports the truth: ours after a lost answer, somebody else's, or refused.
func (t *live) review(ctx context.Context, r *openRealm, batch []*delivery, cause error, out sdk.Outcomes) error {
	users := make([]*representation, len(batch))
	for i, d := range batch {
		users[i] = d.user
	}
	held, err := r.directory.find(ctx, users, true)
	if err != nil {
		return errors.Join(cause, err)
	}
	for i, d := range batch {
		o := r.directory.judge(d.user, held[i]).outcome
		switch {
		case d.doubt && (o.Action == sdk.Unchanged || o.Action == sdk.Skipped):
			t.created(ctx, r, d, out) // it was not there before the request whose answer was lost
			continue
		case o.Action == sdk.Unchanged:
			r.directory.add(&d.user.account)
		case o.Action == sdk.Created && d.doubt:
			o.Action, o.TargetID, o.Code = sdk.InDoubt, "", sdk.CodeUnknownAnswer
			o.Detail, o.Hint = "the user was sent, the answer was lost, and the user is not there yet", "run again: it will be looked up first"
		case o.Action == sdk.Created:
			o.Action, o.TargetID, o.Code = sdk.Rejected, "", sdk.CodeTargetRefused
			o.Detail, o.Hint = "the server gives no reason", "the server's log names the reason"
			if cause != nil {
				o.Detail = cause.Error()
			}
			if status(cause) == http.StatusConflict {
				o.Hint = "the id may belong to a user of another realm of this server, where ids are unique over all realms; the server's log tells more"
			}
		}
		r.loading.refused(d.user)
		out.Report(o)
	}
	return nil
}

// prepareMemberships creates the roles and groups that users of the batch need.
// The server would create a missing role by itself, but two parallel batches
// that do so collide; and a missing group costs the whole batch.
func (t *live) prepareMemberships(ctx context.Context, r *openRealm, batch []*delivery) error {
	t.memberships.Lock()
	defer t.memberships.Unlock()
	for _, group := range r.mapper.defaultGroups {
		t.groups[group] = true
	}
	if t.roles == nil {
		roles, err := t.api.roleNames(ctx)
		if err != nil {
			return fmt.Errorf("list the roles of realm %s: %w", t.config.Realm, err)
		}
		t.roles = roles
	}
	for _, d := range batch {
		for _, role := range d.user.RealmRoles {
			if t.roles[role] {
				continue
			}
			// A refusal is left to the import, where it costs those users only.
			if err := t.api.createRole(ctx, role); err != nil && !refused(err) {
				return fmt.Errorf("create role %s: %w", role, err)
			}
			t.roles[role] = true
		}
		for _, group := range d.user.Groups {
			if t.groups[group] {
				continue
			}
			if err := t.ensureGroup(ctx, strings.TrimPrefix(group, tenantGroup(""))); err != nil && !refused(err) {
				return fmt.Errorf("create group %s: %w", group, err)
			}
			t.groups[group] = true
		}
		for _, name := range d.user.organizations {
			if err := t.ensureOrganization(ctx, name); err != nil && !refused(err) {
				return fmt.Errorf("create organization %s: %w", name, err)
			}
		}
	}
	return nil
}

func (t *live) ensureGroup(ctx context.Context, tenant string) error {
	if id, err := t.api.groupID(ctx, tenantParent, tenant); id != "" || err != nil {
		return err
	}
	parent, err := t.api.groupID(ctx, tenantParent)
	if err != nil {
		return err
	}
	if parent == "" {
		if err := t.api.createGroup(ctx, "", tenantParent); err != nil {
			return err
		}
		if parent, err = t.api.groupID(ctx, tenantParent); err != nil {
			return err
		}
	}
	return t.api.createGroup(ctx, parent, tenant)
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
		return sdk.Diagnostics{{Code: codeLoginRefused, Summary: "the server does not accept its own token", Detail: err.Error(), Hint: "see that auth_realm is the realm of the client and that the clocks agree"}}.Err()
	}
	return err
}

func joinNotes(notes []string) string { return strings.Join(slices.Compact(notes), "; ") }

func joinList(names []string) string { return strings.Join(names, ", ") }
