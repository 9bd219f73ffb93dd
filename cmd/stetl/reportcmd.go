package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/report"
	"github.com/stetl/stetl/core/target"
)

func (a *app) reportCommand() *cobra.Command {
	var format, out string
	var run int64
	c := &cobra.Command{
		Use:   "report --config FILE",
		Short: "Show what a run did and where the accounts stand",
		Long: `report tells from the journal what the last run did, or the one that --run names:
outcomes, password classes, reasons, what was not carried over, throughput, and the
runs before it. --format html writes one page that needs nothing else and can be
handed on: it has charts, and names no account.`,
		Example: `  stetl report --config configs/keycloak.yaml
  stetl report --config configs/keycloak.yaml --format html --out report.html`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.report(cmd.Context(), format, out, run) },
	}
	a.configFlag(c)
	a.jsonFlag(c)
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text, json or html")
	outFlag(c, &out)
	c.Flags().Int64Var(&run, "run", 0, "the run of this `NUMBER` instead of the last one")
	return c
}

// shownRuns bounds the list of runs in a report.
const shownRuns = 20

func (a *app) report(ctx context.Context, format, out string, run int64) (err error) {
	if a.asJSON {
		format = "json"
	}
	if format != "text" && format != "json" && format != "html" {
		return usageError{fmt.Errorf("--format %s: there are text, json and html", format)}
	}
	p, err := a.openMemory(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close(ctx)) }()
	h, err := p.history(ctx, run)
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

func (p *project) history(ctx context.Context, run int64) (*report.History, error) {
	h := &report.History{Outcomes: map[target.Action]int{}, Reasons: map[diag.Code]int{}, Words: p.words()}
	all, err := p.scope.Runs(ctx, 10_000)
	if err != nil {
		return nil, refusedError{err}
	}
	for _, r := range all {
		if run == 0 || r.ID == run {
			h.Run = r
			break
		}
	}
	switch {
	case h.Run.ID == 0 && run != 0:
		return nil, usageError{fmt.Errorf("--run %d: the journal has no such run for this source and target", run)}
	case h.Run.ID == 0:
		return nil, refusedError{errors.New("no run has been made yet for this source and target")}
	}
	h.Runs = all[:min(len(all), shownRuns)]
	if h.Samples, err = p.scope.Samples(ctx, h.Run.ID); err != nil {
		return nil, refusedError{err}
	}
	for e, err := range p.scope.Accounts(ctx) {
		if err != nil {
			return nil, refusedError{err}
		}
		if h.Outcomes[e.Outcome()]++; e.Code != "" {
			h.Reasons[e.Code]++
		}
	}
	return h, nil
}
