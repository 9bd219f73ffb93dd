package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/migration"
)

func explainCommand(a *app) *cobra.Command {
	var offline bool
	c := &cobra.Command{
		Use:   "explain USER [-c FILE] | explain CODE",
		Short: "Explain one account, or what a code means",
		Long: `explain finds an account by its internal id, the id that applications have stored, the
id of one of its logins, its id in the target, or an e-mail address. It shows what
SuperTokens has of it (addresses masked, no secrets), what the mapping makes of it,
what runs have done with it, and what a run would do now. It writes nothing.

For a code, as in reports, it says what the code means and what to do. For a code of a
plugin that is not bundled, give the configuration that names the plugin.`,
		Example: `  stetl explain anna.kovacs7311@users.example.net
  stetl explain load.exists_differs`,
		Args: cobra.ExactArgs(1),

		ValidArgsFunction: firstOnly(completeCodes),

		RunE: func(cmd *cobra.Command, args []string) error { return runExplain(cmd.Context(), a, args[0], offline) },
	}
	a.configFlag(c)
	targetFlag(a, c)
	acceptFlag(c, &a.accept)
	a.jsonFlag(c)
	c.Flags().BoolVar(&offline, "offline", false, "do not ask the target")
	return c
}

// runExplain explains a code, or else an account.
func runExplain(ctx context.Context, a *app, name string, offline bool) (err error) {
	if code, ok := explained(name); ok {
		return a.print(&code)
	}
	if a.config() == "" && diag.Code(name).WellFormed() {
		return usageError(fmt.Errorf("%s is not a code of stetl or of a bundled plugin; for an account, or a code of another plugin, add --config FILE", name))
	}
	_, m, err := openMigration(ctx, a, migration.Options{ReadOnly: true}, newStatus(a.err, true))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	if code, ok := m.ExplainCode(diag.Code(name)); ok {
		return a.print(&code)
	}
	e, err := m.Explain(ctx, name, offline)
	if err != nil {
		return err
	}
	return a.print(e)
}
