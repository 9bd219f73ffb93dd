package scim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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

// live loads a running server. Load is safe for concurrent use.
type live struct {
	stated
	config Config
	env    sdk.Env
	api    *transport

	opening sync.Mutex
	server  *server // nil until the first Plan or Load
	undoing *server // what an Undo has learnt without them
	tidying tidying
}

// server is what the first Plan or Load has learnt.
type server struct {
	config  Config
	env     sdk.Env
	api     *transport
	facts   *facts
	mapper  mapper
	finder  *finder
	groups  *groupDirectory
	learned *learned
	pace    *pace
	compare comparer
	write   writer
	off     *switchedOff
	began   *reconcile.Beginning
}

func newLive(c Config, env sdk.Env) (*live, error) { return newLiveOver(c, env, httpx.Options{}) }

func newLiveOver(c Config, env sdk.Env, o httpx.Options) (*live, error) {
	api, err := newTransport(c, env, o)
	if err != nil {
		return nil, err
	}
	return &live{stated: stated{signIns(c)}, config: c, env: env, api: api}, nil
}

// Capabilities implements [sdk.Capable].
func (t *live) Capabilities() sdk.Capabilities { return capabilities(t.config) }

// Lacks implements [sdk.Limited]: without a place to sign in, no canary can.
func (t *live) Lacks() []sdk.Ability {
	if t.config.Password.CheckTokenURL == "" {
		return []sdk.Ability{sdk.CanLogin}
	}
	return nil
}

// Close implements [sdk.Closer].
func (t *live) Close(context.Context) error {
	t.api.http.CloseIdleConnections()
	return nil
}

func (t *live) open(ctx context.Context) (*server, error) {
	t.opening.Lock()
	defer t.opening.Unlock()
	if t.server != nil {
		return t.server, nil
	}
	s, err := learn(ctx, t)
	if err != nil {
		return nil, explain(err)
	}
	if s.finder, err = openFinder(ctx, t.api, s.facts); err != nil {
		return nil, explain(err)
	}
	t.server = s
	return s, nil
}

// learn is open without a look at accounts.
func learn(ctx context.Context, t *live) (*server, error) {
	f, err := discover(ctx, t.api)
	if err != nil {
		return nil, err
	}
	if f.oldVersion {
		return nil, errOldVersion
	}
	extension := t.config.Extension.Use == always || (t.config.Extension.Use == auto && f.hasExtension(t.config.Extension.URN))
	m := mapper{config: t.config, extension: extension, groups: f.groups != ""}
	m.takes = func(path string) bool {
		if extension && len(path) > len(t.config.Extension.URN) && path[:len(t.config.Extension.URN)+1] == t.config.Extension.URN+":" && t.config.Extension.Use == always {
			return true
		}
		return f.takes(path)
	}
	s := &server{
		config: t.config, env: t.env, api: t.api, facts: f, mapper: m,
		groups:  &groupDirectory{api: t.api, facts: f, journal: t.env.Journal, members: memberList{t.api, f}},
		learned: recall(t.env.Journal), off: recallSwitchedOff(t.env.Journal),
		began: reconcile.NewBeginning(t.env.Journal),
		pace:  newPace(t.config, f, time.Duration(t.api.fastest.Load())),
	}
	s.compare, s.write = comparer{t.env.Fingerprints, s.learned}, writer{t.api, f}
	s.mapper.keepsOne = s.learned.keepsOne
	s.pace.resume(s.learned.pace)
	return s, nil
}

// explain adds to an error what the operator can do about it.
func explain(err error) error {
	if d, ok := diagnose(err); ok {
		return sdk.Diagnostics{d}.Err()
	}
	return err
}

// diagnose knows the errors that stop a whole run.
func diagnose(err error) (sdk.Diagnostic, bool) {
	if d, ok := distrust(err); ok {
		return d, true
	}
	_, login := errors.AsType[*httpx.LoginError](err)
	switch {
	case noSeats(err):
		return sdk.Diagnostic{
			Code: codeSeats, Path: "/url", Summary: "the provider takes no more accounts", Detail: err.Error(),
			Hint: "its plan or licence has no seats left: buy some or remove accounts, then run again; the run goes on where it stopped",
		}, true
	case errors.Is(err, errVanished):
		return sdk.Diagnostic{
			Code: codeNotSCIM, Path: "/url", Summary: "during the run, the address has stopped answering as SCIM does", Detail: err.Error(),
			Hint: "see at the provider whether the integration was switched off or moved, then run again",
		}, true
	case login, status(err) == http.StatusUnauthorized, status(err) == http.StatusForbidden:
		return loginRefused(err), true
	case errors.Is(err, errNoLookup):
		return noLookup(err), true
	case errors.Is(err, errOldVersion):
		return sdk.Diagnostic{Code: codeNotSCIM, Path: "/url", Summary: err.Error(), Hint: "look for a SCIM 2.0 address of the provider"}, true
	}
	return sdk.Diagnostic{}, false
}

