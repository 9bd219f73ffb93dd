package engine

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// pair is two accounts of one person: a password in one tenant, a social login in
// another, with addresses that differ in letter case.
func pair(proven bool) listed {
	src := rename(people(4), 1, "Ada@Example.org")
	src = rename(src, 3, "ada@example.org")
	for _, n := range []int{1, 3} {
		src[n].Logins[0].Verified = &proven
	}
	src[3].Logins[0].Identity = &canonical.Identity{Provider: "google", Subject: "7"}
	src[3].Logins[0].Tenants = []string{"t2"}
	return src
}

// Where a target takes the users of one tenant alone, those of others take nothing from
// them.
func TestCollisionsOfOneTenant(t *testing.T) {
	t.Parallel()
	for tenant, want := range map[string]pluginapi.Summary{"": {Read: 4, Created: 3, Rejected: 1}, "t2": {Read: 4, Created: 4}} {
		dst := newFake()
		dst.caps.OnlyTenant = tenant
		res, seen, err := newProject(t).do(pair(false), dst, nil)
		if err != nil || res.Summary != want {
			t.Errorf("tenant %q: %+v, %v; want %+v\n%+v", tenant, res.Summary, err, want, seen)
		}
	}
}

func TestCollisionPolicies(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		policy policy.Collision
		proven bool
		want   pluginapi.Summary
		code   diag.Code
		loss   mapping.Loss
	}{
		"nothing said":        {want: pluginapi.Summary{Read: 4, Created: 3, Rejected: 1}, code: diag.MapDuplicateUsername},
		"skip":                {policy: policy.Collision{Username: policy.Skip}, want: pluginapi.Summary{Read: 4, Created: 3, Skipped: 1}, code: diag.MapDuplicateUsername},
		"suffix alone":        {policy: policy.Collision{Username: policy.Suffix}, want: pluginapi.Summary{Read: 4, Created: 3, Rejected: 1}, code: diag.MapDuplicateEmail},
		"suffix and drop":     {policy: policy.Collision{Username: policy.Suffix, Email: policy.Drop}, want: pluginapi.Summary{Read: 4, Created: 4}, loss: mapping.LossUsername},
		"suffix and allow":    {policy: policy.Collision{Username: policy.Suffix, Email: policy.Allow}, want: pluginapi.Summary{Read: 4, Created: 4}, loss: mapping.LossUsername},
		"link, proven":        {policy: policy.Collision{Username: policy.Link}, proven: true, want: pluginapi.Summary{Read: 4, Created: 3, Skipped: 1}, code: diag.MapLinked},
		"link, nobody proved": {policy: policy.Collision{Username: policy.Link}, want: pluginapi.Summary{Read: 4, Created: 3, Rejected: 1}, code: diag.MapDuplicateUsername},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := map[string]pluginapi.User{}
			dst := newFake()
			dst.caps.Carries = []pluginapi.Feature{pluginapi.CarriesTenants, pluginapi.CarriesIdentities}
			dst.load = func(users []pluginapi.User) (out []pluginapi.Outcome, _ error) {
				dst.mu.Lock()
				defer dst.mu.Unlock()
				for _, u := range users {
					sent[u.SourceID] = u
					out = append(out, pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.Created, TargetID: "t-" + u.ID})
				}
				return out, nil
			}
			p := newProject(t)
			res, seen, err := p.do(pair(tt.proven), dst, func(o *Options) { o.Policies.Collision = tt.policy })
			if err != nil || res.Summary != tt.want {
				t.Fatalf("%+v, %v; want %+v", res.Summary, err, tt.want)
			}
			if seen[id(3)].Code != tt.code {
				t.Errorf("code %q, want %q", seen[id(3)].Code, tt.code)
			}
			if tt.code == diag.MapDuplicateUsername && !strings.Contains(seen[id(3)].Detail, id(1)+" (that one: emailpassword; this one: emailpassword in t2)") {
				t.Errorf("the detail does not tell them apart: %s", seen[id(3)].Detail)
			}
			if tt.loss != "" && res.Losses[tt.loss] != 1 {
				t.Errorf("losses %v say nothing of %s", res.Losses, tt.loss)
			}
			u, loaded := sent[id(3)]
			if loaded != (tt.want.Created == 4) {
				t.Errorf("sent: %v", loaded)
			}
			if loaded && (u.Email != "") != (tt.policy.Email == policy.Allow) || loaded && (!strings.HasPrefix(u.Username, "ada@example.org-")) {
				t.Errorf("sent with the address %q and the name %q", u.Email, u.Username)
			}
			winner := sent[id(1)]
			if linked := tt.code == diag.MapLinked; linked != (len(winner.Identities) == 1) || linked != (len(winner.Tenants) > 0) {
				t.Errorf("the account that stays has %d identities and tenants %v", len(winner.Identities), winner.Tenants)
			}
			if tt.code == diag.MapLinked && seen[id(3)].TargetID != "t-"+id(1) {
				t.Errorf("the account that is linked is at home in %q", seen[id(3)].TargetID)
			}
			// It is decided in the same way the next time, so nothing is written.
			sent = map[string]pluginapi.User{}
			again, _, err := p.do(pair(tt.proven), dst, func(o *Options) { o.Policies.Collision = tt.policy })
			if err != nil || len(sent) != 0 || again.Summary.Created != 0 || again.Summary.Unchanged != tt.want.Created {
				t.Errorf("second run: %+v, %v, %d sent", again.Summary, err, len(sent))
			}
		})
	}
}

