package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// about restricts a run to accounts by their source ids.
func about(ids ...string) func(*Options) {
	set := map[string]bool{}
	for _, id := range ids {
		set[id] = true
	}
	return func(o *Options) { o.Part = Only("--user", set) }
}

func choose(t *testing.T, src Source, c Choice) (*Part, error) {
	t.Helper()
	return Choose(t.Context(), src, newFake(), Options{}, c)
}

// who are the accounts of a part.
func who(t *testing.T, src Source, p *Part) []string {
	t.Helper()
	ids := []string{}
	err := src.Accounts(t.Context(), func(users []canonical.User) error {
		for i := range users {
			if p.has(&users[i]) {
				ids = append(ids, users[i].InternalID)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func named(ids ...string) []Named {
	var all []Named
	for _, id := range ids {
		all = append(all, Named{ID: id, Place: "here"})
	}
	return all
}

// A part first, then everybody, then everybody again: each account is loaded once, and
// the sums are right each time.
func TestPartThenTheRest(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(30)
	part, err := Choose(t.Context(), src, dst, Options{}, Choice{Flag: "--sample 7", Sample: 7})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		part *Part
		dry  bool
		want pluginapi.Summary
		news int // accounts whose outcome is told
	}{
		{part, true, pluginapi.Summary{Read: 30, Created: 7, Skipped: 23}, 7},
		{part, false, pluginapi.Summary{Read: 30, Created: 7, Skipped: 23}, 7},
		{part, false, pluginapi.Summary{Read: 30, Unchanged: 7, Skipped: 23}, 7},
		{nil, false, pluginapi.Summary{Read: 30, Created: 23, Unchanged: 7}, 23},
		{nil, false, pluginapi.Summary{Read: 30, Unchanged: 30}, 0},
	} {
		res, seen, err := p.do(src, dst, func(o *Options) { o.Part, o.DryRun, o.ReadBack = step.part, step.dry, 1 })
		if err != nil || res.Summary != step.want || len(seen) < step.news {
			t.Errorf("%+v, %d outcomes, %v; want %+v", res.Summary, len(seen), err, step.want)
		}
		classes := 0
		for _, n := range res.Classes {
			classes += n
		}
		if step.part == nil {
			if res.Chosen != nil || classes != 30 {
				t.Errorf("a run about everybody: chosen %+v, classes %v", res.Chosen, res.Classes)
			}
			continue
		}
		if res.Chosen == nil || res.Chosen.Count != 7 || res.Chosen.Of != 30 || res.Chosen.Flag != "--sample 7" || classes != 7 || res.Reasons[diag.RunNotSelected] != 23 {
			t.Errorf("chosen %+v, classes %v, reasons %v", res.Chosen, res.Classes, res.Reasons)
		}
		for id := range seen {
			if !part.has(&canonical.User{InternalID: id}) {
				t.Errorf("%s has an outcome: %+v", id, seen[id])
			}
		}
	}
	if dst.writes != 30 || len(dst.accounts) != 30 {
		t.Errorf("%d writes, %d accounts", dst.writes, len(dst.accounts))
	}
}

// entangled are accounts that want each other's identifiers in every way.
func entangled() listed {
	var src listed
	hash := canonical.ParsePasswordHash("$2a$11$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm")
	add := func(id, visible, email string, joined int64, hashed bool) {
		verified := true
		l := canonical.Login{Recipe: canonical.EmailPassword, ID: id, Email: &email, Verified: &verified, Tenants: []string{"tenant-" + id}}
		if hashed {
			l.Password = hash
		}
		src = append(src, canonical.User{InternalID: id, ID: visible, TimeJoined: time.UnixMilli(joined), Logins: []canonical.Login{l}})
	}
	add("a", "a", "one@example.org", 1, false)
	add("b", "b", "ONE@example.org", 5, true)
	add("c", "c", "one@example.org", 3, true)
	add("d", "c", "four@example.org", 9, false)
	add("e", "e", "five@example.org", 9, false)
	add("f", "f", "five@example.org", 8, false)
	add("g", "g", "seven@example.org", 8, false)
	return src
}

// What becomes of an account does not depend on who else is chosen, and an account that
// is not chosen keeps what it keeps in a run about everybody.
func TestPartHasTheOutcomesOfTheWhole(t *testing.T) {
	t.Parallel()
	src := entangled()
	for _, policies := range []policy.Collision{
		{},
		{ID: policy.Skip, Username: policy.Skip, Email: policy.Skip},
		{ID: policy.Internal, Username: policy.Suffix, Email: policy.Drop},
		{Username: policy.Link, Email: policy.Link},
	} {
		set := func(o *Options) { o.Policies.Collision = policies }
		target := func() *idp {
			dst := newIDP()
			dst.caps.UniqueEmail = true
			return dst
		}
		everybody := target()
		whole, want, err := newProject(t).do(src, everybody, set)
		if err != nil || whole.Summary.Created == 0 || whole.Summary.Created == len(src) && policies.ID == "" {
			t.Fatalf("%+v: %+v, %v", policies, whole.Summary, err)
		}
		losses := map[mapping.Loss]int{}
		for i := range src {
			one := src[i].InternalID
			dst := target()
			res, seen, err := newProject(t).do(src, dst, func(o *Options) { set(o); about(one)(o) })
			if err != nil || len(seen) != 1 {
				t.Fatalf("%+v, %s alone: %v, %v", policies, one, seen, err)
			}
			got, whole := seen[one], want[one]
			alone, linked := strings.CutSuffix(got.Detail, "; this run does not include that account")
			if linked != (got.Code == diag.MapLinked) {
				t.Errorf("%+v, %s alone: %q", policies, one, got.Detail)
			}
			if got.Action != whole.Action || got.Code != whole.Code || alone != whole.Detail {
				t.Errorf("%+v, %s alone: %+v, with all others %+v", policies, one, got.Outcome, whole.Outcome)
			}
			for id, account := range dst.accounts {
				if everybody.accounts[id] != account {
					t.Errorf("%+v, %s alone is %q, with all others %q", policies, one, account, everybody.accounts[id])
				}
			}
			for loss, n := range res.Losses {
				losses[loss] += n
			}
		}
		if diff := gocmp.Diff(whole.Losses, losses); diff != "" {
			t.Errorf("%+v: losses of all, and of one after another (-want +got):\n%s", policies, diff)
		}
	}
}

// Who is not chosen keeps what the journal knows, also where a run would turn it away.
func TestPartLeavesTheJournalAlone(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(6)
	dst.caps.UniqueEmail = true
	if _, _, err := p.do(src, dst, nil); err != nil {
		t.Fatal(err)
	}
	before := p.entries()
	moved := rename(rename(src, 1, "user2@example.org"), 4, "new@example.org")[:5] // u0002 loses now, two have changed, u0005 is gone
	res, _, err := p.do(moved, dst, about(id(0)))
	if err != nil || res.Summary != (pluginapi.Summary{Read: 5, Unchanged: 1, Skipped: 4}) || len(res.Removed) > 0 {
		t.Errorf("%+v, removed %v, %v", res.Summary, res.Removed, err)
	}
	if diff := gocmp.Diff(before, p.entries()); diff != "" {
		t.Errorf("the journal has changed:\n%s", diff)
	}
	res, _, err = p.do(moved, dst, nil)
	if err != nil || !slices.Equal(res.Removed, []string{id(5)}) || res.Summary.Updated != 2 || res.Summary.Rejected != 1 {
		t.Errorf("everybody afterwards: %+v, removed %v, %v", res.Summary, res.Removed, err)
	}
}

// entries is what the journal holds, without when it was written.
func (p *project) entries() map[string]string {
	p.t.Helper()
	all := map[string]string{}
	p.with(func(s *journal.Scope, _ Options) {
		for e, err := range s.Accounts(context.Background()) {
			if err != nil {
				p.t.Fatal(err)
			}
			all[e.SourceID] = fmt.Sprintf("%+v", e)
		}
	})
	return all
}

// Limits are about those who are chosen: what a run does about nobody else counts, and
// a share is a share of them.
func TestPartAndLimits(t *testing.T) {
	t.Parallel()
	src := people(20)
	for i := range src {
		src[i].Logins[0].Password = canonical.ParsePasswordHash("unknown")
	}
	two := about(id(3), id(9))
	run := func(limit policy.Limit, part func(*Options)) error {
		f := newFake()
		res, _, err := newProject(t).do(src, f, func(o *Options) {
			o.Policies.Limits.Resets = limit
			part(o)
		})
		if err == nil && f.needs.Users != res.Chosen.Count {
			t.Errorf("the target is asked about %d", f.needs.Users)
		}
		return err
	}
	if err := run(policy.Limit{Set: true, Count: 2}, two); err != nil {
		t.Errorf("two resets for two: %v", err)
	}
	if err := run(policy.Limit{Set: true, Percent: 100}, two); err != nil {
		t.Errorf("all of two: %v", err)
	}
	if err := run(policy.Limit{Set: true, Percent: 50}, two); !errors.Is(err, ErrLimit) { // 10 of 20, and 1 of 2
		t.Errorf("half of two: %v", err)
	}
}

// A canary is for the hashes that the run sends.
func TestPartAndCanaries(t *testing.T) {
	t.Parallel()
	dst, src := newIDP(), hashed(t, 6)
	res, _, err := newProject(t).do(src, dst, func(o *Options) { o.Canary = dst; about(id(1))(o) })
	if err != nil || len(res.Canaries) != 1 || res.Canaries[0].Shape != "bcrypt 2y cost 4" || len(dst.accounts) != 1 {
		t.Errorf("%+v, %v, %v", res.Canaries, dst.accounts, err)
	}
}

// What is written as a whole is not replaced by a part, whoever asks for it.
func TestPartOfAWhole(t *testing.T) {
	t.Parallel()
	plan := NewPlan("public", "files", nil, nil)
	plan.Part, plan.Users = "--user", map[string]Planned{id(1): {Action: pluginapi.Created}}
	for name, restrict := range map[string]func(*Options){"a part": about(id(1)), "a plan": func(o *Options) { o.Plan = plan }} {
		f := newFake()
		f.caps.Whole = true
		o := Options{}
		restrict(&o)
		if _, err := Run(t.Context(), people(4), f, o); !errors.Is(err, ErrNeedsEveryone) || f.calls["load"]+f.calls["finish"] > 0 {
			t.Errorf("%s: %v, %v", name, err, f.calls)
		}
		o.DryRun = true
		if o.Plan == nil { // to look at one account is fine
			if res, err := Run(t.Context(), people(4), f, o); err != nil || res.Summary.Created != 1 {
				t.Errorf("%s, dry: %+v, %v", name, res, err)
			}
		}
	}
}

// A plan about a part is about that part when it is executed: whoever comes later is
// not chosen.
func TestPlanOfAPart(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(9)
	plan := NewPlan("public", "idp", nil, nil)
	_, _, err := p.do(src, dst, func(o *Options) {
		digests := map[string][]byte{}
		o.DryRun, o.Digest = true, func(id string, digest []byte) { digests[id] = digest }
		o.Outcome = func(c pluginapi.Change) { plan.Add(c, digests[c.SourceID]) }
		about(id(2), id(5))(o)
		plan.Part = o.Part.Flag
	})
	if got := slices.Sorted(maps.Keys(plan.Users)); err != nil || !slices.Equal(got, []string{id(2), id(5)}) {
		t.Fatalf("the plan is about %v, %v", got, err)
	}
	res, _, err := p.do(people(11), dst, func(o *Options) { o.Plan = plan })
	if err != nil || res.Summary != (pluginapi.Summary{Read: 11, Created: 2, Skipped: 9}) || res.Reasons[diag.RunNotSelected] != 9 || res.Chosen.Count != 2 {
		t.Errorf("%+v, %v, chosen %+v, %v", res.Summary, res.Reasons, res.Chosen, err)
	}
}

// manyNamed are accounts with ids of every kind.
func manyNamed() listed {
	login := func(id, visible string, tenants ...string) canonical.Login {
		return canonical.Login{ID: id, VisibleID: visible, Tenants: tenants}
	}
	return listed{
		{InternalID: "a", ID: "ext-a", Logins: []canonical.Login{login("a", "ext-a", "public"), login("a2", "ext-a2", "eu", "us")}},
		{InternalID: "b", ID: "b", Logins: []canonical.Login{login("b", "b", "eu")}},
		{InternalID: "c", ID: "twin", Logins: []canonical.Login{login("c", "twin")}},
		{InternalID: "d", ID: "twin ", Logins: []canonical.Login{login("d", "twin ", "public")}},
		{InternalID: "e", ID: "b2", Logins: []canonical.Login{login("e", "b2", "public")}},
		{InternalID: "f", ID: "e", Logins: []canonical.Login{login("f", "e", "us")}}, // its external id is another's internal one
		{InternalID: "g", ID: "\tg ", Logins: []canonical.Login{login("g", "\tg ", "us")}},
	}
}

func TestChooseByID(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ids    []Named
		want   []string
		logins map[string]string
	}{
		"internal":                {named("a"), []string{"a"}, nil},
		"visible":                 {named("ext-a", "b2"), []string{"a", "e"}, nil},
		"one account twice":       {named("a", "ext-a", "a"), []string{"a"}, nil},
		"a login":                 {named("a2"), []string{"a"}, map[string]string{"a2": "a"}},
		"a login's visible id":    {named("ext-a2"), []string{"a"}, map[string]string{"ext-a2": "a"}},
		"blanks of nobody":        {named("  a\t", "b "), []string{"a", "b"}, nil},
		"blanks that tell apart":  {named("twin"), []string{"c"}, nil},
		"blanks that belong":      {named("twin "), []string{"d"}, nil},
		"blanks left out":         {named("c", "\tg "), []string{"c", "g"}, nil},
		"in quotation marks":      {[]Named{{ID: "twin ", Exact: true}}, []string{"d"}, nil},
		"both spellings of twins": {named("twin", "twin "), []string{"c", "d"}, nil},
	} {
		part, err := choose(t, manyNamed(), Choice{IDs: tt.ids})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := gocmp.Diff(tt.want, who(t, manyNamed(), part)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := gocmp.Diff(tt.logins, part.Logins); diff != "" {
			t.Errorf("%s, logins (-want +got):\n%s", name, diff)
		}
	}
}

func TestChooseRefusesIDs(t *testing.T) {
	t.Parallel()
	var dozen []string
	for i := range 13 {
		dozen = append(dozen, fmt.Sprintf("nobody%02d", i))
	}
	for name, tt := range map[string]struct {
		ids   []Named
		code  diag.Code
		says  []string
		quiet string
	}{
		"unknown":                {named("a", "typo"), diag.RunUnknownAccount, []string{`here: "typo"`, "1 of 2"}, `"a"`},
		"many unknown":           {named(dozen...), diag.RunUnknownAccount, []string{`"nobody00"`, `"nobody09"`, "13 of 13", "… and 3 more"}, `"nobody10"`},
		"part of an id":          {named("ext"), diag.RunUnknownAccount, []string{`"ext"`}, "…"},
		"another letter case":    {named("EXT-A"), diag.RunUnknownAccount, []string{`"EXT-A"`}, "…"},
		"not as it stands":       {[]Named{{ID: "b ", Exact: true, Place: "f:1"}}, diag.RunUnknownAccount, []string{`f:1: "b "`}, "…"},
		"two accounts":           {named("e"), diag.RunAmbiguousAccount, []string{`"e" is the internal id of account "e" and the visible id of account "f"`}, "…"},
		"two but for the blanks": {named(" twin  "), diag.RunAmbiguousAccount, []string{`account "c"`, `account "d"`}, "…"},
	} {
		part, err := choose(t, manyNamed(), Choice{IDs: tt.ids})
		list, ok := errors.AsType[*diag.ListError](err)
		if part != nil || !ok || len(list.List) != 1 || list.List[0].Code != tt.code {
			t.Errorf("%s: %v, %v", name, part, err)
			continue
		}
		for _, say := range tt.says {
			if !strings.Contains(err.Error(), say) {
				t.Errorf("%s does not say %q: %v", name, say, err)
			}
		}
		if strings.Contains(err.Error(), tt.quiet) {
			t.Errorf("%s says %q: %v", name, tt.quiet, err)
		}
	}
	part, err := choose(t, manyNamed(), Choice{IDs: named("typo", "e")})
	if list, ok := errors.AsType[*diag.ListError](err); part != nil || !ok || len(list.List) != 2 {
		t.Errorf("both at once: %v", err)
	}
}

func TestChooseByTenant(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		choice Choice
		want   []string
	}{
		"one":            {Choice{Tenants: []string{"us"}}, []string{"a", "f", "g"}},
		"one or other":   {Choice{Tenants: []string{"eu", "us"}}, []string{"a", "b", "f", "g"}},
		"with nobody":    {Choice{Tenants: []string{"empty"}}, []string{}},
		"and among some": {Choice{Tenants: []string{"us"}, Among: map[string]bool{"b": true, "f": true}}, []string{"f"}},
		"and a sample":   {Choice{Tenants: []string{"us"}, Sample: 9}, []string{"a", "f", "g"}},
		"among nobody":   {Choice{Among: map[string]bool{}}, []string{}},
		"and by id":      {Choice{Tenants: []string{"us"}, IDs: named("a", "b")}, []string{"a"}},
	} {
		part, err := choose(t, manyNamed(), tt.choice)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := gocmp.Diff(tt.want, who(t, manyNamed(), part)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A failed reading is an error, and no choice of those who came before it.
func TestChooseReadsEverybody(t *testing.T) {
	t.Parallel()
	broken := errors.New("the connection is lost")
	for name, c := range map[string]Choice{"ids": {IDs: named(id(1))}, "a sample": {Sample: 2}} {
		part, err := choose(t, cutOff{people(9), broken}, c)
		if part != nil || !errors.Is(err, broken) {
			t.Errorf("%s: %v, %v", name, part, err)
		}
	}
}

// cutOff is a source that breaks after its last account.
type cutOff struct {
	listed
	err error
}

func (c cutOff) Accounts(ctx context.Context, emit func([]canonical.User) error) error {
	return cmp.Or(c.listed.Accounts(ctx, emit), c.err)
}

// Accounts that the mapping leaves out are no rehearsal.
func TestSampleAndFilter(t *testing.T) {
	t.Parallel()
	rules, found := mapping.Compile(mapping.Spec{Filter: `email >= "user5"`}, policy.Policies{})
	if found.HasErrors() {
		t.Fatal(found)
	}
	o := Options{Mapping: rules}
	part, err := Choose(t.Context(), people(10), newFake(), o, Choice{Sample: 8})
	if err != nil {
		t.Fatal(err)
	}
	if got := who(t, people(10), part); !slices.Equal(got, []string{id(5), id(6), id(7), id(8), id(9)}) {
		t.Errorf("the sample is %v", got)
	}
	o.Part, err = Choose(t.Context(), people(10), newFake(), o, Choice{IDs: named(id(1))}) // who is named has an outcome all the same
	if err != nil {
		t.Fatal(err)
	}
	res, err := Run(t.Context(), people(10), newFake(), o)
	if err != nil || res.Reasons[diag.MapFiltered] != 1 || res.Summary.Skipped != 10 || res.Classes[pluginapi.Filtered] != 1 {
		t.Errorf("%+v, %v, %v", res.Summary, res.Reasons, err)
	}
}
