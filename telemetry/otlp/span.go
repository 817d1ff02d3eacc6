package otlp

import (
	"context"
	"crypto/rand"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Span is a piece of work that is over. Spans are told when all about them is known:
// what is under way keeps its times anyway, and what is not traced costs nothing.
type Span struct {
	Name       string
	Kind       trace.SpanKind
	Trace      trace.TraceID
	ID         trace.SpanID
	Parent     trace.SpanID // zero for a root
	Remote     bool         // the parent is another process's
	Start, End time.Time
	Attributes []attribute.KeyValue
	Links      []trace.Link
	Failed     string // why, in a word; "" if it did not fail
}

// Record takes a span into the queue of those to be sent. It keeps nothing of it: what
// it needs is written down when it returns.
func (e *Exporter) Record(s *Span) {
	if e.Traces() {
		e.traces.add(s)
	}
}

// NewSpanID returns an id that nothing else has.
func NewSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	}
	return id
}

// Parent reads a traceparent header; it is not valid if that is none.
func Parent(traceparent string) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent})
	return trace.SpanContextFromContext(ctx)
}
