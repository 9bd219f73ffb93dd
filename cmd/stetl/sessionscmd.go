package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/supertokens/session"
)

func sessionsCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "sessions", Short: "Count or end sessions of the source", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	stats := &cobra.Command{
		Use:     "stats [-c FILE]",
		Short:   "Count live sessions and valid mailed links",
		Example: "  stetl sessions stats",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return sessionStats(cmd.Context(), a) },
	}
	a.configFlag(stats)
	a.jsonFlag(stats)

	var which session.Selection
	var yes bool
	revoke := &cobra.Command{
		Use:   "revoke [-c FILE] (--all | --tenant ID | --user ID)",
		Short: "End SuperTokens sessions",
		Long: `revoke deletes sessions from the source database, as SuperTokens itself does. Access
tokens stay valid until they expire (after an hour by default), if an API verifies
them without the database. It shows how many sessions there are, and asks; --yes
answers the question.`,
		Example: "  stetl sessions revoke --all --yes",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return revokeSessions(cmd.Context(), a, which, yes) },
	}
	a.configFlag(revoke)
	a.jsonFlag(revoke)
	revoke.Flags().BoolVar(&which.All, "all", false, "every session of the app")
	revoke.Flags().StringVar(&which.Tenant, "tenant", "", "the sessions of the tenant with this `ID`")
	revoke.Flags().StringVar(&which.UserID, "user", "", "the sessions of the user with this `ID`, the one that applications know")
	revoke.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.AddCommand(stats, revoke)
	return c
}

func sessionStats(ctx context.Context, a *app) (err error) {
	cfg, tables, err := openTables(ctx, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tables.Close()) }()
	stats, err := session.ReadStats(ctx, tables, time.Now())
	if err != nil {
		return cfg.SourceError(err)
	}
	if a.asJSON {
		return report.WriteJSON(a.out, stats)
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "live sessions\t%d\tof %d users\n", stats.Live, stats.Users)
	for _, age := range stats.ByAge {
		fmt.Fprintf(w, "  %s\t%d\t\n", age.Label, age.Count)
	}
	for _, tenant := range slices.Sorted(maps.Keys(stats.ByTenant)) {
		fmt.Fprintf(w, "  tenant %s\t%d\t\n", tenant, stats.ByTenant[tenant])
	}
	fmt.Fprintf(w, "expired sessions\t%d\tnot deleted yet\n", stats.Expired)
	fmt.Fprintf(w, "password reset links\t%d\tand %d expired\n", stats.Reset.Live, stats.Reset.Expired)
	fmt.Fprintf(w, "e-mail verification links\t%d\tand %d expired\n", stats.Verify.Live, stats.Verify.Expired)
	return w.Flush()
}

func revokeSessions(ctx context.Context, a *app, which session.Selection, yes bool) error {
	if err := which.Check(); err != nil {
		return usageError(fmt.Errorf("%w: give one of --all, --tenant and --user", err))
	}
	cfg, err := loadConfig(a)
	if err != nil {
		return err
	}
	store, err := migration.OpenSessions(ctx, cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	found, users, err := store.Count(ctx, which)
	if err != nil {
		return cfg.SourceError(err)
	}
	if found > 0 && !yes {
		fmt.Fprintf(a.err, "%d sessions of %d users, expired ones included.\n", found, users)
		if err := a.confirm(ctx, "Revoke them?"); err != nil {
			return err
		}
	}
	revoked, err := store.RevokeAll(ctx, which)
	if err != nil {
		return cfg.SourceError(err)
	}
	if a.asJSON {
		return report.WriteJSON(a.out, map[string]int{"found": found, "users": users, "revoked": revoked})
	}
	_, err = fmt.Fprintf(a.out, "%d sessions of %d users revoked\n", revoked, users)
	return err
}
