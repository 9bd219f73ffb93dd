package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// A person who has gone is "off " in the target of these tests, before what the account
// was; one that gives its address free has another one.
const (
	offMark = "off "
	freed   = "off gone gone@gone.invalid "
)

// disabling is a target that switches accounts off and has no address twice.
func disabling() *idp {
	dst := newIDP()
	dst.caps.Abilities = append(dst.caps.Abilities, pluginapi.CanDisable)
	dst.once = true
	return dst
}

// followed runs once with a policy. The limit is wide, and the reading shows who has gone.
func (p *project) followed(src Source, dst Target, g policy.Gone, change func(*Options)) (*Result, map[string]pluginapi.Change, error) {
	p.t.Helper()
	return p.do(src, dst, func(o *Options) {
		o.Policies.Gone = g
		o.Policies.Limits.Gone = policy.Limit{Set: true, Count: 1000}
		o.Departures = &Departures{
			Unproven:    func() (diag.Code, string) { return "", "" },
			SameReading: func(int64) bool { return true },
		}
		if change != nil {
			change(o)
		}
	})
}

// later is a time at which what was switched off is to be deleted.
func later(o *Options) {
	o.Departures.Now = func() time.Time { return time.Now().Add(8 * 24 * time.Hour) }
}

func disabledIn(dst *idp) (ids []string) {
	for id, a := range dst.snapshot() {
		if strings.HasPrefix(a, offMark) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// loaded is a target with n people that a run has made, and the people.
func loaded(t *testing.T, n int) (*project, *idp, listed) {
	t.Helper()
	p, dst, src := newProject(t), disabling(), people(n)
	if res, _, err := p.do(src, dst, nil); err != nil || res.Summary.Created != n {
		t.Fatalf("%+v, %v", res.Summary, err)
	}
	return p, dst, src
}

func TestGoneAreSwitchedOffAndDeletedLater(t *testing.T) {
	t.Parallel()
	p, dst, src := loaded(t, 20)
	dst.accounts["by hand"] = "by-hand by@hand.example Hand"
	before := dst.snapshot()
	left := src[7:]
	plan, _, err := p.followed(left, dst, policy.GoneDelete, func(o *Options) { o.DryRun = true })
	if err != nil || plan.Gone.Disabled != 7 || len(disabledIn(dst)) != 0 {
		t.Fatalf("the plan: %+v, %v; %v are off", plan.Gone, err, disabledIn(dst))
	}
	first, _, err := p.followed(left, dst, policy.GoneDelete, nil)
	if err != nil || first.Gone.Disabled != 7 || first.Gone.Deleted != 0 || len(disabledIn(dst)) != 7 || len(dst.accounts) != 21 {
		t.Fatalf("the first run: %+v, %v; %v are off of %d", first.Gone, err, disabledIn(dst), len(dst.accounts))
	}
	again, _, err := p.followed(left, dst, policy.GoneDelete, nil)
	if err != nil || again.Gone.Disabled+again.Gone.Deleted != 0 || again.Gone.Waiting != 7 {
		t.Errorf("a run soon after: %+v, %v", again.Gone, err)
	}
	planned, _, err := p.followed(left, dst, policy.GoneDelete, func(o *Options) { later(o); o.DryRun = true })
	if err != nil || planned.Gone.Deleted != 7 || len(dst.accounts) != 21 {
		t.Errorf("a plan a week later: %+v, %v", planned.Gone, err)
	}
	last, _, err := p.followed(left, dst, policy.GoneDelete, later)
	if err != nil || last.Gone.Deleted != 7 || len(dst.accounts) != 14 || dst.accounts["by hand"] != before["by hand"] {
		t.Errorf("a run a week later: %+v, %v, %d accounts", last.Gone, err, len(dst.accounts))
	}
	end, _, err := p.followed(left, dst, policy.GoneDelete, later)
	if err != nil || len(end.Removed) != 0 || end.Gone.Deleted != 0 {
		t.Errorf("afterwards: %+v, %v, %v", end.Gone, end.Removed, err)
	}
}

// Without a number, a policy that follows people who have gone stops before the first
// write.
func TestGoneNeedALimit(t *testing.T) {
	t.Parallel()
	p, dst, src := loaded(t, 10)
	writes := dst.writes
	unset := func(o *Options) { o.Policies.Limits.Gone = policy.Limit{} }
	if _, _, err := p.followed(src[1:], dst, policy.GoneDisable, unset); !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "limits.gone") || dst.writes != writes {
		t.Errorf("one has gone, and no number is said: %v, %d writes", err, dst.writes-writes)
	}
	if _, _, err := p.followed(src[3:], dst, policy.GoneDisable, func(o *Options) { o.Policies.Limits.Gone.Count = 2 }); !errors.Is(err, ErrLimit) || dst.writes != writes {
		t.Errorf("three have gone, two may: %v", err)
	}
	// Whom somebody has touched stays anyway, and counts for no limit.
	dst.accounts[id(0)] = "touched"
	res, _, err := p.followed(src[3:], dst, policy.GoneDisable, func(o *Options) { o.Policies.Limits.Gone.Count = 2 })
	if err != nil || res.Gone.Disabled != 2 || res.Gone.Kept[diag.LoadMoved] != 1 {
		t.Errorf("three have gone, one was touched: %+v, %v", res.Gone, err)
	}
	if res, _, err := p.followed(src[3:], dst, "", unset); err != nil || res.Gone != nil {
		t.Errorf("nobody follows: %+v, %v", res.Gone, err)
	}
}

// Each rule has an account go but for the rule.
func TestGoneNever(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		prepare func(dst *idp, src listed) listed // returns who is left
		options func(*Options)
		code    diag.Code // of the account, or of all
		all     bool
	}{
		"a reading that is not whole": {options: func(o *Options) {
			o.Departures.Unproven = func() (diag.Code, string) { return diag.GoneIncomplete, "it is not whole" }
		}, code: diag.GoneIncomplete, all: true},
		"an older dump": {options: func(o *Options) {
			o.Departures.Unproven = func() (diag.Code, string) { return diag.GoneOlderDump, "it is older" }
		}, code: diag.GoneOlderDump, all: true},
		"a part": {options: func(o *Options) { o.Part = Only("--user", map[string]bool{id(5): true}) }, code: diag.GonePart, all: true},
		"a part that a plan is about": {options: func(o *Options) {
			o.Plan = NewPlan("public", "idp", nil, nil)
			o.Plan.Part = "--user"
		}, code: diag.GonePart, all: true},
		"a plan that does not say so": {options: func(o *Options) { o.Plan = NewPlan("public", "idp", nil, nil) }, code: diag.PlanNotPlanned},
		"another reading":             {options: func(o *Options) { o.Departures.SameReading = func(run int64) bool { return run != 1 } }, code: diag.GoneOtherReading},
		"a login of another account": {prepare: func(_ *idp, src listed) listed {
			left := slices.Clone(src[1:])
			left[3].Logins = append(slices.Clone(left[3].Logins), canonical.Login{ID: id(0), Recipe: canonical.ThirdParty, Identity: &canonical.Identity{Provider: "google", Subject: "1"}})
			return left
		}, code: diag.GoneLinked},
		"touched since": {prepare: func(dst *idp, src listed) listed {
			dst.accounts[id(0)] = "somebody else"
			return src[1:]
		}, code: diag.LoadMoved},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, dst, src := loaded(t, 10)
			left := src[1:]
			if tt.prepare != nil {
				left = tt.prepare(dst, src)
			}
			for _, dry := range []bool{true, false} {
				before := dst.snapshot()[id(0)]
				res, _, err := p.followed(left, dst, policy.GoneDisable, func(o *Options) {
					o.DryRun = dry
					if tt.options != nil {
						tt.options(o)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				if got := dst.snapshot()[id(0)]; got != before || res.Gone.Disabled+res.Gone.Deleted != 0 {
					t.Errorf("it went: %q, %+v", got, res.Gone)
				}
				if tt.all && res.Gone.Withheld != tt.code || !tt.all && (res.Gone.Kept[tt.code] != 1 || res.Gone.Accounts[0].SourceID != id(0)) {
					t.Errorf("dry %v: %+v, want %s", dry, res.Gone, tt.code)
				}
			}
			// But for the rule, it would have gone.
			if tt.prepare == nil {
				if res, _, err := p.followed(left, dst, policy.GoneDisable, nil); err != nil || res.Gone.Disabled != 1 {
					t.Errorf("without the rule: %+v, %v", res.Gone, err)
				}
			}
		})
	}
}

// An account that runs have adopted is none that they have made.
func TestGoneAdoptedStay(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), disabling(), people(3)
	dst.accounts[id(0)] = "old old@example.com Old"
	if _, _, err := p.do(src, dst, func(o *Options) { o.Policies.Adopt = true }); err != nil {
		t.Fatal(err)
	}
	res, _, err := p.followed(src[1:], dst, policy.GoneDisable, nil)
	if err != nil || res.Gone.Kept[diag.GoneNotMade] != 1 || len(disabledIn(dst)) != 0 {
		t.Errorf("%+v, %v", res.Gone, err)
	}
}

