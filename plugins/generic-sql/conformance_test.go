//go:build unix

package sqltarget

import (
	"testing"

	"github.com/stetl/stetl/core/sdk/conformance"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// TestConformance tries every rule that a target plugin must keep, on the tables of
// Better Auth.
func TestConformance(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "tries every rule")
	dsn := database(t, "better-auth.sql")
	conformance.Test(t, conformance.Suite{
		Start: conformance.InProcess(Plugin(), map[string]any{
			"url": dsn, "preset": "better-auth", "with": []string{"passkey", "phone-number", "bridge"},
			"hashes": []string{"bcrypt", "argon2id", "argon2i", "argon2d", "firebase_scrypt"},
		}),
		Inspect: inspect(dsn),
	})
}
