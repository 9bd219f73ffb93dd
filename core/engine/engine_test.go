package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// listed is a source of given accounts, three at a time.
type listed []canonical.User

func (m listed) Accounts(_ context.Context, emit func([]canonical.User) error) error {
	for chunk := range slices.Chunk(m, 3) {
		if err := emit(chunk); err != nil {
			return err
		}
	}
	return nil
}

func people(n int) listed {
	var out listed
	for i := range n {
		email := fmt.Sprintf("user%d@example.org", i)
		out = append(out, canonical.User{
			InternalID: fmt.Sprintf("u%04d", i), ID: fmt.Sprintf("u%04d", i),
			Logins: []canonical.Login{{Recipe: canonical.EmailPassword, ID: fmt.Sprintf("u%04d", i), Email: &email}},
		})
	}
	return out
}

// fake is a target that keeps users in memory and counts its calls.
type fake struct {
	mu      sync.Mutex
	caps    pluginapi.Capabilities
	calls   map[string]int
	loaded  []string
	batches []int
	check   diag.List
	needs   pluginapi.Needs // of the last check
	mails   []pluginapi.Mailing
	load    func([]pluginapi.User) ([]pluginapi.Outcome, error)
	finish  error
}

func newFake() *fake {
	return &fake{calls: map[string]int{}, caps: pluginapi.Capabilities{
		Abilities: []pluginapi.Ability{pluginapi.CanCheck, pluginapi.CanPlan}, Batch: pluginapi.BatchLimits{Users: 4, InFlight: 2}, UniqueEmail: true,
	}}
}

func (f *fake) call(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[name]++
}

func (f *fake) Capabilities() pluginapi.Capabilities { return f.caps }

func (f *fake) Check(_ context.Context, needs pluginapi.Needs) (pluginapi.Checked, error) {
	f.call("check")
	f.needs = needs
	return pluginapi.Checked{Diagnostics: f.check, Mails: f.mails}, nil
}

func (f *fake) Plan(_ context.Context, users []pluginapi.User) ([]pluginapi.Change, error) {
	f.call("plan")
	var out []pluginapi.Change
	for _, u := range users {
		out = append(out, pluginapi.Change{Outcome: pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.Created}})
	}
	return out, nil
}

func (f *fake) Load(_ context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	f.call("load")
	if f.load != nil {
		return f.load(users)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches = append(f.batches, len(users))
	var out []pluginapi.Outcome
	for _, u := range users {
		f.loaded = append(f.loaded, u.SourceID)
		out = append(out, pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.Created, TargetID: u.ID})
	}
	return out, nil
}

func (f *fake) Finish(context.Context) error {
	f.call("finish")
	return f.finish
}