// A target that cannot switch accounts off says so before anything is written.
func TestGoneUnable(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(3)
	res, _, err := p.followed(src, dst, policy.GoneDisable, nil)
	if !errors.Is(err, ErrRefused) || len(dst.accounts) != 0 || len(res.Diagnostics) != 1 || res.Diagnostics[0].Code != diag.GoneUnable {
		t.Errorf("%v, %v", err, res.Diagnostics)
	}
}

// Who registers again with the same address gets in, in the run that switches the account
// of before off, and in a later one; a plan says so.
func TestGoneGiveTheirAddressFree(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"in the same run", "later"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			p, dst, src := loaded(t, 10)
			newcomer := people(11)[10]
			newcomer.Logins = slices.Clone(newcomer.Logins)
			newcomer.Logins[0].Email = src[0].Logins[0].Email
			left := append(slices.Clone(src[2:]), newcomer)
			if when == "later" {
				if res, _, err := p.followed(src[2:], dst, policy.GoneDelete, nil); err != nil || res.Gone.Disabled != 2 {
					t.Fatalf("%+v, %v", res.Gone, err)
				}
			}
			old, _, err := p.followed(left, dst, "", func(o *Options) { o.DryRun = true })
			if err != nil || old.Summary.Rejected != 1 {
				t.Fatalf("where nobody follows: %+v, %v", old.Summary, err)
			}
			plan, _, err := p.followed(left, dst, policy.GoneDelete, func(o *Options) { o.DryRun = true })
			if err != nil || plan.Summary.Created != 1 || plan.Gone.Kept[diag.GoneRegisteredAgain] != 1 {
				t.Errorf("the plan: %+v, %+v, %v", plan.Summary, plan.Gone, err)
			}
			res, _, err := p.followed(left, dst, policy.GoneDelete, nil)
			if err != nil || res.Summary != plan.Summary || res.Gone.Disabled != plan.Gone.Disabled || res.Gone.Waiting != plan.Gone.Waiting || res.Gone.Kept[diag.GoneRegisteredAgain] != 1 {
				t.Errorf("the run: %+v, %+v, %v", res.Summary, res.Gone, err)
			}
			if got := dst.accounts[id(0)]; !strings.HasPrefix(got, freed) || !strings.Contains(dst.accounts[id(10)], *newcomer.Logins[0].Email) {
				t.Errorf("the account of before is %q, the new one %q", got, dst.accounts[id(10)])
			}
			last, _, err := p.followed(left, dst, policy.GoneDelete, later)
			if err != nil || last.Gone.Deleted != 1 || last.Gone.Kept[diag.GoneRegisteredAgain] != 1 || len(dst.accounts) != 10 {
				t.Errorf("a week later: %+v, %v, %d accounts", last.Gone, err, len(dst.accounts))
			}
		})
	}
}

