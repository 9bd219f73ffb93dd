//go:build unix

package keycloak

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// client is the plugin behind the protocol, as the host has it, with a key that
// stays the same.
func client(t *testing.T, c Config) *plugintest.Client {
	t.Helper()
	return clientOf(t, c, 5)
}

// clientOf is one of a journal, which has a key of its own.
func clientOf(t *testing.T, c Config, journal byte) *plugintest.Client {
	t.Helper()
	return plugintest.ServeWith(t, Plugin(), map[string]any{
		"url": c.URL, "realm": c.Realm, "client_id": c.ClientID, "client_secret": c.ClientSecret.Reveal(), "bridge_alias": c.BridgeAlias,
		"identity_providers": map[string]string{"google": "google"},
	}, plugintest.Host{FingerprintKey: bytes.Repeat([]byte{journal}, 32)})
}

// grant gives the service account another role of realm-management.
func grant(t *testing.T, s *keycloak.Server, realm, roleName string) {
	t.Helper()
	var clients []struct {
		ID string `json:"id"`
	}
	var users []account
	var found any
	base := "/realms/" + url.PathEscape(realm)
	for path, into := range map[string]any{base + "/clients?clientId=realm-management": &clients, base + "/users?username=service-account-loader&exact=true": &users} {
		if err := s.Admin(t.Context(), http.MethodGet, path, nil, into); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Admin(t.Context(), http.MethodGet, base+"/clients/"+clients[0].ID+"/roles/"+roleName, nil, &found); err != nil {
		t.Fatal(err)
	}
	if err := s.Admin(t.Context(), http.MethodPost, base+"/users/"+users[0].ID+"/role-mappings/clients/"+clients[0].ID, []any{found}, nil); err != nil {
		t.Fatal(err)
	}
}

// snapshot is the realm as an export shows it: users, roles, groups, clients.
func snapshot(t *testing.T, s *keycloak.Server, realm string) string {
	t.Helper()
	base := "/realms/" + url.PathEscape(realm)
	var all []any
	for _, path := range []string{"/users?max=1000&briefRepresentation=false", "/roles?max=1000", "/groups?max=1000", "/clients?max=1000"} {
		var part []map[string]any
		if err := s.Admin(t.Context(), http.MethodGet, base+path, nil, &part); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(part, func(a, b map[string]any) int { return strings.Compare(a["id"].(string), b["id"].(string)) })
		all = append(all, part)
	}
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func actions(all []sdk.Outcome) map[sdk.Action]int {
	out := map[sdk.Action]int{}
	for _, o := range all {
		out[o.Action]++
	}
	return out
}

// remembering gives users what a journal would know of them.
func remembering(users []sdk.User, left []sdk.Outcome) []sdk.User {
	out := slices.Clone(users)
	for i := range out {
		out[i].Existing, out[i].Prior = sdk.Update, sdk.Prior{TargetID: left[i].TargetID, State: left[i].State}
	}
	return out
}

// short is a change without its state.
func short(c sdk.Change) string {
	c.State, c.Before = nil, nil
	return fmt.Sprintf("%+v", c)
}

// addProvider adds an identity provider to a realm.
func addProvider(t *testing.T, s *keycloak.Server, realm, alias string) {
	t.Helper()
	err := s.Admin(t.Context(), http.MethodPost, "/realms/"+realm+"/identity-provider/instances", map[string]any{
		"alias": alias, "providerId": "oidc", "enabled": true,
		"config": map[string]string{"clientId": "x", "clientSecret": "x", "authorizationUrl": "https://idp.invalid/a", "tokenUrl": "https://idp.invalid/t"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

func planOf(t *testing.T, c *plugintest.Client, users []sdk.User) []sdk.Change {
	t.Helper()
	planned, err := c.Plan(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	return planned
}

// TestServerLifeOfAccounts loads everything an account can have into a real
// server, reads it back, changes it, meets changes of others, and undoes it all.
func TestServerLifeOfAccounts(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "life")
	config.BridgeAlias = "supertokens"
	for _, alias := range []string{"supertokens", "github", "google"} {
		addProvider(t, s, "life", alias)
	}
	before := snapshot(t, s, "life")
	users, passwords := zoo(t, 5000)
	c := client(t, config)
	loaded, err := c.Load(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[sdk.Action]int{sdk.Created: len(users)}, actions(loaded)); d != "" {
		t.Fatalf("load: %s\n%+v", d, loaded)
	}

	// Read back: nothing differs, and the state is the one that was left.
	known := remembering(users, loaded)
	for i, p := range planOf(t, c, known) {
		if p.Action != sdk.Unchanged || !bytes.Equal(p.State, loaded[i].State) {
			t.Errorf("read back: %s", short(p))
		}
	}

	// The first sign-in has the server exchange the hash; that is no drift.
	for name, password := range passwords {
		if got := login(t, s, "life", name, password); got != "ok" {
			t.Logf("sign-in of %s: %s", name, got) // those with a second factor
		}
	}
	for _, p := range planOf(t, c, known) {
		if p.Action != sdk.Unchanged {
			t.Errorf("after the sign-ins: %s", short(p))
		}
	}

	// The source changes.
	changed := slices.Clone(known)
	one := &changed[0]
	one.GivenName, one.Email = "Renamed", "renamed@example.com"
	one.Username = known[0].Username
	one.Roles = map[string][]string{"public": {"auditor"}}
	one.Tenants = []string{"emea"}
	one.Password = bcryptOf(t, "2b", "a new password")
	one.Class = sdk.HashCarried
	one.Identities = []sdk.Identity{{Provider: "github", Subject: "77", Name: "octo"}}
	planned := planOf(t, c, changed[:1])
	fields := map[string]string{}
	for _, f := range planned[0].Fields {
		if f.Drift {
			t.Errorf("%s counts as changed by others", f.Field)
		}
		fields[f.Field] = f.New
	}
	if planned[0].Action != sdk.Updated || fields["firstName"] != "Renamed" || fields["roles"] != "auditor" || fields["groups"] != "/tenants/emea" || fields["identity.github"] != "77" {
		t.Fatalf("plan of a change: %+v", planned[0])
	}
	changed[0].Expect = planned[0].State
	updated, err := c.Load(t.Context(), changed[:1])
	if err != nil || updated[0].Action != sdk.Updated || updated[0].Before == nil {
		t.Fatalf("update: %+v, %v", updated, err)
	}
	if got := login(t, s, "life", one.Username, "a new password"); got != "ok" && !strings.Contains(got, "Invalid user credentials") {
		t.Logf("sign-in: %s", got)
	} else if got != "ok" && len(one.TOTP) == 0 {
		t.Errorf("the new password: %s", got)
	}
	again := remembering(changed[:1], updated)
	if p := planOf(t, c, again)[0]; p.Action != sdk.Unchanged || !bytes.Equal(p.State, updated[0].State) {
		t.Errorf("after the update: %+v", p)
	}

	// Somebody else changes another account.
	other := known[1].ID
	if err := s.Admin(t.Context(), http.MethodPut, "/realms/life/users/"+other, map[string]any{"firstName": "Theirs"}, nil); err != nil {
		t.Fatal(err)
	}
	drifted := planOf(t, c, known[1:2])[0]
	if drifted.Action != sdk.Updated || len(drifted.Fields) != 1 || !drifted.Fields[0].Drift || bytes.Equal(drifted.State, loaded[1].State) {
		t.Errorf("drift: %+v", drifted)
	}
	moved := slices.Clone(known[1:2])
	moved[0].Expect = loaded[1].State
	if o, err := c.Load(t.Context(), moved); err != nil || o[0].Action != sdk.Rejected || o[0].Code != sdk.CodeMoved {
		t.Errorf("a condition that does not hold: %+v, %v", o, err)
	}

	// Undo: what was touched stays, everything else is as it was.
	accounts := make([]sdk.Account, len(users))
	for i, o := range loaded {
		accounts[i] = sdk.Account{SourceID: users[i].SourceID, TargetID: o.TargetID, State: o.State, SignedIn: true}
	}
	accounts[0].State = updated[0].State
	undone, err := c.Undo(t.Context(), accounts)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[sdk.Action]int{sdk.Deleted: len(users) - 1, sdk.Skipped: 1}, actions(undone)); d != "" || undone[1].Code != sdk.CodeMoved {
		t.Errorf("undo: %s\n%+v", d, undone)
	}
	accounts[1].State = nil // the operator insists
	if undone, err := c.Undo(t.Context(), accounts[:2]); err != nil || undone[0].Action != sdk.Unchanged || undone[1].Action != sdk.Deleted {
		t.Errorf("undo of the rest: %+v, %v", undone, err)
	}
	if removed, left, err := c.Tidy(t.Context()); err != nil || removed == 0 || left != 0 {
		t.Fatalf("tidied up: %d removed, %d left, %v", removed, left, err)
	}
	if d := cmp.Diff(before, snapshot(t, s, "life")); d != "" {
		t.Errorf("the realm is not as it was (-before +after):\n%s", d)
	}
}

// An account that was there before gets its former self back.
func TestServerRestoresPreImages(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "restore")
	u := person(6000, func(u *sdk.User) {
		u.Password, u.Class = bcryptOf(t, "2a", "from the source"), sdk.HashCarried
		u.Roles, u.Tenants = map[string][]string{"public": {"editor"}}, []string{"eu"}
		u.Metadata = json.RawMessage(`{"plan":"gold"}`)
	})
	err := s.Admin(t.Context(), http.MethodPost, "/realms/restore/partialImport", map[string]any{
		"ifResourceExists": "FAIL",
		"users": []any{map[string]any{
			"id": u.ID, "username": u.Username, "email": u.Email, "enabled": true, "firstName": "Before", "attributes": map[string]any{"theirs": []string{"1"}},
		}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, s, "restore")
	c := client(t, config)
	if o, err := c.Load(t.Context(), []sdk.User{u}); err != nil || o[0].Action != sdk.Skipped || o[0].Code != sdk.CodeExistsDiffers {
		t.Fatalf("leaving it alone: %+v, %v", o, err)
	}
	u.Existing = sdk.Update
	o, err := c.Load(t.Context(), []sdk.User{u})
	if err != nil || o[0].Action != sdk.Updated {
		t.Fatalf("adopting: %+v, %v", o, err)
	}
	if got := login(t, s, "restore", u.Username, "from the source"); got != "ok" {
		t.Errorf("the carried password: %s", got)
	}
	undone, err := c.Undo(t.Context(), []sdk.Account{{SourceID: u.SourceID, TargetID: o[0].TargetID, State: o[0].State, Before: o[0].Before}})
	if err != nil || undone[0].Action != sdk.Updated {
		t.Fatalf("undo: %+v, %v", undone, err)
	}
	if removed, left, err := c.Tidy(t.Context()); err != nil || removed != 3 || left != 0 {
		t.Fatalf("tidied up: %d removed, %d left, %v", removed, left, err)
	}
	if d := cmp.Diff(before, snapshot(t, s, "restore")); d != "" {
		t.Errorf("the realm is not as it was (-before +after):\n%s", d)
	}
}

func TestServerLogin(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "canary")
	c := client(t, config)
	u := person(6100, func(u *sdk.User) { u.Password, u.Class = bcryptOf(t, "2y", "right"), sdk.HashCarried })
	if o, err := c.Load(t.Context(), []sdk.User{u}); err != nil || o[0].Action != sdk.Created {
		t.Fatalf("load: %+v, %v", o, err)
	}
	try := func(password string) (bool, error) {
		return c.Login(t.Context(), sdk.Login{TargetID: u.ID, Username: u.Username, Password: sdk.NewSecret(password)})
	}
	if _, err := try("right"); err == nil || !strings.Contains(err.Error(), "manage-clients") {
		t.Errorf("without manage-clients: %v", err)
	}
	grant(t, s, "canary", "manage-clients")
	c = client(t, config) // a new token, which has the role
	before := snapshot(t, s, "canary")
	for password, want := range map[string]bool{"right": true, "xright": false} {
		if got, err := try(password); err != nil || got != want {
			t.Errorf("login with %s: %v, %v", password, got, err)
		}
	}
	if d := cmp.Diff(before, snapshot(t, s, "canary")); d != "" {
		t.Errorf("a login left something behind:\n%s", d)
	}

	// The bridge's calls.
	if err := c.SetPassword(t.Context(), sdk.PasswordChange{TargetID: u.ID, Password: sdk.NewSecret("chosen anew")}); err != nil {
		t.Fatal(err)
	}
	if got, err := try("chosen anew"); err != nil || !got {
		t.Errorf("login with the password that was set: %v, %v", got, err)
	}
	sessions := func() int {
		t.Helper()
		var open []struct{}
		if err := s.Admin(t.Context(), http.MethodGet, "/realms/canary/users/"+url.PathEscape(u.ID)+"/sessions", nil, &open); err != nil {
			t.Fatal(err)
		}
		return len(open)
	}
	if g, err := s.PasswordGrant(t.Context(), "canary", "admin-cli", u.Username, "chosen anew"); err != nil || g.Status != http.StatusOK || sessions() == 0 {
		t.Fatalf("sign-in: %d %s, %v; %d sessions", g.Status, g.Body, err, sessions())
	}
	if err := c.SetPassword(t.Context(), sdk.PasswordChange{TargetID: u.ID, Password: sdk.NewSecret("chosen anew"), EndSessions: true}); err != nil || sessions() != 0 {
		t.Errorf("a password that ends sessions: %v; %d are left", err, sessions())
	}
	err := c.SetPassword(t.Context(), sdk.PasswordChange{TargetID: "nobody", Password: sdk.NewSecret("x")})
	if err == nil || !strings.Contains(err.Error(), string(sdk.CodeNoSuchAccount)) {
		t.Errorf("password for nobody: %v", err)
	}
	// A password that its owner has chosen is never written over.
	known := remembering([]sdk.User{u}, []sdk.Outcome{{TargetID: u.ID}})
	known[0].Password, known[0].GivenName = bcryptOf(t, "2a", "older, from the source"), "Other"
	if o, err := c.Load(context.Background(), known); err != nil || o[0].Action != sdk.Updated {
		t.Fatalf("update: %+v, %v", o, err)
	}
	if got, err := try("chosen anew"); err != nil || !got {
		t.Errorf("the chosen password after an update: %v, %v", got, err)
	}
}
