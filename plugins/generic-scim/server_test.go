//go:build unix

package scim

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/testserver/scim"
)

// TestServers moves users into servers that others have written.
func TestServers(t *testing.T) {
	t.Parallel()
	schema, err := os.ReadFile("../../docs/scim-extension.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		server func(t *testing.T) *scim.Server
		config func(*Config)
		// extended: the server has a place for what SCIM has no attribute for.
		extended bool
	}{
		"SCIMMY": {server: func(t *testing.T) *scim.Server { return scim.StartSCIMMY(t, scim.Options{}) }},
		"SCIMMY, singles, filters": {
			server: func(t *testing.T) *scim.Server { return scim.StartSCIMMY(t, scim.Options{}) },
			config: func(c *Config) { c.Bulk, c.Lookup = off, byFilter },
		},
		"SCIMMY with the extension": {
			server: func(t *testing.T) *scim.Server {
				return scim.StartSCIMMY(t, scim.Options{Extension: ietfExtension})
			},
			config: func(c *Config) { c.Extension.URN = ietfExtension }, extended: true,
		},
		"SCIMMY, extension forced on it": {
			server: func(t *testing.T) *scim.Server { return scim.StartSCIMMY(t, scim.Options{}) },
			config: func(c *Config) { c.Extension.Use = always },
		},
		"scim2-server": {server: func(t *testing.T) *scim.Server { return scim.StartSCIM2(t, scim.Options{}) }},
		"scim2-server, singles, PUT": {
			server: func(t *testing.T) *scim.Server { return scim.StartSCIM2(t, scim.Options{}) },
			config: func(c *Config) { c.Bulk, c.Patch = off, off },
		},
		"scim2-server with the extension": {
			server:   func(t *testing.T) *scim.Server { return scim.StartSCIM2(t, scim.Options{Schema: schema}) },
			extended: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := test.server(t)
			config := Config{URL: s.URL, Auth: Auth{Type: "bearer", Token: sdk.NewSecret(scim.Token)}}
			if test.config != nil {
				test.config(&config)
			}
			move(t, s, config, test.extended)
		})
	}
}

// SCIMMY refuses names of extensions outside of this space.
const ietfExtension = "urn:ietf:params:scim:schemas:extension:supertokens:2.0:User"

func move(t *testing.T, s *scim.Server, config Config, extended bool) {
	j := &memory{}
	target := openLive(t, config, j)
	users := mixture(40)
	for i := range users {
		users[i].Metadata = []byte(`{"plan":"pro"}`)
		users[i].Identities = []sdk.Identity{{Provider: "google", Subject: users[i].ID}}
		users[i].Tenants = []string{"eu", "public"}
	}
	planned := plan(t, target, users)
	if n := planned.Counts()[sdk.Created]; n != len(users) {
		t.Fatalf("planned %v", planned.Counts())
	}
	if all, _ := s.Stored(t); len(all) != 0 {
		t.Fatal("a plan has written")
	}
	b := load(t, target, users)
	if n := b.Counts()[sdk.Created]; n != len(users) {
		for source, c := range b.ByID {
			if c.Action != sdk.Created {
				t.Logf("%s is %s %s: %s", source, c.Action, c.Code, c.Detail)
			}
		}
		t.Fatalf("loaded %v", b.Counts())
	}
	held(t, s, config.withDefaults(), users, b, extended)

	again := openLive(t, config, j) // as another process
	second := plan(t, again, known(users, b))
	if n := second.Counts()[sdk.Unchanged]; n != len(users) {
		for source, c := range second.ByID {
			if c.Action != sdk.Unchanged {
				t.Logf("%s is %s %s: %v", source, c.Action, c.Code, c.Fields)
			}
		}
		t.Fatalf("a second run finds %v", second.Counts())
	}

	changed := known(users, b)[2:4]
	changed[0].GivenName, changed[0].OtherEmails = "Grace", nil
	changed[1].Roles = map[string][]string{"public": {"admin"}}
	updated := load(t, again, changed)
	if updated.Counts()[sdk.Updated] != 2 {
		t.Fatalf("updates: %+v", updated.ByID)
	}
	users[2], users[3] = changed[0], changed[1]
	for source, c := range updated.ByID {
		c.Action = sdk.Created // still one that a load has made
		c.Before = nil
		b.ByID[source] = c
	}
	held(t, s, config.withDefaults(), users, b, extended)
	if third := load(t, again, known(users, b)); third.Counts()[sdk.Unchanged] != len(users) {
		t.Fatalf("after the update: %v", third.Counts())
	}

	if u := undo(t, again, accounts(b)); u.Counts()[sdk.Deleted] != len(users) {
		for source, c := range u.ByID {
			t.Logf("%s is %s %s: %s", source, c.Action, c.Code, c.Detail)
		}
		t.Fatalf("undo: %v", u.Counts())
	}
	if _, left, err := again.Tidy(t.Context()); err != nil || left != 0 {
		t.Fatalf("tidied up: %d left, %v", left, err)
	}
	if left, groups := s.Stored(t); len(left) != 0 || len(groups) != 0 {
		t.Errorf("after the undo %d users and %d groups are left", len(left), len(groups))
	}
}