// Whoever is in the source again gets the account of before, as it was, and as the source
// has it by now.
func TestGoneComeBack(t *testing.T) {
	t.Parallel()
	p, dst, src := loaded(t, 5)
	before := dst.snapshot()
	if _, _, err := p.followed(src[2:], dst, policy.GoneDisable, nil); err != nil {
		t.Fatal(err)
	}
	if res, _, err := p.followed(src, dst, policy.GoneDisable, nil); err != nil || res.Gone.Back != 2 || res.Summary.Updated != 2 || len(disabledIn(dst)) != 0 {
		t.Errorf("%+v, %+v, %v", res.Gone, res.Summary, err)
	}
	for id, was := range before {
		if dst.accounts[id] != was {
			t.Errorf("%s is %q, was %q", id, dst.accounts[id], was)
		}
	}
	// They are people like all others from there on.
	if res, _, err := p.followed(src[2:], dst, policy.GoneDisable, nil); err != nil || res.Gone.Disabled != 2 {
		t.Errorf("gone once more: %+v, %v", res.Gone, err)
	}
}

// An undo of what runs have switched off brings back everybody whom nobody has touched
// since, and says first whom it cannot.
func TestGoneReturn(t *testing.T) {
	t.Parallel()
	p, dst, src := loaded(t, 6)
	before := dst.snapshot()
	if _, _, err := p.followed(src[3:], dst, policy.GoneDisable, nil); err != nil {
		t.Fatal(err)
	}
	dst.accounts[id(2)] = "touched"
	for _, dry := range []bool{true, false} {
		p.with(func(s *journal.Scope, _ Options) {
			var kept []pluginapi.Outcome
			u, err := Return(context.Background(), s, dst, dry, UndoOptions{Report: func(o pluginapi.Outcome) {
				if o.Code != "" {
					kept = append(kept, o)
				}
			}})
			if err != nil || u.Restored != 2 || u.Disabled != 3 || len(kept) != 1 || kept[0].SourceID != id(2) {
				t.Errorf("dry %v: %+v, %v, %v", dry, u, kept, err)
			}
		})
		if off := len(disabledIn(dst)); dry && off != 2 || !dry && off != 0 {
			t.Errorf("dry %v: %d are off", dry, off)
		}
	}
	if dst.accounts[id(0)] != before[id(0)] || dst.accounts[id(1)] != before[id(1)] {
		t.Errorf("%q, %q", dst.accounts[id(0)], dst.accounts[id(1)])
	}
	// An undo of everything finds them as runs have made them.
	p.with(func(s *journal.Scope, _ Options) {
		if u, err := Undo(context.Background(), s, dst, UndoOptions{}); err != nil || u.Deleted != 5 || u.Kept[diag.LoadMoved] != 1 {
			t.Errorf("%+v, %v", u, err)
		}
	})
}

