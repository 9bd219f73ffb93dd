//go:build linux

package postgres

import (
	"fmt"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/pgbouncer"
)

// The journal needs no session: a pooler may give each transaction another one.
func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	dsn, o := somewhere(t)
	for n, mode := range []string{"transaction", "session"} {
		o.URL = canonical.NewSecret(pgbouncer.Start(t, dsn, mode))
		j, s := start(t, o)
		for i := range 20 {
			all := []journal.Entry{{SourceID: fmt.Sprintf("%s-%d", mode, i), Action: pluginapi.Created, Origin: journal.Made, Before: []byte("b")}}
			batch, err := s.Mark(1, all)
			if err == nil {
				err = s.Record(batch, all)
			}
			if err != nil {
				t.Fatal(mode, err)
			}
		}
		known := 0
		for e, err := range s.Accounts(t.Context()) {
			if err != nil || e.InDoubt {
				t.Fatal(mode, e, err)
			}
			known++
		}
		if known != 20*(n+1) {
			t.Errorf("%s: %d accounts", mode, known)
		}
		if err := j.Close(); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
}
