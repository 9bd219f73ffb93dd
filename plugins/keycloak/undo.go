package keycloak

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// Undo implements [sdk.Undoer].
func (t *live) Undo(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	return takeAll(ctx, t, accounts, out, false)
}

// UndoInDoubt implements [sdk.DoubtUndoer]. An account has the id that it was to have; the
// id of a credential that only a load makes is the proof.
func (t *live) UndoInDoubt(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	accounts = slices.Clone(accounts)
	for i := range accounts {
		a := &accounts[i]
		a.TargetID, a.State, a.Before = cmp.Or(a.TargetID, a.ID), nil, nil
	}
	return takeAll(ctx, t, accounts, out, true)
}

// undoing takes the accounts of one request back.
type undoing struct {
	*openRealm
	doubtful bool // whether a load has made them, they have to prove
	found    map[string]*detail
	seen     map[string]seenState // where the provider tells
	doomed   []sdk.Account        // to be deleted together
	waiting  *waiting
}

// takeAll takes accounts back side by side, and those that only have to go together. What
// the server has against one of them is its outcome.
func takeAll(ctx context.Context, t *live, accounts []sdk.Account, out sdk.Outcomes, doubtful bool) error {
	r, err := t.open(ctx)
	if err != nil {
		return err
	}
	r.reader.wrote()
	defer r.reader.wrote()
	all := &undoing{openRealm: r, doubtful: doubtful, waiting: &waiting{}}
	g, part := errgroup.WithContext(ctx)
	g.SetLimit(undoParts)
	for some := range slices.Chunk(accounts, undoPart) {
		g.Go(func() error {
			u := *all
			return u.takeAll(part, some, out)
		})
	}
	if err := g.Wait(); err != nil {
		return explain(err)
	}
	// Those that were deleted may have had what others are to get back.
	return explain(all.restoreWaiting(ctx, out))
}

// What is looked at and deleted with one request, and how many of them the server gets at a
// time: it uses one processor for each.
const (
	undoPart  = 50
	undoParts = 4
)

func (u *undoing) takeAll(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) (err error) {
	asked := map[string]bool{}
	for _, a := range accounts {
		if HoldsID(a.TargetID) {
			asked[a.TargetID] = true
		}
	}
	ids := slices.Sorted(maps.Keys(asked))
	if u.looks {
		// Before the accounts are read: what happens in between is no part of the digest.
		if u.seen, err = (provided{u.api}).seenStates(ctx, ids); err != nil {
			return err
		}
	}
	if u.found, err = u.reader.some(ctx, ids, func(string) bool { return true }, nil); err != nil {
		return err
	}
	var now []sdk.Account
	for _, a := range accounts {
		if u.together(a) {
			u.doomed = append(u.doomed, a)
		} else {
			now = append(now, a)
		}
	}
	if err := reconcile.TakeBack(ctx, searches, now, unlessWaiting{out}, u.takeBack, refused); err != nil {
		return err
	}
	return u.deleteTogether(ctx, out)
}

// together says that nothing speaks against deleting an account that proves itself that a
// load has made it. The provider looks again before it does.
func (u *undoing) together(a sdk.Account) bool {
	d, seen := u.found[a.TargetID], u.seen[a.TargetID]
	return d != nil && seen.Marked && a.State != nil && a.Before == nil && !a.Disable && !a.DryRun && u.kept(a, d, seen.doneTo()) == nil
}

// deleteTogether deletes accounts with one request for many. An account that has changed
// since it was looked at stays.
func (u *undoing) deleteTogether(ctx context.Context, out sdk.Outcomes) error {
	for part := range slices.Chunk(u.doomed, bulkBatch) {
		all := make([]doomed, len(part))
		for i, a := range part {
			all[i] = doomed{a.TargetID, u.seen[a.TargetID].Digest}
		}
		traced, trace := httpx.WithTrace(ctx)
		results, err := (provided{u.api}).deleteAccounts(traced, all)
		if err != nil {
			return err // whoever has gone all the same is not found by the next undo
		}
		for i, a := range part {
			o := sdk.Outcome{Action: sdk.Deleted}
			switch res := results[i]; res.Status {
			case http.StatusNoContent:
			case http.StatusNotFound:
				if !trace.Doubtful() { // else by the request whose answer was lost
					o.Action = sdk.Unchanged
				}
			case http.StatusPreconditionFailed, http.StatusForbidden:
				o = *moved("the account was changed in the realm while it was looked at")
			default:
				o = sdk.Outcome{Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: res.Error, Hint: byHand}
			}
			o.SourceID, o.TargetID = a.SourceID, a.TargetID
			out.Report(o)
		}
	}
	return nil
}

const byHand = "delete it by hand if it is not wanted"

func moved(why string) *sdk.Outcome {
	return &sdk.Outcome{Action: sdk.Skipped, Code: sdk.CodeMoved, Detail: why, Hint: byHand}
}