// A run that is killed while it switches accounts off is taken up by the next one: what it
// did is no stranger's doing.
func TestGoneAfterAKill(t *testing.T) {
	t.Parallel()
	p, dst, src := loaded(t, 8)
	killedWhile(t, func() { _, _, _ = p.followed(src[3:], &killed{idp: dst}, policy.GoneDisable, nil) })
	if len(disabledIn(dst)) != 3 {
		t.Fatalf("%v are off", disabledIn(dst))
	}
	res, _, err := p.followed(src[3:], dst, policy.GoneDisable, nil)
	if err != nil || res.Gone.Disabled != 3 || len(res.Gone.Kept) != 0 {
		t.Errorf("%+v, %v", res.Gone, err)
	}
	if res, _, err := p.followed(src, dst, policy.GoneDisable, nil); err != nil || res.Gone.Back != 3 || len(disabledIn(dst)) != 0 {
		t.Errorf("afterwards they come back: %+v, %v", res.Gone, err)
	}
}

// killed is gone as soon as it has switched accounts off; with early, just before it does,
// and with the others, as soon as it does these things.
type killed struct {
	*idp
	early, releasing, deleting bool
}

func (k *killed) Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error) {
	a := &accounts[0]
	now := !a.DryRun && a.Release == k.releasing && a.Disable == !k.deleting
	if !now {
		return k.idp.Undo(ctx, accounts)
	}
	if !k.early {
		_, _ = k.idp.Undo(ctx, accounts)
	}
	if k.releasing { // there are other goroutines, and no answer is as good as a kill
		return nil, errKilled
	}
	panic(errKilled)
}

