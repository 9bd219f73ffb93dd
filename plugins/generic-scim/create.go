package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// delivery is a new account on the way.
type delivery struct {
	*verdict
	body json.RawMessage
	// doubt: an earlier request with this user may have been carried out.
	doubt bool
	state progress
	id    string
	held  resource // the answer's own picture of the account, nil without one
	last  error    // why it is not done
}

// progress is how far a delivery has come.
type progress int

const (
	waiting progress = iota // to be sent, for the first time or again
	made                    // the server gave an id
	exists                  // the server says that there is such an account
	unclear                 // to be looked up
	denied                  // the server does not want it
	settled                 // its outcome is reported
)

// safe removes the user's own secret from what a server has said, also where its words
// were cut in the middle of it.
func (v *verdict) safe(s string) string {
	secret := v.want.secret.Reveal()
	if secret == "" {
		return s
	}
	for _, spelling := range []string{secret, strings.ReplaceAll(secret, "/", `\/`)} { // some servers quote JSON so
		s = httpx.NewScrubber(sdk.NewSecret(spelling)).Text(s)
		if begun, cut := strings.CutSuffix(s, cutMark); cut {
			for n := len(spelling) - 1; n >= leastSecret; n-- {
				if rest, there := strings.CutSuffix(begun, spelling[:n]); there {
					return rest + "***" + cutMark
				}
			}
		}
	}
	return s
}

// leastSecret is how much of a secret tells something about it.
const leastSecret = 8

// A user is sent again as long as others get through. These are the rounds in which
// nobody does: more of them where the server says that it is a matter of time.
const (
	rounds        = 4
	patientRounds = 10
)

// carrier takes new accounts to the server, and sender is who sends them once.
type (
	carrier struct{ *server }
	sender  struct{ *server }
)

// create makes accounts, and reports each of them once it is known what became of it.
func (c carrier) create(ctx context.Context, all []*delivery, out sdk.Outcomes) error {
	pending := all
	for round, idle := 0, 0; len(pending) > 0 && idle < patience(pending); round++ {
		if round > 0 {
			if err := httpx.Sleep(ctx, c.api.wait(idle+1)); err != nil {
				return err
			}
		}
		sendErr := sender(c).send(ctx, inState(pending, waiting), round)
		// What was done is worth reporting, also when the rest cannot go on, and first:
		// it teaches how to tell whose account is found by a look-up.
		if err := errors.Join(sendErr, c.report(ctx, pending, out), c.lookUp(ctx, pending, out), c.report(ctx, pending, out)); err != nil {
			return err
		}
		rest := slices.DeleteFunc(slices.Clone(pending), func(d *delivery) bool { return d.state == settled })
		idle++
		if len(rest) < len(pending) {
			idle = 0
		}
		pending = rest
	}
	for _, d := range pending {
		out.Report(d.givenUp())
	}
	return nil
}

// patience is how many rounds without any success are worth it.
func patience(pending []*delivery) int {
	throttled := func(d *delivery) bool { return status(d.last) == http.StatusTooManyRequests }
	if slices.ContainsFunc(pending, throttled) {
		return patientRounds
	}
	return rounds
}

func inState(all []*delivery, state progress) (out []*delivery) {
	for _, d := range all {
		if d.state == state {
			out = append(out, d)
		}
	}
	return out
}

// givenUp is the outcome of a user that was sent several times and is not there.
func (d *delivery) givenUp() sdk.Outcome {
	o := sdk.Outcome{SourceID: d.user.SourceID, Action: sdk.InDoubt, Code: sdk.CodeUnknownAnswer, Hint: "run again: the user is looked up first"}
	if e, ok := errors.AsType[*statusError](d.last); ok && !e.taken() {
		o.Action, o.Code = sdk.Rejected, sdk.CodeTargetRefused
		o.Detail, o.Hint = d.safe(e.Error()), "look into the provider's log, then run again"
		return o
	}
	o.Detail = "the user was sent, and is not there"
	if d.last != nil {
		o.Detail += ": " + d.safe(d.last.Error())
	}
	return o
}

