package scim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// live loads a running server. Load is safe for concurrent use.
type live struct {
	config Config
	env    sdk.Env
	api    *transport

	opening sync.Mutex
	server  *server // nil until the first Plan or Load
	undoing *server // what an Undo has learnt without them
	undone  bool
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
	lessons *lessons
	pace    *pace
}

func newLive(c Config, env sdk.Env) (*live, error) { return newLiveOver(c, env, httpx.Options{}) }

func newLiveOver(c Config, env sdk.Env, o httpx.Options) (*live, error) {
	api, err := newTransport(c, env, o)
	if err != nil {
		return nil, err
	}
	return &live{config: c, env: env, api: api}, nil
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
func (t *live) Close(ctx context.Context) error {
	defer t.api.http.CloseIdleConnections()
	s := t.server
	if s == nil {
		s = t.undoing
	}
	if t.undone && s != nil && s.facts.groups != "" {
		if err := s.groups.drop(ctx); err != nil {
			return fmt.Errorf("remove the groups that a load had made: %w", err)
		}
	}
	return nil
}

func (t *live) open(ctx context.Context) (*server, error) {
	t.opening.Lock()
	defer t.opening.Unlock()
	if t.server != nil {
		return t.server, nil
	}
	s, err := t.learn(ctx)
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
func (t *live) learn(ctx context.Context) (*server, error) {
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
		groups:  &groupDirectory{api: t.api, facts: f, journal: t.env.Journal},
		lessons: recall(t.env.Journal),
		pace:    newPace(t.config, f, time.Duration(t.api.fastest.Load())),
	}
	s.mapper.keepsOne = s.lessons.keepsOne
	s.pace.resume(s.lessons.pace)
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
	case login, status(err) == http.StatusUnauthorized, status(err) == http.StatusForbidden:
		return loginRefused(err), true
	case errors.Is(err, errNoLookup):
		return noLookup(err), true
	case errors.Is(err, errOldVersion):
		return sdk.Diagnostic{Code: codeNotSCIM, Path: "/url", Summary: err.Error(), Hint: "look for a SCIM 2.0 address of the provider"}, true
	}
	return sdk.Diagnostic{}, false
}

var errOldVersion = errors.New("the server speaks SCIM 1.1, which this plugin does not")

// verdict is what is to become of one user. Created means: send it.
type verdict struct {
	outcome sdk.Outcome
	user    *sdk.User
	want    *desired
	held    resource
	diffs   []difference
	fields  []sdk.FieldChange
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
			v.outcome = *rejected
			continue
		}
		g.Go(func() error { return s.judge(ctx, v) })
	}
	return out, g.Wait()
}

func (s *server) judge(ctx context.Context, v *verdict) error {
	u := v.user
	v.outcome = sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created, Detail: v.want.note()}
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
	no := func(code sdk.Code, detail, hint string) error {
		v.outcome = sdk.Outcome{SourceID: v.user.SourceID, Action: sdk.Rejected, Code: code, Detail: detail, Hint: hint}
		return nil
	}
	switch {
	case h.held == nil:
		if v.user.Expect != nil {
			return no(sdk.CodeMoved, "the account has gone since it was looked at", "plan again")
		}
		return nil
	case h.several && h.mine:
		return no(sdk.CodeIDConflict, "several accounts of the server have the externalId of this user", "delete all but one of them")
	case h.mine:
		return s.weigh(ctx, v, h.held)
	case h.held.text("externalId") == "" && (s.config.Adopt == "username" || (v.user.Prior.InDoubt && s.lessons.loses("externalid"))):
		return s.weigh(ctx, v, h.held)
	}
	return no(sdk.CodeUsernameConflict, fmt.Sprintf("the user name belongs to the account %s of the server", h.held.id()),
		"merge the two accounts in SuperTokens or rename the one at the provider; adopt: username takes over accounts without externalId")
}