// killedWhile does what is to be interrupted.
func killedWhile(t *testing.T, do func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("nothing was interrupted")
		}
	}()
	do()
}

// A run that executes a plan does what the plan has said of people who have gone.
func TestGoneAsPlanned(t *testing.T) {
	t.Parallel()
	p, dst, src := loaded(t, 6)
	plan := NewPlan("public", "idp", nil, nil)
	said, _, err := p.followed(src[2:], dst, policy.GoneDisable, func(o *Options) { o.DryRun = true })
	if err != nil {
		t.Fatal(err)
	}
	said.Gone.Into(plan)
	res, _, err := p.followed(src[3:], dst, policy.GoneDisable, func(o *Options) { o.Plan = plan })
	if err != nil || res.Gone.Disabled != 2 || res.Gone.Kept[diag.PlanNotPlanned] != 1 || len(disabledIn(dst)) != 2 {
		t.Errorf("%+v, %v", res.Gone, err)
	}
}

// returned undoes what runs have switched off, and says what became of each account that
// stays.
func (p *project) returned(dst Undoer, dry bool) (u *Undoing, kept map[string]pluginapi.Outcome) {
	p.t.Helper()
	kept = map[string]pluginapi.Outcome{}
	p.with(func(s *journal.Scope, _ Options) {
		var err error
		u, err = Return(context.Background(), s, dst, dry, UndoOptions{Report: func(o pluginapi.Outcome) {
			if o.Code != "" {
				kept[o.SourceID] = o
			}
		}})
		if err != nil {
			p.t.Error(err)
		}
	})
	return u, kept
}

// again is the first person of src, who has registered once more.
func again(src listed) canonical.User {
	newcomer := people(len(src) + 1)[len(src)]
	newcomer.Logins = slices.Clone(newcomer.Logins)
	newcomer.Logins[0].Email = src[0].Logins[0].Email
	return newcomer
}

