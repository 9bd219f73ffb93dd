package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// onceEach is a target that takes an identity once.
func onceEach() pluginapi.Capabilities {
	return pluginapi.Capabilities{UniqueEmail: true, UniqueIdentities: true, Carries: []pluginapi.Feature{pluginapi.CarriesIdentities, pluginapi.CarriesTenants}}
}

// owner is an account with the identities of the names, which is better than those of
// higher places, and has verified its address.
func owner(place int, identities ...string) *item {
	it := &item{place: place, proven: true, user: pluginapi.User{
		SourceID: fmt.Sprint(place), ID: fmt.Sprint(place), Username: fmt.Sprint("user", place), Email: fmt.Sprint(place, "@example.org"), Created: time.UnixMilli(int64(place)),
	}}
	for _, name := range identities {
		it.user.Identities = append(it.user.Identities, pluginapi.Identity{Provider: "google", Subject: name})
	}
	return it
}

// called gives an account a user name and an address.
func called(it *item, name, address string) *item {
	it.user.Username, it.user.Email = name, address
	return it
}

// contest has accounts want what they want, and says what they end with: their identities,
// or the code of why they are kept out.
func contest(t *testing.T, caps pluginapi.Capabilities, p policy.Collision, items ...*item) (ends []string, c *conflicts) {
	t.Helper()
	claims := newClaims(&caps)
	for _, it := range items {
		if err := claims.add(it.place, &it.user); err != nil {
			t.Fatal(err)
		}
	}
	groups, err := claims.groups()
	if err != nil {
		t.Fatal(err)
	}
	c = decide(groups, p, claims.keys)
	for _, it := range items {
		c.meet(it)
	}
	c.link()
	for _, it := range items {
		u := it.user
		if l := c.resolve(it.place, &u); l != nil {
			o := c.outcome(u.SourceID, l)
			ends = append(ends, string(o.Action)+" "+string(o.Code))
			continue
		}
		var names []string
		for _, i := range u.Identities {
			names = append(names, i.Subject)
		}
		ends = append(ends, strings.Join(names, " "))
	}
	return ends, c
}

