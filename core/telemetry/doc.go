// Package telemetry sends what a process does to a collector of OpenTelemetry: spans of
// its work, and the metrics that it also shows to Prometheus. The usual OTEL_ variables
// say where to; without them nothing is made and nothing is sent.
//
// It has the one list of metrics ([Metrics]) and their names for both sides. Nothing that
// is sent is about a single account.
package telemetry