// send sends deliveries once, in whichever way is fastest.
func (s sender) send(ctx context.Context, all []*delivery, round int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * maxParallel)
	// On the first round no user has been sent before, whatever earlier runs did: a
	// user in doubt was just looked up.
	if s.pace.bulk() && len(all) >= leastBulk {
		rest := all
		for len(rest) > 0 {
			// One part after the other, each of the size that is best by then.
			size, leave, err := s.pace.enter(ctx)
			if err != nil {
				return errors.Join(err, g.Wait())
			}
			part := rest[:s.fitting(rest, evenly(len(rest), size))]
			rest = rest[len(part):]
			g.Go(func() error {
				defer leave()
				return s.sendBulk(ctx, part, round > 0)
			})
		}
		return g.Wait()
	}
	for _, d := range all {
		g.Go(func() error { return s.post(ctx, d) })
	}
	return g.Wait()
}

// post creates one account. An error stops the load; what is wrong with the user
// is noted in the delivery.
func (s sender) post(ctx context.Context, d *delivery) error {
	r := request{method: http.MethodPost, path: s.facts.users, body: d.body}
	a, err := s.api.do(ctx, r)
	if lost(err) {
		d.state, d.doubt, d.last = unclear, true, err
		return nil
	}
	if err != nil {
		return fmt.Errorf("create user %s: %w", d.user.SourceID, err)
	}
	body, _ := decode(a.body) // an empty answer leaves the location
	if a.status >= 200 && a.status <= 299 {
		d.accept(body, a.header.Get("Location"), a.status, s.facts.users)
		return nil
	}
	e := s.api.problem(r, a)
	e.detail = d.safe(e.detail)
	switch {
	case e.status == http.StatusNotFound, e.status == http.StatusMethodNotAllowed:
		return fmt.Errorf("%w: %w", errVanished, e)
	case e.status < 400, e.status == http.StatusUnauthorized, e.status == http.StatusForbidden, e.noSeats():
		return fmt.Errorf("create users: %w", e)
	}
	d.refuse(e)
	return nil
}

// accept takes a success. One without an id, or one that only promises, is looked up.
func (d *delivery) accept(body resource, location string, code int, endpoint string) {
	if older(body) && !d.doubt {
		d.state, d.last = exists, &statusError{method: http.MethodPost, path: endpoint, status: http.StatusConflict, detail: "the answer is an account that is older than the request"}
		return
	}
	d.doubt, d.last = true, nil
	if id := idOf(body, location, endpoint); id != "" && code != http.StatusAccepted {
		d.state, d.id = made, id
		if body.text("userName") != "" {
			d.held = body
		}
		return
	}
	d.state, d.last = unclear, fmt.Errorf("the server answered %d without an id", code)
}

// older reports whether an answer shows an account that was there before: some servers
// link what they are sent to an account of the same name. Their clock may be wrong by a
// few minutes.
func older(body resource) bool {
	created := createdAt(body)
	return !created.IsZero() && time.Since(created) > reconcile.ClockError
}

// createdAt is zero where the server does not say.
func createdAt(r resource) time.Time {
	meta, _ := objectOf(r.get("meta"))
	created, _ := time.Parse(time.RFC3339, meta.text("created"))
	return created
}

// refuse takes a refusal of one user.
func (d *delivery) refuse(e *statusError) {
	d.last = e
	switch {
	case e.perhapsTaken():
		d.state = exists
	case e.status == http.StatusTooManyRequests:
		d.state = waiting
	case busy(e.status):
		d.state, d.doubt = unclear, true
	default:
		d.state = denied
	}
}

// lookUp finds out what became of deliveries without a clear answer.
func (c carrier) lookUp(ctx context.Context, all []*delivery, out sdk.Outcomes) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxParallel)
	for _, d := range all {
		if d.state != unclear && d.state != exists {
			continue
		}
		g.Go(func() error {
			h, err := c.finder.await(ctx, d.want, d.user)
			if err != nil {
				return fmt.Errorf("look up user %s: %w", d.user.SourceID, err)
			}
			return c.judgeAgain(ctx, d, h, out)
		})
	}
	return g.Wait()
}

