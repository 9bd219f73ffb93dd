package session

import (
	"strings"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
)

// TestNotOverMySQL: what changes something in the source is refused before it connects.
func TestNotOverMySQL(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"mysql://u:canary@127.0.0.1:1/d", "jdbc:mariadb://127.0.0.1:1/d?user=u&password=canary"} {
		_, err := Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(address)}, Config{})
		if err == nil || !strings.Contains(err.Error(), "the bridge need PostgreSQL") || strings.Contains(err.Error(), "canary") {
			t.Errorf("error %v", err)
		}
	}
}
