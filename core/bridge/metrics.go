package bridge

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// metrics are those of one server, in a registry of its own.
type metrics struct {
	registry *prometheus.Registry
	events   *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// counts are rows that metrics tell the number of; nil where nobody waits for it.
type counts struct {
	// live are the sessions of SuperTokens that can still be handed over.
	live func(context.Context) ([]int, error)
	// lazy are the users who wait for the lazy check, and those who have come over by it.
	lazy func(context.Context) ([]int, error)
}

func newMetrics(c counts) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stetl_bridge_events_total", Help: "What the bridge did, by surface and outcome.",
		}, []string{"surface", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "stetl_bridge_request_seconds", Help: "Time of requests, by path and status.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"path", "status"}),
	}
	m.registry.MustRegister(m.events, m.seconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// A counter that is not there before the first event hides that there was none.
	for surface, outcomes := range map[string][]string{
		surfaceBrowser: {outcomeIssued, outcomeRedeemed, outcomeRefused, outcomeFailed}, surfaceAPI: {outcomeIssued, outcomeDone, outcomeRefused, outcomeFailed},
	} {
		for _, outcome := range outcomes {
			m.events.WithLabelValues(surface, outcome)
		}
	}
	gauge := func(opts prometheus.GaugeOpts, t *countCache, n int) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(opts, func() float64 { return t.get(n) }))
	}
	if c.live != nil {
		gauge(prometheus.GaugeOpts{Name: "stetl_bridge_sessions_live", Help: "Sessions of SuperTokens that have not been handed over and have not expired."}, &countCache{count: c.live}, 0)
	}
	if c.lazy != nil {
		t := &countCache{count: c.lazy}
		gauge(prometheus.GaugeOpts{Name: "stetl_bridge_lazy_waiting", Help: "Users whose password has not come over yet."}, t, 0)
		gauge(prometheus.GaugeOpts{Name: "stetl_bridge_lazy_arrived", Help: "Users whose password has come over by a check."}, t, 1)
	}
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Timeout: 10 * time.Second})
}

// countAge keeps scrapes from counting millions of rows each time.
const countAge = time.Minute

// countCache is a count of rows that is kept for a while.
type countCache struct {
	count func(context.Context) ([]int, error)

	mu   sync.Mutex
	at   time.Time
	last []int
}

// get is a part of the last count; after an error, of the one before. What has never been
// counted is no number.
func (c *countCache) get(n int) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) > countAge {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if counted, err := c.count(ctx); err == nil {
			c.last = counted
		}
		c.at = time.Now()
	}
	if n >= len(c.last) {
		return math.NaN()
	}
	return float64(c.last[n])
}

// timed serves and measures what has come to a path. Where spans are collected it makes
// one, of its own: what a stranger says about a trace is not taken up.
func (m *metrics) timed(w http.ResponseWriter, r *http.Request, path string, handle http.HandlerFunc) {
	seen := &watched{ResponseWriter: w}
	begin := time.Now()
	ctx, span := otel.Tracer("github.com/stetl/stetl").Start(r.Context(), r.Method+" "+path, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", r.Method), attribute.String("http.route", path)))
	defer span.End()
	handle(seen, r.WithContext(ctx))
	if seen.status == 0 {
		seen.status = http.StatusOK
	}
	span.SetAttributes(attribute.Int("http.response.status_code", seen.status))
	if seen.status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
	m.seconds.WithLabelValues(path, strconv.Itoa(seen.status)).Observe(time.Since(begin).Seconds())
}
