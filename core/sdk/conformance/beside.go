package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/pluginapi"
)

// besideRules are about what is beside the user that a batch is about: other accounts, the
// rest of its own, what roles allow, and a target that does not let anybody in.
func besideRules() []Rule {
	return []Rule{
		{
			Name: "rest", Promise: "an update, and its undo, leave the rest of the account and all other accounts as they were", try: tryRest,
			unless: unlessWhole,
		},
		{
			Name: "one-owner", Promise: "an identity that another account has is taken from nobody whom the host has not named, and who does not get it is not said to have it", try: tryOneOwner,
			unless: func(k *kit) string {
				if !k.caps.UniqueIdentities || !k.caps.Has(pluginapi.CarriesIdentities) {
					return "several accounts may have the same identity"
				}
				return unlessWhole(k)
			},
		},
		{
			Name: "role-permissions", Promise: "what roles allow is written by a run alone, once, and costs no account anything where it cannot be", try: tryRolePermissions,
			unless: func(k *kit) string {
				if !k.caps.Has(pluginapi.CarriesRolePermissions) {
					return "the plugin does not keep what roles allow"
				}
				return ""
			},
		},
		{
			Name: "denied", Promise: "a target that lets nobody in (401) is found by Check, and nobody is rejected because of it", try: tryDenied,
			unless: unlessFront,
		},
	}
}

// rich is somebody with all that the plugin declares.
func rich(p *probe) pluginapi.User {
	u := p.person()
	for _, part := range parts {
		// Roles and tenants have to be there in some targets.
		if part.lack == nil && part.name != "a closed account" && part.feature != pluginapi.CarriesRoles && part.feature != pluginapi.CarriesTenants {
			part.give(p.kit, &u)
		}
	}
	p.caps.Withheld().From(&u)
	return u
}

func tryRest(ctx context.Context, p *probe) error {
	users := []pluginapi.User{rich(p), rich(p), p.person()}
	first, err := p.load(ctx, users)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(first, func(o pluginapi.Outcome) bool { return o.Action != pluginapi.Created }) {
		p.pointless = "the target does not take people with all that the plugin declares: " + say(first[0])
		return nil
	}
	as := func(when string, users []pluginapi.User, before []pluginapi.Outcome) error {
		out, err := p.load(ctx, may(known(users, before)))
		if err != nil {
			return err
		}
		for i, o := range out {
			whom := []string{"the account itself", "another account", "a third account"}[i]
			if o.Action != pluginapi.Unchanged || len(o.Losses) > len(before[i].Losses) {
				p.fail("%s, %s is not as it was otherwise: loaded once more as it should be, it ends as %s %v %v", when, whom, say(o), o.Changed, o.Losses)
			}
		}
		return nil
	}
	other := slices.Clone(users)
	if p.caps.Has(pluginapi.CarriesNames) {
		other[0].GivenName = "Grace"
	} else {
		other[0].Email, other[0].Username = "new-"+other[0].Email, "new-"+other[0].Username
	}
	out, ok, err := p.update(ctx, known(other[:1], first))
	if err != nil || !ok {
		return err
	}
	if out[0].Action != pluginapi.Updated {
		return nil // another rule
	}
	last := slices.Concat(out, first[1:])
	if err := as("after an update", other, last); err != nil || !p.caps.Can(pluginapi.CanUndo) || len(p.problems) > 0 {
		return err
	}
	if out, err = p.undo(ctx, accountsOf(out)); err != nil {
		return err
	}
	p.expect("an update that is undone", out, pluginapi.Updated)
	if err := as("after the undo of an update", users, first); err != nil {
		return err
	}
	if _, err = p.undo(ctx, accountsOf(first[:1])); err != nil {
		return err
	}
	after, err := p.load(ctx, may(known(users[1:], first[1:])))
	if err == nil {
		p.expect("beside an account that an undo has deleted, others", after, pluginapi.Unchanged)
	}
	return err
}