// errVanished says that the endpoint that has created accounts is not there any more.
var errVanished = errors.New("no accounts can be created here any more")

var errOldVersion = errors.New("the server speaks SCIM 1.1, which this plugin does not")

// verdict is what is to become of one user. Created means: send it.
type verdict struct {
	reconcile.Verdict
	user *sdk.User
	want *desired
	held resource
}

// decide says what is to become of each user. It only reads, and it is the whole
// difference between a plan and a load.
func (s *server) decide(ctx context.Context, users []sdk.User) ([]verdict, error) {
	out := make([]verdict, len(users))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxParallel)
	for i := range users {
		v := &out[i]
		v.user = &users[i]
		var rejected *sdk.Outcome
		if v.want, rejected = s.mapper.user(v.user); rejected != nil {
			v.Outcome = *rejected
			continue
		}
		g.Go(func() error { return s.look(ctx, v) })
	}
	return out, g.Wait()
}

// look finds the account of a user and decides about it: by the id that the journal
// knows, whatever its name has become, or by a search.
func (s *server) look(ctx context.Context, v *verdict) error {
	u := v.user
	if id := u.Prior.TargetID; id != "" {
		held, err := s.api.one(ctx, s.facts.users, id)
		if err != nil {
			return fmt.Errorf("read the account of an earlier run: %w", err)
		}
		if held != nil {
			return s.weigh(ctx, v, held)
		}
	}
	h, err := s.finder.find(ctx, v.want, u, false)
	if err != nil {
		return err
	}
	return s.settle(ctx, v, h)
}

// settle decides about an account that was found by a search.
func (s *server) settle(ctx context.Context, v *verdict, h hit) error {
	switch {
	case h.held == nil:
		v.Verdict = s.compare.judge().Absent(v.user)
		if v.Outcome.Action == sdk.Created {
			if err := s.withhold(ctx, v, ""); err != nil {
				return err
			}
			v.Outcome.Detail, v.Outcome.Losses = v.want.note(), v.want.placeless()
		}
		return nil
	case h.several && h.mine:
		v.Outcome = sdk.Outcome{
			SourceID: v.user.SourceID, Action: sdk.Rejected, Code: sdk.CodeIDConflict,
			Detail: "several accounts of the server have the externalId of this user", Hint: "delete all but one of them",
		}
		return nil
	case h.mine, h.held.text("externalId") == "" && (s.config.Adopt == "username" || (v.user.Prior.InDoubt && s.learned.loses("externalid"))):
		return s.weigh(ctx, v, h.held)
	}
	v.Outcome = s.compare.judge().Conflict(v.user, sdk.CodeUsernameConflict, "the user name", h.held.id())
	v.Outcome.Hint += "; adopt: username takes over accounts without externalId"
	return nil
}

// weigh compares an account that is the user's with what it should be.
func (s *server) weigh(ctx context.Context, v *verdict, held resource) error {
	if err := s.withhold(ctx, v, held.id()); err != nil {
		return err
	}
	f, err := s.heldFields(ctx, v.want, held, v.user.Prior.State)
	if err != nil {
		return err
	}
	want := wanted(v.want)
	answerable, shown := s.compare.answerable(reconcile.ParseState(v.user.Prior.State), want.Fields, f)
	v.held = held
	u := *v.user
	if s.off.has(held.id()) && u.Existing != sdk.Update && !truth(held.get("active")) {
		u.Prior.InDoubt = true // an undo has taken the account back, and has left it for this load
	}
	v.Verdict = s.compare.judge().Found(&u, want, reconcile.Held{
		ID: held.id(), Fields: shown, Answerable: answerable, Marked: held.text("externalId") == v.want.body.text("externalId"),
		Older: s.began.Older(createdAt(held)) && !s.off.has(held.id()),
	})
	if v.Outcome.Detail == "" {
		v.Outcome.Detail = v.want.note()
	}
	if v.Outcome.Action.MayLose() {
		v.Outcome.Losses = append(v.Outcome.Losses, v.want.placeless()...)
	}
	return nil
}

