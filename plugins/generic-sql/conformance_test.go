//go:build unix

package sqltarget

import (
	"testing"

	"github.com/stetl/stetl/core/sdk/conformance"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// TestConformance tries every rule that a target plugin must keep, on the tables of each
// preset.
func TestConformance(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "tries every rule")
	for preset, with := range map[string][]string{"better-auth": {"passkey", "phone-number", "bridge"}, "authjs": {"password", "bridge"}} {
		t.Run(preset, func(t *testing.T) {
			t.Parallel()
			onEach(t, preset, func(t *testing.T, s *site) {
				conformance.Test(t, conformance.Suite{
					Start: conformance.InProcess(Plugin(), map[string]any{
						"url": s.dsn, "preset": preset, "with": with, "hashes": []string{"bcrypt", "argon2id", "argon2i", "argon2d", "firebase_scrypt"},
					}),
					Inspect: s.inspect,
				})
			})
		})
	}
}
