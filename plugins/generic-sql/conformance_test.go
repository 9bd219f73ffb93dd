//go:build unix

package sqltarget

import (
	"maps"
	"testing"

	"github.com/stetl/stetl/core/sdk/conformance"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// TestConformance tries every rule that a target plugin must keep, on the tables of each
// preset.
func TestConformance(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "tries every rule")
	for preset, with := range map[string][]string{"better-auth": {"passkey", "phone-number", "username", "admin", "bridge"}, "authjs": {"password", "bridge"}} {
		t.Run(preset, func(t *testing.T) {
			t.Parallel()
			config := map[string]any{
				"preset": preset, "with": with, "hashes": []string{"bcrypt", "argon2id", "argon2i", "argon2d", "firebase_scrypt"},
			}
			if preset == "better-auth" { // the other one has no column that keeps somebody out
				config["tables"] = []any{map[string]any{
					"name": "user", "per": "account", "key": []string{"id"}, "columns": map[string]any{"banned": map[string]any{"cel": "!enabled", "gone": true}},
				}}
			}
			onEach(t, preset, func(t *testing.T, s *site) {
				config := maps.Clone(config)
				config["url"] = s.dsn
				suite := conformance.Suite{Inspect: s.inspect}
				if preset == "better-auth" { // the other one has no roles
					s.exec(t, `CREATE TABLE allowed ("of" varchar(120) NOT NULL, what varchar(120) NOT NULL, PRIMARY KEY ("of", what))`)
					config["permissions"] = map[string]any{"table": "allowed", "role": "of", "permission": "what"}
					suite.Allows = s.allowed
				}
				suite.Start = conformance.InProcess(Plugin(), config)
				conformance.Test(t, suite)
			})
		})
	}
}