// An undo after people have registered again takes their new accounts back first, so that
// those of before get back what they had; where one stays, the other does, with the reason.
func TestGoneReturnInThePlaceOfOthers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(p *project, dst *idp, left listed)
		code   diag.Code // of the account of before, for a reason of its own
		why    string    // why the new one stays
	}{
		"nobody has touched it": {},
		"touched before":        {change: func(_ *project, dst *idp, _ listed) { dst.accounts[id(0)] += " touched" }, code: diag.LoadMoved},
		"touched":               {change: func(_ *project, dst *idp, _ listed) { dst.accounts[id(10)] += " touched" }, why: string(diag.LoadMoved)},
		"gone as well": {change: func(p *project, dst *idp, left listed) {
			if res, _, err := p.followed(left[:8], dst, policy.GoneDisable, nil); err != nil || res.Gone.Disabled != 1 {
				p.t.Fatalf("%+v, %v", res.Gone, err)
			}
		}, why: "has gone from the source as well"},
		"gone from the target": {change: func(_ *project, dst *idp, _ listed) { delete(dst.accounts, id(10)) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, dst, src := loaded(t, 10)
			before := dst.snapshot()
			left := append(slices.Clone(src[2:]), again(src))
			if res, _, err := p.followed(left, dst, policy.GoneDisable, nil); err != nil || res.Summary.Created != 1 {
				t.Fatalf("%+v, %v", res.Summary, err)
			}
			if tt.change != nil {
				tt.change(p, dst, left)
			}
			then := dst.snapshot()
			for _, dry := range []bool{true, false} {
				u, kept := p.returned(dst, dry)
				if tt.code != "" {
					if kept[id(0)].Code != tt.code || u.Deleted != 0 {
						t.Errorf("dry %v: %+v, %+v", dry, u, kept)
					}
				} else if tt.why == "" {
					if u.Restored != 2 || u.Deleted+u.Gone != 1 || len(kept) != 0 {
						t.Errorf("dry %v: %+v, %v", dry, u, kept)
					}
				} else if o := kept[id(0)]; u.Deleted != 0 || o.Code != diag.GoneRegisteredAgain || !strings.Contains(o.Detail, id(10)) || !strings.Contains(o.Detail, tt.why) {
					t.Errorf("dry %v: %+v, %+v", dry, u, kept)
				}
				if now := dst.snapshot(); dry && !maps.Equal(now, then) {
					t.Errorf("a look has changed something: %v, was %v", now, then)
				}
			}
			if tt.why != "" || tt.code != "" {
				if dst.accounts[id(0)] != then[id(0)] || dst.accounts[id(1)] != before[id(1)] {
					t.Errorf("%q, %q", dst.accounts[id(0)], dst.accounts[id(1)])
				}
				return
			}
			if now := dst.snapshot(); !maps.Equal(now, before) {
				t.Errorf("it is %v, was %v", now, before)
			}
			// The next run knows both: nobody follows, and the new account meets the old one.
			res, seen, err := p.followed(left, dst, "", nil)
			if err != nil || res.Summary.Rejected != 1 || !strings.Contains(seen[id(10)].Detail, id(0)) {
				t.Errorf("%+v, %v, %v", res.Summary, seen[id(10)], err)
			}
		})
	}
}

// Somebody who has an account already may take the address of an account of before; a plan
// says that it is updated, and an undo does not take it away.
func TestGoneGiveTheirAddressToAnOlderAccount(t *testing.T) {
	t.Parallel()
	p, dst, src := loaded(t, 10)
	left := rename(src, 5, *src[0].Logins[0].Email)[1:]
	plan, _, err := p.followed(left, dst, policy.GoneDisable, func(o *Options) { o.DryRun = true })
	if err != nil || plan.Summary.Updated != 1 || plan.Summary.Rejected != 0 {
		t.Errorf("the plan: %+v, %v", plan.Summary, err)
	}
	res, _, err := p.followed(left, dst, policy.GoneDisable, nil)
	if err != nil || res.Summary != plan.Summary {
		t.Errorf("the run: %+v, %v", res.Summary, err)
	}
	u, kept := p.returned(dst, false)
	if o := kept[id(0)]; u.Deleted != 0 || o.Code != diag.GoneRegisteredAgain || !strings.Contains(o.Detail, id(5)) || dst.accounts[id(5)] == "" {
		t.Errorf("%+v, %+v", u, kept)
	}
}

// A plan sees that the account of before would be deleted before its person, who has
// registered again, is loaded.
func TestGoneAreDeletedBeforeOthersCome(t *testing.T) {
	t.Parallel()
	p, dst, src := loaded(t, 10)
	if _, _, err := p.followed(src[1:], dst, policy.GoneDelete, nil); err != nil {
		t.Fatal(err)
	}
	left := append(slices.Clone(src[1:]), again(src))
	plan, _, err := p.followed(left, dst, policy.GoneDelete, func(o *Options) { later(o); o.DryRun = true })
	if err != nil || plan.Summary.Created != 1 || plan.Gone.Deleted != 1 || len(plan.Gone.Kept) != 0 {
		t.Errorf("the plan: %+v, %+v, %v", plan.Summary, plan.Gone, err)
	}
	res, _, err := p.followed(left, dst, policy.GoneDelete, later)
	if err != nil || res.Summary != plan.Summary || res.Gone.Deleted != 1 || len(dst.accounts) != 10 {
		t.Errorf("the run: %+v, %+v, %v", res.Summary, res.Gone, err)
	}
}

