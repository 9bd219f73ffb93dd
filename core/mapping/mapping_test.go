package mapping

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
)

const bcrypt = "$2a$11$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm"

func p[T any](v T) *T { return &v }

func everything() pluginapi.Capabilities {
	return pluginapi.Capabilities{
		Hashes:  []pluginapi.HashSupport{{Scheme: canonical.Bcrypt}},
		Carries: pluginapi.Features(),
	}
}

func TestMap(t *testing.T) {
	t.Parallel()
	joined := time.UnixMilli(1_600_000_000_000).UTC()
	hash := canonical.ParsePasswordHash(bcrypt)
	firebase := canonical.ParsePasswordHash("$f_scrypt$4/NA6w==$c3RldGxzYWx0$m=14$r=8$s=Bw==")
	tests := map[string]struct {
		user canonical.User
		caps func(*pluginapi.Capabilities)
		want pluginapi.User
		lost []Loss
	}{
		"plain": {
			user: canonical.User{
				InternalID: "i", ID: "ext", TimeJoined: joined,
				Logins:   []canonical.Login{{Recipe: canonical.EmailPassword, ID: "i", Email: p("Ada@Example.org"), Verified: p(true), Password: hash, Tenants: []string{"public"}}},
				Metadata: json.RawMessage(`{"first_name":"Ada","last_name":"Lovelace"}`),
			},
			want: pluginapi.User{
				SourceID: "i", ID: "ext", Username: "Ada@Example.org", Email: "Ada@Example.org", EmailVerified: p(true), Enabled: true,
				GivenName: "Ada", FamilyName: "Lovelace", Created: joined, Class: pluginapi.HashCarried, Password: hash, Tenants: []string{"public"},
				Metadata: json.RawMessage(`{"first_name":"Ada","last_name":"Lovelace"}`),
			},
		},
		"the account's own address wins over an older login's": {
			user: canonical.User{InternalID: "i", ID: "i", Logins: []canonical.Login{
				{Recipe: canonical.ThirdParty, ID: "a", Email: p("old@example.org"), Verified: p(true), Identity: &canonical.Identity{Provider: "google", Subject: "1"}},
				{Recipe: canonical.EmailPassword, ID: "i", Email: p("own@example.org"), Verified: p(false), Password: hash},
			}},
			want: pluginapi.User{
				SourceID: "i", ID: "i", Username: "own@example.org", Email: "own@example.org", EmailVerified: p(false), Enabled: true,
				OtherEmails: []pluginapi.Address{{Email: "old@example.org", Verified: p(true)}}, Class: pluginapi.HashCarried, Password: hash,
				Identities: []pluginapi.Identity{{Provider: "google", Subject: "1", Name: "old@example.org"}},
			},
		},
		"one proof of an address is enough": {
			user: canonical.User{InternalID: "i", ID: "i", Logins: []canonical.Login{
				{Recipe: canonical.EmailPassword, ID: "i", Email: p("a@example.org"), Verified: p(false)},
				{Recipe: canonical.ThirdParty, ID: "b", Email: p("a@example.org"), Verified: p(true)},
			}},
			want: pluginapi.User{SourceID: "i", ID: "i", Username: "a@example.org", Email: "a@example.org", EmailVerified: p(true), Enabled: true, Class: pluginapi.NoPassword},
		},
		"made-up address, phone": {
			user: canonical.User{InternalID: "i", ID: "i", Logins: []canonical.Login{
				{Recipe: canonical.Passwordless, ID: "i", Phone: p("+36201234567"), Verified: p(true)},
				{Recipe: canonical.EmailPassword, ID: "b", Email: p("x@stfakeemail.supertokens.com"), FakeEmail: true, Password: hash},
			}},
			want: pluginapi.User{
				SourceID: "i", ID: "i", Username: "+36201234567", Phone: "+36201234567", PhoneVerified: p(true), Enabled: true,
				Class: pluginapi.HashCarried, Password: hash,
			},
			lost: []Loss{LossFakeEmail},
		},
		"nothing to sign in with but the id": {
			user: canonical.User{InternalID: "i", ID: "ext", Logins: []canonical.Login{{Recipe: canonical.ThirdParty, ID: "i", Email: p("x@apple.fakeemail.com"), FakeEmail: true, Identity: &canonical.Identity{Provider: "apple", Subject: "s"}}}},
			want: pluginapi.User{
				SourceID: "i", ID: "ext", Username: "ext", Enabled: true, Class: pluginapi.NoPassword,
				Identities: []pluginapi.Identity{{Provider: "apple", Subject: "s", Name: "s"}},
			},
			lost: []Loss{LossFakeEmail},
		},
		"two passwords": {
			user: canonical.User{InternalID: "i", ID: "i", Logins: []canonical.Login{
				{Recipe: canonical.EmailPassword, ID: "b", Email: p("b@example.org"), Password: firebase},
				{Recipe: canonical.EmailPassword, ID: "i", Email: p("i@example.org"), Password: hash},
			}},
			want: pluginapi.User{
				SourceID: "i", ID: "i", Username: "i@example.org", Email: "i@example.org", Enabled: true, Class: pluginapi.HashCarried, Password: hash,
				OtherEmails: []pluginapi.Address{{Email: "b@example.org"}},
			},
			lost: []Loss{LossOtherPassword},
		},
		"hash the target cannot verify": {
			user: canonical.User{InternalID: "i", ID: "i", Logins: []canonical.Login{{Recipe: canonical.EmailPassword, ID: "i", Email: p("i@example.org"), Password: firebase}}},
			want: pluginapi.User{SourceID: "i", ID: "i", Username: "i@example.org", Email: "i@example.org", Enabled: true, Class: pluginapi.NeedsReset},
			lost: []Loss{LossFirstPassword},
		},
		"unfinished enrolment, passkey": {
			user: canonical.User{
				InternalID: "i", ID: "i", TOTPDevices: []canonical.TOTPDevice{{Name: "a"}, {Name: "b", Verified: true}},
				Logins: []canonical.Login{{Recipe: canonical.WebAuthn, ID: "i", Email: p("i@example.org"), Passkeys: []canonical.Passkey{
					{ID: "k", RelyingParty: "example.org", PublicKey: []byte{1}, Counter: 2, Transports: json.RawMessage(`["usb","nfc"]`), Created: joined}, {ID: "l", Transports: json.RawMessage("?")},
				}}},
			},
			want: pluginapi.User{
				SourceID: "i", ID: "i", Username: "i@example.org", Email: "i@example.org", Enabled: true, Class: pluginapi.NoPassword,
				TOTP: []canonical.TOTPDevice{{Name: "b", Verified: true}},
				Passkeys: []pluginapi.Passkey{
					{ID: "k", RelyingParty: "example.org", Attested: []byte{1}, Counter: 2, Transports: []string{"usb", "nfc"}, Created: joined}, {ID: "l"},
				},
			},
			lost: []Loss{LossTOTPUnfinished},
		},
		"a target that carries little": {
			user: canonical.User{
				InternalID: "i", ID: "i", TimeJoined: joined, Roles: map[string][]string{"public": {"admin"}}, Metadata: json.RawMessage(`{"first_name":"Ada"}`),
				TOTPDevices: []canonical.TOTPDevice{{Name: "b", Verified: true}},
				Logins: []canonical.Login{
					{Recipe: canonical.WebAuthn, ID: "k", Passkeys: []canonical.Passkey{{ID: "k"}}},
					{Recipe: canonical.ThirdParty, ID: "i", Email: p("i@example.org"), Verified: p(true), Identity: &canonical.Identity{}, Tenants: []string{"public"}},
					{Recipe: canonical.Passwordless, ID: "j", Phone: p("+36201234567")},
				},
			},
			caps: func(c *pluginapi.Capabilities) { c.Carries = nil },
			want: pluginapi.User{SourceID: "i", ID: "i", Username: "i@example.org", Email: "i@example.org", Enabled: true, Class: pluginapi.NoPassword},
			lost: []Loss{"id", "phone", "names", "metadata", "email_verified", "created", "identities", "totp", "tenants", "roles", "passkeys"},
		},
		"what is not there is not lost": {
			user: canonical.User{InternalID: "i", ID: "i", Logins: []canonical.Login{{Recipe: canonical.EmailPassword, ID: "i", Email: p("i@example.org")}}},
			caps: func(c *pluginapi.Capabilities) { c.Carries = []pluginapi.Feature{pluginapi.CarriesID} },
			want: pluginapi.User{SourceID: "i", ID: "i", Username: "i@example.org", Email: "i@example.org", Enabled: true, Class: pluginapi.NoPassword},
		},
		"a stored zero is not 1970": {
			user: canonical.User{InternalID: "i", ID: "i", TimeJoined: time.UnixMilli(0)},
			want: pluginapi.User{SourceID: "i", ID: "i", Username: "i", Enabled: true, Class: pluginapi.NoPassword},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caps := everything()
			if tt.caps != nil {
				tt.caps(&caps)
			}
			got, lost := Map(&tt.user, caps)
			hashes := cmp.Comparer(func(a, b canonical.PasswordHash) bool { return a.Encode() == b.Encode() })
			secrets := cmp.Comparer(func(a, b canonical.Secret) bool { return a.Reveal() == b.Reveal() })
			if diff := cmp.Diff(tt.want, got, hashes, secrets); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !slices.Equal(lost, tt.lost) {
				t.Errorf("lost %v, want %v", lost, tt.lost)
			}
		})
	}
}

