//go:build unix

package keycloak

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/plugintest"
	"github.com/stetl/stetl/internal/testserver/keycloak"
)

// TestServerJudgesLikeThePrediction holds what is predicted of values against what the
// server says when an account with them is written.
func TestServerJudgesLikeThePrediction(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := renaming(t, s, "judged")
	everybody := map[string]any{"view": []string{"admin", "user"}, "edit": []string{"admin", "user"}}
	own := func(name string, multivalued bool, validations map[string]any) map[string]any {
		return map[string]any{"name": name, "permissions": everybody, "multivalued": multivalued, "validations": validations}
	}
	profiled(t, s, "judged", func(attributes []any) []any {
		return append(attributes,
			own("metadata.code", false, map[string]any{"pattern": map[string]any{"pattern": "[a-z]{3}", "error-message": "x"}}),
			own("metadata.look", false, map[string]any{"pattern": map[string]any{"pattern": "(?!x)[a-z]+", "error-message": "x"}}),
			own("metadata.size", false, map[string]any{"integer": map[string]any{"min": 1, "max": 10}}),
			own("metadata.rate", false, map[string]any{"double": map[string]any{"max": "2.5"}}),
			own("metadata.plan", false, map[string]any{"options": map[string]any{"options": []string{"gold", "tin"}}}),
			own("metadata.tags", true, map[string]any{"multivalued": map[string]any{"max": 2}, "length": map[string]any{"min": 2, "max": 4}}),
		)
	})
	target := open(t, config)
	load(t, target, []sdk.User{person(67_000)})
	profile, err := target.api.userProfile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("n", 256)
	tests := []struct {
		name   string
		values []string
	}{
		{fieldUsername, []string{"ab"}},
		{fieldUsername, []string{"ada lovelace"}},
		{fieldUsername, []string{"ada'"}},
		{fieldUsername, []string{"ада-lovelace"}},
		{fieldUsername, []string{"+49-170-1234"}},
		{fieldUsername, []string{"ädä_lovelace"}},
		{fieldUsername, []string{"日本語です"}},
		{fieldEmail, []string{"no-address"}},
		{fieldEmail, []string{"a b@example.com"}},
		{fieldEmail, []string{strings.Repeat("e", 65) + "@example.com"}},
		{fieldEmail, []string{"plus+tag@example.com"}},
		{"firstName", []string{"A<B"}},
		{"firstName", []string{"Ada (the first)"}},
		{"firstName", []string{"O'Hara-Smith, Jr."}},
		{"firstName", []string{"a\tb"}},
		{"firstName", []string{"日本語"}},
		{"lastName", []string{long}},
		{"lastName", []string{""}},
		{"metadata.code", []string{"abc"}},
		{"metadata.code", []string{"abcd"}},
		{"metadata.code", []string{""}},
		{"metadata.look", []string{"yes"}},
		{"metadata.size", []string{"11"}},
		{"metadata.size", []string{"10"}},
		{"metadata.size", []string{"ten"}},
		{"metadata.rate", []string{"2.6"}},
		{"metadata.rate", []string{"2.5"}},
		{"metadata.plan", []string{"gold"}},
		{"metadata.plan", []string{"lead"}},
		{"metadata.plan", []string{"gold", "tin"}},
		{"metadata.tags", []string{"one", "two"}},
		{"metadata.tags", []string{"one", "two", "six"}},
		{"metadata.tags", []string{"one", "seven"}},
		{"metadata.tags", []string{"  1  "}},
		{"metadata.none", []string{"<anything>"}},
	}
	for _, tt := range tests {
		body := map[string]any{"username": "user67000@example.com", "email": "user67000@example.com", "firstName": "Ada", "lastName": "L", "attributes": map[string]any{}}
		if strings.HasPrefix(tt.name, attrMetadata+".") {
			body["attributes"] = map[string]any{tt.name: tt.values}
		} else {
			maps.Copy(body, map[string]any{tt.name: tt.values[0]})
		}
		err := s.Admin(t.Context(), http.MethodPut, "/realms/judged/users/"+person(67_000).ID, body, nil)
		if why := profile.refuses(tt.name, tt.values); (why != "") != (err != nil) {
			t.Errorf("%s %q: predicted %q, the server says %v", tt.name, tt.values, why, err)
		}
	}
}