// An undo knows whom a run was about to switch off when it was killed.
func TestGoneReturnAfterAKill(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			p, dst, src := loaded(t, 8)
			before := dst.snapshot()
			killedWhile(t, func() {
				_, _, _ = p.followed(src[3:], &killed{idp: dst, early: when == "before"}, policy.GoneDisable, nil)
			})
			if off := len(disabledIn(dst)); when == "after" && off != 3 || when == "before" && off != 0 {
				t.Fatalf("%d are off", off)
			}
			for _, dry := range []bool{true, false} {
				if u, kept := p.returned(dst, dry); u.Restored != 3 || len(kept) != 0 {
					t.Errorf("dry %v: %+v, %v", dry, u, kept)
				}
			}
			if now := dst.snapshot(); !maps.Equal(now, before) {
				t.Errorf("it is %v, was %v", now, before)
			}
			if u, _ := p.returned(dst, false); u.Disabled != 0 {
				t.Errorf("once more: %+v", u)
			}
		})
	}
}

// Whoever a killed run was about to switch off, and who is in the source again, is like
// everybody else for an undo, also when another run does not come to its end.
func TestGoneComeBackAfterAKill(t *testing.T) {
	t.Parallel()
	p, dst, src := loaded(t, 4)
	killedWhile(t, func() { _, _, _ = p.followed(src[1:], &killed{idp: dst}, policy.GoneDisable, nil) })
	if res, _, err := p.followed(src, dst, policy.GoneDisable, nil); err != nil || len(disabledIn(dst)) != 0 {
		t.Fatalf("%+v, %v", res.Gone, err)
	}
	dst.after = func(int) error { return errKilled }
	if _, _, err := p.followed(rename(src, 0, "new@example.com"), dst, policy.GoneDisable, nil); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	writes := dst.writes
	if u, _ := p.returned(dst, false); u.Disabled != 0 || dst.writes != writes {
		t.Errorf("%+v, %d writes", u, dst.writes-writes)
	}
}

// A run that is killed while an account gives its address free leaves an account of which
// nobody says more than is known: it goes on where nothing was done, and else is named.
func TestGoneGiveTheirAddressFreeAfterAKill(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			p, dst, src := loaded(t, 8)
			left := append(slices.Clone(src[2:]), again(src))
			if _, _, err := p.followed(left, &killed{idp: dst, early: when == "before", releasing: true}, policy.GoneDisable, nil); !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			res, _, err := p.followed(left, dst, policy.GoneDisable, nil)
			want := diag.GoneRegisteredAgain
			if when == "after" {
				want = diag.UndoInDoubt
			}
			if err != nil || res.Summary.Created != 1 || res.Gone.Kept[want] != 1 || len(res.Gone.Kept) != 1 || !strings.HasPrefix(dst.accounts[id(0)], freed) {
				t.Errorf("%+v, %+v, %v; it is %q", res.Summary, res.Gone, err, dst.accounts[id(0)])
			}
			u, kept := p.returned(dst, false)
			if when == "before" && (u.Restored != 2 || len(kept) != 0) || when == "after" && (u.Restored != 1 || kept[id(0)].Code != diag.UndoInDoubt) {
				t.Errorf("the undo: %+v, %v", u, kept)
			}
		})
	}
}

// A run that was killed while it deleted is no reason for a word: they have gone.
func TestGoneAreDeletedAfterAKill(t *testing.T) {
	t.Parallel()
	p, dst, src := loaded(t, 8)
	if _, _, err := p.followed(src[3:], dst, policy.GoneDelete, nil); err != nil {
		t.Fatal(err)
	}
	killedWhile(t, func() { _, _, _ = p.followed(src[3:], &killed{idp: dst, deleting: true}, policy.GoneDelete, later) })
	if len(dst.accounts) != 5 {
		t.Fatalf("%d are left", len(dst.accounts))
	}
	res, _, err := p.followed(src[3:], dst, policy.GoneDelete, later)
	if err != nil || res.Gone.Absent != 3 || len(res.Gone.Kept) != 0 {
		t.Errorf("%+v, %v", res.Gone, err)
	}
	if res, _, err = p.followed(src[3:], dst, policy.GoneDelete, later); err != nil || res.Gone.People != 0 {
		t.Errorf("afterwards: %+v, %v", res.Gone, err)
	}
}