func TestWhoKeepsIdentities(t *testing.T) {
	t.Parallel()
	const rejected, taken = "rejected map.duplicate_identity", "rejected map.duplicate_username"
	drop, link := policy.Collision{Identity: policy.Drop}, policy.Collision{Identity: policy.Link}
	inTenant := onceEach()
	inTenant.UniqueInTenant = []pluginapi.Identifier{pluginapi.IdentifierIdentity}
	unsaid, uncarried := onceEach(), onceEach()
	unsaid.UniqueIdentities, uncarried.Carries = false, nil
	of := func(it *item, tenants ...string) *item {
		it.user.Tenants = tenants
		return it
	}
	unproven := owner(2, "a")
	unproven.proven = false
	for name, tt := range map[string]struct {
		caps   *pluginapi.Capabilities
		policy policy.Collision
		items  []*item
		want   []string
		losses int
	}{
		"nothing said":               {items: []*item{owner(1, "a"), owner(2, "a", "b")}, want: []string{"a", rejected}},
		"skip":                       {policy: policy.Collision{Identity: policy.Skip}, items: []*item{owner(1, "a"), owner(2, "a")}, want: []string{"a", "skipped map.duplicate_identity"}},
		"drop":                       {policy: drop, items: []*item{owner(1, "a"), owner(2, "a", "b")}, want: []string{"a", "b"}, losses: 1},
		"drop, to different ones":    {policy: drop, items: []*item{owner(1, "a"), owner(2, "b"), owner(3, "a", "c", "b")}, want: []string{"a", "b", "c"}, losses: 1},
		"what only suits others":     {policy: policy.Collision{Identity: policy.Suffix}, items: []*item{owner(1, "a"), owner(2, "a")}, want: []string{"a", rejected}},
		"other letter case":          {items: []*item{owner(1, "a"), owner(2, "A")}, want: []string{"a", "A"}},
		"a target that says nothing": {caps: &unsaid, items: []*item{owner(1, "a"), owner(2, "a")}, want: []string{"a", "a"}},
		"a target that has none":     {caps: &uncarried, items: []*item{owner(1, "a"), owner(2, "a")}, want: []string{"a", "a"}},
		// Nobody loses to somebody who is not loaded.
		"who is kept out takes nothing":           {items: []*item{owner(1, "a"), owner(2, "a", "b"), owner(3, "b")}, want: []string{"a", rejected, "b"}},
		"who does without takes the rest":         {policy: drop, items: []*item{owner(1, "a"), owner(2, "a", "b"), owner(3, "b")}, want: []string{"a", "b", ""}, losses: 2},
		"who is out for a name takes nothing":     {items: []*item{called(owner(1), "ada", "1@b"), called(owner(2, "a"), "ada", "2@b"), owner(3, "a")}, want: []string{"", taken, "a"}},
		"the name comes first":                    {items: []*item{called(owner(1, "a"), "ada", "1@b"), called(owner(2, "a"), "ada", "2@b")}, want: []string{"a", taken}},
		"another name, and then the identity":     {policy: policy.Collision{Username: policy.Suffix}, items: []*item{called(owner(1, "a"), "ada", "1@b"), called(owner(2, "a"), "ada", "2@b")}, want: []string{"a", rejected}},
		"link":                                    {policy: link, items: []*item{called(owner(1, "a"), "x", "a@b"), called(owner(2, "a", "b"), "y", "a@b")}, want: []string{"a b", "skipped map.linked"}},
		"link, another address":                   {policy: link, items: []*item{owner(1, "a"), owner(2, "a")}, want: []string{"a", rejected}},
		"link, not proven":                        {policy: link, items: []*item{owner(1, "a"), called(unproven, "y", "1@example.org")}, want: []string{"a", rejected}},
		"link, with whom is not clear":            {policy: link, items: []*item{called(owner(1, "a"), "x", "a@b"), owner(2, "b"), called(owner(3, "a", "b"), "y", "a@b")}, want: []string{"a", "b", rejected}},
		"linked for a name, the identity is lost": {policy: policy.Collision{Username: policy.Link}, items: []*item{owner(1, "a"), called(owner(2, "b"), "ada", "a@b"), called(owner(3, "a", "c"), "ada", "a@b")}, want: []string{"a", "b c", "skipped map.linked"}, losses: 1},
		"tenants apart":                           {caps: &inTenant, items: []*item{of(owner(1, "a"), "x"), of(owner(2, "a"), "y")}, want: []string{"a", "a"}},
		"one tenant in common":                    {caps: &inTenant, policy: drop, items: []*item{of(owner(1, "a"), "x", "z"), of(owner(2, "a", "b"), "y", "z")}, want: []string{"a", "b"}, losses: 1},
	} {
		caps := onceEach()
		caps.UniqueEmail = !strings.Contains(name, "link") // to see what identities alone do
		if tt.caps != nil {
			caps = *tt.caps
		}
		before := len(tt.items[len(tt.items)-1].user.Identities)
		got, c := contest(t, caps, tt.policy, tt.items...)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if n := c.losses(everyone)[mapping.LossIdentity]; n != tt.losses {
			t.Errorf("%s: %d losses, want %d", name, n, tt.losses)
		}
		if len(tt.items[len(tt.items)-1].user.Identities) != before {
			t.Errorf("%s: the account itself has changed", name)
		}
	}
}

// Who loses several identities is told of everybody who keeps one.
func TestKeepersOfIdentitiesAreNamed(t *testing.T) {
	t.Parallel()
	_, c := contest(t, onceEach(), policy.Collision{}, owner(1, "a"), owner(2, "b"), owner(3, "a", "b"))
	o := c.outcome("3", c.resolve(3, &pluginapi.User{}))
	if want := "another account wants the same social identity, and the target allows one: 1; of further identities: 2"; o.Detail != want {
		t.Errorf("%s", o.Detail)
	}
}