func (c carrier) judgeAgain(ctx context.Context, d *delivery, h hit, out sdk.Outcomes) error {
	byName := h.held != nil && !h.mine && d.doubt && h.held.text("externalId") == "" && c.learned.loses("externalid")
	switch {
	case h.held != nil && (h.mine || byName) && d.doubt && !h.several:
		// It was not there before it was sent.
		d.state, d.id, d.held = made, h.held.id(), h.held
		return nil
	case h.held != nil && d.doubt && h.held.text("externalId") == "" && !c.learned.known():
		d.state, d.last = unclear, errors.New("there is an account of its name without externalId, and nothing shows yet whether the server keeps that")
	case h.held != nil:
		if err := c.settle(ctx, d.verdict, h); err != nil {
			return err
		}
		d.state = settled
		if d.Outcome.Action == sdk.Updated || d.Resumed { // only what was looked at before may be changed
			d.Outcome.Action, d.Outcome.Code, d.Outcome.Losses = sdk.Rejected, sdk.CodeMoved, nil
			d.Outcome.Detail, d.Outcome.Hint = "the account has come into being since it was looked for", "run again"
		}
		out.Report(d.Outcome)
	case d.state == exists && d.doubt:
		d.state = waiting // perhaps ours, and not to be seen yet
	case d.state == exists:
		e, _ := errors.AsType[*statusError](d.last)
		d.state = settled
		if !e.taken() { // its words were about something else
			out.Report(refusal(d.verdict, e))
			return nil
		}
		out.Report(sdk.Outcome{
			SourceID: d.user.SourceID, Action: sdk.Rejected, Code: sdk.CodeUsernameConflict,
			Detail: "the server says that there is such an account, and no search finds it: " + d.safe(e.Error()),
			Hint:   "the account may be deleted, in another tenant or hidden from these credentials; look for the user name at the provider",
		})
	default:
		d.state = waiting
	}
	return nil
}

// report gives outcomes to what is decided, and its groups to what is made.
func (c carrier) report(ctx context.Context, all []*delivery, out sdk.Outcomes) error {
	var done []*delivery
	for _, d := range all {
		switch d.state {
		case made:
			done = append(done, d)
		case denied:
			d.state = settled
			e, _ := errors.AsType[*statusError](d.last)
			out.Report(refusal(d.verdict, e))
		default:
		}
	}
	if len(done) == 0 {
		return nil
	}
	problems, err := c.joinGroups(ctx, done)
	if err != nil {
		return err
	}
	if err := c.readBack(ctx, done); err != nil {
		return err
	}
	for _, d := range done {
		if d.state == waiting { // said to be made, and not there
			continue
		}
		d.state = settled
		o := &d.Outcome
		o.Action, o.TargetID, o.Code = sdk.Created, d.id, ""
		o.Detail, o.Losses = c.remark(d), d.want.placeless()
		for _, name := range slices.Sorted(maps.Keys(problems[d.id])) {
			o.Losses = append(o.Losses, lossOf(groupPath(name), problems[d.id][name]))
		}
		out.Report(*o)
		c.finder.add(d.id, d.want.body.text("externalId"), d.want.body.text("userName"))
	}
	return nil
}

func (c carrier) remark(d *delivery) string {
	var notes []string
	if n := d.want.note(); n != "" {
		notes = append(notes, n)
	}
	if lost := c.learned.notKept(d.want.fields); len(lost) > 0 {
		notes = append(notes, "the server does not keep "+joinList(lost))
	}
	return strings.Join(notes, "; ")
}

