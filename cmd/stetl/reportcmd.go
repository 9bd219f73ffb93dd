package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func reportCommand(a *app) *cobra.Command {
	var format, out string
	var run int64
	c := &cobra.Command{
		Use:   "report [-c FILE]",
		Short: "Show what a run did, and the state of all accounts",
		Long: `report shows, from the journal, what the last run did, or the run of --run: outcomes,
password classes, reasons, what was not carried over, throughput, and the runs before
it. --format html writes one page with charts. It needs no other file, and names no
account, so you can give it to others.`,
		Example: `  stetl report
  stetl report --format html --out report.html`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return writeReport(cmd.Context(), a, format, out, run) },
	}
	a.configFlag(c)
	targetFlag(a, c)
	a.jsonFlag(c)
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text, json or html")
	completeWith(c, "format", "text", "json", "html")
	outFlag(c, &out)
	c.Flags().Int64Var(&run, "run", 0, "the run of this `NUMBER` instead of the last one")
	return c
}

func writeReport(ctx context.Context, a *app, format, out string, run int64) (err error) {
	if a.asJSON {
		format = "json"
	}
	if format != "text" && format != "json" && format != "html" {
		return usageError(fmt.Errorf("--format %s: use text, json or html", format))
	}
	m, past, err := openPast(ctx, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	h, err := past.Report(ctx, run)
	if err != nil {
		return err
	}
	write := h.WriteText
	switch format {
	case "json":
		write = h.WriteJSON
	case "html":
		write = h.WriteHTML
	}
	return a.save(out, write)
}