func TestRunLoadsEverybodyOnce(t *testing.T) {
	t.Parallel()
	f := newFake()
	var seen []string
	res, err := Run(t.Context(), people(23), f, Options{Outcome: func(c pluginapi.Change) { seen = append(seen, c.SourceID) }})
	if err != nil {
		t.Fatal(err)
	}
	if want := (pluginapi.Summary{Read: 23, Created: 23}); res.Summary != want {
		t.Errorf("summary %+v, want %+v", res.Summary, want)
	}
	for _, got := range [][]string{f.loaded, seen} {
		slices.Sort(got)
		if len(got) != 23 || len(slices.Compact(got)) != 23 {
			t.Errorf("%d users, some of them twice: %v", len(got), got)
		}
	}
	if slices.Max(f.batches) > 4 {
		t.Errorf("a batch of %d, the target takes 4", slices.Max(f.batches))
	}
	if diff := cmp.Diff(map[string]int{"check": 1, "load": 6, "finish": 1}, f.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestDryRunOnlyAsks(t *testing.T) {
	t.Parallel()
	f := newFake()
	res, err := Run(t.Context(), people(9), f, Options{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if f.calls["load"]+f.calls["finish"] > 0 || f.calls["plan"] == 0 {
		t.Errorf("calls %v", f.calls)
	}
	if res.Summary.Created != 9 || !res.DryRun {
		t.Errorf("result %+v", res)
	}
}

func TestRefusedBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.check = diag.List{{Code: "x.y", Summary: "no"}}
	res, err := Run(t.Context(), people(9), f, Options{})
	if !errors.Is(err, ErrRefused) || f.calls["load"] != 0 || len(res.Diagnostics) != 1 {
		t.Errorf("error %v, calls %v, diagnostics %v", err, f.calls, res.Diagnostics)
	}
}

func TestCollisionsAreRejectedNotDecidedByTheTarget(t *testing.T) {
	t.Parallel()
	shared, upper := "same@example.org", "SAME@example.org"
	at := func(ms int64) time.Time { return time.UnixMilli(ms) }
	hash := canonical.ParsePasswordHash("$2a$11$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm")
	src := listed{
		{InternalID: "a-older", ID: "a", TimeJoined: at(1), Logins: []canonical.Login{{ID: "a-older", Email: &shared}}},
		{InternalID: "b-password", ID: "b", TimeJoined: at(5), Logins: []canonical.Login{{ID: "b-password", Email: &upper, Password: hash}}},
		{InternalID: "c-password", ID: "c", TimeJoined: at(3), Logins: []canonical.Login{{ID: "c-password", Email: &shared, Password: hash}}},
		{InternalID: "d-id", ID: "c", TimeJoined: at(9)},
	}
	f := newFake()
	f.caps.Hashes = []pluginapi.HashSupport{{Scheme: canonical.Bcrypt}}
	codes := map[string]diag.Code{}
	res, err := Run(t.Context(), src, f, Options{Outcome: func(c pluginapi.Change) { codes[c.SourceID] = c.Code }})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]diag.Code{"a-older": diag.MapDuplicateUsername, "b-password": diag.MapDuplicateUsername, "c-password": "", "d-id": diag.MapDuplicateID}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if res.Summary.Rejected != 3 || res.Summary.Created != 1 {
		t.Errorf("summary %+v", res.Summary)
	}
}

// Whether letter case tells identifiers apart is the target's to say.
func TestCollisionsFollowTheTargetsLetterCase(t *testing.T) {
	t.Parallel()
	lower, upper := "same@example.org", "Same@example.org"
	src := listed{
		{InternalID: "1", ID: "id", Logins: []canonical.Login{{ID: "1", Email: &lower}}},
		{InternalID: "2", ID: "ID", Logins: []canonical.Login{{ID: "2", Email: &upper}}},
		{InternalID: "3", ID: "other"},
	}
	all := func(folds bool) map[pluginapi.Identifier]bool {
		return map[pluginapi.Identifier]bool{pluginapi.IdentifierID: folds, pluginapi.IdentifierUsername: folds, pluginapi.IdentifierEmail: folds}
	}
	for name, tt := range map[string]struct {
		folds map[pluginapi.Identifier]bool
		want  diag.Code
	}{
		"nothing declared":     {nil, diag.MapDuplicateUsername},
		"everything folded":    {all(true), diag.MapDuplicateID},
		"nothing folded":       {all(false), ""},
		"only names exact":     {map[pluginapi.Identifier]bool{pluginapi.IdentifierUsername: false}, diag.MapDuplicateEmail},
		"only addresses exact": {map[pluginapi.Identifier]bool{pluginapi.IdentifierEmail: false}, diag.MapDuplicateUsername},
	} {
		f := newFake()
		f.caps.FoldsCase = tt.folds
		codes := map[string]diag.Code{}
		_, err := Run(t.Context(), src, f, Options{Outcome: func(c pluginapi.Change) { codes[c.SourceID] = c.Code }})
		if diff := cmp.Diff(map[string]diag.Code{"1": "", "2": tt.want, "3": ""}, codes); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// Nobody is mailed beyond the limit: the run stops before the first write.
func TestMailLimit(t *testing.T) {
	t.Parallel()
	src := people(20)
	for i := range src {
		src[i].Logins[0].Verified = new(i >= 4) // four have not proven theirs
	}
	for i := range 2 { // one of them unverified, one not
		src[3+i].Logins[0].Password = canonical.ParsePasswordHash("unknown")
	}
	src[19].Logins[0].Email = nil // nobody can mail this one
	for name, tt := range map[string]struct {
		mails []pluginapi.Mailing
		want  int
	}{
		"nobody":      {nil, 0},
		"created":     {[]pluginapi.Mailing{pluginapi.MailsCreated}, 19},
		"unverified":  {[]pluginapi.Mailing{pluginapi.MailsUnverified}, 4},
		"reset":       {[]pluginapi.Mailing{pluginapi.MailsReset}, 2},
		"one for two": {[]pluginapi.Mailing{pluginapi.MailsUnverified, pluginapi.MailsReset}, 5},
		"the unknown": {[]pluginapi.Mailing{"sometimes"}, 0},
	} {
		run := func(dry bool, limit policy.Limit) (*Result, map[string]int, error) {
			f := newFake()
			f.caps.Carries, f.mails = []pluginapi.Feature{pluginapi.CarriesEmailVerified}, tt.mails
			res, err := Run(t.Context(), src, f, Options{DryRun: dry, Policies: policy.Policies{Limits: policy.Limits{Mails: limit}}})
			return res, f.calls, err
		}
		warned := func(r *Result) bool {
			return slices.ContainsFunc(r.Diagnostics, func(d diag.Diagnostic) bool { return d.Code == diag.RunMails && d.Severity == diag.Warning })
		}
		if res, _, err := run(true, policy.Limit{}); err != nil || res.Mailed != tt.want || warned(res) != (tt.want > 0) {
			t.Errorf("%s: %d people would be mailed, want %d; %v, %v", name, res.Mailed, tt.want, res.Diagnostics, err)
		}
		if _, calls, err := run(false, policy.Limit{Set: true, Count: tt.want}); err != nil || calls["load"] == 0 {
			t.Errorf("%s, within the limit: %v", name, err)
		}
		for _, limit := range []policy.Limit{{Set: true, Count: tt.want - 1}, {Set: true, Percent: 5 * (float64(tt.want) - .5)}} {
			if _, calls, err := run(false, limit); tt.want > 0 && (!errors.Is(err, ErrLimit) || calls["load"] > 0) {
				t.Errorf("%s, beyond %+v: %v, %v", name, limit, err, calls)
			}
		}
	}
}

// Who is there already is not mailed again.
func TestMailsAreForNewAccounts(t *testing.T) {
	t.Parallel()
	p, f := newProject(t), newFake()
	f.mails = []pluginapi.Mailing{pluginapi.MailsCreated}
	if res, _, err := p.do(people(9), f, nil); err != nil || res.Mailed != 9 {
		t.Errorf("a first run mails %d, %v", res.Mailed, err)
	}
	none := func(o *Options) { o.Policies.Limits.Mails = policy.Limit{Set: true} }
	if res, _, err := p.do(people(9), f, none); err != nil || res.Mailed != 0 {
		t.Errorf("a second run mails %d, %v", res.Mailed, err)
	}
	if res, _, err := p.do(people(12), f, none); !errors.Is(err, ErrLimit) || res.Mailed != 3 {
		t.Errorf("a run with three new accounts mails %d, %v", res.Mailed, err)
	}
}

// What is there as it should be asks nothing of the target any more, and counts for no
// limit.
func TestNeedsAreOfAccountsThatAreSent(t *testing.T) {
	t.Parallel()
	with := func(n int) listed {
		all := people(n)
		for i := range all {
			all[i].Logins[0].Password = canonical.ParsePasswordHash("$2a$11$0123456789012345678901234567890123456789012345678901")
			all[i].Roles = map[string][]string{"public": {fmt.Sprintf("role%d", i)}}
		}
		return all
	}
	p, f := newProject(t), newFake()
	f.caps.Carries = pluginapi.Features()
	if _, _, err := p.do(with(3), f, nil); err != nil || f.needs.Users != 3 || f.needs.Resets != 3 {
		t.Errorf("a first run needs %+v, %v", f.needs, err)
	}
	one := func(o *Options) { o.Policies.Limits.Resets = policy.Limit{Set: true, Count: 1} }
	if _, _, err := p.do(with(4), f, one); err != nil || f.needs.Users != 1 || f.needs.Resets != 1 || !slices.Equal(f.needs.Roles, []string{"role3"}) {
		t.Errorf("a run with one new account needs %+v, %v", f.needs, err)
	}
	if _, _, err := p.do(with(6), f, one); !errors.Is(err, ErrLimit) || f.needs.Resets != 2 {
		t.Errorf("a run with two new accounts needs %+v, %v", f.needs, err)
	}
	plan := func(o *Options) { o.DryRun = true }
	if _, _, err := p.do(with(6), f, plan); err != nil || f.needs.Users != 2 {
		t.Errorf("a plan for two new accounts needs %+v, %v", f.needs, err)
	}
}

// A refusal of the target is a reject, whatever is in the target under the same name: it
// is not taken for an account that was there and is moved.
func TestRefusalIsNotTakenForAnAccountThatIsThere(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.load = func(users []pluginapi.User) ([]pluginapi.Outcome, error) {
		var out []pluginapi.Outcome
		for _, u := range users {
			out = append(out, pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.Rejected, Code: diag.LoadTargetRefused, Detail: "422 the password is too weak", TargetID: "theirs"})
		}
		return out, nil
	}
	res, err := Run(t.Context(), people(3), f, Options{Policies: policy.Policies{Adopt: true, OverwriteDrift: true}})
	if err != nil || res.Summary != (pluginapi.Summary{Read: 3, Rejected: 3}) || res.Reasons[diag.LoadTargetRefused] != 3 || f.calls["load"] != 1 {
		t.Errorf("%+v, %v, %v", res.Summary, err, f.calls)
	}
}

func TestAcceptedReasonsAreSkips(t *testing.T) {
	t.Parallel()
	same := "same@example.org"
	src := listed{
		{InternalID: "a", ID: "a", Logins: []canonical.Login{{ID: "a", Email: &same}}},
		{InternalID: "b", ID: "b", Logins: []canonical.Login{{ID: "b", Email: &same}}},
	}
	res, err := Run(t.Context(), src, newFake(), Options{Policies: policy.Policies{Skip: []diag.Code{diag.MapDuplicateUsername}}})
	if err != nil || res.Summary != (pluginapi.Summary{Read: 2, Created: 1, Skipped: 1}) || res.Reasons[diag.MapDuplicateUsername] != 1 {
		t.Errorf("error %v, result %+v", err, res)
	}
}

func TestFailedBatchIsInDoubtAndStopsTheRun(t *testing.T) {
	t.Parallel()
	f := newFake()
	dead := errors.New("the plugin died")
	f.load = func(users []pluginapi.User) ([]pluginapi.Outcome, error) {
		var out []pluginapi.Outcome
		for _, u := range users {
			out = append(out, pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.InDoubt, Code: "plugin.crash"})
		}
		return out, dead
	}
	res, err := Run(t.Context(), people(100), f, Options{})
	if !errors.Is(err, dead) {
		t.Fatalf("error %v", err)
	}
	s := res.Summary
	if s.InDoubt != s.Read || s.Read == 0 || s.Read == 100 || f.calls["finish"] != 0 {
		t.Errorf("summary %+v, calls %v", s, f.calls)
	}
}

func TestFailedFinishCountsNothingAsLoaded(t *testing.T) {
	t.Parallel()
	for whole, want := range map[bool]pluginapi.Summary{true: {Read: 5, Rejected: 5}, false: {Read: 5, InDoubt: 5}} {
		f := newFake()
		f.caps.Whole, f.finish = whole, errors.New("disk full")
		res, err := Run(t.Context(), people(5), f, Options{})
		if !errors.Is(err, ErrNotCommitted) || res.Summary != want {
			t.Errorf("written as a whole %v: error %v, summary %+v", whole, err, res.Summary)
		}
	}
}

func TestOutcomesThatDoNotAddUpFailTheRun(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.load = func(users []pluginapi.User) ([]pluginapi.Outcome, error) {
		return []pluginapi.Outcome{{SourceID: users[0].SourceID, Action: pluginapi.Created}}, nil
	}
	if _, err := Run(t.Context(), people(5), f, Options{}); !errors.Is(err, ErrUnbalanced) {
		t.Errorf("error %v", err)
	}
}

func TestCancelledRunStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	f := newFake()
	f.load = func(users []pluginapi.User) ([]pluginapi.Outcome, error) {
		cancel(stop)
		var out []pluginapi.Outcome
		for _, u := range users {
			out = append(out, pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.Created})
		}
		return out, nil
	}
	res, err := Run(ctx, people(1000), f, Options{})
	if !errors.Is(err, stop) || res.Summary.Read >= 1000 || res.Summary.Read != res.Summary.Accounted() {
		t.Errorf("error %v, summary %+v", err, res.Summary)
	}
}
