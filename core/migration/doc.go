// Package migration is the face of the library: what a configuration names, opened,
// and what can be done with it.
//
//	cfg := migration.Load("keycloak.yaml", config.Env{})
//	m, err := migration.Open(ctx, cfg, migration.Options{})
//	…
//	defer m.Close(ctx)
//	report, err := m.Run(ctx, migration.RunOptions{})
//
// [Open] starts the plugin of the target and opens the journal; the source is opened
// when it is first needed. A [Migration] then runs, checks, verifies, takes back,
// explains one account, and serves the bridge; [Past] is what earlier runs have left
// behind. What is about the source alone needs no target: [OpenSource],
// [OpenTables], [OpenSessions].
//
// The package decides what belongs together: what is digested as the settings of a
// run, which part of a journal belongs to which target, what is noted of a run. What
// becomes of an account is decided by core/mapping and core/engine. It prints
// nothing; core/report has the words.
//
// Every plugin is a child process. Those that a program serves itself are named by
// the caller, in Options.Plugins.Bundled: this package knows none.
package migration
