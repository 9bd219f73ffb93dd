package engine

import (
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
