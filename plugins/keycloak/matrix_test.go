//go:build unix && matrix

package keycloak

import (
	"testing"

	"github.com/stetl/stetl/internal/testserver/keycloak"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// TestServerOnPostgres repeats the widest test on the database that operators use:
// H2 counts lengths and locks rows in its own way.
func TestServerOnPostgres(t *testing.T) {
	t.Parallel()
	opts := withJar
	opts.Postgres = postgres.Start(t).CreateDatabase(t, postgres.Database{})
	s := keycloak.Start(t, opts)
	for i, w := range ways {
		testWhole(t, s, w, 1000+i*400_000)
	}
}
