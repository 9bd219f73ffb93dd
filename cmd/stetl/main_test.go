package main

import (
	"flag"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/filetarget"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/script")

func TestMain(m *testing.M) {
	// The test binary also is the program: scripts call it as stetl, and it
	// starts itself again for bundled plugins.
	testscript.Main(m, map[string]func(){
		"stetl":             main,
		"stetl-plugin-file": func() { sdk.Serve(filetarget.Plugin()) },
		"stetl-plugin-acme": func() {
			p := filetarget.Plugin()
			p.Name = "acme"
			sdk.Serve(p)
		},
	})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", testenv.Race()) // a script has no variables but its own
			env.Setenv("ROOT", root)
			env.Setenv("FIXTURES", filepath.Join(root, "testdata", "supertokens"))
			env.Setenv("CASES", filepath.Join(root, "core", "supertokens", "testdata", "cases"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"cut":    cut,
			"losing": losing,
			"built":  built(root),
		},
	})
}