// weigh compares an account that is the user's with what it should be.
func (s *server) weigh(ctx context.Context, v *verdict, held resource) error {
	f, err := s.heldFields(ctx, v.want, held, v.user.Prior.State)
	if err != nil {
		return err
	}
	fp, prior := s.env.Fingerprints, v.user.Prior.State
	want := s.wantFields(v.want)
	v.held = held
	v.outcome.TargetID, v.outcome.State = held.id(), found(fp, prior, want, f)
	v.diffs = compare(fp, prior, want, f, s.lessons.losses())
	v.fields = changesOf(fp, prior, v.diffs)
	var names []string
	for _, c := range v.fields {
		names = append(names, c.Field)
	}
	switch {
	case len(v.diffs) == 0:
		v.outcome.Action = sdk.Unchanged
	case v.user.Existing != sdk.Update:
		v.outcome.Action, v.outcome.Code = sdk.Skipped, sdk.CodeExistsDiffers
		v.outcome.Detail = "the account is there and differs in " + joinList(names)
		v.outcome.Hint = "change or delete the account at the provider; an existing account is never overwritten"
	case v.user.Expect != nil && !bytes.Equal(v.user.Expect, v.outcome.State):
		v.outcome.Action, v.outcome.Code = sdk.Rejected, sdk.CodeMoved
		v.outcome.Detail = "the account has changed at the provider since it was looked at"
		v.outcome.Hint = "plan again"
	default:
		v.outcome.Action, v.outcome.Changed = sdk.Updated, names
	}
	return nil
}

// groupPath is the field of a membership.
func groupPath(name string) string { return "groups[" + name + "]" }

// wantFields are the fields that an account will have, its groups among them.
func (s *server) wantFields(d *desired) fields {
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
	last := parseState(prior)
	wanted := map[string]bool{}
	if want != nil {
		for _, name := range want.groups {
			wanted[name] = true
		}
	}
	if len(wanted) == 0 && len(last.held) == 0 {
		return f, nil
	}
	names, err := s.groups.names(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		joined := recorded(s.env.Fingerprints, last.held, groupPath(name))
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
		out.Report(sdk.Change{Outcome: v.outcome, Fields: v.fields})
	}
	return nil
}

// Load implements [sdk.Target].
func (t *live) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	verdicts, err := s.decide(ctx, users)
	if err != nil {
		return explain(err)
	}
	var creates []*delivery
	g, updating := errgroup.WithContext(ctx)
	g.SetLimit(maxParallel)
	for i := range verdicts {
		v := &verdicts[i]
		switch v.outcome.Action {
		case sdk.Created:
			body, err := v.want.encode()
			if err != nil {
				return err
			}
			creates = append(creates, &delivery{verdict: v, body: body, doubt: v.user.Prior.InDoubt})
		case sdk.Updated:
			g.Go(func() error {
				err := s.update(updating, v)
				for n := 0; n < 2 && status(err) == http.StatusPreconditionFailed; n++ {
					err = s.updateAgain(updating, v)
				}
				if r, ok := errors.AsType[*statusError](err); ok && refused(err) {
					v.outcome, err = refusal(v, r), nil
				}
				if errors.Is(err, errNoEffect) {
					v.outcome, err = sdk.Outcome{
						SourceID: v.user.SourceID, TargetID: v.outcome.TargetID, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: err.Error(),
						Hint: "set patch: off where the provider replaces accounts only, or look into its log",
					}, nil
				}
				if err == nil {
					out.Report(v.outcome)
				}
				return err
			})
		default:
			out.Report(v.outcome)
		}
	}
	return explain(errors.Join(g.Wait(), s.create(ctx, creates, out)))
}

// updateAgain looks at an account that somebody else has changed since it was read.
func (s *server) updateAgain(ctx context.Context, v *verdict) error {
	held, err := s.api.one(ctx, s.facts.users, v.held.id())
	if err != nil {
		return err
	}
	if held == nil {
		return fmt.Errorf("the account %s has gone while it was updated", v.held.id())
	}
	v.outcome = sdk.Outcome{SourceID: v.user.SourceID, Detail: v.want.note()}
	if err := s.weigh(ctx, v, held); err != nil || v.outcome.Action != sdk.Updated {
		return err
	}
	return s.update(ctx, v)
}

// refusal is the outcome of a user that the server does not take as it is.
func refusal(v *verdict, e *statusError) sdk.Outcome {
	o := sdk.Outcome{
		SourceID: v.user.SourceID, TargetID: v.outcome.TargetID, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: v.safe(e.Error()),
		Hint: "correct what it names, or set constants, attributes or drop for what the provider wants otherwise",
	}
	if e.taken() {
		o.Code, o.Hint = sdk.CodeUsernameConflict, "merge the two accounts in SuperTokens or rename the one at the provider"
	}
	return o
}