// Nothing of memory goes into what accounts want.
func TestClaimsAllocateNothing(t *testing.T) {
	caps := onceEach()
	for name, it := range map[string]*item{"no identity": owner(1), "two": owner(1, "a", "b")} {
		c := newClaims(&caps)
		u := &it.user
		u.ID, u.Username, u.Email = "1", "ada@example.org", "ada@example.org" // in lower case already
		place := 0
		if n := testing.AllocsPerRun(1000, func() {
			place++
			if err := c.add(place, u); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}
}

// shared are people of whom two, who have no address in common, have one identity, in two
// tenants.
func shared() listed {
	src := people(6)
	for n, tenant := range map[int]string{1: "t1", 4: "t2"} {
		src[n].Logins[0].Identity = &canonical.Identity{Provider: "google", Subject: "7"}
		src[n].Logins[0].Tenants = []string{tenant}
	}
	return src
}

// The plan, the first run and all later ones say the same of an identity that two accounts
// have, and nobody loses it to anybody.
func TestSharedIdentityInEveryRun(t *testing.T) {
	t.Parallel()
	for choice, want := range map[policy.Choice]struct {
		first, later pluginapi.Summary
		code         diag.Code
	}{
		policy.Default: {pluginapi.Summary{Read: 6, Created: 5, Rejected: 1}, pluginapi.Summary{Read: 6, Unchanged: 5, Rejected: 1}, diag.MapDuplicateIdentity},
		policy.Skip:    {pluginapi.Summary{Read: 6, Created: 5, Skipped: 1}, pluginapi.Summary{Read: 6, Unchanged: 5, Skipped: 1}, diag.MapDuplicateIdentity},
		policy.Drop:    {pluginapi.Summary{Read: 6, Created: 6}, pluginapi.Summary{Read: 6, Unchanged: 6}, ""},
	} {
		t.Run("choice "+string(choice), func(t *testing.T) {
			t.Parallel()
			dst, links := newFake(), map[string][]string{}
			dst.caps = onceEach()
			dst.caps.Abilities = []pluginapi.Ability{pluginapi.CanPlan}
			dst.load = func(users []pluginapi.User) (out []pluginapi.Outcome, _ error) {
				dst.mu.Lock()
				defer dst.mu.Unlock()
				for _, u := range users {
					out = append(out, pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.Created, TargetID: "t-" + u.ID})
					for _, i := range u.Identities {
						links[i.Subject] = append(links[i.Subject], u.SourceID)
					}
				}
				return out, nil
			}
			p := newProject(t)
			for n, step := range []pluginapi.Summary{want.first, want.first, want.later, want.later} {
				res, seen, err := p.do(shared(), dst, func(o *Options) { o.Policies.Collision.Identity, o.DryRun = choice, n == 0 })
				if err != nil || res.Summary != step || seen[id(4)].Code != want.code {
					t.Errorf("step %d: %+v, %v, %+v; want %+v", n, res.Summary, err, seen[id(4)].Outcome, step)
				}
				if lost := res.Losses[mapping.LossIdentity] == 1; lost != (choice == policy.Drop) {
					t.Errorf("step %d: losses %v", n, res.Losses)
				}
			}
			if !slices.Equal(links["7"], []string{id(1)}) {
				t.Errorf("the identity went to %v", links["7"])
			}
		})
	}
}

// keeper is a target that gives an identity to an account only when no other account has
// it, when that gives it up, or when it is one that the host names.
type keeper struct {
	*fake

	holders map[string]string // by identity
	giving  map[string]bool   // accounts that a plan has seen give theirs up
	there   map[string]bool
	linked  map[string][]string
}

func newKeeper() *keeper {
	k := &keeper{newFake(), map[string]string{}, map[string]bool{}, map[string]bool{}, map[string][]string{}}
	k.caps = onceEach()
	k.caps.Abilities, k.caps.Batch = []pluginapi.Ability{pluginapi.CanPlan}, pluginapi.BatchLimits{Users: 2}
	k.load = func(users []pluginapi.User) (out []pluginapi.Outcome, _ error) {
		for _, u := range users {
			out = append(out, k.decide(&u, false))
		}
		return out, nil
	}
	return k
}

func (k *keeper) Plan(_ context.Context, users []pluginapi.User) (out []pluginapi.Change, _ error) {
	for _, u := range users {
		out = append(out, pluginapi.Change{Outcome: k.decide(&u, true)})
	}
	return out, nil
}

func (k *keeper) decide(u *pluginapi.User, plan bool) pluginapi.Outcome {
	k.mu.Lock()
	defer k.mu.Unlock()
	me, wants := "t-"+u.ID, map[string]bool{}
	k.linked[u.SourceID] = u.Prior.Linked
	for _, i := range u.Identities {
		wants[i.Subject] = true
		holder := k.holders[i.Subject]
		if holder != "" && holder != me && !slices.Contains(u.Prior.Linked, holder) && (!plan || !k.giving[holder]) {
			return pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.Rejected, Code: diag.LoadIdentityConflict, Holder: holder}
		}
	}
	for subject, holder := range k.holders {
		if holder == me && !wants[subject] {
			k.giving[me] = true
			if !plan {
				delete(k.holders, subject)
			}
		}
	}
	o := pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.Created, TargetID: me}
	if k.there[me] {
		o.Action, o.State = pluginapi.Updated, []byte("as it is")
	}
	if !plan {
		for subject := range wants {
			k.holders[subject] = me
		}
		k.there[me] = true
	}
	return o
}

