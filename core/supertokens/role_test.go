package supertokens

import (
	"context"
	"net/url"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

// TestReadOnlyRole reads with exactly the grants that docs/supertokens.md names,
// and says which table it may not read when one of them is missing.
func TestReadOnlyRole(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-10.1.4")
	admin, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_, err := admin.Exec(ctx, "DROP OWNED BY stetl_reader; DROP ROLE stetl_reader")
		if err != nil {
			t.Error(err)
		}
		_ = admin.Close(ctx)
	})
	_, err = admin.Exec(t.Context(), `
CREATE ROLE stetl_reader LOGIN PASSWORD 'reader';
GRANT USAGE ON SCHEMA public TO stetl_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO stetl_reader;`)
	if err != nil {
		t.Fatal(err)
	}
	reader := as(t, dsn, "stetl_reader", "reader")
	want, _, _, _ := export(t, Options{URL: canonical.NewSecret(dsn)})
	got, _, _, _ := export(t, Options{URL: canonical.NewSecret(reader)})
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-owner +reader):\n%s", diff)
	}

	if _, err := admin.Exec(t.Context(), "REVOKE SELECT ON user_metadata FROM stetl_reader"); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Options{URL: canonical.NewSecret(reader)})
	if err == nil || !strings.Contains(err.Error(), "no permission to read table public.user_metadata") || !strings.Contains(err.Error(), "GRANT SELECT") {
		t.Errorf("error %v", err)
	}
}

// as is dsn for another role.
func as(t *testing.T, dsn, role, password string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, password)
	return u.String()
}

// TestConnectionErrorsNameNoPassword covers what the parser and the server say.
func TestConnectionErrorsNameNoPassword(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{
		"postgres://u:canary-pass@127.0.0.1:1/db",
		"postgres://u:canary-pass@127.0.0.1:notaport/db",
		"host=127.0.0.1 port=1 password=canary-pass user=u dbname=d",
		"postgres://u:canary-pass@[broken/db",
		"canary-pass",
	} {
		_, err := Open(t.Context(), Options{URL: canonical.NewSecret(dsn)})
		if err == nil || strings.Contains(err.Error(), "canary-pass") {
			t.Errorf("error %v", err)
		}
	}
}