// whole reports whether an account is there with all its identities.
func whole(o pluginapi.Outcome) bool {
	return o.Action.MayLose() && !slices.ContainsFunc(o.Losses, func(l pluginapi.PartLoss) bool { return l.Feature == pluginapi.CarriesIdentities })
}

// linkedTo is somebody with an identity.
func linkedTo(p *probe, i pluginapi.Identity) pluginapi.User {
	u := p.person()
	u.Identities = []pluginapi.Identity{i}
	return u
}

// freshIdentity is one that nobody has.
func freshIdentity(k *kit) pluginapi.Identity {
	k.made++
	return pluginapi.Identity{Provider: "google", Subject: fmt.Sprintf("%s-%d", k.run, k.made)}
}

func tryOneOwner(ctx context.Context, p *probe) error {
	contested, own := freshIdentity(p.kit), freshIdentity(p.kit)
	owners := []pluginapi.User{linkedTo(p, contested), linkedTo(p, own)}
	first, err := p.load(ctx, owners)
	if err != nil {
		return err
	}
	if !whole(first[0]) || !whole(first[1]) {
		p.pointless = "the target does not take an identity at google: " + say(first[0])
		return nil
	}
	// kept looks whether those who are said to have an identity have it. There are targets in
	// which two do until one of them signs in.
	kept := func(when string, users []pluginapi.User, left []pluginapi.Outcome) error {
		var owners []pluginapi.User
		for i, o := range left {
			if whole(o) {
				owners = append(owners, known(users[i:i+1], left[i:i+1])...)
			}
		}
		out, err := p.load(ctx, owners)
		for _, o := range out {
			if o.Action != pluginapi.Unchanged || !whole(o) {
				p.fail("%s, an account that was said to have it ends as %s %v: it has no identity, or not any more", when, say(o), o.Losses)
			}
		}
		return err
	}
	users := []pluginapi.User{p.person(), linkedTo(p, contested), p.person()}
	var planned []pluginapi.Change
	if p.caps.Can(pluginapi.CanPlan) {
		err := p.with(ctx, func(ctx context.Context, i *instance) (err error) {
			planned, err = i.Plan(ctx, users)
			return err
		})
		if err != nil {
			return fmt.Errorf("plan: %w", err)
		}
	}
	out, err := p.load(ctx, users)
	if err != nil {
		p.fail("with somebody whose identity another account has: %v", err)
		return nil
	}
	p.expect("beside somebody whose identity another account has", []pluginapi.Outcome{out[0], out[2]}, pluginapi.Created)
	if out[1].Action == pluginapi.InDoubt {
		p.fail("where another account has the identity, who wants it is %s, want an outcome that is certain", say(out[1]))
	}
	if planned != nil && (planned[1].Action != out[1].Action || whole(planned[1].Outcome) != whole(out[1])) {
		p.fail("where another account has the identity, planned %s, then %s", say(planned[1].Outcome), say(out[1]))
	}
	all, left := append(owners, users[1]), append(first, out[1])
	if err := kept("after another one wanted it", all, left); err != nil || len(p.problems) > 0 {
		return err
	}
	// The next run may change accounts, and take identities from one that has another.
	again := users[1:2]
	if out[1].Action.MayLose() {
		again = known(again, out[1:2])
	}
	again = may(again)
	again[0].Prior.Linked = []string{first[1].TargetID}
	second, err := p.load(ctx, again)
	if err != nil {
		return err
	}
	left[2] = second[0]
	if err := kept("after a run that may take identities from a third account", all, left); err != nil || len(p.problems) > 0 {
		return err
	}
	return tryTwins(ctx, p, kept)
}