// Identities stay two words each: whatever is in their ids, those that are apart in the
// source are apart in the target.
func TestIdentitiesStayApart(t *testing.T) {
	t.Parallel()
	seen := map[pluginapi.Identity]bool{}
	ids := []canonical.Identity{
		{Provider: "google", Subject: "1"},
		{Provider: "github", Subject: "1"},
		{Provider: "samlp", Subject: "acme|1"},
		{Provider: "samlp", Subject: "acme|2"},
		{Provider: "samlp|acme", Subject: "1"},
		{Provider: "samlp", Subject: "acme|1|x"},
		{Provider: "samlp", Subject: "acme||1"},
		{Provider: "samlp", Subject: "|acme|1"},
		{Provider: "samlp", Subject: "ACME|1"},
	}
	for i := range ids {
		u := canonical.User{InternalID: "i", ID: "i", Logins: []canonical.Login{{ID: "i", Identity: &ids[i]}}}
		out, _ := Map(&u, pluginapi.Capabilities{Carries: []pluginapi.Feature{pluginapi.CarriesIdentities}})
		if len(out.Identities) != 1 || out.Identities[0].Provider != ids[i].Provider || out.Identities[0].Subject != ids[i].Subject {
			t.Errorf("%+v became %+v", ids[i], out.Identities)
			continue
		}
		seen[pluginapi.Identity{Provider: out.Identities[0].Provider, Subject: out.Identities[0].Subject}] = true
	}
	if len(seen) != len(ids) {
		t.Errorf("%d identities of %d", len(seen), len(ids))
	}
}