// joinGroups makes new accounts members of their groups. The accounts are there
// already, so what fails is a loss, which the next run repairs. It is returned by account
// and group.
func (c carrier) joinGroups(ctx context.Context, done []*delivery) (map[string]map[string]error, error) {
	members := map[string][]string{}
	for _, d := range done {
		for _, name := range d.want.groups {
			members[name] = append(members[name], d.id)
		}
	}
	var mu sync.Mutex
	problems := map[string]map[string]error{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for name, ids := range members {
		g.Go(func() error {
			failed := map[string]error{}
			group, err := c.groups.ensure(ctx, name)
			switch {
			case err != nil && ctx.Err() != nil:
				return err
			case err != nil:
				for _, id := range ids {
					failed[id] = err
				}
			default:
				failed = c.groups.join(ctx, group, ids)
				if len(failed) == 0 {
					if err := learnShown(ctx, c.groups, group); err != nil {
						return err
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for id, err := range failed {
				if problems[id] == nil {
					problems[id] = map[string]error{}
				}
				problems[id][name] = err
			}
			for _, d := range done {
				if failed[d.id] != nil {
					d.want.groups = slices.DeleteFunc(slices.Clone(d.want.groups), func(n string) bool { return n == name })
				}
			}
			return nil
		})
	}
	return problems, g.Wait()
}

// readBack looks at the first account of each kind, to find what the server drops
// and rewrites, and at all accounts with what it is known to rewrite. It fills in the
// state of all.
func (c carrier) readBack(ctx context.Context, done []*delivery) error {
	// The kinds first: they teach which of the others have to be read as well.
	for _, chosen := range []func(*delivery) bool{
		func(d *delivery) bool { return c.learned.unseen(d.want.fields) },
		func(d *delivery) bool {
			return d.Outcome.State == nil && (c.learned.reshapes(d.want.fields) || (c.learned.keepsOne("emails") && len(elements(d.want.body.get("emails"))) > 1))
		},
	} {
		g, reading := errgroup.WithContext(ctx)
		g.SetLimit(maxParallel)
		for _, d := range done {
			if chosen(d) {
				g.Go(func() error { return c.inspect(reading, d) })
			}
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	for _, d := range done {
		if d.Outcome.State == nil {
			want := wanted(d.want)
			d.Outcome.State = c.compare.left(want, c.learned.predicted(want.Fields), nil, nil)
		}
	}
	c.learned.keepPace(c.pace.found())
	return c.learned.save(ctx)
}

// inspect reads one new account and learns from it.
func (c carrier) inspect(ctx context.Context, d *delivery) error {
	held, err := c.see(ctx, d)
	if err != nil {
		return err
	}
	if held == nil {
		d.state, d.last = waiting, errors.New("the server gave it an id, and there is no such account")
		return nil
	}
	if c.learned.singular(d.want.body, held) { // with an address that nobody signs in with
		was := d.want.body
		d.want.body = maps.Clone(was)
		d.want.single("emails")
		var diffs []reconcile.Difference
		for path, v := range flatten(held) {
			if lossKey(path) == "emails" {
				diffs = append(diffs, reconcile.Difference{Field: path, Held: v, Want: d.want.fields[path]})
			}
		}
		if err := c.write.rewrite(ctx, held, d.want.body, diffs); err != nil {
			return fmt.Errorf("give user %s the first address: %w", d.user.SourceID, err)
		}
		if held, err = c.api.one(ctx, c.facts.users, d.id); err != nil || held == nil {
			return errors.Join(err, errors.New("an account has gone while it was corrected"))
		}
	}
	f := flatten(held)
	c.learned.learn(d.want.fields, f)
	for _, name := range d.want.groups {
		f[groupPath(name)] = "yes"
	}
	d.Outcome.State = c.compare.left(wanted(d.want), f, nil, nil)
	return c.finder.prove(ctx, held)
}

// see reads a new account, with patience.
func (c carrier) see(ctx context.Context, d *delivery) (resource, error) {
	for _, pause := range c.finder.patience {
		if err := httpx.Sleep(ctx, pause); err != nil {
			return nil, err
		}
		r, err := c.api.one(ctx, c.facts.users, d.id)
		if err != nil || r != nil {
			return r, err
		}
	}
	return nil, nil
}
