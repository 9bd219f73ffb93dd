//go:build linux

package supertokens

import (
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/pgbouncer"
)

// TestThroughPgBouncer reads through a pooler that hands every transaction
// another server connection.
func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-10.1.4")
	want, _, _, _ := export(t, Options{URL: canonical.NewSecret(dsn)})
	for _, mode := range []string{"session", "transaction"} {
		got, _, s, _ := export(t, Options{URL: canonical.NewSecret(pgbouncer.Start(t, dsn, mode)), RangeSize: 10, Audit: true})
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s mode (-direct +pooled):\n%s", mode, diff)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	// What an address says about schemas does not reach the pooler, which would refuse
	// it; what does reach it is named.
	pooled := pgbouncer.Start(t, dsn, "transaction")
	told := with(t, with(t, pooled, "search_path", "public"), "options", "-c search_path=public") + "&pgbouncer=true&connection_limit=1"
	if err := readError(t, Options{URL: canonical.NewSecret(told)}); err != nil {
		t.Errorf("with a schema: %v", err)
	}
	err := readError(t, Options{URL: canonical.NewSecret(with(t, pooled, "statement_timeout", "5000"))})
	if err == nil || !strings.Contains(err.Error(), "statement_timeout") || !strings.Contains(err.Error(), "the pooler") {
		t.Errorf("a parameter that the pooler does not take: %v", err)
	}
	if err := readError(t, Options{URL: canonical.NewSecret(pgbouncer.Start(t, dsn, "statement"))}); err == nil {
		t.Error("statement mode, which cannot hold a snapshot, went through")
	}
}
