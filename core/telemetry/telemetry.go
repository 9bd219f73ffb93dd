package telemetry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

// scopeName is what made a span or a metric.
const scopeName = "github.com/stetl/stetl"

// endTimeout keeps a collector that does not answer from holding up the end.
const endTimeout = 5 * time.Second

// Options say who sends.
type Options struct {
	// Version is that of the program.
	Version string
	// Trouble is called with what could not be sent. It may be called at any time, also
	// by several at once.
	Trouble func(error)
}

// Telemetry is on its way to a collector. Nil, and the zero value, send nothing.
type Telemetry struct {
	traces   *trace.TracerProvider
	metrics  *metric.MeterProvider
	gatherer *later
}

// Start sets up what the environment asks for. A variable with a value that means nothing
// is an error.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	t := &Telemetry{gatherer: &later{}}
	if off, _ := strconv.ParseBool(os.Getenv("OTEL_SDK_DISABLED")); off {
		return t, nil
	}
	traces, err := exporter("TRACES")
	if err != nil {
		return nil, err
	}
	metrics, err := exporter("METRICS")
	if err != nil || traces == "" && metrics == "" {
		return t, err
	}
	if o.Trouble != nil {
		otel.SetErrorHandler(otel.ErrorHandlerFunc(o.Trouble))
	}
	// Of the process nothing but its name and version: arguments and owner are nobody's business.
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "stetl"), attribute.String("service.version", o.Version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	if err := t.startTraces(ctx, traces, about); err != nil {
		return nil, err
	}
	if err := t.startMetrics(ctx, metrics, about); err != nil {
		return nil, errors.Join(err, t.End(ctx))
	}
	return t, nil
}

func (t *Telemetry) startTraces(ctx context.Context, protocol string, about *resource.Resource) (err error) {
	var to trace.SpanExporter
	switch protocol {
	case "":
		return nil
	case grpcProtocol:
		to, err = otlptracegrpc.New(ctx)
	default:
		to, err = otlptracehttp.New(ctx)
	}
	if err != nil {
		return fmt.Errorf("set up traces: %w", err)
	}
	t.traces = trace.NewTracerProvider(trace.WithResource(about), trace.WithBatcher(to))
	otel.SetTracerProvider(t.traces)
	return nil
}

func (t *Telemetry) startMetrics(ctx context.Context, protocol string, about *resource.Resource) (err error) {
	var to metric.Exporter
	switch protocol {
	case "":
		return nil
	case grpcProtocol:
		to, err = otlpmetricgrpc.New(ctx)
	default:
		to, err = otlpmetrichttp.New(ctx)
	}
	if err != nil {
		return fmt.Errorf("set up metrics: %w", err)
	}
	t.metrics = metric.NewMeterProvider(metric.WithResource(about), metric.WithReader(metric.NewPeriodicReader(to, metric.WithProducer(newProducer(t.gatherer)))))
	return nil
}

// MetricsWanted says whether metrics are sent at all.
func (t *Telemetry) MetricsWanted() bool { return t != nil && t.metrics != nil }

// Gather has the metrics of a registry sent, from now on.
func (t *Telemetry) Gather(g prometheus.Gatherer) {
	if t.MetricsWanted() {
		t.gatherer.set(g)
	}
}

// End sends what is left, within a bounded time.
func (t *Telemetry) End(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	var err error
	if t.traces != nil {
		err = t.traces.Shutdown(ctx)
	}
	if t.metrics != nil {
		err = errors.Join(err, t.metrics.Shutdown(ctx))
	}
	return err
}

// The protocols of OTLP that there are here.
const (
	grpcProtocol = "grpc"
	httpProtocol = "http/protobuf"
)

// exporter is the protocol by which a signal is to be sent; empty for not at all. Sending
// is off unless the environment names an exporter or an endpoint.
func exporter(signal string) (protocol string, err error) {
	first := func(names ...string) (name, value string) {
		for _, name := range names {
			if value := os.Getenv(name); value != "" {
				return name, value
			}
		}
		return names[0], ""
	}
	_, endpoint := first("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	switch name, kind := first("OTEL_" + signal + "_EXPORTER"); {
	case kind == "none", kind == "" && endpoint == "":
		return "", nil
	case kind != "" && kind != "otlp":
		return "", fmt.Errorf("%s=%s: there are otlp and none", name, kind)
	}
	switch name, protocol := first("OTEL_EXPORTER_OTLP_"+signal+"_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); protocol {
	case "", httpProtocol:
		return httpProtocol, nil
	case grpcProtocol:
		return grpcProtocol, nil
	default:
		return "", fmt.Errorf("%s=%s: there are %s and %s", name, protocol, httpProtocol, grpcProtocol)
	}
}

// later is a registry that comes when the program knows what it does.
type later struct {
	mu sync.Mutex
	g  prometheus.Gatherer
}

func (l *later) set(g prometheus.Gatherer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.g = g
}

// Gather implements [prometheus.Gatherer].
func (l *later) Gather() ([]*dto.MetricFamily, error) {
	l.mu.Lock()
	g := l.g
	l.mu.Unlock()
	if g == nil {
		return nil, nil
	}
	return g.Gather()
}