// identified gives accounts of people the identities of the subjects.
func identified(src listed, subjects map[int]string) listed {
	for n, s := range subjects {
		src[n].Logins[0].Identity = &canonical.Identity{Provider: "google", Subject: s}
	}
	return src
}

// An identity that goes from one account to another does so within one run, whichever of
// them comes first and whether the other is new; and the plan says so.
func TestIdentityGoesToAnotherAccount(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		from, to     int
		fresh, saved bool
	}{
		"the giver comes first":                    {from: 0, to: 5},
		"the receiver comes first":                 {from: 5, to: 0},
		"the receiver is new":                      {from: 0, to: 6, fresh: true},
		"the receiver comes first in a saved plan": {from: 5, to: 0, saved: true},
		"the receiver is new in a saved plan":      {from: 0, to: 6, fresh: true, saved: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, dst := newProject(t), newKeeper()
			if _, _, err := p.do(identified(people(6), map[int]string{tt.from: "7"}), dst, nil); err != nil || dst.holders["7"] != "t-"+id(tt.from) {
				t.Fatalf("%v, %v", dst.holders, err)
			}
			want := pluginapi.Summary{Read: 6, Updated: 2, Unchanged: 4}
			later := people(6)
			if tt.fresh {
				later, want = people(7), pluginapi.Summary{Read: 7, Created: 1, Updated: 1, Unchanged: 5}
			}
			later = identified(later, map[int]string{tt.to: "7"})
			plan, digests := NewPlan("public", "idp", nil, nil), map[string][]byte{}
			for _, dry := range []bool{true, false} {
				dst.giving = map[string]bool{} // another process
				res, seen, err := p.do(later, dst, func(o *Options) {
					o.DryRun = dry
					switch {
					case dry:
						o.Digest = func(id string, digest []byte) { digests[id] = digest }
					case tt.saved:
						o.Plan = plan
					}
				})
				if err != nil || res.Summary != want {
					t.Errorf("dry %v: %+v, %v; want %+v\n%+v", dry, res.Summary, err, want, seen[id(tt.to)].Outcome)
				}
				for id, c := range seen {
					plan.Add(c, digests[id])
				}
			}
			if dst.holders["7"] != "t-"+id(tt.to) {
				t.Errorf("the identity is with %s", dst.holders["7"])
			}
		})
	}
}

// Whom a filter leaves out is in the source still, with its identity: nobody gets it, in
// the plan and in the run.
func TestIdentityOfSomebodyWhoIsLeftOut(t *testing.T) {
	t.Parallel()
	p, dst := newProject(t), newKeeper()
	if _, _, err := p.do(identified(people(3), map[int]string{0: "7"}), dst, nil); err != nil {
		t.Fatal(err)
	}
	rules, found := mapping.Compile(mapping.Spec{Filter: `username != "user0@example.org"`}, policy.Policies{})
	if len(found) > 0 {
		t.Fatal(found)
	}
	for _, dry := range []bool{true, false} {
		_, seen, err := p.do(identified(people(4), map[int]string{0: "7", 3: "7"}), dst, func(o *Options) { o.DryRun, o.Mapping = dry, rules })
		if err != nil || seen[id(3)].Code != diag.LoadIdentityConflict || dst.holders["7"] != "t-"+id(0) {
			t.Errorf("dry %v: %v, %+v, %v", dry, err, seen[id(3)].Outcome, dst.holders)
		}
	}
}

// What was an account, and is a way to sign in to another one by now, gives its identity to
// that one alone.
func TestIdentityOfALinkedAccount(t *testing.T) {
	t.Parallel()
	p, dst := newProject(t), newKeeper()
	if _, _, err := p.do(identified(people(4), map[int]string{3: "7"}), dst, nil); err != nil {
		t.Fatal(err)
	}
	linked := people(3)
	linked[1].Logins = append(linked[1].Logins, identified(people(4), map[int]string{3: "7"})[3].Logins...)
	for _, dry := range []bool{true, false} {
		res, seen, err := p.do(linked, dst, func(o *Options) { o.DryRun = dry })
		if want := (pluginapi.Summary{Read: 3, Updated: 1, Unchanged: 2}); err != nil || res.Summary != want {
			t.Errorf("dry %v: %+v, %v, %+v", dry, res.Summary, err, seen[id(1)].Outcome)
		}
	}
	if got := dst.linked[id(1)]; !slices.Equal(got, []string{"t-" + id(3)}) || dst.linked[id(0)] != nil || dst.holders["7"] != "t-"+id(1) {
		t.Errorf("linked %v, the identity is with %s", dst.linked, dst.holders["7"])
	}
}