// withhold leaves out groups that are there, that no run has made and that nobody has
// accepted: what they allow SCIM does not tell, and a name alone is to give nobody power.
// Whoever is in one already, or was put there by an earlier run, stays.
func (s *server) withhold(ctx context.Context, v *verdict, account string) error {
	if s.facts.groups == "" {
		return nil
	}
	last := reconcile.ParseState(v.user.Prior.State)
	var left []string
	for _, name := range v.want.groups {
		g, err := s.groups.get(ctx, name)
		if err != nil {
			return err
		}
		free := g == nil || isOurs(s.groups, g) || slices.Contains(s.config.AcceptGroups, name) || last.Recorded(s.env.Fingerprints, groupPath(name))
		if !free && account != "" {
			if free, _, err = s.groups.has(ctx, g, account); err != nil {
				return err
			}
		}
		if free {
			left = append(left, name)
			continue
		}
		l := lossOf(groupPath(name), errForeignGroup)
		l.Code = codeGroupsThere
		v.want.withheld = append(v.want.withheld, l)
	}
	v.want.groups = left
	return nil
}

var errForeignGroup = errors.New("a group of that name is there, which no run has made")

// groupPath is the field of a membership.
func groupPath(name string) string { return "groups[" + name + "]" }

func groupName(path string) string {
	return strings.TrimSuffix(strings.TrimPrefix(path, "groups["), "]")
}

// wantFields are the fields that an account will have, its groups among them.
func wantFields(d *desired) fields {
	f := fields{}
	for path, v := range d.fields {
		f[path] = v
	}
	for _, g := range d.groups {
		f[groupPath(g)] = "yes"
	}
	return f
}

// heldFields are those of an account that is there. Of groups, only those count that
// are wanted or that an earlier load has joined; where the server does not show
// members, what was done counts as what is.
func (s *server) heldFields(ctx context.Context, want *desired, held resource, prior []byte) (fields, error) {
	f := flatten(held)
	if s.facts.groups == "" {
		return f, nil
	}
	last := reconcile.ParseState(prior)
	wanted := map[string]bool{}
	if want != nil {
		for _, name := range want.groups {
			wanted[name] = true
		}
	}
	if len(wanted) == 0 && last.IsZero() {
		return f, nil
	}
	names, err := s.groups.names(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		joined := last.Recorded(s.env.Fingerprints, groupPath(name))
		if !joined && !wanted[name] {
			continue
		}
		g, err := s.groups.get(ctx, name)
		if err != nil {
			return nil, err
		}
		has, known, err := s.groups.has(ctx, g, held.id())
		if err != nil {
			return nil, err
		}
		if has || (!known && joined) {
			f[groupPath(name)] = "yes"
		}
	}
	return f, nil
}

// Plan implements [sdk.Planner].
func (t *live) Plan(ctx context.Context, users []sdk.User, out sdk.Changes) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	verdicts, err := s.decide(ctx, users)
	if err != nil {
		return explain(err)
	}
	for _, v := range verdicts {
		out.Report(sdk.Change{Outcome: v.Outcome, Fields: v.Fields})
	}
	return nil
}

// Load implements [sdk.Target].
func (t *live) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	if err := s.began.Note(ctx); err != nil {
		return err
	}
	verdicts, err := s.decide(ctx, users)
	if err != nil {
		return explain(err)
	}
	var creates []*delivery
	var mu sync.Mutex
	var taken []*passing
	g, updating := errgroup.WithContext(ctx)
	g.SetLimit(maxParallel)
	for i := range verdicts {
		v := &verdicts[i]
		switch {
		case v.Outcome.Action == sdk.Created && !v.Resumed:
			body, err := v.want.encode()
			if err != nil {
				return err
			}
			creates = append(creates, &delivery{verdict: v, body: body, doubt: v.user.Prior.InDoubt})
		case v.Outcome.Action == sdk.Created, v.Outcome.Action == sdk.Updated:
			g.Go(func() error {
				p := &passing{v, v.Outcome}
				err := s.updateWhole(updating, v)
				switch {
				case err != nil:
				case reconcile.Taken(&v.Outcome):
					mu.Lock()
					defer mu.Unlock()
					taken = append(taken, p)
				default:
					out.Report(v.Outcome)
				}
				return err
			})
		default:
			out.Report(v.Outcome)
		}
	}
	err = g.Wait()
	if err == nil {
		err = s.exchange(ctx, taken)
	}
	if err == nil { // else nobody knows what has become of some of them
		for _, p := range taken {
			out.Report(p.Outcome)
		}
	}
	return explain(errors.Join(err, carrier{s}.create(ctx, creates, out)))
}

