package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/report"
)

func checkCommand(a *app) *cobra.Command {
	var fix, undo bool
	c := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Examine configuration, source and target; write nothing",
		Long: `check reads the source and examines the target for everything that a run would
ask of it. It writes nothing, unless --fix is given: then the plugin changes those
settings of the target that it knows a remedy for, and no accounts. What that takes
away is shown and kept; --undo-fix puts it back.`,
		Example: "  stetl check --config configs/quickstart.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runCheck(cmd.Context(), a, fix, undo) },
	}
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	a.jsonFlag(c)
	c.Flags().BoolVar(&fix, "fix", false, "have the plugin apply the remedies it knows to the settings of the target")
	c.Flags().BoolVar(&undo, "undo-fix", false, "have the plugin put back the settings of the target that --fix has changed")
	c.MarkFlagsMutuallyExclusive("fix", "undo-fix")
	return c
}

func runCheck(ctx context.Context, a *app, fix, undo bool) (err error) {
	status := newStatus(a.err, false)
	defer status.clear()
	_, m, err := openMigration(ctx, a, migration.Options{ReadOnly: true}, status)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	if fix || undo {
		done, err := m.Fix(ctx, undo)
		status.clear()
		if err != nil {
			return showIncomplete(a, err)
		}
		if err := report.WriteFixes(a.err, done); err != nil {
			return err
		}
	}
	checked, err := m.Check(ctx)
	status.clear()
	if err != nil {
		return showIncomplete(a, err)
	}
	if a.asJSON {
		err = report.WriteDiagnosticsJSON(a.out, checked.Found, checked.Completeness)
	} else {
		err = report.WriteDiagnostics(a.out, checked.Found)
		if err == nil {
			_, err = fmt.Fprintf(a.out, "Source   %s\n         %s\n", checked.Source, report.CompletenessLine(checked.Completeness))
		}
		if err == nil && checked.Journal != "" {
			_, err = fmt.Fprintf(a.out, "Bridge   every instance needs this journal folder, and no copy of it: %s\n", checked.Journal)
		}
	}
	if err == nil && checked.Found.HasErrors() {
		return silentError{exitRefused}
	}
	return err
}
