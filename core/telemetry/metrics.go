package telemetry

import (
	"context"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Metric has the names of one that stetl shows.
type Metric struct {
	// Name is the one for Prometheus, OTel that for OpenTelemetry, by its conventions:
	// with dots, without the unit.
	Name, OTel, Unit string
}

// Metrics are all of them: those of a run, then those of the bridge.
func Metrics() []Metric { return metrics }

var metrics = []Metric{
	{"stetl_accounts_total", "stetl.accounts", "{account}"},
	{"stetl_accounts_not_loaded_total", "stetl.accounts.not_loaded", "{account}"},
	{"stetl_phase_accounts_done", "stetl.phase.accounts.done", "{account}"},
	{"stetl_phase_accounts", "stetl.phase.accounts.all", "{account}"},
	{"stetl_target_request_limit", "stetl.target.request.limit", "{request}"},
	{"stetl_target_wait_seconds_total", "stetl.target.wait", "s"},
	{"stetl_plugin_silence_seconds", "stetl.plugin.silence", "s"},
	{"stetl_bridge_events_total", "stetl.bridge.events", "{event}"},
	{"stetl_bridge_request_seconds", "stetl.bridge.request.duration", "s"},
	{"stetl_bridge_sessions_live", "stetl.bridge.sessions.live", "{session}"},
	{"stetl_bridge_lazy_waiting", "stetl.bridge.lazy.waiting", "{user}"},
	{"stetl_bridge_lazy_arrived", "stetl.bridge.lazy.arrived", "{user}"},
}

// producer reads registries of Prometheus and gives their metrics the names of
// OpenTelemetry. What is about the process and the runtime is left to collectors.
type producer struct{ from metric.Producer }

func newProducer(g prometheus.Gatherer) producer {
	return producer{bridge.NewMetricProducer(bridge.WithGatherer(g))}
}

// Produce implements [metric.Producer].
func (p producer) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	scopes, err := p.from.Produce(ctx)
	for i := range scopes {
		scopes[i].Scope.Name = scopeName
		kept := scopes[i].Metrics[:0]
		for _, m := range scopes[i].Metrics {
			if known, ok := byName(m.Name); ok {
				m.Name, m.Unit = known.OTel, known.Unit
				kept = append(kept, m)
			}
		}
		scopes[i].Metrics = kept
	}
	return scopes, err
}

func byName(name string) (Metric, bool) {
	i := slices.IndexFunc(metrics, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		return Metric{}, false
	}
	return metrics[i], true
}