// tryTwins are two of one batch who want the same.
func tryTwins(ctx context.Context, p *probe, kept func(string, []pluginapi.User, []pluginapi.Outcome) error) error {
	both := freshIdentity(p.kit)
	twins := []pluginapi.User{linkedTo(p, both), linkedTo(p, both), p.person()}
	out, err := p.load(ctx, twins)
	if err != nil {
		p.fail("with two in a batch who want one identity: %v", err)
		return nil
	}
	p.expect("beside two in a batch who want one identity", out[2:], pluginapi.Created)
	if err := kept("after two in a batch wanted it", twins[:2], out[:2]); err != nil {
		return err
	}
	for i, o := range out[:2] {
		if o.Action == pluginapi.InDoubt {
			twins[i].Prior.InDoubt = true
			next, err := p.load(ctx, twins[i:i+1])
			if err != nil {
				return err
			}
			p.expect("two in a batch who want one identity: who was in doubt", next, pluginapi.Created, pluginapi.Unchanged, pluginapi.Rejected, pluginapi.Skipped)
		}
	}
	return nil
}

// runWith is a whole run that is told what roles allow.
func runWith(ctx context.Context, p *probe, roles []pluginapi.Role, users []pluginapi.User) (out []pluginapi.Outcome, err error) {
	err = p.with(ctx, func(ctx context.Context, i *instance) error {
		if err := i.defineRoles(ctx, roles); err != nil {
			return fmt.Errorf("told what roles allow: %w", err)
		}
		if out, err = i.Load(ctx, users); err != nil {
			return fmt.Errorf("load: %w", err)
		}
		p.watch.outcomes(out)
		if err := i.Finish(ctx); err != nil {
			return fmt.Errorf("finish: %w", err)
		}
		return nil
	})
	return out, err
}

// withRoles is somebody with roles.
func withRoles(p *probe, names ...string) pluginapi.User {
	u := p.person()
	u.Roles = map[string][]string{"public": names}
	p.caps.Withheld().From(&u)
	return u
}

// seesAllowed compares what a role allows in the target, where somebody looks.
func seesAllowed(ctx context.Context, p *probe, when string, r pluginapi.Role) error {
	if p.suite.Allows == nil {
		return nil
	}
	got, err := p.suite.Allows(ctx, r.Name)
	if err != nil {
		return fmt.Errorf("look what a role allows: %w", err)
	}
	if got = slices.Sorted(slices.Values(got)); !slices.Equal(got, r.Permissions) {
		p.fail("%s, a role allows %q, want %q", when, shorten(strings.Join(got, " ")), r.Permissions)
	}
	return nil
}

