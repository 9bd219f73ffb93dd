package keycloak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// importer creates accounts, many at a time.
type importer struct {
	*openRealm
	out sdk.Outcomes
}

// delivery is a user on the way.
type delivery struct {
	*verdict
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
func (t *importer) deliver(ctx context.Context, batch []*delivery) error {
	answers, err := t.importAll(ctx, batch)
	switch {
	case err == nil:
		return t.settle(ctx, batch, answers)
	case refused(err) && len(batch) > 1:
		half := len(batch) / 2
		if err := t.deliver(ctx, batch[:half]); err != nil {
			return err
		}
		return t.deliver(ctx, batch[half:])
	case refused(err):
		return t.review(ctx, batch, err)
	case mayBeDone(err):
		return t.review(ctx, batch, err)
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
func (t *importer) importAll(ctx context.Context, batch []*delivery) ([]answer, error) {
	ctx, trace := httpx.WithTrace(ctx)
	answers, err := t.send(ctx, batch)
	if trace.Doubtful() || mayBeDone(err) {
		for _, d := range batch {
			d.doubt = true
		}
	}
	return answers, err
}

// send sends a batch.
func (t *importer) send(ctx context.Context, batch []*delivery) ([]answer, error) {
	bodies := make([]json.RawMessage, len(batch))
	for i, d := range batch {
		bodies[i] = d.body
	}
	answers := make([]answer, len(batch))
	if t.bulk {
		results, err := provided{t.api}.loadUsers(ctx, bodies)
		for i, d := range batch[:min(len(results), len(batch))] { // all, or none after an error
			switch res := results[i]; res.Status {
			case http.StatusCreated:
				answers[i].id = d.user.ID
			case http.StatusOK:
			default:
				answers[i].err = &statusError{method: http.MethodPost, path: "/admin" + provided{t.api}.loadPath(), status: res.Status, message: res.Error}
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
func (t *importer) settle(ctx context.Context, batch []*delivery, answers []answer) error {
	var unclear []*delivery
	var wrongID error
	for i, d := range batch {
		switch id := answers[i].id; {
		case answers[i].err != nil:
			if err := t.review(ctx, batch[i:i+1], answers[i].err); err != nil {
				return errors.Join(wrongID, err)
			}
		case id == d.user.ID:
			t.created(ctx, d)
		case id != "":
			d.Outcome.TargetID = id
			d.Outcome.Detail = "the server gave the user another id"
			t.landed(d.user)
			t.out.Report(d.Outcome)
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
		return errors.Join(wrongID, t.review(ctx, unclear, nil))
	}
	return wrongID
}

func (t *importer) created(ctx context.Context, d *delivery) {
	t.directory.add(&d.user.account)
	t.landed(d.user)
	shown, open := t.view.made(d.user), d.left
	if len(d.user.organizations) > 0 {
		if err := t.members.setOrganizations(ctx, d.user.ID, nil, d.user.organizations, nil); err != nil {
			shown.Organizations = nil // the next run looks which it has
			open = map[string]bool{fieldTenancy: true}
			maps.Copy(open, d.left)
			d.lose(sdk.CarriesTenants, codeOfPart(err), "", err.Error())
		}
	}
	for _, m := range d.moves {
		if err := t.moveLink(ctx, m, d.user); err != nil {
			d.lose(sdk.CarriesIdentities, sdk.CodePartFailed, m.alias, "the account "+m.from+" has the identity, too: "+err.Error())
		}
	}
	d.Outcome.State = t.view.left(shown, d.wanted, d.last, open)
	t.out.Report(d.Outcome)
}

// landed gives the names of a user back, since the realm itself guards them now. Nothing
// in Keycloak guards against linking one identity to two users, so links stay claimed.
func (r *openRealm) landed(u *representation) {
	names, _ := claimsOf(u, r.directory.emailsOnce)
	r.loading.Release(names...)
}

// refused gives everything back.
func (r *openRealm) refused(u *representation) {
	names, links := claimsOf(u, r.directory.emailsOnce)
	r.loading.Release(append(names, links...)...)
}

// review asks the server what became of users that an import did not create, and
// reports the truth: ours after a lost answer, somebody else's, or refused.
func (t *importer) review(ctx context.Context, batch []*delivery, cause error) error {
	users := make([]*representation, len(batch))
	for i, d := range batch {
		users[i] = d.user
	}
	held, err := t.directory.find(ctx, users, true)
	if err != nil {
		return errors.Join(cause, err)
	}
	for i, d := range batch {
		h, o := held[i], sdk.Outcome{SourceID: d.user.source, Action: sdk.Rejected}
		u := &sdk.User{SourceID: d.user.source, ID: d.user.ID}
		judge := &t.view.judge
		switch {
		case h.err != nil && d.doubt:
			o.Action, o.Code, o.Detail = sdk.InDoubt, sdk.CodeUnknownAnswer, "the user was sent, the answer was lost, and the server refuses to look it up: "+h.err.Error()
		case h.err != nil:
			o = refusal(d.user.source, h.err)
		case h.id != nil && d.doubt:
			t.created(ctx, d) // it was not there before the request whose answer was lost
			continue
		case h.id != nil: // it came into being since it was looked up
			whole, err := t.reader.again(ctx, h.id.ID)
			if err != nil {
				return err
			}
			if whole != nil {
				o = judge.Found(u, d.wanted, t.view.held(whole, d.wanted, d.last)).Outcome
				t.directory.add(&whole.account)
				break
			}
			fallthrough
		case h.username == nil && h.email == nil && d.doubt:
			o.Action, o.Code = sdk.InDoubt, sdk.CodeUnknownAnswer
			o.Detail, o.Hint = "the user was sent, the answer was lost, and the user is not there yet", "run again: the user is looked up first"
		case h.username != nil:
			o = judge.Conflict(u, sdk.CodeUsernameConflict, "the user name", h.username.ID)
		case h.email != nil:
			o = judge.Conflict(u, sdk.CodeEmailConflict, "the e-mail address", h.email.ID)
		default:
			o.Code, o.Detail, o.Hint = sdk.CodeTargetRefused, "the server gives no reason", "the server's log names the reason"
			if cause != nil {
				o.Detail = cause.Error()
			}
			if status(cause) == http.StatusConflict {
				o.Hint = idElsewhere
			}
		}
		t.refused(d.user)
		t.out.Report(o)
	}
	return nil
}

// carry does what verdicts say, in an order in which names and addresses are left before
// somebody else gets them.
func (t *importer) carry(ctx context.Context, verdicts []*verdict, batchSize int) error {
	var updates []*verdict
	var wanted []*delivery
	for _, v := range verdicts {
		switch {
		case v.writes():
			updates = append(updates, v)
		case v.Outcome.Action == sdk.Created:
			d, err := t.pack(v)
			if err != nil {
				return err
			}
			if d != nil {
				wanted = append(wanted, d)
			}
		default:
			t.out.Report(v.Outcome)
		}
	}
	if err := t.updateAll(ctx, updates); err != nil || len(wanted) == 0 {
		return err
	}
	users := make([]*representation, len(wanted))
	for i, d := range wanted {
		users[i] = d.user
	}
	if err := t.members.prepare(ctx, users); err != nil {
		return err
	}
	for _, batch := range batches(wanted, batchSize) {
		if err := t.deliver(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// pack makes the body of a new user, or reports why there is none.
func (t *importer) pack(v *verdict) (*delivery, error) {
	body, err := json.Marshal(v.user)
	if err != nil {
		return nil, fmt.Errorf("encode user %s: %w", v.user.source, err)
	}
	if len(body) <= maxBody {
		return &delivery{verdict: v, body: body}, nil
	}
	t.refused(v.user)
	t.out.Report(sdk.Outcome{
		SourceID: v.user.source, Action: sdk.Rejected, Code: sdk.CodeUserTooLarge,
		Detail: fmt.Sprintf("the user has %d bytes; a request can have %d", len(body), maxBody), Hint: "shorten the metadata in SuperTokens",
	})
	return nil, nil //nolint:nilnil // the outcome is reported
}

// updateAll writes those that wait for nobody side by side, then those that they make
// way for. Where accounts wait for each other in a circle, one of them steps aside.
func (t *importer) updateAll(ctx context.Context, updates []*verdict) error {
	for len(updates) > 0 {
		held := leavers(updates)
		waits := func(v *verdict) bool {
			return slices.ContainsFunc(identifiers, func(field string) bool {
				d := v.differs(field)
				if d == nil {
					return false
				}
				inTheWay := func(as string) bool {
					holder, taken := held[[2]string{as, d.Want}]
					return taken && d.Want != "" && holder != v.held.ID
				}
				return inTheWay(field) || field == fieldEmail && inTheWay(fieldUsername)
			})
		}
		var free, waiting []*verdict
		for _, v := range updates {
			if waits(v) {
				waiting = append(waiting, v)
			} else {
				free = append(free, v)
			}
		}
		if len(free) == 0 {
			if err := t.park(ctx, waiting[0]); err != nil {
				return err
			}
			updates = waiting
			continue
		}
		if err := t.updateTogether(ctx, free); err != nil {
			return err
		}
		updates = waiting
	}
	return nil
}

// updateTogether writes accounts side by side, reads them back with as few requests as the
// server lets, and reports what became of each. What was written is read back, too, when
// something is in the way of the others.
func (t *importer) updateTogether(ctx context.Context, free []*verdict) error {
	written := make([]*edit, len(free))
	g, part := errgroup.WithContext(ctx)
	g.SetLimit(searches)
	for i, v := range free {
		g.Go(func() error {
			e, err := t.write(part, v)
			switch {
			case refused(err), status(err) == http.StatusNotFound:
				t.refuse(v, err)
			case err != nil:
				return err
			default:
				written[i] = e
			}
			return nil
		})
	}
	failed := g.Wait()
	var ids []string
	for _, e := range written {
		if e != nil {
			ids = append(ids, e.held.ID)
		}
	}
	after, err := t.reader.some(ctx, ids, func(string) bool { return true }, nil)
	if err != nil {
		return errors.Join(failed, err)
	}
	for i, e := range written {
		if e == nil {
			continue
		}
		if now := after[e.held.ID]; now != nil {
			t.conclude(e, free[i], now)
			t.landed(free[i].user)
			t.out.Report(free[i].Outcome)
		} else {
			t.refuse(free[i], &statusError{
				method: http.MethodGet, path: "/users/" + e.held.ID, status: http.StatusNotFound, message: "the account was deleted while it was updated",
			})
		}
	}
	return failed
}

// refuse reports an account that the server does not let be written.
func (t *importer) refuse(v *verdict, err error) {
	t.refused(v.user)
	t.out.Report(refusal(v.user.source, err))
}
