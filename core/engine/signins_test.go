package engine

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
	"github.com/stetl/stetl/core/signin"
)

// resetting is a target at which people without a password get one after a mail, if that
// is switched on.
func resetting(state pluginapi.Switch) *idp {
	dst := newIDP()
	dst.caps.Abilities = append(dst.caps.Abilities, pluginapi.CanCheck)
	dst.caps.Carries = []pluginapi.Feature{pluginapi.CarriesPhone}
	dst.caps.SignIns = []pluginapi.SignIn{{Way: pluginapi.SignInPassword}, {Way: pluginapi.SignInEmailReset}}
	dst.signIns = []pluginapi.SignIn{{Way: pluginapi.SignInEmailReset, State: state}}
	return dst
}

// callers are people who have a number and nothing else, after others.
func callers(others, n int) listed {
	src := people(others + n)
	for i := range n {
		phone := "+3620123456" + id(i)[4:]
		l := &src[others+i].Logins[0]
		l.Recipe, l.Email, l.Phone = canonical.Passwordless, nil, &phone
	}
	return src
}

// Who has no way to sign in is counted before the first write, in a plan and in every run,
// also in one that has nothing to do; the journal knows what everybody brings.
func TestPeopleWithoutAnyWayToSignIn(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), resetting(pluginapi.SwitchOff), callers(3, 2)
	want := &signin.Stranded{
		Accounts: 5, Bring: map[string]int{"email": 3, "phone": 2},
		SwitchOn: []signin.Remedy{{Way: pluginapi.SignInEmailReset, Accounts: 3}},
	}
	for _, step := range []struct {
		name   string
		change func(*Options)
	}{
		{"plan", func(o *Options) { o.DryRun = true }},
		{"first run", nil},
		{"second run", nil},
		{"plan afterwards", func(o *Options) { o.DryRun = true }},
	} {
		res, _, err := p.do(src, dst, step.change)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(want, res.Stranded); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		if n := len(res.Diagnostics); n != 1 || res.Diagnostics[0].Code != diag.RunStranded || !strings.Contains(res.Diagnostics[0].Hint, "3 of them can sign in") {
			t.Errorf("%s: %v", step.name, res.Diagnostics)
		}
	}
	p.with(func(s *journal.Scope, _ Options) {
		brings := map[string]int{}
		for e, err := range s.Accounts(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			brings[e.SignIn]++
		}
		if diff := cmp.Diff(want.Bring, brings); diff != "" {
			t.Errorf("in the journal (-want +got):\n%s", diff)
		}
	})
}

func TestStrandedPeopleAreALimit(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), resetting(pluginapi.SwitchOff), callers(3, 2)
	_, _, err := p.do(src, dst, func(o *Options) { o.Policies.Limits.Stranded = policy.Limit{Set: true, Count: 4} })
	if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "5 people would have no way to sign in") || dst.writes > 0 {
		t.Errorf("%v, %d writes", err, dst.writes)
	}
	dst.signIns[0].State = pluginapi.SwitchOn
	res, _, err := p.do(src, dst, func(o *Options) { o.Policies.Limits.Stranded = policy.Limit{Set: true, Count: 2} })
	if err != nil || res.strandedCount() != 2 {
		t.Errorf("%v, %+v", err, res.Stranded)
	}
}

// Nothing is said where nobody knows: a way that no check has seen, a plugin that declares
// none.
func TestNobodyIsStrandedByGuess(t *testing.T) {
	t.Parallel()
	dst, src := resetting(pluginapi.SwitchUnknown), callers(3, 2)
	var told map[string][]signin.Way
	tell := Options{DryRun: true, SignIn: func(id string, ways []signin.Way) { told[id] = ways }}
	for _, tt := range []struct {
		name     string
		declared []pluginapi.SignIn
		want     int
	}{{"a way that nobody has looked at", dst.caps.SignIns, 2}, {"none declared", nil, 0}} {
		told = map[string][]signin.Way{}
		dst.caps.SignIns = tt.declared
		res, err := Run(t.Context(), src, dst, tell)
		if err != nil || res.strandedCount() != tt.want || (res.Stranded == nil) != (tt.declared == nil) {
			t.Errorf("%s: %+v, %v", tt.name, res.Stranded, err)
		}
		if tt.declared == nil {
			if len(told) > 0 {
				t.Errorf("%s: %v", tt.name, told)
			}
			continue
		}
		if len(told) != 5 || !signin.None(told[id(4)]) || signin.None(told[id(0)]) {
			t.Errorf("%s: %v", tt.name, told)
		}
	}
}

// Who is there already stays counted, whatever becomes of an update: a run, and the list of
// the stranded, which is made of the journal, say the same.
func TestRefusedUpdatesLeaveNobodyOut(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), resetting(pluginapi.SwitchOff), people(4)
	if _, _, err := p.do(src, dst, nil); err != nil {
		t.Fatal(err)
	}
	dst.accounts[id(1)] = "x other@example.org "
	res, seen, err := p.do(rename(src, 1, "new@example.org"), dst, nil) // drift, which is left
	if err != nil || seen[id(1)].Code != diag.LoadDrift || res.strandedCount() != 4 {
		t.Errorf("drift: %+v, %v", res.Stranded, err)
	}
	taken := &unique{dst}
	dst.accounts[id(1)] = "user1@example.org user1@example.org "
	dst.accounts["theirs"] = "x theirs@example.org "
	res, seen, err = p.do(rename(src, 1, "theirs@example.org"), taken, nil)
	if err != nil || seen[id(1)].Code != diag.LoadEmailConflict || res.strandedCount() != 4 {
		t.Errorf("a refused update: %+v, %v, %+v", res.Stranded, err, seen[id(1)])
	}
}

// Who did not come into the target is a reject, and no stranded person.
func TestRejectedPeopleAreNotStranded(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.caps.SignIns = []pluginapi.SignIn{{Way: pluginapi.SignInPassword}}
	f.load = func(users []pluginapi.User) (out []pluginapi.Outcome, _ error) {
		for _, u := range users {
			o := pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.Created}
			switch u.SourceID {
			case id(1):
				o.Action, o.Code = pluginapi.Rejected, diag.LoadIDInvalid
			case id(2):
				o.Action, o.Code = pluginapi.Skipped, diag.LoadExistsDiffers
			case id(3):
				o.Action, o.Code = pluginapi.InDoubt, diag.LoadUnknownAnswer
			}
			out = append(out, o)
		}
		return out, nil
	}
	res, err := Run(t.Context(), people(6), f, Options{})
	if err != nil || res.strandedCount() != 4 {
		t.Errorf("%+v, %v", res.Stranded, err)
	}
}