// TestServerLeavesOut has people whom a realm as Keycloak makes it would stop at the first
// sign-in, and whose every change it would refuse: plan and run leave the values out alike,
// or the people where that is asked for.
func TestServerLeavesOut(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := renaming(t, s, "left-out")
	everybody := map[string]any{"view": []string{"admin", "user"}, "edit": []string{"admin", "user"}}
	profiled(t, s, "left-out", func(attributes []any) []any {
		return append(attributes, map[string]any{"name": "metadata.plan", "permissions": everybody, "validations": map[string]any{"options": map[string]any{"options": []string{"gold"}}}})
	})
	c := client(t, config)
	bad := []struct {
		change func(*sdk.User)
		want   string
	}{
		{func(u *sdk.User) { u.GivenName = "A<B" }, "names load.part_refused"},
		{func(u *sdk.User) { u.FamilyName = strings.Repeat("n", 256) }, "names load.part_refused"},
		{func(u *sdk.User) { u.Email = strings.Repeat("e", 65) + "@example.com" }, "email load.part_refused"},
		{func(u *sdk.User) { u.Metadata = json.RawMessage(`{"plan":"lead"}`) }, "metadata load.part_refused"},
	}
	var users []sdk.User
	for i, b := range bad {
		users = append(users, person(67_100+i, func(u *sdk.User) {
			u.Password, u.Class = bcryptOf(t, "2a", "pw"), sdk.HashCarried
			b.change(u)
		}))
	}
	planned, left := planOf(t, c, users), loaded(t, c, users...)
	known := remembering(users, left)
	for i, b := range bad {
		if want := []string{b.want}; left[i].Action != sdk.Created || planned[i].Action != sdk.Created || !slices.Equal(losses(left[i]), want) || !slices.Equal(losses(planned[i].Outcome), want) {
			t.Errorf("planned %s\nrun %+v", short(planned[i]), left[i])
		}
		if got := login(t, s, "left-out", users[i].Username, "pw"); got != "ok" {
			t.Errorf("%s: sign-in: %s", b.want, got)
		}
		known[i].Roles = map[string][]string{"public": {"editor"}}
		known[i].FamilyName, known[i].GivenName = "New", "New"
	}
	for _, o := range loaded(t, c, known...) {
		if o.Action != sdk.Updated {
			t.Errorf("a change afterwards: %+v", o)
		}
	}
	strict := plugintest.Serve(t, Plugin(), map[string]any{
		"url": config.URL, "realm": config.Realm, "client_id": config.ClientID, "client_secret": config.ClientSecret.Reveal(), "refused_values": refusedReject,
	})
	for i := range users {
		users[i].ID, users[i].SourceID = person(67_200+i).ID, person(67_200+i).SourceID
		users[i].Username = person(67_200 + i).Username
	}
	for _, o := range loaded(t, strict, users...) {
		if o.Action != sdk.Rejected || o.Code != codeProfileRefused {
			t.Errorf("strictly: %+v", o)
		}
	}
}

// TestServerUnchangeable has attributes that administrators see and may not change: check
// names them, plan and run say alike that a change cannot be carried, and all else is.
func TestServerUnchangeable(t *testing.T) {
	t.Parallel()
	s := keycloak.Shared(t, withJar)
	config := newRealmOn(t, s, "unchangeable")
	profiled(t, s, "unchangeable", func(attributes []any) []any {
		for _, name := range []string{"metadata.plan", attrPhone} {
			attributes = append(attributes, map[string]any{"name": name, "permissions": map[string]any{"view": []string{"admin"}, "edit": []string{"user"}}})
		}
		return attributes
	})
	if list := open(t, config).Check(t.Context(), sdk.Needs{MetadataKeys: []string{"plan"}}); !slices.Contains(codes(list), "warning keycloak.attributes_fixed") {
		t.Errorf("check: %+v", list)
	}
	c := client(t, config)
	u := person(67_300, func(u *sdk.User) { u.Metadata, u.Phone = json.RawMessage(`{"plan":"gold","team":"a"}`), "+491" })
	known := remembering([]sdk.User{u}, loaded(t, c, u))[0]
	known.Metadata, known.Phone, known.GivenName = json.RawMessage(`{"plan":"tin","team":"b"}`), "+492", "New"
	p, o := planOf(t, c, []sdk.User{known})[0], loaded(t, c, known)[0]
	want := []string{"metadata load.part_failed", "phone load.part_failed"}
	if p.Action != sdk.Updated || o.Action != sdk.Updated || !slices.Equal(losses(p.Outcome), want) || !slices.Equal(losses(o), want) {
		t.Errorf("planned %s\nrun %+v", short(p), o)
	}
	got := shownOf(t, s, config, u.ID)
	for field, value := range map[string]string{"firstName": "New", "attributes.metadata.team": "b", "attributes.metadata.plan": "gold", "attributes.phoneNumber": "+491"} {
		if got[field] != value {
			t.Errorf("%s is %q, want %q", field, got[field], value)
		}
	}
	if d := cmp.Diff(want, losses(planOf(t, c, remembering([]sdk.User{known}, []sdk.Outcome{o}))[0].Outcome)); d != "" {
		t.Errorf("the next run: %s", d)
	}
}
