package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// rich is an account that has something of every feature.
func rich(n int, verified bool) canonical.User {
	id, phone := id(n), "+36201234567"
	return canonical.User{
		App: "public", InternalID: id, ID: "ext-" + id, TimeJoined: time.UnixMilli(1_600_000_000_000 + int64(n)).UTC(),
		Logins: []canonical.Login{
			{Recipe: canonical.ThirdParty, ID: id, Email: new("ada@example.org"), Verified: &verified, Tenants: []string{"public"}, Identity: &canonical.Identity{Provider: "google", Subject: id}},
			{Recipe: canonical.Passwordless, ID: id + "-p", Phone: &phone, Verified: new(true), Tenants: []string{"public"}},
			{Recipe: canonical.WebAuthn, ID: id + "-w", Tenants: []string{"public"}, Passkeys: []canonical.Passkey{{ID: "k", RelyingParty: "example.org"}}},
		},
		TOTPDevices: []canonical.TOTPDevice{{Name: "t", Verified: true, Period: 30 * time.Second}},
		Roles:       map[string][]string{"public": {"admin"}}, Metadata: []byte(`{"first_name":"Ada"}`),
	}
}

// What a plugin does not declare it does not see, and the result names the plugin and
// every feature; of a feature that it declares, nothing is said.
func TestUndeclaredFeaturesAreWithheldAndCounted(t *testing.T) {
	t.Parallel()
	for _, dry := range []bool{true, false} {
		for _, declared := range pluginapi.Features() {
			f := newFake()
			f.caps.Carries = []pluginapi.Feature{declared}
			var sent []pluginapi.User
			f.load = func(users []pluginapi.User) (out []pluginapi.Outcome, _ error) {
				sent = append(sent, users...)
				for _, u := range users {
					out = append(out, pluginapi.Outcome{SourceID: u.SourceID, Action: pluginapi.Created})
				}
				return out, nil
			}
			res, err := Run(t.Context(), listed{rich(1, true)}, f, Options{DryRun: dry, Plugin: "acme", Roles: []pluginapi.Role{{Name: "admin", Permissions: []string{"all"}}}})
			if err != nil {
				t.Fatal(err)
			}
			want := map[pluginapi.Feature]int{}
			for _, other := range pluginapi.Features() {
				if other != declared {
					want[other] = 1
				}
			}
			if diff := cmp.Diff(&Withheld{Plugin: "acme", Features: want}, res.Withheld); diff != "" {
				t.Errorf("dry %v, %s (-want +got):\n%s", dry, declared, diff)
			}
			for feature := range want {
				if res.Losses[mapping.Loss(feature)] != 1 {
					t.Errorf("dry %v, %s: the losses %v do not count %s", dry, declared, res.Losses, feature)
				}
			}
			for i := range sent {
				for _, field := range pluginapi.Fields() {
					switch withheld := field.Feature != "" && field.Feature != declared && field.Feature != pluginapi.CarriesID; {
					case withheld && !field.Empty(&sent[i]):
						t.Errorf("a plugin that declares %s alone is sent %s", declared, field.Name)
					case field.Feature == declared && declared != pluginapi.CarriesNames && field.Empty(&sent[i]):
						t.Errorf("a plugin that declares %s is sent no %s", declared, field.Name)
					}
				}
			}
			if !dry && len(sent) != 1 {
				t.Errorf("%d sent", len(sent))
			}
		}
	}
	f := newFake()
	f.caps.Carries = pluginapi.Features()
	if res, err := Run(t.Context(), listed{rich(1, true)}, f, Options{DryRun: true}); err != nil || res.Withheld != nil {
		t.Errorf("a plugin that declares everything: %+v, %v", res.Withheld, err)
	}
}

// Who came first and who has proven an address is decided with what the source knows,
// also for a target that can hold neither.
func TestDecisionsComeBeforeWithholding(t *testing.T) {
	t.Parallel()
	src := listed{rich(1, true), rich(2, true)}
	src[0].TimeJoined, src[1].TimeJoined = src[1].TimeJoined, src[0].TimeJoined
	f := newFake()
	f.caps.Carries = []pluginapi.Feature{pluginapi.CarriesIdentities}
	codes := map[string]diag.Code{}
	_, err := Run(t.Context(), src, f, Options{
		Policies: policy.Policies{Collision: policy.Collision{Username: policy.Link, Email: policy.Link}},
		Outcome:  func(c pluginapi.Change) { codes[c.SourceID] = c.Code },
	})
	if diff := cmp.Diff(map[string]diag.Code{id(1): diag.MapLinked, id(2): ""}, codes); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// A target that does not hold whether an address is verified, and mails those that are
// not, mails everybody.
func TestMailsOfTargetThatHoldsNoProof(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.mails = []pluginapi.Mailing{pluginapi.MailsUnverified}
	if res, err := Run(t.Context(), listed{rich(1, true)}, f, Options{DryRun: true}); err != nil || res.Mailed != 1 {
		t.Errorf("%d are mailed, want 1: %v", res.Mailed, err)
	}
}
