package mapping

import (
	"testing"

	"github.com/stetl/stetl/core/policy"
)

// BenchmarkMap measures one account without rules, and with the rules of
// configs/mapping.yaml.
func BenchmarkMap(b *testing.B) {
	rules, found := Compile(Spec{
		Filter: `!roles.exists(tenant, "suspended" in roles[tenant])`,
		Set: map[string]Rule{
			"email": {CEL: `email.lowerAscii()`}, "family_name": {Default: raw(`"-"`)}, "metadata.label": {Template: "{given_name} ({id})"},
			"enabled": {CEL: `!has(metadata.blocked) || metadata.blocked != true`},
		},
	}, policy.Policies{})
	if len(found) > 0 {
		b.Fatal(found)
	}
	u, caps := ada(), everything()
	for name, r := range map[string]*Rules{"usual": nil, "rules": rules} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Map(u, caps)
			}
		})
	}
}