// passing is an update that is refused because another account has the user name.
type passing struct {
	*verdict
	planned sdk.Outcome
}

// exchange carries user names that accounts of one batch pass on.
func (s *server) exchange(ctx context.Context, refused []*passing) error {
	rename := func(ctx context.Context, p *passing, name string) error {
		held, err := s.api.one(ctx, s.facts.users, p.held.id())
		if err != nil || held == nil {
			return err
		}
		return s.write.rewrite(ctx, held, resource{"userName": name}, []reconcile.Difference{{Field: "username", Held: held.text("userName"), Want: name}})
	}
	e := reconcile.Exchange[*passing]{
		Again: func(ctx context.Context, p *passing) (bool, error) {
			p.Outcome = p.planned
			err := s.updateWhole(ctx, p.verdict)
			return !reconcile.Taken(&p.Outcome), err
		},
		Wants: func(p, other *passing) bool {
			return strings.EqualFold(p.want.body.text("userName"), other.held.text("userName"))
		},
		Aside: func(ctx context.Context, p *passing) (bool, error) {
			err := rename(ctx, p, strings.ToLower(rand.Text())+"@exchange.invalid")
			return err == nil, ctx.Err()
		},
		Back: func(ctx context.Context, p *passing) error { return rename(ctx, p, p.held.text("userName")) },
	}
	return e.Carry(ctx, refused)
}

// updateWhole updates an account, whoever changes it at the same time. What the server
// has against this account is its outcome; an error is about more than it.
func (s *server) updateWhole(ctx context.Context, v *verdict) error {
	err := s.update(ctx, v)
	for n := 0; n < 2 && status(err) == http.StatusPreconditionFailed; n++ {
		err = s.updateAgain(ctx, v)
	}
	if r, ok := errors.AsType[*statusError](err); ok && refused(err) {
		v.Outcome, err = refusal(v, r), nil
	}
	if errors.Is(err, errGone) {
		v.Outcome, err = sdk.Outcome{
			SourceID: v.user.SourceID, TargetID: v.Outcome.TargetID, Action: sdk.Rejected, Code: sdk.CodeMoved, Detail: err.Error(), Hint: "run again",
		}, nil
	}
	if errors.Is(err, errNoEffect) {
		v.Outcome, err = sdk.Outcome{
			SourceID: v.user.SourceID, TargetID: v.Outcome.TargetID, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: err.Error(),
			Hint: "set patch: off where the provider replaces accounts only, or look into its log",
		}, nil
	}
	if v.Resumed {
		v.Outcome.Before, v.Outcome.Changed = nil, nil // a load has made it
	}
	return err
}

// updateAgain looks at an account that somebody else has changed since it was read.
func (s *server) updateAgain(ctx context.Context, v *verdict) error {
	held, err := s.api.one(ctx, s.facts.users, v.held.id())
	if err != nil {
		return err
	}
	if held == nil {
		return errGone
	}
	resumed := v.Resumed
	if err := s.weigh(ctx, v, held); err != nil || (v.Outcome.Action != sdk.Updated && !v.Resumed) {
		v.Resumed = resumed
		return err
	}
	return s.update(ctx, v)
}

// refusal is the outcome of a user that the server does not take as it is.
func refusal(v *verdict, e *statusError) sdk.Outcome {
	o := sdk.Outcome{
		SourceID: v.user.SourceID, TargetID: v.Outcome.TargetID, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: v.safe(e.Error()),
		Hint: "correct what it names, or set constants, attributes or drop for what the provider wants otherwise",
	}
	if e.noSeats() {
		o.Code, o.Hint = codeSeats, "buy seats or remove accounts, then run again"
	}
	if e.taken() {
		o.Code, o.Hint = sdk.CodeUsernameConflict, "merge the two accounts in SuperTokens or rename the one at the provider"
	}
	return o
}
