package telemetry_test

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/stetl/stetl/core/telemetry"
)

// collector takes what is sent over HTTP.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	metrics map[string]string // unit by name
	spans   map[string]string // name of the parent by name
	about   map[string]string
}

func collect(t *testing.T) *collector {
	t.Helper()
	c := &collector{metrics: map[string]string{}, spans: map[string]string{}, about: map[string]string{}}
	read := func(r *http.Request, into proto.Message) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unpacked
		}
		raw, err := io.ReadAll(body)
		if err == nil {
			err = proto.Unmarshal(raw, into)
		}
		if err != nil {
			t.Error(err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/metrics", func(_ http.ResponseWriter, r *http.Request) {
		var m colmetrics.ExportMetricsServiceRequest
		read(r, &m)
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range m.GetResourceMetrics() {
			for _, scope := range resource.GetScopeMetrics() {
				for _, one := range scope.GetMetrics() {
					c.metrics[one.GetName()] = one.GetUnit()
				}
			}
		}
	})
	mux.HandleFunc("POST /v1/traces", func(_ http.ResponseWriter, r *http.Request) {
		var m coltrace.ExportTraceServiceRequest
		read(r, &m)
		c.mu.Lock()
		defer c.mu.Unlock()
		names := map[string]string{}
		for _, resource := range m.GetResourceSpans() {
			for _, attribute := range resource.GetResource().GetAttributes() {
				c.about[attribute.GetKey()] = attribute.GetValue().GetStringValue()
			}
			for _, scope := range resource.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					names[string(span.GetSpanId())] = span.GetName()
				}
				for _, span := range scope.GetSpans() {
					c.spans[span.GetName()] = names[string(span.GetParentSpanId())]
				}
			}
		}
	})
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	return c
}

func TestSentWhereTheEnvironmentSays(t *testing.T) {
	c := collect(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
	sent, err := telemetry.Start(t.Context(), telemetry.Options{Version: "1.2.3", Trouble: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	for _, m := range telemetry.Metrics() {
		gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: m.Name, Help: "test"})
		registry.MustRegister(gauge)
	}
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "go_something", Help: "test"}))
	sent.Gather(registry)
	ctx, end := telemetry.Command(t.Context())
	phases := telemetry.NewPhases(ctx)
	for _, phase := range []string{"survey", "survey", "load"} {
		phases.In(phase)
	}
	phases.End()
	end("stetl run", 4, false)
	if err := sent.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range telemetry.Metrics() {
		if unit, ok := c.metrics[m.OTel]; !ok || unit != m.Unit {
			t.Errorf("%s came with unit %q, %t", m.OTel, unit, ok)
		}
	}
	if len(c.metrics) != len(telemetry.Metrics()) {
		t.Errorf("came: %v", c.metrics)
	}
	if parent, ok := c.spans["stetl run"]; !ok || parent != "" {
		t.Errorf("the span of the command: %q, %t", parent, ok)
	}
	if len(c.spans) != 3 || c.spans["survey"] != "stetl run" || c.spans["load"] != "stetl run" {
		t.Errorf("spans by parent: %v", c.spans)
	}
	if c.about["service.name"] != "stetl" || c.about["service.version"] != "1.2.3" || c.about["deployment.environment.name"] != "staging" {
		t.Errorf("about: %v", c.about)
	}
	for key := range c.about {
		if strings.HasPrefix(key, "process.") || strings.HasPrefix(key, "host.") {
			t.Errorf("%s is told", key)
		}
	}
}

func TestOffByDefault(t *testing.T) {
	c := collect(t)
	for _, env := range []map[string]string{
		{},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_SDK_DISABLED": "true"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"},
	} {
		t.Run("", func(t *testing.T) {
			for name, value := range env {
				t.Setenv(name, value)
			}
			sent, err := telemetry.Start(t.Context(), telemetry.Options{})
			if err != nil || sent.MetricsWanted() {
				t.Fatal(err, sent.MetricsWanted())
			}
			sent.Gather(prometheus.NewRegistry())
			if err := sent.End(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	if len(c.spans)+len(c.metrics) > 0 {
		t.Errorf("sent: %v %v", c.spans, c.metrics)
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	for name, value := range map[string]string{
		"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			t.Setenv(name, value)
			sent, err := telemetry.Start(t.Context(), telemetry.Options{})
			if err == nil || !strings.Contains(err.Error(), name+"="+value) {
				t.Errorf("%v", err)
			}
			if err := errors.Join(sent.End(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNoCollector: one that is not there holds nothing up for long, by either protocol.
func TestNoCollector(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
			var mu sync.Mutex
			var trouble []error
			sent, err := telemetry.Start(t.Context(), telemetry.Options{Trouble: func(err error) {
				mu.Lock()
				defer mu.Unlock()
				trouble = append(trouble, err)
			}})
			if err != nil {
				t.Fatal(err)
			}
			sent.Gather(prometheus.NewRegistry())
			_, end := telemetry.Command(t.Context())
			end("stetl run", 0, false)
			begin := time.Now()
			err = sent.End(t.Context())
			mu.Lock()
			defer mu.Unlock()
			if err == nil && len(trouble) == 0 {
				t.Error("nobody says that nothing has arrived")
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("the end took %s", took)
			}
		})
	}
}
