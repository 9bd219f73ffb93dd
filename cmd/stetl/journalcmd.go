package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/migration"
)

func journalCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "journal",
		Short: "Move the journal to another place",
		Long: `journal has what concerns the journal alone: the memory of runs, in a folder or in a
PostgreSQL.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(journalCopyCommand(a), journalGrantsCommand(a))
	return c
}

type journalCopyFlags struct{ from, to, fromKey, toKey string }

func journalCopyCommand(a *app) *cobra.Command {
	var f journalCopyFlags
	c := &cobra.Command{
		Use:   "copy --from PLACE --to PLACE",
		Short: "Copy a journal into a folder or a PostgreSQL",
		Long: `copy copies a whole journal, from a folder into a PostgreSQL or back, and to another place
of the same kind. A PLACE is a folder, or env:NAME or file:PATH for an address, which
is a secret. The place to copy to must be empty. No run may be at work meanwhile.

Afterwards change journal: in the configurations, and remove the old journal: two of
them would each know only a part of the later runs.`,
		Example: `  stetl journal copy --from ./.stetl --to env:STETL_JOURNAL_URL`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runJournalCopy(cmd.Context(), a, f) },
	}
	c.Flags().StringVar(&f.from, "from", "", "`PLACE` of the journal")
	c.Flags().StringVar(&f.to, "to", "", "`PLACE` that gets it")
	c.Flags().StringVar(&f.fromKey, "from-key", "", "`REFERENCE` to the journal_key of --from (default env:"+config.JournalKeyVariable+")")
	c.Flags().StringVar(&f.toKey, "to-key", "", "`REFERENCE` to the journal_key of --to (default env:"+config.JournalKeyVariable+")")
	return c
}

func runJournalCopy(ctx context.Context, a *app, f journalCopyFlags) error {
	from, err := journalPlace("--from", f.from, f.fromKey)
	if err != nil {
		return err
	}
	to, err := journalPlace("--to", f.to, f.toKey)
	if err != nil {
		return err
	}
	s := newStatus(a.err, true)
	done, err := migration.CopyJournal(ctx, from, to, func(accounts int) {
		a.log.Debug("copied", "accounts", accounts)
	})
	s.clear()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "Copied %d accounts and %d runs of %d pairs of source and target to %s.\n", done.Accounts, done.Runs, done.Scopes, to)
	return err
}

// journalPlace is a folder, or what a reference stands for. An address in the clear would be
// seen by everybody who lists processes.
func journalPlace(flag, text, key string) (p migration.JournalPlace, err error) {
	value, referred, err := config.Lookup(text, config.Env{})
	switch {
	case text == "":
		return p, usageError(fmt.Errorf("%s PLACE is missing", flag))
	case err != nil:
		return p, usageError(fmt.Errorf("%s: %w", flag, err))
	case !referred && config.IsAddress(text):
		return p, usageError(fmt.Errorf("%s is the address of a database: refer to it as env:NAME or file:PATH, because others can read a command line", flag))
	case !referred:
		value = text
	}
	if !config.IsAddress(value) {
		p.Folder = value
		return p, nil
	}
	if key == "" {
		key = "env:" + config.JournalKeyVariable
	}
	secret, referred, err := config.Lookup(key, config.Env{})
	if err == nil && !referred {
		err = errors.New("write env:NAME or file:PATH")
	}
	if err != nil {
		return p, usageError(fmt.Errorf("%s-key: %w", flag, err))
	}
	p.URL, p.Key = canonical.NewSecret(value), canonical.NewSecret(secret)
	return p, nil
}

func journalGrantsCommand(a *app) *cobra.Command {
	var role string
	var writes bool
	c := &cobra.Command{
		Use:   "grants --role NAME",
		Short: "Print what a role needs to use a journal in PostgreSQL",
		Long: `grants prints the statements that let a role read the journal in a PostgreSQL, which the
bridge and reports need, or with --writes also run. The role that made the journal
executes them, after its first run and again after an update of stetl.`,
		Example: `  stetl journal grants --role stetl_bridge`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if role == "" {
				return usageError(errors.New("--role NAME is missing"))
			}
			for _, statement := range migration.JournalGrants(role, writes) {
				if _, err := fmt.Fprintln(a.out, statement+";"); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&role, "role", "", "`NAME` of the role")
	c.Flags().BoolVar(&writes, "writes", false, "also what runs and undo need")
	return c
}
