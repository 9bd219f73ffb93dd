//go:build unix

package keycloak

import (
	"maps"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// What Check finds in a new realm, Fix puts right, and then people without names
// sign in.
func TestServerFix(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	s.CreateRealm(t, map[string]any{"realm": "to-fix", "enabled": true})
	c := Config{
		URL: s.URL(), Realm: "to-fix", AuthRealm: "master", ClientID: keycloak.AdminClientID, ClientSecret: secretOf(keycloak.AdminClientSecret),
		IdentityProviders: map[string]string{"google": "g"},
	}
	needs := sdk.Needs{Schemes: []sdk.Scheme{sdk.Bcrypt}, Providers: []string{"google", "github", "our-own"}}
	target := open(t, c)
	if d := cmp.Diff([]string{
		"warning keycloak.attributes_hidden", "warning keycloak.identity_provider_missing", "warning keycloak.profile_required", "warning keycloak.usernames_fixed",
	}, codes(target.Check(t.Context(), needs))); d != "" {
		t.Fatal(d)
	}
	var before, after map[string]any
	profile := "/realms/to-fix/users/profile"
	if err := s.Admin(t.Context(), http.MethodGet, profile, nil, &before); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{
		"warning keycloak.attributes_hidden", "warning keycloak.identity_provider_missing", "warning keycloak.identity_provider_missing", "warning keycloak.profile_required",
		"warning keycloak.usernames_fixed",
	}, codes(target.Fix(t.Context(), needs))); d != "" {
		t.Error(d)
	}
	list := open(t, c).Check(t.Context(), needs)
	var said []string
	for _, d := range list {
		said = append(said, d.Summary)
	}
	// Those that were added are switched off, and the type of the last one nobody knows.
	if d := cmp.Diff([]string{"the realm has these identity providers switched off: g, github", "the realm has no identity provider called our-own"}, said); d != "" {
		t.Errorf("%s\n%+v", d, list)
	}
	if list := target.Fix(t.Context(), needs); len(list) > 0 {
		t.Errorf("a second time: %+v", list)
	}
	kept, err := readCopy(t.Context(), target.api)
	if err != nil || len(kept.Required) != 3 || len(kept.Providers) != 2 {
		t.Errorf("kept: %+v, %v", kept, err)
	}
	// The rest of the profile is as it was.
	if err := s.Admin(t.Context(), http.MethodGet, profile, nil, &after); err != nil {
		t.Fatal(err)
	}
	delete(after, "unmanagedAttributePolicy")
	relaxed := maps.Clone(before)
	relaxed["attributes"] = nil
	for _, a := range before["attributes"].([]any) {
		without := maps.Clone(a.(map[string]any))
		delete(without, "required")
		all, _ := relaxed["attributes"].([]any)
		relaxed["attributes"] = append(all, without)
	}
	if d := cmp.Diff(relaxed, after); d != "" {
		t.Errorf("the profile:\n%s", d)
	}
	// What was taken away is kept, and put back, but for what somebody has changed since.
	settle(t, s, "to-fix", map[string]any{"editUsernameAllowed": false})
	if d := cmp.Diff([]string{"warning keycloak.fix_undone", "warning keycloak.fix_undone", "warning keycloak.fix_undone", "warning keycloak.fix_undone"}, codes(open(t, c).UndoFix(t.Context()))); d != "" {
		t.Error(d)
	}
	if list := open(t, c).UndoFix(t.Context()); len(list) > 0 {
		t.Errorf("undone a second time: %+v", list)
	}
	after = nil
	if err := s.Admin(t.Context(), http.MethodGet, profile, nil, &after); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("the profile after the undo:\n%s", d)
	}
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/to-fix/roles/"+copyRole, nil, nil); err == nil {
		t.Error("the role with the copy is still there")
	}
	target.Fix(t.Context(), needs)
	u := person(7101, func(u *sdk.User) {
		u.Password, u.Identities = bcryptOf(t, "2a", "testpass"), []sdk.Identity{{Provider: "google", Subject: "1"}}
	})
	load(t, target, []sdk.User{u})
	if got := login(t, s, "to-fix", u.Username, "testpass"); got != "ok" {
		t.Errorf("sign-in without names: %s", got)
	}
	var links []link
	if err := s.Admin(t.Context(), http.MethodGet, "/realms/to-fix/users/"+u.ID+"/federated-identity", nil, &links); err != nil || len(links) != 1 || links[0].Alias != "g" {
		t.Errorf("links %+v, %v", links, err)
	}
}

// Without the roles Fix says which one it takes.
func TestServerFixIsRefused(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	c := newRealmOn(t, s, "not-to-fix")
	setProfile(t, s, "not-to-fix", "")
	list := open(t, c).Fix(t.Context(), sdk.Needs{Providers: []string{"google"}})
	if d := cmp.Diff([]string{"warning keycloak.attributes_hidden", "warning keycloak.not_fixed", "warning keycloak.usernames_fixed"}, codes(list)); d != "" {
		t.Errorf("%s\n%+v", d, list)
	}
}
