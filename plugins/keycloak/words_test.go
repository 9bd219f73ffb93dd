//go:build unix

package keycloak

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// TestServerClosedRealms: what keeps a client out has a heading of its own.
func TestServerClosedRealms(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	c := newRealmOn(t, s, "closed")
	astray := c
	astray.URL += "/auth"
	if d := cmp.Diff([]string{"error keycloak.wrong_path"}, codes(open(t, astray).Check(t.Context(), sdk.Needs{}))); d != "" {
		t.Error(d)
	}
	settle(t, s, "closed", map[string]any{"sslRequired": "all"})
	if d := cmp.Diff([]string{"error keycloak.https_required"}, codes(open(t, c).Check(t.Context(), sdk.Needs{}))); d != "" {
		t.Error(d)
	}
	settle(t, s, "closed", map[string]any{"sslRequired": "none", "enabled": false})
	if d := cmp.Diff([]string{"error keycloak.realm_disabled"}, codes(open(t, c).Check(t.Context(), sdk.Needs{}))); d != "" {
		t.Error(d)
	}
}

// TestServerCanaryOutlivesPolicy: a policy that expires passwords is no reason to take an
// account that has just been made for one whose password does not work.
func TestServerCanaryOutlivesPolicy(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "expiring")
	settle(t, s, "expiring", map[string]any{"passwordPolicy": "forceExpiredPasswordChange(30)"})
	u := person(63_000, func(u *sdk.User) {
		u.SourceID, u.Tenants = "stetl-canary-expiry", nil
		u.Password, u.Class = bcryptOf(t, "2a", "pw"), sdk.HashCarried
	})
	loaded(t, client(t, config), u)
	if got := login(t, s, "expiring", u.Username, "pw"); got != "ok" {
		t.Errorf("sign-in of a canary: %s", got)
	}
}

// TestServerLongTenants: an organization is made for whatever a tenant may be called.
func TestServerLongTenants(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	c := newRealmOn(t, s, "long-tenants")
	settle(t, s, "long-tenants", map[string]any{"organizationsEnabled": true})
	p := plugintest.Serve(t, Plugin(), map[string]any{
		"url": c.URL, "realm": c.Realm, "client_id": c.ClientID, "client_secret": c.ClientSecret.Reveal(), "tenants": tenantsAsOrganizations,
	})
	long := strings.Repeat("t", 64)
	u := person(63_100, func(u *sdk.User) { u.Tenants = []string{"-odd-", long} })
	o := loaded(t, p, u)[0]
	if o.Action != sdk.Created || len(o.Losses) > 0 {
		t.Errorf("%+v", o)
	}
	if d := cmp.Diff(map[string]int{"-odd-": 1, long: 1}, membersOf(t, s, "long-tenants")); d != "" {
		t.Error(d)
	}
}

// TestServerMeetsItself: somebody who has registered again meets the account that a run
// made for the one before.
func TestServerMeetsItself(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	c := client(t, newRealmOn(t, s, "again"))
	before := whole(t, 63_200)
	loaded(t, c, before)
	after := whole(t, 63_201)
	after.Username, after.Email = before.Username, before.Email
	o := loaded(t, c, after)[0]
	if o.Action != sdk.Rejected || o.Code != sdk.CodeUsernameConflict || !strings.Contains(o.Detail, "an earlier run has made") || !strings.Contains(o.Hint, before.ID) {
		t.Errorf("%+v", o)
	}
	// The same person under another id is found by the id of before.
	known := before
	known.ID, known.GivenName = after.ID, "Other"
	known.Existing, known.Prior = sdk.Update, sdk.Prior{TargetID: before.ID}
	o = loaded(t, c, known)[0]
	if o.Action != sdk.Updated || o.TargetID != before.ID || !slices.Contains(losses(o), "id load.part_refused") {
		t.Errorf("%+v", o)
	}
}

// TestServerUpdatesCheaply counts the requests of a delta.
func TestServerUpdatesCheaply(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "cheap")
	users := people(63_300, 63_339)
	for i := range users {
		users[i].Roles, users[i].Tenants = map[string][]string{"public": {"editor"}}, []string{"eu"}
	}
	known := remembering(users, loaded(t, client(t, config), users...))
	for i := range known {
		known[i].GivenName, known[i].Roles = "New", map[string][]string{"public": {"auditor"}}
	}
	var requests *atomic.Int64
	config.URL, requests = counted(t, s.URL())
	c := client(t, config)
	for _, o := range loaded(t, c, known...) {
		if o.Action != sdk.Updated {
			t.Fatalf("%+v", o)
		}
	}
	// The account, the role it gets and the one it loses. What has become of them is read
	// together.
	if n := int(requests.Load()); n > 3*len(known)+30 {
		t.Errorf("%d requests for %d updates", n, len(known))
	}
}

// The range of versions that the page documents is the one that the matrix tests.
func TestDocumentedVersions(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"../../docs/keycloak.md", "../../Makefile"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, version := range []string{keycloak.OldVersion, keycloak.Version} {
			if !strings.Contains(string(text), version) {
				t.Errorf("%s does not name %s", path, version)
			}
		}
	}
	if !strings.HasPrefix(keycloak.OldVersion, fmt.Sprint(testedVersion, ".")) {
		t.Errorf("%d is taken for the first that is tested, which is %s", testedVersion, keycloak.OldVersion)
	}
}