func (u *undoing) takeBack(ctx context.Context, a sdk.Account) (sdk.Outcome, error) {
	d := u.found[a.TargetID]
	if d == nil {
		return sdk.Outcome{Action: sdk.Unchanged}, nil
	}
	if u.doubtful && !u.proven(d) {
		return reconcile.Unproven(d.ID), nil
	}
	if a.State != nil {
		done := doneTo{}
		if a.Before == nil { // else what is no part of its former self does not count
			var err error
			if done, err = u.whatWasDone(ctx, d); err != nil {
				return sdk.Outcome{}, err
			}
		}
		o := u.kept(a, d, done)
		if o != nil && a.Disable && a.InDoubt && !d.Enabled { // an earlier call may have done that
			on := *d
			on.Enabled = true
			if o = u.kept(a, &on, done); o == nil {
				d = &on
			}
		}
		if o != nil {
			return *o, nil
		}
	}
	switch {
	case a.Release && !u.editUsername:
		return sdk.Outcome{
			Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: "the realm lets nobody change user names, so the account cannot give up its name",
			Hint: "allow it (check --fix does), or delete the account by hand",
		}, nil
	case a.DryRun && !a.Disable && a.Before == nil:
		return sdk.Outcome{Action: sdk.Deleted}, nil
	case a.DryRun:
		return sdk.Outcome{Action: sdk.Updated}, nil
	case a.Disable:
		return u.switchOff(ctx, a, d)
	}
	if a.Before == nil {
		return sdk.Outcome{Action: sdk.Deleted}, u.api.remove(ctx, "users", a.TargetID)
	}
	return u.giveBack(ctx, a, d)
}

// proven says that the account tells by itself that a run of this journal has made it.
func (u *undoing) proven(d *detail) bool {
	h := u.view.held(d, reconcile.Wanted{}, reconcile.State{})
	return h.Marked && !h.Older
}

// doneTo says what was done to an account beside what is read with it.
type doneTo struct {
	touched  string // by whom, and how; nothing where nobody has
	signedIn string // how that shows
}

// kept is the outcome of an account that stays: administrators, or the person, have done
// something with it since it was loaded. Nil lets it go.
func (u *undoing) kept(a sdk.Account, d *detail, done doneTo) *sdk.Outcome {
	last := reconcile.ParseState(a.State)
	if !last.Untouched(u.view.judge.Fingerprints, u.view.held(d, reconcile.Wanted{}, last).Fields) {
		return moved("the account was changed in the realm after it was loaded")
	}
	if a.Before != nil {
		return nil
	}
	if done.touched != "" {
		return moved(done.touched)
	}
	if done.signedIn == "" && u.view.rehashed(d, last) {
		done.signedIn = "the person has signed in since: the server has exchanged the hash"
	}
	if done.signedIn == "" || a.SignedIn {
		return nil
	}
	return &sdk.Outcome{Action: sdk.Skipped, Code: sdk.CodeUndoSignedIn, Detail: done.signedIn, Hint: "undo --signed-in takes it back all the same"}
}

const online = "the person has signed in, and is"

// doneTo is what the provider tells of somebody's doing.
func (s seenState) doneTo() (done doneTo) {
	switch {
	case s.NotBefore > 0:
		done.touched = loggedOut
	case len(s.Clients) > 0:
		done.touched = rolesOf(s.Clients)
	case len(s.Consents) > 0:
		done.touched = "the person has let an application in"
	case len(s.Others) > 0:
		done.touched = "something hangs on the account: " + joinList(s.Others)
	}
	if s.Sessions > 0 {
		done.signedIn = online
	}
	return done
}

const loggedOut = "an administrator has logged the person out everywhere"

func rolesOf(clients []string) string {
	return "somebody has given the account roles of " + joinList(clients)
}

// whatWasDone asks the provider, or the server part by part. What cannot be read counts as
// touched.
func (u *undoing) whatWasDone(ctx context.Context, d *detail) (done doneTo, err error) {
	if s, told := u.seen[d.ID]; told {
		return s.doneTo(), nil
	}
	if sees, err := u.members.showsClients(ctx); err != nil || !sees {
		return doneTo{touched: "nobody can tell which roles of clients the account has got: the client lacks view-clients"}, err
	}
	var mappings struct {
		Clients map[string]any `json:"clientMappings"`
	}
	var sessions []any
	var consents []struct {
		Additional []any `json:"additionalGrants"`
		Scopes     []any `json:"grantedClientScopes"`
	}
	for _, part := range []struct {
		path string
		into any
	}{{"role-mappings", &mappings}, {"sessions", &sessions}, {"consents", &consents}} {
		err := u.api.read(ctx, u.api.realmPath("users", d.ID, part.path), nil, part.into)
		switch {
		case status(err) == http.StatusForbidden:
			return doneTo{touched: "nobody can tell what was done with the account: " + err.Error()}, nil
		case err != nil && status(err) != http.StatusNotFound:
			return doneTo{}, err
		}
	}
	if len(sessions) > 0 {
		done.signedIn = online
	}
	for _, c := range consents {
		if len(c.Additional) > 0 && len(c.Scopes) == 0 { // an offline session
			done.signedIn = online
		} else {
			done.touched = "the person has let an application in"
		}
	}
	if len(mappings.Clients) > 0 {
		done.touched = rolesOf(slices.Sorted(maps.Keys(mappings.Clients)))
	}
	if d.NotBefore > 0 {
		done.touched = loggedOut
	}
	return done, nil
}
