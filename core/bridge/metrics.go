package bridge

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are those of one server, in a registry of its own.
type metrics struct {
	registry *prometheus.Registry
	events   *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	// count is how many users wait for the lazy check, and how many have come over by it;
	// nil without that check.
	count func(context.Context) (waiting, arrived int, err error)

	mu      sync.Mutex
	counted time.Time
	waiting float64
	arrived float64
}

func newMetrics(count func(context.Context) (waiting, arrived int, err error)) *metrics {
	m := &metrics{
		count: count, registry: prometheus.NewRegistry(),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stetl_bridge_events_total", Help: "What the bridge did, by surface and outcome.",
		}, []string{"surface", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "stetl_bridge_request_seconds", Help: "Time of requests, by path and status.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"path", "status"}),
	}
	m.registry.MustRegister(m.events, m.seconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if count != nil {
		m.registry.MustRegister(
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "stetl_bridge_lazy_waiting", Help: "Users whose password has not come over yet."}, func() float64 { w, _ := m.lazy(); return w }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "stetl_bridge_lazy_arrived", Help: "Users whose password has come over by a check."}, func() float64 { _, a := m.lazy(); return a }),
		)
	}
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Timeout: 10 * time.Second})
}

// countAge keeps scrapes from counting millions of rows each time.
const countAge = time.Minute

// lazy is the last count; after an error, the one before.
func (m *metrics) lazy() (waiting, arrived float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.counted) > countAge {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if w, a, err := m.count(ctx); err == nil {
			m.waiting, m.arrived = float64(w), float64(a)
		}
		m.counted = time.Now()
	}
	return m.waiting, m.arrived
}

// timed serves and measures what has come to a path.
func (m *metrics) timed(w http.ResponseWriter, r *http.Request, path string, handle http.HandlerFunc) {
	seen := &watched{ResponseWriter: w}
	begin := time.Now()
	handle(seen, r)
	if seen.status == 0 {
		seen.status = http.StatusOK
	}
	m.seconds.WithLabelValues(path, strconv.Itoa(seen.status)).Observe(time.Since(begin).Seconds())
}
