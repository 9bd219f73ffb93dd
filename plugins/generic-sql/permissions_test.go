//go:build unix

package sqltarget

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/targettest"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// A role that has no row in the declared table gets those of the source, once, live and by a
// script; one that has any keeps them, and a check names it.
func TestRolePermissions(t *testing.T) {
	t.Parallel()
	onEach(t, "better-auth", func(t *testing.T, s *site) {
		config := Config{Preset: "better-auth", Hashes: []string{"bcrypt"}, IDLength: 255, Schema: s.schema, Name: "default", Permissions: Permissions{"allowed", "of", "what"}}
		script := config
		script.Mode, script.Out = modeFiles, filepath.Join(t.TempDir(), "out")
		if s.mysql != nil {
			script.Dialect = dialectMySQL
		}
		config.URL = sdk.NewSecret(s.dsn)
		missing := open(t, config, nil).Check(t.Context(), sdk.Needs{})
		if !slices.ContainsFunc(missing, func(d sdk.Diagnostic) bool { return d.Code == codeTableMissing && d.Path == "/permissions/table" }) {
			t.Errorf("without the table: %v", missing.Err())
		}
		roles := []sdk.Role{{Name: "editor", Permissions: []string{"read", "write"}}, {Name: "plain"}, {Name: "theirs", Permissions: []string{"all"}}}
		for i, name := range nasty {
			roles = append(roles, sdk.Role{Name: strings.Repeat("n", i) + name, Permissions: []string{name, name + "x"}})
		}
		rows := func() string {
			n := s.value(t, `SELECT count(*) FROM allowed`)
			return n + ": " + s.value(t, `SELECT count(*) FROM allowed WHERE "of" = 'editor' AND what IN ('read', 'write')`) + ", " + s.value(t, `SELECT count(*) FROM allowed WHERE "of" = 'theirs' AND what = 'other'`)
		}
		const want = "21: 2, 1"
		ways := map[string]func(){
			"live": func() {
				for range 2 { // the second time, nothing is missing
					target := open(t, config, nil)
					if err := target.DefineRoles(t.Context(), roles); err != nil {
						t.Fatal(err)
					}
					if err := target.Finish(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			},
			"script": func() {
				target, err := newTarget(script, sdk.Env{})
				if err != nil {
					t.Fatal(err)
				}
				f := target.(*files)
				if err := f.DefineRoles(t.Context(), roles); err != nil {
					t.Fatal(err)
				}
				targettest.Load(t, f, []sdk.User{ordinary(1)})
				if err := f.Finish(t.Context()); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(script.Out, scriptName)
				if s.mysql != nil {
					runMySQLScript(t, s, path)
					return
				}
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				postgres.Exec(t, s.dsn, string(text))
			},
		}
		for _, name := range []string{"live", "script"} {
			way := ways[name]
			s.exec(t, `DROP TABLE IF EXISTS allowed`)
			s.exec(t, `CREATE TABLE allowed ("of" varchar(120) NOT NULL, what varchar(120) NOT NULL, PRIMARY KEY ("of", what))`)
			s.exec(t, `INSERT INTO allowed ("of", what) VALUES ('theirs', 'other')`)
			way()
			if got := rows(); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
			// All others are as they were written, to the blank at the end.
			target := open(t, config, nil)
			changed := slices.Clone(roles)
			changed[0].Permissions = []string{"read"}
			if err := target.DefineRoles(t.Context(), changed); err != nil {
				t.Fatal(err)
			}
			var named []string
			for _, d := range target.Check(t.Context(), sdk.Needs{}) {
				if d.Code == codeRolePermissions {
					named = append(named, d.Summary)
				}
			}
			if len(named) != 2 || !strings.HasPrefix(named[0], "the role editor is in") || !strings.HasPrefix(named[1], "the role theirs is in") {
				t.Errorf("%s: check: %q", name, named)
			}
		}
		if caps := open(t, config, nil).Capabilities(); !caps.Has(sdk.CarriesRolePermissions) {
			t.Error("it does not say that it keeps what roles allow")
		}
		config.Permissions = Permissions{}
		if caps := open(t, config, nil).Capabilities(); caps.Has(sdk.CarriesRolePermissions) {
			t.Error("without a table it says that it keeps what roles allow")
		}
	})
}
