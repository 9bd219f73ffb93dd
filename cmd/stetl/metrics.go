package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stetl/stetl/core/engine"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
)

// metrics are what a run shows to Prometheus while it is at work, and sends to a
// collector of OpenTelemetry: counts and limits, nothing about any account.
type metrics struct {
	registry *prometheus.Registry
	server   *http.Server // nil without a listener
	outcomes *prometheus.CounterVec
	reasons  *prometheus.CounterVec
	done     *prometheus.GaugeVec
	total    *prometheus.GaugeVec
	limit    prometheus.Gauge
	waited   prometheus.Counter
	silent   prometheus.Gauge

	mu        sync.Mutex
	unchanged int
}

// actions are all outcomes, so that each has a value from the beginning.
var actions = []pluginapi.Action{pluginapi.Created, pluginapi.Updated, pluginapi.Unchanged, pluginapi.Skipped, pluginapi.Rejected, pluginapi.InDoubt}

// newMetrics makes those of a run with the plugin of that name.
func newMetrics(name string) (*metrics, error) {
	labels := prometheus.Labels{"plugin": name}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "stetl_accounts_total", Help: "Accounts that this run has dealt with, by outcome.", ConstLabels: labels}, []string{"outcome"}),
		reasons:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "stetl_accounts_not_loaded_total", Help: "Accounts that were skipped, rejected or left in doubt, by code.", ConstLabels: labels}, []string{"code"}),
		done:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "stetl_phase_accounts_done", Help: "Accounts that a phase of the run has passed.", ConstLabels: labels}, []string{"phase"}),
		total:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "stetl_phase_accounts", Help: "Accounts that a phase of the run will pass; 0 while that is not known.", ConstLabels: labels}, []string{"phase"}),
		limit:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "stetl_target_request_limit", Help: "Requests to the target at a time, as the adaptive limit has it now.", ConstLabels: labels}),
		waited:   prometheus.NewCounter(prometheus.CounterOpts{Name: "stetl_target_wait_seconds_total", Help: "Time that the plugin has announced to wait before it asks the target again.", ConstLabels: labels}),
		silent:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "stetl_plugin_silence_seconds", Help: "How long the plugin has said nothing about the accounts that are with it, told every minute; 0 while it speaks.", ConstLabels: labels}),
	}
	for _, c := range []prometheus.Collector{m.outcomes, m.reasons, m.done, m.total, m.limit, m.waited, m.silent, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := m.registry.Register(c); err != nil {
			return nil, fmt.Errorf("set up the metrics: %w", err)
		}
	}
	for _, a := range actions {
		m.outcomes.WithLabelValues(string(a))
	}
	return m, nil
}

// serve listens on address until stop is called, which also gives a scrape that is under
// way its answer.
func (m *metrics) serve(ctx context.Context, address string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return usageError(fmt.Errorf("--metrics-listen: %w", err))
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	m.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, Addr: listener.Addr().String()}
	go func() { _ = m.server.Serve(listener) }() // ends with stop, and a broken listener must not end the run
	return nil
}

// stop ends the listener.
func (m *metrics) stop(ctx context.Context) {
	if m.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := m.server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		_ = m.server.Close() // somebody reads slowly; nothing is lost
	}
}

// outcome counts an account.
func (m *metrics) outcome(c pluginapi.Change) {
	m.outcomes.WithLabelValues(string(c.Action)).Inc()
	if c.Action == pluginapi.Unchanged {
		m.mu.Lock()
		m.unchanged++
		m.mu.Unlock()
	}
	if c.Code != "" {
		m.reasons.WithLabelValues(string(c.Code)).Inc()
	}
}

// progress shows how far a phase is.
func (m *metrics) progress(p engine.Progress) {
	m.done.WithLabelValues(string(p.Phase)).Set(float64(p.Done))
	m.total.WithLabelValues(string(p.Phase)).Set(float64(p.Total))
}

// countUnreported counts accounts that were not reported one by one, because they are as the
// last run left them.
func (m *metrics) countUnreported(s pluginapi.Summary) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outcomes.WithLabelValues(string(pluginapi.Unchanged)).Add(float64(max(0, s.Unchanged-m.unchanged)))
	m.unchanged = max(m.unchanged, s.Unchanged)
}

// silence takes in that the plugin says nothing.
func (m *metrics) silence(s plugin.Silence) { m.silent.Set(s.For.Seconds()) }

// pulse takes in what the plugin says of itself.
func (m *metrics) pulse(p pluginapi.Pulse) {
	if p.Limit > 0 {
		m.limit.Set(float64(p.Limit))
	}
	m.waited.Add(max(0, p.Wait.Seconds()))
}
