package pluginapi

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stetl/stetl/core/canonical"
)

// BenchmarkUser measures an account as most are, and one that has everything.
func BenchmarkUser(b *testing.B) {
	plain := User{
		SourceID: "3f0c9a1e-5b7d-4268-8f64-d1c7b02e95aa", ID: "3f0c9a1e-5b7d-4268-8f64-d1c7b02e95aa", Username: "ada@example.org", Email: "ada@example.org",
		EmailVerified: new(true), GivenName: "Ada", FamilyName: "Lovelace", Enabled: true, Created: time.UnixMilli(1_600_000_000_000), Class: HashCarried,
		Password: canonical.ParsePasswordHash("$2a$11$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm"),
		Tenants:  []string{"public"}, Metadata: json.RawMessage(`{"first_name":"Ada","last_name":"Lovelace"}`),
	}
	whole := plain
	whole.Phone, whole.PhoneVerified = "+36201234567", new(true)
	whole.OtherEmails = []Address{{Email: "ada@example.com", Verified: new(true)}}
	whole.Identities = []Identity{{"google", "1", "ada@example.org"}, {"github", "2", "ada"}}
	whole.TOTP = []canonical.TOTPDevice{{Name: "phone", Secret: canonical.NewSecret("ABCDEFGHIJKLMNOP"), Period: 30 * time.Second, Skew: 1, Verified: true}}
	whole.Roles = map[string][]string{"public": {"admin", "user"}, "t1": {"user"}}
	key := make([]byte, 32)
	for name, u := range map[string]*User{"plain": &plain, "whole": &whole} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				u.Digest(key)
			}
		})
		raw := u.Encode(nil)
		b.Run(name+" encoded", func(b *testing.B) {
			for b.Loop() {
				raw = u.Encode(raw[:0])
			}
		})
		b.Run(name+" decoded", func(b *testing.B) {
			b.ReportAllocs()
			var back User
			for b.Loop() {
				if err := back.Decode(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
