package migration

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

// TestSourceErrorsPointAtTheirSetting: what does not go with the source is reported at
// the line that says it, and not at the address of the source.
func TestSourceErrorsPointAtTheirSetting(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fixture, setting string
		code             diag.Code
		says             string
	}{
		{"core-9.3.0", "schema: elsewhere", diag.SourceNotSuperTokens, `schema "elsewhere"`},
		{"core-9.3.0", "table_prefix: auth", diag.SourceNotSuperTokens, `table_prefix "auth"`},
		{"core-9.3.0", "tables: {thirdparty_users: friends}", diag.ConfigInvalidValue, "friends"},
		{"core-9.3.0", "tables: {emailpassword_users: session_info}", diag.ConfigInvalidValue, "session_info"},
		{"core-9.3.0", "migration_mode: MIGRATED", diag.SourceMigrationMode, "MIGRATED"},
		{"modelled-12.0-legacy", "migration_mode: MIGRATED", diag.SourceMigrationMode, "MIGRATED"},
		{"core-9.3.0", "app: nobody", diag.SourceNoApp, "nobody"},
		{"core-9.3.0", "app: ''", "", ""}, // the default one
	} {
		path := filepath.Join(t.TempDir(), "c.yaml")
		text := "target: {plugin: none}\nsource:\n  dump: " + fixture.Dump(t, tt.fixture) + "\n  " + tt.setting + "\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		src, err := OpenSource(t.Context(), Load(path, config.Env{}), SourceOptions{})
		if tt.code == "" {
			if err == nil {
				err = src.Close()
			}
			if err != nil {
				t.Error(err)
			}
			continue
		}
		list, ok := diagnostics(err)
		if !ok || len(list) != 1 || list[0].Code != tt.code || list[0].Pos.Line != 4 || !strings.Contains(list[0].Summary, tt.says) {
			t.Errorf("%s: %v", tt.setting, err)
			continue
		}
		// A table is pointed at itself, and everything else at its value.
		if at := strings.Split(text, "\n")[3][list[0].Pos.Col-1:]; !strings.HasPrefix(at, strings.TrimRight(tt.setting[strings.LastIndex(tt.setting, " ")+1:], "}")) {
			t.Errorf("%s: it points at %q", tt.setting, at)
		}
	}
}

// TestSourceErrorsWithoutASetting point at what names the source.
func TestSourceErrorsWithoutASetting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := "target: {plugin: none}\nsource:\n  dump: nowhere.sql\nbridge:\n  database: postgres://u:p@h/d?search_path=nowhere\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Load(path, config.Env{}).Config
	for path, line := range map[string]int{pathDump: 3, "/bridge/database": 5} {
		list, ok := diagnostics(sourceErrorAt(cfg, path, supertokens.ErrAmbiguous))
		if !ok || list[0].Pos.Line != line || list[0].Code != diag.SourceAmbiguous {
			t.Errorf("%s: %v", path, list)
		}
	}
}

// TestSchemaOfTheAddress is no setting of its own: whoever named it did so in the url.
func TestSchemaOfTheAddress(t *testing.T) {
	t.Parallel()
	dsn := fixture.Restore(t, "core-9.3.0")
	_, err := supertokens.OpenTables(t.Context(), supertokens.Options{URL: canonical.NewSecret(dsn + "&search_path=elsewhere")})
	if !errors.Is(err, supertokens.ErrNotSuperTokens) || errors.As(err, new(*supertokens.SettingError)) || strings.Contains(err.Error(), "source.schema") {
		t.Errorf("error %v", err)
	}
}

func diagnostics(err error) (diag.List, bool) {
	e, ok := errors.AsType[*diag.ListError](err)
	if !ok {
		return nil, false
	}
	return e.List, true
}