func tryRolePermissions(ctx context.Context, p *probe) error {
	some := pluginapi.Role{Name: "kit-some-" + p.run, Permissions: []string{"read", "write"}}
	none := pluginapi.Role{Name: "kit-none-" + p.run}
	user := []pluginapi.User{withRoles(p, none.Name, some.Name)}
	before, err := p.inspect(ctx)
	if err != nil {
		return err
	}
	written := p.suite.Front.writes()
	// quiet says that nothing was written since.
	quiet := func(what string) error {
		after, err := p.inspect(ctx)
		if err == nil && after != before {
			p.fail("%s has changed the target", what)
		}
		if n := p.suite.Front.writes() - written; n > 0 {
			p.fail("%s sent %d requests that could change something", what, n)
		}
		return err
	}
	err = p.with(ctx, func(ctx context.Context, i *instance) error {
		if err := i.defineRoles(ctx, []pluginapi.Role{some}); err != nil {
			return fmt.Errorf("told what a role allows: %w", err)
		}
		if err := i.defineRoles(ctx, []pluginapi.Role{none}); err != nil {
			return fmt.Errorf("told what another role allows: %w", err)
		}
		if p.caps.Can(pluginapi.CanCheck) {
			found, err := i.Check(ctx, pluginapi.Needs{Users: 1, Roles: []string{none.Name, some.Name}, DryRun: true})
			p.watch.diagnostics(found.Diagnostics)
			if err != nil {
				return err
			}
		}
		if !p.caps.Can(pluginapi.CanPlan) {
			return nil
		}
		_, err := i.Plan(ctx, user)
		return err
	})
	if err = errors.Join(err, quiet("to tell what roles allow, and to look and plan with that,")); err != nil {
		return err
	}
	roles := []pluginapi.Role{none, some}
	out, err := runWith(ctx, p, roles, user)
	if err != nil {
		return err
	}
	p.expect("with a role that allows something", out, pluginapi.Created)
	if slices.ContainsFunc(out[0].Losses, func(l pluginapi.PartLoss) bool { return l.Feature == pluginapi.CarriesRoles }) {
		p.pointless = "the target does not take roles that it does not have"
		return nil
	}
	if err := errors.Join(seesAllowed(ctx, p, "after a run", some), seesAllowed(ctx, p, "after a run", none)); err != nil {
		return err
	}
	if before, err = p.inspect(ctx); err != nil {
		return err
	}
	written = p.suite.Front.writes()
	again, err := runWith(ctx, p, roles, known(user, out))
	if err != nil {
		return err
	}
	if !p.caps.Whole {
		p.expect("once more with the same roles", again, pluginapi.Unchanged)
		if err := quiet("a second run with the same roles"); err != nil {
			return err
		}
	}
	if err := seesAllowed(ctx, p, "after a second run", some); err != nil {
		return err
	}
	return tryOddPermissions(ctx, p)
}

// tryOddPermissions has one role that a target may not take, beside one that it can.
func tryOddPermissions(ctx context.Context, p *probe) error {
	odd := pluginapi.Role{Name: "kit-odd-" + p.run, Permissions: []string{"\"'%00/../", strings.Repeat("long", 25<<10), "Żółć 🙂"}}
	good := pluginapi.Role{Name: "kit-plain-" + p.run, Permissions: []string{"read"}}
	out, err := runWith(ctx, p, []pluginapi.Role{good, odd}, []pluginapi.User{withRoles(p, odd.Name), withRoles(p, good.Name), p.person()})
	if err != nil {
		p.fail("a role with permissions that no target has to take stops everybody: %v", err)
		return nil
	}
	p.expect("where a role has permissions that no target has to take", out, pluginapi.Created)
	return seesAllowed(ctx, p, "beside a role with permissions that no target has to take", good)
}

func tryDenied(ctx context.Context, p *probe) error {
	users := p.people(3)
	restore := p.suite.Front.disturb(deny)
	var out []pluginapi.Outcome
	err := p.with(ctx, func(ctx context.Context, i *instance) error {
		if p.caps.Can(pluginapi.CanCheck) {
			found, err := i.Check(ctx, pluginapi.Needs{Users: len(users)})
			p.watch.diagnostics(found.Diagnostics)
			if err == nil && !found.Diagnostics.HasErrors() {
				p.fail("every request is refused with 401, and Check finds no error")
			}
		}
		// The error of the call is that nobody knows what became of them.
		out, _ = i.Load(ctx, users)
		p.watch.outcomes(out)
		return nil
	})
	restore()
	if err != nil {
		return err
	}
	p.expect("while every request is refused with 401", out, pluginapi.InDoubt)
	if len(p.problems) > 0 {
		return nil
	}
	for i := range users {
		users[i].Prior.InDoubt = true
	}
	if out, err = p.load(ctx, users); err == nil {
		p.expect("once requests are answered again", out, pluginapi.Created)
	}
	return err
}

// clearText is what of a user a state shows, empty where that is nothing.
func clearText(u *pluginapi.User, state []byte) string {
	for what, value := range map[string]string{"address": u.Email, "user name": u.Username, "family name": u.FamilyName} {
		if len(value) > 4 && bytes.Contains(bytes.ToLower(state), bytes.ToLower([]byte(value))) {
			return what
		}
	}
	return ""
}
