package auth0

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	simulator "github.com/stetl/stetl/internal/testserver/auth0"
)

var pasted = regexp.MustCompile(`[a-z]+:[a-z_]+( [a-z]+:[a-z_]+)*$`)

// TestScopesToPaste: a check names all scopes that runs use. An application with just
// these can do everything that a run, the next one and an undo do.
func TestScopesToPaste(t *testing.T) {
	t.Parallel()
	needs := sdk.Needs{Users: 1, Roles: []string{"admin", "owner"}, Tenants: []string{"acme", "beta", "public"}}
	b := start(t, simulator.Options{Scopes: []string{"read:users"}}, nil)
	l, err := b.client.Check(t.Context(), needs)
	if err != nil || !l.Diagnostics.HasErrors() {
		t.Fatalf("an application that may only read users: %v, %v", l, err)
	}
	list := pasted.FindString(l.Diagnostics[0].Hint)
	for _, scope := range []string{"create:role_members", "delete:users", "delete:roles", "delete:organizations", "delete:organization_member_roles", "delete:authentication_methods"} {
		if !strings.Contains(list, scope) {
			t.Errorf("%s is not in the list: %s", scope, list)
		}
	}
	b = start(t, simulator.Options{Scopes: strings.Fields(list)}, nil)
	if l, err := b.client.Check(t.Context(), needs); err != nil || len(l.Diagnostics) > 0 {
		t.Errorf("with all of them: %v, %v", l, err)
	}
	u := person(1, seated, device(seed))
	o := b.load(u)[u.SourceID]
	u = again(person(1, device(otherSeed), func(u *sdk.User) { u.Password = light(1).Password }), o)
	if o = b.load(u)[u.SourceID]; o.Action != sdk.Updated || lossText(o) != "" {
		t.Errorf("%s, lost %s", o.Action, lossText(o))
	}
	if c := b.plan(again(u, o))[u.SourceID]; c.Action != sdk.Unchanged {
		t.Errorf("afterwards: %s %v", c.Action, c.Fields)
	}
	if _, err := b.client.Undo(t.Context(), []sdk.Account{{SourceID: u.SourceID, TargetID: o.TargetID, State: o.State}}); err != nil {
		t.Error(err)
	}
	if err := b.client.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, r := range b.server.Requests() {
		if r.Status == 403 {
			t.Errorf("%s %s is not allowed", r.Method, r.Path)
		}
	}
	if len(b.server.Users()) > 0 {
		t.Error("the account was not taken back")
	}
	// Without memberships, nothing of them is asked for.
	b = start(t, simulator.Options{Scopes: []string{"read:users"}}, map[string]any{"roles": "metadata", "tenants": "metadata"})
	if l, err := b.client.Check(t.Context(), needs); err != nil || strings.Contains(l.Diagnostics[0].Hint, "roles") {
		t.Errorf("%v, %v", l, err)
	}
}

// TestReadOnlyPlan: who may only read can plan, and not load.
func TestReadOnlyPlan(t *testing.T) {
	t.Parallel()
	b := start(t, simulator.Options{Scopes: []string{"read:users", "read:connections"}}, map[string]any{"lookups_before_export": 2})
	needs := sdk.Needs{Users: 5, Roles: []string{"admin"}, DryRun: true}
	if l, err := b.client.Check(t.Context(), needs); err != nil || l.Diagnostics.HasErrors() {
		t.Errorf("%v, %v", l, err)
	}
	for _, c := range b.plan(people(1, 5)...) {
		if c.Action != sdk.Created {
			t.Errorf("%s %s", c.Action, c.Detail)
		}
	}
	needs.DryRun = false
	if b.server.Writes() > 0 {
		t.Error("something was written")
	}
	if l, err := b.client.Check(t.Context(), needs); err != nil || !l.Diagnostics.HasErrors() {
		t.Errorf("it is said to be able to load: %v, %v", l, err)
	}
}