// held compares what the server stores with the users, one account for each.
func held(t *testing.T, s *scim.Server, config Config, users []sdk.User, b *book, extended bool) {
	t.Helper()
	stored, groups := s.Stored(t)
	if len(stored) != len(users) {
		t.Fatalf("%d accounts for %d users", len(stored), len(users))
	}
	byKey := map[string]resource{}
	for _, r := range stored {
		byKey[resource(r).text("externalId")] = r
	}
	memberships := map[string][]string{}
	for _, g := range groups {
		for _, m := range elements(g["members"]) {
			o, _ := objectOf(m)
			if strings.HasPrefix(o.text("value"), "bulkId") {
				t.Errorf("a group has the member %s", o.text("value"))
			}
			memberships[o.text("value")] = append(memberships[o.text("value")], resource(g).text("displayName"))
		}
	}
	for _, u := range users {
		r := byKey[u.ID]
		if r == nil || r.id() != b.ByID[u.SourceID].TargetID {
			t.Errorf("%s: externalId %s belongs to %v, the outcome says %s", u.SourceID, u.ID, r.id(), b.ByID[u.SourceID].TargetID)
			continue
		}
		if p := r.get("password"); p != nil {
			t.Errorf("%s has a password at the server", u.SourceID)
		}
		want := []string{u.Email}
		for _, o := range u.OtherEmails {
			want = append(want, o.Email)
		}
		var got []string
		for _, e := range elements(r.get("emails")) {
			o, _ := objectOf(e)
			got = append(got, o.text("value"))
		}
		if u.Email == "" {
			want = nil
		}
		if !slices.Equal(got, want) || !strings.EqualFold(r.text("userName"), u.Username) || !truth(r.get("active")) {
			t.Errorf("%s: addresses %v, name %q, active %v", u.SourceID, got, r.text("userName"), r.get("active"))
		}
		name, _ := objectOf(r.get("name"))
		if name.text("givenName") != u.GivenName || name.text("familyName") != u.FamilyName {
			t.Errorf("%s: name %v", u.SourceID, name)
		}
		if phones := elements(r.get("phoneNumbers")); (u.Phone == "") != (len(phones) == 0) {
			t.Errorf("%s: phone numbers %v", u.SourceID, phones)
		}
		if got := slices.Sorted(slices.Values(memberships[r.id()])); !slices.Equal(got, slices.Sorted(slices.Values(u.Roles["public"]))) {
			t.Errorf("%s is in groups %v", u.SourceID, got)
		}
		e, _ := objectOf(r.get(config.Extension.URN))
		if (e.text("metadataJson") == `{"plan":"pro"}` && len(elements(e.get("identities"))) == 1 && len(elements(e.get("tenants"))) == 2) != extended {
			t.Errorf("%s: extension %v", u.SourceID, e)
		}
	}
}
