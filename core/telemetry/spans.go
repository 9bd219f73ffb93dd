package telemetry

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Command begins the span of a whole command. The function that ends it takes the name of
// the command, which is known by then, and its exit code.
func Command(ctx context.Context) (_ context.Context, end func(name string, exit int, failed bool)) {
	ctx, span := otel.Tracer(scopeName).Start(ctx, "stetl")
	return ctx, func(name string, exit int, failed bool) {
		span.SetName(name)
		span.SetAttributes(attribute.Int("process.exit.code", exit))
		if failed { // the words of an error may be about somebody
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Phases are spans that follow each other below the one of a context. Its methods are for
// one goroutine at a time.
type Phases struct {
	ctx  context.Context // the parent of every phase
	name string
	span trace.Span
}

// NewPhases begins nothing yet.
func NewPhases(ctx context.Context) *Phases { return &Phases{ctx: ctx} }

// In says that the work is in the phase of that name.
func (p *Phases) In(name string) {
	if p.span != nil && p.name == name {
		return
	}
	p.End()
	p.name = name
	_, p.span = otel.Tracer(scopeName).Start(p.ctx, name)
}

// End ends the phase that the work is in.
func (p *Phases) End() {
	if p.span != nil {
		p.span.End()
		p.span = nil
	}
}
