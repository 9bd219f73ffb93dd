package supertokens

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/testserver/postgres"
)

// restore loads a fixture into a database of a real server, with the collation
// that the fixture was made with.
func restore(t *testing.T, name string) (dsn string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(fixtures, name+".truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		Database struct {
			Create string `json:"createDatabase"`
		} `json:"database"`
	}
	if err := json.Unmarshal(raw, &made); err != nil {
		t.Fatal(err)
	}
	var options postgres.Database
	if strings.Contains(made.Database.Create, "ICU_LOCALE 'en-US'") {
		options.Collation = "icu:en-US"
	}
	return postgres.Start(t).RestorePlain(t, filepath.Join(fixtures, name+".sql"), options)
}
