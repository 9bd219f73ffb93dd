package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/bridge"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/report"
)

func bridgeCommand(a *app) *cobra.Command {
	var role string
	c := &cobra.Command{
		Use:   "bridge [-c FILE]",
		Short: "Keep sessions and mailed links working after the switch",
		Long: `bridge serves what the section bridge of the configuration asks for: an OpenID
provider that accepts a valid SuperTokens session as login, a hand-over for
applications, the pages behind links in mails, and a check of passwords that the
target cannot verify. It runs until it gets SIGINT or SIGTERM, and then lets running
requests end. See docs/bridge.md.

--print-sql ROLE serves nothing: it prints the SQL that makes the tables of the bridge
and grants that role the rights that it needs.`,
		Example: "  stetl bridge --print-sql stetl_bridge > bridge.sql\n  stetl bridge",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if role != "" {
				return printBridgeSQL(cmd.Context(), a, role)
			}
			return runBridge(cmd.Context(), a)
		},
	}
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	c.AddCommand(bridgeUnlockCommand(a), bridgeTryCommand(a))
	c.Flags().StringVar(&role, "print-sql", "", "print tables and grants for this `ROLE`, and exit")
	return c
}

func bridgeUnlockCommand(a *app) *cobra.Command {
	var which bridge.Unlocking
	c := &cobra.Command{
		Use:   "unlock (--account ID | --client ADDRESS | --all)",
		Short: "End lock-outs of the bridge, in all instances",
		Long: `unlock deletes failed attempts from the database that all instances share. So people
who were locked out may try again at once. It works on the database, with the
configuration; the bridge itself has no address for this. It writes a line for the
audit log to standard error.`,
		Example: "  stetl bridge unlock --account ada@example.com",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return unlockBridge(cmd.Context(), a, which) },
	}
	a.configFlag(c)
	a.jsonFlag(c)
	c.Flags().StringVar(&which.Account, "account", "", "the account of this `ID` or address")
	c.Flags().StringVar(&which.Client, "client", "", "everybody at this network `ADDRESS`")
	c.Flags().BoolVar(&which.All, "all", false, "everybody")
	return c
}

func bridgeTryCommand(a *app) *cobra.Command {
	var presented string
	c := &cobra.Command{
		Use:   "try --config FILE --session HANDLE",
		Short: "Say whether the bridge would hand over a session; change nothing",
		Long: `try examines one session as a hand-over would: does it exist, has it not ended, does
it have the required claims, does it belong to an account, and has a run loaded that
account? With --session - a token of the session is read from standard input; as an
argument, other users of the machine could see it. The target is not asked: stetl
check and stetl verify do that. The exit code is 0 if the session would be handed
over, else 6.`,
		Example: "  stetl bridge try --session 7a1ad61c-8a5c-4d4c-a4f4-5f9d2b0ae0f4",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return tryBridge(cmd.Context(), a, presented) },
	}
	a.configFlag(c)
	acceptFlag(c, &a.accept)
	a.jsonFlag(c)
	c.Flags().StringVar(&presented, "session", "", "the session of this `HANDLE`; - reads a token from standard input")
	return c
}

func tryBridge(ctx context.Context, a *app, presented string) (err error) {
	if presented == "-" {
		raw, err := io.ReadAll(io.LimitReader(a.in, 64<<10))
		if err != nil {
			return err
		}
		presented = strings.TrimSpace(string(raw))
	} else if bridge.Token(presented) {
		return usageError(errors.New("that is a token, and other users of the machine can see arguments: give it on standard input, with --session -"))
	}
	if presented == "" {
		return usageError(errors.New("give the handle of a session with --session, or a token on standard input with --session -"))
	}
	_, m, err := openMigration(ctx, a, migration.Options{ReadOnly: true}, newStatus(a.err, true))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	t, err := migration.TryBridge(ctx, m, presented)
	if err != nil {
		return err
	}
	if err := writeTrial(a, t); err != nil {
		return err
	}
	if !t.Would {
		return silentError{exitDifferences}
	}
	return nil
}

func writeTrial(a *app, t bridge.Trial) error {
	if a.asJSON {
		return report.WriteJSON(a.out, t)
	}
	var lines []string
	if t.Session != "" && !t.Begun.IsZero() {
		lines = append(lines, fmt.Sprintf("session   %s of the tenant %s, from %s until %s", t.Session, t.Tenant, t.Begun.UTC().Format(time.DateTime), t.Ends.UTC().Format(time.DateTime)))
	}
	if t.User != "" {
		lines = append(lines, "user      "+t.User)
	}
	if t.Target != "" {
		lines = append(lines, "target    "+t.Target)
	}
	switch {
	case !t.Would:
		lines = append(lines, "It would not be handed over: "+t.Why+".")
	case t.Browser && t.API:
		lines = append(lines, "It would be handed over, in a browser and to applications.")
	case t.Browser:
		lines = append(lines, "It would be handed over in a browser.")
	default:
		lines = append(lines, "It would be handed over to applications.")
	}
	_, err := fmt.Fprintln(a.out, diag.PrintableText(strings.Join(lines, "\n")))
	return err
}

func unlockBridge(ctx context.Context, a *app, which bridge.Unlocking) error {
	if err := which.Check(); err != nil {
		return usageError(fmt.Errorf("%w: give one of --account, --client and --all", err))
	}
	cfg, err := loadConfig(a)
	if err != nil {
		return err
	}
	ended, err := migration.BridgeUnlock(ctx, cfg, which, slog.New(slog.NewJSONHandler(a.err, nil)))
	if err != nil {
		return err
	}
	if a.asJSON {
		return report.WriteJSON(a.out, map[string]int{"ended": ended})
	}
	_, err = fmt.Fprintf(a.out, "%d lock-outs and counts of failures ended\n", ended)
	return err
}

func runBridge(ctx context.Context, a *app) (err error) {
	_, m, err := openMigration(ctx, a, migration.Options{ReadOnly: true, Metrics: a.telemetry.Gather}, newStatus(a.err, true))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	log := slog.New(slog.NewJSONHandler(a.err, nil))
	slog.SetDefault(log) // the OpenID library's
	return m.Bridge(ctx, log)
}

func printBridgeSQL(ctx context.Context, a *app, role string) error {
	cfg, err := loadConfig(a)
	if err != nil {
		return err
	}
	statements, err := migration.BridgeSQL(ctx, cfg, role)
	if err != nil {
		return err
	}
	for _, statement := range statements {
		if _, err := fmt.Fprintln(a.out, statement+";"); err != nil {
			return err
		}
	}
	return nil
}