// Whom somebody has deleted in the target counts for no limit: nothing is to be done.
func TestGoneAreNoMoreInTheTarget(t *testing.T) {
	t.Parallel()
	p, dst, src := loaded(t, 8)
	for n := range 3 {
		delete(dst.accounts, id(n))
	}
	res, _, err := p.followed(src[3:], dst, policy.GoneDisable, func(o *Options) { o.Policies.Limits.Gone = policy.Limit{} })
	if err != nil || res.Gone.Absent != 3 {
		t.Errorf("%+v, %v", res.Gone, err)
	}
}

// Nobody is deleted before the account was off for the whole time, whatever the clock says
// and however the time has changed.
func TestGoneAfter(t *testing.T) {
	t.Parallel()
	at := func(days int, after time.Duration) func(*Options) {
		return func(o *Options) {
			o.Departures.Now = func() time.Time { return time.Now().Add(time.Duration(days) * 24 * time.Hour) }
			o.Policies.GoneAfter = &policy.Days{Duration: after}
		}
	}
	const week = 7 * 24 * time.Hour
	type step struct {
		days      int
		after     time.Duration
		back      bool // the people are in the source
		off, gone int
	}
	for name, steps := range map[string][]step{
		"a clock that goes back":              {{0, week, false, 2, 0}, {-30, week, false, 0, 0}, {6, week, false, 0, 0}, {8, week, false, 0, 2}},
		"a clock that was behind":             {{-30, week, false, 2, 0}, {0, week, false, 0, 0}, {6, week, false, 0, 0}, {8, week, false, 0, 2}},
		"a longer time":                       {{0, week, false, 2, 0}, {8, 2 * week, false, 0, 0}, {15, 2 * week, false, 0, 2}},
		"a shorter time":                      {{0, week, false, 2, 0}, {1, 0, false, 0, 2}},
		"no time at all":                      {{0, 0, false, 2, 0}, {0, 0, false, 0, 2}},
		"people who were back for some time":  {{0, week, false, 2, 0}, {6, week, true, 0, 0}, {8, week, false, 2, 0}, {14, week, false, 0, 0}, {16, week, false, 0, 2}},
		"people who were back for one moment": {{0, 0, false, 2, 0}, {0, 0, true, 0, 0}, {0, 0, false, 2, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, dst, src := loaded(t, 6)
			for i, s := range steps {
				left := src[2:]
				if s.back {
					left = src
				}
				res, _, err := p.followed(left, dst, policy.GoneDelete, at(s.days, s.after))
				if err != nil || res.Gone.Disabled != s.off || res.Gone.Deleted != s.gone {
					t.Errorf("step %d: %+v, %v, want %d switched off and %d deleted", i, res.Gone, err, s.off, s.gone)
				}
			}
		})
	}
}

// Of an account that the target says nothing about, nobody knows whether it was touched.
func TestGoneWithoutAState(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), disabling(), people(3)
	if _, _, err := p.do(src, mute{dst}, nil); err != nil {
		t.Fatal(err)
	}
	res, _, err := p.followed(src[1:], dst, policy.GoneDisable, nil)
	if err != nil || res.Gone.Kept[diag.UndoInDoubt] != 1 || len(disabledIn(dst)) != 0 {
		t.Errorf("%+v, %v", res.Gone, err)
	}
}

// mute is a target that does not say in which state it leaves accounts.
type mute struct{ *idp }

func (m mute) Load(ctx context.Context, users []pluginapi.User) ([]pluginapi.Outcome, error) {
	out, err := m.idp.Load(ctx, users)
	for i := range out {
		out[i].State = nil
	}
	return out, err
}
