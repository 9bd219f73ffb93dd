package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/report"
)

type idmapFlags struct {
	format, out     string
	update          []string
	partial, linked bool
}

func idmapCommand(a *app) *cobra.Command {
	var f idmapFlags
	c := &cobra.Command{
		Use:   "idmap [-c FILE]",
		Short: "Print the ids of each account in the source and in the target",
		Long: `idmap prints the ids of every account that runs have loaded or found: source_id is
SuperTokens' own id, visible_id the one that applications have stored, target_id the
id in the target. It checks that each account on one side is exactly one account on
the other side.

With --format sql it prints a transaction that replaces the changed ids in the
PostgreSQL tables of your application.`,
		Example: `  stetl idmap --out ids.csv
  stetl idmap --format sql --partial --update orders.user_id \
    --update app.profiles.owner:uuid`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runIDMap(cmd.Context(), a, f) },
	}
	a.configFlag(c)
	targetFlag(a, c)
	c.Flags().StringVar(&f.format, "format", "csv", "`FORMAT`: csv, ndjson or sql")
	completeWith(c, "format", "csv", "ndjson", "sql")
	outFlag(c, &f.out)
	c.Flags().StringArrayVar(&f.update, "update", nil, "with --format sql: `TABLE.COLUMN[:uuid]` that holds user ids; may be repeated")
	c.Flags().BoolVar(&f.partial, "partial", false, "with --format sql: print it although accounts are missing in the target")
	c.Flags().BoolVar(&f.linked, "linked", false, "include accounts that were merged with another one and share its target id")
	return c
}

func runIDMap(ctx context.Context, a *app, f idmapFlags) (err error) {
	var columns []report.Column
	for _, s := range f.update {
		c, err := report.ParseColumn(s)
		if err != nil {
			return usageError(fmt.Errorf("--update: %w", err))
		}
		columns = append(columns, c)
	}
	switch {
	case f.format != "csv" && f.format != "ndjson" && f.format != "sql":
		return usageError(fmt.Errorf("--format %s: use csv, ndjson or sql", f.format))
	case f.format == "sql" && len(columns) == 0:
		return usageError(errors.New("--format sql needs --update TABLE.COLUMN for each column that holds user ids"))
	}
	opened, past, err := openPast(ctx, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opened.Close(ctx)) }()
	m, err := past.IDMap(ctx, f.linked)
	if err != nil {
		return err
	}
	if m.Missing > 0 {
		fmt.Fprintf(a.err, "stetl: %d accounts are not in the target and not in the map; stetl rejects lists them\n", m.Missing)
		if f.format == "sql" && !f.partial {
			return usageError(errors.New("the map is incomplete, so no SQL is printed: load the missing accounts, or use --partial"))
		}
	}
	if err := m.Check(); err != nil {
		return err
	}
	write := m.WriteCSV
	if n := m.Guarded(); n > 0 && f.format == "csv" {
		fmt.Fprintf(a.err, "stetl: %d ids begin like a spreadsheet formula or have control characters. They are written with an apostrophe in front, or without these characters; --format ndjson does not change them\n", n)
	}
	switch f.format {
	case "ndjson":
		write = m.WriteNDJSON
	case "sql":
		write = func(w io.Writer) error { return m.WriteSQL(w, columns) }
	}
	return a.save(f.out, write)
}
