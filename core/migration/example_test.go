//go:build unix

package migration_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/plugin"
)

// A whole migration from Go: the accounts of a dump become files. The configuration is
// the one that the command line takes, and the plugin is one that this program serves
// itself: it starts itself again for that.
func Example() {
	dir, err := os.MkdirTemp("", "stetl-example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	dump, err := filepath.Abs("../../testdata/supertokens/core-6.0.13.sql")
	if err != nil {
		log.Fatal(err)
	}
	path := filepath.Join(dir, "stetl.yaml")
	text := "source: {dump: " + dump + "}\ntarget: {plugin: export, config: {out: ./out}}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	m, err := migration.Open(ctx, migration.Load(path, config.Env{}), migration.Options{
		Plugins: plugin.Options{Bundled: bundled},
		Program: "example 1.0",
	})
	if err != nil {
		log.Fatal(err) // every problem of the file at once, with its place
	}
	report, err := m.Run(ctx, migration.RunOptions{})
	if err != nil {
		log.Print(err)
	} else {
		s := report.Result.Summary
		fmt.Println("SuperTokens", report.Layout.Generation, "app", report.App)
		fmt.Printf("%d read: %d created, %d rejected\n", s.Read, s.Created, s.Rejected)
		files, _ := filepath.Glob(filepath.Join(dir, "out", "*.json"))
		fmt.Println(len(files), "files, with the manifest")
	}
	if err := m.Close(ctx); err != nil {
		log.Print(err)
	}
	// Output:
	// SuperTokens G3 app public
	// 116 read: 110 created, 6 rejected
	// 111 files, with the manifest
}

// The whole way that an operator goes: see what would happen, do exactly that, look at
// what came of it. Each step opens the configuration anew, as each one reads the source
// as it is by then.
func ExampleMigration_Run_plan() {
	dir, err := os.MkdirTemp("", "stetl-example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	dump, err := filepath.Abs("../../testdata/supertokens/core-6.0.13.sql")
	if err != nil {
		log.Fatal(err)
	}
	path := filepath.Join(dir, "stetl.yaml")
	text := "source: {dump: " + dump + "}\ntarget: {plugin: file, config: {dir: ./accounts}}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	with := func(o migration.Options, do func(m *migration.Migration) error) {
		o.Plugins.Bundled = bundled
		m, err := migration.Open(ctx, migration.Load(path, config.Env{}), o)
		if err != nil {
			log.Fatal(err)
		}
		if err := do(m); err != nil {
			log.Print(err)
		}
		if err := m.Close(ctx); err != nil {
			log.Print(err)
		}
	}

	var plan *engine.Plan
	with(migration.Options{ReadOnly: true}, func(m *migration.Migration) error {
		report, err := m.Run(ctx, migration.RunOptions{DryRun: true, Save: func(p *engine.Plan) error {
			plan = p
			return nil
		}})
		fmt.Println("would create", report.Result.Summary.Created)
		return err
	})
	with(migration.Options{Plan: plan}, func(m *migration.Migration) error {
		report, err := m.Run(ctx, migration.RunOptions{})
		fmt.Println("created", report.Result.Summary.Created)
		fmt.Println("not created:", report.Result.Reasons)
		return err
	})
	with(migration.Options{ReadOnly: true}, func(m *migration.Migration) error {
		verified, err := m.Verify(ctx, migration.VerifyOptions{})
		if err != nil {
			return err
		}
		past, err := m.Past()
		if err != nil {
			return err
		}
		ids, err := past.IDMap(ctx, false)
		if err != nil {
			return err
		}
		fmt.Println(verified.Result.Match, "match,", len(ids.Pairs), "pairs of ids")
		return nil
	})
	// Output:
	// would create 110
	// created 110
	// not created: map[map.duplicate_username:6]
	// 110 match, 110 pairs of ids
}