func TestFilteredAccountsAreLeftOut(t *testing.T) {
	t.Parallel()
	rules, found := mapping.Compile(mapping.Spec{Filter: `username != "user2@example.org"`}, policy.Policies{})
	if len(found) > 0 {
		t.Fatal(found)
	}
	p, dst := newProject(t), newIDP()
	res, seen, err := p.do(people(5), dst, func(o *Options) { o.Mapping = rules })
	if err != nil || res.Summary != (pluginapi.Summary{Read: 5, Created: 4, Skipped: 1}) || seen[id(2)].Code != diag.MapFiltered {
		t.Fatalf("%+v, %v, %+v", res.Summary, err, seen[id(2)])
	}
	if diff := cmp.Diff(map[pluginapi.Class]int{pluginapi.NoPassword: 4, pluginapi.Filtered: 1}, res.Classes); diff != "" {
		t.Errorf("the classes (-want +got):\n%s", diff)
	}
	v, err := Verify(context.Background(), people(5), dst, Options{Mapping: rules}, 1)
	if err != nil || v.Compared != 4 || v.Different() != 0 {
		t.Errorf("verification %+v, %v", v, err)
	}
}

// Whom a policy keeps out has a class like everybody, and counts for no limit.
func TestClassesAddUpWhateverIsKeptOut(t *testing.T) {
	t.Parallel()
	src := people(6)
	for i := range 3 { // a hash that this target cannot verify
		src[i].Logins[0].Password = canonical.ParsePasswordHash("$argon2id$v=19$m=65536,t=1,p=2$c3RldGwtc2FsdC0xNmJ5dA$SgaE37c5epRNHGSQYxUjYw")
	}
	rules, found := mapping.Compile(mapping.Spec{Filter: `username != "user2@example.org"`}, policy.Policies{Password: policy.Reject})
	if len(found) > 0 {
		t.Fatal(found)
	}
	for _, dry := range []bool{true, false} {
		res, _, err := newProject(t).do(src, newIDP(), func(o *Options) {
			o.Mapping, o.DryRun, o.Policies.Limits.Resets = rules, dry, policy.Limit{Set: true}
		})
		if err != nil || res.Summary.Rejected != 2 || res.Summary.Skipped != 1 {
			t.Fatalf("dry %v: %+v, %v", dry, res.Summary, err)
		}
		if diff := cmp.Diff(map[pluginapi.Class]int{pluginapi.NoPassword: 3, pluginapi.NeedsReset: 2, pluginapi.Filtered: 1}, res.Classes); diff != "" {
			t.Errorf("dry %v, the classes (-want +got):\n%s", dry, diff)
		}
	}
}

// Whoever comes first gives what an account can have once; the rest adds up, and
// none of the accounts that were made one is changed.
func TestMergeTakesEverybodysShare(t *testing.T) {
	t.Parallel()
	yes := true
	guests := []pluginapi.User{
		{
			Email: "A@example.org", Class: pluginapi.NoPassword, Identities: []pluginapi.Identity{{Provider: "google", Subject: "1"}}, Tenants: []string{"b"},
			Roles: map[string][]string{"b": {"viewer"}}, OtherEmails: []pluginapi.Address{{Email: "a@example.org"}, {Email: "x@example.org"}}, Metadata: json.RawMessage(`[1]`),
		},
		{
			Class: pluginapi.HashCarried, GivenName: "Ada", Phone: "+4930123456", PhoneVerified: &yes, Tenants: []string{"a", "b"}, TOTP: []canonical.TOTPDevice{{Name: "phone"}},
			Roles: map[string][]string{"b": {"admin", "viewer"}}, OtherEmails: []pluginapi.Address{{Email: "X@example.org"}, {Email: "y@example.org"}}, Metadata: json.RawMessage(`{"b":2}`),
		},
		{
			Class: pluginapi.NeedsReset, GivenName: "Bob", Phone: "+4930999999", TOTP: []canonical.TOTPDevice{{Name: "other"}},
			Identities: []pluginapi.Identity{{Provider: "github", Subject: "2"}}, Metadata: json.RawMessage(`{"a":1,"b":3}`),
		},
	}
	before := slices.Clone(guests)
	own := map[string][]string{"b": {"billing"}}
	u := pluginapi.User{Email: "a@example.org", Class: pluginapi.NoPassword, Tenants: []string{"b"}, Roles: own}
	for i := range guests {
		pluginapi.Merge(&u, &guests[i])
	}
	want := pluginapi.User{
		Email: "a@example.org", Class: pluginapi.HashCarried, GivenName: "Ada", Phone: "+4930123456", PhoneVerified: &yes,
		Identities: []pluginapi.Identity{{Provider: "google", Subject: "1"}, {Provider: "github", Subject: "2"}}, Tenants: []string{"a", "b"},
		Roles: map[string][]string{"b": {"admin", "billing", "viewer"}}, TOTP: []canonical.TOTPDevice{{Name: "phone"}},
		OtherEmails: []pluginapi.Address{{Email: "x@example.org"}, {Email: "y@example.org"}}, Metadata: json.RawMessage(`{"a":1,"b":2}`),
	}
	secrets := cmp.Exporter(func(reflect.Type) bool { return true })
	if diff := cmp.Diff(want, u, secrets, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, guests, secrets); diff != "" || len(own["b"]) != 1 {
		t.Errorf("a guest has changed (-before +after):\n%s", diff)
	}
}
