package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/telemetry"
)

// observed does the work of a command inside of a span, where the environment asks for
// spans or metrics. That a collector cannot be reached is said and changes nothing else.
func (a *app) observed(ctx context.Context, work func(context.Context) (command string, err error)) error {
	var once sync.Once
	trouble := func(err error) {
		once.Do(func() {
			fmt.Fprintf(a.err, "stetl: traces or metrics are not sent: %s\n", diag.PrintableText(err.Error()))
		})
	}
	var err error
	a.telemetry, err = telemetry.Start(ctx, telemetry.Options{Version: version, Trouble: trouble})
	if err != nil { // variables that are meant for others are no reason to stop
		trouble(err)
	}
	inner, end := telemetry.Command(ctx)
	command, err := work(inner)
	code := exitCode(err)
	end(command, code, code != exitDone && code != exitRejects)
	if ended := a.telemetry.End(ctx); ended != nil {
		trouble(ended)
	}
	return err
}

// watched is a run that is looked at from outside: phases as spans, counts as metrics.
type watched struct {
	phases  *telemetry.Phases
	metrics *metrics // nil where nobody wants them
}

// watch begins it. Metrics are made for a listener at address, or for a collector.
func (a *app) watch(ctx context.Context, address, plugin string) (*watched, error) {
	w := &watched{phases: telemetry.NewPhases(ctx)}
	if address == "" && !a.telemetry.MetricsWanted() {
		return w, nil
	}
	m, err := newMetrics(plugin)
	if err != nil {
		return nil, err
	}
	if address != "" {
		if err := m.serve(ctx, address); err != nil {
			return nil, err
		}
	}
	a.telemetry.Gather(m.registry)
	w.metrics = m
	return w, nil
}

func (w *watched) progress(p engine.Progress) {
	w.phases.In(string(p.Phase))
	if w.metrics != nil {
		w.metrics.progress(p)
	}
}

// end takes in what was not told on the way.
func (w *watched) end(ctx context.Context, result *engine.Result) {
	w.phases.End()
	if w.metrics == nil {
		return
	}
	if result != nil {
		w.metrics.countUnreported(result.Summary)
	}
	w.metrics.stop(ctx)
}
